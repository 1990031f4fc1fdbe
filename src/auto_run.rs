//! [`AutoRun`]: the loop of an agent host, which runs the calls of a model until it is done.
//!
//! ```text
//!            results of the last turn
//!   model ------------------------------> next_turn() -> Done, or the next calls
//!     ^                                                        |
//!     '-- in the order of the calls -- each call, concurrently <'
//! ```
//!
//! Promises:
//!
//! * The calls of a turn run concurrently, with a limit on the attempts that run at once. Their
//!   results go back to the model in the order of the calls. A tool that blocks counts towards the
//!   limit until its thread is free, even after its attempt has timed out or was cancelled.
//! * Attempts are numbered from 1 for each call, and a **retry** is an attempt above 1. A call is the
//!   next attempt at the latest identical call of an earlier turn if that one did not succeed. The
//!   memory for this is bounded, whatever the length of a run.
//! * Waits for approval or for a permit are reported separately and are in no latency.
//! * Dropping the run drops its calls, which are then counted as cancelled.
//! * The report counts every attempt that began, however its call ended.
//! * A panic of an approver or a backoff, or of what they leave behind, is contained. A panic of the
//!   model unwinds.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `auto_run/model.rs` | [`Model`] and its answer, [`Turn`] |
//! | `auto_run/tool_call.rs` | [`ToolCall`], and what makes two calls identical |
//! | `auto_run/approval.rs` | [`Approval`] |
//! | `auto_run/call_result.rs` | [`CallResult`] |
//! | `auto_run/settings.rs` | the settings that all calls of a run share |
//! | `auto_run/agent_loop.rs` | the loop: turns, and the concurrent calls of a turn |
//! | `auto_run/attempts.rs` | one call, from its approval to its last attempt |
//! | `auto_run/backoff.rs` | the delays between attempts |
//! | `auto_run/progress.rs` | the attempts and waits of a call that is under way |
//! | `auto_run/retry_history.rs` | the calls that did not succeed |
//! | `auto_run/report.rs` | [`Report`], and [`StopReason`] |

mod agent_loop;
mod approval;
mod attempts;
mod backoff;
mod call_result;
mod model;
mod progress;
mod report;
mod retry_history;
mod settings;
mod tool_call;

pub use crate::error::CallError;
pub use approval::Approval;
pub use backon::{BackoffBuilder, ConstantBuilder, ExponentialBuilder};
pub use call_result::CallResult;
pub use model::{Model, Turn};
pub use report::{Report, StopReason};
pub use tokio_util::sync::CancellationToken;
pub use tool_call::ToolCall;

use crate::contain::discard;
use crate::registry::Registry;
use backoff::new_backoff;
use settings::{Approver, Settings};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use toolmeter_core::ErrorKind;

/// The loop of an agent host: runs the tool calls of a [`Model`] until it is done.
///
/// # Retries
///
/// An attempt above the first of its call is a retry. The run itself retries a call, up to
/// [`max_attempts`](Self::max_attempts). The model may retry a call in a later turn: a call is the
/// next attempt at the latest identical call of an earlier turn, if that one did not succeed. Two
/// calls are identical if they are of the same tool with the same arguments, or with the same
/// [`key`](ToolCall::key).
///
/// A run remembers 10,000 calls that did not succeed, each in less than 200 bytes whatever its
/// arguments are. If there are more, the one whose latest attempt is the longest ago is forgotten,
/// and a call that is identical to it is a first attempt again.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use std::convert::Infallible;
/// use toolmeter::auto_run::{AutoRun, CallResult, Model, StopReason, ToolCall, Turn};
/// use toolmeter::{Registry, async_tool};
///
/// /// Asks once for two calls, then answers with the number of successes.
/// struct Twice;
///
/// impl Model for Twice {
///     type Error = Infallible;
///
///     async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
///         Ok(if results.is_empty() {
///             let call = |n: i32| ToolCall::new("echo", json!(n));
///             Turn::Calls(vec![call(1), call(2)])
///         } else {
///             Turn::Done(json!(results.iter().filter(|result| result.answer.is_ok()).count()))
///         })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
/// let report = AutoRun::new(&registry).session("demo").run(&mut Twice).await;
/// assert_eq!(report.stop, StopReason::Done(json!(2)));
/// assert_eq!((report.turns, report.attempts, report.retries), (1, 2, 0));
/// # Ok::<(), toolmeter::RegisterError>(()) }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "nothing runs before `run`"]
pub struct AutoRun {
    registry: Registry,
    session: Box<str>,
    parent: Option<Box<str>>,
    concurrency: usize,
    turn_limit: Option<u64>,
    settings: Settings,
}

