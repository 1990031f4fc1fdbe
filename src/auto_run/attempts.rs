//! One call of a turn, from its approval to its last attempt.
//!
//! ```text
//! delay -> approval -> [ permit -> attempt -> backoff ] -> [ permit -> attempt ] -> result
//! ```
//!
//! A permit is held while an attempt runs and at no other time, so neither a call that waits for
//! a person nor one that waits to be retried keeps another from running. A tool that blocks holds
//! it until its thread is free, which may be after its attempt has ended. Both waits are
//! read off the registry's clock, and end as soon as the call is cancelled.
//!
//! What was done is written into a [`Driven`] that lies outside of the call's task, before it is
//! done. So it is there also if the task panics or is dropped with its runtime. The host's own code
//! that is called here, its approver and its backoff, panics for itself alone.

use super::call::{Approval, ToolCall};
use super::{Backoff, Backoffs, Settings};
use crate::clock::HostClock;
use crate::contain::{Contained, contained, discard};
use crate::error::{CallError, InvokeError};
use crate::registry::Registry;
use std::future::{IntoFuture, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
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
    /// The number of the attempt that its first one follows, or 0.
    pub(super) last_attempt: u16,
    /// What is done is told here as it is done.
    pub(super) driven: Arc<Mutex<Driven>>,
}

/// What driving a call told so far beyond how it ended.
#[derive(Debug, Default)]
pub(super) struct Driven {
    pub(super) retries: u64,
    pub(super) unnumbered: u64,
    pub(super) approval_wait_ns: u64,
    pub(super) permit_wait_ns: u64,
    /// The number of the last attempt, or 0.
    pub(super) attempt: u16,
    pub(super) attempts: u64,
    /// The attempt before the last.
    attempt_before: u16,
    /// The number that the last attempt follows, which for the first one is of an earlier turn.
    follows: u16,
}

impl Driven {
    /// Counts the attempt that is about to begin, and returns its number. The first one follows
    /// `last_attempt` of an earlier turn.
    fn next_attempt(&mut self, last_attempt: u16) -> u16 {
        self.follows = match self.attempts {
            0 => last_attempt,
            _ => self.attempt,
        };
        self.attempt_before = self.attempt;
        self.attempt = self.follows.saturating_add(1);
        self.attempts += 1;
        self.retries += u64::from(self.follows > 0);
        self.unnumbered += u64::from(self.follows == u16::MAX);
        self.attempt
    }

    /// The last attempt was none: the call was rejected. One that had started before stays a retry,
    /// as it does in the registry.
    fn no_attempt(&mut self, started: bool) {
        if !started {
            self.retries -= u64::from(self.follows > 0);
            self.unnumbered -= u64::from(self.follows == u16::MAX);
        }
        self.attempts -= 1;
        self.attempt = self.attempt_before;
    }
}

/// What is known of a call, also while it is driven.
pub(super) fn so_far(driven: &Mutex<Driven>) -> MutexGuard<'_, Driven> {
    driven.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a call gave, and how it counts.
pub(super) type Ended = (Result<serde_json::Value, CallError>, Outcome);

/// The end of a call that was cancelled, or whose task was.
pub(super) const CANCELLED: Ended = (Err(CallError::Cancelled), Outcome::Cancelled);

