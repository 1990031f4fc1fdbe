//! Tests of the drain on one thread: the events that a round delivers, holds and counts, whatever
//! the clock reads.

use super::*;
use crate::{event::Draft, id::CallId};
use toolmeter_core::{Finish, Outcome};

const TOOL: ToolId = ToolId::new(3);

fn drain(stripes: usize, hold_back_ns: u64) -> (Arc<Rings>, Drain) {
    let rings = Arc::new(Rings::new(stripes, 8).unwrap());
    rings.allocate();
    let drain = Drain::new(&rings, hold_back_ns);
    (rings, drain)
}

fn start(rings: &Rings, stripe: usize, at_ns: u64) -> CallId {
    rings.offer(stripe, Draft::started(TOOL, 1, at_ns, None), None)
}

fn end(rings: &Rings, stripe: usize, began_ns: u64, latency_ns: u64, call: CallId) {
    let finish = Finish::new(Outcome::Success, 1, began_ns, latency_ns);
    rings.offer(stripe, Draft::closing(TOOL, finish, None, None), Some(call));
}

fn times(round: &Round) -> Vec<u64> {
    round.events.iter().map(Event::time_ns).collect()
}

#[test]
fn stripes_merge_by_time() {
    let (rings, mut drain) = drain(2, 0);
    start(&rings, 1, 30);
    start(&rings, 0, 20);
    start(&rings, 1, 40);
    start(&rings, 0, 10);
    let round = drain.round(|| 100);
    assert_eq!((times(&round), round.late), (vec![10, 20, 30, 40], 0));
    assert_eq!(rings.accounting().drained, 4);
    assert!(drain.round(|| 100).events.is_empty());
}

#[test]
fn at_the_same_time_a_start_comes_before_its_end() {
    let (rings, mut drain) = drain(2, 0);
    let call = start(&rings, 1, 10);
    end(&rings, 0, 10, 0, call);
    let round = drain.round(|| 10);
    assert_eq!(round.events[0].kind(), EventKind::Started);
    assert_eq!(round.events[1].kind(), EventKind::Succeeded);
}

#[test]
fn young_events_are_held_and_counted() {
    let (rings, mut drain) = drain(1, 50);
    assert!(
        drain.round(|| 10).events.is_empty(),
        "the clock is younger than the hold-back"
    );
    start(&rings, 0, 100);
    start(&rings, 0, 151);
    assert_eq!(times(&drain.round(|| 200)), [100]);
    assert_eq!(
        (drain.held(), drain.holds(TOOL), drain.holds(ToolId::new(9))),
        (1, true, false)
    );
    assert_eq!(
        rings.accounting().drained,
        2,
        "held events no longer take places"
    );
    assert_eq!(times(&drain.round(|| 201)), [151]);
    assert_eq!((drain.held(), drain.holds(TOOL)), (0, false));
}

#[test]
fn an_end_that_came_between_the_two_readings_waits_for_its_start() {
    let (rings, mut drain) = drain(2, 0);
    let call_between = || {
        let call = start(&rings, 0, 5);
        end(&rings, 1, 5, 5, call);
    };
    let first = drain.round_with_hooks(|| 100, call_between, || {});
    assert_eq!(first.events[0].kind(), EventKind::Started);
    assert_eq!((first.events.len(), drain.held()), (1, 1));
    let second = drain.round(|| 100);
    assert_eq!(second.events[0].kind(), EventKind::Succeeded);
    assert_eq!((second.events.len(), second.late, drain.held()), (1, 0, 0));
}

/// A producer that finds no room holds the lock of a start's place when the drain comes to it.
#[test]
fn while_a_start_is_locked_no_end_is_delivered() {
    let (rings, mut drain) = drain(2, 0);
    let earlier = start(&rings, 1, 3);
    assert_eq!(times(&drain.round(|| 100)), [3]);
    let call = start(&rings, 0, 5);
    end(&rings, 1, 5, 5, call);
    end(&rings, 1, 3, 4, earlier);
    start(&rings, 1, 6);
    let locked = rings.lock_place(0, 0);
    for _ in 0..2 * MAX_ROUNDS {
        let kinds: Vec<_> = drain.round(|| 100).events.iter().map(Event::kind).collect();
        assert!(
            kinds.iter().all(|kind| *kind == EventKind::Started),
            "{kinds:?}"
        );
    }
    assert!(!drain.fall_asleep());
    drop(locked);
    let round = drain.round(|| 100);
    assert_eq!(times(&round), [5, 7, 10]);
    assert!(drain.fall_asleep());
}

#[test]
fn it_does_not_fall_asleep_over_what_it_holds() {
    let (rings, mut drain) = drain(1, 50);
    assert!(drain.fall_asleep());
    rings.stay_awake();
    start(&rings, 0, 100);
    assert!(!drain.fall_asleep(), "an event is in the ring");
    assert!(drain.round(|| 120).events.is_empty());
    assert!(!drain.fall_asleep(), "an event is held");
    assert_eq!(drain.round(|| 150).events.len(), 1);
    assert!(drain.fall_asleep());
}

