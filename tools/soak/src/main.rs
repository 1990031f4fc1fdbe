//! A soak test: registries loaded in every way at once, by tools that fail, panic, hang and change
//! threads, while tools come and go and there are readers and subscribers of all kinds.
//!
//! ```text
//! calls, threads, tasks, agents, churn ----> registry ----> readers: intervals, resets
//!        | each counts for itself                '--------> listeners, guests: events
//!        '--> checks: are both columns equal, to the last call and event? <--'
//! ```
//!
//! | file | contents |
//! | --- | --- |
//! | `load.rs` | one run, from the first call to the last |
//! | `host.rs` | the registry, and its warm-up |
//! | `tools.rs` | the tools, and their bodies |
//! | `calls.rs`, `crossing.rs` | calls of plain threads, and those that change threads |
//! | `threads.rs` | threads that come and go |
//! | `tasks.rs`, `agents.rs` | calls of tasks on a runtime, direct and by `AutoRun` |
//! | `churn.rs` | tools that come and go |
//! | `roomy.rs` | a second registry, whose rings lose nothing |
//! | `crowd.rs` | a third one, where more names come and go than it remembers |
//! | `rude.rs` | a fourth one, whose host is hostile |
//! | `foreign.rs` | hostile code, with `redactors.rs`, `wakers.rs` and `bodies.rs` |
//! | `halting.rs` | receivers that stop half way |
//! | `stepping.rs` | a fifth registry, whose clocks step |
//! | `forks.rs` | forked children, which use these registries |
//! | `readers.rs` | cursors, resets, snapshots |
//! | `listeners.rs`, `window.rs`, `guests.rs` | subscribers, and the order of their events |
//! | `counts.rs`, `did.rs`, `memory.rs`, `remains.rs`, `checks.rs` | the counts, and their comparison |

mod agents;
mod args;
mod bodies;
mod calls;
mod checks;
mod churn;
mod counts;
mod crossing;
mod crowd;
mod did;
mod foreign;
#[cfg(unix)]
mod forks;
mod guests;
mod halting;
mod host;
mod listeners;
mod load;
mod memory;
mod readers;
mod redactors;
mod remains;
mod roomy;
mod rude;
mod stepping;
mod tasks;
mod threads;
mod tools;
mod wakers;
mod window;

use args::Args;
use checks::{Check, Checks};
use clap::Parser;
use did::Did;
use load::Run;
use memory::Memory;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The longest time from the end of the load until everything is at rest, even on a machine that is
/// busy or was suspended for a while.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let args = Args::parse();
    match soak(&args) {
        Ok(report) => show(&args, &report),
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(1)
        }
    }
}

fn soak(args: &Args) -> Result<Report, Box<dyn std::error::Error>> {
    let deadline = args.load() + PATIENCE;
    thread::spawn(move || {
        thread::sleep(deadline);
        eprintln!("soak: not at rest after {deadline:?}: something waits and is not woken");
        std::process::exit(1);
    });
    let run = load::run(args.load(), !args.no_forks)?;
    Ok(Report::new(args, &run))
}

fn show(args: &Args, report: &Report) -> ExitCode {
    if args.json {
        match serde_json::to_string(report) {
            Ok(json) => print(&json),
            Err(error) => eprintln!("soak: {error}"),
        }
    } else {
        print(&report.to_text());
    }
    for error in report.errors() {
        eprintln!("soak: {error}");
    }
    if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

/// Prints a text. A closed pipe is not an error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The findings of a run.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    seconds: u64,
    calls: u64,
    nameless_tools: u64,
    events_offered: u64,
    events_lost_in_rings: u64,
    events_drained: u64,
    events_late: u64,
    /// Events of calls so long that the order of their events was not checked.
    events_of_unknown_order: u64,
    differences: usize,
    not_done: Vec<&'static str>,
    bytes_in_use: Memory,
    did: BTreeMap<&'static str, u64>,
    checks: Vec<Check>,
}

impl Report {
    fn new(args: &Args, run: &Run) -> Self {
        let checks = Checks::of(run);
        let differences = checks.iter().filter(|check| !check.agrees()).count();
        let not_done = checks::not_done(run, !args.no_forks);
        let memory = run.memory;
        Self {
            ok: differences == 0 && not_done.is_empty() && !memory.grew(),
            seconds: args.seconds,
            calls: run.calls(),
            nameless_tools: run.crowd.nameless,
            events_offered: run.events.offered,
            events_lost_in_rings: run.events.lost_in_rings,
            events_drained: run.events.drained,
            events_late: run.events.late,
            events_of_unknown_order: run.heard.iter().map(|heard| heard.forgotten).sum(),
            differences,
            not_done,
            bytes_in_use: memory,
            did: Did::ALL
                .iter()
                .map(|&did| (did.name(), run.done(did)))
                .collect(),
            checks,
        }
    }

    /// Returns the errors, one line each.
    fn errors(&self) -> Vec<String> {
        let checks = self.checks.iter().filter(|check| !check.agrees());
        let mut errors: Vec<_> = checks
            .map(|check| {
                let Check {
                    what,
                    expected,
                    toolmeter,
                } = check;
                format!("does not agree: {what}: expected {expected}, toolmeter {toolmeter}")
            })
            .collect();
        errors.extend(self.not_done.iter().map(|what| format!("not done: {what}")));
        if self.bytes_in_use.grew() {
            errors.push(format!("memory grew: {:?}", self.bytes_in_use));
        }
        errors
    }

    /// Returns both columns as a table.
    fn to_text(&self) -> String {
        let mut lines = vec![format!("{:<56}{:>14}{:>14}", "", "expected", "toolmeter")];
        lines.extend(self.checks.iter().map(|check| {
            let mark = if check.agrees() { "" } else { "  differs" };
            let (what, expected, toolmeter) = (&check.what, check.expected, check.toolmeter);
            format!("{what:<56}{expected:>14}{toolmeter:>14}{mark}")
        }));
        lines.push(String::new());
        lines.extend(
            self.did
                .iter()
                .map(|(what, times)| format!("{what:<56}{times:>14}")),
        );
        let megabytes = |bytes: u64| format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20));
        let memory = &self.bytes_in_use;
        lines.push(format!(
            "{} calls; {} tools lost their names; events: {} offered, {} lost in rings, {} late; in use after a third {}, at the \
             end {}; {} comparisons, {} differences",
            self.calls,
            self.nameless_tools,
            self.events_offered,
            self.events_lost_in_rings,
            self.events_late,
            megabytes(memory.after_a_third),
            megabytes(memory.at_the_end),
            self.checks.len(),
            self.differences,
        ));
        lines.join("\n")
    }
}
