//! [`Report`]: what a run did and why it stopped.
//!
//! Promises:
//!
//! * `attempts` is the number of calls that the registry counted as started for this run,
//!   and of calls of unknown tools. That holds whatever ended a call: a panic in the midst of it
//!   and the end of its runtime, too.
//! * Each call is in exactly one of `failures_left`, `rejected` and `cancelled`, or it succeeded.

use super::attempts::Driven;
use super::call::CallResult;
use serde_json::Value;
use std::time::Duration;
use toolmeter_core::Outcome;

/// What a run did. The model's own error is of type `E`.
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
    /// Turns whose calls were run: the model's answers except a final one.
    pub turns: u64,
    /// Calls that the model asked for.
    pub calls: u64,
    /// Attempts, each one: what the registry counted as started. A rejected call is none.
    pub attempts: u64,
    /// Attempts above the first of their call, those that the tool then rejected included; see
    /// [`AutoRun`](super::AutoRun#retries).
    pub retries: u64,
    /// Attempts above the 65,535th of their call, those that the tool then rejected included. Each
    /// of them is given as attempt 65,535, since the number of an attempt goes no further.
    pub unnumbered_attempts: u64,
    /// Calls that succeeded by a retry.
    pub recovered: u64,
    /// Calls whose last attempt failed.
    pub failures_left: u64,
    /// Calls that were rejected: denied by the approver, or of a tool that is disabled or cannot
    /// be called.
    pub rejected: u64,
    /// Calls that were cancelled, those that never started included.
    pub cancelled: u64,
    /// How long calls waited for approval, summed over all calls. No part of any latency.
    pub approval_wait: Duration,
    /// How long attempts waited until fewer ran than the limit, summed over all attempts; that
    /// includes waiting for the threads of tools that block on after their call has ended. No part
    /// of any latency.
    pub permit_wait: Duration,
    /// Why it stopped.
    pub stop: StopReason<E>,
}

/// Why a run stopped.
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
    /// The model gave its final answer.
    Done(Value),
    /// The model asked for calls beyond the turn limit; they were not run.
    TurnLimit,
    /// The run's token was cancelled.
    Cancelled,
    /// The model failed.
    Model(E),
}

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
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

impl Tally {
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

    pub(super) fn add_driven(&mut self, driven: &Driven) {
        self.retries += driven.retries;
        self.unnumbered_attempts += driven.unnumbered;
        self.approval_wait_ns = self
            .approval_wait_ns
            .saturating_add(driven.approval_wait_ns);
        self.permit_wait_ns = self.permit_wait_ns.saturating_add(driven.permit_wait_ns);
    }

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
