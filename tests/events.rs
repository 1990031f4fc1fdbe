//! Events through the facade: their contents, their order, and their account: each is delivered or
//! counted as lost.
//!
//! The pump is manual, except where its thread is tested.
#![cfg(not(toolmeter_loom))]

mod common;

use common::{host, host_with, kinds, poll_once, received};
use std::collections::HashSet;
use std::future::IntoFuture;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter::{
    CallContext, CallId, ClockSource, ErrorKind, Event, EventKind, Filter, Pump, RecvTimeoutError,
    Registry, TryRecvError, Verdict,
};

const MS: Duration = Duration::from_millis(1);
use EventKind::{Cancelled, Failed, Rejected, Started, Succeeded};

#[test]
fn each_event_tells_its_call() {
    let (registry, tool, clock) = host();
    let events = registry.subscribe();
    let context = CallContext::new("s-1").turn(4).call("call-7");
    let context = Arc::new(context.label("mcp.server", "github"));
    clock.advance(MS);
    let call = tool.call().attempt(3).context(Arc::clone(&context)).start();
    clock.advance(2 * MS);
    call.fail(ErrorKind::RateLimited, "in 30 s\0");
    assert_eq!(registry.pump(), 2);

    let batch = events.try_recv().unwrap();
    let [started, failed] = &batch[..] else {
        panic!("other events: {batch:?}");
    };
    assert_eq!((started.kind(), failed.kind()), (Started, Failed));
    for event in [started, failed] {
        assert_eq!(event.tool(), tool.id());
        assert_eq!(batch.name(event.tool()), Some("tool"));
        assert_eq!((event.attempt(), event.is_retry()), (3, true));
        assert_eq!(event.started_ns(), 1_000_000);
        assert!(Arc::ptr_eq(event.context().unwrap(), &context));
    }
    assert_eq!(started.call(), CallId::from(started.number()));
    assert_eq!(failed.call(), started.call());
    assert_ne!(failed.number(), started.number());
    assert_eq!((started.latency(), failed.latency()), (None, Some(2 * MS)));
    assert_eq!(
        (started.time_ns(), failed.time_ns()),
        (1_000_000, 3_000_000)
    );
    assert_eq!(started.error_kind(), None);
    assert_eq!(failed.error_kind(), Some(ErrorKind::RateLimited));
    assert_eq!(started.message(), None);
    assert_eq!(failed.message(), Some("in 30 s\\u{0}"));
    assert_eq!(batch.wall_time(failed), batch.wall_time(started) + 2 * MS);
    assert_eq!(batch.taken_at(), batch.wall_time(failed));
    assert!(registry.started_at() <= SystemTime::now());
    assert_eq!(batch.lost_before(), 0);
}

#[test]
fn each_outcome_has_its_kind() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    tool.run(|| ());
    drop(tool.start());
    let _: Result<(), _> = tool.run(|| Err("why"));
    registry.pump();
    let received = received(&events);
    assert_eq!(
        kinds(&received),
        [Started, Succeeded, Started, Cancelled, Started, Failed]
    );
    assert!(received.iter().all(|event| !event.is_retry()));
    assert_eq!(received[3].error_kind(), None);
    assert_eq!(received[5].error_kind(), Some(ErrorKind::Other));
    let calls: HashSet<CallId> = received.iter().map(Event::call).collect();
    assert_eq!(calls.len(), 3);
    let names: Vec<_> = EventKind::ALL.map(EventKind::as_str).into();
    assert_eq!(
        names,
        [
            "tool.started",
            "tool.succeeded",
            "tool.failed",
            "tool.cancelled",
            "tool.rejected"
        ]
    );
}

