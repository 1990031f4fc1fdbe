//! Tests of the reader of each form, with the recordings in `examples/recordings/agents`.

mod hostile;
mod newer;

use super::{History, load};
use crate::trace::Session;
use std::collections::HashMap;
use std::path::PathBuf;
use toolmeter::Outcome;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("examples/recordings/agents")
        .join(name)
}

fn history(names: &[&str]) -> History {
    let paths: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
    load(&paths).unwrap()
}

/// Returns a line for each call: its turn, its tool, a letter for its arguments (equal ones share
/// it), its start and duration in milliseconds, and its outcome.
fn told(session: &Session) -> Vec<String> {
    let mut letters = HashMap::new();
    let mut lines = Vec::new();
    for (turn, calls) in session.turns.iter().enumerate() {
        for call in calls {
            let next = char::from(b'a' + letters.len() as u8);
            let letter = letters.entry((&call.tool, &call.args_hash)).or_insert(next);
            let duration = call
                .duration
                .map_or_else(|| "-".to_owned(), |d| d.as_millis().to_string());
            let outcome = match call.outcome {
                Outcome::Success => "success",
                Outcome::Failure(kind) => kind.as_str(),
                Outcome::Cancelled => "cancelled",
                Outcome::Rejected => "denied",
            };
            let start = call.start.as_millis();
            lines.push(format!(
                "{turn} {} {letter} {start}+{duration} {outcome}",
                call.tool
            ));
        }
    }
    lines
}

#[test]
fn codex_tells_of_a_rollout() {
    let history = history(&["codex.jsonl"]);
    assert_eq!(history.sessions.len(), 1);
    assert_eq!(
        told(&history.sessions[0]),
        [
            "0 exec_command a 1000+150 success",
            "0 exec_command b 1000+250 tool_error",
            // The first arguments again, with keys in another order.
            "1 exec_command a 2000+500 tool_error",
            "2 apply_patch c 3000+100 success",
            "3 mcp__wiki__ask d 4000+700 tool_error",
            "4 web_search e 5000+- success",
            "5 local_shell f 6000+10 denied",
            "6 exec_command g 7000+100 invalid_args",
            "7 exec_command h 8000+- cancelled",
        ]
    );
    let account = &history.account;
    assert_eq!((account.lines, account.unknown_lines), (21, 1));
    assert_eq!(account.orphans, 0);
}

#[test]
fn codex_read_bare_items_of_its_first_versions() {
    let lines = r#"{"id":"s","timestamp":"2025-05-01T00:00:00Z","instructions":null}
{"record_type":"state"}
{"type":"function_call","name":"shell","arguments":"{\"command\":[\"ls\"]}","call_id":"c1"}
{"type":"function_call_output","call_id":"c1","output":"{\"output\":\"\",\"metadata\":{\"exit_code\":0,\"duration_seconds\":1.5}}"}
{"type":"function_call","name":"shell","arguments":"{\"command\":[\"ls\"]}","call_id":"c2"}
{"type":"function_call_output","call_id":"c2","output":{"content":"unsupported call: shell","success":false}}
"#;
    let history = read(lines.as_bytes()).unwrap();
    assert_eq!(
        told(&history.sessions[0]),
        ["0 shell a 0+1500 success", "1 shell a 1500+- not_found"]
    );
    assert_eq!(history.account.unknown_lines, 0);
}