impl Driver {
    pub(super) async fn run(self) -> Ended {
        // The token first: a call that is already cancelled must not start.
        tokio::select! {
            biased;
            () = self.cancelled() => CANCELLED,
            ended = self.drive() => ended,
        }
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

    async fn drive(&self) -> Ended {
        if !self.call.delay.is_zero() {
            tokio::time::sleep(self.call.delay).await;
        }
        if let Err(refused) = self.approve().await {
            return refused;
        }
        let limit = self.call.time_limit.or(self.settings.time_limit);
        let mut pauses = None;
        loop {
            let permit = {
                let _wait = Wait::begin(self, |driven| &mut driven.permit_wait_ns);
                Arc::clone(&self.permits).acquire_owned().await
            };
            let Ok(permit) = permit else {
                // Nobody closes the semaphore.
                return CANCELLED;
            };
            let args = self.call.args.clone();
            let attempt = so_far(&self.driven).next_attempt(self.last_attempt);
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
                // By the tool itself, or before it started.
                let started = matches!(&invoked.answer, Ok(_) | Err(InvokeError::Failed(_)));
                so_far(&self.driven).no_attempt(started);
            }
            let ended = (invoked.answer.map_err(CallError::Failed), invoked.outcome);
            let attempts = so_far(&self.driven).attempts;
            let is_last = attempts >= u64::from(self.settings.max_attempts);
            if is_last || !self.is_retryable(invoked.outcome) {
                return ended;
            }
            let pauses =
                pauses.get_or_insert_with(|| Pauses::new(self.settings.backoff.as_deref()));
            match pauses.next() {
                None => return ended,
                Some(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Asks whether the call may run; if not, counts that.
    async fn approve(&self) -> Result<(), Ended> {
        // Nobody is asked about a tool that does not exist.
        let (Some(approver), Some(handle)) =
            (&self.settings.approver, self.registry.get(&self.call.name))
        else {
            return Ok(());
        };
        let approval = {
            let _wait = Wait::begin(self, |driven| &mut driven.approval_wait_ns);
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

/// The pauses between the attempts at a call: a backoff of the host's, or none any more.
struct Pauses(Option<Box<Backoff>>);

impl Pauses {
    /// A backoff that panics when it is built is one that has ended.
    fn new(backoffs: Option<&Backoffs>) -> Self {
        Self(backoffs.and_then(|backoffs| contained(backoffs).ok()))
    }

    /// Returns the next pause, unless the backoff has ended or panics, which ends it.
    fn next(&mut self) -> Option<Duration> {
        let backoff = self.0.as_mut()?;
        let pause = contained(|| backoff.next()).ok().flatten();
        if pause.is_none() {
            discard(self.0.take());
        }
        pause
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

/// Adds the time until it is dropped, so that a wait that is cut short counts too.
struct Wait<'a> {
    clock: &'a HostClock,
    since_ns: u64,
    driven: &'a Mutex<Driven>,
    total_ns: fn(&mut Driven) -> &mut u64,
}

impl<'a> Wait<'a> {
    fn begin(driver: &'a Driver, total_ns: fn(&mut Driven) -> &mut u64) -> Self {
        let clock = driver.registry.clock();
        Self {
            clock,
            since_ns: clock.now_ns(),
            driven: &driver.driven,
            total_ns,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waited_ns = self.clock.now_ns().saturating_sub(self.since_ns);
        let mut driven = so_far(self.driven);
        let total_ns = (self.total_ns)(&mut driven);
        *total_ns = total_ns.saturating_add(waited_ns);
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_was_none_is_taken_back() {
        for (last_attempt, started, retries, unnumbered) in [
            (0, false, 0, 0),
            (0, true, 0, 0),
            (7, false, 0, 0),
            (7, true, 1, 0),
            (u16::MAX, false, 0, 0),
            (u16::MAX, true, 1, 1),
        ] {
            let mut driven = Driven::default();
            let attempt = driven.next_attempt(last_attempt);
            assert_eq!(attempt, last_attempt.saturating_add(1));
            driven.no_attempt(started);
            assert_eq!((driven.attempt, driven.attempts), (0, 0));
            assert_eq!((driven.retries, driven.unnumbered), (retries, unnumbered));
        }
    }

    #[test]
    fn numbers_go_on_up_to_the_last_one() {
        let mut driven = Driven::default();
        let numbers = [(); 4].map(|()| driven.next_attempt(65_533));
        assert_eq!(numbers, [65_534, 65_535, 65_535, 65_535]);
        assert_eq!((driven.attempts, driven.retries), (4, 4));
        assert_eq!(driven.unnumbered, 2);
    }
}