/// A refused call has one event, which is not the end of a call, since none started.
#[test]
fn calls_that_are_refused_are_heard_of() {
    let (registry, tool, clock) = host();
    let events = registry.subscribe();
    clock.advance(MS);
    let context = CallContext::new("s").turn(1).call("c");
    let mut refused = pin!(
        registry
            .invoke("tool", 0.into())
            .attempt(2)
            .context(context.clone())
            .into_future()
    );
    assert!(poll_once(refused.as_mut()).is_ready());
    clock.advance(MS);
    let denied = tool.call().context(context);
    denied.reject("no\u{1b}[2J shell after midnight");
    registry.pump();
    let received = received(&events);
    assert_eq!(kinds(&received), [Rejected, Rejected]);
    for event in &received {
        assert_eq!(event.error_kind(), None);
        assert_eq!(event.latency(), None);
        assert_eq!(event.tool(), tool.id());
        assert_eq!(&*event.context().unwrap().call, "c");
        assert_eq!(event.call(), CallId::from(event.number()));
    }
    assert_eq!((received[0].attempt(), received[1].attempt()), (2, 1));
    assert_eq!(
        (received[0].time_ns(), received[1].time_ns()),
        (1_000_000, 2_000_000)
    );
    let message = received[0].message().unwrap();
    assert!(message.contains("`tool`"), "{message}");
    let message = received[1].message().unwrap();
    assert_eq!(message, "no\\u{1b}[2J shell after midnight");
    let stats = &registry.metrics().tools["tool"];
    assert_eq!((stats.rejected, &stats.last_error), (2, &None));
}

/// A call that is rejected after its start has two events.
#[test]
fn a_rejection_closes_a_call_that_started() {
    let (registry, tool, clock) = host();
    let events = registry.subscribe();
    let rejected = registry
        .subscribe_with(Filter::new().kinds([Rejected]), None)
        .unwrap();
    let call = tool.start();
    clock.advance(MS);
    call.reject("denied");
    let judge = |_: &()| Verdict::rejected().because("by a rule");
    tool.call().classify(judge).run(|| ());
    registry.pump();
    let received = self::received(&events);
    assert_eq!(kinds(&received), [Started, Rejected, Started, Rejected]);
    assert_eq!(received[0].call(), received[1].call());
    assert_eq!(received[1].latency(), None);
    assert_eq!(received[1].message(), Some("denied"));
    assert_eq!(received[3].message(), Some("by a rule"));
    assert_eq!(kinds(&self::received(&rejected)), [Rejected, Rejected]);
}

/// The text of a verdict of cancellation is in the event, and is not a last error.
#[test]
fn a_cancellation_may_say_why() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    let judge = |_: &()| Verdict::cancelled().because("interrupted by the user");
    tool.call().classify(judge).run(|| ());
    drop(tool.start());
    registry.pump();
    let received = received(&events);
    assert_eq!(kinds(&received), [Started, Cancelled, Started, Cancelled]);
    assert_eq!(received[1].message(), Some("interrupted by the user"));
    assert_eq!(received[3].message(), None);
    assert_eq!(registry.metrics().tools["tool"].last_error, None);
}

#[test]
fn a_batch_is_in_the_order_of_time_whichever_thread_spoke() {
    let (registry, tool, clock) = host();
    let events = registry.subscribe();
    // The threads' stripes differ, and each stripe has a ring of its own.
    let on_another_thread = |work: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                clock.advance(MS);
                work();
            });
        });
    };
    clock.advance(MS);
    let first = tool.start_owned();
    on_another_thread(&|| drop(tool.start()));
    clock.advance(MS);
    first.succeed();
    on_another_thread(&|| tool.run(|| ()));
    registry.pump();
    let received = received(&events);
    assert_eq!(
        kinds(&received),
        [Started, Started, Cancelled, Succeeded, Started, Succeeded]
    );
    assert!(received.is_sorted_by_key(Event::time_ns));
}

/// All events carry the same time, and ends are offered by other threads than starts.
#[test]
fn a_start_comes_before_its_end_even_at_the_same_time() {
    const CALLS: usize = 2_000;
    let (registry, tool, _) = host_with(|builder| builder.batch_size(7).queue_capacity(65_536));
    let events = registry.subscribe();
    let (hand_over, take_over) = std::sync::mpsc::channel();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let hand_over = hand_over;
            for _ in 0..CALLS {
                hand_over.send(tool.start_owned()).unwrap();
            }
        });
        let ends = scope.spawn(|| {
            for call in take_over {
                call.succeed();
            }
        });
        while !ends.is_finished() {
            registry.pump();
            received.extend(self::received(&events));
        }
    });
    registry.pump();
    received.extend(self::received(&events));
    let accounting = registry.event_accounting();
    assert_eq!(accounting.lost_in_rings, 0);
    assert_eq!(received.len(), 2 * CALLS);
    let mut started = HashSet::new();
    for event in &received {
        match event.kind() {
            Started => assert!(started.insert(event.call())),
            _ => assert!(started.remove(&event.call()), "an end before its start"),
        }
    }
    assert!(started.is_empty());
}

