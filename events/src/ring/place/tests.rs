//! Tests of a place on one thread: putting, taking, and finding it locked.

use super::*;
use crate::{
    event::Draft,
    id::{CallId, EventNumber, ToolId},
};

fn event() -> Event {
    let draft = Draft::started(ToolId::new(0), 1, 0, None);
    draft.into_event(EventNumber::new(0, 0), CallId::new(0, 0))
}

fn position(taken: &TakeResult) -> Option<u64> {
    match taken {
        TakeResult::Event(position, _) => Some(*position),
        TakeResult::None => None,
        TakeResult::Locked => panic!("no thread holds the lock"),
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
fn a_thread_that_finds_it_locked_gives_up() {
    let place = Place::default();
    let locked = place.lock();
    assert!(place.put(0, event()).is_err());
    assert_eq!(position(&place.take_below(9)), None);
    drop(locked);
    assert!(place.put(0, event()).is_ok());
    let locked = place.lock();
    assert!(place.put(4, event()).is_err());
    assert!(matches!(place.take_below(9), TakeResult::Locked));
    drop(locked);
    assert_eq!(position(&place.take_below(9)), Some(0));
}
