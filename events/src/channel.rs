//! Which channel the queues are made of.
//!
//! crossbeam's without a capacity, and in a model the one of `model.rs`, which opens with what it
//! cannot show. Both have the same names, so the code that uses them is the same.
//!
//! Sending waits for no receiver that is half way through taking an element. Where receivers are
//! parked, it takes a lock that they hold for some instructions when they go to sleep or get up.
//!
//! # Orderings
//!
//! The channel's own. Relied upon: sending an element happens before taking it.

#[cfg(toolmeter_loom)]
mod model;

#[cfg(not(toolmeter_loom))]
pub(crate) use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
#[cfg(toolmeter_loom)]
pub(crate) use model::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};

/// Leaks the receiver's end of the channel: no drop disconnects it, which takes a lock.
#[cfg(not(toolmeter_loom))]
pub(crate) fn leak<T>(receiver: &Receiver<T>) {
    std::mem::forget(receiver.clone());
}

/// Does nothing: a model has one process.
#[cfg(toolmeter_loom)]
pub(crate) fn leak<T>(_: &Receiver<T>) {}
