//! The registries that the programs of this package measure.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use toolmeter::{ClockSource, ErrorKind, ManualClock, Pump, Registry, ToolHandle};

/// Returns a registry with a manual clock and pump, and that clock.
///
/// # Errors
///
/// If the registry cannot be built.
pub fn registry(tool_limit: usize) -> Result<(Registry, Arc<ManualClock>), Box<dyn Error>> {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .tool_limit(tool_limit)
        .pump(Pump::manual())
        .build()?;
    Ok((registry, clock))
}

/// Registers `number` tools with names as an MCP host gives them.
///
/// # Errors
///
/// If a tool cannot be registered.
pub fn register(registry: &Registry, number: usize) -> Result<Vec<ToolHandle>, Box<dyn Error>> {
    let names = (0..number).map(|number| format!("mcp__server__tool_{number}"));
    Ok(registry.register_all(names)?)
}

/// Makes 30 calls of each outcome, with latencies from 10 us to 100 ms and all kinds of failure, and
/// a call that is rejected.
pub fn use_in_all_outcomes(tool: &ToolHandle, clock: &ManualClock) {
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
