//! From what a tool gave back to how the call ended: [`Classify`] and its [`Verdict`].
//!
//! A tool that answers is not a tool that succeeded: the error may lie in the answer, in a result
//! within the result, or several causes below the error that is returned. The rules that tell are
//! here:
//!
//! | given | judged |
//! | --- | --- |
//! | `()` | a success |
//! | `Result<T, E>` | `Ok` is a success whatever it holds; `Err` by its error |
//! | an error, or a `Box<dyn Error>` | by the first error on its chain of sources whose kind is known ([`Verdict::from_error`]) |
//! | text as an error | a failure of kind `other` |
//! | [`ExitStatus`], [`Output`] | a failure of kind `tool_error` unless the exit status is 0 |
//! | a result within a result | by both ([`nested`]) |
//! | an answer of an MCP server | by its `isError` ([`classify_mcp`]) |
//!
//! A classifier borrows the result, because metering gives back what the tool gave. A verdict owns
//! what it keeps of it: it has a text on failures only, and that is bounded while it is formatted.

use crate::contain::discard;
use crate::known_errors;
use crate::text::Excerpt;
use serde_json::Value;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Display};
use std::ops::Deref;
use std::process::{ExitStatus, Output};
use toolmeter_core::{ErrorKind, Outcome};

/// How a call ended, and what there is to say about it.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, Registry, Verdict};
///
/// let registry = Registry::new();
/// let fetch = registry.register("fetch")?;
/// // An HTTP status, classified by the host's own rule.
/// let by_status = |status: &u16| match status {
///     200..=299 => Verdict::success(),
///     429 => Verdict::failure(ErrorKind::RateLimited),
///     _ => Verdict::failure(ErrorKind::Provider).because(status),
/// };
/// let status = fetch.call().classify(by_status).run(|| 503);
/// assert_eq!(status, 503);
/// let metrics = registry.metrics();
/// let error = metrics.tools["fetch"].last_error.as_ref().unwrap();
/// assert_eq!(error.message.as_deref(), Some("503"));
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a verdict counts nothing by itself: finish a call with it"]
pub struct Verdict {
    outcome: Outcome,
    message: Option<Box<Excerpt>>,
}

