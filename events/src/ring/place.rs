//! One place of a ring: empty, locked, or with one event in it.
//!
//! # Invariants
//!
//! - No thread waits. A thread that finds the place locked gives up and reports that.
//! - An event that was put in is taken once, whole.
//! - The drain locks a place only if the hint is set. So a producer finds its place locked only by
//!   another producer, which puts an event in or looks for room, or by the drain, which takes an
//!   event out.
//! - [`Place::take_below`] reports an event that is complete and cannot be taken. A producer of a
//!   later turn of the ring may lock the place for a moment, if it did not see the hint, and find
//!   the event there.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `event` | `try_lock` | the lock's | itself | `a_gap_in_the_numbers_is_a_counted_loss` |
//! | `hint` | all | Relaxed | none: the event is behind the lock | |
//!
//! The hint is seen in time. The drain looks for the start of a call whose end it has seen, through
//! the count of positions or through the lock of the end's place, and the hint of the start was set
//! before that. Only the thread that put the event in sets the hint, after it did so; it is cleared
//! while the place is locked, so never after another event was put in.

use crate::{
    event::Event,
    sync::{Mutex, MutexGuard, Ordering::Relaxed, Word},
};
use std::sync::TryLockError;

/// One place of a ring.
#[derive(Default)]
pub(super) struct Place {
    /// The position of the complete event plus one, or 0 if there is none.
    hint: Word,
    event: Mutex<Option<Event>>,
}

/// The result of [`Place::take_below`].
#[derive(Debug)]
pub(super) enum TakeResult {
    /// The event, with its position.
    Event(u64, Event),
    /// There is no complete event, or its position is not below the limit.
    None,
    /// There is a complete event, and another thread holds the lock.
    Locked,
}

impl Place {
    /// Puts the event of this position in.
    ///
    /// # Errors
    ///
    /// Returns the event if the place is not free.
    #[inline]
    pub(super) fn put(&self, position: u64, event: Event) -> Result<(), Event> {
        if self.is_full() {
            return Err(event);
        }
        let Some(mut place) = self.try_lock().filter(|place| place.is_none()) else {
            return Err(event);
        };
        *place = Some(event);
        drop(place);
        self.hint.store(position + 1, Relaxed);
        Ok(())
    }

    /// Takes the event out, if it is complete and its position is below `end`.
    #[inline]
    pub(super) fn take_below(&self, end: u64) -> TakeResult {
        let hint = self.hint.load(Relaxed);
        if hint == 0 || hint > end {
            return TakeResult::None;
        }
        let Some(mut place) = self.try_lock() else {
            return TakeResult::Locked;
        };
        self.hint.store(0, Relaxed);
        match place.take() {
            Some(event) => TakeResult::Event(hint - 1, event),
            None => TakeResult::None,
        }
    }

    /// Returns whether there is a complete event, according to the hint.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.hint.load(Relaxed) != 0
    }

    #[inline]
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Event>>> {
        match self.event.try_lock() {
            Ok(place) => Some(place),
            Err(TryLockError::Poisoned(place)) => Some(place.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Locks the place, like a thread that is held up half way.
    #[cfg(all(test, not(toolmeter_loom)))]
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Event>> {
        self.try_lock().expect("no thread holds the lock")
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
