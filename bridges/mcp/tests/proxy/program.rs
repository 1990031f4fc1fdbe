//! Tests of the program, between a test as the client and servers that are a few words of shell.

use crate::signals::is_ignored;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use toolmeter::{ErrorKind, Snapshot};

/// Returns the path of the example, which cargo builds with the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples/mcp_proxy")
}

const SHELL: [&str; 3] = ["--", "sh", "-c"];

/// A server that answers each line with the same line.
pub(crate) const ECHO: &str = "cat";

pub(crate) struct Proxy {
    pub(crate) child: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: Option<BufReader<ChildStdout>>,
    /// The lines of the proxy's standard error.
    errors: Receiver<String>,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

/// The outcome of a proxy that has ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    output: Vec<u8>,
    pub(crate) errors: String,
    snapshot: Snapshot,
}

impl Proxy {
    /// Starts a proxy in front of a server in shell.
    pub(crate) fn start(options: &[&str], script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("snapshot.json");
        let mut child = Command::new(program())
            .arg("--snapshot")
            .arg(&file)
            .args(options)
            .args(SHELL)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, errors) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).unwrap() > 0 {
                if tell.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self {
            input: child.stdin.take(),
            output: child.stdout.take().map(BufReader::new),
            errors,
            child,
            file,
            _folder: folder,
        }
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn call(&mut self, id: u32, name: &str) {
        self.say(&call(id, name));
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn snapshot(&self) -> Snapshot {
        serde_json::from_slice(&fs::read(&self.file).unwrap()).unwrap()
    }

    /// Closes the input, reads the output to its end, and waits for the proxy's end.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.input.take());
        let mut output = Vec::new();
        if let Some(mut left) = self.output.take() {
            left.read_to_end(&mut output).unwrap();
        }
        let code = self.child.wait().unwrap().code().unwrap();
        let errors = self.errors.iter().collect();
        let snapshot = self.snapshot();
        // The snapshot was put in place as a whole, so there is no other file beside it.
        assert_eq!(
            fs::read_dir(self.file.parent().unwrap()).unwrap().count(),
            1
        );
        Ended {
            code,
            output,
            errors,
            snapshot,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // After a failed test the proxy may still run.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn call(id: u32, name: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}"}}}}"#)
}

/// Returns the part of a script that answers the next request.
fn answer(id: u32) -> String {
    format!(r#"read line; echo '{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}'; "#)
}

/// Returns the calls that succeeded, failed, were cancelled, and are in flight.
fn counts(snapshot: &Snapshot, name: &str) -> (u64, u64, u64, u64) {
    let tool = &snapshot.tools[name];
    (
        tool.success(),
        tool.failure(),
        tool.cancelled(),
        tool.in_flight,
    )
}

/// Returns bytes with lines of several lengths, white space, no newline at the end, and invalid
/// UTF-8.
fn anything(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut bytes: Vec<u8> = (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"{}[]\",: \\u0e1nt\n\r\t\xff\x00ab"[(state >> 24) as usize % 22]
        })
        .collect();
    bytes.extend(b"\r\n\r\n  {\"id\" :1}");
    bytes
}

#[test]
fn not_a_byte_is_changed_and_the_table_comes_at_the_end() {
    let mut proxy = Proxy::start(&[], ECHO);
    let bytes = anything(1 << 20);
    let mut input = proxy.input.take().unwrap();
    let sent = bytes.clone();
    let writer = thread::spawn(move || input.write_all(&sent).unwrap());
    let ended = proxy.end();
    writer.join().unwrap();
    assert_eq!(ended.code, 0);
    assert!(ended.output == bytes);
    assert!(
        ended.errors.starts_with("mcp_proxy: sh: exit status: 0\n"),
        "{}",
        ended.errors
    );
    let counted = format!(
        "{} bytes",
        bytes.len() - bytes.iter().filter(|&&b| b == b'\n').count()
    );
    assert_eq!(
        ended.errors.matches(&counted).count(),
        2,
        "{}",
        ended.errors
    );
}

#[test]
fn calls_are_counted_told_as_events_and_shown_in_the_table() {
    let script = answer(7)
        + r#"read line; echo '{"id":8,"result":{"isError":true,"content":[{"type":"text","text":"no such file"}]}}'; cat >/dev/null; exit 3"#;
    let mut proxy = Proxy::start(&["--events"], &script);
    proxy.call(7, "read");
    assert!(proxy.hear().contains("\"id\":7"));
    proxy.call(8, "read");
    assert!(proxy.hear().contains("\"id\":8"));
    let ended = proxy.end();
    assert_eq!(ended.code, 3);
    assert_eq!(counts(&ended.snapshot, "read"), (1, 1, 0, 0));
    let (events, table) = ended
        .errors
        .split_once("mcp_proxy: sh: exit status: 3\n")
        .unwrap();
    let events: Vec<serde_json::Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let field = |name: &str| event[name].as_str().unwrap().to_string();
            (
                field("event"),
                field("name"),
                event["context"]["call"].as_str().unwrap(),
            )
        })
        .collect();
    let kinds = [
        "tool.started",
        "tool.succeeded",
        "tool.started",
        "tool.failed",
    ];
    let expected: Vec<_> = kinds
        .iter()
        .zip(["7", "7", "8", "8"])
        .map(|(kind, id)| (kind.to_string(), "read".to_string(), id))
        .collect();
    assert_eq!(told, expected);
    assert!(
        table.contains("read") && table.contains("no such file"),
        "{table}"
    );
}

