//! `--memory`: what toolmeter keeps resident.
//!
//! Each figure comes from a process of its own, which the program starts from itself, so that
//! memory that one figure freed cannot serve the next. A figure is the growth of `VmRSS` in
//! `/proc/self/status` since before the registry was built.
//!
//! Tools in use have seen calls that took 100 us to 100 s, spread evenly over that range on a
//! logarithmic scale, as tool calls are, with each outcome on each of two threads. A manual clock
//! gives the calls these latencies.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use toolmeter::{
    ClockSource, ErrorKind, ManualClock, Pump, RegisterError, Registry, ToolHandle, ToolSpec,
};

const UNUSED_TOOLS: usize = 10_000;
const USED_TOOLS: usize = 1_000;
const USING_THREADS: usize = 2;
/// Calls of each tool by each thread, each with each outcome once: two to an octave.
const CALLS: u32 = 41;
const SHORTEST_NS: f64 = 1e5;
const LONGEST_NS: f64 = 1e11;
/// Rounds of the pump within which the slots of retired tools are free.
const FREEING_ROUNDS: usize = 10;
const STRIPES: [usize; 2] = [2, 8];

/// What is measured, by the name under which the program asks itself for it.
const FIGURES: [(&str, usize, &str); 3] = [
    ("unused", UNUSED_TOOLS, "10,000 unused tools"),
    (
        "used",
        USED_TOOLS * USING_THREADS,
        "1,000 tools in use by 2 threads",
    ),
    (
        "reused",
        USED_TOOLS * USING_THREADS,
        "the same, freed and registered again",
    ),
];

/// Measures every figure and hands back the table.
///
/// # Errors
///
/// When the program cannot start itself, or a figure cannot be measured.
pub(crate) fn report() -> Result<String, Box<dyn Error>> {
    let mut text = format!(
        "{:<40}{:>9}{:>14}{:>24}\n",
        "resident memory", "stripes", "MiB", "KiB"
    );
    for (figure, shares, name) in FIGURES {
        for stripes in STRIPES {
            let bytes = measured_apart(figure, stripes)?;
            let mebibytes = bytes as f64 / (1024.0 * 1024.0);
            let share = bytes as f64 / 1024.0 / shares as f64;
            let unit = if figure == "unused" {
                "a tool"
            } else {
                "a tool and thread"
            };
            writeln!(
                text,
                "{name:<40}{stripes:>9}{mebibytes:>14.1}{:>24}",
                format!("{share:.2} {unit}")
            )?;
        }
    }
    Ok(text)
}

/// Starts this program again for one figure.
fn measured_apart(figure: &str, stripes: usize) -> Result<u64, Box<dyn Error>> {
    let output = Command::new(env::current_exe()?)
        .args(["--memory-figure", figure, &stripes.to_string()])
        .output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("figure `{figure}` was not measured: {}", reason.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// One figure, in bytes, of this process.
///
/// # Errors
///
/// When there is no such figure, or the system does not tell what is resident.
pub(crate) fn figure(figure: &str, stripes: usize) -> Result<u64, Box<dyn Error>> {
    let before = resident_bytes()?;
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .pump(Pump::manual())
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .stripes(stripes)
        .build()?;
    let kept = match figure {
        "unused" => register(&registry, UNUSED_TOOLS)?,
        "used" => in_use(&registry, &clock)?,
        "reused" => {
            drop(in_use(&registry, &clock)?);
            for tool in 0..USED_TOOLS {
                registry.deregister(&name(tool))?;
            }
            free_slots(&registry)?;
            in_use(&registry, &clock)?
        }
        other => return Err(format!("there is no figure `{other}`").into()),
    };
    let after = resident_bytes()?;
    drop(kept);
    Ok(after.saturating_sub(before))
}

fn name(tool: usize) -> String {
    format!("tool_{tool}")
}

fn register(registry: &Registry, tools: usize) -> Result<Vec<ToolHandle>, RegisterError> {
    registry.register_all((0..tools).map(|tool| ToolSpec::new(name(tool))))
}

/// Registers tools and meters calls with all outcomes on two threads.
fn in_use(registry: &Registry, clock: &ManualClock) -> Result<Vec<ToolHandle>, Box<dyn Error>> {
    let tools = register(registry, USED_TOOLS)?;
    // The threads live at the same time, so each has a stripe of its own, but they take turns,
    // so that one does not move the clock under the other's calls.
    let turn = std::sync::Barrier::new(USING_THREADS);
    thread::scope(|scope| {
        for thread in 0..USING_THREADS {
            let (tools, turn) = (&tools, &turn);
            scope.spawn(move || {
                for whose in 0..USING_THREADS {
                    if whose == thread {
                        tools.iter().for_each(|tool| use_tool(tool, clock));
                    }
                    turn.wait();
                }
            });
        }
    });
    Ok(tools)
}

/// Lets the pump read retired tools once more, until their slots are there for others.
fn free_slots(registry: &Registry) -> Result<(), Box<dyn Error>> {
    for _ in 0..FREEING_ROUNDS {
        registry.pump();
        registry.publish();
        if registry.metrics().tools.is_empty() {
            return Ok(());
        }
    }
    Err("tools that nobody holds were not freed".into())
}

fn use_tool(tool: &ToolHandle, clock: &ManualClock) {
    for call in 0..CALLS {
        let share = f64::from(call) / f64::from(CALLS - 1);
        let latency_ns = SHORTEST_NS * (LONGEST_NS / SHORTEST_NS).powf(share);
        let latency = Duration::from_nanos(latency_ns as u64);
        let succeeding = tool.start();
        clock.advance(latency);
        succeeding.succeed();
        let failing = tool.start();
        clock.advance(latency);
        failing.fail(ErrorKind::Timeout, "no answer in time");
        let cancelled = tool.start();
        clock.advance(latency);
        drop(cancelled);
    }
}

/// `VmRSS` of this process.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("resident memory is read from /proc/self/status: {error}"))?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("/proc/self/status has no VmRSS")?;
    Ok(kibibytes.parse::<u64>()? * 1024)
}
