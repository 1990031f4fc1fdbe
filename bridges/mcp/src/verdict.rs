//! The verdict on an MCP call, from rmcp's types.
//!
//! [`verdict`] is the rule for [`CallBuilder::classify`](toolmeter::CallBuilder::classify), and
//! [`ByMcp`] is the same for functions that judge by type. Servers, clients and the host's own
//! calls are judged by these rules only, so that both ends of a connection count an answer in the
//! same way.

use rmcp::ErrorData;
use rmcp::ServiceError;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ErrorCode};
use serde_json::Value;
use toolmeter::{Classify, ErrorKind, Verdict, classify_mcp};

mod sealed {
    pub trait Sealed {}
}

/// The types that rmcp returns at the end of a call: an answer, an error, or either.
///
/// | | outcome |
/// | --- | --- |
/// | an answer without `isError`, a request for input, a task | success |
/// | an answer with `isError` | `tool_error`; `invalid_args` or `not_found` if its text is that of an SDK |
/// | an error of JSON-RPC | by its code, as [`Verdict::json_rpc_error`]; -32602 that names an unknown tool is `not_found` |
/// | no answer within the limit | `timeout` |
/// | the connection is lost, or nothing could be sent | `network` |
/// | cancelled | cancelled |
/// | an answer of an unexpected type, too many rounds of input | `provider` |
pub trait McpResult: sealed::Sealed {
    /// Judges the result.
    fn verdict(&self) -> Verdict;

    /// Returns whether the result is known to be a success, so that it is not judged any further.
    fn is_plain_success(&self) -> bool {
        false
    }
}

/// Judges the result of a call in rmcp; see [`McpResult`].
///
/// # Examples
///
/// ```
/// use rmcp::ServiceError;
/// use rmcp::model::{CallToolResult, ContentBlock};
/// use toolmeter::{ErrorKind, Registry};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let registry = Registry::new();
/// let search = registry.register("search")?;
/// let answer = async {
///     Ok::<_, ServiceError>(CallToolResult::error(vec![ContentBlock::text("no such repo")]))
/// };
/// search.call().classify(toolmeter_mcp::verdict).run_async(answer).await?;
/// let metrics = registry.metrics();
/// assert_eq!(metrics.tools["search"].failures_by_kind[&ErrorKind::ToolError], 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verdict<R: McpResult>(result: &R) -> Verdict {
    result.verdict()
}

/// A result of rmcp that [`run_async`](toolmeter::ToolHandle::run_async) judges by its type.
///
/// `Result<CallToolResult, ServiceError>` itself implements [`Classify`] as every result does: each
/// `Ok` is a success, whatever it holds.
///
/// # Examples
///
/// ```
/// use rmcp::ServiceError;
/// use rmcp::model::{CallToolResult, ContentBlock};
/// use toolmeter::Registry;
/// use toolmeter_mcp::ByMcp;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let registry = Registry::new();
/// let search = registry.register("search")?;
/// let answer = async {
///     Ok::<_, ServiceError>(CallToolResult::error(vec![ContentBlock::text("no such repo")]))
/// };
/// let ByMcp(result) = search.run_async(async { ByMcp(answer.await) }).await;
/// assert!(result.is_ok());
/// assert_eq!(registry.metrics().tools["search"].failure(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByMcp<R>(pub R);

impl<R: McpResult> Classify for ByMcp<R> {
    fn classify(&self) -> Verdict {
        self.0.verdict()
    }

    fn is_plain_success(&self) -> bool {
        self.0.is_plain_success()
    }
}

impl<R: sealed::Sealed, E: sealed::Sealed> sealed::Sealed for Result<R, E> {}

impl<R: McpResult, E: McpResult> McpResult for Result<R, E> {
    fn verdict(&self) -> Verdict {
        match self {
            Ok(answer) => answer.verdict(),
            Err(error) => error.verdict(),
        }
    }

    fn is_plain_success(&self) -> bool {
        self.as_ref().is_ok_and(McpResult::is_plain_success)
    }
}

impl sealed::Sealed for CallToolResult {}

impl McpResult for CallToolResult {
    fn verdict(&self) -> Verdict {
        if self.is_error != Some(true) {
            return Verdict::success();
        }
        let text = self.content.iter().find_map(|block| match block {
            ContentBlock::Text(text) => Some(&*text.text),
            _ => None,
        });
        reported(text.unwrap_or_default())
    }

    fn is_plain_success(&self) -> bool {
        self.is_error != Some(true)
    }
}

impl sealed::Sealed for CallToolResponse {}

impl McpResult for CallToolResponse {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Complete(result) => result.verdict(),
            _ => Verdict::success(),
        }
    }

    fn is_plain_success(&self) -> bool {
        match self {
            Self::Complete(result) => result.is_plain_success(),
            _ => true,
        }
    }
}

impl sealed::Sealed for ErrorData {}

impl McpResult for ErrorData {
    fn verdict(&self) -> Verdict {
        if self.code == ErrorCode::INVALID_PARAMS && is_unknown_tool(&self.message) {
            return Verdict::failure(ErrorKind::NotFound).because(&*self.message);
        }
        Verdict::json_rpc_error(self.code.0.into(), &*self.message)
    }
}

impl sealed::Sealed for ServiceError {}

