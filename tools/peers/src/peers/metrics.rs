//! The `metrics` facade with its Prometheus recorder.
//!
//! The recorder keeps every raw latency until it is scraped or its upkeep runs, so the upkeep runs
//! between the measurements. Its cost, which a host has on its upkeep thread, is not in the
//! figures.

use super::scraped;
use crate::row::{Counted, Row, TOOL, timed};
use metrics::{Counter, Histogram, counter, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

/// Installs the recorder, which works once in a process, and returns the rows.
pub(super) fn rows() -> Result<[Arc<dyn Row>; 2], Box<dyn Error>> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    Ok([
        Arc::new(Handles {
            calls: counter!("handles_calls_total", "tool" => TOOL),
            latency: histogram!("handles_latency_seconds", "tool" => TOOL),
            scrape: scrape.clone(),
        }),
        Arc::new(Names { scrape }),
    ])
}

struct Handles {
    calls: Counter,
    latency: Histogram,
    scrape: PrometheusHandle,
}

impl Row for Handles {
    fn name(&self) -> &'static str {
        "metrics/handles"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            self.calls.increment(1);
            self.latency.record(latency);
        });
    }

    fn counted(&self) -> Option<Counted> {
        counted(
            &self.scrape,
            "handles_calls_total",
            "handles_latency_seconds_count",
        )
    }

    fn settle(&self) {
        self.scrape.run_upkeep();
    }
}

struct Names {
    scrape: PrometheusHandle,
}

impl Row for Names {
    fn name(&self) -> &'static str {
        "metrics/by_name"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            let tool = black_box(TOOL);
            counter!("names_calls_total", "tool" => tool).increment(1);
            histogram!("names_latency_seconds", "tool" => tool).record(latency);
        });
    }

    fn counted(&self) -> Option<Counted> {
        counted(
            &self.scrape,
            "names_calls_total",
            "names_latency_seconds_count",
        )
    }

    fn settle(&self) {
        self.scrape.run_upkeep();
    }
}

fn counted(scrape: &PrometheusHandle, calls: &str, samples: &str) -> Option<Counted> {
    Some(scraped(&scrape.render(), calls, samples))
}
