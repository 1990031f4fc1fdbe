//! Code that the benches share: the settings of criterion, and a host whose calls are timed in
//! bursts and whose counts are checked.
//!
//! With subscribers, calls without a pause would fill the rings, and a call whose events are lost
//! is cheaper than one whose events arrive. So a [`Host`] has a manual pump: it times [`BURST`]
//! calls, which the rings have room for, stops the time, and pumps and receives until every
//! subscription has every event. No event is lost, and [`Host::check`] fails if one was.
#![allow(dead_code, reason = "each bench uses the part it needs")]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};
use toolmeter::{
    Clock, HostClock, Pump, Registry, RegistryBuilder, Subscription, ToolHandle, ToolSpec,
};

/// The tool that is called where one is enough.
pub(crate) const TOOL: &str = "web_search";
/// The number of calls that are timed together. Their events, two each, fit into a ring of the
/// default size.
const BURST: u64 = 1_000;
/// The number of calls before anything is timed, to check that they are counted.
const CHECK_CALLS: u64 = 10_000;

/// Returns criterion with settings by which all benches together take some minutes. The command
/// line can change them.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .nresamples(10_000)
        .without_plots()
        .configure_from_args()
}

/// Shortens the measurement for a group that spends much time untimed.
pub(crate) fn mostly_untimed(group: &mut BenchmarkGroup<'_, WallTime>) {
    group
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300));
}

/// Returns a builder with a manual pump and defaults otherwise.
pub(crate) fn builder() -> RegistryBuilder {
    Registry::builder().pump(Pump::manual())
}

/// Returns specs of tools with the names `tool_0`, `tool_1` and so on.
pub(crate) fn specs(tools: usize) -> impl Iterator<Item = ToolSpec> {
    (0..tools).map(|tool| ToolSpec::new(format!("tool_{tool}")))
}

/// Reads the registry's clock twice, which is the least that any metered call can cost.
#[inline(always)]
pub(crate) fn clock_pair(clock: &HostClock) {
    let started_ns = clock.now_ns();
    black_box(1_u64);
    black_box(clock.now_ns().saturating_sub(started_ns));
}

/// Makes one metered call of a tool that only returns a number.
#[inline(always)]
pub(crate) fn run(tool: &ToolHandle) {
    let Ok(answer) = tool.run(|| Ok::<u64, Infallible>(black_box(1)));
    black_box(answer);
}

/// Returns the time that `calls` calls take, in bursts. `between` runs after each burst and is not
/// timed.
pub(crate) fn in_bursts(calls: u64, mut call: impl FnMut(), mut between: impl FnMut()) -> Duration {
    let mut busy = Duration::ZERO;
    let mut left = calls;
    while left > 0 {
        let burst = left.min(BURST);
        let start = Instant::now();
        for _ in 0..burst {
            call();
        }
        busy += start.elapsed();
        left -= burst;
        between();
    }
    busy
}

/// Returns the number of successes of the registry's tools. Fails if the histograms do not hold as
/// many latencies, or a call is still in flight.
pub(crate) fn successes(registry: &Registry) -> u64 {
    let metrics = registry.metrics();
    let mut successes = 0;
    for (name, stats) in &metrics.tools {
        let buckets = stats.latency.success.buckets();
        let samples: u64 = buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(
            (samples, stats.in_flight),
            (stats.success(), 0),
            "latencies and calls in flight of {name}"
        );
        successes += samples;
    }
    successes
}

/// A registry with its subscribers, and the expected counts of its calls.
pub(crate) struct Host {
    pub(crate) registry: Registry,
    subscribers: Vec<Subscriber>,
    calls: u64,
    delivered: u64,
}

struct Subscriber {
    subscription: Subscription,
    received: u64,
}

impl Host {
    /// Creates a host with this many subscribers, before its first call.
    pub(crate) fn new(builder: RegistryBuilder, subscribers: usize) -> Self {
        let registry = builder.build().expect("the settings are in range");
        let subscribers = (0..subscribers).map(|_| Subscriber {
            subscription: registry.subscribe(),
            received: 0,
        });
        Self {
            subscribers: subscribers.collect(),
            registry,
            calls: 0,
            delivered: 0,
        }
    }

    /// Registers a tool.
    pub(crate) fn tool(&self, name: &'static str) -> ToolHandle {
        let registered = self.registry.register(ToolSpec::new(name));
        registered.expect("the name is new")
    }

    /// Checks that calls are counted, benches them as `id`, and checks again.
    pub(crate) fn bench(
        &mut self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        id: BenchmarkId,
        mut call: impl FnMut(),
    ) {
        self.time(CHECK_CALLS, &mut call);
        self.check();
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|calls| self.time(calls, &mut call));
        });
        self.check();
    }

    /// Returns the time that `calls` calls take. Each must be one success of one tool of this
    /// registry.
    fn time(&mut self, calls: u64, call: impl FnMut()) -> Duration {
        let busy = in_bursts(calls, call, || self.receive());
        self.calls += calls;
        busy
    }

    /// Pumps and receives until every subscription has every event.
    fn receive(&mut self) {
        if self.subscribers.is_empty() {
            return;
        }
        let events = self.registry.event_accounting();
        let due = events.offered - events.lost_in_rings;
        // Events younger than the hold-back come with a later round.
        while self.delivered < due {
            self.delivered += self.registry.pump() as u64;
        }
        for subscriber in &mut self.subscribers {
            while let Ok(batch) = subscriber.subscription.try_recv() {
                subscriber.received += batch.len() as u64;
            }
        }
    }

    /// Fails unless every call so far was counted, and its events arrived at every subscription.
    fn check(&self) {
        assert_eq!(successes(&self.registry), self.calls, "calls counted");
        let expected = if self.subscribers.is_empty() {
            0
        } else {
            2 * self.calls
        };
        let events = self.registry.event_accounting();
        assert_eq!(
            (events.offered, events.lost_in_rings, events.drained),
            (expected, 0, expected),
            "events offered, lost and drained"
        );
        for Subscriber { received, .. } in &self.subscribers {
            assert_eq!(*received, expected, "events received");
        }
    }
}
