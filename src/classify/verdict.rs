//! [`Verdict`]: the outcome of a call, with a text for what is not a success.

use crate::contain::discard;
use crate::known_errors::{self, ChainText};
use crate::text::Excerpt;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::Display;
use toolmeter_core::{ErrorKind, Outcome};

/// The outcome of a call, and a text about it.
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

    pub(super) fn with_message(outcome: Outcome, message: Option<Excerpt>) -> Self {
        Self {
            outcome,
            message: message.map(Box::new),
        }
    }

    /// Returns the verdict that the call succeeded.
    #[inline]
    pub const fn success() -> Self {
        Self::of(Outcome::Success)
    }

    /// Returns the verdict that the call failed with this kind of error.
    #[inline]
    pub const fn failure(kind: ErrorKind) -> Self {
        Self::of(Outcome::Failure(kind))
    }

    /// Returns the verdict that the call was cancelled, for a tool that noticed that it should stop
    /// and returned.
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

    /// Returns the verdict that the call was refused and the tool did nothing. Rejected calls have
    /// a count of their own and no latency.
    #[inline]
    pub const fn rejected() -> Self {
        Self::of(Outcome::Rejected)
    }

    /// Adds the reason: an error, or any other text. It is formatted at once into a text of bounded
    /// length. A panic while it is formatted is contained.
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
    /// The first error on the chain that is known gives the outcome; if there is none, it is a
    /// failure of kind `other`. These are known:
    ///
    /// - toolmeter's own errors, as [`ToolError`](crate::ToolError) and
    ///   [`InvokeError`](crate::InvokeError), which may also stand for a cancelled or rejected call;
    /// - [`std::io::Error`], of most kinds, and the error that it wraps;
    /// - std's errors of parsing (`invalid_args`) and its `RecvTimeoutError::Timeout` (`timeout`);
    /// - [`serde_json::Error`] (`invalid_args`, or the kind of its `io::Error`);
    /// - with the feature `tokio` its `Elapsed` (`timeout`) and `JoinError` (`panic`, or cancelled).
    ///
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
            message: Some(Box::new(Excerpt::new(&ChainText(error)))),
        }
    }

    /// Returns the outcome of the call.
    #[must_use]
    #[inline]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the text about it, if there is one. The middle of a long text is left out.
    #[must_use]
    pub fn message(&self) -> Option<Cow<'_, str>> {
        self.message.as_deref().map(Excerpt::as_text)
    }

    /// Returns the text in the form that a registry's policy takes.
    #[inline]
    pub(crate) fn excerpt(&self) -> Option<&Excerpt> {
        self.message.as_deref()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
