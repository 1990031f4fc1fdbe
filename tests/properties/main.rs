//! Properties of any sequence of calls, readings and resets, while tools come and go, checked
//! against a plain list of what happened.
//!
//! Invariants:
//!
//! 1. A reading holds what happened since its baseline: the beginning, the last reset, or the last
//!    reading of that cursor. No other reading or reset disturbs it.
//! 2. So the intervals of a cursor add up to what happened while it lived, and what the resets
//!    handed back, with what is left, to all that ever happened.
//! 3. The calls in flight are those that run at the time of the reading.
//! 4. A deregistered tool shows its new counts like any other, and nothing else once its last call
//!    has ended. When it comes back, it continues as if it had never left. So `totals` always holds
//!    all that ever happened.
//! 5. The merged snapshots of several hosts equal the snapshot of one host that ran all their
//!    calls, in the coarsest of their precisions. The order of merging does not matter.
//!
//! | file | contents |
//! | --- | --- |
//! | `properties/expected_counts.rs` | a list of what happened, and the counts that follow from it |
//! | `properties/host.rs` | a host that runs the operations |
#![cfg(all(feature = "serde", not(toolmeter_loom)))]

mod expected_counts;
mod host;

use expected_counts::{Counted, Entry, unknown_calls};
use host::{Host, TOOLS};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;
use toolmeter::{ErrorKind, Intervals, Outcome, Snapshot};

const HOSTS: usize = 3;

/// A time longer than the reading of three hosts can take. The time of day of a failure is computed
/// from the moment of the reading, and the order of the failures of two hosts must not depend on
/// that.
const APART: Duration = Duration::from_secs(3_600);

/// An operation of a host.
#[derive(Clone, Debug)]
enum Op {
    Start {
        tool: usize,
        attempt: u16,
    },
    Finish {
        call: usize,
        after_ns: u64,
        outcome: Outcome,
        elsewhere: bool,
    },
    Reject {
        tool: usize,
        attempt: u16,
    },
    Unknown,
    Leave(usize),
    Pump,
    Totals,
    NewCursor,
    ReadCursor(usize),
    DropCursor(usize),
    Metrics,
    Publish,
    Reset,
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Success),
        prop::sample::select(&ErrorKind::ALL[..]).prop_map(Outcome::Failure),
        Just(Outcome::Cancelled),
        Just(Outcome::Rejected),
    ]
}

fn any_start() -> impl Strategy<Value = Op> {
    (0..TOOLS.len(), 0_u16..4).prop_map(|(tool, attempt)| Op::Start { tool, attempt })
}

fn any_reject() -> impl Strategy<Value = Op> {
    (0..TOOLS.len(), 0_u16..4).prop_map(|(tool, attempt)| Op::Reject { tool, attempt })
}

/// Returns ends of calls after a time of any magnitude up to 26 days, beyond the range of the
/// histograms.
fn any_finish() -> impl Strategy<Value = Op> {
    let after_ns = (0..1_u64 << 51, 0_u32..51).prop_map(|(bits, shift)| bits >> shift);
    (any::<usize>(), after_ns, any_outcome(), any::<bool>()).prop_map(
        |(call, after_ns, outcome, elsewhere)| Op::Finish {
            call,
            after_ns,
            outcome,
            elsewhere,
        },
    )
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any_start(),
        6 => any_finish(),
        1 => any_reject(),
        1 => Just(Op::Unknown),
        2 => (0..TOOLS.len()).prop_map(Op::Leave),
        2 => Just(Op::Pump),
        1 => Just(Op::Totals),
        2 => Just(Op::NewCursor),
        4 => any::<usize>().prop_map(Op::ReadCursor),
        1 => any::<usize>().prop_map(Op::DropCursor),
        2 => Just(Op::Metrics),
        1 => Just(Op::Publish),
        1 => Just(Op::Reset),
    ]
}

/// A cursor, the length of the list when it was made and when it was read, and the sum of its
/// intervals.
struct Cursor {
    intervals: Intervals,
    made: usize,
    read: usize,
    sum: Option<Snapshot>,
}

/// A host, and the list of what happened on it.
struct Recorded {
    host: Host,
    precision: u8,
    now: Duration,
    entries: Vec<Entry>,
    cursors: Vec<Cursor>,
    /// The length of the list at the last reset, and the sum of what all resets handed back.
    reset: usize,
    cleared: Option<Snapshot>,
}

impl Recorded {
    fn new(precision: u8) -> Self {
        Self {
            host: Host::new("host", precision),
            precision,
            now: Duration::ZERO,
            entries: Vec::new(),
            cursors: Vec::new(),
            reset: 0,
            cleared: None,
        }
    }

