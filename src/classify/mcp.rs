//! The rules of the Model Context Protocol: answers of tools, and errors of JSON-RPC.
//!
//! The wordings of SDKs are known here and nowhere else. Each is matched from the start of a text,
//! so that a tool's own error that mentions one is an error of the tool.

use super::verdict::Verdict;
use crate::contain::discard;
use crate::text::Excerpt;
use serde_json::Value;
use std::fmt::Display;
use toolmeter_core::{ErrorKind, Outcome};

impl Verdict {
    /// Judges a `CallToolResult` of the Model Context Protocol, which reports errors of the tool
    /// inside an ordinary answer. `is_error` is its `isError`, where null and absent mean false, and
    /// `text` is the text of its content.
    ///
    /// An error is a failure of kind `tool_error`, unless an SDK reports an error of the protocol in
    /// this way. The start of the text shows that:
    ///
    /// | text | kind |
    /// | --- | --- |
    /// | `MCP error -32602: ...` (TypeScript SDK), and any other code | as in [`json_rpc_error`](Self::json_rpc_error) |
    /// | `Input validation error: ...`, `Invalid arguments for tool ...` (TypeScript and Python SDK) | `invalid_args` |
    /// | `Error executing tool add: 1 validation error for addArguments` as first line (Python SDK) | `invalid_args` |
    /// | `failed to deserialize parameters: ...` (rmcp) | `invalid_args` |
    /// | `Unknown tool: ...` (Python SDK) | `not_found` |
    /// | `Tool read not found`, `tool not found` as the whole text | `not_found` |
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Outcome, Verdict};
    ///
    /// let outcome = |is_error: Option<bool>, text: &str| Verdict::mcp(is_error, text).outcome();
    /// assert_eq!(outcome(None, "3 hits"), Outcome::Success);
    /// assert_eq!(outcome(Some(true), "no such repo"), Outcome::Failure(ErrorKind::ToolError));
    /// let bad = "MCP error -32602: Input validation error: Invalid arguments for tool read";
    /// assert_eq!(outcome(Some(true), bad), Outcome::Failure(ErrorKind::InvalidArgs));
    /// ```
    pub fn mcp(is_error: impl Into<Option<bool>>, text: impl Display) -> Self {
        if is_error.into() != Some(true) {
            discard(text);
            return Self::success();
        }
        let message = Excerpt::new(&text);
        discard(text);
        let kind = mcp_kind(&message.as_text());
        Self::with_message(
            Outcome::Failure(kind),
            Some(message).filter(|message| !message.is_empty()),
        )
    }

    /// Judges an error of JSON-RPC by its code, as the Model Context Protocol uses it.
    ///
    /// | code | meaning | kind |
    /// | --- | --- | --- |
    /// | -32602 | invalid params | `invalid_args` |
    /// | -32602 | unknown tool: `Unknown tool: ...`, `Tool ... not found`, `Tool ... disabled`, `tool not found` | `not_found` |
    /// | -32602 | bad answer of the tool: `Output validation error: ...` (TypeScript SDK) | `tool_error` |
    /// | -32601 | method not found | `not_found` |
    /// | -32002 | resource not found (MCP) | `not_found` |
    /// | -32001 | request timed out (TypeScript SDK) | `timeout` |
    /// | -32000 | connection closed (TypeScript SDK) | `network` |
    /// | -32603 and others | internal error | `provider` |
    ///
    /// The codes -32602, -32601 and -32603 are those of the
    /// [JSON-RPC 2.0 specification](https://www.jsonrpc.org/specification#error_object).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Outcome, Verdict};
    ///
    /// let verdict = Verdict::json_rpc_error(-32601, "Method not found");
    /// assert_eq!(verdict.outcome(), Outcome::Failure(ErrorKind::NotFound));
    /// ```
    pub fn json_rpc_error(code: i64, message: impl Display) -> Self {
        let text = Excerpt::new(&message);
        discard(message);
        let kind = json_rpc_kind(code, &text.as_text());
        Self::with_message(Outcome::Failure(kind), Some(text))
    }
}

/// Returns the kind of failure for a code of JSON-RPC and its message.
fn json_rpc_kind(code: i64, message: &str) -> ErrorKind {
    match code {
        -32_602 => params_kind(message),
        -32_601 | -32_002 => ErrorKind::NotFound,
        -32_001 => ErrorKind::Timeout,
        -32_000 => ErrorKind::Network,
        _ => ErrorKind::Provider,
    }
}

