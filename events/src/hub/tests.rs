//! Tests of a hub with its rings and its drain on one thread: the events and counts of each
//! subscription.

mod sharing;

use super::*;
use crate::{
    drain::Drain,
    event::{Draft, Event},
    id::{CallId, ToolId},
    recv_error::{RecvError, RecvTimeoutError, TryRecvError},
    subscription_stats::SubscriptionStats,
};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, SystemTime},
};
use toolmeter_core::{EventKind, Finish, Outcome};

/// The reading of both clocks at every round.
const NOW: Moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);

struct Fixture {
    rings: sync::Arc<Rings>,
    drain: Drain,
    hub: Hub,
    names: Arc<NameTable>,
    timeline: Arc<Timeline>,
}

fn fixture(queue_capacity: usize, batch_size: usize) -> Fixture {
    let rings = sync::Arc::new(Rings::new(2, 64).unwrap());
    let drain = Drain::new(&rings, 0);
    let hub = Hub::new(queue_capacity, batch_size).unwrap();
    Fixture {
        rings,
        drain,
        hub,
        names: Arc::new(NameTable::new([(ToolId::new(1), "shell")])),
        timeline: Arc::new(Timeline::new(NOW)),
    }
}

impl Fixture {
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
        let fixture = fixture(1, 1);
        let refused = fixture
            .hub
            .subscribe(&fixture.rings, Filter::new(), Some(given));
        let refused = refused.unwrap_err();
        assert_eq!(refused, SubscribeError::QueueCapacity { given });
        assert!(refused.to_string().contains("from 1 to 65,536"));
        assert!(
            !fixture.rings.is_open(),
            "a refused subscription is not counted"
        );
    }
}

#[test]
fn subscriptions_share_one_allocation() {
    let mut fixture = fixture(8, 8);
    let (one, two) = (
        fixture.subscribe(Filter::new()),
        fixture.subscribe(Filter::new()),
    );
    fixture.start(0, 1, 10);
    fixture.start(1, 1, 20);
    fixture.pump();
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
    let mut fixture = fixture(8, 2);
    let all = fixture.subscribe(Filter::new());
    let some = fixture.subscribe(Filter::new().tools([ToolId::new(1)]));
    for (tool, time) in [(1, 1), (2, 2), (1, 3), (1, 4), (2, 5)] {
        fixture.start(0, tool, time);
    }
    fixture.pump();
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
fn a_slow_subscriber_loses_its_own_events_and_they_are_counted() {
    let mut fixture = fixture(1, 2);
    let slow = fixture.subscribe(Filter::new());
    let fast = fixture
        .hub
        .subscribe(&fixture.rings, Filter::new(), Some(8))
        .unwrap();
    for time in 1..=5 {
        fixture.start(0, 1, time);
    }
    fixture.pump();
    assert_eq!(fast.stats().delivered, 5);
    let stats = slow.stats();
    assert_eq!((stats.delivered, stats.lost), (2, 3));
    assert_balanced(stats);
    assert_eq!(slow.try_recv().unwrap().lost_before(), 0);
    fixture.start(0, 1, 6);
    fixture.pump();
    let later = slow.try_recv().unwrap();
    assert_eq!((times(&later), later.lost_before()), (vec![6], 3));
    fixture.start(0, 1, 7);
    fixture.pump();
    assert_eq!(slow.try_recv().unwrap().lost_before(), 0);
}

#[test]
fn what_was_offered_before_it_began_is_filtered_whatever_the_clock_said() {
    let mut fixture = fixture(8, 8);
    let first = fixture.subscribe(Filter::new());
    let before = fixture.start(0, 1, 10);
    let second = fixture.subscribe(Filter::new());
    fixture.start(1, 1, 5); // the clock stepped backwards
    fixture.end(0, 1, 10, before); // at 15
    let third = fixture.subscribe(Filter::new());
    fixture.start(0, 1, 2);
    fixture.pump();
    assert_eq!(times(&first.try_recv().unwrap()), [2, 5, 10, 15]);
    assert_eq!(times(&second.try_recv().unwrap()), [2, 5, 15]);
    assert_eq!(times(&third.try_recv().unwrap()), [2]);
    for subscription in [&first, &second, &third] {
        assert_eq!(subscription.stats().drained, 4);
        assert_balanced(subscription.stats());
    }
}

#[test]
fn dropped_in_a_forked_child_it_takes_no_lock() {
    let mut fixture = fixture(8, 8);
    let mut subscription = fixture.subscribe(Filter::new());
    fixture.start(0, 1, 1);
    fixture.pump();
    // As if it had been created in the parent process of this one.
    subscription.membership.as_mut().unwrap().process ^= 1;
    let subscribers = Arc::clone(&fixture.hub.subscribers);
    let guard = lock(&subscribers); // held by a thread that the child does not have
    drop(subscription);
    drop(guard);
    assert!(!fixture.rings.is_open());
    assert_eq!(fixture.hub.subscriptions(), 1, "its subscriber is leaked");
    fixture.start(0, 1, 2);
    fixture.pump(); // into a queue that is still there
}

#[test]
fn late_events_are_counted_for_the_subscriptions_that_get_them() {
    let mut fixture = fixture(8, 1);
    let all = fixture.subscribe(Filter::new());
    let none_of_the_late = fixture.subscribe(Filter::new().tools([ToolId::new(2)]));
    fixture.start(0, 2, 100);
    fixture.pump();
    fixture.start(0, 1, 90);
    fixture.start(1, 1, 95);
    fixture.start(0, 2, 110);
    fixture.pump();
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
fn a_dropped_subscription_leaves_and_its_counts_stay() {
    let mut fixture = fixture(8, 8);
    let subscription = fixture.subscribe(Filter::new());
    let stats = subscription.stats_handle();
    assert!(fixture.rings.is_open());
    let call = fixture.start(0, 1, 1);
    fixture.pump();
    drop(subscription);
    assert_eq!(
        (fixture.rings.is_open(), fixture.hub.subscriptions()),
        (false, 0)
    );
    fixture.end(0, 1, 1, call);
    fixture.pump();
    assert_eq!((stats.read().drained, stats.read().delivered), (1, 1));
    assert_eq!(
        fixture.rings.accounting().drained,
        2,
        "drained for no subscription"
    );
}

#[test]
fn after_closing_the_queue_is_received_to_its_end() {
    let mut fixture = fixture(8, 1);
    let subscription = fixture.subscribe(Filter::new());
    fixture.start(0, 1, 1);
    fixture.start(0, 1, 2);
    fixture.pump();
    fixture.hub.close().wake();
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
        fixture.rings.is_open(),
        "it counts as a subscription until it is dropped"
    );
    drop(subscription);
    assert!(!fixture.rings.is_open());

    let late = fixture.subscribe(Filter::new());
    assert_eq!(late.try_recv().unwrap_err(), TryRecvError::Disconnected);
    assert!(!fixture.rings.is_open());
}

#[test]
fn dropping_the_last_hub_closes_it() {
    let fixture = fixture(8, 8);
    let subscription = fixture.subscribe(Filter::new());
    assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Empty);
    let timed = subscription.recv_timeout(Duration::ZERO);
    assert_eq!(timed.unwrap_err(), RecvTimeoutError::Timeout);
    drop(fixture.hub.clone());
    assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Empty);
    drop(fixture);
    assert_eq!(
        subscription.try_recv().unwrap_err(),
        TryRecvError::Disconnected
    );
}

