//! `prometheus-client`: a family of counters and one of histograms with one label.
//!
//! The label is a `&'static str`, which is cheaper than the `String` of most programs.

use super::scraped;
use crate::row::{BOUNDS_SECONDS, Counted, Row, TOOL, timed};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::hint::black_box;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    tool: &'static str,
}

/// Returns the rows with handles and by name, each with metrics of its own.
pub(super) fn rows() -> [Arc<dyn Row>; 2] {
    let families = Families::new();
    let labels = Labels { tool: TOOL };
    [
        Arc::new(Handles {
            calls: families.calls.get_or_create_owned(&labels),
            latency: families.latency.get_or_create_owned(&labels),
            families,
        }),
        Arc::new(Families::new()),
    ]
}

struct Handles {
    calls: Counter,
    latency: Histogram,
    families: Families,
}

impl Row for Handles {
    fn name(&self) -> &'static str {
        "prometheus-client/handles"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            self.calls.inc();
            self.latency.observe(latency.as_secs_f64());
        });
    }

    fn counted(&self) -> Option<Counted> {
        self.families.counted()
    }
}

struct Families {
    calls: Family<Labels, Counter>,
    latency: Family<Labels, Histogram>,
    registry: Registry,
}

impl Families {
    fn new() -> Self {
        let calls = Family::default();
        let latency = Family::new_with_constructor(new_histogram as fn() -> Histogram);
        let mut registry = Registry::default();
        registry.register("calls", "Tool calls", calls.clone());
        registry.register("latency_seconds", "Latency of tool calls", latency.clone());
        Self {
            calls,
            latency,
            registry,
        }
    }
}

fn new_histogram() -> Histogram {
    Histogram::new(BOUNDS_SECONDS)
}

impl Row for Families {
    fn name(&self) -> &'static str {
        "prometheus-client/by_name"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            let labels = Labels {
                tool: black_box(TOOL),
            };
            self.calls.get_or_create(&labels).inc();
            self.latency
                .get_or_create(&labels)
                .observe(latency.as_secs_f64());
        });
    }

    fn counted(&self) -> Option<Counted> {
        let mut text = String::new();
        // What cannot be encoded is missing from the text, and so from the counts.
        let _ = encode(&mut text, &self.registry);
        Some(scraped(&text, "calls_total", "latency_seconds_count"))
    }
}
