//! Which bounded channel the rings and the queues are made of.
//!
//! crossbeam's, and in a model the one of `stand_in.rs`, which opens with what it cannot show.
//! Both have the same names, so the code that uses them is the same.
//!
//! # Orderings
//!
//! The channel's own. Relied upon: a push happens before the reading of a length that counts it,
//! and before the take that returns what it pushed; a take happens before a push into the place
//! that it emptied, if the pusher learnt of the take.

#[cfg(toolmeter_loom)]
mod stand_in;

#[cfg(not(toolmeter_loom))]
pub(crate) use crossbeam_channel::{
    Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded,
};
#[cfg(toolmeter_loom)]
pub(crate) use stand_in::{
    Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded,
};

/// Leaks the receiver's end of the channel: no drop disconnects it, which takes a lock.
#[cfg(not(toolmeter_loom))]
pub(crate) fn leak<T>(receiver: &Receiver<T>) {
    std::mem::forget(receiver.clone());
}

/// Does nothing: a model has one process.
#[cfg(toolmeter_loom)]
pub(crate) fn leak<T>(_: &Receiver<T>) {}
