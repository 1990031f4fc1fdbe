//! Set-up that the tests share: registries on a manual clock, their counts and events, and polls.
#![allow(dead_code, reason = "each test uses a part")]

use serde_json::Value;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use toolmeter::{
    ClockSource, Event, EventKind, InvokeError, ManualClock, Pump, Registry, RegistryBuilder,
    Snapshot, Subscription, ToolHandle, ToolStats,
};

/// Returns a builder with this clock, a manual pump and two stripes.
pub(crate) fn builder_on(clock: &Arc<ManualClock>) -> RegistryBuilder {
    Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(clock)))
        .pump(Pump::manual())
        .stripes(2)
}

/// Returns a builder with a manual clock and pump, and the clock.
pub(crate) fn builder() -> (RegistryBuilder, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (builder_on(&clock), clock)
}

/// Returns a registry with a manual clock and pump, and the clock.
pub(crate) fn registry() -> (Registry, Arc<ManualClock>) {
    let (builder, clock) = builder();
    (builder.build().unwrap(), clock)
}

/// Returns a registry with a manual clock and pump, its tool `tool`, and the clock.
pub(crate) fn host() -> (Registry, ToolHandle, Arc<ManualClock>) {
    host_with(|builder| builder)
}

/// Returns the same as [`host`], with what `set_up` sets.
pub(crate) fn host_with(
    set_up: impl FnOnce(RegistryBuilder) -> RegistryBuilder,
) -> (Registry, ToolHandle, Arc<ManualClock>) {
    let (builder, clock) = builder();
    let registry = set_up(builder).build().unwrap();
    let tool = registry.register("tool").unwrap();
    (registry, tool, clock)
}

/// Returns the statistics of `tool`.
pub(crate) fn stats(registry: &Registry) -> Arc<ToolStats> {
    stats_in(&registry.metrics())
}

/// Returns the statistics of `tool` in a snapshot.
pub(crate) fn stats_in(snapshot: &Snapshot) -> Arc<ToolStats> {
    Arc::clone(&snapshot.tools["tool"])
}

/// Successes, failures, cancelled calls and calls in flight.
pub(crate) type Counts = (u64, u64, u64, u64);

/// Returns the counts of `tool`.
pub(crate) fn counts(registry: &Registry) -> Counts {
    counts_in(&registry.metrics())
}

/// Returns the counts of `tool` in a snapshot.
pub(crate) fn counts_in(snapshot: &Snapshot) -> Counts {
    let stats = stats_in(snapshot);
    let (success, failure) = (stats.success(), stats.failure());
    (success, failure, stats.cancelled(), stats.in_flight)
}

/// Returns the message of the last error of `tool`.
///
/// # Panics
///
/// If there was no error.
pub(crate) fn message(registry: &Registry) -> Option<String> {
    stats(registry).last_error.as_ref().unwrap().message.clone()
}

/// Takes all events out of the queue of a subscription.
pub(crate) fn received(events: &Subscription) -> Vec<Event> {
    let mut received = Vec::new();
    while let Ok(batch) = events.try_recv() {
        received.extend(batch.iter().cloned());
    }
    received
}

/// Returns the kinds of these events.
pub(crate) fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(Event::kind).collect()
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns the output of a future that is ready at the first poll.
///
/// # Panics
///
/// If it is pending.
#[track_caller]
pub(crate) fn at_once<F: IntoFuture>(future: F) -> F::Output {
    match poll_once(pin!(future.into_future())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is not ready at the first poll"),
    }
}

/// Calls `tool` by name, which must end at the first poll.
#[track_caller]
pub(crate) fn invoke(registry: &Registry, args: Value) -> Result<Value, InvokeError> {
    at_once(registry.invoke("tool", args))
}
