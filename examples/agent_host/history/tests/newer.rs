//! Tests of what newer versions of agents write: one short recording for each kind of line.

use super::{History, read, told};

fn of(lines: &[&str]) -> History {
    let history = read(lines.join("\n").as_bytes()).unwrap();
    assert_eq!(history.account.unknown_lines, 0);
    assert_eq!(history.account.orphans, 0);
    history
}

/// Returns the first lines of the errors.
fn errors(history: &History) -> Vec<&str> {
    history.errors.iter().map(|error| &*error.line).collect()
}

/// Returns a session of Codex with one call of `tool`, and these lines after it.
fn codex(tool: &str, lines: &[&str]) -> History {
    let asked = format!(
        r#"{{"timestamp":"2026-09-01T00:00:01Z","type":"response_item","payload":{{"type":"function_call","call_id":"c1","arguments":"{{}}",{tool}}}}}"#
    );
    let mut all = vec![
        r#"{"timestamp":"2026-09-01T00:00:00Z","ordinal":0,"type":"session_meta","payload":{"id":"s"}}"#,
        &asked,
    ];
    all.extend(lines);
    of(&all)
}

const MCP: &str = r#""namespace":"mcp__files","name":"read""#;
const COMMAND: &str = r#""name":"exec_command""#;

/// Returns a line of Codex with a completed item.
fn item(item: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-09-01T00:00:02Z","type":"event_msg","payload":{{"type":"item_completed","turn_id":"t","item":{{{item}}},"started_at_ms":1788220801500,"completed_at_ms":1788220802000}}}}"#
    )
}

