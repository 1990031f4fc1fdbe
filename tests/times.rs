//! Clocks and wall time: a time that was read once stays the same, and a clock that goes backwards
//! loses nothing.
//!
//! All clocks here are manual, the time of day too.
#![cfg(not(toolmeter_loom))]

mod common;

use common::{builder, kinds, received};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use toolmeter::{
    ClockSource, ErrorKind, EventKind, ManualClock, Pump, Registry, RegistryBuilder, Snapshot,
    Subscription,
};
use toolmeter_events::{Draft, Drain, Filter, Hub, Rings, ToolId};

const SECOND: Duration = Duration::from_secs(1);

/// A manual monotonic clock, and a manual time of day.
#[derive(Clone)]
struct Clocks {
    clock: Arc<ManualClock>,
    wall: Arc<Mutex<SystemTime>>,
}

impl Clocks {
    fn new() -> (Self, RegistryBuilder) {
        let clocks = Self {
            clock: Arc::new(ManualClock::new()),
            wall: Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + 1_000_000_000 * SECOND)),
        };
        let wall = Arc::clone(&clocks.wall);
        let builder = Registry::builder()
            .clock(ClockSource::Manual(Arc::clone(&clocks.clock)))
            .wall_clock(move || *wall.lock().unwrap())
            .pump(Pump::manual())
            .stripes(2);
        (clocks, builder)
    }

    /// Advances both clocks.
    fn pass(&self, by: Duration) {
        self.clock.advance(by);
        self.suspend(by);
    }

    /// Advances the time of day only, as while the machine is suspended.
    fn suspend(&self, by: Duration) {
        *self.wall.lock().unwrap() += by;
    }

    fn wall(&self) -> SystemTime {
        *self.wall.lock().unwrap()
    }
}

fn error_at(snapshot: &Snapshot) -> SystemTime {
    snapshot.tools["tool"].last_error.as_ref().unwrap().at
}

fn finish_at(snapshot: &Snapshot) -> SystemTime {
    snapshot.tools["tool"].last_finish.unwrap().at
}

// ---------------------------------------------------------------------------------------------
// A suspend.

/// There is an error, a suspend some time after it, and readings before and after that.
#[test]
fn the_time_of_an_error_stays_what_it_was_after_a_suspend() {
    for is_read_before in [true, false] {
        let (clocks, builder) = Clocks::new();
        let registry = builder.build().unwrap();
        let tool = registry.register("tool").unwrap();
        clocks.pass(5 * SECOND);
        tool.start().fail(ErrorKind::Network, "reset");
        let failed_at = clocks.wall();
        clocks.pass(SECOND);
        if is_read_before {
            assert_eq!(error_at(&registry.metrics()), failed_at);
        }
        clocks.suspend(2 * SECOND);
        for _ in 0..2 {
            assert_eq!(error_at(&registry.metrics()), failed_at, "{is_read_before}");
            assert_eq!(finish_at(&registry.metrics()), failed_at);
            assert_eq!(registry.metrics().taken_at, clocks.wall());
            clocks.pass(SECOND);
        }
        registry.publish();
        assert_eq!(error_at(&registry.published()), failed_at);
        // Later times are computed from the clocks as they are now.
        tool.start().fail(ErrorKind::Network, "reset again");
        assert_eq!(error_at(&registry.metrics()), clocks.wall());
    }
}

/// The same, but the machine is suspended at the very tick of the error. Then only a reading before
/// the suspend separates the two.
#[test]
fn the_time_of_an_error_stays_what_was_told_if_the_clock_stands_still_at_once() {
    let (clocks, builder) = Clocks::new();
    let registry = builder.build().unwrap();
    let tool = registry.register("tool").unwrap();
    clocks.pass(5 * SECOND);
    tool.start().fail(ErrorKind::Network, "reset");
    let failed_at = clocks.wall();
    assert_eq!(error_at(&registry.metrics()), failed_at);
    clocks.suspend(2 * SECOND);
    assert_eq!(error_at(&registry.metrics()), failed_at);
    assert_eq!(error_at(&registry.metrics()), failed_at);
}

/// The same without such a reading: whatever time is read first, it does not change.
#[test]
fn the_time_of_an_error_that_was_first_told_after_a_suspend_does_not_move() {
    let (clocks, builder) = Clocks::new();
    let registry = builder.build().unwrap();
    let tool = registry.register("tool").unwrap();
    clocks.pass(5 * SECOND);
    tool.start().fail(ErrorKind::Network, "reset");
    clocks.suspend(2 * SECOND);
    let told = error_at(&registry.metrics());
    assert_eq!(error_at(&registry.metrics()), told);
    clocks.pass(SECOND);
    assert_eq!(error_at(&registry.metrics()), told);
    clocks.suspend(2 * SECOND);
    assert_eq!(error_at(&registry.metrics()), told);
}

