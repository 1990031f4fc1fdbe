//! Tests of the memory of batches: the events that they share, and those that are copied.

use super::*;

/// Returns the address of each batch's events, their number, and the capacity of their allocation.
fn received(subscription: &Subscription) -> Vec<(*const Event, usize, usize)> {
    let batches = std::iter::from_fn(|| subscription.try_recv().ok());
    batches
        .map(|batch| (batch.as_ptr(), batch.len(), batch.kept_capacity()))
        .collect()
}

#[test]
fn a_small_batch_does_not_keep_its_round() {
    let mut fixture = fixture(16, 3);
    let all = fixture.subscribe(Filter::new());
    let all_again = fixture.subscribe(Filter::new());
    let some = fixture.subscribe(Filter::new().tools([ToolId::new(2)]));
    // Three of seven events are less than half; a contiguous part is copied once for all.
    for (tool, time) in [(1, 1), (2, 2), (1, 3), (2, 4), (1, 5), (1, 6), (2, 7)] {
        fixture.start(0, tool, time);
    }
    fixture.pump();
    let (all, all_again, some) = (received(&all), received(&all_again), received(&some));
    let sizes = |batches: &[(_, usize, usize)]| -> Vec<_> {
        batches.iter().map(|batch| (batch.1, batch.2)).collect()
    };
    assert_eq!(sizes(&all), [(3, 3), (3, 3), (1, 1)]);
    assert_eq!(all, all_again);
    assert_eq!(sizes(&some), [(3, 3)]);
}

#[test]
fn half_a_round_is_shared() {
    let mut fixture = fixture(16, 4);
    let all = fixture.subscribe(Filter::new());
    let half = fixture.subscribe(Filter::new().tools([ToolId::new(2)]));
    for time in 0..8 {
        fixture.start(0, if time < 4 { 1 } else { 2 }, time);
    }
    fixture.pump();
    let (all, half) = (received(&all), received(&half));
    assert_eq!((all.len(), half.len()), (2, 1));
    assert!(all.iter().all(|batch| batch.2 == 8));
    assert_eq!(half[0], all[1], "it shares the round");
}

/// Subscriptions with equal filters share the events that they want, also if these are scattered.
#[test]
fn equal_filters_share_what_they_want() {
    let mut fixture = fixture(16, 4);
    let wanted = || Filter::new().tools([ToolId::new(2)]);
    let [one, other] = [(); 2].map(|()| fixture.subscribe(wanted()));
    let full = fixture
        .hub
        .subscribe(&fixture.rings, wanted(), Some(1))
        .unwrap();
    let narrower = fixture.subscribe(wanted().kinds([EventKind::Started]).retries_only());
    for time in 0..12 {
        fixture.start(0, time as u32 % 2 + 1, time);
    }
    // A subscription that begins within the round.
    let late = fixture.subscribe(wanted());
    for time in 12..16 {
        fixture.start(0, time as u32 % 2 + 1, time);
    }
    fixture.pump();
    let times = |batch: &Batch| batch.iter().map(Event::time_ns).collect::<Vec<_>>();
    for at in [[1, 3, 5, 7], [9, 11, 13, 15]] {
        let [one, other] = [&one, &other].map(|at| at.try_recv().unwrap());
        assert_eq!(times(&one), at);
        assert!(std::ptr::eq(one.events(), other.events()));
        if at[0] == 1 {
            assert!(std::ptr::eq(
                one.events(),
                full.try_recv().unwrap().events()
            ));
        }
    }
    assert_eq!(times(&late.try_recv().unwrap()), [13, 15]);
    for empty in [&one, &other, &full, &narrower, &late] {
        assert_eq!(empty.try_recv().unwrap_err(), TryRecvError::Empty);
    }
    assert_eq!((full.stats().delivered, full.stats().lost), (4, 4));
    assert_eq!(narrower.stats().filtered, 16);
    assert_eq!((late.stats().delivered, late.stats().filtered), (2, 14));
}

#[test]
fn a_round_keeps_no_room_that_it_does_not_use() {
    let fixture = fixture(16, 4);
    let subscription = fixture.subscribe(Filter::new());
    fixture.start(0, 1, 1);
    let mut round = Drain::new(&fixture.rings, 0).round(|| 1_000);
    round.events.reserve_exact(10_000);
    let wakeups = fixture
        .hub
        .fan_out(round, &fixture.names, &fixture.timeline, NOW);
    wakeups.wake();
    let received = received(&subscription);
    assert_eq!((received[0].1, received[0].2), (1, 1));
}

#[test]
fn nothing_is_copied_for_a_full_queue() {
    let mut fixture = fixture(1, 1);
    let full = fixture.subscribe(Filter::new());
    for time in 0..4 {
        fixture.start(0, 1, time);
    }
    let round = fixture.drain.round(|| 1_000);
    let data = RoundData::new(round.events, &fixture.names, &fixture.timeline, NOW);
    let mut delivery = Delivery::new(data, round.late, 1);
    lock(&fixture.hub.subscribers).fan_out(&mut delivery);
    assert_eq!(delivery.slicer.copies(), 1);
    assert_eq!((full.stats().delivered, full.stats().lost), (1, 3));
}
