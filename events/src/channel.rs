//! The channel behind the queue of each subscription.
//!
//! It is crossbeam's channel without a capacity, and in a model the stand-in of `model.rs`, whose
//! head lists what it cannot show. Both have the same names, so the code that uses them is the
//! same.
//!
//! Sending does not wait for a receiver that is half way through taking an element. If receivers
//! are parked, it takes a lock that they hold for a few instructions when they park or wake up.
//!
//! # Orderings
//!
//! The channel's own. The code relies on this: sending an element happens before taking it.

#[cfg(toolmeter_loom)]
mod model;

#[cfg(not(toolmeter_loom))]
pub(crate) use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
#[cfg(toolmeter_loom)]
pub(crate) use model::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};

/// Leaks the receiving end of the channel, so that no drop disconnects it, which takes a lock.
#[cfg(not(toolmeter_loom))]
pub(crate) fn leak<T>(receiver: &Receiver<T>) {
    std::mem::forget(receiver.clone());
}

/// Does nothing: a model does not fork.
#[cfg(toolmeter_loom)]
pub(crate) fn leak<T>(_: &Receiver<T>) {}
