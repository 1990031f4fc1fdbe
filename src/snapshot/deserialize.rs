//! `Deserialize` of a [`Snapshot`] and of its parts: reading JSON, and checking it.
//!
//! A snapshot may come from another host, from another version, or from an editor. Whatever it
//! holds, reading it does not panic and takes memory in proportion to the input. It is read tool by
//! tool into raw types, which derive `Deserialize`, and then checked:
//!
//! * Buckets are in range, ascending and not empty, so that all arithmetic on them is sound.
//! * What follows from the buckets may be left out. If it is given, it must agree with them, so that
//!   a reader of the counts and a reader of the buckets see the same.
//! * Each error names the field, by its path from the outermost type that is being read.

mod derived;
mod problem;

use super::latency::{LatencyStats, PRECISIONS, layout};
use super::serialize::{MAX_LATENCY_NS, ns_from_ms, to_ms, uptime_from_ms};
use super::tool_stats::{LastCall, LastError, LatencyByOutcome, ToolStats};
use super::wall_time::from_timestamp;
use super::{NamelessTools, Snapshot};
use crate::text::{MAX_NAME_BYTES, escaped};
use derived::{Given, count_agrees, given, ms_agrees};
use problem::{Invalid, Problem};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::ErrorKind;

fn time(field: &str, text: &str) -> Result<SystemTime, Invalid> {
    text.parse()
        .ok()
        .and_then(from_timestamp)
        .ok_or_else(|| Problem::time(text).at(field))
}

fn kind(field: &str, name: &str) -> Result<ErrorKind, Invalid> {
    name.parse().map_err(|_| Problem::kind(name).at(field))
}

#[derive(Deserialize)]
struct RawLatency {
    precision: u64,
    sum_ns: u64,
    buckets: Vec<(u32, u64)>,
    #[serde(default, deserialize_with = "given")]
    count: Given<u64>,
    #[serde(default, deserialize_with = "given")]
    min: Given<f64>,
    #[serde(default, deserialize_with = "given")]
    mean: Given<f64>,
    #[serde(default, deserialize_with = "given")]
    p50: Given<f64>,
    #[serde(default, deserialize_with = "given")]
    p90: Given<f64>,
    #[serde(default, deserialize_with = "given")]
    p99: Given<f64>,
    #[serde(default, deserialize_with = "given")]
    p999: Given<f64>,
    #[serde(default, deserialize_with = "given")]
    max: Given<f64>,
}

impl RawLatency {
    fn check(self) -> Result<LatencyStats, Invalid> {
        let precision = u8::try_from(self.precision)
            .ok()
            .filter(|precision| PRECISIONS.contains(precision))
            .ok_or_else(|| Problem::Precision(self.precision).at("precision"))?;
        let buckets = layout(precision).count();
        let mut before = None;
        for &(index, count) in &self.buckets {
            let problem = if index as usize >= buckets {
                Problem::IndexOutOfRange {
                    index,
                    precision: self.precision,
                    last: buckets - 1,
                }
            } else if let Some(before) = before.filter(|&before| before >= index) {
                Problem::NotAscending { index, before }
            } else if count == 0 {
                Problem::EmptyBucket(index)
            } else {
                before = Some(index);
                continue;
            };
            return Err(problem.at("buckets"));
        }
        let stats = LatencyStats::new(precision, self.sum_ns, self.buckets);
        count_agrees("count", self.count, stats.count())?;
        ms_agrees("min", self.min, stats.min())?;
        ms_agrees("mean", self.mean, stats.mean())?;
        ms_agrees("p50", self.p50, stats.p50())?;
        ms_agrees("p90", self.p90, stats.p90())?;
        ms_agrees("p99", self.p99, stats.p99())?;
        ms_agrees("p999", self.p999, stats.p999())?;
        ms_agrees("max", self.max, stats.max())?;
        Ok(stats)
    }
}

#[derive(Deserialize)]
struct RawByOutcome {
    success: RawLatency,
    failure: RawLatency,
    cancelled: RawLatency,
}

impl RawByOutcome {
    fn check(self) -> Result<LatencyByOutcome, Invalid> {
        let check = |raw: RawLatency, field| raw.check().map_err(|error| error.within(field));
        Ok(LatencyByOutcome {
            success: check(self.success, "success")?,
            failure: check(self.failure, "failure")?,
            cancelled: check(self.cancelled, "cancelled")?,
        })
    }
}

#[derive(Deserialize)]
struct RawError {
    kind: String,
    message: Option<String>,
    attempt: u16,
    at: String,
}

impl RawError {
    fn check(self) -> Result<LastError, Invalid> {
        if self.attempt == 0 {
            return Err(Problem::Attempt.at("attempt"));
        }
        Ok(LastError {
            kind: kind("kind", &self.kind)?,
            message: self.message,
            attempt: self.attempt,
            at: time("at", &self.at)?,
        })
    }
}

#[derive(Deserialize)]
struct RawTool {
    in_flight: u64,
    retried: u64,
    recovered: u64,
    rejected: u64,
    registered_at: String,
    last_error: Option<RawError>,
    last_latency_ms: Option<f64>,
    last_finished_at: Option<String>,
    failures_by_kind: BTreeMap<String, u64>,
    latency_ms: RawByOutcome,
    #[serde(default)]
    retired: bool,
    #[serde(default, deserialize_with = "given")]
    success: Given<u64>,
    #[serde(default, deserialize_with = "given")]
    failure: Given<u64>,
    #[serde(default, deserialize_with = "given")]
    cancelled: Given<u64>,
    #[serde(default, deserialize_with = "given")]
    total_latency_ms: Given<f64>,
}

