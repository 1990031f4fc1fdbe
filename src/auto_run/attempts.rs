//! [`CallAttempts`]: one call of a turn, from its approval to its last attempt.
//!
//! ```text
//! delay -> approval -> [ permit -> attempt -> backoff ] -> [ permit -> attempt ] -> result
//! ```
//!
//! * A permit is held only while an attempt runs, so a call that waits for approval or for its retry
//!   keeps no other from running. A tool that blocks holds its permit until its thread is free, which
//!   may be after its attempt has ended.
//! * The waits for approval and for a permit are measured by the registry's clock. They end as soon
//!   as the call is cancelled.
//! * A panic of the host's approver or backoff is contained.

use super::approval::Approval;
use super::backoff::RetryDelays;
use super::progress::{CallProgress, SharedProgress};
use super::settings::Settings;
use super::tool_call::ToolCall;
use crate::clock::HostClock;
use crate::contain::Contained;
use crate::error::{CallError, InvokeError};
use crate::registry::Registry;
use std::future::{IntoFuture, poll_fn};
use std::sync::Arc;
use tokio::sync::Semaphore;
use toolmeter_core::{Clock, Outcome};
use toolmeter_events::CallContext;

/// A call, with all that its attempts need.
pub(super) struct CallAttempts {
    pub(super) registry: Registry,
    pub(super) settings: Arc<Settings>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) context: Arc<CallContext>,
    pub(super) call: ToolCall,
    /// The number of the attempt in an earlier turn that its first one follows, or 0.
    pub(super) last_attempt: u16,
    pub(super) progress: SharedProgress,
}

/// The answer of a call, and the outcome with which it was counted.
pub(super) type Ended = (Result<serde_json::Value, CallError>, Outcome);

/// The end of a call that was cancelled, or whose task panicked or was stopped.
pub(super) const CANCELLED: Ended = (Err(CallError::Cancelled), Outcome::Cancelled);

impl CallAttempts {
    /// Runs the call until it ends or is cancelled.
    pub(super) async fn run(self) -> Ended {
        // The tokens come first, so that a call that is already cancelled does not start.
        tokio::select! {
            biased;
            () = self.cancelled() => CANCELLED,
            ended = self.run_attempts() => ended,
        }
    }

    /// Waits until the token of the run or of the call is cancelled.
    async fn cancelled(&self) {
        let run = self.settings.cancel_token.cancelled();
        match &self.call.cancel_token {
            None => run.await,
            Some(call) => tokio::select! {
                () = run => {}
                () = call.cancelled() => {}
            },
        }
    }

    async fn run_attempts(&self) -> Ended {
        if !self.call.delay.is_zero() {
            tokio::time::sleep(self.call.delay).await;
        }
        if let Err(refused) = self.approve().await {
            return refused;
        }
        let limit = self.call.time_limit.or(self.settings.time_limit);
        let mut delays = None;
        loop {
            let permit = {
                let _wait = WaitTimer::begin(self, |progress| &mut progress.permit_wait_ns);
                Arc::clone(&self.permits).acquire_owned().await
            };
            let Ok(permit) = permit else {
                // The semaphore is never closed.
                return CANCELLED;
            };
            let args = self.call.args.clone();
            let attempt = self.progress.lock().next_attempt(self.last_attempt);
            let invoke = self
                .registry
                .invoke(&self.call.name, args)
                .attempt(attempt)
                .context(Arc::clone(&self.context))
                .within_if(limit)
                .holding(permit);
            let mut invoking = invoke.into_future();
            let invoked = poll_fn(|context| invoking.poll_invoked(context)).await;
            if invoked.outcome == Outcome::Rejected {
                // It was rejected by the tool itself, or before the tool started.
                let started = matches!(&invoked.answer, Ok(_) | Err(InvokeError::Failed(_)));
                self.progress.lock().retract_attempt(started);
            }
            let ended = (invoked.answer.map_err(CallError::Failed), invoked.outcome);
            let attempts = self.progress.lock().attempts;
            let is_last = attempts >= u64::from(self.settings.max_attempts);
            if is_last || !self.is_retryable(invoked.outcome) {
                return ended;
            }
            let delays =
                delays.get_or_insert_with(|| RetryDelays::new(self.settings.backoff.as_deref()));
            match delays.next() {
                None => return ended,
                Some(delay) => tokio::time::sleep(delay).await,
            }
        }
    }

    /// Calls the approver. A denied call is counted as rejected.
    async fn approve(&self) -> Result<(), Ended> {
        // The approver is not called for a tool that does not exist.
        let (Some(approver), Some(handle)) =
            (&self.settings.approver, self.registry.get(&self.call.name))
        else {
            return Ok(());
        };
        let approval = {
            let _wait = WaitTimer::begin(self, |progress| &mut progress.approval_wait_ns);
            let asked = async { approver(self.call.clone()).await };
            Contained::new(asked)
                .await
                .unwrap_or_else(|_| Approval::Denied {
                    reason: "the approver panicked".into(),
                })
        };
        match approval {
            Approval::Approved => Ok(()),
            Approval::Denied { reason } => {
                let error = CallError::Denied { reason };
                let call = handle.call().attempt(self.last_attempt.saturating_add(1));
                call.context(Arc::clone(&self.context)).reject(&error);
                Err((Err(error), Outcome::Rejected))
            }
        }
    }

    fn is_retryable(&self, outcome: Outcome) -> bool {
        let kinds = &self.settings.retry_on;
        outcome
            .error_kind()
            .is_some_and(|kind| kinds.contains(&kind))
    }
}

/// A timer that adds the time until it is dropped to a total, so a wait that is cut short counts,
/// too.
struct WaitTimer<'a> {
    clock: &'a HostClock,
    since_ns: u64,
    progress: &'a SharedProgress,
    total_ns: fn(&mut CallProgress) -> &mut u64,
}

impl<'a> WaitTimer<'a> {
    fn begin(attempts: &'a CallAttempts, total_ns: fn(&mut CallProgress) -> &mut u64) -> Self {
        let clock = attempts.registry.clock();
        Self {
            clock,
            since_ns: clock.now_ns(),
            progress: &attempts.progress,
            total_ns,
        }
    }
}

impl Drop for WaitTimer<'_> {
    fn drop(&mut self) {
        let waited_ns = self.clock.now_ns().saturating_sub(self.since_ns);
        let mut progress = self.progress.lock();
        let total_ns = (self.total_ns)(&mut progress);
        *total_ns = total_ns.saturating_add(waited_ns);
    }
}