/// Returns the kind of failure for a message with the code of invalid params.
fn params_kind(message: &str) -> ErrorKind {
    // The TypeScript SDK 1 writes the code into the message as well.
    let message = coded(message).map_or(message, |(_, message)| message);
    let is_of_tool = |end: &str| {
        let rest = message.strip_prefix("Tool ");
        rest.is_some_and(|rest| rest.ends_with(end))
    };
    if message.starts_with("Unknown tool: ")
        || message == "tool not found"
        || is_of_tool(" not found")
        || is_of_tool(" disabled")
    {
        ErrorKind::NotFound
    } else if message.starts_with("Output validation error:") {
        ErrorKind::ToolError
    } else {
        ErrorKind::InvalidArgs
    }
}

/// Returns the kind of failure for the text of an answer with `isError`.
fn mcp_kind(text: &str) -> ErrorKind {
    if let Some((code, message)) = coded(text) {
        return json_rpc_kind(code, message);
    }
    let is_bad_args = [
        "Input validation error:",
        "Invalid arguments for tool ",
        "failed to deserialize parameters:",
    ]
    .iter()
    .any(|start| text.starts_with(start));
    if is_bad_args || is_bad_args_of_python(text) {
        ErrorKind::InvalidArgs
    } else if text.starts_with("Unknown tool: ") || text == "tool not found" || is_no_tool(text) {
        ErrorKind::NotFound
    } else {
        ErrorKind::ToolError
    }
}

/// Splits `MCP error CODE: MESSAGE`, the TypeScript SDK's form of any error of the protocol.
fn coded(text: &str) -> Option<(i64, &str)> {
    let (code, message) = text.strip_prefix("MCP error ")?.split_once(':')?;
    Some((code.parse().ok()?, message.trim()))
}

/// Returns whether the text is `Tool NAME not found`, with a name of one word.
fn is_no_tool(text: &str) -> bool {
    text.strip_prefix("Tool ")
        .and_then(|rest| rest.strip_suffix(" not found"))
        .is_some_and(|name| !name.contains(char::is_whitespace))
}

/// Returns whether the first line is `Error executing tool NAME: COUNT validation errors for
/// FUNCTIONArguments`: the Python SDK's form of arguments that do not fit the tool's function.
fn is_bad_args_of_python(text: &str) -> bool {
    let error = || {
        let line = text.lines().next()?.strip_prefix("Error executing tool ")?;
        let (_, error) = line.split_once(": ")?;
        let (count, rest) = error.split_once(" validation error")?;
        count.parse::<u64>().ok()?;
        let model = rest.strip_prefix('s').unwrap_or(rest);
        model.strip_prefix(" for ")?.strip_suffix("Arguments")
    };
    error().is_some()
}

/// Judges a JSON answer by the rules of the Model Context Protocol; see [`Verdict::mcp`].
///
/// The text is that of the first content with a text. An answer whose `isError` is not `true` is a
/// success, whatever its shape. Answers of [`Registry::invoke`](crate::Registry::invoke) are judged
/// in this way unless the tool has a [rule of its own](crate::Tool::classify).
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use toolmeter::{ErrorKind, Outcome, classify_mcp};
///
/// let answer = json!({ "isError": true, "content": [{ "type": "text", "text": "no such repo" }] });
/// assert_eq!(classify_mcp(&answer).outcome(), Outcome::Failure(ErrorKind::ToolError));
/// assert_eq!(classify_mcp(&json!({ "isError": null })).outcome(), Outcome::Success);
/// assert_eq!(classify_mcp(&json!(["a", "b"])).outcome(), Outcome::Success);
/// ```
pub fn classify_mcp(answer: &Value) -> Verdict {
    let is_error = answer.get("isError").and_then(Value::as_bool);
    if is_error != Some(true) {
        return Verdict::success();
    }
    let content = answer.get("content").and_then(Value::as_array);
    let text = content
        .into_iter()
        .flatten()
        .find_map(|part| part.get("text").and_then(Value::as_str));
    Verdict::mcp(is_error, text.unwrap_or_default())
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
