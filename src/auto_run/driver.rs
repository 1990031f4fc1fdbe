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
use super::call::{Approval, CallError, CallResult, ToolCall};
use crate::call::CallOptions;
use crate::clock::HostClock;
use crate::registry::Registry;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::Semaphore;
use toolmeter_core::{Clock, ErrorKind, Outcome};
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
            let options = self.next_attempt(driven);
            let (name, args) = (&self.call.name, self.call.args.clone());
            let invoked = self.registry.dispatch(limit, name, args, options).await;
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
            no_panic(asked).await.unwrap_or_else(|| Approval::Denied {
                reason: "the approver panicked".into(),
            })
        };
        match approval {
            Approval::Approved => Ok(()),
            Approval::Denied { reason } => {
                let error = CallError::Denied { reason };
                let options = self.next_attempt(driven);
                handle.with(options).start().reject(&error);
                Err((Err(error), Outcome::Failure(ErrorKind::Rejected)))
            }
        }
    }

    /// Counts the attempt that is about to begin.
    fn next_attempt(&self, driven: &mut Driven) -> CallOptions {
        driven.attempt = match driven.attempts {
            0 => self.first_attempt,
            _ => driven.attempt.saturating_add(1),
        };
        driven.attempts += 1;
        driven.retries += u64::from(driven.attempt > 1);
        CallOptions::new()
            .attempt(driven.attempt)
            .context(Arc::clone(&self.context))
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

/// The output of `future`, or `None` if it panicked.
async fn no_panic<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(move |context| {
        // The future is not polled again after a panic.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
