//! Batches of events as a stream: none is lost or doubled, whatever polls the stream, and the stream
//! ends when it should.
#![cfg(all(feature = "stream", feature = "tokio", not(toolmeter_loom)))]

mod common;

use common::host;
use futures_util::stream::FusedStream;
use futures_util::{FutureExt, StreamExt, future, stream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use toolmeter::{
    Batch, BatchStream, EventKind, Filter, ManualClock, Registry, ToolHandle, ToolId, TryRecvError,
};

struct Host {
    registry: Registry,
    tool: ToolHandle,
    clock: Arc<ManualClock>,
}

impl Host {
    fn new() -> Self {
        let (registry, tool, clock) = host();
        Self {
            registry,
            tool,
            clock,
        }
    }

    /// Makes one call, which is delivered as a batch of its two events.
    fn one_batch(&self) {
        self.tool.start().succeed();
        // Past the time for which the drain holds events back.
        self.clock.advance(Duration::from_millis(1));
        assert_eq!(self.registry.pump(), 2);
    }
}

fn poll(batches: &mut BatchStream, waker: &Waker) -> Poll<Option<Batch>> {
    Pin::new(batches).poll_next_unpin(&mut Context::from_waker(waker))
}

/// A waker that counts its calls, and reports each.
struct Counting {
    calls: AtomicUsize,
    told: mpsc::SyncSender<()>,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let _ = self.told.try_send(());
    }
}

fn counting() -> (Arc<Counting>, Waker, mpsc::Receiver<()>) {
    let (told, hears) = mpsc::sync_channel(16);
    let calls = AtomicUsize::new(0);
    let counting = Arc::new(Counting { calls, told });
    (Arc::clone(&counting), Waker::from(counting), hears)
}

/// Longer than any machine takes to call a waker.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn combinators_see_every_event_and_the_end() {
    let host = Host::new();
    let batches = host.registry.subscribe().into_stream();
    for _ in 0..100 {
        host.one_batch();
    }
    host.registry.shutdown();
    let kinds = batches
        .flat_map(|batch| stream::iter(batch.to_vec()))
        .filter(|event| future::ready(event.kind() == EventKind::Succeeded))
        .map(|event| event.call())
        .collect::<Vec<_>>()
        .now_or_never()
        .expect("everything was delivered, and the registry is shut down");
    assert_eq!(kinds.len(), 100);
    assert!(kinds.is_sorted_by(|a, b| a < b), "{kinds:?}");
}

#[test]
fn it_ends_when_the_registry_is_shut_down_and_all_was_delivered() {
    let host = Host::new();
    let mut batches = host.registry.subscribe().into_stream();
    host.tool.start().succeed();
    host.registry.shutdown();
    // Shut down, but not all delivered.
    assert!(!batches.is_terminated());
    assert_eq!(
        batches.next().now_or_never().flatten().map(|b| b.len()),
        Some(2)
    );
    assert!(!batches.is_terminated());
    for _ in 0..3 {
        assert!(matches!(batches.next().now_or_never(), Some(None)));
        assert!(batches.is_terminated());
    }
}

#[test]
fn a_pending_stream_is_woken_for_the_end() {
    let host = Host::new();
    let mut batches = host.registry.subscribe().into_stream();
    let (_, waker, woken) = counting();
    assert!(poll(&mut batches, &waker).is_pending());
    drop(host);
    woken.recv_timeout(LONG).expect("it is woken");
    assert!(matches!(poll(&mut batches, &waker), Poll::Ready(None)));
}

#[test]
fn dropping_it_ends_the_subscription() {
    let host = Host::new();
    let mut batches = host.registry.subscribe().into_stream();
    let stats = batches.subscription().stats_handle();
    let (_, waker, _woken) = counting();
    host.one_batch();
    assert!(poll(&mut batches, &waker).is_ready());
    assert!(poll(&mut batches, &waker).is_pending());
    let offered = host.registry.event_accounting().offered;
    assert_eq!(offered, 2);
    drop(batches);
    host.tool.start().succeed();
    host.clock.advance(Duration::from_millis(1));
    assert_eq!(host.registry.pump(), 0);
    // Without a subscription, nothing is offered.
    assert_eq!(host.registry.event_accounting().offered, offered);
    assert_eq!(stats.read().drained, 2);
}

