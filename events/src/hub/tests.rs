//! One hub, its rings and its drain on one thread: what each subscription gets, and its account.

use super::*;
use crate::{
    drain::Drain,
    event::{Draft, Event},
    id::{CallId, ToolId},
    subscriber::SubscriptionStats,
    subscription::{RecvError, RecvTimeoutError, TryRecvError},
};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, SystemTime},
};
use toolmeter_core::{EventKind, Finish, Outcome};

/// Both clocks, at every round.
const NOW: Moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);

struct House {
    rings: sync::Arc<Rings>,
    drain: Drain,
    hub: Hub,
    names: Arc<NameTable>,
    timeline: Arc<Timeline>,
}

fn house(queue_capacity: usize, batch_size: usize) -> House {
    let rings = sync::Arc::new(Rings::new(2, 64).unwrap());
    let drain = Drain::new(&rings, 0);
    let hub = Hub::new(queue_capacity, batch_size).unwrap();
    House {
        rings,
        drain,
        hub,
        names: Arc::new(NameTable::new([(ToolId::new(1), "shell")])),
        timeline: Arc::new(Timeline::new(NOW)),
    }
}

impl House {
    fn subscribe(&self, filter: Filter) -> Subscription {
        self.hub.subscribe(&self.rings, filter, None).unwrap()
    }

    fn start(&self, stripe: usize, tool: u32, at_ns: u64) -> CallId {
        self.rings.offer(
            stripe,
            Draft::started(ToolId::new(tool), 1, at_ns, None),
            None,
        )
    }

    fn end(&self, stripe: usize, tool: u32, began_ns: u64, call: CallId) {
        let finish = Finish::new(Outcome::Success, 1, began_ns, 5);
        let draft = Draft::closing(ToolId::new(tool), finish, None, None);
        self.rings.offer(stripe, draft, Some(call));
    }

    fn pump(&mut self) {
        let round = self.drain.round(|| 1_000);
        self.hub
            .fan_out(round, &self.names, &self.timeline, NOW)
            .wake();
    }
}

