//! [`AutoRun`]: the loop of an agent host, driven over a registry until the model is done.
//!
//! ```text
//!            results of the last turn
//!   model ------------------------------> next_turn() -> Done, or the next calls
//!     ^                                                        |
//!     '-- in the order of the calls -- each call, concurrently <'   (attempts.rs)
//! ```
//!
//! Promises:
//!
//! * The calls of a turn run concurrently, at most as many attempts at once as the limit says,
//!   and their results go back in the order of the calls. A tool that blocks is within the limit
//!   until its thread is free, also after its attempt has timed out or was cancelled.
//! * An attempt is counted from 1 and belongs to its call; a **retry** is an attempt above 1.
//!   A call whose latest identical one in an earlier turn did not succeed is its next attempt.
//!   Of calls that did not succeed the latest 10,000 are known, so a run of any length is bounded
//!   in what it remembers (unsuccessful.rs).
//! * Waiting for approval or for a permit is reported apart and is never part of a latency.
//! * Dropping the run drops its calls, which are then counted as cancelled.
//! * The report tells every attempt that was begun, however its call ended.
//! * Nothing here panics, and a panic of an approver or of a backoff, of what they leave behind, too,
//!   goes no further, but a panic of the model goes on unwinding.

mod attempts;
mod call;
mod report;
mod unsuccessful;

pub use crate::error::CallError;
pub use backon::{BackoffBuilder, ConstantBuilder, ExponentialBuilder};
pub use call::{Approval, CallResult, ToolCall};
pub use report::{Report, StopReason};
pub use tokio_util::sync::CancellationToken;

use crate::contain::discard;
use crate::registry::Registry;
use attempts::{CANCELLED, Driven, Driver, so_far};
use report::Tally;
use serde_json::Value;
use std::fmt::{self, Display};
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use toolmeter_core::{ErrorKind, Outcome};
use toolmeter_events::CallContext;
use unsuccessful::Unsuccessful;

/// What a model answers.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use toolmeter::auto_run::{ToolCall, Turn};
///
/// let turn = Turn::Calls(vec![ToolCall::new("shell", json!({ "command": "ls" }))]);
/// assert!(matches!(turn, Turn::Calls(calls) if calls[0].name() == "shell"));
/// ```
#[derive(Clone, Debug)]
pub enum Turn {
    /// Calls to run, all at once; their results come with the next
    /// [`next_turn`](Model::next_turn).
    Calls(Vec<ToolCall>),
    /// The final answer.
    Done(Value),
}

/// The side that decides what to call.
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
/// use toolmeter::auto_run::{AutoRun, CallResult, Model, StopReason, Turn};
///
/// /// A model that cannot be reached.
/// struct Offline;
///
/// impl Model for Offline {
///     type Error = &'static str;
///
///     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, &'static str> {
///         Err("no route to host")
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let report = AutoRun::new(&Registry::new()).run(&mut Offline).await;
/// assert_eq!(report.stop, StopReason::Model("no route to host"));
/// # });
/// ```
pub trait Model: Send {
    /// Why the model can fail.
    type Error: Display + Send;

    /// Given the results of the last turn in the order of its calls, what to do next. The first
    /// turn gets no results.
    ///
    /// # Errors
    ///
    /// Whatever keeps the model from answering; the run ends with it.
    fn next_turn(
        &mut self,
        results: Vec<CallResult>,
    ) -> impl Future<Output = Result<Turn, Self::Error>> + Send;
}

type Backoff = dyn Iterator<Item = Duration> + Send;
type Backoffs = dyn Fn() -> Box<Backoff> + Send + Sync;
type ApprovalFuture = Pin<Box<dyn Future<Output = Approval> + Send>>;
type Approver = dyn Fn(ToolCall) -> ApprovalFuture + Send + Sync;

/// What the calls of a run have in common.
#[derive(Clone)]
struct Settings {
    time_limit: Option<Duration>,
    max_attempts: u16,
    /// Always there, except at the end.
    backoff: Option<Arc<Backoffs>>,
    retry_on: Arc<[ErrorKind]>,
    approver: Option<Arc<Approver>>,
    cancel_token: CancellationToken,
}