#[test]
fn codex_tells_how_commands_ended_by_events_and_by_outputs() {
    let ends = [
        (
            r#"{"type":"exec_command_end","call_id":"c","exit_code":-1,"status":"declined"}"#,
            "denied",
        ),
        (
            r#"{"type":"exec_command_end","call_id":"c","exit_code":124,"aggregated_output":"command timed out after 9 milliseconds"}"#,
            "timeout",
        ),
        (
            r#"{"type":"exec_command_end","call_id":"c","exit_code":124}"#,
            "tool_error",
        ),
        (
            r#"{"type":"exec_command_end","call_id":"c","exit_code":0}"#,
            "success",
        ),
        (
            r#"{"type":"patch_apply_end","call_id":"c","success":false}"#,
            "tool_error",
        ),
        (
            r#"{"type":"mcp_tool_call_end","call_id":"c","result":{"Err":"request timed out"}}"#,
            "timeout",
        ),
        (
            r#"{"type":"function_call_output","call_id":"c","output":"Exit code: 124\nWall time: 9 seconds\nOutput:\ncommand timed out after 9 milliseconds"}"#,
            "timeout",
        ),
        (
            r#"{"type":"function_call_output","call_id":"c","output":"Wall time: 1 seconds\nProcess running with session ID 7\nOutput:\nnot found"}"#,
            "success",
        ),
        (
            r#"{"type":"function_call_output","call_id":"c","output":"unsupported call: f"}"#,
            "not_found",
        ),
        (
            r#"{"type":"function_call_output","call_id":"c","output":"aborted by user after 2.0s"}"#,
            "cancelled",
        ),
        (
            r#"{"type":"function_call_output","call_id":"c","output":"Plan updated"}"#,
            "success",
        ),
    ];
    for (end, outcome) in ends {
        let kind = if end.contains("_end") {
            "event_msg"
        } else {
            "response_item"
        };
        let lines = format!(
            "{}\n{{\"type\":\"{kind}\",\"payload\":{end}}}",
            r#"{"type":"response_item","payload":{"type":"function_call","name":"f","arguments":"","call_id":"c"}}"#
        );
        let history = read(lines.as_bytes()).unwrap();
        let told = told(&history.sessions[0]);
        assert!(told[0].ends_with(outcome), "{end}: {told:?}");
        assert_eq!(history.account.orphans, 0);
    }
}

#[test]
fn claude_code_tells_of_a_session_and_its_subagents() {
    let history = history(&["claude_code.jsonl", "claude_code_subagent.jsonl"]);
    assert_eq!(history.sessions.len(), 2);
    assert_eq!(
        told(&history.sessions[0]),
        [
            "0 Read a 1000+100 not_found",
            "0 Bash b 1200+2000 tool_error",
            "1 Bash b 4000+500 success",
            "2 Task c 5000+1000 success",
            "3 Edit d 7000+2000 denied",
            "4 Write e 9500+- cancelled",
        ]
    );
    // These calls are in the parent's progress lines and in the subagent's own file, and are
    // counted once.
    assert_eq!(
        told(&history.sessions[1]),
        ["0 Grep a 0+200 success", "1 Glob b 300+50 success"]
    );
    let account = &history.account;
    assert_eq!(
        (account.lines, account.unknown_lines, account.copies),
        (20, 1, 1)
    );
}

#[test]
fn copilot_tells_of_a_session_and_its_subagents() {
    let history = history(&["copilot.jsonl"]);
    assert_eq!(history.sessions.len(), 2);
    assert_eq!(
        told(&history.sessions[0]),
        [
            // A call begins when it was started, not when the model asked for it.
            "0 bash a 1100+500 success",
            "0 view b 1200+50 not_found",
            "1 task c 2000+1000 denied",
            "2 bash d 4000+- cancelled",
        ]
    );
    assert_eq!(told(&history.sessions[1]), ["0 grep a 0+50 success"]);
    assert_eq!(
        (history.account.lines, history.account.unknown_lines),
        (12, 1)
    );
}

#[test]
fn pi_tells_of_all_branches_of_a_session() {
    let history = history(&["pi.jsonl"]);
    assert_eq!(history.sessions.len(), 1);
    assert_eq!(
        told(&history.sessions[0]),
        [
            "0 bash a 1000+300 tool_error",
            "0 read b 1000+350 not_found",
            "1 read b 2000+40 success",
            "2 bash a 3000+10000 timeout",
            "3 bash c 14000+- cancelled",
        ]
    );
    assert_eq!(
        (history.account.lines, history.account.unknown_lines),
        (12, 1)
    );
}

#[test]
fn swe_agent_tells_of_a_trajectory() {
    let history = history(&["swe_agent.traj"]);
    assert_eq!(history.sessions.len(), 1);
    assert_eq!(
        told(&history.sessions[0]),
        [
            // What a file contains is no error.
            "0 open a 0+200 success",
            "1 bash b 200+300 not_found",
            "2 edit c 500+500 invalid_args",
            "3 bash b 1000+100 success",
            "4 bash d 1100+25000 timeout",
            "5 submit e 26100+- cancelled",
        ]
    );
    assert_eq!(history.account.unknown_lines, 1);
}

