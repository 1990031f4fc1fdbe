//! The path of a metered call makes no system call. `strace` counts them over a million calls.
//!
//! A test starts this program again under `strace -ff`, which writes the system calls of each
//! thread into a file of its own. The thread that makes the calls writes a line to standard error
//! before them and another after them; the lines of its file between the two are the system calls
//! of the metered calls. Where `strace` is missing or may not trace, the tests print that and show
//! nothing.
#![cfg(all(target_os = "linux", not(toolmeter_loom)))]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{Pump, Registry, ToolHandle};

const CALLS: usize = 1_000_000;
/// Set in the program that is traced.
const TRACED: &str = "TOOLMETER_TRACED";
const BEGIN: &str = "the metered calls begin";
const END: &str = "the metered calls have ended";
/// The text before the number of times that the pump may have slept.
const SLEEPS: &str = "sleeps at most: ";
/// The pump sleeps only after no event came for this long.
const AWAKE: Duration = Duration::from_millis(100);

/// Writes one line to standard error with one system call. `eprintln` makes two.
fn say(line: &str) {
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Makes a million calls between the two lines. Returns the time that they took.
fn metered_calls(tool: &ToolHandle) -> Duration {
    // The first call of a thread may make system calls.
    tool.start().succeed();
    say(BEGIN);
    let began = Instant::now();
    for n in 0..CALLS / 2 {
        assert_eq!(tool.run(|| Ok::<_, String>(n)), Ok(n));
        tool.start().succeed();
    }
    let took = began.elapsed();
    say(END);
    took
}

/// Returns the system calls between the two lines in the traces of one run of `test` of this
/// program, and its standard error; or `None` if it could not be traced.
fn traced(test: &str) -> Option<(Vec<String>, String)> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("traces_of_{test}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let output = Command::new("strace")
        .args(["-ff", "-qq", "-s", "64", "-o"])
        .arg(folder.join("thread"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(TRACED, "1")
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("ptrace") => {
            println!("SKIPPED {test}: strace may not trace here");
            return None;
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            println!("SKIPPED {test}: strace cannot be run ({error}); it needs to be installed");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(BEGIN) && said.contains(END), "{said}");
    let files = fs::read_dir(&folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let calls = files.flat_map(|file| between_the_lines(&file)).collect();
    Some((calls, said))
}

fn between_the_lines(file: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let calls = text.lines().skip_while(|line| !line.contains(BEGIN));
    let calls = calls.skip(1).take_while(|line| !line.contains(END));
    calls.map(str::to_owned).collect()
}

fn is_traced() -> bool {
    std::env::var_os(TRACED).is_some()
}

#[test]
fn a_call_without_a_subscription_asks_for_nothing() {
    if is_traced() {
        let registry = Registry::builder()
            .pump(Pump::background())
            .build()
            .unwrap();
        metered_calls(&registry.register("web_search").unwrap());
        return;
    }
    if let Some((calls, _)) = traced("a_call_without_a_subscription_asks_for_nothing") {
        assert!(
            calls.len() <= 10,
            "{} of {CALLS} calls: {calls:#?}",
            calls.len()
        );
    }
}

#[test]
fn a_call_that_somebody_hears_of_asks_for_a_wake_up_at_most() {
    if is_traced() {
        let registry = Registry::builder()
            .pump(Pump::background())
            .build()
            .unwrap();
        let tool = registry.register("web_search").unwrap();
        let events = registry.subscribe();
        let receiver = thread::spawn(move || events.iter().map(|batch| batch.len()).sum::<usize>());
        let took = metered_calls(&tool);
        drop(registry);
        assert!(receiver.join().unwrap() > 0);
        // It sleeps when no event came for that long, so at most this often.
        eprintln!("{SLEEPS}{}", 1 + took.as_nanos() / AWAKE.as_nanos());
        return;
    }
    let test = "a_call_that_somebody_hears_of_asks_for_a_wake_up_at_most";
    if let Some((calls, said)) = traced(test) {
        let sleeps = said.lines().find_map(|line| line.strip_prefix(SLEEPS));
        let sleeps: usize = sleeps.unwrap().parse().unwrap();
        assert!(
            calls.iter().all(|call| call.contains("FUTEX_WAKE")),
            "{calls:#?}"
        );
        assert!(
            calls.len() <= sleeps,
            "{} of {CALLS} calls: {calls:#?}",
            calls.len()
        );
    }
}

/// The counter works: a system call between the lines is found.
#[test]
fn a_system_call_between_the_lines_is_counted() {
    if is_traced() {
        say(BEGIN);
        assert!(fs::metadata("/no/such/file").is_err());
        say(END);
        return;
    }
    if let Some((calls, _)) = traced("a_system_call_between_the_lines_is_counted") {
        assert!(
            calls.iter().any(|call| call.contains("/no/such/file")),
            "{calls:#?}"
        );
    }
}
