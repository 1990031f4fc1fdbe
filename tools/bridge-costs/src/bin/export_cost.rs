//! The cost of one export of `toolmeter-metrics`.
//!
//! ```text
//! cargo run --release --package toolmeter-bridge-costs --bin export_cost -- --tools 1000
//! ```
//!
//! Each round makes 30 calls of each outcome of each tool, with all kinds of failure and latencies
//! over four decades, and then exports twice: once with all calls new, once with none. The program
//! prints the median and the shortest time of both exports, for the recorders of `metrics-util` and
//! of `metrics-exporter-prometheus`.

use clap::Parser;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::debugging::DebuggingRecorder;
use std::error::Error;
use std::time::Instant;
use toolmeter::{ManualClock, Registry, ToolHandle};
use toolmeter_bridge_costs::{register, registry, use_in_all_outcomes};
use toolmeter_metrics::{MetricsExporter, metrics::Recorder};

const EXPORTS: usize = 21;

/// Measures the time of one export of a registry.
#[derive(Debug, Parser)]
struct Args {
    /// The number of tools.
    #[arg(long, default_value_t = 1_000)]
    tools: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let number = Args::parse().tools;
    let (registry, clock) = registry(number)?;
    let tools = register(&registry, number)?;
    println!("{number} tools, {EXPORTS} exports each");

    let debugging = DebuggingRecorder::new();
    let snapshotter = debugging.snapshotter();
    cost("debugging", &registry, &tools, &clock, &debugging, || {
        drop(snapshotter.snapshot());
    });
    let prometheus = PrometheusBuilder::new().build_recorder();
    let page = prometheus.handle();
    cost("prometheus", &registry, &tools, &clock, &prometheus, || {
        page.run_upkeep();
    });
    Ok(())
}

/// Prints the times of exports into this recorder. `drain` removes what was recorded, as a scrape
/// does.
fn cost(
    name: &str,
    registry: &Registry,
    tools: &[ToolHandle],
    clock: &ManualClock,
    recorder: &dyn Recorder,
    drain: impl Fn(),
) {
    let mut exporter = MetricsExporter::new(registry);
    let (mut used, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..EXPORTS {
        for tool in tools {
            use_in_all_outcomes(tool, clock);
        }
        for times in [&mut used, &mut idle] {
            let began = Instant::now();
            let exported = exporter.export_to(recorder);
            times.push((began.elapsed(), exported));
        }
        drain();
    }
    for (what, mut times) in [("all used", used), ("nothing new", idle)] {
        times.sort_unstable_by_key(|time| time.0);
        let ((shortest, _), (median, exported)) = (times[0], times[EXPORTS / 2]);
        println!("{name}, {what}: {median:.1?} (shortest {shortest:.1?}); {exported:?}");
    }
}
