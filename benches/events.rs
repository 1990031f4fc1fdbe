//! The cost of the events of a call: offering, draining, fanning out.
//!
//! All of it is measured through `toolmeter-events`, without a registry, a clock or a thread around
//! it:
//!
//! - `offer`: one event into a ring with `room`, in bursts between which the ring is emptied, and
//!   into one that is `full`, where it is counted as lost. A `Started` and an end in turn.
//! - `drain`: one round over 1,000 events that wait in as many stripes as the number says, sorted
//!   by time. Freeing the events is not included.
//! - `fan_out`: 1,000 events to as many subscribers as the number says. Receiving them is not
//!   included.
//!
//! Before and after, the accounts must add up: offered is lost plus drained, and every subscriber
//! received everything.
//!
//! It does not show a drain on another core than the calls, whose cache lines the two pass back and
//! forth. That is in the figures of `toolmeter/subscribed` in `tools/peers`.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use support::{in_bursts, mostly_untimed};
use toolmeter::Outcome;
use toolmeter_core::Finish;
use toolmeter_events::{
    Draft, Drain, Filter, Hub, Moment, NameTable, Rings, Subscription, Timeline, ToolId,
};

const TOOL: ToolId = ToolId::new(1);
const RING_CAPACITY: usize = 4_096;
/// The number of events in one round.
const EVENTS: u64 = 1_000;
const STRIPES: [usize; 4] = [1, 2, 8, 16];
const SUBSCRIBERS: [usize; 3] = [1, 8, 64];
const CHECK_ROUNDS: u64 = 10;

fn main() {
    let mut criterion = support::criterion();
    offer(&mut criterion);
    drain(&mut criterion);
    fan_out(&mut criterion);
    criterion.final_summary();
}

/// Rings with their drain, and the number of events offered.
struct Bench {
    rings: Arc<Rings>,
    drain: Drain,
    offered: u64,
}

impl Bench {
    fn new(stripes: usize) -> Self {
        let rings = Rings::new(stripes, RING_CAPACITY).expect("the settings are in range");
        let rings = Arc::new(rings);
        rings.allocate();
        Self {
            drain: Drain::new(&rings, 0),
            rings,
            offered: 0,
        }
    }

    /// Offers [`EVENTS`] events, to each stripe in turn.
    fn fill(&mut self) {
        let stripes = self.rings.stripes();
        for stripe in (0..stripes).cycle().take(EVENTS as usize) {
            offer_one(&self.rings, stripe, self.offered);
            self.offered += 1;
        }
    }

    fn check(&self, lost: u64) {
        let accounting = self.rings.accounting();
        assert_eq!(
            (accounting.offered, accounting.lost, accounting.drained),
            (self.offered, lost, self.offered - lost),
            "events offered, lost and drained"
        );
    }
}

/// Offers the event of this number: a start, or the end of the call before. Times increase.
#[inline(always)]
fn offer_one(rings: &Rings, stripe: usize, number: u64) {
    let draft = if number.is_multiple_of(2) {
        Draft::started(TOOL, 1, number, None)
    } else {
        Draft::closing(
            TOOL,
            Finish::new(Outcome::Success, 1, number - 1, 1),
            None,
            None,
        )
    };
    black_box(rings.offer(stripe, draft, None));
}

fn offer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("events/offer");
    let mut bench = Bench::new(1);
    let mut with_room = |events: u64| {
        let Bench {
            rings,
            drain,
            offered,
        } = &mut bench;
        let busy = in_bursts(
            events,
            || {
                offer_one(rings, 0, *offered);
                *offered += 1;
            },
            || drop(drain.round(|| u64::MAX)),
        );
        bench.check(0);
        busy
    };
    with_room(CHECK_ROUNDS * EVENTS);
    group.bench_function("room", |bencher| bencher.iter_custom(&mut with_room));

    let mut bench = Bench::new(1);
    while bench.offered < RING_CAPACITY as u64 {
        bench.fill();
    }
    let mut into_full = |events: u64| {
        let Bench { rings, offered, .. } = &mut bench;
        let lost_before = rings.accounting().lost;
        let busy = in_bursts(
            events,
            || {
                offer_one(rings, 0, *offered);
                *offered += 1;
            },
            || {},
        );
        let accounting = rings.accounting();
        assert_eq!(accounting.lost - lost_before, events, "events lost");
        assert_eq!(
            accounting.lost + RING_CAPACITY as u64,
            accounting.offered,
            "events lost and waiting"
        );
        busy
    };
    into_full(CHECK_ROUNDS * EVENTS);
    group.bench_function("full", |bencher| bencher.iter_custom(&mut into_full));
    group.finish();
}

fn drain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("events/drain");
    mostly_untimed(&mut group);
    group.throughput(Throughput::Elements(EVENTS));
    for stripes in STRIPES {
        let mut bench = Bench::new(stripes);
        let mut rounds = |rounds: u64| {
            let mut busy = Duration::ZERO;
            for _ in 0..rounds {
                bench.fill();
                let start = Instant::now();
                let round = bench.drain.round(|| u64::MAX);
                busy += start.elapsed();
                assert_eq!(round.events.len() as u64, EVENTS, "events of a round");
            }
            bench.check(0);
            busy
        };
        rounds(CHECK_ROUNDS);
        group.bench_function(BenchmarkId::from_parameter(stripes), |bencher| {
            bencher.iter_custom(&mut rounds);
        });
    }
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("events/fan_out");
    mostly_untimed(&mut group);
    group.throughput(Throughput::Elements(EVENTS));
    let names = Arc::new(NameTable::new([(TOOL, support::TOOL)]));
    for subscribers in SUBSCRIBERS {
        let mut bench = Bench::new(2);
        let hub = Hub::new(Hub::DEFAULT_QUEUE_CAPACITY, Hub::DEFAULT_BATCH_SIZE)
            .expect("the settings are in range");
        let subscriptions: Vec<_> = (0..subscribers)
            .map(|_| hub.subscribe(&bench.rings, Filter::new(), None))
            .collect::<Result<_, _>>()
            .expect("the settings are in range");
        let mut rounds = |rounds: u64| {
            let mut busy = Duration::ZERO;
            for _ in 0..rounds {
                bench.fill();
                let round = bench.drain.round(|| u64::MAX);
                let moment = Moment::new(SystemTime::now(), bench.offered);
                let timeline = Arc::new(Timeline::new(moment));
                let start = Instant::now();
                hub.fan_out(round, &names, &timeline, moment).wake();
                busy += start.elapsed();
                for subscription in &subscriptions {
                    assert_eq!(received(subscription), EVENTS, "events received");
                }
            }
            bench.check(0);
            busy
        };
        rounds(CHECK_ROUNDS);
        group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
            bencher.iter_custom(&mut rounds);
        });
    }
    group.finish();
}

/// Receives all batches that are queued. Returns the number of their events.
fn received(subscription: &Subscription) -> u64 {
    let batches = std::iter::from_fn(|| subscription.try_recv().ok());
    batches.map(|batch| batch.len() as u64).sum()
}
