//! The same operations through a registry: its intervals, its resets, its published snapshot, and a
//! tool that is deregistered and registered again.

use super::model::{Expected, Happened, Model, Moment};
use super::{End, Op, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use toolmeter::{
    ClockSource, ErrorKind, Intervals, ManualClock, OwnedCall, Pump, Registry, Snapshot,
    ToolHandle, ToolSpec, ToolStats,
};
use toolmeter_core::{Buckets, Outcome, OutcomeClass};

const NAME: &str = "tool";

/// An interval cursor, and the moments at which it was made and read.
struct Cursor {
    intervals: Intervals,
    made: Moment,
    read: Moment,
    /// All its intervals, merged.
    sum: Option<Snapshot>,
}

/// A call that has not ended yet.
struct Running {
    call: OwnedCall,
    attempt: u16,
    started_ns: u64,
}

struct Subject {
    registry: Registry,
    clock: Arc<ManualClock>,
    /// `None` only while the tool is registered again.
    tool: Option<ToolHandle>,
    model: Model,
    time: Time,
    /// The number of failures, which is the text of the last one.
    failures: u64,
    running: Vec<Running>,
    cursors: Vec<Cursor>,
    reset: Moment,
}

/// Runs all operations, and checks each reading.
pub(super) fn check(precision: u8, origin_ns: u64, ops: &[Op]) {
    let mut subject = Subject::new(precision, origin_ns);
    for op in ops {
        subject.run(*op);
    }
    for mut cursor in std::mem::take(&mut subject.cursors) {
        subject.read(&mut cursor);
        let sum = cursor.sum.unwrap();
        let (stats, made) = (&sum.tools[NAME], cursor.made);
        check_counts(stats, &subject.model.since(made));
    }
    subject.registry.reset_metrics();
    // Calls that still run end now. They are counted after the reset, where they end.
    let cancelled = subject.running.len() as u64;
    drop(std::mem::take(&mut subject.running));
    let after = subject.registry.metrics();
    let stats = &after.tools[NAME];
    assert_eq!(
        (stats.finished(), stats.cancelled()),
        (cancelled, cancelled)
    );
    assert_eq!((stats.in_flight, stats.retried), (0, 0));
    let totals = subject.registry.totals();
    let all = subject.model.since(Moment::default());
    let stats = &totals.tools[NAME];
    assert_eq!(stats.success(), all.count(OutcomeClass::Success));
    assert_eq!(stats.rejected, all.rejected);
}

impl Subject {
    fn new(precision: u8, origin_ns: u64) -> Self {
        let precision = 3 + precision % 5;
        let clock = Arc::new(ManualClock::new());
        clock.set_ns(origin_ns);
        let registry = Registry::builder()
            .clock(ClockSource::Manual(Arc::clone(&clock)))
            .pump(Pump::manual())
            .precision(precision)
            // The pump of another registry in this process may free the stripe of this thread between
            // two calls, and failures of one time on two stripes have no order. `bare.rs` has more.
            .stripes(1)
            .build()
            .unwrap();
        let tool = registry.register(ToolSpec::new(NAME)).unwrap();
        let model = Model::new(Buckets::new(precision, 48).unwrap(), 1);
        Self {
            registry,
            clock,
            tool: Some(tool),
            model,
            time: Time::new(origin_ns),
            failures: 0,
            running: Vec::new(),
            cursors: Vec::new(),
            reset: Moment::default(),
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Start { attempt, .. } => self.start(attempt.get()),
            Op::Finish { call, end, .. } => self.finish(call, end),
            Op::Clock { by } => {
                self.time.advance(by.get());
                self.clock.set_ns(self.time.now_ns);
            }
            Op::Read => self.check_since_reset(&self.registry.metrics()),
            Op::Publish => {
                self.registry.publish();
                self.check_since_reset(&self.registry.published());
            }
            Op::NewCursor => self.cursors.push(Cursor {
                intervals: self.registry.intervals(),
                made: self.model.now(),
                read: self.model.now(),
                sum: None,
            }),
            Op::ReadCursor { cursor } => {
                if !self.cursors.is_empty() {
                    let mut cursor = self.take_cursor(cursor);
                    self.read(&mut cursor);
                    self.cursors.push(cursor);
                }
            }
            Op::DropCursor { cursor } => {
                if !self.cursors.is_empty() {
                    self.take_cursor(cursor);
                }
            }
            Op::Reset => {
                self.check_since_reset(&self.registry.reset_metrics());
                self.reset = self.model.now();
            }
            Op::Revive => self.revive(),
        }
    }

    /// Deregisters the tool and registers it again. In between it is retired while a call holds it.
    /// Otherwise it departs, and is then visible only if anything was counted since the reset.
    fn revive(&mut self) {
        self.registry.deregister(NAME).unwrap();
        let metrics = self.registry.metrics();
        assert!(metrics.tools[NAME].retired);
        self.check_since_reset(&metrics);
        let id = self.tool.take().map(|tool| tool.id());
        self.registry.pump();
        let metrics = self.registry.metrics();
        if self.running.is_empty() && self.model.since(self.reset).is_empty() {
            assert!(metrics.tools.is_empty());
        } else {
            assert!(metrics.tools[NAME].retired);
            self.check_since_reset(&metrics);
        }
        let tool = self.registry.register(ToolSpec::new(NAME)).unwrap();
        assert_eq!(Some(tool.id()), id);
        self.tool = Some(tool);
        let metrics = self.registry.metrics();
        assert!(!metrics.tools[NAME].retired);
        self.check_since_reset(&metrics);
    }

    fn tool(&self) -> &ToolHandle {
        self.tool.as_ref().unwrap()
    }

    fn start(&mut self, attempt: u16) {
        let call = self.tool().call().attempt(attempt).start_owned();
        let attempt = attempt.max(1);
        assert_eq!(call.attempt(), attempt);
        self.model.add(Happened::Started { attempt });
        self.running.push(Running {
            call,
            attempt,
            started_ns: self.time.now_ns,
        });
    }

    fn finish(&mut self, call: u8, end: End) {
        if self.running.is_empty() {
            self.tool()
                .call()
                .attempt(u16::from(call))
                .reject("refused");
            self.model.add(Happened::Rejected);
            return;
        }
        let place = usize::from(call) % self.running.len();
        let Running {
            call,
            attempt,
            started_ns,
        } = self.running.swap_remove(place);
        let latency_ns = self.time.now_ns - started_ns;
        assert_eq!(call.elapsed(), Duration::from_nanos(latency_ns));
        let outcome = end.outcome();
        match outcome {
            Outcome::Success => {
                assert_eq!(call.succeed(), Duration::from_nanos(latency_ns));
            }
            Outcome::Failure(kind) => {
                self.failures += 1;
                call.fail(kind, self.failures);
            }
            Outcome::Cancelled => drop(call),
            Outcome::Rejected => call.reject("refused"),
        }
        self.model.add(Happened::Finished {
            stripe: 0,
            outcome,
            attempt,
            at_ns: self.time.now_ns,
            latency_ns,
        });
    }

    fn take_cursor(&mut self, number: u8) -> Cursor {
        let place = usize::from(number) % self.cursors.len();
        self.cursors.swap_remove(place)
    }

    fn read(&self, cursor: &mut Cursor) {
        let interval = cursor.intervals.read();
        self.check(&interval, &self.model.since(cursor.read));
        cursor.read = self.model.now();
        match &mut cursor.sum {
            Some(sum) => sum.merge(&interval),
            None => cursor.sum = Some(interval),
        }
    }

    fn check_since_reset(&self, snapshot: &Snapshot) {
        self.check(snapshot, &self.model.since(self.reset));
    }

    fn check(&self, snapshot: &Snapshot, expected: &Expected) {
        assert_eq!(snapshot.tools.len(), 1);
        let stats = &snapshot.tools[NAME];
        check_counts(stats, expected);
        assert_eq!(stats.in_flight, self.model.in_flight());
        let last = expected
            .last_finish
            .map(|last| Duration::from_nanos(last.latency_ns));
        assert_eq!(stats.last_latency(), last);
        let error = stats.last_error.as_ref();
        assert_eq!(error.is_some(), expected.last_failure.is_some());
        if let (Some(error), Some(failure)) = (error, expected.last_failure) {
            assert_eq!(
                (error.kind, error.attempt),
                (failure.kind(), failure.attempt())
            );
            // The clock never ran backwards here, so the text is that of the last failure.
            assert_eq!(error.message.as_deref(), Some(&*self.failures.to_string()));
        }
    }
}

/// Checks counters, sums and histograms.
fn check_counts(stats: &ToolStats, expected: &Expected) {
    assert_eq!(
        (stats.retried, stats.recovered, stats.rejected),
        (expected.retried, expected.recovered, expected.rejected)
    );
    let failures = ErrorKind::ALL.map(|kind| (kind, expected.failures[kind.index()]));
    let failures: BTreeMap<_, _> = failures.into_iter().filter(|&(_, n)| n > 0).collect();
    assert_eq!(stats.failures_by_kind, failures);
    let latency = &stats.latency;
    let all = [&latency.success, &latency.failure, &latency.cancelled];
    for (class, latency) in OutcomeClass::ALL.into_iter().zip(all) {
        assert_eq!(latency.buckets(), expected.pairs(class));
        let sum_ns = expected.sums_ns[class.index()];
        assert_eq!(latency.sum(), Duration::from_nanos(sum_ns));
    }
}