/// The time of day is set forward and back a hundred times.
#[test]
fn a_time_stays_what_it_was_however_often_the_time_of_day_is_set() {
    let (clocks, builder) = Clocks::new();
    let registry = builder.build().unwrap();
    let tool = registry.register("tool").unwrap();
    for round in 0..100_u32 {
        clocks.pass(SECOND);
        tool.start().fail(ErrorKind::Network, "reset");
        let failed_at = clocks.wall();
        clocks.pass(SECOND);
        assert_eq!(error_at(&registry.metrics()), failed_at);
        match round % 3 {
            0 => clocks.suspend(3_600 * SECOND),
            1 => *clocks.wall.lock().unwrap() -= 7_200 * SECOND,
            _ => clocks.suspend(60 * SECOND),
        }
        for _ in 0..3 {
            assert_eq!(error_at(&registry.metrics()), failed_at, "{round}");
            clocks.pass(SECOND);
        }
    }
}

#[test]
fn an_event_is_told_by_the_clocks_that_held_when_it_was_made() {
    let (clocks, builder) = Clocks::new();
    let registry = builder.build().unwrap();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    clocks.pass(SECOND);
    tool.start().succeed();
    let ended_at = clocks.wall();
    clocks.pass(SECOND);
    registry.pump();
    let before = events.try_recv().unwrap();
    clocks.suspend(60 * SECOND);
    registry.pump();
    clocks.pass(SECOND);
    tool.start().succeed();
    let ended_later = clocks.wall();
    registry.pump();
    let after = events.try_recv().unwrap();
    assert_eq!(before.wall_time(&before[1]), ended_at);
    assert_eq!(after.wall_time(&after[1]), ended_later);
    assert_eq!(after.taken_at(), clocks.wall());
}

/// One of two hosts was suspended. The merged snapshot has the error that came later.
#[test]
fn merged_snapshots_keep_the_later_error() {
    let host = |name: &str| {
        let (clocks, builder) = Clocks::new();
        let registry = builder.instance(name).build().unwrap();
        let tool = registry.register("tool").unwrap();
        (clocks, registry, tool)
    };
    let (clocks, registry, tool) = host("one");
    let (other_clocks, other, other_tool) = host("other");
    for clocks in [&clocks, &other_clocks] {
        clocks.pass(5 * SECOND);
    }
    tool.start().fail(ErrorKind::Network, "earlier");
    for clocks in [&clocks, &other_clocks] {
        clocks.pass(SECOND);
    }
    other_tool.start().fail(ErrorKind::Network, "later");
    // The host that failed earlier is suspended before it is read.
    clocks.pass(Duration::from_millis(100));
    clocks.suspend(2 * SECOND);
    let (one, two) = (registry.metrics(), other.metrics());
    for (mut merged, more) in [(one.clone(), &two), (two.clone(), &one)] {
        merged.merge(more);
        let error = merged.tools["tool"].last_error.as_ref().unwrap();
        assert_eq!(error.message.as_deref(), Some("later"));
        assert_eq!(error.at, error_at(&two));
    }
}

// ---------------------------------------------------------------------------------------------
// A clock that goes backwards.

/// Returns the kinds of the events that come in the next rounds.
fn heard(registry: &Registry, events: &Subscription) -> Vec<EventKind> {
    for _ in 0..64 {
        registry.pump();
    }
    kinds(&received(events))
}

#[test]
fn a_clock_that_goes_backwards_after_a_subscription_loses_it_no_event() {
    let (builder, clock) = builder();
    let registry = builder.build().unwrap();
    let tool = registry.register("tool").unwrap();
    clock.advance(100 * SECOND);
    let events = registry.subscribe();
    clock.set_ns(SECOND.as_nanos() as u64);
    for _ in 0..100 {
        tool.start().succeed();
    }
    assert_eq!(heard(&registry, &events).len(), 200);
    assert_eq!(events.stats().filtered, 0, "{:?}", events.stats());
    assert_eq!(registry.event_accounting().lost_in_rings, 0);
}

/// The clock goes back by 99 s during and between calls. Events that were on their way are not held
/// until the clock is there again.
#[test]
fn events_from_before_a_step_backwards_are_not_held_for_ever() {
    let (builder, clock) = builder();
    let registry = builder.build().unwrap();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    clock.advance(100 * SECOND);
    let call = tool.start();
    tool.start().succeed();
    clock.set_ns(SECOND.as_nanos() as u64);
    assert_eq!(call.succeed(), Duration::ZERO);
    tool.start().fail(ErrorKind::Other, "after");
    let mut kinds = heard(&registry, &events);
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            EventKind::Started,
            EventKind::Started,
            EventKind::Started,
            EventKind::Succeeded,
            EventKind::Succeeded,
            EventKind::Failed
        ]
    );
    let metrics = registry.metrics();
    let stats = &metrics.tools["tool"];
    assert_eq!(
        (stats.success(), stats.failure(), stats.in_flight),
        (2, 1, 0)
    );
    assert_eq!(stats.total_latency(), Duration::ZERO);
}

