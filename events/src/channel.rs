//! Which bounded channel the rings and the queues are made of.
//!
//! crossbeam's, and in a model the stand-in of `toolmeter_core::stand_in`, which opens with what
//! it cannot show. Both have the same names, so the code that uses them is the same.
//!
//! # Orderings
//!
//! The channel's own. Relied upon: a push happens before the reading of a length that counts it,
//! and before the take that returns what it pushed; a take happens before a push into the place
//! that it emptied, if the pusher learnt of the take.

#[cfg(not(toolmeter_loom))]
pub(crate) use crossbeam_channel::{
    Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded,
};
#[cfg(toolmeter_loom)]
pub(crate) use toolmeter_core::stand_in::{
    Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded,
};
