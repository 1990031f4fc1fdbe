//! `Serialize` of a [`Snapshot`] and of its parts: the JSON that is written.
//!
//! Each implementation has a struct with the fields in the order in which they are written; see
//! [`Snapshot`] for an example of all of them. What follows from the buckets is written, too, for
//! readers that do not want to compute it.
//!
//! # Milliseconds as `f64`
//!
//! Durations are written in milliseconds, the usual unit for tool calls. Nanoseconds below 2^50
//! survive this. Dividing by 10^6 and multiplying by it again errs by at most 2^-52 of the value, and
//! a parser that is off by a unit in the last place errs by as much again: together less than half a
//! nanosecond. Sums may be longer, so they are written in nanoseconds, too.

use super::latency::LatencyStats;
use super::tool_stats::{LastError, LatencyByOutcome, ToolStats};
use super::wall_time::to_timestamp;
use super::{MAX_UPTIME, NamelessTools, Snapshot};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::ErrorKind;

/// The longest latency of a single call that is written and read: the end of the histograms' range.
pub(super) const MAX_LATENCY_NS: u64 = (1 << super::MAX_EXPONENT) - 1;

/// Returns a duration in milliseconds, as it is written.
pub(super) fn to_ms(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

/// Returns the nearest whole number of nanoseconds; `None` if it is negative, not a number, or above
/// `max_ns`.
pub(super) fn ns_from_ms(ms: f64, max_ns: u64) -> Option<u64> {
    let ns = (ms * 1e6).round();
    (ns >= 0.0 && ns <= max_ns as f64).then_some(ns as u64)
}

/// Returns the nearest whole number of microseconds; `None` if it is negative, not a number, or
/// above [`MAX_UPTIME`].
pub(super) fn uptime_from_ms(ms: f64) -> Option<Duration> {
    let micros = (ms * 1e3).round();
    (micros >= 0.0 && micros <= MAX_UPTIME.as_micros() as f64)
        .then(|| Duration::from_micros(micros as u64))
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "Snapshot")]
        struct Fields<'a> {
            instances: &'a BTreeSet<String>,
            #[serde(serialize_with = "rfc_3339")]
            started_at: SystemTime,
            #[serde(serialize_with = "rfc_3339")]
            taken_at: SystemTime,
            uptime_ms: f64,
            unknown_tool_calls: u64,
            tools: &'a BTreeMap<Arc<str>, Arc<ToolStats>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            nameless: Option<&'a NamelessTools>,
        }
        Fields {
            instances: &self.instances,
            started_at: self.started_at,
            taken_at: self.taken_at,
            // From whole microseconds, which reading rounds to.
            uptime_ms: self.uptime.min(MAX_UPTIME).as_micros() as f64 / 1e3,
            unknown_tool_calls: self.unknown_tool_calls,
            tools: &self.tools,
            nameless: self.nameless.as_deref(),
        }
        .serialize(serializer)
    }
}

impl Serialize for NamelessTools {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "NamelessTools")]
        struct Fields<'a> {
            tools: u64,
            stats: &'a ToolStats,
        }
        Fields {
            tools: self.tools,
            stats: &self.stats,
        }
        .serialize(serializer)
    }
}

impl Serialize for ToolStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "ToolStats")]
        struct Fields<'a> {
            success: u64,
            failure: u64,
            cancelled: u64,
            rejected: u64,
            in_flight: u64,
            retried: u64,
            recovered: u64,
            last_error: &'a Option<LastError>,
            last_latency_ms: Option<f64>,
            #[serde(serialize_with = "rfc_3339_or_null")]
            last_finished_at: Option<SystemTime>,
            total_latency_ms: f64,
            #[serde(serialize_with = "by_kind")]
            failures_by_kind: &'a BTreeMap<ErrorKind, u64>,
            latency_ms: &'a LatencyByOutcome,
            #[serde(serialize_with = "rfc_3339")]
            registered_at: SystemTime,
            #[serde(skip_serializing_if = "is_false")]
            retired: bool,
        }
        let longest = Duration::from_nanos(MAX_LATENCY_NS);
        Fields {
            success: self.success(),
            failure: self.failure(),
            cancelled: self.cancelled(),
            rejected: self.rejected,
            in_flight: self.in_flight,
            retried: self.retried,
            recovered: self.recovered,
            last_error: &self.last_error,
            last_latency_ms: self
                .last_latency()
                .map(|latency| to_ms(latency.min(longest))),
            last_finished_at: self.last_finish.map(|call| call.at),
            total_latency_ms: to_ms(self.total_latency()),
            failures_by_kind: &self.failures_by_kind,
            latency_ms: &self.latency,
            registered_at: self.registered_at,
            retired: self.retired,
        }
        .serialize(serializer)
    }
}

impl Serialize for LatencyByOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "LatencyByOutcome")]
        struct Fields<'a> {
            success: &'a LatencyStats,
            failure: &'a LatencyStats,
            cancelled: &'a LatencyStats,
        }
        Fields {
            success: &self.success,
            failure: &self.failure,
            cancelled: &self.cancelled,
        }
        .serialize(serializer)
    }
}

impl Serialize for LatencyStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "LatencyStats")]
        struct Fields<'a> {
            count: u64,
            min: Option<f64>,
            mean: Option<f64>,
            p50: Option<f64>,
            p90: Option<f64>,
            p99: Option<f64>,
            p999: Option<f64>,
            max: Option<f64>,
            precision: u8,
            sum_ns: u64,
            buckets: &'a [(u32, u64)],
        }
        Fields {
            count: self.count(),
            min: self.min().map(to_ms),
            mean: self.mean().map(to_ms),
            p50: self.p50().map(to_ms),
            p90: self.p90().map(to_ms),
            p99: self.p99().map(to_ms),
            p999: self.p999().map(to_ms),
            max: self.max().map(to_ms),
            precision: self.precision(),
            sum_ns: self.sum_ns(),
            buckets: self.buckets(),
        }
        .serialize(serializer)
    }
}

impl Serialize for LastError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "LastError")]
        struct Fields<'a> {
            kind: &'a str,
            message: Option<&'a str>,
            attempt: u16,
            #[serde(serialize_with = "rfc_3339")]
            at: SystemTime,
        }
        Fields {
            kind: self.kind.as_str(),
            message: self.message.as_deref(),
            // Attempts count from 1, and reading refuses 0.
            attempt: self.attempt.max(1),
            at: self.at,
        }
        .serialize(serializer)
    }
}

fn rfc_3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&to_timestamp(*time))
}

fn rfc_3339_or_null<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&to_timestamp(*time)),
        None => serializer.serialize_none(),
    }
}

fn by_kind<S: Serializer>(
    counts: &BTreeMap<ErrorKind, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let counts = counts.iter().filter(|&(_, &count)| count > 0);
    serializer.collect_map(counts.map(|(kind, count)| (kind.as_str(), count)))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