/// The same in one round, where only the sorting decides.
#[test]
fn a_start_comes_before_its_end_in_one_round() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    let mut calls: Vec<_> = (0..50).map(|_| tool.start_owned()).collect();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Some(call) = calls.pop() {
                call.succeed();
            }
        });
    });
    assert_eq!(registry.pump(), 100);
    let received = received(&events);
    let place = |kind, call| {
        let is_it = |event: &Event| event.kind() == kind && event.call() == call;
        received.iter().position(is_it).unwrap()
    };
    for event in &received {
        assert!(place(Started, event.call()) < place(Succeeded, event.call()));
    }
}

#[test]
fn filters_let_through_what_they_name() {
    let (registry, tool, _) = host();
    let other = registry.register("other").unwrap();
    let subscribe = |filter| registry.subscribe_with(filter, None).unwrap();
    let failures = subscribe(Filter::new().kinds([Failed]));
    let of_other = subscribe(Filter::new().tools([other.id()]));
    let retries = subscribe(Filter::new().retries_only());
    tool.start().fail(ErrorKind::Timeout, "");
    other.start().succeed();
    drop(tool.call().attempt(2).start());
    assert_eq!(registry.pump(), 6);
    assert_eq!(kinds(&received(&failures)), [Failed]);
    assert_eq!(kinds(&received(&of_other)), [Started, Succeeded]);
    assert_eq!(kinds(&received(&retries)), [Started, Cancelled]);
    let stats = failures.stats();
    assert_eq!((stats.drained, stats.delivered, stats.filtered), (6, 1, 5));
}

#[test]
fn two_subscribers_get_the_same_events_in_one_allocation() {
    let (registry, tool, _) = host();
    let (first, second) = (registry.subscribe(), registry.subscribe());
    tool.run(|| ());
    registry.pump();
    let (first, second) = (first.recv().unwrap(), second.recv().unwrap());
    assert_eq!(first.events(), second.events());
    assert_eq!(first.len(), 2);
    assert!(std::ptr::eq(first.events(), second.events()));
}

#[test]
fn a_slow_subscriber_loses_its_own_events_and_is_told() {
    let (registry, tool, _) = host_with(|builder| builder.batch_size(2));
    let slow = registry.subscribe_with(Filter::new(), Some(1)).unwrap();
    let fast = registry.subscribe();
    for _ in 0..3 {
        tool.run(|| ());
    }
    registry.pump();
    assert_eq!(received(&fast).len(), 6);
    let batch = slow.try_recv().unwrap();
    assert_eq!((batch.len(), batch.lost_before()), (2, 0));
    assert_eq!(slow.try_recv().unwrap_err(), TryRecvError::Empty);
    tool.run(|| ());
    registry.pump();
    let batch = slow.try_recv().unwrap();
    assert_eq!((batch.len(), batch.lost_before()), (2, 4));
    tool.run(|| ());
    registry.pump();
    assert_eq!(slow.try_recv().unwrap().lost_before(), 0);

    let stats = slow.stats();
    assert_eq!((stats.drained, stats.delivered, stats.lost), (10, 6, 4));
    assert_eq!(received(&fast).len(), 4);
    assert_eq!((fast.stats().delivered, fast.stats().lost), (10, 0));
}

#[test]
fn a_dropped_subscriber_counts_no_further_and_nothing_is_offered() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    let stats = events.stats_handle();
    tool.run(|| ());
    registry.pump();
    drop(events);
    assert_eq!(stats.read().delivered, 2);
    let offered = registry.event_accounting().offered;
    tool.run(|| ());
    assert_eq!(registry.pump(), 0);
    assert_eq!(
        registry.event_accounting().offered,
        offered,
        "there is no subscription"
    );
    assert_eq!(stats.read().drained, 2);
}

/// Offered events belong to whole calls, and a subscriber that joins meanwhile receives the end.
#[test]
fn a_start_that_was_offered_is_followed_by_its_end_although_the_subscriber_left() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    let (succeeds, is_dropped) = (tool.start(), tool.start_owned());
    drop(events);
    succeeds.succeed();
    drop(is_dropped);
    assert_eq!(registry.event_accounting().offered, 4);
    assert_eq!(registry.pump(), 4);
    tool.start().succeed();
    assert_eq!(
        registry.event_accounting().offered,
        4,
        "there is no subscription"
    );
}

