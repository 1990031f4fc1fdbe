//! [`MetricsExporter`]: one export, from an interval of a registry to the recorder of the facade.
//!
//! - An interval that was read is in `due` before any of it is pushed, and leaves it piece by piece as the
//!   recorder takes it. A recorder that panics loses none of it.
//! - The recorder, its handles and what they drop are the host's code. They run under no lock of
//!   toolmeter's, and their panics are contained for each tool, so the other tools are pushed.

use crate::due::{
    self, CALLS, DURATION, Due, IN_FLIGHT, NAMELESS, Pushed, RECOVERED, RETRIED, increment,
};
use metrics::{Recorder, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use toolmeter::{Intervals, Registry};

const UNKNOWN: &str = "toolmeter.unknown_calls";
const LEFT_OUT: &str = "toolmeter.latencies_left_out";

/// An exporter that pushes what is new into a recorder of the [`metrics`] facade.
///
/// It reads with a cursor of its own (see [`Registry::intervals`]), so each call is pushed once, even if
/// metrics are reset, tools come and go, or other readers take intervals. It may outlive the registry;
/// then it pushes what the remaining handles count.
///
/// # Examples
///
/// Into a recorder of the host's choice, for tests or beside the installed one:
///
/// ```
/// use metrics_util::debugging::DebuggingRecorder;
/// use toolmeter_metrics::MetricsExporter;
///
/// let tools = toolmeter::Registry::new();
/// let mut exporter = MetricsExporter::new(&tools).max_records(500);
/// let shell = tools.register("shell")?;
/// for _ in 0..600 {
///     shell.start().succeed();
/// }
/// let recorder = DebuggingRecorder::new();
/// let exported = exporter.export_to(&recorder);
/// assert_eq!((exported.calls, exported.latencies, exported.left_out), (600, 500, 100));
/// // Nothing is new.
/// assert_eq!(exporter.export_to(&recorder).calls, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MetricsExporter {
    intervals: Intervals,
    max_records: u32,
    due: BTreeMap<Arc<str>, Due>,
    /// The tools whose gauge is not at zero, or could not be set.
    in_flight: BTreeSet<Arc<str>>,
    nameless: Due,
    unknown_calls: u64,
    left_out: u64,
}

/// The numbers of an export: what was pushed, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "it counts the panics of the recorder"]
#[non_exhaustive]
pub struct Exported {
    /// Calls that were counted: ended or rejected.
    pub calls: u64,
    /// Latencies that were recorded.
    pub latencies: u64,
    /// Latencies that were left out because their tool and outcome had more than
    /// [`max_records`](MetricsExporter::max_records).
    pub left_out: u64,
    /// Panics of the recorder. The next export pushes what it did not take.
    pub panics: u64,
}

impl MetricsExporter {
    /// Returns an exporter of what is counted from now on, which does not keep the registry alive.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            intervals: registry.intervals(),
            max_records: 1_000,
            due: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            nameless: Due::default(),
            unknown_calls: 0,
            left_out: 0,
        }
    }

    /// Sets the greatest number of latencies of each tool and outcome that one export records. The default
    /// is 1,000; with 0, none is recorded.
    ///
    /// Recorders need time for each record and, until they are drained, memory. If there are more calls,
    /// those that are recorded are evenly spaced by rank, so a quantile of an interval is off by
    /// `1 / (2 * records)` in rank at most: a p99 of 1,000 records lies between the p98.95 and the p99.05.
    /// A recorder that adds up several intervals then gives busy ones less weight than quiet ones.
    #[must_use]
    pub fn max_records(mut self, records: u32) -> Self {
        self.max_records = records;
        self
    }

    /// Pushes what is new into the recorder that the host has installed: that of the thread if there is
    /// one, else the global one.
    ///
    /// Without a recorder the facade accepts everything and keeps nothing, so install it before the first
    /// export.
    pub fn export(&mut self) -> Exported {
        metrics::with_recorder(|recorder| self.export_to(recorder))
    }

    /// Pushes what is new into this recorder.
    pub fn export_to(&mut self, recorder: &dyn Recorder) -> Exported {
        let mut pushed = Pushed::default();
        let mut panics = 0;
        let mut contain = |push: &mut dyn FnMut()| {
            let is_done = contained(push);
            if !is_done {
                panics += 1;
            }
            is_done
        };
        contain(&mut || describe(recorder));

        let interval = self.intervals.read();
        for (tool, stats) in &interval.tools {
            let mut new = Due::new(stats);
            if let Some(left) = self.due.remove(tool) {
                new.add(left);
            }
            self.due.insert(Arc::clone(tool), new);
        }
        if let Some(nameless) = &interval.nameless {
            self.nameless.add(Due::new(&nameless.stats));
        }
        self.unknown_calls = self
            .unknown_calls
            .saturating_add(interval.unknown_tool_calls);

        for (tool, due) in &mut self.due {
            contain(&mut || due.push(tool, self.max_records, recorder, &mut pushed));
        }
        // A tool that is forgotten, and so is in no interval, has no call in flight.
        let forgotten = self.in_flight.iter().map(|tool| (Arc::clone(tool), 0));
        let mut in_flight: BTreeMap<_, _> = forgotten.collect();
        let tools = interval.tools.iter();
        in_flight.extend(tools.map(|(tool, stats)| (Arc::clone(tool), stats.in_flight)));
        for (tool, in_flight) in in_flight {
            let is_set = contain(&mut || due::set_in_flight(&tool, in_flight, recorder));
            if is_set && in_flight == 0 {
                self.in_flight.remove(&tool);
            } else {
                self.in_flight.insert(tool);
            }
        }
        if self.nameless != Due::default() {
            contain(&mut || self.nameless.push_nameless(recorder, &mut pushed));
        }
        self.left_out = self.left_out.saturating_add(pushed.left_out);
        for (name, count) in [
            (UNKNOWN, &mut self.unknown_calls),
            (LEFT_OUT, &mut self.left_out),
        ] {
            contain(&mut || {
                increment(name, Vec::new(), count, recorder);
            });
        }
        self.due.retain(|_, due| *due != Due::default());
        Exported {
            calls: pushed.calls,
            latencies: pushed.latencies,
            left_out: pushed.left_out,
            panics,
        }
    }
}

fn describe(recorder: &dyn Recorder) {
    for (name, description) in [
        (
            CALLS,
            "Attempts at calling a tool that ended, by how they ended, and calls that were rejected.",
        ),
        (
            RETRIED,
            "Calls that started as a second attempt or a later one.",
        ),
        (RECOVERED, "Successes of a second attempt or a later one."),
        (UNKNOWN, "Calls by a name that no tool has."),
        (
            NAMELESS,
            "Calls of tools that are gone and not told apart any more.",
        ),
        (
            LEFT_OUT,
            "Latencies that were not recorded, since there were too many of their tool and outcome.",
        ),
    ] {
        recorder.describe_counter(name.into(), Some(Unit::Count), description.into());
    }
    recorder.describe_gauge(
        IN_FLIGHT.into(),
        Some(Unit::Count),
        "Calls that started and did not end yet.".into(),
    );
    recorder.describe_histogram(
        DURATION.into(),
        Some(Unit::Seconds),
        "How long attempts took, by how they ended, to the middle of a bucket of toolmeter.".into(),
    );
}

/// Calls the recorder; returns false if it panicked.
fn contained(push: &mut dyn FnMut()) -> bool {
    // A count is taken out only after the recorder has returned, so what was not taken is still there.
    let Err(payload) = catch_unwind(AssertUnwindSafe(push)) else {
        return true;
    };
    // The payload is the recorder's, too.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
    false
}
