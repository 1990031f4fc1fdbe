//! `prometheus`: a counter vector and a histogram vector with one label.

use crate::row::{BOUNDS_SECONDS, Counted, Row, TOOL, timed};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

/// Returns the rows with handles and by name, each with metrics of its own.
pub(super) fn rows() -> Result<[Arc<dyn Row>; 2], Box<dyn Error>> {
    let handles = Vectors::new()?;
    let calls = handles.calls.with_label_values(&[TOOL]);
    let latency = handles.latency.with_label_values(&[TOOL]);
    Ok([
        Arc::new(Handles { calls, latency }),
        Arc::new(Vectors::new()?),
    ])
}

struct Handles {
    calls: IntCounter,
    latency: Histogram,
}

impl Row for Handles {
    fn name(&self) -> &'static str {
        "prometheus/handles"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            self.calls.inc();
            self.latency.observe(latency.as_secs_f64());
        });
    }

    fn counted(&self) -> Option<Counted> {
        Some(Counted {
            successes: self.calls.get(),
            samples: self.latency.get_sample_count(),
        })
    }
}

struct Vectors {
    calls: IntCounterVec,
    latency: HistogramVec,
}

impl Vectors {
    fn new() -> Result<Self, prometheus::Error> {
        let latency = HistogramOpts::new("tool_latency_seconds", "Latency of tool calls")
            .buckets(BOUNDS_SECONDS.to_vec());
        Ok(Self {
            calls: IntCounterVec::new(Opts::new("tool_calls", "Tool calls"), &["tool"])?,
            latency: HistogramVec::new(latency, &["tool"])?,
        })
    }
}

impl Row for Vectors {
    fn name(&self) -> &'static str {
        "prometheus/by_name"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            let tool = black_box(TOOL);
            self.calls.with_label_values(&[tool]).inc();
            self.latency
                .with_label_values(&[tool])
                .observe(latency.as_secs_f64());
        });
    }

    fn counted(&self) -> Option<Counted> {
        Some(Counted {
            successes: self.calls.with_label_values(&[TOOL]).get(),
            samples: self.latency.with_label_values(&[TOOL]).get_sample_count(),
        })
    }
}
