//! The rings, the drain and the hub on the real channel, under load.
//!
//! The models check the orderings on a stand-in for crossbeam's channel; these tests run the real
//! one: a queue never holds more batches than its capacity (a debug build panics if it does), every
//! event is counted, and no end comes before its start.
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
use toolmeter_core::{Finish, Outcome};
use toolmeter_events::{
    Batch, CallId, Draft, Drain, EventKind, Filter, Hub, Moment, NameTable, Rings, Subscription,
    Timeline, ToolId,
};

/// The number of times that each place of a ring is used at least. The work is fixed, not the time,
/// so a busy machine makes the tests slower but not less thorough.
const USES_OF_A_PLACE: u64 = 20;
/// The number of events that go through at least, however small the rings are.
const EVENTS: u64 = 10_000;
const TOOL: ToolId = ToolId::new(1);

/// Offers whole calls until it has to stop. Returns the number of events.
fn call_until(stop: &AtomicBool, rings: &Rings, first: usize, clock: &Instant) -> u64 {
    let now = || clock.elapsed().as_nanos() as u64;
    let mut offered = 0;
    // A call ends half the stripes away from where it began.
    let half = rings.stripes() / 2;
    let mut stripe = first;
    while !stop.load(Relaxed) {
        let began_ns = now();
        let call = rings.offer(stripe, Draft::started(TOOL, 1, began_ns, None), None);
        let latency_ns = now() - began_ns;
        let finish = Finish::new(Outcome::Success, 1, began_ns, latency_ns);
        let end = Draft::closing(TOOL, finish, None, None);
        rings.offer(stripe + half, end, Some(call));
        stripe += 1;
        offered += 2;
        if offered % 16 == 0 {
            thread::yield_now(); // otherwise few cores would leave none to the pump
        }
    }
    offered
}

/// The calls whose end a subscription has received. Asserts that no start follows its end.
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
    let (mut ends, mut events, mut lost) = (Ends::default(), 0, 0);
    for batch in subscription.iter() {
        lost += batch.lost_before();
        events += ends.see(&batch);
    }
    (events, lost)
}

/// Four threads, one pump, one subscription that is read and one that is not, closed under load.
/// The pump never rests: the more often it empties the rings, the more often threads meet at a
/// place.
fn every_event_is_accounted_for(stripes: usize, capacity: usize, hold_back_ns: Option<u64>) {
    let clock = Instant::now();
    let rings = Arc::new(Rings::new(stripes, capacity).unwrap());
    let hub = Hub::new(65_536, 1_024).unwrap();
    let names = Arc::new(NameTable::default());
    let good = hub.subscribe(&rings, Filter::new(), None).unwrap();
    let slow = hub.subscribe(&rings, Filter::new(), Some(1)).unwrap();
    let stop = AtomicBool::new(false);
    let enough = EVENTS.max((stripes * capacity) as u64 * USES_OF_A_PLACE);

    thread::scope(|scope| {
        let producers: Vec<_> = (0..4)
            .map(|first| {
                let (stop, rings, clock) = (&stop, &rings, &clock);
                scope.spawn(move || call_until(stop, rings, first, clock))
            })
            .collect();
        let received = scope.spawn(|| receive(&good));
        let pump = scope.spawn(|| {
            // Without a hold-back, by the drain's clock every event is old.
            let now = || hold_back_ns.map_or(u64::MAX, |_| clock.elapsed().as_nanos() as u64);
            let moment = Moment::new(SystemTime::UNIX_EPOCH, 0);
            let timeline = Arc::new(Timeline::new(moment));
            let mut drain = Drain::new(&rings, hold_back_ns.unwrap_or(0));
            while rings.accounting().drained < enough {
                hub.fan_out(drain.round(now), &names, &timeline, moment)
                    .wake();
            }
            let deadline = Instant::now() + Duration::from_millis(100);
            hub.fan_out(
                drain.finish(|| Instant::now() > deadline),
                &names,
                &timeline,
                moment,
            )
            .wake();
            hub.close().wake();
        });
        // The producers go on while the rings close, and a little longer.
        pump.join().unwrap();
        rings.offer(0, Draft::started(TOOL, 1, 0, None), None); // lost for certain
        stop.store(true, Relaxed);
        let offered: u64 = producers
            .into_iter()
            .map(|producer| producer.join().unwrap())
            .sum();

        let accounting = rings.accounting();
        assert_eq!(accounting.offered, offered + 1);
        assert_eq!(accounting.offered, accounting.lost + accounting.drained);
        for stripe in &accounting.stripes {
            assert_eq!(stripe.offered, stripe.lost + stripe.drained);
        }
        assert!(
            accounting.drained >= enough && accounting.lost > 0,
            "{accounting:?}"
        );

        let (events, lost) = received.join().unwrap();
        for stats in [good.stats(), slow.stats()] {
            assert_eq!(stats.drained, accounting.drained);
            assert_eq!(stats.drained, stats.delivered + stats.filtered + stats.lost);
        }
        assert_eq!(events, good.stats().delivered);
        assert!(lost <= good.stats().lost);
        println!("{accounting:?}\n{:?}\n{:?}", good.stats(), slow.stats());
    });
}

#[test]
fn rings_of_one_place() {
    every_event_is_accounted_for(2, 1, Some(0));
}

#[test]
fn rings_of_eight_places_with_a_hold_back() {
    every_event_is_accounted_for(2, 8, Some(50_000));
}

#[test]
fn rings_of_four_thousand_places() {
    every_event_is_accounted_for(2, 4_096, Some(50_000));
}

/// No end comes before its start, without the help of a clock. With a correct clock the drain
/// hardly needs to read the positions twice: an end that is old enough has a start that is in its
/// ring. Here every event is old enough, and reading the positions of so many stripes takes longer
/// than a call, so calls begin and end while the drain is between their two stripes.
#[test]
fn rings_of_many_stripes() {
    every_event_is_accounted_for(256, 8, None);
}

/// The pump sleeps without a time limit: if a wake-up were lost, the test would not end.
#[test]
fn a_pump_that_sleeps_hears_every_event() {
    const CALLS: u64 = 10_000;
    let rings = Arc::new(Rings::new(2, 64).unwrap());
    rings.allocate();
    thread::scope(|scope| {
        let pump = scope.spawn(|| {
            let me = thread::current();
            assert!(rings.set_waker(move || me.unpark()));
            let mut drain = Drain::new(&rings, 0);
            let mut sleeps = 0_u64;
            loop {
                drain.round(|| u64::MAX);
                let accounting = rings.accounting();
                if accounting.drained + accounting.lost == 4 * CALLS {
                    return sleeps;
                }
                if drain.fall_asleep() {
                    sleeps += 1;
                    thread::park();
                    rings.stay_awake();
                }
            }
        });
        for stripe in 0..2 {
            let rings = &rings;
            scope.spawn(move || {
                for _ in 0..CALLS {
                    let call = rings.offer(stripe, Draft::started(TOOL, 1, 0, None), None);
                    let finish = Finish::new(Outcome::Success, 1, 0, 1);
                    let end = Draft::closing(TOOL, finish, None, None);
                    rings.offer(stripe + 1, end, Some(call));
                    if stripe == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        println!("slept {} times", pump.join().unwrap());
    });
}