#[test]
fn every_event_is_accounted_for_when_a_ring_is_full() {
    let (registry, tool, _) = host_with(|builder| builder.stripes(1).ring_capacity(4));
    let events = registry.subscribe();
    for _ in 0..10 {
        tool.run(|| ());
    }
    assert_eq!(registry.pump(), 4);
    let accounting = registry.event_accounting();
    assert_eq!((accounting.offered, accounting.lost_in_rings), (20, 16));
    assert_eq!((accounting.drained, accounting.late), (4, 0));
    tool.run(|| ());
    registry.pump();
    let received = received(&events);
    let tickets: Vec<_> = received
        .iter()
        .map(|event| event.number().ticket())
        .collect();
    assert_eq!(tickets, [0, 1, 2, 3, 20, 21], "the gap is what was lost");
    let stats = events.stats();
    assert_eq!((stats.drained, stats.delivered), (6, 6));
    assert_eq!(registry.metrics().tools["tool"].success(), 11);
}

#[test]
fn under_load_the_account_balances() {
    const THREADS: u64 = 3;
    const CALLS: u64 = 3_000;
    let (registry, tool, _) = host_with(|builder| builder.ring_capacity(64).batch_size(16));
    let all = registry.subscribe();
    let slow = registry.subscribe_with(Filter::new(), Some(2)).unwrap();
    let ends = Filter::new().kinds([Succeeded]);
    let ends = registry.subscribe_with(ends, Some(65_536)).unwrap();
    let mut received_by_all = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| (0..CALLS).for_each(|_| tool.run(|| ()))))
            .collect();
        while !threads
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            registry.pump();
            received_by_all += received(&all).len() as u64;
        }
    });
    registry.pump();
    received_by_all += received(&all).len() as u64;
    let rings = registry.event_accounting();
    assert_eq!(rings.offered, 2 * THREADS * CALLS);
    assert_eq!(rings.offered, rings.lost_in_rings + rings.drained);
    for stats in [all.stats(), slow.stats(), ends.stats()] {
        assert_eq!(stats.drained, rings.drained);
        assert_eq!(stats.drained, stats.delivered + stats.filtered + stats.lost);
    }
    assert_eq!(all.stats().delivered, received_by_all);
    assert_eq!(ends.stats().delivered, received(&ends).len() as u64);
    assert_eq!(slow.stats().delivered, received(&slow).len() as u64);
}

#[test]
fn a_call_that_began_before_the_subscription_gives_its_end_only() {
    let (registry, tool, clock) = host();
    let running = tool.start();
    clock.advance(MS);
    let events = registry.subscribe();
    clock.advance(MS);
    running.succeed();
    registry.pump();
    let received = received(&events);
    assert_eq!(kinds(&received), [Succeeded]);
    assert_eq!(received[0].latency(), Some(2 * MS));
    assert_eq!(received[0].started_ns(), 0);
    assert_eq!(received[0].call(), CallId::from(received[0].number()));
}