impl Verdict {
    #[inline]
    pub(crate) const fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            message: None,
        }
    }

    /// Returns the verdict that the tool gave what was asked of it.
    #[inline]
    pub const fn success() -> Self {
        Self::of(Outcome::Success)
    }

    /// Returns the verdict that the tool failed, in this way.
    #[inline]
    pub const fn failure(kind: ErrorKind) -> Self {
        Self::of(Outcome::Failure(kind))
    }

    /// Returns the verdict that the call was cancelled: the tool noticed that it should stop, and
    /// returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// let judge = |result: &Result<(), &str>| match result {
    ///     Ok(()) => Verdict::success(),
    ///     Err(why) => Verdict::cancelled().because(why),
    /// };
    /// let _ = shell.call().classify(judge).run(|| Err("interrupted by the user"));
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["shell"].cancelled(), metrics.tools["shell"].failure()), (1, 0));
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub const fn cancelled() -> Self {
        Self::of(Outcome::Cancelled)
    }

    /// Returns the verdict that the call was refused, so that the tool did nothing: a count of
    /// its own, without a latency.
    #[inline]
    pub const fn rejected() -> Self {
        Self::of(Outcome::Rejected)
    }

    /// Adds what there is to say about it: an error, or any other text. It is formatted at once;
    /// what is kept of it is bounded, and a panic while it is formatted is caught.
    ///
    /// A success keeps no text.
    pub fn because(mut self, why: impl Display) -> Self {
        if self.outcome != Outcome::Success {
            self.message = Some(Box::new(Excerpt::new(&why)));
        }
        discard(why);
        self
    }

    /// Judges an error by its chain of sources.
    ///
    /// The first error on the chain whose kind is known tells the kind: toolmeter's own errors
    /// ([`ToolError`](crate::ToolError), [`InvokeError`](crate::InvokeError) and others, which
    /// may also say that a call was cancelled or rejected), [`std::io::Error`] and what it wraps,
    /// errors of parsing of std, [`serde_json::Error`], and with the feature `tokio` its
    /// `Elapsed` (`timeout`) and `JoinError` (`panic`, or cancelled). Without one it is `other`.
    /// The text shows the whole chain, as in `outer: cause: cause`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use std::fmt;
    /// use toolmeter::{ErrorKind, Outcome, Verdict};
    ///
    /// #[derive(Debug)]
    /// struct Request(std::io::Error);
    ///
    /// impl fmt::Display for Request {
    ///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///         f.write_str("cannot send the request")
    ///     }
    /// }
    ///
    /// impl Error for Request {
    ///     fn source(&self) -> Option<&(dyn Error + 'static)> {
    ///         Some(&self.0)
    ///     }
    /// }
    ///
    /// let error = Request(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in 5 s"));
    /// let verdict = Verdict::from_error(&error);
    /// assert_eq!(verdict.outcome(), Outcome::Failure(ErrorKind::Timeout));
    /// assert_eq!(verdict.message().unwrap(), "cannot send the request: no answer in 5 s");
    /// ```
    #[cold]
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        Self {
            outcome: known_errors::outcome(error),
            message: Some(Box::new(Excerpt::new(&known_errors::Chain(error)))),
        }
    }

    /// Judges a result of a tool of the Model Context Protocol, whose `CallToolResult` reports
    /// errors of the tool inside an ordinary answer: `is_error` is its `isError`, of which null
    /// and absent mean false, and `text` the text of its content.
    ///
    /// An error is a failure of kind `tool_error`. Errors of the protocol that the SDKs word
    /// inside an answer keep their kind: bad arguments, as the TypeScript SDK
    /// (`MCP error -32602: ...`) and rmcp (`failed to deserialize parameters: ...`) report them,
    /// are `invalid_args`; other codes as in [`json_rpc_error`](Self::json_rpc_error).
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
        Self {
            outcome: Outcome::Failure(kind),
            message: (!message.is_empty()).then(|| Box::new(message)),
        }
    }

    /// Judges an error of JSON-RPC by its code, as the Model Context Protocol uses them.
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

    /// Returns how the call ended.
    #[must_use]
    #[inline]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns what there is to say about it. A long text has lost its middle.
    #[must_use]
    pub fn message(&self) -> Option<Cow<'_, str>> {
        self.message.as_deref().map(Excerpt::as_text)
    }

    /// The text as it is handed on.
    #[inline]
    pub(crate) fn excerpt(&self) -> Option<&Excerpt> {
        self.message.as_deref()
    }
}

/// The kind of failure of a code of JSON-RPC.
fn json_rpc_kind(code: i64) -> ErrorKind {
    match code {
        -32_602 => ErrorKind::InvalidArgs,
        -32_601 | -32_002 => ErrorKind::NotFound,
        -32_001 => ErrorKind::Timeout,
        -32_000 => ErrorKind::Network,
        _ => ErrorKind::Provider,
    }
}

/// The kind of failure that the text of an answer with `isError` tells.
fn mcp_kind(text: &str) -> ErrorKind {
    // rmcp, of arguments that do not fit the tool's parameters.
    if text.starts_with("failed to deserialize parameters:") {
        return ErrorKind::InvalidArgs;
    }
    // The TypeScript SDK, of any error of the protocol.
    let coded = text
        .strip_prefix("MCP error ")
        .and_then(|rest| rest.split_once(':'))
        .and_then(|(code, message)| Some((code.parse::<i64>().ok()?, message.trim())));
    match coded {
        // Its name for a tool that the server does not have.
        Some((-32_602, message))
            if message.starts_with("Tool ") && message.ends_with(" not found") =>
        {
            ErrorKind::NotFound
        }
        Some((code, _)) => json_rpc_kind(code),
        None => ErrorKind::ToolError,
    }
}

/// Judges an answer of a tool of the Model Context Protocol; see [`Verdict::mcp`].
///
/// The text is that of the first text content. An answer without a boolean `isError` is a
/// success: whatever its shape, it is no error that MCP knows. This is how answers of
/// [`Registry::invoke`](crate::Registry::invoke) are judged, unless the tool has a
/// [rule of its own](crate::Tool::classify).
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

