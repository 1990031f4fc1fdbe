//! One place of a ring: empty, held, or with one event in it.
//!
//! Promises:
//!
//! - No thread waits. One that finds the place held by another gives up, and is told.
//! - The drain holds a place only when its event is complete. So a producer finds its place held
//!   only by one that is half way through putting an event in, or through taking one out.
//! - What was put in is taken once, whole.
//! - The drain is told when an event is complete and cannot be taken. A producer of a later turn of
//!   the ring may hold the place for a moment, just to find the event there, where the hint was not
//!   set when it looked.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `event` | `try_lock` | the lock's | itself | `a_gap_in_the_numbers_is_a_counted_loss` |
//! | `holds` | all | Relaxed | a hint; the lock has the event | |
//!
//! That the hint is seen in time: the drain looks for the start of a call whose end it has seen,
//! through the count of positions or through the lock of the end's place, and the hint of the start
//! was set before that. It is set only by the thread that put the event in, after it did so, and
//! cleared while the place is held, so never after another event was put in.

use crate::{
    event::Event,
    sync::{Mutex, MutexGuard, Ordering::Relaxed, Word},
};
use std::sync::TryLockError;

#[derive(Default)]
pub(crate) struct Place {
    /// One more than the position of the event that is complete here, or 0.
    holds: Word,
    event: Mutex<Option<Event>>,
}

/// What the drain finds in a place.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The event, with its position.
    Event(u64, Event),
    /// No event that is complete, or one of a later position.
    None,
    /// An event that is complete, behind another thread's look.
    Hidden,
}

impl Place {
    /// Puts the event of this position in; gives it back if the place is not free.
    #[inline]
    pub(crate) fn put(&self, position: u64, event: Event) -> Result<(), Event> {
        if self.is_full() {
            return Err(event);
        }
        let Some(mut place) = self.try_hold().filter(|place| place.is_none()) else {
            return Err(event);
        };
        *place = Some(event);
        drop(place);
        self.holds.store(position + 1, Relaxed);
        Ok(())
    }

    /// Takes the event out with its position, if it is complete and its position is below `end`.
    #[inline]
    pub(crate) fn take_below(&self, end: u64) -> Taken {
        let holds = self.holds.load(Relaxed);
        if holds == 0 || holds > end {
            return Taken::None;
        }
        let Some(mut place) = self.try_hold() else {
            return Taken::Hidden;
        };
        self.holds.store(0, Relaxed);
        match place.take() {
            Some(event) => Taken::Event(holds - 1, event),
            None => Taken::None,
        }
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.holds.load(Relaxed) != 0
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
        self.try_hold().expect("no thread holds it")
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

    fn position(taken: &Taken) -> Option<u64> {
        match taken {
            Taken::Event(position, _) => Some(*position),
            Taken::None => None,
            Taken::Hidden => panic!("no thread holds it"),
        }
    }

    #[test]
    fn it_has_room_for_one_event() {
        let place = Place::default();
        assert_eq!(position(&place.take_below(9)), None);
        assert!(place.put(0, event()).is_ok());
        assert!(place.put(4, event()).is_err() && place.is_full());
        assert_eq!(position(&place.take_below(9)), Some(0));
        assert_eq!(position(&place.take_below(9)), None);
    }

    #[test]
    fn the_event_of_a_later_position_stays() {
        let place = Place::default();
        assert!(place.put(4, event()).is_ok());
        assert_eq!(position(&place.take_below(4)), None);
        assert!(place.is_full());
        assert_eq!(position(&place.take_below(5)), Some(4));
        assert!(!place.is_full());
    }

    #[test]
    fn a_thread_that_finds_it_held_gives_up() {
        let place = Place::default();
        let held = place.hold();
        assert!(place.put(0, event()).is_err());
        assert_eq!(position(&place.take_below(9)), None);
        drop(held);
        assert!(place.put(0, event()).is_ok());
        let held = place.hold();
        assert!(place.put(4, event()).is_err());
        assert!(matches!(place.take_below(9), Taken::Hidden));
        drop(held);
        assert_eq!(position(&place.take_below(9)), Some(0));
    }
}