#[test]
fn a_server_that_dies_leaves_failures_and_its_status() {
    for (end, code) in [("kill -KILL $$", 128 + 9), ("exit 42", 42)] {
        let mut proxy = Proxy::start(&[], &format!("{} read line; read line; {end}", answer(1)));
        for id in 1..=3 {
            proxy.call(id, "read");
        }
        proxy.hear();
        // The end of the server's output reaches the client.
        assert_eq!(proxy.hear(), "");
        let ended = proxy.end();
        assert_eq!(ended.code, code);
        assert_eq!(counts(&ended.snapshot, "read"), (1, 2, 0, 0));
        assert_eq!(
            ended.snapshot.tools["read"].failures_by_kind[&ErrorKind::Network],
            2
        );
    }
}

#[test]
fn a_client_that_closes_leaves_cancelled_calls() {
    let mut proxy = Proxy::start(&[], &format!("{} cat >/dev/null", answer(1)));
    proxy.call(1, "read");
    proxy.call(2, "read");
    proxy.hear();
    let ended = proxy.end();
    assert_eq!(
        (ended.code, counts(&ended.snapshot, "read")),
        (0, (1, 0, 1, 0))
    );
}

#[test]
fn what_is_answered_after_the_client_closed_its_end_still_arrives_and_counts() {
    let script = r#"cat >/dev/null; echo '{"id":1,"result":{}}'"#;
    let mut proxy = Proxy::start(&[], script);
    proxy.call(1, "read");
    let ended = proxy.end();
    assert_eq!(
        String::from_utf8(ended.output).unwrap(),
        "{\"id\":1,\"result\":{}}\n"
    );
    assert_eq!(counts(&ended.snapshot, "read"), (1, 0, 0, 0));
}

#[test]
fn a_client_that_reads_no_more_is_noticed_by_the_server() {
    // The server ends by the broken pipe, or never.
    let mut proxy = Proxy::start(
        &[],
        "read line; while echo '{\"method\":\"x\"}'; do :; done 2>/dev/null; exit 7",
    );
    proxy.call(1, "read");
    drop(proxy.output.take());
    let ended = proxy.end();
    // The shell is ended by SIGPIPE, or its `echo` reports the broken pipe.
    assert!([7, 128 + 13].contains(&ended.code), "{}", ended.code);
    assert_eq!(counts(&ended.snapshot, "read"), (0, 0, 1, 0));
}

