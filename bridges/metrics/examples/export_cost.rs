//! What one export costs:
//!
//! ```text
//! cargo run --release --example export_cost -- --tools 1000
//! ```
//!
//! Before each export each tool is used in all outcomes and all kinds of failure, 30 times each, with
//! latencies over four decades. Prints the median and the shortest of the times of an export, for
//! recorders of `metrics-util` and `metrics-exporter-prometheus`, and of one where nothing is new.

use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::debugging::DebuggingRecorder;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use toolmeter::{ClockSource, ErrorKind, ManualClock, Pump, Registry, ToolHandle};
use toolmeter_metrics::{MetricsExporter, metrics::Recorder};

const EXPORTS: usize = 21;

fn main() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut number = 1_000_usize;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("tools") => number = arguments.value()?.parse()?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .tool_limit(number)
        .pump(Pump::manual())
        .build()?;
    let names = (0..number).map(|number| format!("mcp__server__tool_{number}"));
    let tools = registry.register_all(names)?;
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

/// Prints what exports into this recorder take; `drain` takes out what was recorded, as a scrape does.
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

fn use_in_all_outcomes(tool: &ToolHandle, clock: &ManualClock) {
    for step in 0..30 {
        let latency = Duration::from_micros(10).mul_f64(10_f64.powf(f64::from(step) * 4.0 / 29.0));
        let kind = ErrorKind::ALL[step as usize % ErrorKind::COUNT];
        let (success, failure, cancelled) = (tool.start(), tool.start(), tool.start());
        clock.advance(latency);
        success.succeed();
        failure.fail(kind, "failed");
        cancelled.cancel();
    }
    tool.call().reject("denied");
}
