//! The errors of calls: [`ToolError`] of tools, [`InvokeError`] of calls by name, and those of time
//! limits and of `AutoRun`.
//!
//! Each stands for the [`Outcome`] with which its call was counted, so an error that is passed
//! through several layers keeps its kind.

use std::sync::Arc;
use std::time::Duration;
use toolmeter_core::{ErrorKind, Outcome};

/// The error of a tool, with the outcome with which the call is counted.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, Outcome, ToolError};
///
/// let error = ToolError::new(ErrorKind::RateLimited, "try again in 30 s");
/// assert_eq!(error.to_string(), "rate_limited: try again in 30 s");
/// let error = ToolError::from(std::io::Error::from(std::io::ErrorKind::NotFound));
/// assert_eq!(error.kind(), Some(ErrorKind::NotFound));
/// assert_eq!(ToolError::cancelled("interrupted").outcome(), Outcome::Cancelled);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", name(*.outcome))]
pub struct ToolError {
    outcome: Outcome,
    message: String,
}

/// Returns the name of the kind of a failure, or of another outcome.
fn name(outcome: Outcome) -> &'static str {
    outcome
        .error_kind()
        .map_or_else(|| outcome.as_str(), ErrorKind::as_str)
}

impl ToolError {
    pub(crate) fn with_outcome(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            message: message.into(),
        }
    }

    /// Creates a failure of this kind. The text may be long: a registry keeps a bounded and escaped
    /// part of it.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::with_outcome(Outcome::Failure(kind), message)
    }

    /// Creates the error of a tool that noticed that it should stop. The call is counted as
    /// cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::{Registry, ToolError, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("shell", |_| async {
    ///     Err(ToolError::cancelled("interrupted by the user"))
    /// }))?;
    /// assert!(registry.invoke("shell", json!({})).await.is_err());
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["shell"].cancelled(), metrics.tools["shell"].failure()), (1, 0));
    /// # Ok::<(), toolmeter::RegisterError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::with_outcome(Outcome::Cancelled, message)
    }

    /// Creates the error of a tool that refused the call and did nothing. The call is counted as
    /// rejected, without a latency.
    #[must_use]
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::with_outcome(Outcome::Rejected, message)
    }

    /// Returns the kind of failure; `None` if the call was cancelled or rejected.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        self.outcome.error_kind()
    }

    /// Returns the outcome with which a call with this error is counted, which is never a success.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the text of the error, uncut.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The error of a call that took longer than its time limit.
///
/// # Examples
///
/// See [`CallBuilder::within`](crate::CallBuilder::within).
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call was not done after its time limit of {limit:?}")]
#[non_exhaustive]
pub struct TimeLimitExceeded {
    /// The limit.
    pub limit: Duration,
}

/// The error of a call by name that returned no answer.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use toolmeter::{InvokeError, Registry};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// registry.register("shell")?;
/// let error = registry.invoke("shell", json!({})).await.unwrap_err();
/// assert!(matches!(error, InvokeError::NotCallable { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// No tool of that name is registered. Counted in `unknown_tool_calls`.
    #[error("there is no tool `{name}`: register it, or tell the model which tools there are")]
    UnknownTool {
        /// The name that was asked for, escaped and cut to 256 bytes.
        name: String,
    },
    /// The tool is disabled. Counted as rejected.
    #[error("the tool `{name}` is disabled: enable it through its handle")]
    Disabled {
        /// The tool.
        name: Arc<str>,
    },
    /// The tool was registered by a spec alone, so there is nothing to call. Counted as rejected.
    #[error("the tool `{name}` cannot be called by name: register it with `register_tool`")]
    NotCallable {
        /// The tool.
        name: Arc<str>,
    },
    /// The call exceeded its time limit. It was dropped; a tool that blocks keeps running.
    #[error("the tool `{name}` was not done after its time limit of {limit:?}")]
    TimedOut {
        /// The tool.
        name: Arc<str>,
        /// The limit.
        limit: Duration,
    },
    /// The tool, or the rule that judges its answer, panicked.
    #[error("the tool `{name}` panicked: {message}")]
    Panicked {
        /// The tool.
        name: Arc<str>,
        /// The text of the panic, escaped; of more than 8 KiB the head and the tail.
        message: String,
    },
    /// The runtime shut down before a tool that blocks could run. Counted as rejected.
    #[error("the tool `{name}` did not run: the runtime is shutting down")]
    RuntimeStopped {
        /// The tool.
        name: Arc<str>,
    },
    /// The runtime could start no thread for a tool that blocks. Counted as a failure of kind
    /// `other`.
    #[error("the tool `{name}` did not run: no thread could be started for it")]
    NoThread {
        /// The tool.
        name: Arc<str>,
    },
    /// The tool's own error.
    #[error(transparent)]
    Failed(#[from] ToolError),
}

impl InvokeError {
    /// Returns the outcome with which the call was counted; for an unknown tool, which is counted
    /// apart, a failure of kind `not_found`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::{ErrorKind, Outcome, Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let error = registry.invoke("eccho", json!(0)).await.unwrap_err();
    /// assert_eq!(error.outcome(), Outcome::Failure(ErrorKind::NotFound));
    /// let echo = registry.register_tool(async_tool("echo", |call| async { Ok(call.args) }))?;
    /// echo.set_enabled(false);
    /// let error = registry.invoke("echo", json!(0)).await.unwrap_err();
    /// assert_eq!(error.outcome(), Outcome::Rejected);
    /// # Ok::<(), toolmeter::RegisterError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::UnknownTool { .. } => Outcome::Failure(ErrorKind::NotFound),
            Self::Disabled { .. } | Self::NotCallable { .. } | Self::RuntimeStopped { .. } => {
                Outcome::Rejected
            }
            Self::TimedOut { .. } => Outcome::Failure(ErrorKind::Timeout),
            Self::Panicked { .. } => Outcome::Failure(ErrorKind::Panic),
            Self::NoThread { .. } => Outcome::Failure(ErrorKind::Other),
            Self::Failed(error) => error.outcome(),
        }
    }

    /// Returns the kind of failure; `None` if the call was cancelled or rejected.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        self.outcome().error_kind()
    }
}

/// The error of a call of [`AutoRun`](crate::AutoRun) that returned no answer.
///
/// # Examples
///
/// ```
/// use toolmeter::Outcome;
/// use toolmeter::auto_run::CallError;
///
/// let denied = CallError::Denied { reason: "no shell here".into() };
/// assert_eq!(denied.outcome(), Outcome::Rejected);
/// assert_eq!(denied.to_string(), "the call was not approved: no shell here");
/// assert_eq!(CallError::Cancelled.kind(), None);
/// ```
#[cfg(feature = "auto_run")]
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The last attempt failed.
    #[error(transparent)]
    Failed(#[from] InvokeError),
    /// The call was not approved. Counted as rejected.
    #[error("the call was not approved: {reason}")]
    Denied {
        /// The approver's reason.
        reason: String,
    },
    /// The call was cancelled: it was dropped before it ended.
    #[error("the call was cancelled")]
    Cancelled,
}

#[cfg(feature = "auto_run")]
impl CallError {
    /// Returns the outcome with which the call was counted.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(error) => error.outcome(),
            Self::Denied { .. } => Outcome::Rejected,
            Self::Cancelled => Outcome::Cancelled,
        }
    }

    /// Returns the kind of failure; `None` if the call was cancelled or rejected.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        self.outcome().error_kind()
    }
}
