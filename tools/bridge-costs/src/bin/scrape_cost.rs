//! The cost and size of one scrape of `toolmeter-prometheus`.
//!
//! ```text
//! cargo run --release --package toolmeter-bridge-costs --bin scrape_cost -- --tools 1000
//! ```
//!
//! Each tool has calls of all outcomes and kinds of failure, with a latency in every octave from 1 ms
//! to 4 minutes. The program prints, for each setting, the median and the shortest time of a scrape
//! (reading the totals, collecting and encoding them), the number of series and the bytes. Then it
//! prints the size of the totals as JSON and the time to merge two of them.

use clap::Parser;
use std::error::Error;
use std::fmt::{self, Write};
use std::time::{Duration, Instant};
use toolmeter::{ErrorKind, LatencyBounds, Registry};
use toolmeter_prometheus::prometheus_client::{encoding::prometheus_text, registry};
use toolmeter_prometheus::{ToolCollector, ZeroSeries};

const SCRAPES: usize = 31;

/// Measures the time and the size of one scrape.
#[derive(Debug, Parser)]
struct Args {
    /// The number of tools.
    #[arg(long, default_value_t = 1_000)]
    tools: usize,
}

fn used_registry(tools: usize) -> Result<Registry, Box<dyn Error>> {
    let (registry, clock) = toolmeter_bridge_costs::registry(tools)?;
    let names = (0..tools).map(|n| format!("mcp__server_{}__tool_{n}", n / 50));
    for tool in registry.register_all(names)? {
        for exponent in 20..38 {
            let started = [tool.start(), tool.start(), tool.start()];
            clock.advance(Duration::from_nanos(3 << (exponent - 1)));
            let [success, failure, cancelled] = started;
            success.succeed();
            let kind = ErrorKind::ALL[exponent % ErrorKind::COUNT];
            failure.fail(kind, "failed");
            cancelled.cancel();
        }
        tool.start().reject("denied");
        tool.call().attempt(2).start().succeed();
    }
    Ok(registry)
}

/// A writer that counts bytes and lines, and stores nothing.
#[derive(Default)]
struct Weight {
    bytes: usize,
    lines: usize,
}

impl Write for Weight {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes += text.len();
        self.lines += text.bytes().filter(|&byte| byte == b'\n').count();
        Ok(())
    }
}

/// Returns the median and the shortest time of many runs.
fn times(mut run: impl FnMut()) -> String {
    let mut times: Vec<Duration> = (0..SCRAPES)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let [median, least] = [times[SCRAPES / 2], times[0]].map(|time| time.as_secs_f64() * 1e3);
    format!("{median:.1} ms, at least {least:.1} ms")
}

fn main() -> Result<(), Box<dyn Error>> {
    let tools = Args::parse().tools;
    let registry = used_registry(tools)?;
    let totals = times(|| drop(std::hint::black_box(registry.totals())));
    println!("{tools} tools, totals(): {totals}");
    let collector = ToolCollector::new(&registry);
    for (setting, collector) in [
        ("19 bounds (default)", collector.clone()),
        (
            "10 bounds",
            collector
                .clone()
                .bounds(LatencyBounds::powers_of_two((20..=38).step_by(2))),
        ),
        (
            "no bounds",
            collector.clone().bounds(LatencyBounds::powers_of_two([])),
        ),
        (
            "19 bounds, ZeroSeries::All",
            collector.clone().zero_series(ZeroSeries::All),
        ),
    ] {
        let mut metrics = registry::Registry::default();
        metrics.register_collector(Box::new(collector));
        let mut weight = Weight::default();
        prometheus_text::encode(&mut weight, &metrics)?;
        // As a server does it, into a text that grows.
        let time = times(|| {
            let mut page = String::new();
            let written = prometheus_text::encode(&mut page, &metrics);
            assert!(written.is_ok(), "a String takes everything");
            std::hint::black_box(page);
        });
        let headers = 2 * 9;
        println!(
            "{setting}: {time}; {} series, {:.2} MB",
            weight.lines - headers,
            weight.bytes as f64 / 1e6,
        );
    }
    // Hosts of a fleet may send this instead, and `Snapshot::merge` adds them up.
    let totals = registry.totals();
    let json = serde_json::to_string(&totals)?;
    let merged = times(|| {
        let mut merged = totals.clone();
        merged.merge(&totals);
        std::hint::black_box(merged);
    });
    let megabytes = json.len() as f64 / 1e6;
    println!("as JSON: {megabytes:.2} MB; two snapshots merged: {merged}");
    Ok(())
}
