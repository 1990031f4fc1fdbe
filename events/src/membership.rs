//! The membership of a subscription in its hub, which ends when the subscription is dropped.
//!
//! Invariant: dropped in a forked child of the process that created it, a subscription waits for
//! nothing. A fork copies locks in their current state, and none of the threads that would release
//! them. So a forked child takes neither the hub's lock nor a lock of the queue: the
//! subscriber in the copy of the hub, and the copy of the queue, are leaked. The count of
//! subscriptions is lowered, which is one atomic operation.
//!
//! # Orderings
//!
//! None of its own: leaving takes the hub's lock, and the count of subscriptions is in `ring.rs`.

use crate::{
    ring::Rings,
    subscriber::{self, Subscribers},
    sync::{Arc, Mutex},
};
use std::sync::Weak;

/// The membership of one subscription in its hub.
pub(crate) struct Membership {
    rings: Arc<Rings>,
    subscribers: Weak<Mutex<Subscribers>>,
    /// The subscriber's id in the list.
    id: u64,
    /// The process that created the subscription.
    pub(crate) process: u32,
}

impl Membership {
    /// Creates the membership of the subscriber with this id, which the rings have counted.
    pub(crate) fn new(rings: &Arc<Rings>, subscribers: Weak<Mutex<Subscribers>>, id: u64) -> Self {
        Self {
            rings: Arc::clone(rings),
            subscribers,
            id,
            process: current_process(),
        }
    }

    /// Returns whether this process was forked since the subscription was created.
    pub(crate) fn is_forked(&self) -> bool {
        self.process != current_process()
    }

    /// Ends the membership. A forked child leaves the subscriber in its copy of the hub.
    pub(crate) fn leave(&self) {
        self.rings.unsubscribed();
        if !self.is_forked() {
            subscriber::remove(&self.subscribers, self.id);
        }
    }
}

/// Returns the id of this process, where a process can fork.
#[cfg(all(unix, not(toolmeter_loom)))]
fn current_process() -> u32 {
    std::process::id()
}

/// Returns the same number on every call: without fork there is one process.
#[cfg(not(all(unix, not(toolmeter_loom))))]
const fn current_process() -> u32 {
    0
}
