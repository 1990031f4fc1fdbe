//! One call of a turn, from its approval to its last attempt.
//!
//! ```text
//! delay -> approval -> [ permit -> attempt -> backoff ] -> [ permit -> attempt ] -> result
//! ```
//!
//! A permit is held while an attempt runs and at no other time, so neither a call that waits for
//! a person nor one that waits to be retried keeps another from running. Both waits are
//! read off the registry's clock, and end as soon as the call is cancelled.

use super::Settings;
use super::call::{Approval, CallResult, ToolCall};
use crate::clock::HostClock;
use crate::contain::Contained;
use crate::error::{CallError, InvokeError};
use crate::registry::Registry;
use std::future::{IntoFuture, poll_fn};
use std::sync::Arc;
use tokio::sync::Semaphore;
use toolmeter_core::{Clock, Outcome};
use toolmeter_events::CallContext;

/// A call that is about to be driven.
pub(super) struct Driver {
    pub(super) registry: Registry,
    pub(super) settings: Arc<Settings>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) context: Arc<CallContext>,
    pub(super) call: ToolCall,
    /// The number of its first attempt.
    pub(super) first_attempt: u16,
}

/// What driving a call told beyond its result.
#[derive(Debug, Default)]
pub(super) struct Driven {
    pub(super) retries: u64,
    pub(super) approval_wait_ns: u64,
    pub(super) permit_wait_ns: u64,
    attempt: u16,
    attempts: u64,
    /// The attempt before the last.
    attempt_before: u16,
}

impl Driven {
    /// Counts the attempt that is about to begin, and returns its number.
    fn next_attempt(&mut self, first: u16) -> u16 {
        self.attempt_before = self.attempt;
        self.attempt = match self.attempts {
            0 => first,
            _ => self.attempt.saturating_add(1),
        };
        self.attempts += 1;
        self.retries += u64::from(self.attempt > 1);
        self.attempt
    }

    /// The last attempt was none: the call was rejected. One that had started before stays a retry,
    /// as it does in the registry.
    fn no_attempt(&mut self, started: bool) {
        if !started {
            self.retries -= u64::from(self.attempt > 1);
        }
        self.attempts -= 1;
        self.attempt = self.attempt_before;
    }
}

type Ended = (Result<serde_json::Value, CallError>, Outcome);

impl Driver {
    pub(super) async fn run(self) -> (CallResult, Driven) {
        let mut driven = Driven::default();
        // The token first: a call that is already cancelled must not start.
        let (answer, outcome) = tokio::select! {
            biased;
            () = self.cancelled() => (Err(CallError::Cancelled), Outcome::Cancelled),
            ended = self.drive(&mut driven) => ended,
        };
        let result = CallResult {
            call: self.call,
            answer,
            outcome,
            attempt: driven.attempt,
            attempts: driven.attempts,
        };
        (result, driven)
    }

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

    async fn drive(&self, driven: &mut Driven) -> Ended {
        if !self.call.delay.is_zero() {
            tokio::time::sleep(self.call.delay).await;
        }
        if let Err(refused) = self.approve(driven).await {
            return refused;
        }
        let limit = self.call.time_limit.or(self.settings.time_limit);
        let mut backoff = (self.settings.backoff)();
        loop {
            let permit = {
                let _wait = Wait::begin(&self.registry, &mut driven.permit_wait_ns);
                self.permits.acquire().await
            };
            let attempt = driven.next_attempt(self.first_attempt);
            let invoke = self
                .registry
                .invoke(&self.call.name, self.call.args.clone())
                .attempt(attempt)
                .context(Arc::clone(&self.context))
                .within_if(limit);
            let mut invoking = invoke.into_future();
            let invoked = poll_fn(|context| invoking.poll_invoked(context)).await;
            if invoked.outcome == Outcome::Rejected {
                // By the tool itself, or before it started.
                let started = matches!(&invoked.answer, Ok(_) | Err(InvokeError::Failed(_)));
                driven.no_attempt(started);
            }
            drop(permit);
            let ended = (invoked.answer.map_err(CallError::Failed), invoked.outcome);
            let is_last = driven.attempts >= u64::from(self.settings.max_attempts);
            if is_last || !self.is_retryable(invoked.outcome) {
                return ended;
            }
            match backoff.next() {
                None => return ended,
                Some(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Asks whether the call may run; if not, counts that.
    async fn approve(&self, driven: &mut Driven) -> Result<(), Ended> {
        // Nobody is asked about a tool that does not exist.
        let (Some(approver), Some(handle)) =
            (&self.settings.approver, self.registry.get(&self.call.name))
        else {
            return Ok(());
        };
        let approval = {
            let _wait = Wait::begin(&self.registry, &mut driven.approval_wait_ns);
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
                let call = handle.call().attempt(self.first_attempt);
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

/// Adds the time until it is dropped, so that a wait that is cut short counts too.
struct Wait<'a> {
    clock: &'a HostClock,
    since_ns: u64,
    total_ns: &'a mut u64,
}

impl<'a> Wait<'a> {
    fn begin(registry: &'a Registry, total_ns: &'a mut u64) -> Self {
        let clock = registry.clock();
        Self {
            clock,
            since_ns: clock.now_ns(),
            total_ns,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waited_ns = self.clock.now_ns().saturating_sub(self.since_ns);
        *self.total_ns = self.total_ns.saturating_add(waited_ns);
    }
}