impl McpResult for ServiceError {
    fn verdict(&self) -> Verdict {
        let verdict = match self {
            Self::McpError(error) => return error.verdict(),
            Self::Timeout { .. } => Verdict::failure(ErrorKind::Timeout),
            Self::TransportSend(_) | Self::TransportClosed => Verdict::failure(ErrorKind::Network),
            Self::Cancelled { .. } => Verdict::cancelled(),
            _ => Verdict::failure(ErrorKind::Provider),
        };
        verdict.because(self)
    }
}

/// Judges an answer with `isError` by its text.
fn reported(text: &str) -> Verdict {
    if is_unknown_tool(text) {
        return Verdict::failure(ErrorKind::NotFound).because(text);
    }
    // The Python SDK writes this if the arguments do not fit the tool's schema.
    if text.starts_with("Input validation error:") {
        return Verdict::failure(ErrorKind::InvalidArgs).because(text);
    }
    Verdict::mcp(true, text)
}

/// Judges an answer in JSON by the same rules.
pub(crate) fn of_json(answer: &Value) -> Verdict {
    if answer.get("isError").and_then(Value::as_bool) != Some(true) {
        return Verdict::success();
    }
    let content = answer.get("content").and_then(Value::as_array);
    let text = content
        .into_iter()
        .flatten()
        .find_map(|part| part.get("text").and_then(Value::as_str));
    match text {
        Some(text) => reported(text),
        None => classify_mcp(answer),
    }
}

/// Returns whether a text is the message of an SDK or of the specification for a tool that the
/// server does not have.
fn is_unknown_tool(text: &str) -> bool {
    let text = text
        .strip_prefix("MCP error -32602:")
        .unwrap_or(text)
        .trim();
    // The texts of the TypeScript SDK, of rmcp, and of the specification and the Python SDK.
    (text.starts_with("Tool ") && text.ends_with(" not found"))
        || text == "tool not found"
        || text.starts_with("Unknown tool: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;
    use toolmeter::Outcome;

    fn failed(kind: ErrorKind) -> Outcome {
        Outcome::Failure(kind)
    }

    fn error(text: &str) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(text)])
    }

    /// Checks real answers of servers, as values of rmcp and as JSON.
    #[test]
    fn answers_are_judged_by_how_sdks_word_them() {
        for (text, kind) in [
            ("no such repo", ErrorKind::ToolError),
            ("", ErrorKind::ToolError),
            ("MCP error -32602: Tool nope not found", ErrorKind::NotFound),
            ("Unknown tool: nope", ErrorKind::NotFound),
            (
                "MCP error -32602: Input validation error: Invalid arguments for tool read",
                ErrorKind::InvalidArgs,
            ),
            (
                "failed to deserialize parameters: missing field `path`",
                ErrorKind::InvalidArgs,
            ),
            (
                "Input validation error: 'path' is a required property",
                ErrorKind::InvalidArgs,
            ),
        ] {
            assert_eq!(error(text).verdict().outcome(), failed(kind), "{text}");
            let answer = json!({ "isError": true, "content": [{ "type": "text", "text": text }] });
            assert_eq!(of_json(&answer).outcome(), failed(kind), "{text}");
            assert!(!error(text).is_plain_success());
        }
        let plain = CallToolResult::success(vec![ContentBlock::text("Unknown tool: nope")]);
        assert_eq!(plain.verdict().outcome(), Outcome::Success);
        assert_eq!(
            of_json(&json!({ "content": [] })).outcome(),
            Outcome::Success
        );
        let untold = of_json(&json!({ "isError": true, "content": [{ "type": "image" }] }));
        assert_eq!(untold.outcome(), failed(ErrorKind::ToolError));
    }

    #[test]
    fn errors_of_the_protocol_are_judged_by_code_and_wording() {
        for (code, text, kind) in [
            (-32_602, "tool not found", ErrorKind::NotFound),
            (
                -32_602,
                "MCP error -32602: Tool x not found",
                ErrorKind::NotFound,
            ),
            (-32_602, "Unknown tool: x", ErrorKind::NotFound),
            (-32_602, "missing field `path`", ErrorKind::InvalidArgs),
            (-32_601, "tools/call", ErrorKind::NotFound),
            (-32_603, "internal", ErrorKind::Provider),
            (-32_001, "Request timed out", ErrorKind::Timeout),
            (7, "whatever", ErrorKind::Provider),
        ] {
            let error = ErrorData::new(ErrorCode(code), text, None);
            assert_eq!(error.verdict().outcome(), failed(kind), "{code} {text}");
            let error = ServiceError::McpError(error);
            assert_eq!(error.verdict().outcome(), failed(kind), "{code} {text}");
            assert_eq!(error.verdict().message().as_deref(), Some(text));
        }
    }

    #[test]
    fn errors_of_the_service_keep_what_they_are() {
        let limit = Duration::from_secs(3);
        for (error, outcome) in [
            (
                ServiceError::Timeout { timeout: limit },
                failed(ErrorKind::Timeout),
            ),
            (ServiceError::TransportClosed, failed(ErrorKind::Network)),
            (
                ServiceError::UnexpectedResponse,
                failed(ErrorKind::Provider),
            ),
            (ServiceError::Cancelled { reason: None }, Outcome::Cancelled),
        ] {
            assert_eq!(verdict(&error).outcome(), outcome, "{error}");
            let result = ByMcp(Err::<CallToolResult, _>(error));
            assert_eq!(result.outcome(), outcome);
            assert!(!result.is_plain_success());
        }
        let result = Ok::<CallToolResponse, ErrorData>(CallToolResult::default().into());
        assert_eq!(verdict(&result).outcome(), Outcome::Success);
        assert!(ByMcp(result).is_plain_success());
    }
}