#[test]
fn a_server_that_reads_no_more_is_noticed_by_the_client_and_one_that_says_no_more_too() {
    let mut proxy = Proxy::start(
        &[],
        "exec <&-; echo closed; read line </dev/null; while [ ! -e \"$0.never\" ]; do sleep 0.05; done",
    );
    assert_eq!(proxy.hear(), "closed\n");
    let input = proxy.input.as_mut().unwrap();
    // The pipe may still take bytes before its reader is gone, but none after that.
    let refused = (0..1_000).any(|_| input.write_all(&[b' '; 4096]).is_err());
    assert!(refused);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.end().code, 128 + 15);

    let mut proxy = Proxy::start(&[], "exec >&-; cat >/dev/null; exit 5");
    assert_eq!(proxy.hear(), "");
    assert_eq!(proxy.end().code, 5);
}

#[test]
fn signals_reach_the_server_and_the_summary_is_written() {
    let trap = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let mut proxy = Proxy::start(&[], trap);
    assert_eq!(proxy.hear(), "ready\n");
    proxy.call(1, "slow");
    // Waits until the call is counted, which the file shows within a second.
    while proxy.snapshot().tools.is_empty() {
        thread::yield_now();
    }
    assert_eq!(counts(&proxy.snapshot(), "slow"), (0, 0, 0, 1));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.hear(), "bye\n");
    let ended = proxy.end();
    assert_eq!(
        (ended.code, counts(&ended.snapshot, "slow")),
        (9, (0, 0, 1, 0))
    );
    assert!(ended.errors.contains("slow"), "{}", ended.errors);
}

#[test]
fn signals_that_a_server_handles_reach_it_and_the_calls_go_on() {
    let script = "for name in HUP QUIT USR1 USR2; do trap \"echo $name\" $name; done; \
        trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let mut proxy = Proxy::start(&[], script);
    assert_eq!(proxy.hear(), "ready\n");
    for (signal, name) in [
        (Signal::USR1, "USR1\n"),
        (Signal::USR2, "USR2\n"),
        (Signal::QUIT, "QUIT\n"),
        (Signal::HUP, "HUP\n"),
    ] {
        // As under `nohup`: the programs inherit it.
        if is_ignored(signal.as_raw()) {
            continue;
        }
        proxy.signal(signal);
        assert_eq!(proxy.hear(), name);
    }
    proxy.signal(Signal::TERM);
    let ended = proxy.end();
    assert_eq!(ended.code, 9);
    assert!(ended.errors.contains("mcp_proxy: sh: exit status: 9\n"));
}

