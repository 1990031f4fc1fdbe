//! Snapshots for the tests of this folder: arbitrary ones, and those of recorded calls.

use super::latency::{LatencyStats, layout};
use super::tool_stats::{LastCall, LastError, LatencyByOutcome, ToolStats};
use super::{
    Clocks, MAX_EXPONENT, MAX_UPTIME, NamelessTools, PRECISIONS, Recorded, Snapshot, whole_micros,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::{ErrorKind, Finish, Layout, Outcome, Reading, Slot, Word};
use toolmeter_events::{Moment, Timeline};

/// Small counts, and counts whose sum does not fit into 64 bits.
pub(super) fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..1_000, 1 => any::<u64>()]
}

/// Nanoseconds of every magnitude.
pub(super) fn any_ns() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(bits, shift)| bits >> shift)
}

pub(super) fn any_latency() -> impl Strategy<Value = LatencyStats> {
    PRECISIONS.prop_flat_map(|precision| {
        let indices = 0..layout(precision).count() as u32;
        let buckets = btree_map(indices, any_count().prop_map(|count| count.max(1)), 0..12);
        (any_ns(), buckets).prop_map(move |(sum_ns, buckets)| {
            LatencyStats::new(precision, sum_ns, buckets.into_iter().collect())
        })
    })
}

/// A few times, so that some are equal.
fn any_time() -> impl Strategy<Value = SystemTime> {
    (0_u64..4, 0_u32..2).prop_map(|(secs, nanos)| {
        SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600 + secs, nanos * 999_999_999)
    })
}

pub(super) fn any_kind() -> impl Strategy<Value = ErrorKind> {
    prop::sample::select(&ErrorKind::ALL[..])
}

fn any_error() -> impl Strategy<Value = LastError> {
    let message = prop::option::of(prop_oneof!["[ab]", any::<String>()]);
    (any_kind(), message, 1_u16..4, any_time()).prop_map(|(kind, message, attempt, at)| LastError {
        kind,
        message,
        attempt,
        at,
    })
}

fn any_finish() -> impl Strategy<Value = LastCall> {
    (0_u64..1 << MAX_EXPONENT, 0_u32..48, any_time()).prop_map(|(ns, shift, at)| LastCall {
        latency: Duration::from_nanos(ns >> shift),
        at,
    })
}

prop_compose! {
    pub(super) fn any_tool()(
        counters in [any_count(), any_count(), any_count(), any_count()],
        registered_at in any_time(),
        last_error in prop::option::of(any_error()),
        last_finish in prop::option::of(any_finish()),
        failures_by_kind in btree_map(any_kind(), any_count().prop_map(|count| count.max(1)), 0..4),
        latency in [any_latency(), any_latency(), any_latency()],
        retired in any::<bool>(),
    ) -> ToolStats {
        let [in_flight, retried, recovered, rejected] = counters;
        let [success, failure, cancelled] = latency;
        let latency = LatencyByOutcome { success, failure, cancelled };
        ToolStats {
            in_flight, retried, recovered, rejected, last_error, last_finish, failures_by_kind, latency, retired,
            registered_at,
        }
    }
}

prop_compose! {
    pub(super) fn any_snapshot()(
        instances in prop::collection::btree_set(prop_oneof!["[a-d](,[a-d]){0,2}", any::<String>()], 0..3),
        started_at in any_time(),
        taken_at in any_time(),
        uptime_us in (0..=MAX_UPTIME.as_micros() as u64, 0_u32..50).prop_map(|(us, shift)| us >> shift),
        unknown_tool_calls in any_count(),
        tools in btree_map(prop_oneof!["[xyz]", "\\PC{1,32}"], any_tool(), 0..4),
        nameless in prop::option::of((any_count(), any_tool())),
    ) -> Snapshot {
        let tools = tools.into_iter().map(|(name, tool)| (Arc::from(name), Arc::new(tool))).collect();
        let nameless = nameless.map(|(tools, stats)| Arc::new(NamelessTools { tools, stats }));
        let uptime = whole_micros(Duration::from_micros(uptime_us));
        Snapshot { instances, started_at, taken_at, uptime, unknown_tool_calls, tools, nameless }
    }
}

/// A call that a test records.
#[derive(Clone, Debug)]
pub(super) struct TestCall {
    /// The index of the slot that records it.
    pub(super) part: usize,
    /// Its outcome; `None` if it is still in flight.
    pub(super) outcome: Option<Outcome>,
    pub(super) attempt: u16,
    pub(super) latency_ns: u64,
}

pub(super) fn any_calls(parts: usize) -> impl Strategy<Value = Vec<TestCall>> {
    let outcome = prop_oneof![
        Just(Some(Outcome::Success)),
        any_kind().prop_map(|kind| Some(Outcome::Failure(kind))),
        Just(Some(Outcome::Cancelled)),
        Just(Some(Outcome::Rejected)),
        Just(None),
    ];
    let call = (0..parts, outcome, 1_u16..4, any_ns());
    vec(
        call.prop_map(|(part, outcome, attempt, latency_ns)| TestCall {
            part,
            outcome,
            attempt,
            latency_ns,
        }),
        0..40,
    )
}

/// Returns clocks that read `now_ns`, paired at the epoch.
pub(super) fn clocks(now_ns: u64) -> Clocks {
    let origin = Moment::new(SystemTime::UNIX_EPOCH, 0);
    let timeline = Arc::new(Timeline::new(origin));
    Clocks {
        now: Moment::new(timeline.wall_time(now_ns), now_ns),
        timeline,
    }
}

/// Returns the stats from a slot of this precision that recorded the calls which `is_here` picks;
/// the n-th of all calls ends at n times 2^17 ns.
pub(super) fn recorded(
    precision: u8,
    calls: &[TestCall],
    is_here: impl Fn(&TestCall) -> bool,
) -> ToolStats {
    let layout = Layout::new(precision, MAX_EXPONENT, 1).unwrap();
    let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    let slot = Slot::new(&words, layout).unwrap();
    for (n, call) in calls.iter().enumerate().filter(|(_, call)| is_here(call)) {
        slot.start(0, call.attempt);
        if let Some(outcome) = call.outcome {
            let finish = Finish {
                outcome,
                attempt: call.attempt,
                finished_at_ns: (n as u64 + 1) << 17,
                latency_ns: call.latency_ns,
            };
            slot.finish(0, finish);
        }
    }
    let mut reading = Reading::<Vec<(u32, u64)>>::default();
    slot.read(&mut reading).unwrap();
    let recorded = Recorded {
        reading: &reading,
        in_flight: reading.in_flight(),
        errors: None,
        retired: false,
        registered_at: SystemTime::UNIX_EPOCH,
    };
    ToolStats::new(&recorded, precision, &clocks(0))
}
