//! Histograms without a metrics library around them, as a host would build it by hand.
//!
//! `histogram`'s atomic histogram beside an atomic counter, an `hdrhistogram` and a count behind
//! one mutex, and the same pair in a `DashMap`, whose shard lock guards it.

use super::ByName;
use crate::row::{Counted, Row, TOOL, timed};
use dashmap::DashMap;
use hdrhistogram::Histogram;
use histogram::AtomicHistogram;
use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The range that toolmeter's own histograms cover: 2^48 ns.
const MAX_LATENCY_NS: u64 = (1 << 48) - 1;

/// Returns the row of counts in a `DashMap`, found by name.
///
/// # Errors
///
/// When a histogram cannot be made.
pub(crate) fn dash_map() -> Result<Arc<dyn Row>, Box<dyn Error>> {
    let tools = DashMap::new();
    tools.insert(TOOL.to_owned(), Counts::new()?);
    Ok(Arc::new(Sharded(tools)))
}

/// Returns all rows.
pub(super) fn rows() -> Result<[Arc<dyn Row>; 5], Box<dyn Error>> {
    let atomic = || Atomic::new().map(Arc::new);
    let locked = || Counts::new().map(|counts| Arc::new(Mutex::new(counts)));
    Ok([
        Arc::new(AtomicHandles(atomic()?)),
        Arc::new(AtomicNames(ByName::new(TOOL, atomic()?))),
        dash_map()?,
        Arc::new(LockedHandles(locked()?)),
        Arc::new(LockedNames(ByName::new(TOOL, locked()?))),
    ])
}

fn nanoseconds(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

/// An atomic counter and an atomic histogram with 2^5 buckets to an octave, as in toolmeter.
struct Atomic {
    successes: AtomicU64,
    latency_ns: AtomicHistogram,
}

impl Atomic {
    fn new() -> Result<Self, histogram::Error> {
        Ok(Self {
            successes: AtomicU64::new(0),
            latency_ns: AtomicHistogram::new(5, 48)?,
        })
    }

    fn record(&self, latency: Duration) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        // Fails above the range only; a sample missing from the histogram fails the check.
        let _ = self.latency_ns.increment(nanoseconds(latency));
    }

    fn counted(&self) -> Counted {
        Counted {
            successes: self.successes.load(Ordering::Relaxed),
            samples: self.latency_ns.load().as_slice().iter().sum(),
        }
    }
}

struct AtomicHandles(Arc<Atomic>);

impl Row for AtomicHandles {
    fn name(&self) -> &'static str {
        "histogram/handles"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| self.0.record(latency));
    }

    fn counted(&self) -> Option<Counted> {
        Some(self.0.counted())
    }
}

struct AtomicNames(ByName<Atomic>);

impl Row for AtomicNames {
    fn name(&self) -> &'static str {
        "histogram/by_name"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            self.0.with(TOOL, |tool| tool.record(latency));
        });
    }

    fn counted(&self) -> Option<Counted> {
        Some(self.0.with(TOOL, Atomic::counted).unwrap_or_default())
    }
}

/// A count and a histogram that need a lock around them.
struct Counts {
    successes: u64,
    latency_ns: Histogram<u64>,
}

impl Counts {
    fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            successes: 0,
            latency_ns: Histogram::new_with_bounds(1, MAX_LATENCY_NS, 2)?,
        })
    }

    fn record(&mut self, latency: Duration) {
        self.successes += 1;
        self.latency_ns.saturating_record(nanoseconds(latency));
    }

    fn counted(&self) -> Counted {
        Counted {
            successes: self.successes,
            samples: self.latency_ns.len(),
        }
    }
}

struct Sharded(DashMap<String, Counts>);

impl Row for Sharded {
    fn name(&self) -> &'static str {
        "DashMap/by_name"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            if let Some(mut tool) = self.0.get_mut(black_box(TOOL)) {
                tool.record(latency);
            }
        });
    }

    fn counted(&self) -> Option<Counted> {
        Some(
            self.0
                .get(TOOL)
                .map_or_else(Counted::default, |tool| tool.counted()),
        )
    }
}

/// Locks the counts. No panic is possible under the lock, so poison is ignored.
fn locked<R>(counts: &Mutex<Counts>, use_it: impl FnOnce(&mut Counts) -> R) -> R {
    use_it(&mut counts.lock().unwrap_or_else(PoisonError::into_inner))
}

struct LockedHandles(Arc<Mutex<Counts>>);

impl Row for LockedHandles {
    fn name(&self) -> &'static str {
        "Mutex<hdrhistogram>/handles"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            locked(&self.0, |tool| tool.record(latency));
        });
    }

    fn counted(&self) -> Option<Counted> {
        Some(locked(&self.0, |tool| tool.counted()))
    }
}

struct LockedNames(ByName<Mutex<Counts>>);

impl Row for LockedNames {
    fn name(&self) -> &'static str {
        "Mutex<hdrhistogram>/by_name"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            self.0
                .with(TOOL, |tool| locked(tool, |tool| tool.record(latency)));
        });
    }

    fn counted(&self) -> Option<Counted> {
        let counted = self
            .0
            .with(TOOL, |tool| locked(tool, |tool| tool.counted()));
        Some(counted.unwrap_or_default())
    }
}
