//! The test that an idle registry wakes its pump at most once a second.
//!
//! This is the only test that waits for real time to pass, since only the operating system counts
//! how often a thread was woken.
#![cfg(all(target_os = "linux", not(toolmeter_loom)))]

use std::fs;
use std::sync::mpsc;
use std::time::Duration;
use toolmeter::{Pump, Registry};

/// Returns how often each thread of this name has given the processor up by itself.
fn sleeps_of_threads(name: &str) -> Vec<u64> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let mut sleeps = Vec::new();
    for task in tasks {
        // A thread may end meanwhile.
        let path = task.unwrap().path();
        let Ok(comm) = fs::read_to_string(path.join("comm")) else {
            continue;
        };
        let Ok(status) = fs::read_to_string(path.join("status")) else {
            continue;
        };
        if comm.trim() == name {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sleeps.push(line.unwrap().trim().parse().unwrap());
        }
    }
    sleeps
}

/// Waits for this time, on a channel to which nothing is sent.
fn wait(real_time: Duration) {
    let (_sender, receiver) = mpsc::channel::<()>();
    assert!(receiver.recv_timeout(real_time).is_err());
}

/// Both cases are in one test, so that each thread with the pump's name belongs to the registry
/// under test.
#[test]
fn an_idle_registry_wakes_its_pump_once_a_second_at_most() {
    let by_hand = Registry::builder().pump(Pump::manual()).build().unwrap();
    by_hand.register("tool").unwrap().start().succeed();
    assert!(sleeps_of_threads("toolmeter-pump").is_empty());

    let registry = Registry::new();
    let tools = registry
        .register_all((0..100).map(|n| format!("tool_{n}")))
        .unwrap();
    for tool in &tools {
        tool.start().succeed();
    }
    // The pump needs a while to fall asleep.
    wait(Duration::from_millis(500));
    let [before] = sleeps_of_threads("toolmeter-pump")[..] else {
        panic!("one thread is the pump");
    };
    wait(Duration::from_secs(3));
    let [after] = sleeps_of_threads("toolmeter-pump")[..] else {
        panic!("one thread is the pump");
    };
    assert!(after - before <= 5, "{} wake-ups in 3 s", after - before);
    // It still does its work.
    assert_eq!(registry.published().tools.len(), 100);

    // Calls wake it no more often as long as nothing is subscribed.
    let (sender, receiver) = mpsc::channel::<()>();
    let calls = std::thread::spawn(move || {
        while receiver.recv_timeout(Duration::from_millis(1))
            == Err(mpsc::RecvTimeoutError::Timeout)
        {
            for tool in &tools {
                tool.start().succeed();
            }
        }
    });
    wait(Duration::from_secs(1));
    drop(sender);
    calls.join().unwrap();
    let [busy] = sleeps_of_threads("toolmeter-pump")[..] else {
        panic!("one thread is the pump");
    };
    assert!(busy - after <= 3, "{} wake-ups in 1 s", busy - after);
}
