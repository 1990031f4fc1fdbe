//! `--shared-lines`: which cache lines two threads both write, counted.
//!
//! What a call costs on many cores follows from the lines that are shared for writing, so they are
//! counted instead of timed: the count holds on any number of cores, a time does not. The program
//! starts itself under valgrind's `lackey`, which tells of every store. Two threads take turns:
//! one makes its calls while the other sleeps, and stores into a word of a line of its own tell
//! the trace where a turn begins and ends. A line that was stored into in turns of both threads is
//! shared.
//!
//! Both threads have made calls before, so that what only a thread's first calls do, as taking a
//! stripe, is not in the turns. Under valgrind one thread runs at a time, so the trace is in order; but
//! it does not tell which thread stored. So a turn begins a while after the thread was woken, when the
//! one that woke it waits.

use crate::row::TOOL;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs::File;
use std::future::{Future, IntoFuture};
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use toolmeter::{ErrorKind, Pump, Registry, ToolHandle, async_tool};

/// Calls of a thread in a turn.
const CALLS: u64 = 64;
/// Turns of each thread that are counted.
const TURNS: usize = 2;
const LINE_BYTES: u64 = 64;
/// Within which whoever began a turn waits for its end.
const AT_REST: Duration = Duration::from_millis(200);

/// A word in lines of its own: the processor fetches them in pairs.
#[repr(align(128))]
struct Mark(AtomicU64);

/// Where a turn of either thread begins, and where one ends.
static MARKS: [Mark; 3] = [const { Mark(AtomicU64::new(0)) }; 3];
const END: usize = 2;

impl Mark {
    #[inline(never)]
    fn store(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    fn address(&self) -> u64 {
        std::ptr::from_ref(&self.0).addr() as u64
    }
}

/// What is called, and how it is set up.
struct Scenario {
    /// The name under which the program asks itself for it.
    id: &'static str,
    name: &'static str,
    stripes: usize,
    is_subscribed: bool,
    /// Whether the threads may share lines; where not, a line that they share is an error.
    may_share: bool,
    call: fn(&Registry, &ToolHandle),
}

const SCENARIOS: [Scenario; 9] = [
    Scenario {
        id: "run",
        name: "run, through a handle",
        stripes: 2,
        is_subscribed: false,
        may_share: false,
        call: run,
    },
    Scenario {
        id: "failure",
        name: "a guard that fails, with a text",
        stripes: 2,
        is_subscribed: false,
        may_share: true,
        call: |_, tool| {
            tool.start().fail(ErrorKind::Timeout, "after 30 s");
        },
    },
    Scenario {
        id: "async",
        name: "run_async, ready at once",
        stripes: 2,
        is_subscribed: false,
        may_share: false,
        call: |_, tool| {
            let _ = poll_once(tool.run_async(async { Ok::<u64, Infallible>(black_box(1)) }));
        },
    },
    Scenario {
        id: "by_name",
        name: "by name, the host's own closure",
        stripes: 2,
        is_subscribed: false,
        may_share: false,
        call: |registry, _| {
            if let Some(tool) = registry.tool(black_box(TOOL)) {
                run(registry, &tool);
            }
        },
    },
    Scenario {
        id: "get",
        name: "by name, with a handle for each call",
        stripes: 2,
        is_subscribed: false,
        may_share: true,
        call: |registry, _| {
            if let Some(tool) = registry.get(black_box(TOOL)) {
                run(registry, &tool);
            }
        },
    },
    Scenario {
        id: "invoke",
        name: "invoke, done at once",
        stripes: 2,
        is_subscribed: false,
        may_share: false,
        call: |registry, _| {
            let call = registry.invoke(black_box(TOOL), Value::Null);
            let _ = poll_once(call.into_future());
        },
    },
    Scenario {
        id: "subscribed",
        name: "run, with a subscriber",
        stripes: 2,
        is_subscribed: true,
        may_share: false,
        call: run,
    },
    Scenario {
        id: "crowded",
        name: "run, two threads on one stripe",
        stripes: 1,
        is_subscribed: false,
        may_share: true,
        call: run,
    },
    Scenario {
        id: "crowded_subscribed",
        name: "the same, with a subscriber",
        stripes: 1,
        is_subscribed: true,
        may_share: true,
        call: run,
    },
];

fn run(_: &Registry, tool: &ToolHandle) {
    let Ok(answer) = tool.run(|| Ok::<u64, Infallible>(black_box(1)));
    black_box(answer);
}

fn poll_once<F: Future>(future: F) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(future).poll(&mut context).is_ready()
}

/// Counts the shared lines of every scenario and returns the table.
///
/// # Errors
///
/// When valgrind cannot be started, a scenario does not run, or calls share lines that must not.
pub(crate) fn report() -> Result<String, Box<dyn Error>> {
    let mut text = format!(
        "{:<42}{:>14}{:>16}{:>24}\n{}\n",
        "of one call of two threads on one tool",
        "stores",
        "lines written",
        "stores to shared lines",
        "-".repeat(96)
    );
    for scenario in &SCENARIOS {
        let counted = counted(scenario)?;
        if !scenario.may_share && !counted.shared.is_empty() {
            let shared = &counted.shared;
            return Err(format!("{}: shared lines: {shared:x?}", scenario.name).into());
        }
        let calls = (2 * TURNS as u64 * CALLS) as f64;
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{:<42}{:>14.1}{:>16}{:>24}",
            scenario.name,
            counted.stores as f64 / calls,
            counted.lines,
            shared(&counted, calls)
        );
    }
    text.push_str(
        "\nLines are those that one thread wrote in its turns, its stack included. In brackets: the \
         shared lines.\n",
    );
    Ok(text)
}

