//! The mark that the pump sleeps, and the function that wakes it.
//!
//! The pump sets the mark before it sleeps. The offer that takes the mark wakes the pump, so that
//! only one of many offers pays for it. The head of `ring.rs` proves that no wake-up is lost.
//!
//! Every write of the mark is a read-modify-write, so that its writes follow each other in one
//! order that needs no proof. (Plain stores by the pump would do: an offer's `swap` comes right
//! after the store that it read, hence before the pump's next one. loom does not draw that
//! conclusion, and reports a lost wake-up that cannot happen.)
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `asleep` | `swap`, by the pump | Relaxed | carried by the ticket words, see `ring.rs` | `no_wake_up_is_lost` |
//! | `asleep` | `load`, `swap`, by an offer | Relaxed | the same | `no_wake_up_is_lost` |
//! | `waker` | `OnceLock` | its own | set before the first sleep | |

use crate::{
    contain::contained,
    sync::{AtomicBool, Ordering::Relaxed},
};
use std::{
    panic::{RefUnwindSafe, UnwindSafe},
    sync::OnceLock,
};

/// A function that wakes the pump.
pub(crate) type Waker = Box<dyn Fn() + Send + Sync>;

/// The mark that the pump sleeps, and the function that wakes it.
#[derive(Default)]
pub(crate) struct PumpWaker {
    asleep: AtomicBool,
    waker: OnceLock<Waker>,
}

/// A waker that panics leaves nothing half done: the mark is taken before it is called, and the
/// event is in its ring before that.
impl UnwindSafe for PumpWaker {}
impl RefUnwindSafe for PumpWaker {}

impl PumpWaker {
    /// Sets the waker. Returns `false` if one is set already.
    pub(crate) fn set_waker(&self, waker: Waker) -> bool {
        self.waker.set(waker).is_ok()
    }

    /// Returns whether the pump is marked asleep.
    #[inline]
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Relaxed)
    }

    /// Marks the pump asleep.
    pub(crate) fn mark_asleep(&self) {
        self.asleep.swap(true, Relaxed);
    }

    /// Marks the pump awake.
    pub(crate) fn mark_awake(&self) {
        self.asleep.swap(false, Relaxed);
    }

    /// Marks the pump awake and, if it was marked asleep, wakes it.
    #[cold]
    pub(crate) fn wake(&self) {
        if self.asleep.swap(false, Relaxed)
            && let Some(waker) = self.waker.get()
        {
            // The offer belongs to some call, which must not suffer from a waker that panics.
            contained(waker);
        }
    }
}
