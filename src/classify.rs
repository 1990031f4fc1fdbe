//! From what a tool gave back to how the call ended: [`Classify`] and its [`Verdict`].
//!
//! A tool that answers is not a tool that succeeded: MCP servers answer errors as an ordinary
//! result with `isError` set. So a classifier sees the whole result. It borrows it, because
//! metering gives back what the tool gave.

use crate::tool::{ToolError, io_error_kind};
use serde_json::Value;
use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Display};
use toolmeter_core::{ErrorKind, Outcome};

/// How a call ended, and for a failure what the error says.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, Registry, ToolSpec, Verdict};
///
/// let registry = Registry::new();
/// let fetch = registry.register(ToolSpec::new("fetch"))?;
/// // An HTTP status, classified by the host's own rule.
/// let status = fetch.run_with(
///     |status: &u16| match status {
///         200..=299 => Verdict::success(),
///         429 => Verdict::failure(ErrorKind::RateLimited),
///         _ => Verdict::failure(ErrorKind::Provider).because(status),
///     },
///     || 503,
/// );
/// assert_eq!(status, 503);
/// let metrics = registry.metrics();
/// let error = metrics.tools["fetch"].last_error.as_ref().unwrap();
/// assert_eq!(error.message.as_deref(), Some("503"));
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Debug)]
pub struct Verdict<'a> {
    pub(crate) outcome: Outcome,
    message: Message<'a>,
}

enum Message<'a> {
    None,
    Shown(&'a dyn Display),
    Text(Cow<'a, str>),
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Shown(_) => "Shown(..)",
            Self::Text(_) => "Text(..)",
        })
    }
}

impl<'a> Verdict<'a> {
    /// The tool gave what was asked of it.
    #[must_use]
    #[inline]
    pub const fn success() -> Self {
        Self {
            outcome: Outcome::Success,
            message: Message::None,
        }
    }

    /// The tool failed, in this way.
    #[must_use]
    #[inline]
    pub const fn failure(kind: ErrorKind) -> Self {
        Self {
            outcome: Outcome::Failure(kind),
            message: Message::None,
        }
    }

    /// With the error that says why. It is formatted only if messages are kept, and only as
    /// far as they are.
    #[must_use]
    pub fn because(mut self, error: &'a dyn Display) -> Self {
        self.message = Message::Shown(error);
        self
    }

    /// With a text that says why.
    #[must_use]
    pub fn because_text(mut self, text: impl Into<Cow<'a, str>>) -> Self {
        self.message = Message::Text(text.into());
        self
    }

    /// How the call ended.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What the error says, if the verdict is a failure with a message.
    pub(crate) fn message(&self) -> Option<&dyn Display> {
        match &self.message {
            Message::None => None,
            Message::Shown(error) => Some(*error),
            Message::Text(text) => Some(text),
        }
    }
}

/// A result that can tell whether it is a success.
///
/// It is implemented for `()`, which always is, and for `Result<T, E>` with any error that can
/// be displayed: `Ok` is a success, `Err` a failure of kind `other`, but for the errors whose
/// kind is known: [`ToolError`] has one, [`std::io::Error`] has one that fits, and
/// [`serde_json::Error`] is `invalid_args`. For everything else there is
/// [`run_with`](crate::ToolHandle::run_with).
///
/// `E` must be `'static`, so that those errors can be told apart from others.
///
/// # Examples
///
/// ```
/// use toolmeter::{Classify, ErrorKind, Outcome};
///
/// let refused: Result<(), std::io::Error> =
///     Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
/// assert_eq!(refused.classify().outcome(), Outcome::Failure(ErrorKind::PermissionDenied));
/// let failed: Result<(), String> = Err("no such host".into());
/// assert_eq!(failed.classify().outcome(), Outcome::Failure(ErrorKind::Other));
/// ```
pub trait Classify {
    /// How the call that gave this ended.
    fn classify(&self) -> Verdict<'_>;
}

impl Classify for () {
    fn classify(&self) -> Verdict<'_> {
        Verdict::success()
    }
}

impl<T, E: Display + 'static> Classify for Result<T, E> {
    #[inline]
    fn classify(&self) -> Verdict<'_> {
        match self {
            Ok(_) => Verdict::success(),
            Err(error) => classify_error(error),
        }
    }
}