/// Judges a result within a result by both: what came too late or not at all by the outer error,
/// the rest by what is inside.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, Registry, nested};
///
/// let registry = Registry::new();
/// let shell = registry.register("shell")?;
/// // Whether the command could be run, and then its exit status.
/// let output = shell.call().classify(nested).run(|| std::process::Command::new("false").output());
/// assert!(output.is_ok());
/// let metrics = registry.metrics();
/// assert_eq!(metrics.tools["shell"].failures_by_kind[&ErrorKind::ToolError], 1);
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
pub fn nested<R, E, M, N>(result: &Result<R, E>) -> Verdict
where
    R: Classify<M>,
    Result<R, E>: Classify<N>,
{
    match result {
        Ok(inner) => inner.classify(),
        Err(_) => result.classify(),
    }
}

/// A result that can tell how the call ended that gave it.
///
/// It is implemented for
///
/// - `()`, which is a success;
/// - `Result<T, E>`, of which `Ok` is a success whatever it holds, and `Err` is judged by its
///   error: one that implements [`Error`], or hands out a `dyn Error` as `Box<dyn Error>` and the
///   error types of `anyhow` and `eyre` do, by [`Verdict::from_error`]; a text (`String`, `&str`
///   and the like) is a failure of kind `other`;
/// - [`ExitStatus`] and [`Output`]: a failure of kind `tool_error` unless the exit status is 0.
///
/// Where `Ok` may hold an error as well, use [`nested`], or a classifier of your own
/// ([`CallBuilder::classify`](crate::CallBuilder::classify)).
///
/// The parameter `M` only tells the implementations for different errors apart. It is inferred;
/// implement `Classify` without it for a type of your own.
///
/// # Examples
///
/// ```
/// use toolmeter::{Classify, ErrorKind, Outcome};
///
/// let refused: Result<(), std::io::Error> =
///     Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
/// assert_eq!(refused.outcome(), Outcome::Failure(ErrorKind::PermissionDenied));
/// let failed: Result<(), String> = Err("no such host".into());
/// assert_eq!(failed.outcome(), Outcome::Failure(ErrorKind::Other));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not tell whether a call succeeded",
    note = "judge it by a rule of your own with `.call().classify(|result: &{Self}| ...)`"
)]
pub trait Classify<M = ()> {
    /// Judges the result.
    fn classify(&self) -> Verdict;

    /// Returns the outcome alone, for callers who keep no text. Implement it where that is
    /// cheaper than [`classify`](Self::classify), with the same outcome.
    fn outcome(&self) -> Outcome {
        self.classify().outcome()
    }

    /// Returns whether the result is a success that needs no judging: the short way of nearly all
    /// calls. The default is `false`, and [`classify`](Self::classify) is asked.
    #[inline]
    fn is_plain_success(&self) -> bool {
        false
    }
}

impl Classify for () {
    #[inline]
    fn classify(&self) -> Verdict {
        Verdict::success()
    }

    #[inline]
    fn is_plain_success(&self) -> bool {
        true
    }
}

/// What tells the implementations of [`Classify`] for `Result` apart.
pub mod by {
    /// The error implements [`Error`](std::error::Error).
    #[derive(Clone, Copy, Debug)]
    pub enum Type {}
    /// The error hands out a `dyn Error`.
    #[derive(Clone, Copy, Debug)]
    pub enum Source {}
    /// The error hands out a `dyn Error + Send`.
    #[derive(Clone, Copy, Debug)]
    pub enum SendSource {}
    /// The error hands out a `dyn Error + Send + Sync`.
    #[derive(Clone, Copy, Debug)]
    pub enum SyncSource {}
    /// The error is a text.
    #[derive(Clone, Copy, Debug)]
    pub enum Text {}
}

impl<T, E: Error + 'static> Classify<by::Type> for Result<T, E> {
    #[inline]
    fn classify(&self) -> Verdict {
        match self {
            Ok(_) => Verdict::success(),
            Err(error) => Verdict::from_error(error),
        }
    }

    #[inline]
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Success,
            Err(error) => known_errors::outcome(error),
        }
    }

    #[inline]
    fn is_plain_success(&self) -> bool {
        self.is_ok()
    }
}