#[test]
fn an_async_receiver_wakes_for_a_batch_and_for_the_end() {
    let mut fixture = fixture(8, 1);
    let subscription = fixture.subscribe(Filter::new());
    {
        let mut waiting = pin!(subscription.recv_async());
        let mut dropped = Box::pin(subscription.recv_async());
        assert!(poll(waiting.as_mut()).is_pending());
        assert!(poll(dropped.as_mut()).is_pending());
        fixture.start(0, 1, 1);
        fixture.pump();
        drop(dropped); // it was woken, and takes no batch with it
        let Poll::Ready(Ok(batch)) = poll(waiting.as_mut()) else {
            panic!("no batch")
        };
        assert_eq!(times(&batch), [1]);
    }
    let mut waiting = pin!(subscription.recv_async());
    assert!(poll(waiting.as_mut()).is_pending());
    fixture.hub.close().wake();
    let Poll::Ready(Err(RecvError)) = poll(waiting.as_mut()) else {
        panic!("no end")
    };
}

#[test]
fn receiving_waits_on_another_thread() {
    // Room for all events, so that it does not matter whether the receiver keeps up.
    let fixture = fixture(16, 8);
    let subscription = fixture.subscribe(Filter::new().kinds([EventKind::Started]));
    thread::scope(|scope| {
        let received = scope.spawn(|| subscription.iter().map(|batch| batch.len()).sum::<usize>());
        // Moved here, so that a panic drops and so closes it: the receiver waits for that.
        let mut fixture = fixture;
        for time in 0..10 {
            fixture.start(0, 1, time);
            fixture.pump();
        }
        fixture.hub.close().wake();
        assert_eq!(received.join().unwrap(), 10);
    });
}

#[test]
fn what_is_shared_is_send_and_sync() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let fixture = fixture(1, 1);
    shared(&*fixture.rings);
    shared(&fixture.drain);
    shared(&fixture.hub);
    let subscription = fixture.subscribe(Filter::new());
    shared(&subscription);
    shared(&subscription.stats_handle());
    fn sent<T: Send>(_: T) {}
    sent(subscription.recv_async());
}
