//! The delays between the attempts at a call, from the host's backoff.
//!
//! A panic of the host's backoff is contained, even while it is built or dropped, and ends the
//! retries of its call.

use crate::contain::{contained, discard};
use backon::BackoffBuilder;
use std::sync::Arc;
use std::time::Duration;

type Backoff = dyn Iterator<Item = Duration> + Send;

/// The host's backoff, built anew for each call.
pub(super) type NewBackoff = dyn Fn() -> Box<Backoff> + Send + Sync;

/// Returns a closure that builds a backoff for each call.
pub(super) fn new_backoff(builder: impl BackoffBuilder + Clone + 'static) -> Arc<NewBackoff> {
    Arc::new(move || Box::new(builder.clone().build()))
}

/// The delays between the attempts at one call; none if the backoff has ended.
pub(super) struct RetryDelays(Option<Box<Backoff>>);

impl RetryDelays {
    /// Builds the backoff. If that panics, there are no delays.
    pub(super) fn new(new_backoff: Option<&NewBackoff>) -> Self {
        Self(new_backoff.and_then(|new_backoff| contained(new_backoff).ok()))
    }

    /// Returns the next delay; `None` once the backoff has ended or panicked.
    pub(super) fn next(&mut self) -> Option<Duration> {
        let backoff = self.0.as_mut()?;
        let delay = contained(|| backoff.next()).ok().flatten();
        if delay.is_none() {
            discard(self.0.take());
        }
        delay
    }
}

impl Drop for RetryDelays {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}
