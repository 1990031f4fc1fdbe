//! `--shared-lines`: the number of cache lines that one thread writes and another uses.
//!
//! The cost of a call on many cores depends on the lines that are shared for writing. They are
//! counted and not timed, since a count holds on any number of cores. The program starts itself
//! under valgrind's `lackey`, which reports every load and store. Two threads take turns: one makes
//! its calls while the other sleeps. Stores into words on lines of their own mark in the trace
//! where a turn begins and ends. A line is shared if one thread stored into it in its turns, and
//! the other loaded from it or stored into it in its own. Lines are counted in pairs, as processors
//! fetch them.
//!
//! Both threads have made calls before, so the turns contain nothing that only a thread's first calls
//! do, such as taking a stripe. Under valgrind one thread runs at a time, so the trace is in order, but
//! it does not name the thread of a store. So a turn begins a while after the thread was woken, when
//! the thread that woke it already waits.

use crate::row::TOOL;
use crate::team;
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

/// The number of calls of a thread in a turn.
const CALLS: u64 = 64;
/// The number of turns of each thread that are counted.
const TURNS: usize = 2;
/// The length of two lines.
const PAIR_BYTES: u64 = 128;
/// The time after which the thread that started a turn waits for its end.
const AT_REST: Duration = Duration::from_millis(200);

/// A word in lines of its own: the processor fetches them in pairs.
#[repr(align(128))]
struct Mark(AtomicU64);

/// The marks of the start of a turn of each thread, and of the end of a turn.
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

/// The calls of a scenario, and their set-up.
struct Scenario {
    /// The name by which the program selects it when it starts itself.
    id: &'static str,
    name: &'static str,
    stripes: usize,
    is_subscribed: bool,
    /// `true` if the threads may share lines. Otherwise a shared line is an error.
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
/// When valgrind cannot be started, a scenario does not run, or calls that must not share lines do.
pub(crate) fn report() -> Result<String, Box<dyn Error>> {
    let mut text = format!(
        "{:<42}{:>14}{:>16}{:>24}\n{}\n",
        "of one call of two threads on one tool",
        "stores",
        "pairs written",
        "stores to shared pairs",
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
            counted.pairs,
            shared(&counted, calls)
        );
    }
    text.push_str(
        "\nPairs of cache lines, those of the stack included. In brackets: how many are shared, as one \
         thread\nwrites them and the other reads or writes them.\n",
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

/// Makes the calls of a scenario in turns, and returns the addresses of the marks. This runs under
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
                team::reuse_own_memory();
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

/// The counts from the trace of a scenario.
#[derive(Debug, Default)]
struct Counted {
    /// Stores in the turns of both threads.
    stores: u64,
    /// Pairs of lines that the first thread stored into.
    pairs: usize,
    /// Pairs that one thread stored into and the other used, with the stores of both.
    shared: BTreeMap<u64, u64>,
}

fn counted(scenario: &Scenario) -> Result<Counted, Box<dyn Error>> {
    let trace = env::temp_dir().join(format!("toolmeter-{}-{}", scenario.id, std::process::id()));
    let counted = traced(scenario, &trace);
    // There may be no file.
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

/// The number of stores of a thread into each pair of lines that it used.
type Uses = HashMap<u64, u64>;

/// Counts the uses in a trace: ` L address,size` is a load, ` S` a store, ` M` both.
fn count(
    lines: impl Iterator<Item = std::io::Result<String>>,
    marks: [u64; 3],
) -> std::io::Result<Counted> {
    let mut by_thread = [Uses::new(), Uses::new()];
    let mut turn = None;
    for line in lines {
        let line = line?;
        let Some((address, is_store)) = used(&line) else {
            continue;
        };
        let mark = marks.iter().position(|&mark| is_store && mark == address);
        if let Some(mark) = mark {
            turn = (mark != END).then_some(mark);
        } else if let Some(thread) = turn {
            *by_thread[thread].entry(address / PAIR_BYTES).or_default() += u64::from(is_store);
        }
    }
    let [first, second] = by_thread;
    let shared = first.iter().filter_map(|(pair, stores)| {
        let stores = stores + second.get(pair)?;
        (stores > 0).then_some((*pair, stores))
    });
    Ok(Counted {
        stores: first.values().chain(second.values()).sum(),
        pairs: first.values().filter(|stores| **stores > 0).count(),
        shared: shared.collect(),
    })
}

/// Returns the address in a line of the trace, and whether it was stored into.
fn used(line: &str) -> Option<(u64, bool)> {
    let is_store = match line.get(..3)? {
        " L " => false,
        " S " | " M " => true,
        _ => return None,
    };
    let (address, _) = line[3..].split_once(',')?;
    Some((u64::from_str_radix(address, 16).ok()?, is_store))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of pairs that both use: 0x5000 is written by both, 0x7000 by one, 0x8000 by the other, and
    /// 0x9000 is only read. Others are used by one, or outside of the turns.
    #[test]
    fn a_pair_is_shared_if_one_thread_writes_it_and_the_other_uses_it() {
        let trace = "\
==1== lackey
I  00401000,3
 S 00005000,8
 L 00000100,8
 S 0000a000,8
 S 00000100,8
 S 00005000,8
 S 00006000,8
 L 00007000,8
 M 00008040,8
 L 00009000,8
 S 00000300,8
 S 00007000,8
 S 00000200,8
 M 00005060,4
 S 00007020,8
 S 00007028,8
 L 00008000,8
 L 00009008,8
 S 0000a000,8
 S 00000300,8
 S 00006000,8
";
        let lines = trace.lines().map(|line| Ok(line.to_owned()));
        let counted = count(lines, [0x100, 0x200, 0x300]).expect("a trace");
        assert_eq!((counted.stores, counted.pairs), (7, 3));
        let shared_pairs = [(0x5000, 2), (0x7000, 2), (0x8000, 1)];
        let shared_pairs = shared_pairs.map(|(address, stores)| (address / PAIR_BYTES, stores));
        assert_eq!(counted.shared, BTreeMap::from(shared_pairs));
        assert_eq!(shared(&counted, 2.0), "2.50 (3)");
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