    fn run(&mut self, op: &Op) {
        let place = |number: usize, len: usize| (len > 0).then(|| number % len);
        match *op {
            Op::Start { tool, attempt } => {
                let entry = self.host.start(tool, attempt, self.now);
                self.entries.push(entry);
            }
            Op::Finish {
                call,
                after_ns,
                outcome,
                elsewhere,
            } => {
                if let Some(place) = place(call, self.host.running.len()) {
                    self.pass(Duration::from_nanos(after_ns));
                    let number = self.entries.len();
                    let entry = self
                        .host
                        .finish(place, outcome, elsewhere, self.now, number);
                    self.entries.push(entry);
                    // No two failures are at the same moment, so that the last one is unique.
                    self.pass(Duration::from_millis(1));
                }
            }
            Op::Reject { tool, attempt } => {
                let entry = self.host.reject(tool, attempt);
                self.entries.push(entry);
            }
            Op::Unknown => self.entries.push(self.host.unknown()),
            Op::Leave(tool) => self.host.leave(tool),
            Op::Pump => {
                self.host.registry.pump();
            }
            Op::Totals => self.check(&self.host.registry.totals(), 0),
            Op::NewCursor => self.cursors.push(Cursor {
                intervals: self.host.registry.intervals(),
                made: self.entries.len(),
                read: self.entries.len(),
                sum: None,
            }),
            Op::ReadCursor(number) => {
                if let Some(place) = place(number, self.cursors.len()) {
                    self.read(place);
                }
            }
            Op::DropCursor(number) => {
                if let Some(place) = place(number, self.cursors.len()) {
                    self.cursors.swap_remove(place);
                }
            }
            Op::Metrics => self.check(&self.host.registry.metrics(), self.reset),
            Op::Publish => {
                self.host.registry.publish();
                self.check(&self.host.registry.published(), self.reset);
            }
            Op::Reset => {
                let cleared = self.host.registry.reset_metrics();
                self.check(&cleared, self.reset);
                self.reset = self.entries.len();
                add(&mut self.cleared, cleared);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.host.clock.advance(time);
    }

    fn read(&mut self, place: usize) {
        let interval = self.cursors[place].intervals.read();
        self.check(&interval, self.cursors[place].read);
        let cursor = &mut self.cursors[place];
        cursor.read = self.entries.len();
        add(&mut cursor.sum, interval);
    }

    /// Checks the invariants 1, 3 and 4.
    fn check(&self, snapshot: &Snapshot, since: usize) {
        for (tool, name) in TOOLS.iter().enumerate() {
            let expected = Counted::expected(&self.entries[since..], tool, self.precision);
            let in_flight = self.host.in_flight(tool);
            let Some(stats) = snapshot.tool(name) else {
                assert!(!self.host.is_registered(tool), "{name}");
                assert_eq!((expected, in_flight), (Counted::default(), 0), "{name}");
                continue;
            };
            assert_eq!(Counted::of(stats), expected, "{name}");
            assert_eq!(stats.in_flight, in_flight);
            assert_eq!(stats.retired, !self.host.is_registered(tool), "{name}");
        }
        self.check_unknown(snapshot, since);
    }

    /// Checks the sum of several readings, except for its last call and error. Their order is
    /// decided by the time of day, which does not pass with this clock.
    fn check_sum(&self, sum: &Snapshot, since: usize) {
        for (tool, name) in TOOLS.iter().enumerate() {
            let counted = sum.tool(name).map(Counted::of).unwrap_or_default();
            let expected = Counted::expected(&self.entries[since..], tool, self.precision);
            assert_eq!(counted.without_last(), expected.without_last(), "{name}");
        }
        self.check_unknown(sum, since);
    }

    fn check_unknown(&self, snapshot: &Snapshot, since: usize) {
        assert!(snapshot.tools.len() <= TOOLS.len() && snapshot.nameless.is_none());
        assert_eq!(
            snapshot.unknown_tool_calls,
            unknown_calls(&self.entries[since..])
        );
    }

    /// Checks the invariants 2 and 4.
    fn end(mut self) {
        self.check(&self.host.registry.totals(), 0);
        for place in 0..self.cursors.len() {
            self.read(place);
            let cursor = &self.cursors[place];
            self.check_sum(cursor.sum.as_ref().unwrap(), cursor.made);
        }
        let rest = self.host.registry.metrics();
        let mut cleared = self.cleared.take();
        add(&mut cleared, rest);
        self.check_sum(&cleared.unwrap(), 0);
    }
}

fn add(sum: &mut Option<Snapshot>, snapshot: Snapshot) {
    match sum {
        Some(sum) => sum.merge(&snapshot),
        None => *sum = Some(snapshot),
    }
}

/// Returns the first snapshot with the others added, in this order.
fn merged<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Snapshot {
    let mut sum = None;
    for snapshot in snapshots {
        add(&mut sum, snapshot.clone());
    }
    sum.unwrap()
}

/// Returns a snapshot as another host receives it.
fn sent(snapshot: &Snapshot) -> Snapshot {
    let json = serde_json::to_string(snapshot).unwrap();
    serde_json::from_str(&json).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn intervals_and_resets_add_up_to_all_that_happened(
        ops in vec(any_op(), 0..80), precision in 3_u8..=7,
    ) {
        let mut recorded = Recorded::new(precision);
        for op in &ops {
            recorded.run(op);
        }
        recorded.end();
    }

    #[test]
    fn merging_the_snapshots_of_hosts_is_recording_in_one(
        ops in vec((0..HOSTS, prop_oneof![4 => any_start(), 4 => any_finish(), 1 => any_reject(), 1 => Just(Op::Unknown)]), 0..40),
        precisions in [3_u8..=7, 3_u8..=7, 3_u8..=7],
        ages_s in [0_u64..9, 0_u64..9, 0_u64..9],
    ) {
        let names = ["a", "b", "c"];
        let mut hosts: Vec<Host> =
            names.iter().zip(precisions).map(|(name, precision)| Host::new(name, precision)).collect();
        let coarsest = precisions.into_iter().min().unwrap();
        let mut one = Host::new("one", coarsest);
        // The one host is as old as the oldest.
        let oldest_s = ages_s.into_iter().max().unwrap();
        for (host, age_s) in hosts.iter().chain([&one]).zip(ages_s.into_iter().chain([oldest_s])) {
            host.clock.advance(Duration::from_secs(age_s));
        }
        let mut now = Duration::ZERO;
        let mut entries = Vec::new();
        let pass = |now: &mut Duration, time, hosts: &[Host], one: &Host| {
            *now += time;
            hosts.iter().chain([one]).for_each(|host| host.clock.advance(time));
        };
        // The places at which the one host keeps the calls of each of the hosts.
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); HOSTS];
        for (host, op) in ops {
            match op {
                Op::Start { tool, attempt } => {
                    hosts[host].start(tool, attempt, now);
                    places[host].push(one.running.len());
                    entries.push(one.start(tool, attempt, now));
                }
                Op::Finish { call, after_ns, outcome, elsewhere } if !places[host].is_empty() => {
                    pass(&mut now, Duration::from_nanos(after_ns), &hosts, &one);
                    let place = call % places[host].len();
                    let number = entries.len();
                    hosts[host].finish(place, outcome, elsewhere, now, number);
                    let in_one = places[host].swap_remove(place);
                    entries.push(one.finish(in_one, outcome, elsewhere, now, number));
                    // The last call of the one host took the place that became free.
                    let moved = one.running.len();
                    for place in places.iter_mut().flatten().filter(|place| **place == moved) {
                        *place = in_one;
                    }
                    pass(&mut now, APART, &hosts, &one);
                }
                Op::Reject { tool, attempt } => {
                    hosts[host].reject(tool, attempt);
                    entries.push(one.reject(tool, attempt));
                }
                Op::Unknown => {
                    hosts[host].unknown();
                    entries.push(one.unknown());
                }
                _ => {}
            }
        }
        let parts: Vec<Snapshot> = hosts.iter().map(|host| sent(&host.registry.metrics())).collect();
        let [a, b, c] = [&parts[0], &parts[1], &parts[2]];
        let all = merged([a, b, c]);
        let in_one = one.registry.metrics();
        for (tool, name) in TOOLS.iter().enumerate() {
            let (sum, stats) = (&all.tools[*name], &in_one.tools[*name]);
            prop_assert_eq!(Counted::of(sum), Counted::of(stats), "{}", name);
            prop_assert_eq!(&sum.latency, &stats.latency);
            prop_assert_eq!(Counted::of(sum), Counted::expected(&entries, tool, coarsest));
            prop_assert_eq!((sum.in_flight, sum.retired), (stats.in_flight, false));
            prop_assert_eq!(sum.in_flight, one.in_flight(tool));
        }
        prop_assert_eq!(all.unknown_tool_calls, unknown_calls(&entries));
        prop_assert_eq!(all.unknown_tool_calls, in_one.unknown_tool_calls);
        prop_assert_eq!(all.uptime, in_one.uptime);
        prop_assert!(all.instances.iter().eq(&names), "{:?}", all.instances);
        prop_assert_eq!(all.started_at, parts.iter().map(|part| part.started_at).min().unwrap());
        prop_assert_eq!(all.taken_at, parts.iter().map(|part| part.taken_at).max().unwrap());

        // Commutative and associative.
        for order in [[a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
            prop_assert_eq!(&merged(order), &all);
        }
        prop_assert_eq!(&merged([a, &merged([b, c])]), &all);
    }
}
