use super::*;
use serde_json::json;

#[test]
fn an_answer_may_carry_an_error() {
    let outcome = |answer: &Value| classify_mcp(answer).outcome();
    for success in [
        json!({ "isError": false }),
        json!({ "isError": null }),
        json!({ "isError": "yes" }),
        json!(null),
    ] {
        assert_eq!(outcome(&success), Outcome::Success, "{success}");
    }
    let failed = json!({ "isError": true, "content": [{ "type": "image" }, { "text": "why" }] });
    let verdict = classify_mcp(&failed);
    assert_eq!(verdict.outcome(), Outcome::Failure(ErrorKind::ToolError));
    assert_eq!(verdict.message().unwrap(), "why");
    let silent = classify_mcp(&json!({ "isError": true, "content": 3 }));
    assert_eq!(silent.outcome(), Outcome::Failure(ErrorKind::ToolError));
    assert!(silent.message().is_none());
}

#[test]
fn errors_of_the_protocol_within_an_answer_keep_their_kind() {
    for (text, kind) in [
        (
            "MCP error -32602: Input validation error",
            ErrorKind::InvalidArgs,
        ),
        (
            "MCP error -32602: Tool teleport not found",
            ErrorKind::NotFound,
        ),
        ("MCP error -32601: Method not found", ErrorKind::NotFound),
        ("MCP error -32603: Internal error", ErrorKind::Provider),
        ("MCP error -32001: Request timed out", ErrorKind::Timeout),
        ("MCP error -32000: Connection closed", ErrorKind::Network),
        (
            "failed to deserialize parameters: missing field `path`",
            ErrorKind::InvalidArgs,
        ),
        ("MCP error of my own: 3", ErrorKind::ToolError),
        ("", ErrorKind::ToolError),
    ] {
        let outcome = Verdict::mcp(true, text).outcome();
        assert_eq!(outcome, Outcome::Failure(kind), "{text}");
        assert_eq!(Verdict::mcp(None, text).outcome(), Outcome::Success);
        assert_eq!(Verdict::mcp(false, text).outcome(), Outcome::Success);
    }
}