#[test]
fn calls_after_a_signal_that_the_server_survives_are_counted_as_before_it() {
    let script = format!("trap '' TERM; echo ready; {} read line; exit 4", answer(1));
    let mut proxy = Proxy::start(&[], &script);
    assert_eq!(proxy.hear(), "ready\n");
    proxy.signal(Signal::TERM);
    // The time of grace is over, and the table was written.
    assert_eq!(
        proxy.errors.recv().unwrap(),
        "mcp_proxy: sh: still running\n"
    );
    proxy.call(1, "read");
    assert!(proxy.hear().contains("\"id\":1"));
    proxy.call(2, "read");
    assert_eq!(proxy.hear(), "");
    let ended = proxy.end();
    assert_eq!(ended.code, 4);
    // The client waited for the second when the server ended.
    assert_eq!(counts(&ended.snapshot, "read"), (1, 1, 0, 0));
    let kinds = &ended.snapshot.tools["read"].failures_by_kind;
    assert_eq!(kinds[&ErrorKind::Network], 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let script = format!(
        "trap '' HUP; exec '{}' -- sh -c 'echo ready; read line'",
        program().display()
    );
    let mut proxy = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(proxy.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    let mask = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(mask.unwrap().trim(), 16).unwrap()
    };
    let bit = |signal: Signal| 1 << (signal.as_raw() - 1);
    drop(proxy.stdin.take());
    proxy.wait().unwrap();
    assert_eq!(mask("SigIgn:") & bit(Signal::HUP), bit(Signal::HUP));
    assert_eq!(mask("SigCgt:") & bit(Signal::TERM), bit(Signal::TERM));
}

/// A line of shell that keeps the standard output open until the folder is gone.
fn held_open(folder: &Path) -> String {
    let folder = folder.display();
    format!("(while [ -d '{folder}' ]; do sleep 0.05; done) 2>/dev/null & ")
}

#[test]
fn what_a_server_leaves_running_does_not_keep_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let script = held_open(folder.path()) + "read line; exit 3";
    let mut proxy = Proxy::start(&[], &script);
    proxy.call(1, "read");
    let ended = proxy.end();
    assert_eq!(ended.code, 3);
    assert_eq!(counts(&ended.snapshot, "read"), (0, 0, 1, 0));
}

#[test]
fn what_a_server_wrote_before_its_end_passes_however_late_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("written");
    // On Linux more than the client's pipe holds, and less than that and the server's.
    let length = 100_000;
    let script = format!(
        "{} head -c {length} /dev/zero; : > '{}'; exit 3",
        held_open(folder.path()),
        written.display()
    );
    let mut proxy = Proxy::start(&[], &script);
    while cfg!(target_os = "linux") && !written.exists() {
        thread::yield_now();
    }
    drop(proxy.input.take());
    // The time of grace is over.
    let state = proxy.errors.recv().unwrap();
    assert!(state.starts_with("mcp_proxy: sh: "), "{state}");
    // The proxy goes on: it puts the file in place again, and not only as the last thing it does.
    for _ in 0..2 {
        fs::remove_file(&proxy.file).unwrap();
        while !proxy.file.exists() {
            assert_eq!(proxy.child.try_wait().unwrap(), None);
            thread::yield_now();
        }
    }
    let ended = proxy.end();
    assert_eq!((ended.code, ended.output.len()), (3, length));
}

/// Calls whose events are more than a pipe holds.
const FLOOD: u32 = 600;

#[test]
fn events_that_are_not_read_keep_the_proxy_neither_from_its_last_snapshot_nor_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot.json");
    let script = r#"while read line; do echo '{"id":1,"result":{"content":[]}}'; done; exit 5"#;
    let mut proxy = Command::new(program())
        .args(["--events", "--snapshot"])
        .arg(&file)
        .args(SHELL)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = proxy.stdin.take().unwrap();
    let mut output = BufReader::new(proxy.stdout.take().unwrap());
    let mut line = String::new();
    for _ in 0..FLOOD {
        input
            .write_all(format!("{}\n", call(1, "read")).as_bytes())
            .unwrap();
        output.read_line(&mut line).unwrap();
    }
    drop(input);
    // Its standard error is open, and not read.
    assert_eq!(proxy.wait().unwrap().code(), Some(5));
    let snapshot = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(counts(&snapshot, "read"), (u64::from(FLOOD), 0, 0, 0));
}

#[test]
fn closed_outputs_are_no_panic() {
    for (words, code) in [(&["--help"][..], 0), (&["--nope"], 2), (&["--", "true"], 0)] {
        let closed = || std::io::pipe().unwrap().1;
        let status = Command::new(program())
            .args(words)
            .stdin(Stdio::null())
            .stdout(closed())
            .stderr(closed())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{words:?}");
    }
}