#[test]
fn late_events_are_delivered_and_counted() {
    let (rings, mut drain) = drain(1, 0);
    start(&rings, 0, 100);
    drain.round(|| 100);
    start(&rings, 0, 90);
    start(&rings, 0, 100);
    start(&rings, 0, 110);
    let round = drain.round(|| 200);
    assert_eq!((times(&round), round.late), (vec![90, 100, 110], 1));
}

#[test]
fn the_hook_runs_between_taking_and_counting() {
    let (rings, mut drain) = drain(2, 0);
    start(&rings, 0, 1);
    let mut seen = Vec::new();
    drain.round_with_hook(
        || 10,
        || seen.push((rings.waiting(), rings.accounting().drained)),
    );
    assert_eq!(seen, [(0, 0)]);
}

#[test]
fn the_last_round_delivers_all_and_then_nothing() {
    let (rings, mut drain) = drain(2, 50);
    start(&rings, 0, 980);
    start(&rings, 1, 900);
    assert!(drain.round(|| 940).events.is_empty());
    start(&rings, 1, 950);
    let round = drain.finish(|| panic!("nothing is on its way"));
    assert_eq!(times(&round), [900, 950, 980]);
    start(&rings, 1, 960);
    assert!(drain.round(|| 10_000).events.is_empty());
    assert!(drain.finish(|| true).events.is_empty());
    let accounting = rings.accounting();
    assert_eq!(
        (accounting.offered, accounting.lost, accounting.drained),
        (4, 1, 3)
    );
}

#[test]
fn a_round_passes_over_what_is_half_put() {
    let (rings, mut drain) = drain(2, 0);
    start(&rings, 0, 10);
    let (held_up, go_on) = rings.half_put(0, Draft::started(TOOL, 1, 20, None));
    let call = start(&rings, 0, 30);
    end(&rings, 1, 30, 10, call);
    assert_eq!(times(&drain.round(|| 100)), [10, 30, 40]);
    assert!(drain.round(|| 100).events.is_empty());
    assert!(!drain.fall_asleep(), "an event is under way");
    // More events than there are places, in several rounds.
    for _ in 0..5 {
        for _ in 0..4 {
            start(&rings, 0, 50);
        }
        drain.round(|| 100);
    }
    drop(held_up);
    assert!(go_on());
    let round = drain.round(|| 100);
    assert_eq!((times(&round), round.late), (vec![20], 1));
    assert!(drain.fall_asleep());
    let accounting = rings.accounting();
    assert_eq!(
        accounting.offered,
        accounting.lost + accounting.drained,
        "{accounting:?}"
    );
    // Its place is one of eight: of the 20 later events, two came to it.
    assert_eq!(accounting.lost, 2);
}

#[test]
fn the_last_round_ends_over_what_is_half_put() {
    let (rings, mut drain) = drain(2, 0);
    let (held_up, go_on) = rings.half_put(0, Draft::started(TOOL, 1, 10, None));
    start(&rings, 0, 20);
    start(&rings, 1, 30);
    let mut passes = 0;
    let round = drain.finish(|| {
        passes += 1;
        passes == 3
    });
    assert_eq!((times(&round), passes), (vec![20, 30], 3));
    for _ in 0..2 {
        let accounting = rings.accounting();
        assert_eq!(
            (accounting.offered, accounting.lost, accounting.drained),
            (3, 1, 2)
        );
    }
    drop(held_up);
    assert!(go_on(), "it goes on, however late");
    assert!(drain.round(|| 100).events.is_empty());
    assert_eq!(rings.accounting().lost, 1);
}

#[test]
fn the_last_round_waits_for_what_is_half_put_while_it_may() {
    let (rings, mut drain) = drain(1, 0);
    let (held_up, go_on) = rings.half_put(0, Draft::started(TOOL, 1, 10, None));
    let mut going_on = Some((held_up, go_on));
    let round = drain.finish(|| {
        if let Some((held_up, go_on)) = going_on.take() {
            drop(held_up);
            assert!(go_on());
        }
        false
    });
    assert_eq!((times(&round), rings.accounting().lost), (vec![10], 0));
}

#[test]
fn a_burst_of_held_events_does_not_keep_its_memory() {
    let rings = Arc::new(Rings::new(1, 1 << 14).unwrap());
    rings.allocate();
    let mut drain = Drain::new(&rings, 1_000);
    for _ in 0..1 << 14 {
        start(&rings, 0, 100);
    }
    assert!(drain.round(|| 1).events.is_empty());
    assert_eq!(drain.round(|| 1_100).events.len(), 1 << 14);
    assert!(drain.held.capacity() <= KEPT_CAPACITY);
}

#[test]
fn what_comes_after_the_second_reading_waits_for_the_next_round() {
    let (rings, mut drain) = drain(2, 0);
    start(&rings, 0, 1);
    start(&rings, 1, 2);
    let first = drain.round_with_hook(
        || 10,
        || {
            start(&rings, 1, 3);
        },
    );
    assert_eq!((times(&first), rings.waiting()), (vec![1, 2], 2));
    assert_eq!(times(&drain.round(|| 10)), [3, 3]);
}

