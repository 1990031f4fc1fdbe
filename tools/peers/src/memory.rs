//! `--memory`: the resident memory of toolmeter.
//!
//! Each figure comes from a process of its own, which the program starts from itself, so that
//! memory that one figure freed cannot serve the next. A figure is the growth of `VmRSS` in
//! `/proc/self/status` since before the registry was built.
//!
//! Tools in use have had calls that took 100 us to 100 s, spread evenly over that range on a
//! logarithmic scale, with each outcome on each of two threads. A manual clock gives the calls
//! these latencies.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{
    BuildError, ClockSource, ErrorKind, ManualClock, Pump, RegisterError, Registry, ToolHandle,
    ToolSpec,
};

const UNUSED_TOOLS: usize = 10_000;
const USED_TOOLS: usize = 1_000;
const USING_THREADS: usize = 2;
/// The number of latencies of each tool on each thread, with one call of each outcome: two to an
/// octave.
const CALLS: u32 = 41;
const SHORTEST_NS: f64 = 1e5;
const LONGEST_NS: f64 = 1e11;
/// The longest time until the slots of retired tools are free. Each round of the pump spends a few
/// milliseconds on them.
const FREEING: Duration = Duration::from_secs(30);
/// The numbers of stripes with which each figure is measured.
pub(crate) const STRIPES: [usize; 2] = [2, 8];

/// Something that is measured in a process of its own.
#[derive(Debug)]
pub(crate) struct Figure {
    /// The name by which the program selects it when it starts itself.
    id: &'static str,
    pub(crate) name: &'static str,
    /// The number of shares that the memory is divided into.
    shares: usize,
    unit: &'static str,
}

/// Tools that are never called.
pub(crate) const UNUSED: Figure = Figure {
    id: "unused",
    name: "10,000 unused tools",
    shares: UNUSED_TOOLS,
    unit: "a tool",
};
/// Tools in use.
pub(crate) const USED: Figure = Figure {
    id: "used",
    name: "1,000 tools in use by 2 threads",
    shares: USED_TOOLS * USING_THREADS,
    unit: "a tool and thread",
};
/// Tools in use, in slots that others used before.
pub(crate) const REUSED: Figure = Figure {
    id: "reused",
    name: "the same, freed and registered again",
    ..USED
};
const FIGURES: [Figure; 3] = [UNUSED, USED, REUSED];

/// Measures every figure and returns the table.
///
/// # Errors
///
/// When the program cannot start itself, or a figure cannot be measured.
pub(crate) fn report() -> Result<String, Box<dyn Error>> {
    let mut text = format!(
        "{:<40}{:>9}{:>14}{:>10}{:>24}\n",
        "resident memory", "stripes", "bytes", "MiB", "KiB"
    );
    for figure in FIGURES {
        for stripes in STRIPES {
            let resident = figure.measured_apart(stripes)?;
            let Figure { name, unit, .. } = figure;
            writeln!(
                text,
                "{name:<40}{stripes:>9}{:>14}{:>10.1}{:>24}",
                resident.bytes,
                resident.mebibytes(),
                format!("{:.2} {unit}", resident.kibibytes_of_a_share())
            )?;
        }
    }
    Ok(text)
}

/// The value of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    bytes: u64,
    shares: usize,
}

impl Resident {
    /// Returns the whole in MiB.
    pub(crate) fn mebibytes(self) -> f64 {
        self.bytes as f64 / (1024.0 * 1024.0)
    }

    /// Returns the share of each tool, or of each tool and thread, in KiB.
    pub(crate) fn kibibytes_of_a_share(self) -> f64 {
        self.bytes as f64 / 1024.0 / self.shares as f64
    }
}

impl Figure {
    /// Starts this program again for this figure.
    ///
    /// # Errors
    ///
    /// When the program cannot start itself, or the figure cannot be measured.
    pub(crate) fn measured_apart(&self, stripes: usize) -> Result<Resident, Box<dyn Error>> {
        let output = Command::new(env::current_exe()?)
            .args(["--memory-figure", self.id])
            .args(["--stripes", &stripes.to_string()])
            .output()?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            let reason = reason.trim();
            return Err(format!("figure `{}` was not measured: {reason}", self.id).into());
        }
        let bytes = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(Resident {
            bytes,
            shares: self.shares,
        })
    }
}

