//! What one scrape costs and weighs: a registry of 1,000 tools that were used in all outcomes and
//! kinds, with latencies in every octave from 1 ms to 4 minutes.
//!
//! `cargo run --release --example scrape_cost [tools]` prints the median of 31 scrapes for each
//! setting: reading the totals, collecting and encoding all of it, series, bytes.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use toolmeter::{ClockSource, ErrorKind, ManualClock, Pump, Registry};
use toolmeter_prometheus::prometheus_client::{encoding::prometheus_text, registry};
use toolmeter_prometheus::{Bounds, ToolCollector, ZeroSeries};

const SCRAPES: usize = 31;

fn registry(tools: usize) -> Result<Registry, Box<dyn std::error::Error>> {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .tool_limit(tools.max(1))
        .pump(Pump::manual())
        .build()?;
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

/// Counts what is written, and keeps nothing of it.
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

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..SCRAPES)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[SCRAPES / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tools = match std::env::args().nth(1) {
        Some(tools) => tools.parse()?,
        None => 1_000,
    };
    let registry = registry(tools)?;
    let totals = median(|| drop(std::hint::black_box(registry.totals())));
    println!(
        "{tools} tools, totals() {:.2} ms",
        totals.as_secs_f64() * 1e3
    );
    let collector = ToolCollector::new(&registry);
    for (setting, collector) in [
        ("19 bounds (default)", collector.clone()),
        (
            "10 bounds",
            collector
                .clone()
                .bounds(Bounds::exponents((20..=38).step_by(2))),
        ),
        ("no bounds", collector.clone().bounds(Bounds::exponents([]))),
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
        let time = median(|| {
            let mut page = String::new();
            let written = prometheus_text::encode(&mut page, &metrics);
            assert!(written.is_ok(), "a String takes everything");
            std::hint::black_box(page);
        });
        let headers = 2 * 9;
        println!(
            "{setting}: {:.1} ms, {} series, {:.2} MB",
            time.as_secs_f64() * 1e3,
            weight.lines - headers,
            weight.bytes as f64 / 1e6,
        );
    }
    Ok(())
}
