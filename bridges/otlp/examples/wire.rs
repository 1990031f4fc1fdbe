//! Writes requests to files, with the registry's own numbers beside them, and sends them:
//!
//! ```text
//! cargo run --example wire -- --write DIRECTORY --send http://127.0.0.1:4318/v1/metrics
//! ```
//!
//! The files are `explicit.bin`, `exponential.bin` and `totals.json`. Each `--send` takes the address of
//! a receiver, which is sent both; `real`, beside the tests, compares what others make of them.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter::{Clock, ClockSource, ErrorKind, ManualClock, Pump, Registry, ToolHandle, ToolSpec};
use toolmeter_otlp::{Exponential, OtlpMetrics};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn main() -> Result<(), Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut directory = None;
    let mut addresses = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("write") => directory = Some(PathBuf::from(arguments.value()?)),
            Long("send") => addresses.push(arguments.value()?.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let clock = Arc::new(ManualClock::new());
    // In the past, since receivers refuse what is of the future.
    let built = SystemTime::now() - 5 * DAY;
    let passed = Arc::clone(&clock);
    let tools = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .wall_clock(move || built + Duration::from_nanos(passed.now_ns()))
        .pump(Pump::manual())
        .build()?;
    use_all(&tools, &clock)?;

    let metrics = OtlpMetrics::new(&tools);
    let explicit = metrics.clone().service_name("explicit").zero_points(true);
    let exponential = Exponential::new();
    let exponential = metrics.service_name("exponential").exponential(exponential);
    let requests = [("explicit", explicit), ("exponential", exponential)];
    for (name, metrics) in requests {
        let body = metrics.encode().ok_or("the registry is gone")?;
        if let Some(directory) = &directory {
            std::fs::write(directory.join(name).with_extension("bin"), &body)?;
        }
        for address in &addresses {
            let answer = ureq::post(address)
                .config()
                .timeout_global(Some(Duration::from_secs(10)))
                .build()
                .content_type("application/x-protobuf")
                .send(&body[..])?;
            println!("{name} to {address}: {}", answer.status());
        }
    }
    if let Some(directory) = &directory {
        // After the requests, so that all of them have the time of one reading of a clock that stands.
        let totals = serde_json::to_vec_pretty(&tools.totals())?;
        std::fs::write(directory.join("totals.json"), totals)?;
    }
    Ok(())
}

/// Uses tools in every way, with latencies that are known.
fn use_all(tools: &Registry, clock: &ManualClock) -> Result<(), Box<dyn Error>> {
    let names = ["web_search", "a \"quoted\" name", "名前"];
    for (name, number) in names.into_iter().zip(1_u64..) {
        let tool = tools.register(name)?;
        for step in 0..200_u64 {
            // Over five decades, and different for each tool.
            let latency = Duration::from_nanos(number * 1_013 * (step * step * step + 7));
            call(&tool, clock, step, latency);
        }
        tool.call().reject("denied");
    }
    // Powers of two of a nanosecond and their neighbours, and no time at all.
    let edges = tools.register("edges")?;
    for exponent in 0..46 {
        for ns in [(1_u64 << exponent) - 1, 1 << exponent, (1 << exponent) + 1] {
            let call = edges.start();
            clock.advance(Duration::from_nanos(ns));
            call.succeed();
        }
    }
    // Gone, and back.
    for latency in [1, 3] {
        let tool = tools.register(ToolSpec::new("comes_back"))?;
        clock.advance(Duration::from_secs(60));
        let call = tool.start();
        clock.advance(Duration::from_millis(latency));
        call.succeed();
        drop(tool);
        tools.deregister("comes_back")?;
        tools.reset_metrics();
        tools.pump();
    }
    tools.register("never_called")?;
    Ok(())
}

fn call(tool: &ToolHandle, clock: &ManualClock, step: u64, latency: Duration) {
    let call = tool.call().attempt(1 + (step % 2) as u16).start();
    clock.advance(latency);
    match step % 4 {
        0 => call.cancel(),
        1 => call.fail(ErrorKind::ALL[step as usize % ErrorKind::COUNT], "failed"),
        _ => call.succeed(),
    };
}
