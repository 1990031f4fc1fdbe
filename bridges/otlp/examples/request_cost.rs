//! What one request costs and weighs:
//!
//! ```text
//! cargo run --release --example request_cost -- --tools 1000
//! ```
//!
//! Each tool is used in all outcomes and all kinds of failure, with latencies over four decades. Prints,
//! for each kind of histogram, the median and the shortest of the times of a request, how much of that is
//! reading the registry, and the bytes.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use toolmeter::{ClockSource, ErrorKind, ManualClock, Pump, Registry, ToolHandle};
use toolmeter_otlp::{Exponential, OtlpMetrics};

const REQUESTS: usize = 51;

fn main() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut tools = 1_000_usize;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("tools") => tools = arguments.value()?.parse()?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .tool_limit(tools)
        .pump(Pump::manual())
        .build()?;
    for tool in
        registry.register_all((0..tools).map(|number| format!("mcp__server__tool_{number}")))?
    {
        use_in_all_outcomes(&tool, &clock);
    }

    let (_, reading) = timed(|| registry.totals());
    println!("{tools} tools, {REQUESTS} requests each; reading the registry alone: {reading}");
    let metrics = OtlpMetrics::new(&registry).service_name("cost");
    let exponential = metrics.clone().exponential(Exponential::new());
    for (name, metrics) in [
        ("explicit", metrics.clone()),
        ("explicit, zero points", metrics.zero_points(true)),
        ("exponential", exponential.clone()),
        (
            "exponential, and the conventions' metric",
            exponential.execute_tool_duration(true),
        ),
    ] {
        let (_, made) = timed(|| metrics.request());
        let (bytes, encoded) = timed(|| metrics.encode());
        let bytes = bytes.ok_or("the registry is gone")?.len();
        println!("{name}: made {made}; made and encoded {encoded}; {bytes} bytes");
    }
    Ok(())
}

fn use_in_all_outcomes(tool: &ToolHandle, clock: &ManualClock) {
    // From 10 us to 100 ms, 30 latencies of each outcome.
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

/// Returns what it makes, and how long that takes.
fn timed<T>(mut make: impl FnMut() -> T) -> (T, String) {
    let mut made = make();
    let mut times: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let began = Instant::now();
            made = make();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (shortest, median) = (times[0], times[REQUESTS / 2]);
    (made, format!("{median:.1?} (shortest {shortest:.1?})"))
}
