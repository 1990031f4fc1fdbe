//! The verdict on an MCP call, from rmcp's types.
//!
//! [`verdict`] is the rule for [`CallBuilder::classify`](toolmeter::CallBuilder::classify), and
//! [`ByMcp`] is the same for functions that judge by type. Servers, clients and the host's own
//! calls are judged by these rules only, so that both ends of a connection count an answer in the
//! same way. [`Verdict::mcp`] and [`Verdict::json_rpc_error`] know the texts of the SDKs.

use rmcp::ErrorData;
use rmcp::ServiceError;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock};
use toolmeter::{Classify, ErrorKind, Verdict};

mod sealed {
    pub trait Sealed {}
}

/// The types that rmcp returns at the end of a call: an answer, an error, or either.
///
/// | | outcome |
/// | --- | --- |
/// | an answer without `isError`, a request for input, a task | success |
/// | an answer with `isError` | by the text, as [`Verdict::mcp`] |
/// | an error of JSON-RPC | by its code and message, as [`Verdict::json_rpc_error`] |
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
        Verdict::mcp(true, text.unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::ErrorCode;
    use std::time::Duration;
    use toolmeter::{Outcome, classify_mcp};

    fn failed(kind: ErrorKind) -> Outcome {
        Outcome::Failure(kind)
    }

    fn error(text: &str) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(text)])
    }

    /// The texts themselves are tested with [`Verdict::mcp`].
    #[test]
    fn answers_are_judged_alike_in_both_forms() {
        for (text, kind) in [
            ("no such repo", ErrorKind::ToolError),
            ("", ErrorKind::ToolError),
            ("Unknown tool: nope", ErrorKind::NotFound),
            (
                "MCP error -32602: Output validation error: no structured content",
                ErrorKind::ToolError,
            ),
            (
                "Error executing tool add: 1 validation error for addArguments\nb\n",
                ErrorKind::InvalidArgs,
            ),
        ] {
            let answer = error(text);
            assert_eq!(answer.verdict().outcome(), failed(kind), "{text}");
            assert!(!answer.is_plain_success());
            let json = serde_json::to_value(answer).unwrap();
            assert_eq!(classify_mcp(&json).outcome(), failed(kind), "{text}");
        }
        let plain = CallToolResult::success(vec![ContentBlock::text("Unknown tool: nope")]);
        assert_eq!(plain.verdict().outcome(), Outcome::Success);
        let untold = CallToolResult::error(vec![]);
        assert_eq!(untold.verdict().outcome(), failed(ErrorKind::ToolError));
    }

    #[test]
    fn errors_of_the_protocol_are_judged_by_code_and_wording() {
        for (code, text, kind) in [
            (-32_602, "tool not found", ErrorKind::NotFound),
            (-32_602, "Tool off disabled", ErrorKind::NotFound),
            (-32_602, "missing field `path`", ErrorKind::InvalidArgs),
            (-32_603, "internal", ErrorKind::Provider),
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
