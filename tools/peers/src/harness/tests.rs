//! Tests that the harness refuses a row that does not count every call.

use super::*;
use crate::team::{CHECK_CALLS, TEAM};
use std::sync::atomic::{AtomicU64, Ordering};

/// A row that counts its calls, but forgets every latency after `honest_calls` calls.
struct Forgetful {
    honest_calls: u64,
    calls: AtomicU64,
    samples: AtomicU64,
}

impl Forgetful {
    fn row(honest_calls: u64) -> Vec<Arc<dyn Row>> {
        vec![Arc::new(Self {
            honest_calls,
            calls: AtomicU64::new(0),
            samples: AtomicU64::new(0),
        })]
    }
}

impl Row for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            if self.calls.fetch_add(1, Ordering::Relaxed) < self.honest_calls {
                self.samples.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn counted(&self) -> Option<Counted> {
        Some(Counted {
            successes: self.calls.load(Ordering::Relaxed),
            samples: self.samples.load(Ordering::Relaxed),
        })
    }
}

#[test]
fn a_row_that_counts_all_calls_is_measured() {
    let measured = measure(Forgetful::row(u64::MAX), 3, Duration::from_micros(100))
        .map_err(|error| error.to_string())
        .expect("everything was counted");
    for cell in &measured[0].cells {
        assert_eq!(cell.rounds_ns.len(), 3);
        assert!(cell.min_ns() > 0.0);
        assert!((cell.min_ns()..=cell.max_ns()).contains(&cell.median_ns()));
    }
}

#[test]
fn a_row_that_forgets_is_refused_before_it_is_timed() {
    let error = measure(Forgetful::row(10), 1, Duration::from_micros(100))
        .err()
        .expect("latencies are missing");
    assert_eq!(error.counted.samples, 10);
    assert_eq!(error.calls, TEAM as u64 * (CHECK_CALLS + 1));
}

#[test]
fn a_row_that_forgets_while_it_is_timed_is_refused_too() {
    let checked = TEAM as u64 * (CHECK_CALLS + 1);
    let error = measure(Forgetful::row(checked), 1, Duration::from_micros(100))
        .err()
        .expect("latencies are missing");
    assert_eq!(error.counted.samples, checked);
    assert_eq!(error.counted.successes, error.calls);
}

#[test]
fn a_round_measures_only_the_threads_it_is_asked_for() {
    let mut measurement = Measurement::new(Forgetful::row(u64::MAX)).expect("all is counted");
    measurement.round(Duration::from_micros(100), &[1, 4]);
    let measured = measurement.finish().map_err(|error| error.to_string());
    let cells = &measured.expect("all is counted")[0].cells;
    assert_eq!(cells.each_ref().map(|cell| cell.rounds_ns.len()), [1, 0, 1]);
}
