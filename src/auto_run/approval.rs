//! [`Approval`]: the decision of the host's approver.

/// The decision of an approver about a call.
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
/// assert_eq!((report.rejected, report.attempts), (1, 0));
/// assert_eq!(registry.metrics().tools["echo"].rejected, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// The call may run.
    Approved,
    /// The call must not run.
    Denied {
        /// The reason, which the model gets.
        reason: String,
    },
}
