//! What a registry measured, as plain data: [`Snapshot`], [`ToolStats`] and [`LatencyStats`].
//!
//! The documentation of these types gives the meaning and the unit of each number.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `snapshot/latency.rs` | [`LatencyStats`]: a histogram, its quantiles, and its merge |
//! | `snapshot/tool_stats.rs` | [`ToolStats`]: one tool, made from a reading of its slot |
//! | `snapshot/bounds.rs` | [`LatencyBounds`]: the bounds of the histograms that exporters write |
//! | `snapshot/export.rs` | the labels that exporters give to counts and histograms |
//! | `snapshot/wall_time.rs` | conversions of the time of day to and from RFC 3339 |
//! | `snapshot/serialize.rs` | `Serialize`: the JSON of a snapshot |
//! | `snapshot/deserialize.rs` | `Deserialize`: reading that JSON, and checking it |
//! | `snapshot/table.rs` | `Display`: the table |
//! | `snapshot/testing.rs` | snapshots for tests: arbitrary ones, and those of recorded calls |
//!
//! Promises:
//!
//! * A count is the sum of the buckets of its histogram; there is no second number that could
//!   disagree with it. Everything else that follows from the buckets is computed on request.
//! * Merging snapshots is associative and commutative. The result is that of measuring everything in
//!   one place, in the coarsest precision. Sums that do not fit stay at their maximum; nothing wraps.
//! * Written as JSON and read again, a snapshot is equal to what it was, within the limits that
//!   [`Snapshot`] names.

mod bounds;
#[cfg(feature = "serde")]
mod deserialize;
mod export;
mod latency;
#[cfg(feature = "serde")]
mod serialize;
#[cfg(feature = "table")]
mod table;
#[cfg(all(test, not(toolmeter_loom)))]
mod testing;
mod tool_stats;
#[cfg(any(feature = "serde", feature = "table"))]
mod wall_time;

pub use bounds::{BoundsError, LatencyBounds};
pub use export::{OUTCOMES, error_type};
pub use latency::LatencyStats;
pub(crate) use latency::{MAX_EXPONENT, PRECISIONS};
pub(crate) use tool_stats::{Clocks, Recorded};
pub use tool_stats::{LastCall, LastError, LatencyByOutcome, ToolStats};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest uptime that is kept: 2^50 microseconds, 35 years. Up to there an `f64` of
/// milliseconds distinguishes neighbouring microseconds, with room for a parser's rounding.
pub(crate) const MAX_UPTIME: Duration = Duration::from_micros(1 << 50);

/// The metrics of all tools of a registry, or of several registries, at one moment.
///
/// It is plain data without a reference to its registry. Tools are read one after the other while
/// calls go on, so the readings of two tools may be some microseconds apart. A call that is counted
/// is counted with its latency.
///
/// # JSON
///
/// It implements `Serialize` and `Deserialize`. Latencies and uptime are in milliseconds, with
/// decimals; times are RFC 3339 in UTC:
///
/// ```
/// # let json = r#"
/// { "instances": ["host-1"], "started_at": "2025-12-31T23:58:59Z", "taken_at": "2026-01-01T00:00:00Z",
///   "uptime_ms": 61000.0, "unknown_tool_calls": 0,
///   "tools": { "web_search": {
///       "success": 2, "failure": 0, "cancelled": 0, "rejected": 0, "in_flight": 1, "retried": 0, "recovered": 0,
///       "last_error": null,
///       "last_latency_ms": 0.000003, "last_finished_at": "2025-12-31T23:59:59.5Z", "total_latency_ms": 0.000008,
///       "failures_by_kind": {}, "registered_at": "2025-12-31T23:58:59Z",
///       "latency_ms": {
///         "success": { "count": 2, "min": 0.000003, "mean": 0.000004, "p50": 0.000003, "p90": 0.000005,
///                      "p99": 0.000005, "p999": 0.000005, "max": 0.000005,
///                      "precision": 5, "sum_ns": 8, "buckets": [[3, 1], [5, 1]] },
///         "failure": { "precision": 5, "sum_ns": 0, "buckets": [] },
///         "cancelled": { "precision": 5, "sum_ns": 0, "buckets": [] } } } } }
/// # "#;
/// let snapshot: toolmeter::Snapshot = serde_json::from_str(json)?;
/// assert_eq!(snapshot.tool("web_search").unwrap().success(), 2);
///
/// let written = serde_json::to_string(&snapshot)?;
/// assert_eq!(serde_json::from_str::<toolmeter::Snapshot>(&written)?, snapshot);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Numbers that follow from the buckets may be left out when reading, as for failure and cancelled
/// above; those that are given must agree with the buckets. Unknown fields are ignored. A tool that
/// is [`retired`](ToolStats::retired) has a field `"retired": true`. If there are
/// [nameless tools](Self::nameless), there is `"nameless": { "tools": 12, "stats": { .. } }`.
///
/// The round trip is exact for an uptime of whole microseconds up to 35 years, a last latency
/// below 2^48 ns, and times in the years -9999 to 9999. Values beyond are written as the nearest
/// value within. Every snapshot of a registry is within.
///
/// # Table
///
/// `Display` writes a summary line and a table with one row for each tool. Latencies in the table
/// are those of successful calls. Invisible characters are escaped.
///
/// # Examples
///
/// ```
/// let registry = toolmeter::Registry::new();
/// let tool = registry.register("web_search")?;
/// tool.run(|| Ok::<_, String>("hit"))?;
///
/// let snapshot = registry.metrics();
/// assert_eq!(snapshot.tool("web_search").unwrap().success(), 1);
/// assert_eq!(snapshot.unknown_tool_calls, 0);
/// println!("{snapshot}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name that the host gave its registry; in a merged snapshot, the names of all of them.
    pub instances: BTreeSet<String>,
    /// The time of day when the registry was built; in a merged snapshot, the earliest.
    pub started_at: SystemTime,
    /// The time of day when the snapshot was taken; in a merged snapshot, the latest.
    ///
    /// See also [`uptime`](Self::uptime), which does not jump when the clock is set.
    pub taken_at: SystemTime,
    /// The time since the registry was built, in whole microseconds; in a merged snapshot, the
    /// longest.
    ///
    /// A count divided by it is a rate over the registry's life.
    pub uptime: Duration,
    /// Calls by a name that no tool has, such as one that the model made up.
    ///
    /// A growing number means that the model is offered tools that the host does not have, or
    /// misspells those it has.
    pub unknown_tool_calls: u64,
    /// The tools by name.
    ///
    /// Consecutive snapshots share the stats of a tool that was idle in between. See also
    /// [`tool`](Self::tool).
    pub tools: BTreeMap<Arc<str>, Arc<ToolStats>>,
    /// Departed tools whose names are forgotten. A registry remembers as many names of departed
    /// tools as it may have tools, and adds up the counts of the others.
    pub nameless: Option<Arc<NamelessTools>>,
}