/// Measures a figure in this process, and returns it in bytes.
///
/// # Errors
///
/// When there is no such figure, or the resident memory cannot be read.
pub(crate) fn figure(figure: &str, stripes: usize) -> Result<u64, Box<dyn Error>> {
    let before = resident_bytes()?;
    let (registry, clock) = registry(stripes)?;
    let (kept, rounds) = match figure {
        "unused" => (register(&registry, UNUSED_TOOLS)?, 0),
        "used" => (in_use(&registry, &clock)?, 1),
        "reused" => {
            drop(in_use(&registry, &clock)?);
            for tool in 0..USED_TOOLS {
                registry.deregister(&name(tool))?;
            }
            free_slots(&registry)?;
            (in_use(&registry, &clock)?, 1)
        }
        other => return Err(format!("there is no figure `{other}`").into()),
    };
    let after = resident_bytes()?;
    // Last, since a snapshot takes memory of its own.
    check(&registry, kept.len(), rounds)?;
    Ok(after.saturating_sub(before))
}

/// Returns a registry with a manual clock, and 1,000 tools in use by 2 threads in it, as in
/// [`USED`].
///
/// # Errors
///
/// When they cannot be made, or a call was not counted.
pub(crate) fn tools_in_use(stripes: usize) -> Result<(Registry, Vec<ToolHandle>), Box<dyn Error>> {
    let (registry, clock) = registry(stripes)?;
    let tools = in_use(&registry, &clock)?;
    check(&registry, tools.len(), 1)?;
    Ok((registry, tools))
}

fn registry(stripes: usize) -> Result<(Registry, Arc<ManualClock>), BuildError> {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .pump(Pump::manual())
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .stripes(stripes)
        .build()?;
    Ok((registry, clock))
}

/// Fails unless there are `tools` tools, each of which counted `rounds` rounds of [`in_use`].
fn check(registry: &Registry, tools: usize, rounds: u64) -> Result<(), Box<dyn Error>> {
    let calls = rounds * u64::from(CALLS) * USING_THREADS as u64;
    let metrics = registry.metrics();
    if metrics.tools.len() != tools {
        return Err(format!("{} tools are visible of {tools}", metrics.tools.len()).into());
    }
    for (name, stats) in &metrics.tools {
        let counted = [stats.success(), stats.failure(), stats.cancelled()];
        if counted != [calls; 3] {
            return Err(format!("{name} counted {counted:?} calls, {calls} of each kind").into());
        }
    }
    Ok(())
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

/// Runs the pump until the slots of retired tools are free. Resets return what the tools counted,
/// so that they are no longer shown.
fn free_slots(registry: &Registry) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    while began.elapsed() < FREEING {
        registry.pump();
        registry.reset_metrics();
        if registry.metrics().tools.is_empty() {
            return Ok(());
        }
    }
    Err("tools without a handle were not freed".into())
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

/// Returns `VmRSS` of this process.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_tools_are_counted_from_zero_when_they_are_used_again() {
        figure("reused", 2).expect("every call is counted");
        let error = figure("upused", 2).expect_err("there is no such figure");
        assert!(error.to_string().contains("upused"), "{error}");
    }

    #[test]
    fn a_missing_tool_and_a_missing_call_are_noticed() {
        let (registry, tools) = tools_in_use(2).expect("all is counted");
        assert_eq!(tools.len(), USED_TOOLS);
        assert!(check(&registry, USED_TOOLS + 1, 1).is_err());
        tools[7].start().succeed();
        let error = check(&registry, USED_TOOLS, 1).expect_err("one call too many");
        assert!(error.to_string().contains("tool_7 counted"), "{error}");
    }

    #[test]
    fn a_share_is_of_its_own_kind() {
        let resident = Resident {
            bytes: 3 * 1024 * 1024,
            shares: 1_024,
        };
        assert_eq!(resident.mebibytes(), 3.0);
        assert_eq!(resident.kibibytes_of_a_share(), 3.0);
    }
}
