//! Tests of the rings on one thread: admitting, losing, taking and counting events, waking the
//! pump.

use super::*;
use crate::id::ToolId;
use std::sync::{Arc, atomic::AtomicU32};

fn started() -> Draft {
    Draft::started(ToolId::new(0), 1, 0, None)
}

fn allocated(stripes: usize, capacity: usize) -> Rings {
    let rings = Rings::new(stripes, capacity).unwrap();
    rings.allocate();
    rings
}

/// Returns all positions that a stripe gave.
fn given(rings: &Rings, stripe: usize) -> Range<u64> {
    let mut entered = Vec::new();
    rings.entered(&mut entered);
    0..entered[stripe]
}

/// Takes and counts the events of a stripe. Returns their tickets.
fn empty(rings: &Rings, stripe: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    rings.take(stripe, given(rings, stripe), |_, event| {
        taken.push(event.number().ticket());
    });
    rings.count_drained(stripe, taken.len() as u64);
    taken
}

#[test]
fn ranges_are_checked_and_named() {
    for stripes in [0, 3, 512, usize::MAX] {
        let error = Rings::new(stripes, 1).unwrap_err();
        let RingsError::Stripes(StripesError { given, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(given, stripes);
        assert!(error.to_string().contains("256"), "{error}");
    }
    for capacity in [0, MAX_CAPACITY + 1] {
        let error = Rings::new(1, capacity).unwrap_err();
        assert_eq!(error, RingsError::Capacity { given: capacity });
        assert!(error.to_string().contains("from 1 to 1,048,576"));
    }
    assert!(Rings::new(256, 1).is_ok() && Rings::new(1, MAX_CAPACITY).is_ok());
}

#[test]
fn before_the_first_subscription_events_are_lost_and_counted() {
    let rings = Rings::new(1, 4).unwrap();
    assert!(!rings.is_open());
    assert_eq!(rings.offer(0, started(), None), CallId::new(0, 0));
    assert_eq!(rings.waiting(), 0);
    let accounting = rings.accounting();
    assert_eq!(
        (accounting.offered, accounting.lost, accounting.drained),
        (1, 1, 0)
    );
}

#[test]
fn a_full_ring_loses_new_events_and_their_numbers_are_missing() {
    let rings = allocated(1, 2);
    for ticket in 0..4 {
        assert_eq!(rings.offer(0, started(), None), CallId::new(0, ticket));
    }
    assert_eq!(empty(&rings, 0), [0, 1]);
    rings.offer(0, started(), None);
    assert_eq!(empty(&rings, 0), [4]);
    let accounting = rings.accounting();
    assert_eq!(
        (accounting.offered, accounting.lost, accounting.drained),
        (5, 2, 3)
    );
}

#[test]
fn a_taken_event_frees_its_place_only_when_counted() {
    let rings = allocated(1, 1);
    rings.offer(0, started(), None);
    let mut taken = 0;
    rings.take(0, given(&rings, 0), |_, _| taken += 1);
    assert_eq!(taken, 1);
    rings.offer(0, started(), None);
    assert_eq!((rings.accounting().lost, rings.waiting()), (1, 0));
    rings.count_drained(0, 1);
    rings.offer(0, started(), None);
    assert_eq!((rings.accounting().lost, rings.waiting()), (1, 1));
}

#[test]
fn any_stripe_number_finds_a_ring() {
    let rings = allocated(2, 4);
    assert_eq!(rings.offer(7, started(), None), CallId::new(1, 0));
    assert_eq!(rings.offer(usize::MAX, started(), None), CallId::new(1, 1));
    assert_eq!(rings.accounting().stripes[1].offered, 2);
}

#[test]
fn an_end_keeps_the_id_of_its_call() {
    let rings = allocated(2, 4);
    let call = rings.offer(1, started(), None);
    assert_eq!(rings.offer(0, started(), Some(call)), call);
    let mut calls = Vec::new();
    rings.take(0, given(&rings, 0), |_, event| calls.push(event.call()));
    assert_eq!(calls, [call]);
}

#[test]
fn closed_rings_take_nothing_more() {
    let rings = allocated(1, 4);
    rings.offer(0, started(), None);
    rings.close();
    assert_eq!(rings.offer(0, started(), None), CallId::new(0, 1));
    let first = rings.first_tickets();
    assert_eq!((first[0].ends, first[0].starts), (2, 2));
    assert_eq!(empty(&rings, 0), [0]);
    assert!(rings.is_settled());
    rings.seal();
    rings.offer(0, started(), None);
    let accounting = rings.accounting();
    assert_eq!(
        (accounting.offered, accounting.lost, accounting.drained),
        (3, 2, 1)
    );
}

#[test]
fn what_was_not_drained_before_the_seal_is_lost() {
    let rings = allocated(1, 4);
    rings.offer(0, started(), None);
    rings.close();
    assert!(!rings.is_settled());
    rings.seal();
    let accounting = rings.accounting();
    assert_eq!(
        (accounting.offered, accounting.lost, accounting.drained),
        (1, 1, 0)
    );
}

#[test]
fn only_the_first_offer_wakes_a_sleeping_pump() {
    let rings = allocated(2, 4);
    let woken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&woken);
    assert!(rings.set_waker(move || {
        counter.fetch_add(1, Relaxed);
    }));
    assert!(!rings.set_waker(|| {}));

    rings.offer(0, started(), None);
    assert!(!rings.fall_asleep(), "an event waits");
    empty(&rings, 0);
    assert!(rings.fall_asleep());
    rings.offer(1, started(), None);
    rings.offer(0, started(), None);
    assert_eq!(woken.load(Relaxed), 1);
    empty(&rings, 0);
    empty(&rings, 1);
    assert!(rings.fall_asleep());
    rings.stay_awake();
    rings.offer(1, started(), None);
    assert_eq!(woken.load(Relaxed), 1);
}

#[test]
fn closed_rings_let_the_pump_sleep() {
    let rings = allocated(1, 4);
    rings.offer(0, started(), None);
    empty(&rings, 0);
    rings.close();
    assert!(rings.fall_asleep());
    rings.seal();
    assert!(rings.fall_asleep());
}

/// A producer is held up with its event half put. The events of others are drained; in each turn of
/// the ring, the event that comes to that place is lost, and no other.
#[test]
fn an_event_that_is_half_put_costs_its_place_alone() {
    let rings = allocated(1, 4);
    rings.offer(0, started(), None);
    let (held_up, go_on) = rings.half_put(0, started());
    rings.offer(0, started(), None);
    assert_eq!(empty(&rings, 0), [0, 2]);
    for _ in 0..3 {
        rings.offer(0, started(), None);
    }
    assert_eq!(empty(&rings, 0), [3, 4]);
    let accounting = rings.accounting();
    assert_eq!(
        (accounting.offered, accounting.lost, accounting.drained),
        (6, 1, 4)
    );
    assert!(!rings.fall_asleep() && rings.settled(0).is_none());
    drop(held_up);
    assert!(go_on());
    assert_eq!(empty(&rings, 0), [1]);
    assert_eq!(rings.settled(0), Some(6));
}

/// Losses take no position: an event that is admitted finds its place free, wherever the drain is.
#[test]
fn there_is_room_for_as_many_as_were_counted() {
    let rings = allocated(1, 4);
    let offer = |times| {
        for _ in 0..times {
            rings.offer(0, started(), None);
        }
    };
    offer(2);
    rings.take(0, given(&rings, 0), |_, _| {});
    offer(4);
    assert_eq!((rings.accounting().lost, rings.waiting()), (2, 2));
    rings.count_drained(0, 2);
    offer(2);
    assert_eq!((rings.accounting().lost, rings.waiting()), (2, 4));
    assert_eq!(empty(&rings, 0), [2, 3, 6, 7]);
}

#[test]
fn what_entered_after_the_look_stays() {
    let rings = allocated(1, 1);
    rings.offer(0, started(), None);
    let looked = given(&rings, 0);
    assert_eq!(empty(&rings, 0), [0]);
    rings.offer(0, started(), None);
    let later = |_, _| panic!("a later event");
    assert_eq!(rings.take(0, looked, later).first, 0);
    assert_eq!(empty(&rings, 0), [1]);
}

#[test]
fn the_first_position_without_an_event_is_returned() {
    let rings = allocated(1, 4);
    let first_skipped = |positions| rings.take(0, positions, |_, _| {}).first;
    assert_eq!(first_skipped(0..0), 0);
    for _ in 0..4 {
        rings.offer(0, started(), None);
    }
    assert_eq!(first_skipped(1..3), 3);
    assert_eq!(first_skipped(0..4), 1);
    // If there are more positions than places, only the last ones are visited.
    assert_eq!(first_skipped(0..9), 5);
}
