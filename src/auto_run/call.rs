//! What the model asks for and what it is told: [`ToolCall`], [`CallResult`], [`CallError`].
//!
//! Owns what makes two calls identical: the same tool and the same key, which is the arguments
//! unless the host says otherwise.

use crate::invoke::InvokeError;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use toolmeter_core::{ErrorKind, Outcome};

/// A call that the model asks for.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use std::time::Duration;
/// use toolmeter::auto_run::ToolCall;
///
/// let call = ToolCall::new("web_search", json!({ "query": "loom" }))
///     .id("call_9f3")
///     .time_limit(Duration::from_secs(5));
/// assert_eq!((call.name(), call.call_id()), ("web_search", Some("call_9f3")));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a call runs only as a part of a turn"]
pub struct ToolCall {
    pub(super) name: Arc<str>,
    pub(super) args: Value,
    pub(super) id: Option<Arc<str>>,
    pub(super) key: Option<Arc<str>>,
    pub(super) delay: Duration,
    pub(super) cancel_token: Option<CancellationToken>,
    pub(super) time_limit: Option<Duration>,
}

impl ToolCall {
    /// A call of this tool with these arguments.
    pub fn new(name: impl Into<Arc<str>>, args: Value) -> Self {
        Self {
            name: name.into(),
            args,
            id: None,
            key: None,
            delay: Duration::ZERO,
            cancel_token: None,
            time_limit: None,
        }
    }

    /// The host's name for the call, as a model's `tool_call_id`; its events carry it. Without
    /// one, the call is named after its turn and its place there, as in `4.0`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::ToolCall;
    ///
    /// let call = ToolCall::new("shell", json!({}));
    /// assert_eq!(call.call_id(), None);
    /// assert_eq!(call.id("call_9f3").call_id(), Some("call_9f3"));
    /// ```
    pub fn id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// What tells calls of the same tool apart, instead of the arguments.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::{AutoRun, ToolCall, Turn};
    /// use toolmeter::{ErrorKind, Registry, ToolError, async_tool};
    /// # use toolmeter::auto_run::{CallResult, Model};
    /// # struct Script(Vec<Turn>);
    /// # impl Model for Script {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
    /// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("flaky", |call| async move {
    ///     match call.attempt {
    ///         1 => Err(ToolError::new(ErrorKind::Network, "connection reset")),
    ///         _ => Ok(call.args),
    ///     }
    /// }))?;
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![
    ///     Turn::Calls(vec![ToolCall::new("flaky", json!(1)).key("a")]),
    ///     Turn::Calls(vec![ToolCall::new("flaky", json!(2)).key("a")]),
    /// ]);
    /// let report = AutoRun::new(&registry).run(&mut model).await;
    /// // The second call has other arguments, but is a retry of the first.
    /// assert_eq!((report.retries, report.recovered), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The call starts no earlier than this after its turn began, as when a model streams its
    /// calls.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use std::time::Duration;
    /// use toolmeter::auto_run::{AutoRun, ToolCall, Turn};
    /// use toolmeter::{Registry, async_tool};
    /// # use toolmeter::auto_run::{CallResult, Model};
    /// # struct Script(Vec<Turn>);
    /// # impl Model for Script {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
    /// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time().start_paused(true).build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// let began = tokio::time::Instant::now();
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![
    ///     Turn::Calls(vec![ToolCall::new("echo", json!({})).delay(Duration::from_secs(2))]),
    /// ]);
    /// AutoRun::new(&registry).run(&mut model).await;
    /// assert!(began.elapsed() >= Duration::from_secs(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Cancelling this token drops the call, and no other.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::{AutoRun, CancellationToken, ToolCall, Turn};
    /// use toolmeter::{Registry, async_tool};
    /// # use toolmeter::auto_run::{CallResult, Model};
    /// # struct Script(Vec<Turn>);
    /// # impl Model for Script {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
    /// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// let token = CancellationToken::new();
    /// token.cancel();
    /// let dropped = ToolCall::new("echo", json!(1)).cancel_token(token);
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![Turn::Calls(vec![dropped, ToolCall::new("echo", json!(2))])]);
    /// let report = AutoRun::new(&registry).run(&mut model).await;
    /// assert_eq!((report.cancelled, report.attempts), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_token(mut self, token: CancellationToken) -> Self {
        self.cancel_token = Some(token);
        self
    }

