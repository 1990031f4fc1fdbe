//! The rings, the drain and the hub on the real channel, under load.
//!
//! Models show the orderings on a stand-in; this shows crossbeam's channel in its place: never
//! found full, every event accounted for, no end before its start.
#![cfg(not(toolmeter_loom))]

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};
use toolmeter_core::Outcome;
use toolmeter_events::{
    Batch, CallId, Draft, Drain, EventKind, Filter, Hub, Moment, NameTable, Rings, Subscription,
    ToolId,
};

/// How long each test loads the machine.
const LOAD: Duration = Duration::from_millis(600);
const TOOL: ToolId = ToolId::new(1);

/// Offers whole calls until told to stop; returns how many events.
fn call_until(stop: &AtomicBool, rings: &Rings, first: usize, clock: &Instant) -> u64 {
    let now = || clock.elapsed().as_nanos() as u64;
    let mut offered = 0;
    let mut stripe = first;
    while !stop.load(Relaxed) {
        let began_ns = now();
        let call = rings.offer(stripe, Draft::started(TOOL, 1, began_ns, None), None);
        // Every call ends on another stripe than it began on.
        stripe = stripe.wrapping_add(1);
        let latency_ns = now() - began_ns;
        let outcome = Outcome::Success;
        let end = Draft::closing(TOOL, 1, began_ns, latency_ns, outcome, None, None);
        rings.offer(stripe, end, Some(call));
        offered += 2;
    }
    offered
}

/// Which calls a subscription has seen the end of; asserts that no start follows its end.
#[derive(Default)]
struct Ends(HashSet<CallId>);

impl Ends {
    fn see(&mut self, batch: &Batch) -> u64 {
        for event in batch {
            if event.kind() == EventKind::Started {
                assert!(
                    !self.0.contains(&event.call()),
                    "{} began after its end",
                    event.call()
                );
            } else {
                assert!(self.0.insert(event.call()), "{} ended twice", event.call());
            }
        }
        batch.len() as u64
    }
}

fn receive(subscription: &Subscription) -> (u64, u64) {
    let (mut ends, mut events, mut told) = (Ends::default(), 0, 0);
    for batch in subscription.iter() {
        told += batch.lost_before();
        events += ends.see(&batch);
    }
    (events, told)
}

/// Four threads on two stripes, one pump, one good subscription and one that nobody reads, closed
/// under load. The pump never rests: the more often it empties the rings, the more often their
/// places change hands, which is what this is about.
fn every_event_is_accounted_for(capacity: usize, hold_back_ns: u64) {
    let clock = Instant::now();
    let rings = Arc::new(Rings::new(2, capacity).unwrap());
    let hub = Hub::new(65_536, 1_024).unwrap();
    let names = Arc::new(NameTable::default());
    let good = hub.subscribe(&rings, Filter::new(), 0, None).unwrap();
    let slow = hub.subscribe(&rings, Filter::new(), 0, Some(1)).unwrap();
    let stop = AtomicBool::new(false);

    thread::scope(|scope| {
        let producers: Vec<_> = (0..4)
            .map(|first| {
                let (stop, rings, clock) = (&stop, &rings, &clock);
                scope.spawn(move || call_until(stop, rings, first, clock))
            })
            .collect();
        let received = scope.spawn(|| receive(&good));
        let pump = scope.spawn(|| {
            let now = || clock.elapsed().as_nanos() as u64;
            let moment = Moment::new(SystemTime::UNIX_EPOCH, 0);
            let mut drain = Drain::new(&rings, hold_back_ns);
            while clock.elapsed() < LOAD {
                hub.fan_out(drain.round(now), &names, moment);
            }
            let deadline = Instant::now() + Duration::from_millis(100);
            hub.fan_out(drain.finish(|| Instant::now() > deadline), &names, moment);
            hub.close();
        });
        // The producers go on until the rings are closed, and a little longer.
        pump.join().unwrap();
        stop.store(true, Relaxed);
        let offered: u64 = producers
            .into_iter()
            .map(|producer| producer.join().unwrap())
            .sum();

        let accounting = rings.accounting();
        assert_eq!(accounting.offered, offered);
        assert_eq!(accounting.found_full, 0);
        assert_eq!(accounting.offered, accounting.lost + accounting.drained);
        for stripe in &accounting.stripes {
            assert_eq!(stripe.offered, stripe.lost + stripe.drained);
        }
        assert!(
            accounting.drained > 0 && accounting.lost > 0,
            "{accounting:?}"
        );

        let (events, told) = received.join().unwrap();
        for stats in [good.stats(), slow.stats()] {
            assert_eq!(stats.drained, accounting.drained);
            assert_eq!(stats.drained, stats.delivered + stats.filtered + stats.lost);
        }
        assert_eq!(events, good.stats().delivered);
        assert!(told <= good.stats().lost);
        // Each place was used many times, or the test shows little.
        let uses = accounting.drained / (2 * capacity as u64);
        assert!(uses >= 10, "{accounting:?}");
        println!(
            "{uses} uses of each place, {accounting:?}\n{:?}\n{:?}",
            good.stats(),
            slow.stats()
        );
    });
}

#[test]
fn rings_of_one_place() {
    every_event_is_accounted_for(1, 0);
}

#[test]
fn rings_of_eight_places_with_a_hold_back() {
    every_event_is_accounted_for(8, 50_000);
}

#[test]
fn rings_of_four_thousand_places() {
    every_event_is_accounted_for(4_096, 50_000);
}

/// The pump sleeps without a time limit: were a wake-up lost, the test would not end.
#[test]
fn a_pump_that_sleeps_hears_every_event() {
    const EVENTS: u64 = 20_000;
    let rings = Arc::new(Rings::new(2, 64).unwrap());
    rings.open();
    thread::scope(|scope| {
        let (pump_rings, pump) = (Arc::clone(&rings), &rings);
        let drained = scope.spawn(move || {
            let me = thread::current();
            assert!(pump_rings.set_waker(move || me.unpark()));
            let mut drain = Drain::new(&pump_rings, 0);
            let mut sleeps = 0_u64;
            loop {
                drain.round(|| u64::MAX);
                let accounting = pump_rings.accounting();
                if accounting.drained + accounting.lost == 2 * EVENTS {
                    return sleeps;
                }
                if drain.fall_asleep() {
                    sleeps += 1;
                    thread::park();
                    pump_rings.stay_awake();
                }
            }
        });
        for stripe in 0..2 {
            scope.spawn(move || {
                for _ in 0..EVENTS {
                    pump.offer(stripe, Draft::started(TOOL, 1, 0, None), None);
                    if stripe == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        println!("slept {} times", drained.join().unwrap());
    });
    assert_eq!(rings.accounting().found_full, 0);
}
