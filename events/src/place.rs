//! One place of a ring: empty, held, or with one event in it.
//!
//! Promises:
//!
//! - Nobody waits. Who finds the place held by another gives up, and is told.
//! - The drain holds a place only when its event is complete. So a producer finds its place held
//!   only by one that is half way through putting an event in, or through taking one out.
//! - What was put in is taken once, whole.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `event` | `try_lock` | the lock's | itself | `a_gap_in_the_numbers_is_a_counted_loss` |
//! | `full` | all | Relaxed | a hint; the lock has the event | |
//!
//! That the hint is seen in time: the drain looks for the start of a call whose end it has seen,
//! through a ticket or through the lock of the end's place, and the hint of the start was set before
//! that. It is cleared while the place is held, so never after another event was put in.

use crate::{
    event::Event,
    sync::{AtomicBool, Mutex, MutexGuard, Ordering::Relaxed},
};
use std::sync::TryLockError;

#[derive(Default)]
pub(crate) struct Place {
    /// The event is complete.
    full: AtomicBool,
    event: Mutex<Option<Event>>,
}

impl Place {
    /// Puts an event in; gives it back if the place is not free.
    #[inline]
    pub(crate) fn put(&self, event: Event) -> Result<(), Event> {
        let Some(mut place) = self.try_hold().filter(|place| place.is_none()) else {
            return Err(event);
        };
        *place = Some(event);
        drop(place);
        self.full.store(true, Relaxed);
        Ok(())
    }

    /// Takes the event out, if it is complete.
    #[inline]
    pub(crate) fn take(&self) -> Option<Event> {
        if !self.is_full() {
            return None;
        }
        let mut place = self.try_hold()?;
        self.full.store(false, Relaxed);
        place.take()
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    #[inline]
    fn try_hold(&self) -> Option<MutexGuard<'_, Option<Event>>> {
        match self.event.try_lock() {
            Ok(place) => Some(place),
            Err(TryLockError::Poisoned(place)) => Some(place.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Holds the place, as one that is half way through does.
    #[cfg(all(test, not(toolmeter_loom)))]
    pub(crate) fn hold(&self) -> MutexGuard<'_, Option<Event>> {
        self.try_hold().expect("nobody holds it")
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use crate::{
        event::Draft,
        id::{CallId, EventNumber, ToolId},
    };

    fn event() -> Event {
        let draft = Draft::started(ToolId::new(0), 1, 0, None);
        draft.into_event(EventNumber::new(0, 0), CallId::new(0, 0))
    }

    #[test]
    fn it_has_room_for_one_event() {
        let place = Place::default();
        assert!(place.take().is_none());
        assert!(place.put(event()).is_ok());
        assert!(place.put(event()).is_err() && place.is_full());
        assert!(place.take().is_some() && place.take().is_none());
    }

    #[test]
    fn whoever_finds_it_held_gives_up() {
        let place = Place::default();
        let held = place.hold();
        assert!(place.put(event()).is_err() && place.take().is_none());
        drop(held);
        assert!(place.put(event()).is_ok());
        let held = place.hold();
        assert!(place.put(event()).is_err() && place.take().is_none());
        drop(held);
        assert!(place.take().is_some());
    }
}