#[test]
fn the_waker_of_the_last_poll_is_called() {
    let host = Host::new();
    let mut batches = host.registry.subscribe().into_stream();
    let (first, first_waker, _) = counting();
    let (second, second_waker, woken) = counting();
    assert!(poll(&mut batches, &first_waker).is_pending());
    assert!(poll(&mut batches, &second_waker).is_pending());
    // The first waker is dropped at once: only the test and its own copy of the waker hold it.
    assert_eq!(Arc::strong_count(&first), 2);
    host.one_batch();
    woken.recv_timeout(LONG).expect("it is woken");
    assert!(poll(&mut batches, &second_waker).is_ready());
    assert_eq!(first.calls.load(Ordering::Relaxed), 0);
    assert_eq!(second.calls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stream_that_is_not_pending_keeps_no_waker() {
    let host = Host::new();
    let mut batches = host.registry.subscribe().into_stream();
    let (counting, waker, _woken) = counting();
    assert!(poll(&mut batches, &waker).is_pending());
    assert_eq!(Arc::strong_count(&counting), 3);
    // Found before it was woken, or after; in both cases nothing is left behind.
    host.one_batch();
    assert!(poll(&mut batches, Waker::noop()).is_ready());
    drop(waker);
    drop(batches);
    drop(host);
    // The thread that calls wakers may still hold its copy.
    while Arc::strong_count(&counting) > 1 {
        std::thread::yield_now();
    }
}

/// A `next()` that a `select!` drops again and again loses no batch.
#[tokio::test]
async fn select_in_a_loop_loses_no_batch() {
    const CALLS: u64 = 2_000;
    let registry = Registry::new();
    let tool = registry.register("tool").unwrap();
    let filter = Filter::new().kinds([EventKind::Succeeded]);
    let mut batches = registry
        .subscribe_with(filter, Some(65_536))
        .unwrap()
        .into_stream();
    let caller = std::thread::spawn(move || {
        for number in 0..CALLS {
            tool.start().succeed();
            if number % 50 == 0 {
                std::thread::yield_now();
            }
        }
        registry.shutdown();
    });
    let mut calls = Vec::new();
    let mut others = 0_u64;
    loop {
        tokio::select! {
            batch = batches.next() => match batch {
                Some(batch) => calls.extend(batch.iter().map(toolmeter::Event::call)),
                None => break,
            },
            // This is always ready in the end, so most of the `next`s are dropped while they wait.
            () = tokio::task::yield_now() => others += 1,
        }
    }
    caller.join().unwrap();
    assert!(others > 0);
    assert_eq!(calls.len() as u64, CALLS);
    assert!(calls.is_sorted_by(|a, b| a < b));
    let stats = batches.subscription().stats();
    assert_eq!((stats.delivered, stats.lost), (CALLS, 0));
}

/// A subscription cannot be cloned; two of them are two streams, and each is given everything.
#[tokio::test]
async fn two_streams_are_each_given_everything() {
    let host = Host::new();
    let streams = [(); 2].map(|()| host.registry.subscribe().into_stream());
    let [first, second] = streams.map(|batches| {
        batches.fold(Vec::new(), |mut ids: Vec<ToolId>, batch| {
            ids.extend(batch.iter().map(toolmeter::Event::tool));
            future::ready(ids)
        })
    });
    let calls = async {
        for _ in 0..10 {
            host.one_batch();
            tokio::task::yield_now().await;
        }
        host.registry.shutdown();
    };
    let (first, second, ()) = tokio::join!(first, second, calls);
    assert_eq!(first.len(), 20);
    assert_eq!(first, second);
}

#[test]
fn the_subscription_it_lends_is_that_of_the_stream() {
    let host = Host::new();
    let mut batches = host.registry.subscribe().into_stream();
    host.one_batch();
    assert_eq!(batches.subscription().try_recv().unwrap().len(), 2);
    assert!(poll(&mut batches, Waker::noop()).is_pending());
    host.registry.shutdown();
    assert!(matches!(
        batches.subscription().try_recv(),
        Err(TryRecvError::Disconnected)
    ));
    assert!(!batches.is_terminated());
    assert!(matches!(
        poll(&mut batches, Waker::noop()),
        Poll::Ready(None)
    ));
}