impl RawTool {
    fn check(self) -> Result<ToolStats, Invalid> {
        let last_error = self.last_error.map(RawError::check).transpose();
        let mut failures_by_kind = BTreeMap::new();
        for (name, count) in self.failures_by_kind {
            let kind = kind("failures_by_kind", &name)?;
            if count > 0 {
                failures_by_kind.insert(kind, count);
            }
        }
        let stats = ToolStats {
            in_flight: self.in_flight,
            retried: self.retried,
            recovered: self.recovered,
            rejected: self.rejected,
            registered_at: time("registered_at", &self.registered_at)?,
            last_error: last_error.map_err(|error| error.within("last_error"))?,
            last_finish: last_finish(self.last_latency_ms, self.last_finished_at.as_deref())?,
            failures_by_kind,
            latency: (self.latency_ms.check()).map_err(|error| error.within("latency_ms"))?,
            retired: self.retired,
        };
        count_agrees("success", self.success, stats.success())?;
        count_agrees("failure", self.failure, stats.failure())?;
        count_agrees("cancelled", self.cancelled, stats.cancelled())?;
        let total = Some(stats.total_latency());
        ms_agrees("total_latency_ms", self.total_latency_ms, total)?;
        Ok(stats)
    }
}

fn last_finish(latency_ms: Option<f64>, at: Option<&str>) -> Result<Option<LastCall>, Invalid> {
    let (ms, at) = match (latency_ms, at) {
        (None, None) => return Ok(None),
        (Some(ms), Some(at)) => (ms, at),
        (Some(_), None) => return Err(Problem::NotBoth("last_latency_ms").at("last_finished_at")),
        (None, Some(_)) => return Err(Problem::NotBoth("last_finished_at").at("last_latency_ms")),
    };
    let latency_ns = ns_from_ms(ms, MAX_LATENCY_NS).ok_or_else(|| {
        let max_ms = to_ms(Duration::from_nanos(MAX_LATENCY_NS));
        Problem::Milliseconds { ms, max_ms }.at("last_latency_ms")
    })?;
    Ok(Some(LastCall {
        latency: Duration::from_nanos(latency_ns),
        at: time("last_finished_at", at)?,
    }))
}

/// The tools by name, each checked as soon as it is read.
struct Tools(BTreeMap<Arc<str>, Arc<ToolStats>>);

impl<'de> Deserialize<'de> for Tools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName;

        impl<'de> Visitor<'de> for ByName {
            type Value = Tools;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from the names of tools to their stats")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tools, A::Error> {
                let mut tools = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let path = format!("tools.{}", escaped(&name, MAX_NAME_BYTES));
                    if name.is_empty() || name.len() > MAX_NAME_BYTES {
                        return Err(A::Error::custom(Problem::Name(name.len()).at(path)));
                    }
                    let Entry::Vacant(entry) = tools.entry(Arc::from(name)) else {
                        return Err(A::Error::custom(Problem::Twice.at(path)));
                    };
                    let stats = map.next_value::<RawTool>()?.check();
                    let stats = stats.map_err(|error| A::Error::custom(error.within(&path)))?;
                    entry.insert(Arc::new(stats));
                }
                Ok(Tools(tools))
            }
        }

        deserializer.deserialize_map(ByName)
    }
}

#[derive(Deserialize)]
struct RawSnapshot {
    instances: BTreeSet<String>,
    started_at: String,
    taken_at: String,
    uptime_ms: f64,
    unknown_tool_calls: u64,
    tools: Tools,
    #[serde(default)]
    nameless: Option<RawNameless>,
}

#[derive(Deserialize)]
struct RawNameless {
    tools: u64,
    stats: RawTool,
}

impl RawNameless {
    fn check(self) -> Result<NamelessTools, Invalid> {
        Ok(NamelessTools {
            tools: self.tools,
            stats: (self.stats.check()).map_err(|error| error.within("stats"))?,
        })
    }
}

impl RawSnapshot {
    fn check(self) -> Result<Snapshot, Invalid> {
        let ms = self.uptime_ms;
        let uptime = uptime_from_ms(ms).ok_or_else(|| {
            let max_ms = to_ms(super::MAX_UPTIME);
            Problem::Milliseconds { ms, max_ms }.at("uptime_ms")
        })?;
        let nameless = self.nameless.map(RawNameless::check).transpose();
        Ok(Snapshot {
            instances: self.instances,
            started_at: time("started_at", &self.started_at)?,
            taken_at: time("taken_at", &self.taken_at)?,
            uptime,
            unknown_tool_calls: self.unknown_tool_calls,
            tools: self.tools.0,
            nameless: nameless
                .map_err(|error| error.within("nameless"))?
                .map(Arc::new),
        })
    }
}

/// Implements `Deserialize` by reading the raw type and checking it.
macro_rules! deserialize_checked {
    ($($raw:ident => $checked:ident),+ $(,)?) => {$(
        impl<'de> Deserialize<'de> for $checked {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $raw::deserialize(deserializer)?.check().map_err(D::Error::custom)
            }
        }
    )+};
}

deserialize_checked! {
    RawSnapshot => Snapshot,
    RawTool => ToolStats,
    RawByOutcome => LatencyByOutcome,
    RawLatency => LatencyStats,
    RawError => LastError,
    RawNameless => NamelessTools,
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