macro_rules! classify_by_source {
    ($($marker:ident: $source:ty),+ $(,)?) => {$(
        impl<T, E: Deref<Target = $source>> Classify<by::$marker> for Result<T, E> {
            #[inline]
            fn classify(&self) -> Verdict {
                match self {
                    Ok(_) => Verdict::success(),
                    Err(error) => Verdict::from_error(&**error),
                }
            }

            #[inline]
            fn outcome(&self) -> Outcome {
                match self {
                    Ok(_) => Outcome::Success,
                    Err(error) => known_errors::outcome(&**error),
                }
            }

            #[inline]
            fn is_plain_success(&self) -> bool {
                self.is_ok()
            }
        }
    )+};
}

classify_by_source! {
    Source: dyn Error + 'static,
    SendSource: dyn Error + Send + 'static,
    SyncSource: dyn Error + Send + Sync + 'static,
}

/// A text that serves as an error.
pub trait ErrorText: Display + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! error_texts {
    ($($text:ty),+ $(,)?) => {$(
        impl sealed::Sealed for $text {}
        impl ErrorText for $text {}
    )+};
}

error_texts!(
    String,
    &str,
    Cow<'_, str>,
    Box<str>,
    std::rc::Rc<str>,
    std::sync::Arc<str>,
);

impl<T, E: ErrorText> Classify<by::Text> for Result<T, E> {
    #[inline]
    fn classify(&self) -> Verdict {
        match self {
            Ok(_) => Verdict::success(),
            Err(text) => failed_with_text(text),
        }
    }

    #[inline]
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure(ErrorKind::Other),
        }
    }

    #[inline]
    fn is_plain_success(&self) -> bool {
        self.is_ok()
    }
}

#[cold]
fn failed_with_text(text: &dyn Display) -> Verdict {
    Verdict::failure(ErrorKind::Other).because(text)
}

impl Classify for ExitStatus {
    fn classify(&self) -> Verdict {
        if self.success() {
            Verdict::success()
        } else {
            Verdict::failure(ErrorKind::ToolError).because(self)
        }
    }
}

impl Classify for Output {
    fn classify(&self) -> Verdict {
        self.status.classify()
    }
}

/// How a call is judged: by the type of its result, or by a rule that the host gives.
#[diagnostic::on_unimplemented(
    message = "nothing tells whether a call that gives `{R}` succeeded",
    note = "judge it by a rule of your own with `.classify(|result: &{R}| ...)` in front of `run`"
)]
pub trait Judge<R, M>: sealed::Sealed {
    /// Judges the result.
    fn judge(self, result: &R) -> Verdict;

    /// Returns the outcome alone.
    fn outcome(self, result: &R) -> Outcome;

    /// Returns whether the result is a success that needs no judging.
    fn is_plain_success(&self, result: &R) -> bool;
}

/// The rule of calls that are judged by the type of their result, through [`Classify`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByType;

impl sealed::Sealed for ByType {}

impl<R: Classify<M>, M> Judge<R, M> for ByType {
    #[inline]
    fn judge(self, result: &R) -> Verdict {
        result.classify()
    }

    #[inline]
    fn outcome(self, result: &R) -> Outcome {
        result.outcome()
    }

    #[inline]
    fn is_plain_success(&self, result: &R) -> bool {
        result.is_plain_success()
    }
}

/// A rule of the host's own; see [`CallBuilder::classify`](crate::CallBuilder::classify).
///
/// A panic of what the rule holds, when that is dropped without having judged, goes no further.
#[derive(Clone)]
pub struct ByRule<F>(Option<F>);

impl<F> ByRule<F> {
    #[inline]
    pub(crate) const fn new(rule: F) -> Self {
        Self(Some(rule))
    }

    #[inline]
    pub(crate) fn into_rule(mut self) -> F {
        match self.0.take() {
            Some(rule) => rule,
            None => unreachable!("only this and the destructor take the rule"),
        }
    }
}

impl<F> Drop for ByRule<F> {
    #[inline]
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

impl<F> fmt::Debug for ByRule<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByRule(..)")
    }
}

impl<F> sealed::Sealed for ByRule<F> {}

impl<R, F: FnOnce(&R) -> Verdict> Judge<R, ()> for ByRule<F> {
    #[inline]
    fn judge(self, result: &R) -> Verdict {
        self.into_rule()(result)
    }

    #[inline]
    fn outcome(self, result: &R) -> Outcome {
        self.into_rule()(result).outcome()
    }

    #[inline]
    fn is_plain_success(&self, _: &R) -> bool {
        false
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