#[cold]
fn classify_error<E: Display + 'static>(error: &E) -> Verdict<'_> {
    let any: &dyn Any = error;
    if let Some(error) = any.downcast_ref::<ToolError>() {
        return Verdict::failure(error.kind()).because_text(error.message());
    }
    let kind = if let Some(error) = any.downcast_ref::<std::io::Error>() {
        io_error_kind(error)
    } else if any.is::<serde_json::Error>() {
        ErrorKind::InvalidArgs
    } else {
        ErrorKind::Other
    };
    Verdict::failure(kind).because(error)
}

/// The verdict on an answer of a tool of the Model Context Protocol, whose `CallToolResult`
/// reports errors of the tool inside the answer.
///
/// `isError: true` is a failure of kind `provider` with the text of the first text content;
/// `isError` that is not a boolean is an unexpected shape, a failure of kind `invalid_args`;
/// all else is a success. [`Registry::invoke`](crate::Registry::invoke) judges every answer by
/// this.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use toolmeter::{ErrorKind, Outcome, classify_mcp};
///
/// let answer = json!({ "isError": true, "content": [{ "type": "text", "text": "no such repo" }] });
/// assert_eq!(classify_mcp(&answer).outcome(), Outcome::Failure(ErrorKind::Provider));
/// assert_eq!(classify_mcp(&json!(["a", "b"])).outcome(), Outcome::Success);
/// ```
#[must_use]
pub fn classify_mcp(answer: &Value) -> Verdict<'_> {
    match answer.get("isError") {
        None | Some(Value::Bool(false)) => Verdict::success(),
        Some(Value::Bool(true)) => {
            let verdict = Verdict::failure(ErrorKind::Provider);
            let content = answer.get("content").and_then(Value::as_array);
            let text = content
                .into_iter()
                .flatten()
                .find_map(|part| part.get("text").and_then(Value::as_str));
            match text {
                Some(text) => verdict.because_text(text),
                None => verdict,
            }
        }
        Some(_) => Verdict::failure(ErrorKind::InvalidArgs)
            .because_text("the answer has an unexpected shape: `isError` is not a boolean"),
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict(result: &impl Classify) -> (Outcome, Option<String>) {
        let verdict = result.classify();
        (
            verdict.outcome(),
            verdict.message().map(ToString::to_string),
        )
    }

    #[test]
    fn known_errors_keep_their_kind() {
        assert_eq!(verdict(&()), (Outcome::Success, None));
        assert_eq!(verdict(&Ok::<_, String>(1)), (Outcome::Success, None));
        let error = ToolError::new(ErrorKind::Network, "reset by peer");
        assert_eq!(
            verdict(&Err::<(), _>(error)),
            (
                Outcome::Failure(ErrorKind::Network),
                Some("reset by peer".into())
            )
        );
        let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "5 s");
        assert_eq!(
            verdict(&Err::<(), _>(error)),
            (Outcome::Failure(ErrorKind::Timeout), Some("5 s".into()))
        );
        let error = serde_json::from_str::<bool>("maybe").unwrap_err();
        let (outcome, message) = verdict(&Err::<(), _>(error));
        assert_eq!(outcome, Outcome::Failure(ErrorKind::InvalidArgs));
        assert!(message.is_some());
        assert_eq!(
            verdict(&Err::<(), _>("why")),
            (Outcome::Failure(ErrorKind::Other), Some("why".into()))
        );
    }

    #[test]
    fn an_answer_may_carry_an_error() {
        let outcome = |answer: &Value| classify_mcp(answer).outcome();
        assert_eq!(outcome(&json!({ "isError": false })), Outcome::Success);
        assert_eq!(outcome(&json!(null)), Outcome::Success);
        let failed =
            json!({ "isError": true, "content": [{ "type": "image" }, { "text": "why" }] });
        let verdict = classify_mcp(&failed);
        assert_eq!(verdict.outcome(), Outcome::Failure(ErrorKind::Provider));
        assert_eq!(verdict.message().unwrap().to_string(), "why");
        assert_eq!(
            outcome(&json!({ "isError": "yes" })),
            Outcome::Failure(ErrorKind::InvalidArgs)
        );
        assert!(
            classify_mcp(&json!({ "isError": true, "content": 3 }))
                .message()
                .is_none()
        );
    }
}
