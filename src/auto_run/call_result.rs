//! [`CallResult`]: the result of a call, which the model gets.

use super::tool_call::ToolCall;
use crate::error::CallError;
use serde_json::Value;
use toolmeter_core::Outcome;

/// The result of a call, which the model gets in its next turn.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use std::convert::Infallible;
/// use toolmeter::auto_run::{AutoRun, CallResult, Model, StopReason, ToolCall, Turn};
/// use toolmeter::{ErrorKind, Outcome, Registry};
///
/// /// Calls an unknown tool, and answers with the number of the attempt.
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
    /// The answer of the last attempt.
    pub answer: Result<Value, CallError>,
    /// The outcome with which the last attempt was counted. An answer that carries an error flag is
    /// a failure.
    pub outcome: Outcome,
    /// The number of the last attempt, counted from 1; 0 if none was made, because the call was
    /// rejected, or cancelled while it waited to start.
    ///
    /// It goes on from the latest identical call of an earlier turn if that did not succeed.
    /// Attempts above the 65,535th have the number 65,535, here, for the tool and in events;
    /// [`Report::unnumbered_attempts`](super::Report::unnumbered_attempts) counts them.
    pub attempt: u16,
    /// The number of attempts in this turn.
    pub attempts: u64,
}