#[test]
fn swe_agent_tells_of_a_demonstration() {
    let document = r#"{"history": [
        {"role": "system", "content": "open x"},
        {"role": "assistant", "action": "open y", "content": "", "is_demo": true},
        {"role": "assistant", "action": "find_file x", "content": "I look for it"},
        {"role": "tool", "content": [{"type": "text", "text": "found"}]},
        {"role": "assistant", "content": "no action"},
        {"role": "assistant", "action": "run x", "content": ""},
        {"role": "user", "content": "bash: run: command not found"},
        {"role": "assistant", "action": "submit", "content": ""}
    ]}"#;
    let history = read(document.as_bytes()).unwrap();
    assert_eq!(
        told(&history.sessions[0]),
        [
            "0 find_file a 0+- success",
            "1 bash b 0+- not_found",
            "2 submit c 0+- cancelled",
        ]
    );
}

#[test]
fn the_content_tells_the_form_not_the_name() {
    let folder = new_folder("names");
    for (from, to) in [
        ("codex.jsonl", "notes.txt"),
        ("pi.jsonl", "rollout-1.jsonl"),
        ("swe_agent.traj", "deep/er/x"),
        ("copilot.jsonl", "deep/y.traj"),
        ("claude_code.jsonl", "z"),
    ] {
        let to = folder.0.join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path(from), to).unwrap();
    }
    std::fs::write(folder.0.join("README.md"), "# not a recording\n{}\n").unwrap();
    let reduced = include_str!("../../recordings/agents/reduced.jsonl");
    std::fs::write(folder.0.join("reduced"), reduced).unwrap();
    let history = load(std::slice::from_ref(&folder.0)).unwrap();
    assert_eq!(
        history.account.to_string(),
        "files: 1 of Codex, 1 of Claude Code, 1 of Copilot, 1 of pi, 1 of SWE-agent, 1 of \
         reduced, 1 other than transcripts\nlines: 64 read, 5 of an unknown kind"
    );
}

#[test]
fn a_copy_of_a_session_adds_what_the_first_one_had_not_yet() {
    let ask = r#"{"type":"assistant","sessionId":"s1","timestamp":"2026-01-01T00:00:00Z","message":{"id":"m","content":[{"type":"tool_use","id":"toolu_0123456789abcdef","name":"Read","input":{}}]}}"#;
    let result = r#"{"type":"user","sessionId":"s2","timestamp":"2026-01-01T00:00:01Z","message":{"content":[{"type":"tool_result","tool_use_id":"toolu_0123456789abcdef","content":""}]}}"#;
    // A resumed session is another one, and begins with the lines of the first.
    let copy = ask.replace("\"s1\"", "\"s2\"");
    let history = read_all(&[ask, &format!("{copy}\n{result}")]).unwrap();
    assert_eq!(history.sessions.len(), 1);
    assert_eq!(told(&history.sessions[0]), ["0 Read a 0+1000 success"]);
    assert_eq!(history.account.copies, 1);
}

#[test]
fn a_short_id_may_be_used_again() {
    let turn = r#"{"type":"response_item","timestamp":"2026-01-01T00:00:0NZ","payload":{"type":"function_call","name":"f","arguments":"{}","call_id":"call_1"}}
{"type":"response_item","timestamp":"2026-01-01T00:00:0NZ","payload":{"type":"function_call_output","output":"","call_id":"call_1"}}
"#;
    let lines = turn.replace('N', "1") + &turn.replace('N', "2");
    let history = read(lines.as_bytes()).unwrap();
    assert_eq!(
        told(&history.sessions[0]),
        ["0 f a 0+0 success", "1 f a 1000+0 success"]
    );
}

/// Reads one file from memory.
fn read(bytes: &[u8]) -> Result<History, String> {
    let mut loading = super::files::Loading::default();
    loading.file(bytes, "recording".as_ref(), true)?;
    loading.close()
}

/// Reads files from memory.
fn read_all(files: &[&str]) -> Result<History, String> {
    let mut loading = super::files::Loading::default();
    for file in files {
        loading.file(file.as_bytes(), "recording".as_ref(), true)?;
    }
    loading.close()
}

/// A new folder, which is removed when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn new_folder(name: &str) -> Folder {
    let folder = std::env::temp_dir().join(format!("agent_host-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    Folder(folder)
}