impl AutoRun {
    /// Creates a run over the tools of this registry: 8 attempts at once, no turn limit, no time
    /// limit, no retries, no approval.
    pub fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            session: Box::default(),
            parent: None,
            concurrency: 8,
            turn_limit: None,
            settings: Settings {
                time_limit: None,
                max_attempts: 1,
                backoff: Some(new_backoff(
                    ExponentialBuilder::default().without_max_times(),
                )),
                retry_on: Arc::new([
                    ErrorKind::Timeout,
                    ErrorKind::RateLimited,
                    ErrorKind::Provider,
                    ErrorKind::Network,
                ]),
                approver: None,
                cancel_token: CancellationToken::new(),
            },
        }
    }

    /// Sets the host's name for the session, which the events of its calls carry.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::{AutoRun, ToolCall, Turn};
    /// use toolmeter::{Pump, Registry, async_tool};
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
    /// let registry = Registry::builder().pump(Pump::manual()).build()?;
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// let events = registry.subscribe();
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![Turn::Calls(vec![ToolCall::new("echo", json!({}))])]);
    /// AutoRun::new(&registry).session("demo").run(&mut model).await;
    /// registry.shutdown();
    /// let batch = events.recv()?;
    /// assert_eq!(&*batch[0].context().unwrap().session, "demo");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn session(mut self, name: impl Into<Box<str>>) -> Self {
        self.session = name.into();
        self
    }

    /// Sets the call that contains this run, for a tool that is itself an agent. The contexts of
    /// the run's calls carry it as their parent.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    /// use toolmeter::auto_run::AutoRun;
    ///
    /// let run = AutoRun::new(&Registry::new()).session("subagent-3").parent("call_9e");
    /// # let _ = run;
    /// ```
    pub fn parent(mut self, call: impl Into<Box<str>>) -> Self {
        self.parent = Some(call.into());
        self
    }

    /// Sets the number of attempts that may run at once; 0 is treated as 1.
    ///
    /// A tool that blocks cannot be stopped. So it counts until its thread is free, even if its
    /// attempt has timed out or its call was cancelled. Other attempts wait for that, which
    /// [`permit_wait`](Report::permit_wait) includes. If as many tools as this never return, no
    /// further attempt starts, and the run ends only when it is cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
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
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![
    ///     Turn::Calls(vec![ToolCall::new("echo", json!(1)), ToolCall::new("echo", json!(2))]),
    /// ]);
    /// // One after the other.
    /// let report = AutoRun::new(&registry).concurrency(1).run(&mut model).await;
    /// assert_eq!((report.turns, report.attempts), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Sets the maximum number of turns whose calls are run. After that, the run ends when the
    /// model requests more calls; its final answer is still accepted.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::{AutoRun, StopReason, ToolCall, Turn};
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
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![
    ///     Turn::Calls(vec![ToolCall::new("echo", json!({}))]),
    ///     Turn::Calls(vec![ToolCall::new("echo", json!({}))]),
    /// ]);
    /// let report = AutoRun::new(&registry).turn_limit(1).run(&mut model).await;
    /// assert_eq!((report.stop, report.turns), (StopReason::TurnLimit, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn turn_limit(mut self, turns: u64) -> Self {
        self.turn_limit = Some(turns);
        self
    }

    /// Sets the time limit of each attempt. An attempt that takes longer is a failure of kind
    /// `timeout`.
    ///
    /// A tool that blocks keeps running after that, and its result is discarded. Until it returns
    /// it counts towards the limit of [`concurrency`](Self::concurrency), so a retry may have to
    /// wait for it.
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
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![Turn::Calls(vec![ToolCall::new("slow", json!({}))])]);
    /// let run = AutoRun::new(&registry).time_limit(Duration::from_secs(5));
    /// let report = run.run(&mut model).await;
    /// assert_eq!(report.failures_left, 1);
    /// let metrics = registry.metrics();
    /// assert_eq!(metrics.tools["slow"].last_error.as_ref().unwrap().kind.as_str(), "timeout");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = Some(limit);
        self
    }

    /// Sets the maximum number of attempts at each call of a turn: 1 means no retry, and 0 is
    /// treated as 1.
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
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time().start_paused(true).build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("flaky", |call| async move {
    ///     match call.attempt {
    ///         1 => Err(ToolError::new(ErrorKind::Network, "connection reset")),
    ///         _ => Ok(call.args),
    ///     }
    /// }))?;
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![Turn::Calls(vec![ToolCall::new("flaky", json!({}))])]);
    /// let report = AutoRun::new(&registry).max_attempts(3).run(&mut model).await;
    /// assert_eq!((report.attempts, report.retries, report.recovered), (2, 1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_attempts(mut self, attempts: u16) -> Self {
        self.settings.max_attempts = attempts.max(1);
        self
    }

    /// Sets the delays before each retry of a call: by default 1 s, then twice as long each time, up
    /// to 60 s. A call is not retried any more once its backoff has ended or panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use std::time::Duration;
    /// use toolmeter::auto_run::{AutoRun, ConstantBuilder, ToolCall, Turn};
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
    /// let mut model = Script(vec![Turn::Calls(vec![ToolCall::new("flaky", json!({}))])]);
    /// let backoff = ConstantBuilder::default().with_delay(Duration::ZERO);
    /// let report = AutoRun::new(&registry).max_attempts(2).backoff(backoff).run(&mut model).await;
    /// assert_eq!(report.recovered, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backoff(mut self, backoff: impl BackoffBuilder + Clone + 'static) -> Self {
        discard(self.settings.backoff.replace(new_backoff(backoff)));
        self
    }

    /// Sets the kinds of failures that are retried: by default timeout, rate limited, provider and
    /// network.
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
    /// let mut model = Script(vec![Turn::Calls(vec![ToolCall::new("flaky", json!({}))])]);
    /// let run = AutoRun::new(&registry).max_attempts(3).retry_on([ErrorKind::Timeout]);
    /// let report = run.run(&mut model).await;
    /// // It failed by the network.
    /// assert_eq!((report.retries, report.failures_left), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_on(mut self, kinds: impl IntoIterator<Item = ErrorKind>) -> Self {
        self.settings.retry_on = kinds.into_iter().collect();
        self
    }

    /// Sets an approver, which is called once for each call, before its first attempt. A call that
    /// is denied, or whose approver panics, is counted as rejected. The approver is not called for
    /// unknown tools.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::auto_run::{Approval, AutoRun};
    /// use toolmeter::Registry;
    ///
    /// let run = AutoRun::new(&Registry::new()).approve_with(|call| async move {
    ///     if call.name() == "shell" {
    ///         Approval::Denied { reason: "no shell here".into() }
    ///     } else {
    ///         Approval::Approved
    ///     }
    /// });
    /// ```
    pub fn approve_with<F, Fut>(mut self, approver: F) -> Self
    where
        F: Fn(ToolCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Approval> + Send + 'static,
    {
        let approver: Arc<Approver> = Arc::new(move |call| Box::pin(approver(call)));
        discard(self.settings.approver.replace(approver));
        self
    }

    /// Sets a token that cancels the run: the calls under way are dropped and the run ends, also
    /// while it waits for the model or for an approval.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::{AutoRun, CancellationToken, StopReason};
    /// use toolmeter::Registry;
    /// # use toolmeter::auto_run::{CallResult, Model, Turn, ToolCall};
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
    /// let token = CancellationToken::new();
    /// let run = AutoRun::new(&registry).cancel_token(token.clone());
    /// token.cancel();
    /// let report = run.run(&mut Script(vec![])).await;
    /// assert_eq!(report.stop, StopReason::Cancelled);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_token(mut self, token: CancellationToken) -> Self {
        self.settings.cancel_token = token;
        self
    }
}

impl fmt::Debug for AutoRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoRun")
            .field("session", &self.session)
            .field("concurrency", &self.concurrency)
            .field("turn_limit", &self.turn_limit)
            .field("time_limit", &self.settings.time_limit)
            .field("max_attempts", &self.settings.max_attempts)
            .finish_non_exhaustive()
    }
}
