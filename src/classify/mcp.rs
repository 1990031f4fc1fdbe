//! The rules of the Model Context Protocol: answers of tools, and errors of JSON-RPC.

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
    /// An error is a failure of kind `tool_error`. Errors of the protocol that an SDK writes into an
    /// answer keep their kind: bad arguments, which the TypeScript SDK reports as
    /// `MCP error -32602: ...` and rmcp as `failed to deserialize parameters: ...`, are
    /// `invalid_args`; an unknown tool, which the TypeScript SDK reports with the same code, is
    /// `not_found`; other codes are judged as in [`json_rpc_error`](Self::json_rpc_error).
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
    /// | -32601 | method not found | `not_found` |
    /// | -32002 | resource not found (MCP) | `not_found` |
    /// | -32001 | request timed out (TypeScript SDK) | `timeout` |
    /// | -32000 | connection closed (TypeScript SDK) | `network` |
    /// | -32603 and others | internal error | `provider` |
    ///
    /// The first two and the last are those of the
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
        Self::failure(json_rpc_kind(code)).because(message)
    }
}

/// Returns the kind of failure for a code of JSON-RPC.
fn json_rpc_kind(code: i64) -> ErrorKind {
    match code {
        -32_602 => ErrorKind::InvalidArgs,
        -32_601 | -32_002 => ErrorKind::NotFound,
        -32_001 => ErrorKind::Timeout,
        -32_000 => ErrorKind::Network,
        _ => ErrorKind::Provider,
    }
}

/// Returns the kind of failure for the text of an answer with `isError`.
fn mcp_kind(text: &str) -> ErrorKind {
    // rmcp, for arguments that do not fit the tool's parameters.
    if text.starts_with("failed to deserialize parameters:") {
        return ErrorKind::InvalidArgs;
    }
    // The TypeScript SDK, for any error of the protocol.
    let coded = text
        .strip_prefix("MCP error ")
        .and_then(|rest| rest.split_once(':'))
        .and_then(|(code, message)| Some((code.parse::<i64>().ok()?, message.trim())));
    match coded {
        // The TypeScript SDK, for a tool that the server does not have.
        Some((-32_602, message))
            if message.starts_with("Tool ") && message.ends_with(" not found") =>
        {
            ErrorKind::NotFound
        }
        Some((code, _)) => json_rpc_kind(code),
        None => ErrorKind::ToolError,
    }
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
