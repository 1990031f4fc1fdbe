use super::{AWAKE, LAST_DRAIN, MANUAL_SLEEP, REST, SLEEP};
use crate::sync::lock;
use crate::{ClockSource, Pump, Registry};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use toolmeter_core::ManualClock;
use toolmeter_events::Drain;

const CALLS: u64 = 1_000;
/// Far more than a thousand calls take: it passes only if a call waits for the pump.
const STUCK: Duration = Duration::from_secs(30);

/// The pump's thread stops with the events of a full ring taken and not yet counted. A
/// thousand calls finish all the same; their events are lost, and counted.
#[test]
fn a_call_does_not_wait_for_a_pump_that_stands_still() {
    let registry = Registry::builder()
        .clock(ClockSource::Manual(ManualClock::new().into()))
        .pump(Pump::manual())
        .stripes(1)
        .ring_capacity(8)
        .build()
        .unwrap();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    for _ in 0..4 {
        tool.start().succeed();
    }
    let (stopped, is_stopped) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let pump = {
        let registry = registry.clone();
        thread::spawn(move || {
            registry.pump_worker().round_with_hook(|| {
                stopped.send(()).unwrap();
                may_go_on.recv().unwrap();
            })
        })
    };
    is_stopped.recv_timeout(STUCK).unwrap();

    let (finished, have_finished) = mpsc::channel();
    let caller = {
        let tool = tool.clone();
        thread::spawn(move || {
            for _ in 0..CALLS {
                tool.run(|| ());
            }
            finished.send(()).unwrap();
        })
    };
    let waited = have_finished.recv_timeout(STUCK);
    go_on.send(()).unwrap();
    waited.expect("a call waited for the pump");
    caller.join().unwrap();
    assert_eq!(pump.join().unwrap(), 8);
    registry.pump();

    let metrics = registry.metrics();
    assert_eq!(metrics.tools["tool"].success(), 4 + CALLS);
    let account = registry.event_accounting();
    assert_eq!((account.offered, account.drained), (8 + 2 * CALLS, 8));
    assert_eq!(account.lost_in_rings, 2 * CALLS);
    assert_eq!(events.try_recv().unwrap().len(), 8);
}

/// An event that may not be delivered yet, or one that its producer is held up with, keeps the
/// pump from falling asleep. It keeps it from resting no more than that.
#[test]
fn the_pump_rests_while_it_may_not_sleep() {
    let registry = Registry::builder()
        .clock(ClockSource::Manual(ManualClock::new().into()))
        .pump(Pump::manual())
        .build()
        .unwrap();
    let worker = registry.pump_worker();
    // It holds what comes for 64 rounds, whatever the clock says.
    lock(&worker.rounds).drain = Drain::new(&registry.state().env.rings, u64::MAX);
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    tool.start().succeed();
    thread::scope(|scope| {
        let began = Instant::now();
        scope.spawn(|| worker.run());
        let received = events.recv_timeout(STUCK);
        let took = began.elapsed();
        worker.stop();
        assert_eq!(received.unwrap().len(), 2);
        assert!(took >= 60 * REST, "64 rounds in {took:?}");
    });
}

/// A producer that is held up for ever: the pump rests, and the end waits for 100 ms.
#[test]
fn a_producer_that_is_held_up_keeps_neither_a_core_nor_the_end() {
    let registry = Registry::builder()
        .clock(ClockSource::Manual(ManualClock::new().into()))
        .build()
        .unwrap();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    registry.state().env.rings.offer_and_stop(0);
    tool.start().succeed();
    let rounds = || lock(&registry.state().names).rounds();
    let (before, began) = (rounds(), Instant::now());
    let mut received = 0;
    while received < 2 {
        received += events.recv_timeout(STUCK).unwrap().len();
    }
    // Beyond the time for which it rests after an event anyway.
    while began.elapsed() < 2 * AWAKE {
        thread::park_timeout(AWAKE);
    }
    let made = u128::from(rounds() - before);
    let most = began.elapsed().as_millis() + 100;
    assert!(made <= most, "{made} rounds where {most} are the most");

    let began = Instant::now();
    registry.shutdown();
    assert!(
        began.elapsed() >= LAST_DRAIN,
        "what is under way has a time"
    );
    assert!(began.elapsed() < STUCK / 3);
    assert_eq!(events.iter().count(), 0);
    let account = registry.event_accounting();
    assert_eq!((account.offered, account.drained), (3, 2));
    assert_eq!(account.lost_in_rings, 1);
}

#[test]
fn a_round_that_panics_is_told_and_the_next_goes_on() {
    const PANICS: u64 = 3;
    let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    tool.start().succeed();
    let worker = registry.pump_worker();
    let rounds = AtomicU64::new(0);
    let round = || {
        if rounds.fetch_add(1, Ordering::Relaxed) < PANICS {
            let _held = lock(&worker.rounds);
            panic!("in the middle of a round");
        }
        worker.round()
    };
    thread::scope(|scope| {
        scope.spawn(|| worker.run_rounds(round, thread::park_timeout));
        let mut received = 0;
        while received < 2 {
            let Ok(batch) = events.recv_timeout(STUCK) else {
                break;
            };
            received += batch.len();
        }
        worker.stop();
        assert_eq!(received, 2);
    });
    assert_eq!(registry.event_accounting().pump_panics, PANICS);
}

/// For how long the pump of a busy registry without subscribers rests after each of some rounds.
fn rests(clock: ClockSource, publish_every: Duration) -> Vec<Duration> {
    const ROUNDS: usize = 5;
    let registry = Registry::builder()
        .clock(clock)
        .pump(Pump::manual())
        .publish_every(publish_every)
        .build()
        .unwrap();
    let tool = registry.register("tool").unwrap();
    let worker = registry.pump_worker();
    let round = || {
        tool.start().succeed();
        worker.round()
    };
    let rests = RefCell::new(Vec::new());
    let park = |rest| {
        rests.borrow_mut().push(rest);
        if rests.borrow().len() == ROUNDS {
            worker.stop();
        }
    };
    worker.run_rounds(round, park);
    rests.into_inner()
}

/// Nothing is subscribed and a tool is busy: what keeps the pump awake is its publishing alone.
#[test]
fn the_pump_sleeps_until_a_snapshot_is_due_and_no_longer() {
    const EVERY: Duration = Duration::from_millis(10);
    for (publish_every, longest) in [
        (EVERY, EVERY),
        (Duration::MAX, SLEEP),
        (Duration::ZERO, REST),
        (Duration::from_nanos(1), REST),
    ] {
        let rests = rests(ClockSource::OperatingSystem, publish_every);
        for rest in &rests {
            assert!((REST..=longest).contains(rest), "{rests:?} of {longest:?}");
        }
    }
    for publish_every in [Duration::ZERO, EVERY, Duration::MAX] {
        let rests = rests(ClockSource::Manual(Arc::default()), publish_every);
        assert_eq!(rests, [MANUAL_SLEEP; 5]);
    }
}