fn times(batch: &Batch) -> Vec<u64> {
    batch.iter().map(Event::time_ns).collect()
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn assert_balanced(stats: SubscriptionStats) {
    assert_eq!(
        stats.drained,
        stats.delivered + stats.filtered + stats.lost,
        "{stats:?}"
    );
}

#[test]
fn ranges_are_checked_and_named() {
    for given in [0, 65_537] {
        let error = Hub::new(given, 1).unwrap_err();
        assert_eq!(error, HubError::QueueCapacity { given });
        assert!(error.to_string().contains("from 1 to 65,536"));
        assert_eq!(
            Hub::new(1, given).unwrap_err(),
            HubError::BatchSize { given }
        );
        let house = house(1, 1);
        let refused = house
            .hub
            .subscribe(&house.rings, Filter::new(), Some(given));
        let refused = refused.unwrap_err();
        assert_eq!(refused, SubscribeError::QueueCapacity { given });
        assert!(refused.to_string().contains("from 1 to 65,536"));
        assert!(
            !house.rings.is_open(),
            "a refused subscription leaves the gate closed"
        );
    }
}

#[test]
fn subscriptions_share_one_allocation() {
    let mut house = house(8, 8);
    let (one, two) = (
        house.subscribe(Filter::new()),
        house.subscribe(Filter::new()),
    );
    house.start(0, 1, 10);
    house.start(1, 1, 20);
    house.pump();
    let (one, two) = (one.try_recv().unwrap(), two.try_recv().unwrap());
    assert_eq!(times(&one), [10, 20]);
    assert!(std::ptr::eq(one.events(), two.events()));
    assert_eq!(
        (one.name(ToolId::new(1)), one.lost_before()),
        (Some("shell"), 0)
    );
    assert_eq!(
        one.wall_time(&one[0]),
        two.taken_at() - Duration::from_nanos(990)
    );
}

#[test]
fn a_batch_size_only_cuts() {
    let mut house = house(8, 2);
    let all = house.subscribe(Filter::new());
    let some = house.subscribe(Filter::new().tools([ToolId::new(1)]));
    for (tool, time) in [(1, 1), (2, 2), (1, 3), (1, 4), (2, 5)] {
        house.start(0, tool, time);
    }
    house.pump();
    let cut = |subscription: &Subscription| -> Vec<_> {
        std::iter::from_fn(|| subscription.try_recv().ok())
            .map(|batch| times(&batch))
            .collect()
    };
    assert_eq!(cut(&all), [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!(cut(&some), [vec![1, 3], vec![4]]);
    let stats = some.stats();
    assert_eq!((stats.drained, stats.delivered, stats.filtered), (5, 3, 2));
    assert_balanced(stats);
}

#[test]
fn a_slow_subscriber_loses_its_own_and_is_told() {
    let mut house = house(1, 2);
    let slow = house.subscribe(Filter::new());
    let fast = house
        .hub
        .subscribe(&house.rings, Filter::new(), Some(8))
        .unwrap();
    for time in 1..=5 {
        house.start(0, 1, time);
    }
    house.pump();
    assert_eq!(fast.stats().delivered, 5);
    let stats = slow.stats();
    assert_eq!((stats.delivered, stats.lost), (2, 3));
    assert_balanced(stats);
    assert_eq!(slow.try_recv().unwrap().lost_before(), 0);
    house.start(0, 1, 6);
    house.pump();
    let told = slow.try_recv().unwrap();
    assert_eq!((times(&told), told.lost_before()), (vec![6], 3));
    house.start(0, 1, 7);
    house.pump();
    assert_eq!(slow.try_recv().unwrap().lost_before(), 0);
}

#[test]
fn what_was_offered_before_it_began_is_filtered_whatever_the_clock_said() {
    let mut house = house(8, 8);
    let first = house.subscribe(Filter::new());
    let before = house.start(0, 1, 10);
    let second = house.subscribe(Filter::new());
    house.start(1, 1, 5); // the clock stepped backwards
    house.end(0, 1, 10, before); // at 15
    let third = house.subscribe(Filter::new());
    house.start(0, 1, 2);
    house.pump();
    assert_eq!(times(&first.try_recv().unwrap()), [2, 5, 10, 15]);
    assert_eq!(times(&second.try_recv().unwrap()), [2, 5, 15]);
    assert_eq!(times(&third.try_recv().unwrap()), [2]);
    for subscription in [&first, &second, &third] {
        assert_eq!(subscription.stats().drained, 4);
        assert_balanced(subscription.stats());
    }
}

/// Where the batches' events lie, and how much room is there.
fn received(subscription: &Subscription) -> Vec<(*const Event, usize, usize)> {
    let batches = std::iter::from_fn(|| subscription.try_recv().ok());
    batches
        .map(|batch| (batch.as_ptr(), batch.len(), batch.kept_capacity()))
        .collect()
}

#[test]
fn a_small_batch_does_not_keep_its_round() {
    let mut house = house(16, 3);
    let all = house.subscribe(Filter::new());
    let all_again = house.subscribe(Filter::new());
    let some = house.subscribe(Filter::new().tools([ToolId::new(2)]));
    // Of seven events, three are not half; a cut that lies together is copied for all at once.
    for (tool, time) in [(1, 1), (2, 2), (1, 3), (2, 4), (1, 5), (1, 6), (2, 7)] {
        house.start(0, tool, time);
    }
    house.pump();
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
    let mut house = house(16, 4);
    let all = house.subscribe(Filter::new());
    let half = house.subscribe(Filter::new().tools([ToolId::new(2)]));
    for time in 0..8 {
        house.start(0, if time < 4 { 1 } else { 2 }, time);
    }
    house.pump();
    let (all, half) = (received(&all), received(&half));
    assert_eq!((all.len(), half.len()), (2, 1));
    assert!(all.iter().all(|batch| batch.2 == 8));
    assert_eq!(half[0], all[1], "it shares the round");
}

/// Of subscriptions that want the same, each has it, and all share it: also if it lies apart.
#[test]
fn equal_filters_share_what_they_want() {
    let mut house = house(16, 4);
    let wanted = || Filter::new().tools([ToolId::new(2)]);
    let [one, other] = [(); 2].map(|()| house.subscribe(wanted()));
    let full = house
        .hub
        .subscribe(&house.rings, wanted(), Some(1))
        .unwrap();
    let narrower = house.subscribe(wanted().kinds([EventKind::Started]).retries_only());
    for time in 0..12 {
        house.start(0, time as u32 % 2 + 1, time);
    }
    // One that begins within the round.
    let late = house.subscribe(wanted());
    for time in 12..16 {
        house.start(0, time as u32 % 2 + 1, time);
    }
    house.pump();
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
    let house = house(16, 4);
    let subscription = house.subscribe(Filter::new());
    house.start(0, 1, 1);
    let mut round = Drain::new(&house.rings, 0).round(|| 1_000);
    round.events.reserve_exact(10_000);
    let wakeups = house.hub.fan_out(round, &house.names, &house.timeline, NOW);
    wakeups.wake();
    let received = received(&subscription);
    assert_eq!((received[0].1, received[0].2), (1, 1));
}

#[test]
fn a_full_queue_is_copied_nothing_for() {
    let mut house = house(1, 1);
    let full = house.subscribe(Filter::new());
    for time in 0..4 {
        house.start(0, 1, time);
    }
    let round = house.drain.round(|| 1_000);
    let shared = Shared::new(round.events, &house.names, &house.timeline, NOW);
    let mut delivery = Delivery::new(shared, round.late, 1);
    lock(&house.hub.shared).fan_out(&mut delivery);
    assert_eq!(delivery.copies(), 1);
    assert_eq!((full.stats().delivered, full.stats().lost), (1, 3));
}

#[test]
fn dropped_in_a_forked_child_it_takes_no_lock() {
    let mut house = house(8, 8);
    let mut subscription = house.subscribe(Filter::new());
    house.start(0, 1, 1);
    house.pump();
    // As if it had been made in a process of which this one is the child.
    subscription.membership.as_mut().unwrap().process ^= 1;
    let shared = Arc::clone(&house.hub.shared);
    let held = lock(&shared); // by a thread that the child does not have
    drop(subscription);
    drop(held);
    assert!(!house.rings.is_open());
    assert_eq!(house.hub.subscriptions(), 1, "its place is leaked");
    house.start(0, 1, 2);
    house.pump(); // into a queue that is still there
}

#[test]
fn late_events_are_counted_for_whom_they_were_delivered_to() {
    let mut house = house(8, 1);
    let all = house.subscribe(Filter::new());
    let none_of_the_late = house.subscribe(Filter::new().tools([ToolId::new(2)]));
    house.start(0, 2, 100);
    house.pump();
    house.start(0, 1, 90);
    house.start(1, 1, 95);
    house.start(0, 2, 110);
    house.pump();
    assert_eq!((all.stats().late, all.stats().delivered), (2, 4));
    assert_eq!(
        (
            none_of_the_late.stats().late,
            none_of_the_late.stats().delivered
        ),
        (0, 2)
    );
}

#[test]
fn dropped_it_leaves_and_its_account_stands() {
    let mut house = house(8, 8);
    let subscription = house.subscribe(Filter::new());
    let stats = subscription.stats_handle();
    assert!(house.rings.is_open());
    let call = house.start(0, 1, 1);
    house.pump();
    drop(subscription);
    assert_eq!(
        (house.rings.is_open(), house.hub.subscriptions()),
        (false, 0)
    );
    house.end(0, 1, 1, call);
    house.pump();
    assert_eq!((stats.read().drained, stats.read().delivered), (1, 1));
    assert_eq!(
        house.rings.accounting().drained,
        2,
        "drained for no subscription"
    );
}

#[test]
fn after_closing_the_queue_is_received_to_its_end() {
    let mut house = house(8, 1);
    let subscription = house.subscribe(Filter::new());
    house.start(0, 1, 1);
    house.start(0, 1, 2);
    house.pump();
    house.hub.close().wake();
    assert_eq!(
        subscription
            .iter()
            .map(|batch| times(&batch))
            .collect::<Vec<_>>(),
        [[1], [2]]
    );
    assert_eq!(subscription.recv().unwrap_err(), RecvError);
    assert_eq!(
        subscription.try_recv().unwrap_err(),
        TryRecvError::Disconnected
    );
    let timed = subscription.recv_timeout(Duration::ZERO);
    assert_eq!(timed.unwrap_err(), RecvTimeoutError::Disconnected);
    assert!(
        house.rings.is_open(),
        "it holds the gate until it is dropped"
    );
    drop(subscription);
    assert!(!house.rings.is_open());

    let late = house.subscribe(Filter::new());
    assert_eq!(late.try_recv().unwrap_err(), TryRecvError::Disconnected);
    assert!(!house.rings.is_open());
}

#[test]
fn the_last_hub_closes_on_its_way() {
    let house = house(8, 8);
    let subscription = house.subscribe(Filter::new());
    assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Empty);
    let timed = subscription.recv_timeout(Duration::ZERO);
    assert_eq!(timed.unwrap_err(), RecvTimeoutError::Timeout);
    drop(house.hub.clone());
    assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Empty);
    drop(house);
    assert_eq!(
        subscription.try_recv().unwrap_err(),
        TryRecvError::Disconnected
    );
}

#[test]
fn an_async_receiver_wakes_for_a_batch_and_for_the_end() {
    let mut house = house(8, 1);
    let subscription = house.subscribe(Filter::new());
    {
        let mut waiting = pin!(subscription.recv_async());
        let mut dropped = Box::pin(subscription.recv_async());
        assert!(poll(waiting.as_mut()).is_pending());
        assert!(poll(dropped.as_mut()).is_pending());
        house.start(0, 1, 1);
        house.pump();
        drop(dropped); // it was woken, and takes nothing with it
        let Poll::Ready(Ok(batch)) = poll(waiting.as_mut()) else {
            panic!("no batch")
        };
        assert_eq!(times(&batch), [1]);
    }
    let mut waiting = pin!(subscription.recv_async());
    assert!(poll(waiting.as_mut()).is_pending());
    house.hub.close().wake();
    let Poll::Ready(Err(RecvError)) = poll(waiting.as_mut()) else {
        panic!("no end")
    };
}

#[test]
fn receiving_waits_on_another_thread() {
    // Room for all: whether the receiver keeps up must not matter here.
    let house = house(16, 8);
    let subscription = house.subscribe(Filter::new().kinds([EventKind::Started]));
    thread::scope(|scope| {
        let received = scope.spawn(|| subscription.iter().map(|batch| batch.len()).sum::<usize>());
        // Moved here to be dropped, and so closed, if something panics: the receiver waits for it.
        let mut house = house;
        for time in 0..10 {
            house.start(0, 1, time);
            house.pump();
        }
        house.hub.close().wake();
        assert_eq!(received.join().unwrap(), 10);
    });
}

#[test]
fn what_is_shared_is_send_and_sync() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let house = house(1, 1);
    shared(&*house.rings);
    shared(&house.drain);
    shared(&house.hub);
    let subscription = house.subscribe(Filter::new());
    shared(&subscription);
    shared(&subscription.stats_handle());
    fn sent<T: Send>(_: T) {}
    sent(subscription.recv_async());
}
