//! [`Model`]: the part of a host that decides which tools to call, and its answers.

use super::call_result::CallResult;
use super::tool_call::ToolCall;
use serde_json::Value;
use std::fmt::Display;
use std::future::Future;

/// The answer of a model.
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
    /// Calls to run concurrently; their results are passed to the next
    /// [`next_turn`](Model::next_turn).
    Calls(Vec<ToolCall>),
    /// The final answer.
    Done(Value),
}

/// The part of a host that decides which tools to call.
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
    /// The error of a model that cannot answer.
    type Error: Display + Send;

    /// Returns the next turn, given the results of the last one in the order of its calls. The
    /// first turn gets no results.
    ///
    /// # Errors
    ///
    /// Returns an error if the model cannot answer; the run ends with it.
    fn next_turn(
        &mut self,
        results: Vec<CallResult>,
    ) -> impl Future<Output = Result<Turn, Self::Error>> + Send;
}