fn shared(counted: &Counted, calls: f64) -> String {
    let stores: u64 = counted.shared.values().sum();
    match counted.shared.len() {
        0 => "0".to_owned(),
        lines => format!("{:.2} ({lines})", stores as f64 / calls),
    }
}

/// Makes the calls of a scenario in turns, and returns the addresses of the marks: what runs under
/// valgrind.
///
/// # Errors
///
/// When there is no such scenario, or its registry cannot be built.
pub(crate) fn take_turns(id: &str) -> Result<String, Box<dyn Error>> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.id == id);
    let scenario = scenario.ok_or_else(|| format!("there is no scenario {id}"))?;
    let registry = Registry::builder()
        .pump(Pump::manual())
        .stripes(scenario.stripes)
        .build()?;
    let tool = registry.register_tool(async_tool(TOOL, |_| async { Ok(Value::Null) }))?;
    let events = scenario.is_subscribed.then(|| registry.subscribe());
    thread::scope(|scope| {
        let threads = [0, 1].map(|of| {
            let (go, turns) = mpsc::channel::<bool>();
            let (done, is_done) = mpsc::channel();
            let (registry, tool) = (&registry, &tool);
            scope.spawn(move || {
                for is_counted in turns {
                    if is_counted {
                        thread::sleep(AT_REST);
                        MARKS[of].store();
                    }
                    for _ in 0..CALLS {
                        (scenario.call)(registry, tool);
                    }
                    if is_counted {
                        MARKS[END].store();
                    }
                    // The other side waits for it.
                    let _ = done.send(());
                }
            });
            (go, is_done)
        });
        for turn in 0..=TURNS {
            for (go, is_done) in &threads {
                let is_counted = turn > 0;
                go.send(is_counted)
                    .and_then(|()| is_done.recv().map_err(|_| mpsc::SendError(is_counted)))?;
            }
            registry.pump();
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    drop(events);
    let [first, second, end] = MARKS.each_ref().map(Mark::address);
    Ok(format!("{first} {second} {end}\n"))
}

/// What the trace of a scenario says.
#[derive(Debug, Default)]
struct Counted {
    /// Stores in the turns of both threads.
    stores: u64,
    /// Lines that the first thread stored into.
    lines: usize,
    /// Lines that both stored into, with the stores of both.
    shared: BTreeMap<u64, u64>,
}

fn counted(scenario: &Scenario) -> Result<Counted, Box<dyn Error>> {
    let trace = env::temp_dir().join(format!("toolmeter-{}-{}", scenario.id, std::process::id()));
    let counted = traced(scenario, &trace);
    // Whether or not there is one.
    let _ = std::fs::remove_file(&trace);
    counted
}

fn traced(scenario: &Scenario, trace: &Path) -> Result<Counted, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=lackey", "--trace-mem=yes"])
        .arg(format!("--log-file={}", trace.display()))
        .arg(env::current_exe()?)
        .args(["--turns", scenario.id])
        .output()
        .map_err(|error| format!("valgrind could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", scenario.id, output.status).into());
    }
    let marks = String::from_utf8(output.stdout)?;
    let marks: Vec<u64> = marks
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let marks = <[u64; 3]>::try_from(marks).map_err(|_| "the marks are not three")?;
    Ok(count(BufReader::new(File::open(trace)?).lines(), marks)?)
}

/// Goes through a trace: a store is a line ` S address,size`, one that also loads ` M address,size`.
fn count(
    lines: impl Iterator<Item = std::io::Result<String>>,
    marks: [u64; 3],
) -> std::io::Result<Counted> {
    let mut by_thread = [HashMap::<u64, u64>::new(), HashMap::new()];
    let mut turn = None;
    for line in lines {
        let line = line?;
        let Some(address) = stored(&line) else {
            continue;
        };
        if let Some(mark) = marks.iter().position(|&mark| mark == address) {
            turn = (mark != END).then_some(mark);
        } else if let Some(thread) = turn {
            *by_thread[thread].entry(address / LINE_BYTES).or_default() += 1;
        }
    }
    let [first, second] = by_thread;
    let shared = first.iter().filter_map(|(line, stores)| {
        let others = second.get(line)?;
        Some((*line, stores + others))
    });
    Ok(Counted {
        stores: first.values().chain(second.values()).sum(),
        lines: first.len(),
        shared: shared.collect(),
    })
}

fn stored(line: &str) -> Option<u64> {
    let access = line
        .strip_prefix(" S ")
        .or_else(|| line.strip_prefix(" M "))?;
    let (address, _) = access.split_once(',')?;
    u64::from_str_radix(address, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shared_if_both_threads_store_into_it_in_their_turns() {
        let trace = "\
==1== lackey
I  00401000,3
 S 00005000,8
 S 00000100,8
 S 00005000,8
 S 00006000,8
 L 00007000,8
 S 00000300,8
 S 00007000,8
 S 00000200,8
 M 00005020,4
 S 00007000,8
 S 00000300,8
 S 00006000,8
";
        let lines = trace.lines().map(|line| Ok(line.to_owned()));
        let counted = count(lines, [0x100, 0x200, 0x300]).expect("a trace");
        assert_eq!((counted.stores, counted.lines), (4, 2));
        assert_eq!(counted.shared, BTreeMap::from([(0x5000 / 64, 2)]));
        assert_eq!(shared(&counted, 2.0), "1.00 (1)");
        assert_eq!(shared(&Counted::default(), 2.0), "0");
    }

    #[test]
    fn every_scenario_runs() {
        for scenario in &SCENARIOS {
            let marks = take_turns(scenario.id).expect(scenario.id);
            assert_eq!(marks.split_whitespace().count(), 3, "{}", scenario.id);
        }
        assert!(take_turns("none").is_err());
    }
}