/// Departed tools whose names are forgotten, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamelessTools {
    /// The number of tools.
    pub tools: u64,
    /// Their stats, added up.
    pub stats: ToolStats,
}

/// The fields of a snapshot that are about its registry.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) instance: String,
    pub(crate) started_at: SystemTime,
    pub(crate) taken_at: SystemTime,
    /// Kept in whole microseconds, 35 years at most.
    pub(crate) uptime: Duration,
    pub(crate) unknown_tool_calls: u64,
}

impl Snapshot {
    /// Creates a snapshot of these tools.
    pub(crate) fn new(
        header: Header,
        tools: BTreeMap<Arc<str>, Arc<ToolStats>>,
        nameless: Option<Arc<NamelessTools>>,
    ) -> Self {
        Self {
            instances: BTreeSet::from([header.instance]),
            started_at: header.started_at,
            taken_at: header.taken_at,
            uptime: whole_micros(header.uptime),
            unknown_tool_calls: header.unknown_tool_calls,
            tools,
            nameless,
        }
    }

    /// Returns the stats of the tool of this name.
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = toolmeter::Registry::new();
    /// registry.register("web_search")?;
    ///
    /// let snapshot = registry.metrics();
    /// assert_eq!(snapshot.tool("web_search").unwrap().in_flight, 0);
    /// assert!(snapshot.tool("web_serach").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&ToolStats> {
        self.tools.get(name).map(|stats| &**stats)
    }

    /// Returns the stats of all tools added up; `None` if there is no tool.
    ///
    /// They include [nameless tools](Self::nameless), but no calls of
    /// [unknown tools](Self::unknown_tool_calls).
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = toolmeter::Registry::new();
    /// for name in ["web_search", "read_file"] {
    ///     let tool = registry.register(name)?;
    ///     tool.run(|| Ok::<_, String>("found"))?;
    /// }
    /// assert_eq!(registry.metrics().totals().unwrap().success(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn totals(&self) -> Option<ToolStats> {
        let nameless = self.nameless.iter().map(|nameless| &nameless.stats);
        let mut tools = self.tools.values().map(|stats| &**stats).chain(nameless);
        let first = tools.next()?.clone();
        Some(tools.fold(first, |sum, stats| sum.merge(stats)))
    }

    /// Adds the snapshot of another host or registry.
    ///
    /// Tools of the same name are merged as by [`ToolStats::merge`]. The order in which snapshots
    /// are merged does not matter.
    ///
    /// Two snapshots of the *same* registry hold the same calls, which would then count twice. Merge
    /// intervals instead, which hold each call once.
    ///
    /// # Examples
    ///
    /// ```
    /// let hosts = ["a", "b"].map(|_| toolmeter::Registry::new());
    /// for registry in &hosts {
    ///     let tool = registry.register("web_search")?;
    ///     tool.run(|| Ok::<_, String>("hit"))?;
    /// }
    /// let mut all = hosts[0].metrics();
    /// all.merge(&hosts[1].metrics());
    /// assert_eq!(all.tool("web_search").unwrap().success(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge(&mut self, other: &Self) {
        self.instances.extend(other.instances.iter().cloned());
        self.started_at = self.started_at.min(other.started_at);
        self.taken_at = self.taken_at.max(other.taken_at);
        self.uptime = self.uptime.max(other.uptime);
        self.unknown_tool_calls = self
            .unknown_tool_calls
            .saturating_add(other.unknown_tool_calls);
        for (name, stats) in &other.tools {
            self.tools
                .entry(Arc::clone(name))
                .and_modify(|mine| *mine = Arc::new(mine.merge(stats)))
                .or_insert_with(|| Arc::clone(stats));
        }
        self.nameless = match (self.nameless.take(), &other.nameless) {
            (Some(mine), Some(theirs)) => Some(Arc::new(mine.merge(theirs))),
            (mine, theirs) => mine.or_else(|| theirs.clone()),
        };
    }
}

/// Returns an uptime as it is kept.
fn whole_micros(uptime: Duration) -> Duration {
    let uptime = uptime.min(MAX_UPTIME);
    Duration::new(uptime.as_secs(), uptime.subsec_micros() * 1_000)
}

impl NamelessTools {
    fn merge(&self, other: &Self) -> Self {
        Self {
            tools: self.tools.saturating_add(other.tools),
            stats: self.stats.merge(&other.stats),
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
