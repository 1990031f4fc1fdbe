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

/// The texts of SDKs in an answer with `isError`, and plain errors of tools that only mention them.
#[test]
fn the_wording_of_an_sdk_gives_the_kind_of_an_answer() {
    for (kind, texts) in [
        (
            ErrorKind::InvalidArgs,
            &[
                "MCP error -32602: Input validation error",
                "MCP error -32602: Invalid arguments for tool read: too many elements",
                "Input validation error: 'path' is a required property",
                "Invalid arguments for tool read: too many elements",
                "failed to deserialize parameters: missing field `path`",
                "Error executing tool add: 1 validation error for addArguments\nb\n  Field required",
                "Error executing tool add: 12 validation errors for addArguments\nb\n  Field required",
            ][..],
        ),
        (
            ErrorKind::NotFound,
            &[
                "MCP error -32602: Tool teleport not found",
                "MCP error -32602: Tool my tool not found",
                "MCP error -32602: Tool teleport disabled",
                "MCP error -32602: Unknown tool: teleport",
                "MCP error -32601: Method not found",
                "MCP error -32002: Resource not found",
                "Tool teleport not found",
                "tool not found",
                "Unknown tool: teleport",
            ],
        ),
        (
            ErrorKind::ToolError,
            &[
                "MCP error -32602: Output validation error: Tool read has an output schema",
                "Output validation error: outputSchema defined but no structured output",
                "MCP error of my own: 3",
                "MCP error: -32602",
                "",
                "said: Input validation error: no",
                "the log has: MCP error -32602: Tool teleport not found",
                "could not build: tool not found",
                "tool not found in the registry",
                "Tool chain of this target not found",
                "Tool teleport disabled",
                "Tools not found",
                "asked for an Unknown tool: teleport",
                "Error executing tool add: no such row",
                "Error executing tool add",
                "Error executing tool add: 1 validation error for addOutput\nb\n  Field required",
                "Error executing tool add: validation error for addArguments",
                "Error executing tool add: no validation error for addArguments",
                "Error executing tool add: 1 validation error for add\nArguments",
                "Error executing tool add: Error executing tool b: 1 validation error for bArguments",
                "it said: Error executing tool add: 1 validation error for addArguments",
            ],
        ),
        (
            ErrorKind::Provider,
            &["MCP error -32603: Internal error", "MCP error 7: no"],
        ),
        (ErrorKind::Timeout, &["MCP error -32001: Request timed out"]),
        (ErrorKind::Network, &["MCP error -32000: Connection closed"]),
    ] {
        for text in texts {
            let outcome = Verdict::mcp(true, text).outcome();
            assert_eq!(outcome, Outcome::Failure(kind), "{text}");
            let answer = json!({ "isError": true, "content": [{ "type": "text", "text": text }] });
            assert_eq!(classify_mcp(&answer).outcome(), outcome, "{text}");
            assert_eq!(Verdict::mcp(None, text).outcome(), Outcome::Success);
            assert_eq!(Verdict::mcp(false, text).outcome(), Outcome::Success);
        }
    }
}

/// Bad parameters have one code for the arguments, the tool's name and the tool's output.
#[test]
fn an_error_of_json_rpc_is_judged_by_its_code_and_bad_parameters_by_the_wording_too() {
    for (code, text, kind) in [
        (-32_602, "missing field `path`", ErrorKind::InvalidArgs),
        (-32_602, "no tool not found", ErrorKind::InvalidArgs),
        (-32_602, "", ErrorKind::InvalidArgs),
        (-32_602, "tool not found", ErrorKind::NotFound),
        (-32_602, "Unknown tool: teleport", ErrorKind::NotFound),
        (-32_602, "Tool teleport not found", ErrorKind::NotFound),
        (-32_602, "Tool teleport disabled", ErrorKind::NotFound),
        (
            -32_602,
            "MCP error -32602: Tool teleport not found",
            ErrorKind::NotFound,
        ),
        (
            -32_602,
            "MCP error -32602: Output validation error: no structured content",
            ErrorKind::ToolError,
        ),
        (
            -32_602,
            "Output validation error: no structured content",
            ErrorKind::ToolError,
        ),
        (-32_601, "Method not found", ErrorKind::NotFound),
        (-32_603, "tool not found", ErrorKind::Provider),
        (7, "Unknown tool: teleport", ErrorKind::Provider),
    ] {
        let verdict = Verdict::json_rpc_error(code, text);
        assert_eq!(verdict.outcome(), Outcome::Failure(kind), "{code} {text}");
        assert_eq!(verdict.message().unwrap(), text);
    }
}