#[test]
fn a_subscription_gets_nothing_from_before_it_began() {
    let (registry, tool, _) = host();
    let first = registry.subscribe();
    tool.run(|| ());
    // The clock stands still, so the times of the events are equal.
    let second = registry.subscribe();
    assert_eq!(registry.pump(), 2);
    assert_eq!(received(&first).len(), 2);
    assert_eq!(second.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!((second.stats().drained, second.stats().filtered), (2, 2));
    tool.run(|| ());
    registry.pump();
    assert_eq!(kinds(&received(&second)), [Started, Succeeded]);
}

#[test]
fn names_of_deregistered_tools_resolve() {
    let (registry, tool, clock) = host();
    let events = registry.subscribe();
    let id = tool.id();
    tool.run(|| ());
    registry.deregister("tool").unwrap();
    drop(tool);
    registry.pump();
    let batch = events.try_recv().unwrap();
    for _ in 0..6 {
        clock.advance(Duration::from_secs(1));
        registry.pump();
    }
    registry.reset_metrics();
    assert!(registry.metrics().tool("tool").is_none(), "it is gone");
    assert_eq!(batch.name(id), Some("tool"), "a batch keeps its names");
    let other = registry.register("other").unwrap();
    assert_ne!(other.id(), id);
    assert_eq!(batch.name(other.id()), None);

    // The name keeps its id when it comes again.
    let again = registry.register("tool").unwrap();
    assert_eq!(again.id(), id);
    again.run(|| ());
    other.run(|| ());
    registry.pump();
    let batch = events.try_recv().unwrap();
    let names: Vec<_> = batch.iter().map(|event| batch.name(event.tool())).collect();
    assert_eq!(
        names,
        [Some("tool"), Some("tool"), Some("other"), Some("other")]
    );
}

/// More tools have departed than names are kept for, while their events wait to be delivered.
#[test]
fn names_of_tools_that_departed_without_one_resolve_in_the_events_that_wait() {
    let (registry, _, _) = host_with(|builder| builder.tool_limit(2));
    let events = registry.subscribe();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        registry.register(name).unwrap().run(|| ());
        registry.deregister(name).unwrap();
    }
    let nameless = |registry: &Registry| registry.metrics().nameless.as_ref().map(|n| n.tools);
    assert_eq!(nameless(&registry), Some(2), "the last did not depart yet");
    assert_eq!(registry.pump(), 2 * names.len());
    let batch = events.try_recv().unwrap();
    let told: Vec<_> = batch.iter().map(|event| batch.name(event.tool())).collect();
    let expected: Vec<_> = names.iter().flat_map(|&name| [Some(name); 2]).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_subscriber_that_panics_in_the_middle_touches_no_other() {
    let (registry, tool, _) = host();
    let (steady, fragile) = (registry.subscribe(), registry.subscribe());
    tool.run(|| ());
    registry.pump();
    let ended = std::thread::spawn(move || {
        for event in &fragile.recv().unwrap() {
            assert!(event.kind() != Started, "in the middle of a batch");
        }
    })
    .join();
    assert!(ended.is_err());
    assert_eq!(received(&steady).len(), 2);
    tool.run(|| ());
    assert_eq!(registry.pump(), 2);
    assert_eq!(received(&steady).len(), 2);
    assert_eq!(registry.metrics().tools["tool"].success(), 2);
}

#[test]
fn after_a_shutdown_what_is_queued_is_received_and_then_no_more() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    tool.run(|| ());
    let running = tool.start();
    registry.shutdown();
    running.succeed();
    assert_eq!(events.recv().unwrap().len(), 3);
    assert!(events.recv().is_err());
    assert_eq!(events.try_recv().unwrap_err(), TryRecvError::Disconnected);
    let timeout = Duration::from_secs(5);
    assert_eq!(
        events.recv_timeout(timeout).unwrap_err(),
        RecvTimeoutError::Disconnected
    );
    assert_eq!(events.iter().count(), 0);
    assert_eq!(registry.pump(), 0);
    assert_eq!(registry.metrics().tools["tool"].success(), 2);
    let rings = registry.event_accounting();
    assert_eq!(
        (rings.offered, rings.lost_in_rings, rings.drained),
        (4, 1, 3)
    );
    let late = registry.subscribe();
    assert_eq!(late.try_recv().unwrap_err(), TryRecvError::Disconnected);
}

#[tokio::test]
async fn an_async_receiver_waits_without_a_thread() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    let receiver = tokio::spawn(async move {
        let batch = events.recv_async().await.unwrap();
        (batch.len(), events.recv_async().await.is_err())
    });
    tokio::task::yield_now().await;
    assert!(!receiver.is_finished());
    tool.run(|| ());
    registry.pump();
    tokio::task::yield_now().await;
    registry.shutdown();
    assert_eq!(receiver.await.unwrap(), (2, true));
}

/// Times follow the manual clock, and do not change when they are read later.
#[test]
fn the_time_of_day_of_an_event_is_that_of_the_clock() {
    let (registry, tool, clock) = host();
    let events = registry.subscribe();
    clock.advance(Duration::from_secs(60));
    tool.run(|| ());
    clock.advance(Duration::from_secs(3_600));
    registry.pump();
    let batch = events.try_recv().unwrap();
    let began = registry.started_at() + Duration::from_secs(60);
    assert_eq!(batch.wall_time(&batch[0]), began);
    assert_eq!(batch.taken_at(), began + Duration::from_secs(3_600));
}

#[test]
fn the_background_pump_delivers_by_itself() {
    let registry = Registry::builder()
        .clock(ClockSource::OperatingSystem)
        .pump(Pump::background())
        .build()
        .unwrap();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    tool.run(|| ());
    let mut received = Vec::new();
    while received.len() < 2 {
        let batch = events.recv_timeout(Duration::from_secs(5)).unwrap();
        received.extend(batch.iter().cloned());
    }
    assert_eq!(kinds(&received), [Started, Succeeded]);
    drop(registry);
    assert!(events.recv().is_err());
}
