//! A row of the table: one library, used in one way, that meters calls that do nothing.
//!
//! Every row does the same work for each call: read a clock, run a tool that only returns
//! a number, read the clock again, count a success and put the latency into a histogram. All
//! threads meter the same tool.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// The tool that every row meters.
pub(crate) const TOOL: &str = "web_search";

/// Bounds, in seconds, of the histograms of the libraries that count into a list of bounds: the
/// default list of Prometheus' own clients.
pub(crate) const BOUNDS_SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The counts of a row since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The value of the success counter.
    pub(crate) successes: u64,
    /// The number of latencies in the histogram.
    pub(crate) samples: u64,
}

/// The rate of a row's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// One after the other.
    Unpaced,
    /// About 1 million calls a second on each thread, in short bursts.
    Million,
}

/// One library, used in one way.
pub(crate) trait Row: Send + Sync {
    /// Returns the name in the table: the library, a slash, and the way it is used.
    fn name(&self) -> &'static str;

    /// Makes `calls` metered calls on the calling thread.
    fn run(&self, calls: u64);

    /// Returns everything counted so far, zeros where it cannot be read, or `None` for a row that
    /// counts nothing: a bare clock.
    fn counted(&self) -> Option<Counted>;

    /// Returns the rate of the calls.
    fn pace(&self) -> Pace {
        Pace::Unpaced
    }

    /// Returns the number of calls that each thread makes before a slice is timed.
    fn warm_up(&self) -> u64 {
        256
    }

    /// Does what the library must do from time to time. It is called between measurements and not timed.
    fn settle(&self) {}

    /// Returns the number of events lost so far, for rows that have a subscriber.
    fn lost(&self) -> Option<u64> {
        None
    }
}

/// Makes `calls` calls of a tool that does nothing, each between two readings of [`Instant`], as a
/// library's user writes it.
#[inline(always)]
pub(crate) fn timed(calls: u64, record: impl Fn(Duration)) {
    for _ in 0..calls {
        let started = Instant::now();
        black_box(1u64);
        record(started.elapsed());
    }
}

/// Two readings of [`Instant`] and nothing else: the peers' own floor.
#[derive(Debug)]
pub(crate) struct InstantPair;

impl Row for InstantPair {
    fn name(&self) -> &'static str {
        "two reads of Instant"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            black_box(latency);
        });
    }

    fn counted(&self) -> Option<Counted> {
        None
    }
}
