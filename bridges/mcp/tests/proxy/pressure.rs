//! Tests of back-pressure: a side that does not read stops the other one, as with a pipe without a
//! proxy, and the proxy's memory stays bounded meanwhile.

use crate::program::{ECHO, Proxy};
use std::fs;
use std::io::{Read, Write};
use std::process::ChildStdin;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 3_200;

/// A length that is more than the pipes and buffers on the way hold, and far less than the line.
const ON_THE_WAY: usize = 2 << 20;

/// Writes one line of 210 MB on a thread, and sends the length of each block that has been written.
/// The thread returns the input, so that the proxy does not end meanwhile.
fn flood(mut input: ChildStdin) -> (JoinHandle<ChildStdin>, Receiver<usize>) {
    let (tell, told) = mpsc::channel();
    let writer = thread::spawn(move || {
        for _ in 0..BLOCKS {
            input.write_all(&[b'x'; BLOCK]).unwrap();
            tell.send(BLOCK).unwrap();
        }
        input.write_all(b"\n").unwrap();
        input
    });
    (writer, told)
}

/// Waits until no block has been written for a while, and returns the length of those that were.
fn stalled(told: &Receiver<usize>) -> usize {
    let pause = Duration::from_millis(300);
    std::iter::from_fn(|| told.recv_timeout(pause).ok()).sum()
}

/// Checks the peak of the proxy's memory, most of which is the program itself.
fn check_memory(proxy: &Proxy) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    assert!(peak.parse::<u64>().unwrap() < 40 << 10, "{peak} kB");
}

#[test]
fn a_client_that_does_not_read_stops_the_server() {
    // The server cannot write to the client and stops reading, so the client's writing stalls, too.
    let mut proxy = Proxy::start(&[], ECHO);
    let (writer, told) = flood(proxy.input.take().unwrap());
    let passed = stalled(&told);
    assert!(passed < ON_THE_WAY, "{passed}");
    check_memory(&proxy);
    let mut output = proxy.output.take().unwrap();
    let mut block = vec![0; BLOCK];
    let mut left = BLOCKS * BLOCK + 1;
    while left > 0 {
        let length = output.read(&mut block).unwrap();
        assert!(length > 0);
        left -= length;
        if left < ON_THE_WAY && left > 0 {
            check_memory(&proxy);
        }
    }
    drop(writer.join().unwrap());
    drop(output);
    let ended = proxy.end();
    let longest = format!("the longest {};", BLOCKS * BLOCK);
    assert_eq!(
        ended.errors.matches(&longest).count(),
        2,
        "{}",
        ended.errors
    );
}

#[test]
fn a_server_that_does_not_read_stops_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, read) = (folder.path().join("gate"), folder.path().join("read"));
    let script = format!(
        "while [ ! -e '{}' ]; do sleep 0.02; done; head -c {} >/dev/null; : > '{}'; cat >/dev/null; exit 6",
        gate.display(),
        BLOCKS * BLOCK,
        read.display(),
    );
    let mut proxy = Proxy::start(&[], &script);
    let (writer, told) = flood(proxy.input.take().unwrap());
    let passed = stalled(&told);
    assert!(passed < ON_THE_WAY, "{passed}");
    check_memory(&proxy);
    fs::write(&gate, "").unwrap();
    while !read.exists() {
        thread::yield_now();
    }
    check_memory(&proxy);
    drop(writer.join().unwrap());
    let ended = proxy.end();
    assert_eq!(ended.code, 6);
    let longest = format!("the longest {};", BLOCKS * BLOCK);
    assert!(ended.errors.contains(&longest), "{}", ended.errors);
}