    /// The time limit of each attempt, instead of the run's.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use std::time::Duration;
    /// use toolmeter::auto_run::{AutoRun, ToolCall, Turn};
    /// use toolmeter::{Registry, async_tool};
    /// # use toolmeter::auto_run::{CallResult, Model};
    /// # struct Script(Vec<Turn>);
    /// # impl Model for Script {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
    /// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time().start_paused(true).build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("slow", |_| std::future::pending()))?;
    /// let call = ToolCall::new("slow", json!({})).time_limit(Duration::from_secs(5));
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![Turn::Calls(vec![call])]);
    /// let report = AutoRun::new(&registry).run(&mut model).await;
    /// assert_eq!(report.failures_left, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// The tool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments.
    #[must_use]
    pub fn args(&self) -> &Value {
        &self.args
    }

    /// The host's name for the call, if it gave one.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn identity(&self) -> Identity {
        // An object's fields print in the order of their names, so equal arguments print equally.
        let key = match &self.key {
            Some(key) => Arc::clone(key),
            None => self.args.to_string().into(),
        };
        Identity {
            tool: Arc::clone(&self.name),
            has_own_key: self.key.is_some(),
            key,
        }
    }
}

/// What two identical calls have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    tool: Arc<str>,
    has_own_key: bool,
    key: Arc<str>,
}

/// How a call of the last turn ended, as the model is told.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use std::convert::Infallible;
/// use toolmeter::auto_run::{AutoRun, CallResult, Model, StopReason, ToolCall, Turn};
/// use toolmeter::{ErrorKind, Outcome, Registry};
///
/// /// Calls a tool that is not there, and tells what came of it.
/// struct Guess;
///
/// impl Model for Guess {
///     type Error = Infallible;
///
///     async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
///         let Some(result) = results.first() else {
///             return Ok(Turn::Calls(vec![ToolCall::new("teleport", json!({}))]));
///         };
///         assert!(result.answer.is_err());
///         assert_eq!(result.outcome, Outcome::Failure(ErrorKind::NotFound));
///         Ok(Turn::Done(json!(result.attempt)))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let report = AutoRun::new(&Registry::new()).run(&mut Guess).await;
/// assert_eq!(report.stop, StopReason::Done(json!(1)));
/// # });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallResult {
    /// The call, as the model asked for it.
    pub call: ToolCall,
    /// What the last attempt gave.
    pub answer: Result<Value, CallError>,
    /// How the last attempt was counted. An answer that carries an error flag is a failure.
    pub outcome: Outcome,
    /// The number of the last attempt, counted from 1; 0 if none was made, because the call was
    /// cancelled while it waited to start.
    pub attempt: u16,
    /// How many attempts were made in this turn.
    pub attempts: u64,
}

impl CallResult {
    /// A call that was cancelled before an attempt was made.
    pub(super) fn never_started(call: ToolCall) -> Self {
        Self {
            call,
            answer: Err(CallError::Cancelled),
            outcome: Outcome::Cancelled,
            attempt: 0,
            attempts: 0,
        }
    }
}

/// Why a call gave no answer.
///
/// # Examples
///
/// ```
/// use toolmeter::ErrorKind;
/// use toolmeter::auto_run::CallError;
///
/// let denied = CallError::Denied { reason: "no shell here".into() };
/// assert_eq!(denied.kind(), Some(ErrorKind::Rejected));
/// assert_eq!(denied.to_string(), "the call was not approved: no shell here");
/// assert_eq!(CallError::Cancelled.kind(), None);
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The last attempt failed.
    #[error(transparent)]
    Failed(#[from] InvokeError),
    /// It was not approved. Counted as a failure of kind `rejected`, without a latency.
    #[error("the call was not approved: {reason}")]
    Denied {
        /// Why, as the approver put it.
        reason: String,
    },
    /// It was dropped before it ended.
    #[error("the call was cancelled")]
    Cancelled,
}

impl CallError {
    /// The kind of failure, or `None` if the call was cancelled.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Failed(error) => Some(error.kind()),
            Self::Denied { .. } => Some(ErrorKind::Rejected),
            Self::Cancelled => None,
        }
    }
}

/// Whether a call may run.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use toolmeter::auto_run::{Approval, AutoRun, ToolCall, Turn};
/// use toolmeter::{Registry, async_tool};
/// # use toolmeter::auto_run::{CallResult, Model};
/// # struct Script(Vec<Turn>);
/// # impl Model for Script {
/// #     type Error = std::convert::Infallible;
/// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
/// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
/// #     }
/// # }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let registry = Registry::new();
/// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
/// let run = AutoRun::new(&registry)
///     .approve_with(|_| async { Approval::Denied { reason: "not today".into() } });
/// // A model that asks for these turns, then is done.
/// let mut model = Script(vec![Turn::Calls(vec![ToolCall::new("echo", json!({}))])]);
/// let report = run.run(&mut model).await;
/// assert_eq!((report.failures_left, report.recovered), (1, 0));
/// let metrics = registry.metrics();
/// let error = metrics.tools["echo"].last_error.as_ref().unwrap();
/// assert_eq!(error.kind.as_str(), "rejected");
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// It may.
    Approved,
    /// It may not.
    Denied {
        /// Why: the model is told.
        reason: String,
    },
}