/// Dropping the host's closures runs the host's code.
impl Drop for Settings {
    fn drop(&mut self) {
        discard(self.backoff.take());
        discard(self.approver.take());
    }
}

/// A run changes none of its settings, and makes an answer of an approver's panic. What is left is
/// the host's closures, which are shared with other runs and have to expect that anyway.
impl UnwindSafe for Settings {}
impl RefUnwindSafe for Settings {}

/// Drives an agent over a registry until it is done.
///
/// # Retries
///
/// An attempt above the first of its call is a retry. Attempts are made again by the run itself, up
/// to [`max_attempts`](Self::max_attempts), and by the model, across turns: a call is the next
/// attempt at the latest identical call of an earlier turn, if that one did not succeed. Two calls
/// are identical if they are of the same tool with the same arguments, or with the same
/// [`key`](ToolCall::key).
///
/// Of the calls that did not succeed a run remembers 10,000, each in less than 200 bytes whatever
/// its arguments are. When there are more, the one whose latest attempt is the longest ago is
/// forgotten; a call that is identical to it is a first attempt again.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use std::convert::Infallible;
/// use toolmeter::auto_run::{AutoRun, CallResult, Model, StopReason, ToolCall, Turn};
/// use toolmeter::{Registry, async_tool};
///
/// /// Asks once for two calls, then answers how many succeeded.
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
    /// A run over the tools of this registry: 8 attempts at once, no turn limit, no time limit,
    /// no retries, no approval.
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
                backoff: Some(backoffs(ExponentialBuilder::default().without_max_times())),
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

    /// The host's name for the session; the events of its calls carry it.
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

    /// Sets the call in whose course this run is made, as a tool that is itself an agent makes one;
    /// the contexts of the run's calls carry it as their parent.
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

    /// How many attempts may run at once; 0 is treated as 1.
    ///
    /// A tool that blocks counts until its thread is free, since it cannot be stopped: also after
    /// its attempt has timed out, or its call was cancelled. Another attempt waits for that, as
    /// [`permit_wait`](Report::permit_wait) says. If as many tools as this never return, no further
    /// call starts, until the run is cancelled.
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

    /// How many turns to run. A model that asks for more ends the run; one that then gives its
    /// final answer is done.
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

    /// How long each attempt may take. After that it is a failure of kind `timeout`.
    ///
    /// The thread of a tool that blocks runs on after that, and what the tool gives is discarded.
    /// Until it has returned it is one of those that [`concurrency`](Self::concurrency) limits, so
    /// that a retry may have to wait for it.
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

    /// How many attempts to make at each call that the model asks for; 1 is no retry, and 0 is
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

    /// How long to pause before each retry of a call: by default 1 s, then twice as long each
    /// time, up to 60 s. A backoff that ends ends the retries, and so does one that panics.
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
        discard(self.settings.backoff.replace(backoffs(backoff)));
        self
    }

    /// Which failures to retry: by default those of kind timeout, rate limited, provider and
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

    /// Asks whether a call may run, once, before its first attempt. A call that is denied is
    /// counted as rejected; so is one whose approver panics. Calls of unknown tools are not asked
    /// about.
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

    /// Cancelling this token drops the calls under way and ends the run, also while it waits for
    /// the model or for an approval.
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

    /// Runs until the model is done, or anything else ends it.
    ///
    /// # Panics
    ///
    /// If the model panics; its calls have ended by then. Outside of a tokio runtime.
    ///
    /// In a runtime whose timer is not enabled the task of a call panics that has a delay, a time
    /// limit, or to be tried again. The run goes on, and tells such a call as cancelled, as it does
    /// one whose runtime is shut down.
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
    /// let mut model = Script(vec![Turn::Calls(vec![ToolCall::new("echo", json!({}))])]);
    /// let report = AutoRun::new(&registry).run(&mut model).await;
    /// assert_eq!(report.stop, StopReason::Done(json!("done")));
    /// assert_eq!(registry.metrics().tools["echo"].success(), report.attempts);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn run<M: Model>(&self, model: &mut M) -> Report<M::Error> {
        let settings = Arc::new(self.settings.clone());
        let permits = Arc::new(Semaphore::new(self.concurrency));
        let mut tally = Tally::default();
        let mut unsuccessful = Unsuccessful::default();
        let mut results = Vec::new();
        loop {
            let answer = tokio::select! {
                biased;
                () = settings.cancel_token.cancelled() => {
                    return tally.report(StopReason::Cancelled);
                }
                answer = model.next_turn(results) => answer,
            };
            let calls = match answer {
                Err(error) => return tally.report(StopReason::Model(error)),
                Ok(Turn::Done(value)) => return tally.report(StopReason::Done(value)),
                Ok(Turn::Calls(_)) if self.turn_limit.is_some_and(|turns| tally.turns >= turns) => {
                    return tally.report(StopReason::TurnLimit);
                }
                Ok(Turn::Calls(calls)) => calls,
            };
            if calls.is_empty() {
                // A model that only ever asks for nothing must not keep the thread.
                tokio::task::yield_now().await;
            }
            results = self
                .run_turn(calls, &settings, &permits, &mut tally, &mut unsuccessful)
                .await;
            tally.turns += 1;
        }
    }

    /// The context of one call.
    fn context(&self, turn: u64, call: Box<str>) -> CallContext {
        let context = CallContext::new(self.session.clone()).turn(turn).call(call);
        match &self.parent {
            Some(parent) => context.parent(parent.clone()),
            None => context,
        }
    }

    async fn run_turn(
        &self,
        calls: Vec<ToolCall>,
        settings: &Arc<Settings>,
        permits: &Arc<Semaphore>,
        tally: &mut Tally,
        unsuccessful: &mut Unsuccessful,
    ) -> Vec<CallResult> {
        let driven: Vec<Arc<Mutex<Driven>>> = calls.iter().map(|_| Arc::default()).collect();
        let mut running = JoinSet::new();
        for (place, call) in calls.iter().enumerate() {
            let id = match call.call_id() {
                Some(id) => Box::from(id),
                None => format!("{}.{place}", tally.turns).into_boxed_str(),
            };
            let driver = Driver {
                registry: self.registry.clone(),
                settings: Arc::clone(settings),
                permits: Arc::clone(permits),
                context: Arc::new(self.context(tally.turns, id)),
                call: call.clone(),
                last_attempt: unsuccessful.last_attempt(call.identity()),
                driven: Arc::clone(&driven[place]),
            };
            let driving = async move { (place, driver.run().await) };
            // Within the scope of the loop's caller, as far as the registry's hook knows it.
            running.spawn(self.registry.in_current_scope(driving));
        }
        // A task that did not end was stopped with its runtime, or panicked: a cancelled call.
        let mut ended: Vec<_> = calls.iter().map(|_| CANCELLED).collect();
        while let Some(joined) = running.join_next().await {
            if let Ok((place, how)) = joined {
                ended[place] = how;
            }
        }
        // In the order of the calls, so that of identical ones in this turn the last one tells.
        let calls = calls.into_iter().zip(ended).zip(driven);
        let results = calls.map(|((call, ended), driven)| {
            let driven = so_far(&driven);
            tally.add_driven(&driven);
            let result = CallResult::new(call, ended, &driven);
            tally.add_result(&result);
            let identity = result.call.identity();
            match result.outcome {
                Outcome::Success => unsuccessful.forget(identity),
                // What never started is no attempt that another one could follow.
                _ if result.attempt == 0 => {}
                _ => unsuccessful.remember(identity, result.attempt),
            }
            result
        });
        results.collect()
    }
}

fn backoffs(builder: impl BackoffBuilder + Clone + 'static) -> Arc<Backoffs> {
    Arc::new(move || Box::new(builder.clone().build()))
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
