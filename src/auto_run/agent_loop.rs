//! The loop: turns until the model is done, and the concurrent calls of a turn.

use super::AutoRun;
use super::attempts::{CANCELLED, CallAttempts};
use super::call_result::CallResult;
use super::model::{Model, Turn};
use super::progress::SharedProgress;
use super::report::{Report, RunTotals, StopReason};
use super::retry_history::RetryHistory;
use super::settings::Settings;
use super::tool_call::ToolCall;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use toolmeter_core::Outcome;
use toolmeter_events::CallContext;

impl AutoRun {
    /// Runs until the model is done, or until anything else ends the run; see [`StopReason`].
    ///
    /// In a runtime whose timer is not enabled, a call that has a delay or a time limit or is retried
    /// panics in its own task. The run goes on and reports that call as cancelled.
    ///
    /// # Panics
    ///
    /// If the model panics (its calls have ended by then), or if there are calls to run outside of
    /// a tokio runtime.
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
        let mut totals = RunTotals::default();
        let mut history = RetryHistory::default();
        let mut results = Vec::new();
        loop {
            let answer = tokio::select! {
                biased;
                () = settings.cancel_token.cancelled() => {
                    return totals.report(StopReason::Cancelled);
                }
                answer = model.next_turn(results) => answer,
            };
            let calls = match answer {
                Err(error) => return totals.report(StopReason::Model(error)),
                Ok(Turn::Done(value)) => return totals.report(StopReason::Done(value)),
                Ok(Turn::Calls(_))
                    if self.turn_limit.is_some_and(|turns| totals.turns >= turns) =>
                {
                    return totals.report(StopReason::TurnLimit);
                }
                Ok(Turn::Calls(calls)) => calls,
            };
            if calls.is_empty() {
                // A model that always asks for no calls must not occupy the thread.
                tokio::task::yield_now().await;
            }
            results = self
                .run_turn(calls, &settings, &permits, &mut totals, &mut history)
                .await;
            totals.turns += 1;
        }
    }

    /// Returns the context of one call.
    fn context(&self, turn: u64, call: Box<str>) -> CallContext {
        let context = CallContext::new(self.session.clone()).turn(turn).call(call);
        match &self.parent {
            Some(parent) => context.parent(parent.clone()),
            None => context,
        }
    }

    /// Runs the calls of a turn concurrently, and returns their results in the order of the calls.
    async fn run_turn(
        &self,
        calls: Vec<ToolCall>,
        settings: &Arc<Settings>,
        permits: &Arc<Semaphore>,
        totals: &mut RunTotals,
        history: &mut RetryHistory,
    ) -> Vec<CallResult> {
        let progress: Vec<SharedProgress> =
            calls.iter().map(|_| SharedProgress::default()).collect();
        let mut running = JoinSet::new();
        for (place, call) in calls.iter().enumerate() {
            let id = match call.call_id() {
                Some(id) => Box::from(id),
                None => format!("{}.{place}", totals.turns).into_boxed_str(),
            };
            let attempts = CallAttempts {
                registry: self.registry.clone(),
                settings: Arc::clone(settings),
                permits: Arc::clone(permits),
                context: Arc::new(self.context(totals.turns, id)),
                call: call.clone(),
                last_attempt: history.last_attempt(call.identity()),
                progress: progress[place].clone(),
            };
            let task = async move { (place, attempts.run().await) };
            // Within the scope that is current here, if the registry's hook has one.
            running.spawn(self.registry.in_current_scope(task));
        }
        // A task that panics or is stopped with its runtime leaves a cancelled call.
        let mut ended: Vec<_> = calls.iter().map(|_| CANCELLED).collect();
        while let Some(joined) = running.join_next().await {
            if let Ok((place, end)) = joined {
                ended[place] = end;
            }
        }
        // In the order of the calls, so that of identical calls in this turn the last one is
        // remembered.
        let calls = calls.into_iter().zip(ended).zip(progress);
        let results = calls.map(|((call, (answer, outcome)), progress)| {
            let progress = progress.lock();
            let result = CallResult {
                call,
                answer,
                outcome,
                attempt: progress.attempt,
                attempts: progress.attempts,
            };
            totals.add_progress(&progress);
            totals.add_result(&result);
            let identity = result.call.identity();
            match result.outcome {
                Outcome::Success => history.forget(identity),
                // A call that never started has no attempt that a later one could follow.
                _ if result.attempt == 0 => {}
                _ => history.remember(identity, result.attempt),
            }
            result
        });
        results.collect()
    }
}