/// The clock begins, or begins again, below the hold-back. Events do not pile up.
#[test]
fn events_below_the_hold_back_are_not_held_for_ever() {
    const HOLD_BACK_NS: u64 = 50_000;
    for now_ns in [0, 1, HOLD_BACK_NS - 1] {
        let rings = Arc::new(Rings::new(1, 4_096).unwrap());
        let hub = Hub::new(16, 16).unwrap();
        let _events = hub.subscribe(&rings, Filter::new(), None).unwrap();
        let mut drain = Drain::new(&rings, HOLD_BACK_NS);
        let mut delivered = 0;
        for _ in 0..1_000 {
            for _ in 0..100 {
                let draft = Draft::started(ToolId::new(0), 1, now_ns, None);
                rings.offer(0, draft, None);
            }
            delivered += drain.round(|| now_ns).events.len();
        }
        assert!(drain.held() < 10_000, "{} are held", drain.held());
        for _ in 0..64 {
            delivered += drain.round(|| now_ns).events.len();
        }
        assert_eq!((drain.held(), delivered), (0, 100_000), "{now_ns}");
        assert_eq!(rings.accounting().lost, 0);
    }
}

/// The same through the facade, with the clock of the operating system, which begins at 0.
#[test]
fn events_of_a_registry_that_was_just_built_are_delivered() {
    let builder = Registry::builder().clock(ClockSource::OperatingSystem);
    let registry = builder.pump(Pump::manual()).build().unwrap();
    let events = registry.subscribe();
    registry.register("tool").unwrap().start().succeed();
    assert_eq!(heard(&registry, &events).len(), 2);
}

#[test]
fn snapshots_are_published_after_a_step_backwards() {
    let (builder, clock) = builder();
    let registry = builder.publish_every(SECOND).build().unwrap();
    let tool = registry.register("tool").unwrap();
    clock.advance(100 * SECOND);
    registry.pump();
    clock.set_ns(SECOND.as_nanos() as u64);
    tool.start().succeed();
    registry.pump();
    assert_eq!(registry.published().tools["tool"].success(), 1);
    // From then on, snapshots are published at their interval.
    tool.start().succeed();
    registry.pump();
    assert_eq!(registry.published().tools["tool"].success(), 1);
    clock.advance(SECOND);
    registry.pump();
    assert_eq!(registry.published().tools["tool"].success(), 2);
}

#[test]
fn the_text_of_an_error_is_kept_after_a_step_backwards() {
    let (builder, clock) = builder();
    let registry = builder.build().unwrap();
    let tool = registry.register("tool").unwrap();
    clock.advance(100 * SECOND);
    tool.start().fail(ErrorKind::Other, "before");
    clock.set_ns(SECOND.as_nanos() as u64);
    tool.start().fail(ErrorKind::Network, "after");
    let metrics = registry.metrics();
    let error = metrics.tools["tool"].last_error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::Network);
    assert_eq!(error.message.as_deref(), Some("after"));
    registry.publish();
    let published = registry.published();
    assert_eq!(published.tools["tool"].last_error.as_ref(), Some(error));

    // From another thread, so that the two are on different stripes. Whichever is shown has its
    // text.
    let other = tool.clone();
    std::thread::spawn(move || other.start().fail(ErrorKind::Provider, "elsewhere"))
        .join()
        .unwrap();
    let metrics = registry.metrics();
    let error = metrics.tools["tool"].last_error.as_ref().unwrap();
    assert!(error.message.is_some(), "{error:?}");
}

/// The age of a running call is not negative, and a call that began before the step is not
/// forgotten.
#[test]
fn running_calls_are_listed_after_a_step_backwards() {
    let (builder, clock) = builder();
    let registry = builder.build().unwrap();
    let running = registry.running_calls();
    let tool = registry.register("tool").unwrap();
    clock.advance(100 * SECOND);
    let call = tool.start();
    clock.set_ns(SECOND.as_nanos() as u64);
    let later = tool.start();
    for _ in 0..64 {
        registry.pump();
    }
    let now = running.list();
    assert_eq!((now.calls.len(), now.missed_starts), (2, 0));
    assert!(now.calls.iter().all(|call| call.age == Duration::ZERO));
    drop((call, later));
    for _ in 0..64 {
        registry.pump();
    }
    assert_eq!(running.list().calls.len(), 0);
}

/// A wall clock of the host that panics does not fail a reading.
#[test]
fn a_wall_clock_that_panics_is_replaced_by_the_registrys_clock() {
    let clock = Arc::new(ManualClock::new());
    let reads = AtomicU64::new(0);
    let started = SystemTime::UNIX_EPOCH + 1_000 * SECOND;
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .pump(Pump::manual())
        .wall_clock(move || match reads.fetch_add(1, Ordering::Relaxed) {
            0 => started,
            _ => std::panic::resume_unwind(Box::new("no time")),
        })
        .build()
        .unwrap();
    clock.advance(5 * SECOND);
    let metrics = registry.metrics();
    assert_eq!(
        (metrics.started_at, metrics.taken_at),
        (started, started + 5 * SECOND)
    );
}
