//! One hub, its rings and its drain on one thread: what each subscription gets, and its account.

use super::*;
use crate::{
    drain::Drain,
    event::{Draft, Event, EventKind},
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
use toolmeter_core::Outcome;

struct House {
    rings: sync::Arc<Rings>,
    drain: Drain,
    hub: Hub,
    names: Arc<NameTable>,
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
    }
}

impl House {
    fn subscribe(&self, filter: Filter, began_ns: u64) -> Subscription {
        self.hub
            .subscribe(&self.rings, filter, began_ns, None)
            .unwrap()
    }

    fn start(&self, stripe: usize, tool: u32, at_ns: u64) -> CallId {
        self.rings.offer(
            stripe,
            Draft::started(ToolId::new(tool), 1, at_ns, None),
            None,
        )
    }

    fn end(&self, stripe: usize, tool: u32, began_ns: u64, call: CallId) {
        let tool = ToolId::new(tool);
        let draft = Draft::closing(tool, 1, began_ns, 5, Outcome::Success, None, None);
        self.rings.offer(stripe, draft, Some(call));
    }

    fn pump(&mut self) {
        let round = self.drain.round(|| 1_000);
        self.hub.fan_out(
            round,
            &self.names,
            Moment::new(SystemTime::UNIX_EPOCH, 1_000),
        );
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
            .subscribe(&house.rings, Filter::new(), 0, Some(given));
        assert_eq!(refused.unwrap_err(), HubError::QueueCapacity { given });
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
        house.subscribe(Filter::new(), 0),
        house.subscribe(Filter::new(), 0),
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
    let all = house.subscribe(Filter::new(), 0);
    let some = house.subscribe(Filter::new().tools([ToolId::new(1)]), 0);
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
    let slow = house.subscribe(Filter::new(), 0);
    let fast = house
        .hub
        .subscribe(&house.rings, Filter::new(), 0, Some(8))
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
fn what_came_before_it_began_is_filtered() {
    let mut house = house(8, 8);
    let first = house.subscribe(Filter::new(), 0);
    let before = house.start(0, 1, 10);
    let offered_later_timed_before = house.subscribe(Filter::new(), 20);
    house.start(1, 1, 19);
    house.end(0, 1, 10, before); // at 15
    let at_the_same_time = house.subscribe(Filter::new(), 10);
    house.start(0, 1, 20);
    house.pump();
    assert_eq!(times(&first.try_recv().unwrap()), [10, 15, 19, 20]);
    assert_eq!(times(&offered_later_timed_before.try_recv().unwrap()), [20]);
    assert_eq!(
        times(&at_the_same_time.try_recv().unwrap()),
        [20],
        "the tickets tell, not the clock"
    );
    for subscription in [&first, &offered_later_timed_before, &at_the_same_time] {
        assert_eq!(subscription.stats().drained, 4);
        assert_balanced(subscription.stats());
    }
}

#[test]
fn late_events_are_counted_for_whom_they_were_delivered_to() {
    let mut house = house(8, 1);
    let all = house.subscribe(Filter::new(), 0);
    let none_of_the_late = house.subscribe(Filter::new().tools([ToolId::new(2)]), 0);
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
    let subscription = house.subscribe(Filter::new(), 0);
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
    assert_eq!(house.rings.accounting().drained, 2, "drained for nobody");
}

#[test]
fn after_closing_the_queue_is_received_to_its_end() {
    let mut house = house(8, 1);
    let subscription = house.subscribe(Filter::new(), 0);
    house.start(0, 1, 1);
    house.start(0, 1, 2);
    house.pump();
    house.hub.close();
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

    let late = house.subscribe(Filter::new(), 0);
    assert_eq!(late.try_recv().unwrap_err(), TryRecvError::Disconnected);
    assert!(!house.rings.is_open());
}

#[test]
fn the_last_hub_closes_on_its_way() {
    let house = house(8, 8);
    let subscription = house.subscribe(Filter::new(), 0);
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
    let subscription = house.subscribe(Filter::new(), 0);
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
    house.hub.close();
    let Poll::Ready(Err(RecvError)) = poll(waiting.as_mut()) else {
        panic!("no end")
    };
}

#[test]
fn receiving_waits_on_another_thread() {
    // Room for all: whether the receiver keeps up must not matter here.
    let house = house(16, 8);
    let subscription = house.subscribe(Filter::new().kinds([EventKind::Started]), 0);
    thread::scope(|scope| {
        let received = scope.spawn(|| subscription.iter().map(|batch| batch.len()).sum::<usize>());
        // Moved here to be dropped, and so closed, if something panics: the receiver waits for it.
        let mut house = house;
        for time in 0..10 {
            house.start(0, 1, time);
            house.pump();
        }
        house.hub.close();
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
    let subscription = house.subscribe(Filter::new(), 0);
    shared(&subscription);
    shared(&subscription.stats_handle());
    fn sent<T: Send>(_: T) {}
    sent(subscription.recv_async());
}
