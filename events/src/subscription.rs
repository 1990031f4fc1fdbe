//! The receiver's side of one subscription.
//!
//! Owns [`Subscription`] and the errors of receiving. Promises:
//!
//! - Batches come in the order of the rounds, and each goes to one receiver.
//! - A subscription that nobody reads costs its own events: they are counted as lost once its
//!   queue is full. Nobody waits for it.
//! - Dropped: the gate of the rings is lowered by one, its queue is emptied, and nothing is
//!   delivered to it or counted for it any more.
//! - Its hub closed or dropped: what is in the queue is still received, then every way to receive
//!   says disconnected.
//!
//! # Orderings
//!
//! None of its own: the queue is a channel; leaving goes through the hub's lock; the gate is one
//! word, see `ring.rs`. Model: `gate_and_floors`.

use crate::{
    batch::Batch,
    channel::{self, Receiver},
    ring::Rings,
    subscriber::{self, StatsHandle, Subscribers, SubscriptionStats},
};
use std::{fmt, iter, sync::Weak, time::Duration};
use thiserror::Error;
use toolmeter_core::sync::{self, Mutex};

/// No batch will come any more: the hub is closed and the queue is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no more events: the registry is closed and every batch was received")]
#[non_exhaustive]
pub struct RecvError;

/// Why [`Subscription::try_recv`] has no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No batch waits now.
    #[error("no batch of events waits")]
    Empty,
    /// No batch will come any more.
    #[error("no more events: the registry is closed and every batch was received")]
    Disconnected,
}

/// Why [`Subscription::recv_timeout`] has no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No batch came in time.
    #[error("no batch of events came in time")]
    Timeout,
    /// No batch will come any more.
    #[error("no more events: the registry is closed and every batch was received")]
    Disconnected,
}

/// Receives batches of events. From [`Hub::subscribe`](crate::Hub::subscribe).
///
/// Several threads may receive from one subscription; each batch goes to one of them.
pub struct Subscription {
    queue: Receiver<Batch>,
    arrivals: std::sync::Arc<event_listener::Event>,
    stats: StatsHandle,
    /// What it leaves when it is dropped; `None` if the hub was closed when it began.
    membership: Option<Membership>,
}

/// One subscriber's place in its hub, and its share in keeping the rings' gate open.
pub(crate) struct Membership {
    pub(crate) rings: sync::Arc<Rings>,
    pub(crate) subscribers: Weak<Mutex<Subscribers>>,
    pub(crate) id: u64,
}

impl Subscription {
    pub(crate) fn new(
        queue: Receiver<Batch>,
        arrivals: std::sync::Arc<event_listener::Event>,
        stats: StatsHandle,
        membership: Option<Membership>,
    ) -> Self {
        Self {
            queue,
            arrivals,
            stats,
            membership,
        }
    }

    /// Waits for the next batch.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the hub is closed and every batch was received.
    pub fn recv(&self) -> Result<Batch, RecvError> {
        self.queue.recv().map_err(|_| RecvError)
    }

    /// The next batch, if one is there. Never waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if none waits, [`TryRecvError::Disconnected`] if none will come.
    pub fn try_recv(&self) -> Result<Batch, TryRecvError> {
        self.queue.try_recv().map_err(|error| match error {
            channel::TryRecvError::Empty => TryRecvError::Empty,
            channel::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// Waits for the next batch, but not longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came in time, [`RecvTimeoutError::Disconnected`] if
    /// none will come.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Batch, RecvTimeoutError> {
        self.queue
            .recv_timeout(timeout)
            .map_err(|error| match error {
                channel::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
                channel::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
            })
    }

    /// Waits for the next batch without holding a thread, on any async runtime.
    ///
    /// Safe to drop at any point: a batch is taken from the queue only to be returned.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the hub is closed and every batch was received.
    pub async fn recv_async(&self) -> Result<Batch, RecvError> {
        loop {
            // Listening first: what arrives after this look at the queue wakes the listener.
            let arrival = self.arrivals.listen();
            match self.try_recv() {
                Ok(batch) => return Ok(batch),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => arrival.await,
            }
        }
    }

    /// Batches as they come, waiting for each; it ends when [`recv`](Self::recv) would fail.
    pub fn iter(&self) -> impl Iterator<Item = Batch> + '_ {
        iter::from_fn(|| self.recv().ok())
    }

    /// What became of the events drained so far while it lived.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.stats.read()
    }

    /// A handle that reads [`stats`](Self::stats) also after the subscription was dropped.
    #[must_use]
    pub fn stats_handle(&self) -> StatsHandle {
        self.stats.clone()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(membership) = &self.membership {
            membership.rings.unsubscribed();
            subscriber::remove(&membership.subscribers, membership.id);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("queued_batches", &self.queue.len())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
