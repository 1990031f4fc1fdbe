//! [`Report`]: the counts of a run, and the reason why it stopped.
//!
//! Promises:
//!
//! * `attempts` is the number of calls that the registry counted as started for this run, plus the
//!   calls of unknown tools. That holds however a call ended, even by a panic of its task or the
//!   end of its runtime.
//! * Each call is in exactly one of `failures_left`, `rejected` and `cancelled`, or it succeeded.

use super::call_result::CallResult;
use super::progress::CallProgress;
use serde_json::Value;
use std::time::Duration;
use toolmeter_core::Outcome;

/// The counts and waits of a run, and the reason why it stopped. `E` is the error of its model.
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
/// let report = AutoRun::new(&registry).max_attempts(2).run(&mut model).await;
/// assert_eq!((report.turns, report.calls), (1, 1));
/// assert_eq!((report.attempts, report.retries, report.recovered), (2, 1, 1));
/// assert_eq!((report.failures_left, report.cancelled), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report<E> {
    /// Turns whose calls were run.
    pub turns: u64,
    /// Calls that the model asked for.
    pub calls: u64,
    /// Attempts, including retries and calls of unknown tools. A rejected call is not an attempt.
    pub attempts: u64,
    /// Attempts above the first of their call, including those that the tool then rejected; see
    /// [`AutoRun`](super::AutoRun#retries).
    pub retries: u64,
    /// Attempts above the 65,535th of their call, including those that the tool then rejected. They
    /// have the number 65,535, the highest there is.
    pub unnumbered_attempts: u64,
    /// Calls that succeeded in a retry.
    pub recovered: u64,
    /// Calls whose last attempt failed.
    pub failures_left: u64,
    /// Calls that were rejected: denied by the approver, of a tool that is disabled or cannot be
    /// called, or refused by the tool itself.
    pub rejected: u64,
    /// Calls that were cancelled, including those that never started.
    pub cancelled: u64,
    /// The time that calls waited for approval, summed over all calls. It is in no latency.
    pub approval_wait: Duration,
    /// The time that attempts waited because of [`concurrency`](super::AutoRun::concurrency),
    /// summed over all attempts. It includes waits for tools that still block after their call has
    /// ended. It is in no latency.
    pub permit_wait: Duration,
    /// The reason why the run stopped.
    pub stop: StopReason<E>,
}

/// The reason why a run stopped.
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
/// let run = AutoRun::new(&registry);
/// assert_eq!(run.clone().turn_limit(0).run(&mut model).await.stop, StopReason::TurnLimit);
/// assert_eq!(run.run(&mut model).await.stop, StopReason::Done(json!("done")));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason<E> {
    /// The model returned its final answer.
    Done(Value),
    /// The model asked for calls beyond the turn limit; they were not run.
    TurnLimit,
    /// The run's token was cancelled.
    Cancelled,
    /// The model returned this error.
    Model(E),
}

/// The counts and waits of a run so far.
#[derive(Debug, Default)]
pub(super) struct RunTotals {
    pub(super) turns: u64,
    calls: u64,
    attempts: u64,
    retries: u64,
    unnumbered_attempts: u64,
    recovered: u64,
    failures_left: u64,
    rejected: u64,
    cancelled: u64,
    approval_wait_ns: u64,
    permit_wait_ns: u64,
}

impl RunTotals {
    /// Adds a call that has ended.
    pub(super) fn add_result(&mut self, result: &CallResult) {
        self.calls += 1;
        self.attempts += result.attempts;
        match result.outcome {
            Outcome::Success => self.recovered += u64::from(result.attempt > 1),
            Outcome::Failure(_) => self.failures_left += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Rejected => self.rejected += 1,
        }
    }

    /// Adds the retries and waits of a call that has ended.
    pub(super) fn add_progress(&mut self, progress: &CallProgress) {
        self.retries += progress.retries;
        self.unnumbered_attempts += progress.unnumbered;
        self.approval_wait_ns = self
            .approval_wait_ns
            .saturating_add(progress.approval_wait_ns);
        self.permit_wait_ns = self.permit_wait_ns.saturating_add(progress.permit_wait_ns);
    }

    /// Returns the report of a run that stopped for this reason.
    pub(super) fn report<E>(self, stop: StopReason<E>) -> Report<E> {
        Report {
            turns: self.turns,
            calls: self.calls,
            attempts: self.attempts,
            retries: self.retries,
            unnumbered_attempts: self.unnumbered_attempts,
            recovered: self.recovered,
            failures_left: self.failures_left,
            rejected: self.rejected,
            cancelled: self.cancelled,
            approval_wait: Duration::from_nanos(self.approval_wait_ns),
            permit_wait: Duration::from_nanos(self.permit_wait_ns),
            stop,
        }
    }
}
