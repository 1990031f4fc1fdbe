//! The cost and size of one request of `toolmeter-otlp`.
//!
//! ```text
//! cargo run --release --package toolmeter-bridge-costs --bin request_cost -- --tools 1000
//! ```
//!
//! Each tool has calls of all outcomes and all kinds of failure, with latencies over four decades. The
//! program prints the median and the shortest time of reading the registry and, for each kind of
//! histogram, of a request, and the size of the request in bytes.

use clap::Parser;
use std::error::Error;
use std::time::Instant;
use toolmeter_bridge_costs::{register, registry, use_in_all_outcomes};
use toolmeter_otlp::{Exponential, OtlpMetrics};

const REQUESTS: usize = 51;

/// Measures the time and the size of one request.
#[derive(Debug, Parser)]
struct Args {
    /// The number of tools.
    #[arg(long, default_value_t = 1_000)]
    tools: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let tools = Args::parse().tools;
    let (registry, clock) = registry(tools)?;
    for tool in register(&registry, tools)? {
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

/// Returns the last result of `make`, and the median and the shortest time that it took.
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
