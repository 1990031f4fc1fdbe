//! [`CallProgress`]: the attempts and waits of a call, even while it is under way.
//!
//! It lies outside of the call's task, which updates it before each attempt and after each wait. So
//! nothing is lost if the task panics or is dropped with its runtime.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The progress of a call, shared with its task.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedProgress(Arc<Mutex<CallProgress>>);

impl SharedProgress {
    /// Locks the progress. No code of the host runs under this lock.
    pub(super) fn lock(&self) -> MutexGuard<'_, CallProgress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempts and waits of a call so far.
#[derive(Debug, Default)]
pub(super) struct CallProgress {
    /// Attempts above the first of their call.
    pub(super) retries: u64,
    /// Attempts above the 65,535th of their call.
    pub(super) unnumbered: u64,
    pub(super) approval_wait_ns: u64,
    pub(super) permit_wait_ns: u64,
    /// The number of the last attempt, or 0.
    pub(super) attempt: u16,
    /// The number of attempts in this turn.
    pub(super) attempts: u64,
    /// The value of `attempt` before the last attempt.
    attempt_before: u16,
    /// The number of the attempt that the last one follows, or 0. The first attempt of a turn follows
    /// one of an earlier turn.
    follows: u16,
}

impl CallProgress {
    /// Counts the attempt that is about to begin and returns its number. `last_attempt` is the
    /// number from an earlier turn that the first attempt follows, or 0.
    pub(super) fn next_attempt(&mut self, last_attempt: u16) -> u16 {
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

    /// Takes back the last attempt, which was rejected. If it had started, it still counts as a retry,
    /// as it does in the registry.
    pub(super) fn retract_attempt(&mut self, started: bool) {
        if !started {
            self.retries -= u64::from(self.follows > 0);
            self.unnumbered -= u64::from(self.follows == u16::MAX);
        }
        self.attempts -= 1;
        self.attempt = self.attempt_before;
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
