//! Tests of the example programs, as processes.

#![cfg(unix)]

#[path = "support/programs.rs"]
mod programs;
#[path = "../examples/common/signals.rs"]
mod signals;

use programs::program;
use serde_json::Value;
use signals::is_ignored;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

const OPENING: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","#,
    r#""capabilities":{},"clientInfo":{"name":"pipe","version":"1"}}}"#,
    "\n",
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n",
);

fn request(id: u32, tool: &str, arguments: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\
         \"params\":{{\"name\":\"{tool}\",\"arguments\":{arguments}}}}}\n"
    )
}

/// Starts the server, and makes calls of each kind, the last of which hangs.
fn served(folder: &str, snapshot: &str) -> Child {
    let mut server = Command::new(program("mcp_server"))
        .args(["--events", "--snapshot", snapshot, folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = server.stdin.take().unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    input.write_all(OPENING.as_bytes()).unwrap();
    output.read_line(&mut line).unwrap();
    for (id, (tool, arguments, said)) in [
        (
            "hash",
            r#"{"path":"a.txt"}"#,
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        ),
        ("read", r#"{"path":"a.txt"}"#, "hello"),
        ("list", r#"{"path":"."}"#, "a.txt"),
        ("search", r#"{"path":"a.txt","text":"ell"}"#, "1: hello"),
        ("read", r#"{"path":"../.."}"#, "it is not in the folder"),
        ("read", "{}", "Invalid arguments"),
        ("fail", "{}", "as it was asked to"),
        ("panic", "{}", "the tool panicked"),
        ("nope", "{}", "Unknown tool: nope"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = u32::try_from(id).unwrap() + 1;
        input
            .write_all(request(id, tool, arguments).as_bytes())
            .unwrap();
        line.clear();
        output.read_line(&mut line).unwrap();
        assert!(line.contains(said), "{tool}: {line}");
    }
    input
        .write_all(request(99, "slow", r#"{"ms":600000}"#).as_bytes())
        .unwrap();
    // The snapshot shows when the call is in flight.
    until("the call in flight", || {
        std::fs::read_to_string(snapshot).is_ok_and(|json| json.contains("\"in_flight\":1"))
    });
    server.stdin = Some(input);
    server
}

fn check(mut server: Child, snapshot: &str) {
    let mut told = String::new();
    server
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert!(server.wait().unwrap().success(), "{told}");
    let snapshot: toolmeter::Snapshot =
        serde_json::from_slice(&std::fs::read(snapshot).unwrap()).unwrap();
    let ends = |name: &str| {
        let tool = &snapshot.tools[name];
        (
            tool.success(),
            tool.failure(),
            tool.cancelled(),
            tool.in_flight,
        )
    };
    assert_eq!(ends("read"), (1, 2, 0, 0));
    assert_eq!(ends("hash"), (1, 0, 0, 0));
    assert_eq!(ends("panic"), (0, 1, 0, 0));
    assert_eq!(ends("slow"), (0, 0, 1, 0));
    assert_eq!(snapshot.unknown_tool_calls, 1);
    let events = told.lines().filter(|line| {
        serde_json::from_str::<Value>(line).is_ok_and(|line| line["name"] == "slow")
    });
    assert_eq!(events.count(), 2, "{told}");
    // The table comes last.
    let table = told.rsplit_once('}').unwrap().1;
    assert!(table.contains("hash") && table.contains("slow"), "{told}");
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    folder
}

#[test]
fn a_server_sums_up_when_its_input_is_closed() {
    let (folder, beside) = (folder(), tempfile::tempdir().unwrap());
    let snapshot = beside.path().join("snapshot.json");
    let mut server = served(folder.path().to_str().unwrap(), snapshot.to_str().unwrap());
    drop(server.stdin.take());
    check(server, snapshot.to_str().unwrap());
}

#[test]
fn a_server_sums_up_at_signals() {
    // As under `nohup`: the server inherits it.
    let signals = ["-TERM", "-HUP"];
    let signals = signals.iter().take(if is_ignored(1) { 1 } else { 2 });
    for signal in signals {
        let (folder, beside) = (folder(), tempfile::tempdir().unwrap());
        let snapshot = beside.path().join("snapshot.json");
        let server = served(folder.path().to_str().unwrap(), snapshot.to_str().unwrap());
        let kill = Command::new("kill")
            .args([signal, server.id().to_string().as_str()])
            .status()
            .unwrap();
        assert!(kill.success());
        check(server, snapshot.to_str().unwrap());
    }
}

/// Serves a folder, makes calls until their events fill a pipe, and closes the input. Returns the
/// exit status and the snapshot.
fn flooded(
    stderr: impl Into<Stdio>,
    calls: u32,
    before_the_end: impl FnOnce(),
) -> (ExitStatus, toolmeter::Snapshot) {
    let (folder, beside) = (folder(), tempfile::tempdir().unwrap());
    let snapshot = beside.path().join("snapshot.json");
    let mut server = Command::new(program("mcp_server"))
        .args(["--events", "--snapshot"])
        .args([&snapshot, folder.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut input = server.stdin.take().unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    input.write_all(OPENING.as_bytes()).unwrap();
    output.read_line(&mut line).unwrap();
    for id in 1..=calls {
        let call = request(id, "fail", "{}");
        input.write_all(call.as_bytes()).unwrap();
        output.read_line(&mut line).unwrap();
    }
    before_the_end();
    // It is replaced even if it says the same.
    std::fs::remove_file(&snapshot).unwrap();
    drop(input);
    let mut status = None;
    until("the end of the server", || {
        status = server.try_wait().unwrap();
        status.is_some()
    });
    let snapshot = serde_json::from_slice(&std::fs::read(snapshot).unwrap()).unwrap();
    (status.unwrap(), snapshot)
}

#[test]
fn a_server_ends_if_its_stderr_is_not_read_or_closed() {
    for is_open in [true, false] {
        let (reader, writer) = std::io::pipe().unwrap();
        let reader = is_open.then_some(reader);
        let (status, snapshot) = flooded(writer, 400, || ());
        assert!(status.success(), "{status}");
        assert_eq!(snapshot.tools["fail"].failure(), 400);
        drop(reader);
    }
}

/// Another program that shares standard error may have set it so that it does not wait.
#[test]
#[cfg(unix)]
fn a_stderr_that_is_full_for_a_while_loses_no_event() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let shared = writer.try_clone().unwrap();
    let mut reading = None;
    let (status, snapshot) = flooded(writer, 400, || {
        until("a full pipe", || {
            let mut ends = [PollFd::new(&shared, PollFlags::OUT)];
            poll(&mut ends, Some(&Timespec::default())).unwrap() == 0
        });
        drop(shared);
        reading = Some(std::thread::spawn(move || {
            let mut told = String::new();
            std::io::Read::read_to_string(&mut reader, &mut told).unwrap();
            told
        }));
    });
    assert!(status.success(), "{status}");
    let told = reading.unwrap().join().unwrap();
    let events = told.lines().filter(|line| line.starts_with('{'));
    assert_eq!(events.count(), 800, "{told}");
    assert_eq!(snapshot.tools["fail"].failure(), 400);
    let (_, table) = told.rsplit_once('}').unwrap();
    assert!(table.contains("fail"), "{table}");
}

#[test]
fn closed_outputs_are_no_panic() {
    for (words, code) in [(&["--help"][..], 0), (&["--nope"], 2)] {
        let closed = || std::io::pipe().unwrap().1;
        let status = Command::new(program("mcp_server"))
            .args(words)
            .stdout(closed())
            .stderr(closed())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{words:?}");
    }
}

#[test]
fn a_host_calls_the_tools_of_several_servers_by_a_plan() {
    let folder = folder();
    let beside = tempfile::tempdir().unwrap();
    let (plan, config) = (
        beside.path().join("plan"),
        beside.path().join("config.json"),
    );
    let served = folder.path().to_str().unwrap();
    let server = program("mcp_server");
    let server = server.to_str().unwrap();
    std::fs::write(
        &plan,
        concat!(
            "{\"tool\":\"files/read\",\"arguments\":{\"path\":\"a.txt\"}}\n\n",
            "[{\"tool\":\"server_1/list\",\"arguments\":{\"path\":\".\"}},{\"tool\":\"server_1/fail\"},",
            "{\"tool\":\"server_1/nope\"},{\"tool\":\"files/panic\"}]\n",
        ),
    )
    .unwrap();
    let json = serde_json::json!({
        "mcpServers": { "files": { "command": server, "args": [served] }, "web": { "url": "x" } }
    });
    std::fs::write(&config, json.to_string()).unwrap();
    let snapshot = beside.path().join("snapshot.json");
    let [plan, config, snapshot] = [&plan, &config, &snapshot].map(|path| path.to_str().unwrap());
    let arguments = [
        "--config",
        config,
        "--plan",
        plan,
        "--snapshot",
        snapshot,
        "--",
        server,
        served,
    ];
    let output = run("mcp_host", &arguments);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let snapshot: toolmeter::Snapshot =
        serde_json::from_slice(&std::fs::read(snapshot).unwrap()).unwrap();
    let ends = |name: &str| {
        (
            snapshot.tools[name].success(),
            snapshot.tools[name].failure(),
        )
    };
    assert_eq!(ends("files/read"), (1, 0));
    assert_eq!(ends("server_1/list"), (1, 0));
    assert_eq!(ends("server_1/fail"), (0, 1));
    assert_eq!(ends("files/panic"), (0, 1));
    assert_eq!(snapshot.unknown_tool_calls, 1);
    assert!(told.contains("files/read"), "{told}");
}

/// Waits until `holds` returns true, at most for a minute.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}

/// Starts a host with one server, which is a line of shell.
fn hosted(options: &[&str], script: &str) -> Child {
    Command::new(program("mcp_host"))
        .args(options)
        .args(["--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a host and all processes that it started have ended. Returns its status, and the text
/// on stderr, which its servers share and which ends when no process has it open.
fn ended(mut host: Child) -> (ExitStatus, String) {
    let mut stderr = host.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut told = String::new();
        stderr.read_to_string(&mut told).unwrap();
        told
    });
    until("the end of the host and its servers", || {
        reader.is_finished()
    });
    (host.wait().unwrap(), reader.join().unwrap())
}

/// Ends a host by SIGTERM, and returns the text on stderr.
fn terminated(host: Child) -> String {
    let kill = Command::new("kill").arg(host.id().to_string()).status();
    assert!(kill.unwrap().success());
    let (status, told) = ended(host);
    assert!(status.success(), "{told}");
    told
}

#[test]
fn a_host_sums_up_at_sigterm_before_its_servers_have_started() {
    let folder = folder();
    let mark = folder.path().join("started");
    let script = format!("touch '{}'; while read line; do :; done", mark.display());
    let host = hosted(&[], &script);
    until("the server's start", || mark.exists());
    let told = terminated(host);
    assert!(told.contains("0 calls of unknown tools"), "{told}");
}

#[test]
fn a_host_sums_up_at_sigterm_within_its_plan() {
    let folder = folder();
    let beside = tempfile::tempdir().unwrap();
    let (plan, snapshot) = (beside.path().join("plan"), beside.path().join("metrics"));
    let call = r#"{"tool":"server_1/slow","arguments":{"ms":600000}}"#;
    std::fs::write(&plan, call).unwrap();
    let words = [
        "--plan",
        plan.to_str().unwrap(),
        "--snapshot",
        snapshot.to_str().unwrap(),
    ];
    let server = program("mcp_server");
    let script = format!("exec '{}' '{}'", server.display(), folder.path().display());
    let host = hosted(&words, &script);
    let read = || std::fs::read_to_string(&snapshot).unwrap_or_default();
    until("a call in flight", || read().contains("\"in_flight\":1"));
    let told = terminated(host);
    let counted: toolmeter::Snapshot = serde_json::from_str(&read()).unwrap();
    let slow = &counted.tools["server_1/slow"];
    assert_eq!((slow.cancelled(), slow.in_flight), (1, 0));
    assert!(told.contains("server_1/slow"), "{told}");
}

/// Returns a line of shell that runs `first`, serves the folder, and runs on after its input has
/// ended, together with a process that it started. If a test fails, both end when the folder is
/// removed.
fn endless(folder: &Path, first: &str) -> String {
    let server = program("mcp_server");
    let (server, folder) = (server.display(), folder.display());
    let wait = format!("while [ -d '{folder}' ]; do sleep 0.05; done");
    format!("{first}; ({wait}) & '{server}' '{folder}'; {wait}")
}

/// Waits until a host has reached the end of its plan, which is empty.
fn planned(host: &mut Child) {
    let mut line = String::new();
    let mut output = BufReader::new(host.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "0 turns, 0 attempts, 0 retries\n");
}

#[test]
fn a_host_ends_servers_that_ignore_the_end_of_their_input() {
    let folder = folder();
    let host = hosted(&["--grace", "0.2"], &endless(folder.path(), ":"));
    let (status, told) = ended(host);
    assert!(status.success() && told.contains("server_1/slow"), "{told}");
}

#[test]
fn a_host_kills_servers_that_ignore_sigterm() {
    let folder = folder();
    let script = endless(folder.path(), "trap '' TERM");
    let (status, told) = ended(hosted(&["--grace", "0.2"], &script));
    assert!(status.success() && told.contains("server_1/slow"), "{told}");
    let killed = "server_1 did not end, and was killed";
    assert!(told.contains(killed), "{told}");
}

#[test]
fn a_host_sends_sigterm_before_it_kills() {
    let folder = folder();
    let mark = folder.path().join("terminated");
    let first = format!("trap 'touch \"{}\"; exit' TERM", mark.display());
    let (status, told) = ended(hosted(&[], &endless(folder.path(), &first)));
    assert!(status.success() && mark.exists(), "{told}");
    assert!(!told.contains("was killed"), "{told}");
}

#[test]
fn a_host_kills_its_servers_at_once_at_a_sigterm_while_they_end() {
    let folder = folder();
    let script = endless(folder.path(), "trap '' TERM");
    let mut host = hosted(&["--grace", "600"], &script);
    planned(&mut host);
    let told = terminated(host);
    assert!(told.contains("server_1/slow"), "{told}");
}

#[test]
fn a_host_ends_its_servers_when_one_does_not_open_a_connection() {
    let folder = folder();
    let script = format!("echo no; {}", endless(folder.path(), ":"));
    let words = ["--grace", "0.2", "--limit", "0.2"];
    let script = script.replace(program("mcp_server").to_str().unwrap(), "true");
    let (status, told) = ended(hosted(&words, &script));
    assert_eq!(status.code(), Some(2), "{told}");
    assert!(told.contains("mcp_host: server_1 "), "{told}");
}

#[test]
fn a_plan_limits_and_cancels_calls() {
    let folder = folder();
    let plan = folder.path().join("plan");
    let snapshot = folder.path().join("metrics");
    let calls = concat!(
        r#"[{"tool":"server_1/slow","arguments":{"ms":600000},"limit":0.05},"#,
        r#"{"tool":"server_1/slow","arguments":{"ms":600000},"cancel_after":0.05},"#,
        r#"{"tool":"server_1/slow","arguments":{"ms":0},"limit":60}]"#,
    );
    std::fs::write(&plan, calls).unwrap();
    let [served, plan, metrics] =
        [folder.path(), &plan, &snapshot].map(|path| path.to_str().unwrap());
    let server = program("mcp_server");
    let server = server.to_str().unwrap();
    let words = ["--plan", plan, "--snapshot", metrics, "--", server, served];
    let output = run("mcp_host", &words);
    assert!(output.status.success(), "{output:?}");
    let counted = std::fs::read(&snapshot).unwrap();
    let counted: toolmeter::Snapshot = serde_json::from_slice(&counted).unwrap();
    let slow = &counted.tools["server_1/slow"];
    assert_eq!(
        (slow.success(), slow.failure(), slow.cancelled()),
        (1, 1, 1)
    );
    assert_eq!(slow.failures_by_kind[&toolmeter::ErrorKind::Timeout], 1);

    std::fs::write(plan, r#"{"tool":"a","cancel_after":-1}"#).unwrap();
    let output = run("mcp_host", &words);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(told.starts_with("mcp_host: line 1 of "), "{told}");
}

#[test]
fn what_cannot_be_started_ends_with_one_line_and_2() {
    for (name, arguments, said) in [
        ("mcp_server", vec![], "say which FOLDER"),
        (
            "mcp_server",
            vec!["/no/such/folder"],
            "cannot serve /no/such/folder",
        ),
        ("mcp_server", vec!["--nope"], "--nope"),
        ("mcp_host", vec![], "say which servers"),
        (
            "mcp_host",
            vec!["--", "/no/such/program"],
            "cannot start server_1",
        ),
        ("mcp_host", vec!["--"], "no command after"),
        (
            "mcp_host",
            vec!["--config", "/no/such/file"],
            "cannot read /no/such/file",
        ),
        ("mcp_host", vec!["--limit", "-1", "--", "true"], "negative"),
        ("mcp_host", vec!["--", "true"], "server_1 is no MCP server"),
    ] {
        let output = run(name, &arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{name} {arguments:?}: {told}"
        );
        assert!(
            told.contains(said) && told.lines().count() == 1,
            "{name} {arguments:?}: {told}"
        );
    }
    for name in ["mcp_server", "mcp_host"] {
        let output = run(name, &["--help"]);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("--snapshot FILE"));
    }
}