#[test]
fn codex_ends_an_mcp_call_with_an_item() {
    let output = r#"{"timestamp":"2026-09-01T00:00:03Z","type":"response_item","payload":{"type":"function_call_output","call_id":"c1","output":[{"type":"input_text","text":"Wall time: 0.5000 seconds\nOutput:"},{"type":"input_text","text":"No such file"}]}}"#;
    let text =
        r#""result":{"content":[{"type":"text","text":"No such file\nSECRET"}],"isError":true}"#;
    for (end, outcome, error) in [
        (
            r#""status":"completed","result":{"content":[],"isError":false}"#.to_owned(),
            "success",
            None,
        ),
        (
            format!(r#""status":"failed",{text}"#),
            "tool_error",
            Some("No such file"),
        ),
        (
            r#""status":"failed","error":{"message":"tool call error: tool call failed for `files/read`\n\nCaused by:\n    Mcp error: -32602: Invalid arguments: SECRET"}"#.to_owned(),
            "invalid_args",
            Some("tool call error: tool call failed for `files/read`"),
        ),
        (
            r#""status":"failed","error":{"message":"user cancelled MCP tool call"}"#.to_owned(),
            "denied",
            Some("user cancelled MCP tool call"),
        ),
        (
            r#""status":"failed","result":{"content":[]}"#.to_owned(),
            "tool_error",
            Some("No such file"),
        ),
    ] {
        let end = item(&format!(
            r#""type":"McpToolCall","id":"c1","server":"files","tool":"read","arguments":{{}},"duration":{{"secs":0,"nanos":250000000}},{end}"#
        ));
        let history = codex(MCP, &[&end, output]);
        assert_eq!(
            told(&history.sessions[0]),
            [format!("0 mcp__files__read a 1000+250 {outcome}")]
        );
        assert_eq!(errors(&history).first().copied(), error);
    }
}

#[test]
fn codex_tells_of_a_refused_mcp_call_by_its_output_alone() {
    for (text, outcome) in [
        (
            "tool call error: tool call failed: request timed out",
            "timeout",
        ),
        ("user rejected MCP tool call", "denied"),
        ("what a tool says of a call that was rejected", "success"),
    ] {
        let output = format!(
            r#"{{"type":"response_item","payload":{{"type":"function_call_output","call_id":"c1","output":[{{"type":"input_text","text":"Wall time: 1.0 seconds\nOutput:"}},{{"type":"input_text","text":"{text}"}}]}}}}"#
        );
        let history = codex(MCP, &[&output]);
        assert_eq!(
            told(&history.sessions[0]),
            [format!("0 mcp__files__read a 1000+1000 {outcome}")]
        );
    }
}

#[test]
fn codex_tells_why_a_command_did_not_run() {
    let command = "echo not found; ".repeat(50);
    for (why, outcome) in [
        ("rejected by user", "denied"),
        (
            "approval required by policy, but AskForApproval is set to Never",
            "denied",
        ),
        ("`rm` rejected: blocked by policy", "denied"),
        (
            "This action was rejected due to unacceptable risk.",
            "denied",
        ),
        (
            "Failed to create unified exec process: No such file or directory",
            "not_found",
        ),
        (
            "Failed to create unified exec process: setup refresh had errors",
            "other",
        ),
    ] {
        let text = format!(
            r#"exec_command failed for `/bin/sh -lc '{command}'`: CreateProcess {{ message: \"Rejected(\\\"{why}\\\")\" }}"#
        );
        let output = format!(
            r#"{{"type":"response_item","payload":{{"type":"function_call_output","call_id":"c1","output":"{text}"}}}}"#
        );
        let history = codex(COMMAND, &[&output]);
        assert_eq!(
            told(&history.sessions[0]),
            [format!("0 exec_command a 1000+- {outcome}")]
        );
    }
}

#[test]
fn codex_ends_other_calls_with_items() {
    for (tool, end, outcome) in [
        (
            COMMAND,
            r#""type":"CommandExecution","status":"completed","exit_code":0,"aggregated_output":"SECRET""#,
            "success",
        ),
        (
            COMMAND,
            r#""type":"CommandExecution","status":"failed","exit_code":3,"aggregated_output":"SECRET""#,
            "tool_error",
        ),
        (
            COMMAND,
            r#""type":"CommandExecution","status":"declined","exit_code":-1"#,
            "denied",
        ),
        (
            COMMAND,
            r#""type":"CommandExecution","status":"failed","exit_code":-1,"aggregated_output":"No such file or directory (os error 2)""#,
            "not_found",
        ),
        (
            r#""name":"apply_patch""#,
            r#""type":"FileChange","changes":{},"status":"failed","stderr":"SECRET""#,
            "tool_error",
        ),
        (
            r#""name":"apply_patch""#,
            r#""type":"FileChange","changes":{},"status":"declined""#,
            "denied",
        ),
        (
            r#""name":"ticket""#,
            r#""type":"DynamicToolCall","tool":"ticket","arguments":{},"status":"failed","success":false,"error":"the request timed out""#,
            "timeout",
        ),
        (
            r#""name":"ticket""#,
            r#""type":"DynamicToolCall","tool":"ticket","arguments":{},"status":"completed","success":false,"content_items":[]"#,
            "tool_error",
        ),
        (
            r#""name":"wait""#,
            r#""type":"CollabAgentToolCall","tool":"wait","status":"interrupted""#,
            "cancelled",
        ),
        (
            r#""name":"spawn_agent""#,
            r#""type":"CollabAgentToolCall","tool":"spawn_agent","status":"failed""#,
            "tool_error",
        ),
    ] {
        let history = codex(tool, &[&item(&format!(r#""id":"c1",{end}"#))]);
        let told = told(&history.sessions[0]);
        assert!(
            told[0].ends_with(&format!(" a 1000+1000 {outcome}")),
            "{end}: {told:?}"
        );
    }
}

#[test]
fn codex_stops_a_process_that_outlives_its_call() {
    let output = r#"{"timestamp":"2026-09-01T00:00:02Z","type":"response_item","payload":{"type":"function_call_output","call_id":"c1","output":"Wall time: 0.5 seconds\nProcess running with session ID 7\nOutput:\n"}}"#;
    let stopped = item(
        r#""type":"CommandExecution","id":"c1","status":"failed","exit_code":-1,"aggregated_output":"","duration":{"secs":9,"nanos":0}"#,
    );
    let user = item(
        r#""type":"CommandExecution","id":"u1","source":"user_shell","status":"failed","exit_code":1"#,
    );
    let history = codex(COMMAND, &[output, &user, &stopped]);
    assert_eq!(
        told(&history.sessions[0]),
        ["0 exec_command a 1000+500 success"]
    );
    // What it ended with by itself counts.
    let failed = stopped.replace("-1", "1");
    let history = codex(COMMAND, &[output, &failed]);
    assert_eq!(
        told(&history.sessions[0]),
        ["0 exec_command a 1000+500 tool_error"]
    );
}

#[test]
fn codex_tells_of_the_calls_that_a_script_makes() {
    let script = r#""name":"exec""#;
    let read = item(
        r#""type":"McpToolCall","id":"exec-1","server":"files","tool":"read","arguments":{"path":"SECRET"},"status":"failed","result":{"content":[{"type":"text","text":"No such file"}],"isError":true},"duration":{"secs":0,"nanos":100000000}"#,
    );
    let command = item(
        r#""type":"CommandExecution","id":"exec-2","command":["SECRET"],"source":"unified_exec_startup","status":"completed","exit_code":0,"aggregated_output":"","duration":{"secs":0,"nanos":200000000}"#,
    );
    let patch =
        item(r#""type":"FileChange","id":"exec-3","changes":{"SECRET":{}},"status":"completed""#);
    // An older version, which tells only when it ended.
    let older = r#"{"timestamp":"2026-09-01T00:00:02.9Z","type":"event_msg","payload":{"type":"mcp_tool_call_end","call_id":"exec-4","invocation":{"server":"files","tool":"list","arguments":{}},"duration":{"secs":0,"nanos":400000000},"result":{"Err":"tool call error: request timed out"}}}"#;
    let output = r#"{"timestamp":"2026-09-01T00:00:03Z","type":"response_item","payload":{"type":"function_call_output","call_id":"c1","output":[{"type":"input_text","text":"Script failed\nWall time 1.5 seconds\nOutput:\n"},{"type":"input_text","text":"SECRET"},{"type":"input_text","text":"Script error:\nError: no such thing\n  at SECRET"}]}}"#;
    let next = r#"{"timestamp":"2026-09-01T00:00:04Z","type":"response_item","payload":{"type":"custom_tool_call","call_id":"c2","name":"exec","input":"SECRET"}}"#;
    let running = r#"{"timestamp":"2026-09-01T00:00:05Z","type":"response_item","payload":{"type":"custom_tool_call_output","call_id":"c2","output":[{"type":"input_text","text":"Script running with cell ID 1\nWall time 1.0 seconds\nOutput:\n"}]}}"#;
    let history = codex(
        script,
        &[&read, &command, &patch, older, older, output, next, running],
    );
    assert_eq!(
        told(&history.sessions[0]),
        [
            "0 exec a 1000+1500 tool_error",
            "0 mcp__files__read b 1500+100 tool_error",
            "0 exec_command c 1500+200 success",
            "0 apply_patch d 1500+500 success",
            "0 mcp__files__list e 2500+400 timeout",
            "1 exec f 4000+1000 success",
        ]
    );
    assert_eq!(
        errors(&history),
        [
            "Error: no such thing",
            "No such file",
            "tool call error: request timed out"
        ]
    );
    assert!(!format!("{history:?}").contains("SECRET"));
}

#[test]
fn codex_has_lines_without_a_call() {
    let kinds = [
        r#"{"type":"token_usage_record","payload":{"usage":{}}}"#,
        r#"{"type":"retained_context","payload":{"type":"verified_answer"}}"#,
        r#"{"type":"inter_agent_communication_metadata","payload":{"trigger_turn":true}}"#,
        r#"{"type":"response_item","payload":{"type":"additional_tools","tools":[]}}"#,
        r#"{"type":"response_item","payload":{"type":"configuration_update","reasoning":{}}}"#,
        r#"{"type":"response_item","payload":{"type":"compaction_trigger"}}"#,
    ];
    let history = codex(r#""namespace":"functions","name":"update_plan""#, &kinds);
    assert_eq!(history.account.lines, 8);
    assert_eq!(
        told(&history.sessions[0]),
        ["0 update_plan a 1000+- cancelled"]
    );
}

#[test]
fn claude_code_has_lines_without_a_call() {
    let asked = r#"{"type":"assistant","sessionId":"s","timestamp":"2026-09-01T00:00:00Z","message":{"id":"m","content":[{"type":"mcp_tool_use","id":"t1","name":"ask","server_name":"wiki","input":{}}]}}"#;
    let ended = r#"{"type":"user","sessionId":"s","timestamp":"2026-09-01T00:00:01Z","message":{"content":[{"type":"mcp_tool_result","tool_use_id":"t1","content":[{"type":"text","text":"SECRET"}]}]}}"#;
    let kinds = [
        "artifact-autoreact-ledger",
        "artifact-comment-monitor",
        "atis-latch",
        "bridge-session",
        "continued-in",
        "cost-state",
        "ended-by-model",
        "file-history-delta",
        "fork-context-ref",
        "frame-link",
        "history-suppression",
        "isolation-latch",
        "marble-origami-commit",
        "marble-origami-reset",
        "marble-origami-snapshot",
        "observer-ref",
        "relocated",
        "speculation-accept",
        "task-summary",
        "worktree-state",
    ];
    let kinds = kinds.map(|kind| format!(r#"{{"type":"{kind}","sessionId":"s"}}"#));
    let mut lines = vec![asked, ended];
    lines.extend(kinds.iter().map(String::as_str));
    let history = of(&lines);
    assert_eq!(told(&history.sessions[0]), ["0 ask a 0+1000 success"]);
}

#[test]
fn claude_code_tells_why_a_call_did_not_run() {
    for (text, outcome) in [
        (
            "<tool_use_error>Cancelled: parallel tool call Bash(x) errored</tool_use_error>",
            "cancelled",
        ),
        (
            "PreToolUse:Bash hook error: [check]: no such file",
            "denied",
        ),
        (
            "Permission for this action was denied by the Claude Code auto mode classifier. Reason: x",
            "denied",
        ),
        (
            "Error executing tool add: 1 validation error for addArguments\\nb\\n  Field required",
            "invalid_args",
        ),
        (
            "Exit code 137\\n[Request interrupted by user for tool use]",
            "cancelled",
        ),
        ("MCP error -32000: Connection closed", "network"),
    ] {
        let asked = r#"{"type":"assistant","sessionId":"s","timestamp":"2026-09-01T00:00:00Z","message":{"id":"m","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{}}]}}"#;
        let ended = format!(
            r#"{{"type":"user","sessionId":"s","timestamp":"2026-09-01T00:00:01Z","message":{{"content":[{{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":"{text}"}}]}}}}"#
        );
        let history = of(&[asked, &ended]);
        assert_eq!(
            told(&history.sessions[0]),
            [format!("0 Bash a 0+1000 {outcome}")]
        );
    }
}

#[test]
fn copilot_names_the_agents() {
    let history = of(&[
        r#"{"type":"session.start","id":"e0","timestamp":"2026-09-01T00:00:00Z","data":{"sessionId":"s"}}"#,
        r#"{"type":"assistant.message","id":"e1","timestamp":"2026-09-01T00:00:01Z","data":{"messageId":"m1","toolRequests":[{"toolCallId":"t1","name":"task","arguments":{}}]}}"#,
        r#"{"type":"assistant.message","id":"e2","agentId":"a","timestamp":"2026-09-01T00:00:02Z","data":{"messageId":"m2","toolRequests":[{"toolCallId":"t2","name":"grep","arguments":{}}]}}"#,
        r#"{"type":"tool.execution_start","id":"e3","agentId":"a","timestamp":"2026-09-01T00:00:02.1Z","data":{"toolCallId":"t2","toolName":"grep","arguments":{},"parentToolCallId":"t1"}}"#,
        r#"{"type":"tool.execution_complete","id":"e4","agentId":"a","timestamp":"2026-09-01T00:00:03Z","data":{"toolCallId":"t2","success":false,"error":{"code":"timeout","message":"SECRET"}}}"#,
        r#"{"type":"tool.execution_complete","id":"e5","timestamp":"2026-09-01T00:00:04Z","data":{"toolCallId":"t1","success":true}}"#,
    ]);
    assert_eq!(told(&history.sessions[0]), ["0 task a 1000+3000 success"]);
    assert_eq!(told(&history.sessions[1]), ["0 grep a 100+900 timeout"]);
}

#[test]
fn copilot_and_pi_have_lines_without_a_call() {
    let kinds = [
        "auto_mode_switch.requested",
        "factory.run_started",
        "mcp_app.tool_call_complete",
        "model.call_failure",
        "sampling.requested",
        "session_limits_exhausted.requested",
        "tool_search.activated",
        "ui.ephemeral_query",
        "user_input.requested",
    ];
    let kinds = kinds.map(|kind| format!(r#"{{"type":"{kind}","id":"e","data":{{}}}}"#));
    let mut lines = vec![
        r#"{"type":"tool.execution_start","id":"e1","data":{"toolCallId":"t1","toolName":"bash"}}"#,
    ];
    lines.extend(kinds.iter().map(String::as_str));
    assert_eq!(of(&lines).account.lines, 10);
    let pi = of(&[
        r#"{"type":"session","version":3,"id":"s"}"#,
        r#"{"type":"message","id":"e1","message":{"role":"assistant","content":[{"type":"toolCall","id":"p1","name":"bash","arguments":{}}]}}"#,
        r#"{"type":"usage","id":"e2","usage":{}}"#,
        r#"{"type":"context_edit","id":"e3","targetId":"e1"}"#,
    ]);
    assert_eq!(pi.account.lines, 4);
}