#[test]
fn only_a_regular_file_is_replaced_by_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    fs::write(in_folder("kept"), "mine").unwrap();
    std::os::unix::fs::symlink(in_folder("kept"), in_folder("link")).unwrap();
    let _socket = UnixListener::bind(in_folder("socket")).unwrap();
    for name in ["link", "socket", ""] {
        let file = in_folder(name);
        let output = Command::new(program())
            .arg("--snapshot")
            .arg(&file)
            .args(["--", "true"])
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let said = format!(
            "mcp_proxy: cannot write {}: not a regular file\n",
            file.display()
        );
        assert_eq!((output.status.code(), told), (Some(2), said));
    }
    assert_eq!(fs::read(in_folder("kept")).unwrap(), b"mine");
    assert!(
        fs::symlink_metadata(in_folder("link"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_snapshot_that_was_removed_or_changed_is_there_at_the_end() {
    for change in [fs::remove_file, |file: PathBuf| fs::write(file, "theirs")] {
        let mut proxy = Proxy::start(&[], "echo ready; cat");
        assert_eq!(proxy.hear(), "ready\n");
        change(proxy.file.clone()).unwrap();
        assert_eq!(proxy.end().snapshot.unknown_tool_calls, 0);
    }
}

#[test]
fn the_snapshots_file_may_be_named_by_the_process_and_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "umask 077; echo mine > '{0}'/$$.json; umask 022; exec '{1}' --snapshot '{0}/{{pid}}.json' -- true",
        folder.path().display(),
        program().display()
    );
    let proxy = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let file = folder.path().join(format!("{}.json", proxy.id()));
    assert!(proxy.wait_with_output().unwrap().status.success());
    let snapshot: Snapshot = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(snapshot.tools.is_empty());
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_server_that_does_not_end_is_summed_up_before_the_client_kills_the_proxy() {
    for is_signal in [false, true] {
        let script = "trap '' TERM; echo ready; read line; \
            while kill -0 $PPID 2>/dev/null; do sleep 0.05; done";
        let mut proxy = Proxy::start(&[], script);
        assert_eq!(proxy.hear(), "ready\n");
        proxy.call(1, "slow");
        if is_signal {
            proxy.signal(Signal::TERM);
        } else {
            drop(proxy.input.take());
        }
        // As soon as the table is written, the client may kill the proxy.
        let mut lines = proxy.errors.iter();
        assert_eq!(lines.next().unwrap(), "mcp_proxy: sh: still running\n");
        assert!(lines.any(|line| line.contains("slow")));
        assert_eq!(counts(&proxy.snapshot(), "slow"), (0, 0, 1, 0));
        proxy.child.kill().unwrap();
    }
}

#[test]
fn the_servers_standard_error_is_its_own() {
    let ended = Proxy::start(&[], "printf 'no newline \\377' | tr '\\377' '!' >&2").end();
    assert!(
        ended
            .errors
            .starts_with("no newline !mcp_proxy: sh: exit status: 0\n"),
        "{}",
        ended.errors
    );
}

#[test]
fn what_cannot_be_started_is_one_line_and_status_2() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "no command to start; see --help"),
        (&["--", "/no/such/server"], "cannot start /no/such/server: "),
        (&["--", "/"], "cannot start /: "),
        (
            &["--snapshot", "/no/such/folder/a.json", "--", "cat"],
            "cannot write /no/such/folder/a.json: ",
        ),
        (
            &["--snapshot", "/no/such\nfolder/a", "--", "cat"],
            "cannot write /no/such\\nfolder/a: ",
        ),
        (&["--colour", "--", "cat"], "see --help"),
    ];
    for (words, said) in cases {
        let output = Command::new(program()).args(words).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            errors.starts_with("mcp_proxy: ") && errors.contains(said),
            "{errors}"
        );
        assert_eq!(
            (errors.lines().count(), output.stdout.len()),
            (1, 0),
            "{errors}"
        );
    }
    let help = Command::new(program()).arg("--help").output().unwrap();
    assert!(help.status.success() && help.stdout.starts_with(b"Meters the tool calls"));
}
