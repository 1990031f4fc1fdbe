//! The mark of a sleeping pump, and how an offer wakes it.
//!
//! Owns one flag and one waker. The pump sets the flag before it sleeps; the offer that sees it
//! takes it, so that of many offers one alone pays for the waking. That no wake-up is lost is
//! shown where the flag meets the ticket words, at the top of `ring.rs`.
//!
//! Every write of the flag is a read-modify-write, so that its writes follow each other in one
//! order that needs no derivation. (Plain stores by the pump would do: an offer's `swap` comes
//! right after the store that it read, hence before the pump's next one. loom does not draw that
//! conclusion, and reports a wake-up lost where none is.)
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

/// What is called to wake the pump.
pub(crate) type Waker = Box<dyn Fn() + Send + Sync>;

/// Whether the pump sleeps, and how to wake it.
#[derive(Default)]
pub(crate) struct PumpWaker {
    asleep: AtomicBool,
    waker: OnceLock<Waker>,
}

/// A waker that panics leaves nothing half done: the mark was taken before it is called, and the
/// event was in its ring before that.
impl UnwindSafe for PumpWaker {}
impl RefUnwindSafe for PumpWaker {}

impl PumpWaker {
    /// Keeps the waker; false if there is one already.
    pub(crate) fn set_waker(&self, waker: Waker) -> bool {
        self.waker.set(waker).is_ok()
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.asleep.load(Relaxed)
    }

    pub(crate) fn set(&self) {
        self.asleep.swap(true, Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.asleep.swap(false, Relaxed);
    }

    /// Takes the mark and, if it was there to take, wakes the pump.
    #[cold]
    pub(crate) fn wake(&self) {
        if self.asleep.swap(false, Relaxed)
            && let Some(waker) = self.waker.get()
        {
            // The offer is a call of some tool, and the waker is not of its making.
            contained(waker);
        }
    }
}
