//! [`Limit`]: the time limit of a call by name.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

/// A time limit that has begun.
pub(super) struct Limit {
    pub(super) limit: Duration,
    over: Pin<Box<tokio::time::Sleep>>,
}

impl Limit {
    /// Begins a time limit.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer enabled.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            over: Box::pin(tokio::time::sleep(limit)),
        }
    }

    /// Returns whether the limit is over; else, the task is woken when it is.
    pub(super) fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.over.as_mut().poll(context).is_ready()
    }
}