/// Does a round at each of these times. Returns how many events each of them delivered.
fn delivered(drain: &mut Drain, times_ns: impl IntoIterator<Item = u64>) -> Vec<usize> {
    let round = |now_ns| drain.round(|| now_ns).events.len();
    times_ns.into_iter().map(round).collect()
}

#[test]
fn a_clock_that_steps_backwards_holds_nothing() {
    const SECOND: u64 = 1_000_000_000;
    let rings = Arc::new(Rings::new(2, 256).unwrap());
    rings.allocate();
    let mut drain = Drain::new(&rings, 50_000);
    for time in 0..100 {
        let call = start(&rings, 0, 100 * SECOND + time);
        end(&rings, 1, 100 * SECOND + time, 1_000, call);
    }
    // Young by the clock before its step, in the future after it.
    assert_eq!(delivered(&mut drain, [100 * SECOND]), [0]);
    assert_eq!(drain.held(), 200);
    let round = drain.round(|| SECOND);
    assert_eq!((round.events.len(), drain.held()), (200, 0));
    assert!(round.events.is_sorted_by_key(Event::time_ns));
    assert!(drain.fall_asleep());
    rings.stay_awake();
    // Events with times of the new clock are late, and are held and delivered as before.
    start(&rings, 0, SECOND);
    assert_eq!(delivered(&mut drain, [SECOND, SECOND + 50_000]), [0, 1]);
    let accounting = rings.accounting();
    assert_eq!((accounting.drained, accounting.lost), (201, 0));
    assert!(drain.fall_asleep());
}

#[test]
fn an_end_in_the_future_does_not_overtake_its_start() {
    for end_first in [false, true] {
        let (rings, mut drain) = drain(2, 50);
        let stripes = if end_first { [1, 0] } else { [0, 1] };
        let call = start(&rings, stripes[0], 100);
        end(&rings, stripes[1], 100, 900, call);
        // By this clock the start is young, and the end is far in the future.
        let kinds: Vec<_> = drain.round(|| 120).events.iter().map(Event::kind).collect();
        assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
    }
}

#[test]
fn an_end_that_is_not_eligible_is_held_and_releases_no_others() {
    let (rings, mut drain) = drain(2, 50);
    let call_between = || {
        let call = start(&rings, 0, 100);
        end(&rings, 1, 100, 900, call);
    };
    let first = drain.round_with_hooks(|| 120, call_between, || {});
    assert_eq!((first.events.len(), drain.held()), (0, 2));
    let kinds: Vec<_> = drain.round(|| 120).events.iter().map(Event::kind).collect();
    assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
}

#[test]
fn what_is_offered_while_the_round_looks_is_held() {
    let (rings, mut drain) = drain(1, 50);
    start(&rings, 0, 90);
    start(&rings, 0, 101);
    start(&rings, 0, 150);
    assert_eq!(delivered(&mut drain, [100]), [0], "a right clock");
    start(&rings, 0, 151);
    assert_eq!(
        delivered(&mut drain, [100]),
        [4],
        "ahead by more than the hold-back"
    );
}

/// Asserts that an event is held in the round that takes it and in 63 more, and is then delivered.
fn assert_held_for_64_rounds(drain: &mut Drain, times_ns: impl Fn(u64) -> u64) {
    let rounds = u64::from(MAX_ROUNDS);
    let mut expected = vec![0; MAX_ROUNDS as usize];
    expected.push(1);
    assert_eq!(delivered(drain, (0..=rounds).map(times_ns)), expected);
    assert!(drain.fall_asleep());
}

#[test]
fn a_clock_that_stands_still_holds_nothing_for_ever() {
    let (rings, mut drain) = drain(1, 50);
    start(&rings, 0, 100);
    assert_held_for_64_rounds(&mut drain, |_| 100);
    rings.stay_awake();
    start(&rings, 0, 100);
    assert_held_for_64_rounds(&mut drain, |_| 100);
}

#[test]
fn a_clock_that_begins_below_the_hold_back_holds_nothing_for_ever() {
    let (rings, mut drain) = drain(1, 1_000_000);
    start(&rings, 0, 0);
    assert_held_for_64_rounds(&mut drain, |round| round);
}

#[test]
fn a_round_that_releases_delivers_young_events_too() {
    let (rings, mut drain) = drain(1, 50);
    start(&rings, 0, 100);
    assert_eq!(delivered(&mut drain, [100; 64]), [0; 64]);
    let call = start(&rings, 0, 100);
    end(&rings, 0, 100, 20, call);
    let round = drain.round(|| 100);
    assert_eq!((times(&round), drain.held()), (vec![100, 100, 120], 0));
}

#[test]
fn old_events_do_not_count_as_held() {
    // Each event is held for two rounds of a clock that advances: none is released early.
    let (rings, mut drain) = drain(1, 2);
    for now_ns in 10..200 {
        start(&rings, 0, now_ns);
        let round = drain.round(|| now_ns);
        assert!(times(&round).iter().all(|&time| time + 2 == now_ns));
        assert!(drain.held() <= 2);
    }
}
