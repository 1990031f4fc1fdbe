//! What a registry measured, as values: [`Snapshot`], [`ToolStats`] and [`LatencyStats`].
//!
//! This is the home of what the numbers mean and in which units they are. A snapshot is plain
//! data: it refers to no registry, is compared with `==`, cloned for the price of a few
//! counters, and sent anywhere.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `snapshot/latency.rs` | [`LatencyStats`]: a histogram, its quantiles, and how two of them add up |
//! | `snapshot/tool_stats.rs` | [`ToolStats`]: one tool, made from a reading of its slot |
//! | `snapshot/bounds.rs` | [`LatencyBounds`]: the bounds of the histograms that exporters write |
//! | `snapshot/export.rs` | the labels that exporters give to counts and histograms |
//! | `snapshot/wall_time.rs` | the time of day, written and read |
//! | `snapshot/json.rs` | serde: what a snapshot looks like as JSON |
//! | `snapshot/deserialize.rs` | serde: which JSON is a snapshot, and what is wrong with the rest |
//! | `snapshot/table.rs` | `Display`: the table that people read |
//! | `snapshot/testing.rs` | snapshots for tests: any at all, and those of recorded calls |
//!
//! # What always holds
//!
//! * A count is the sum of the buckets of its histogram; there is no second number that could
//!   disagree with it. What else follows from the buckets is computed when it is asked for.
//! * Adding snapshots is associative and commutative, and equals having measured everything in
//!   one place. Sums that do not fit stay at their maximum; nothing wraps.
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

/// The longest uptime that is kept: 2^50 microseconds, 35 years. Up to there a `f64` of
/// milliseconds tells neighbouring microseconds apart, with room for a parser's rounding.
pub(crate) const MAX_UPTIME: Duration = Duration::from_micros(1 << 50);

/// All tools of a registry, or of several, at one moment.
///
/// Tools are read one after the other while calls go on, so two of them may be some
/// microseconds apart; within one tool a call counts either with its latency or not at all.
///
/// # JSON
///
/// It is `Serialize` and `Deserialize`. Latencies and uptime are milliseconds with as many
/// decimals as they have, times are RFC 3339 in UTC:
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
/// As above, the numbers that follow from the buckets may be left out when reading; those that
/// are given must agree with the buckets. Fields that are not known are ignored. A tool that is
/// [`retired`](ToolStats::retired) has a field `"retired": true`, and where tools departed
/// [without a name](Self::nameless) there is `"nameless": { "tools": 12, "stats": { .. } }`.
///
/// The round trip is exact for an uptime of whole microseconds up to 35 years, a last latency
/// below 2^48 ns, and times in the years -9999 to 9999; what lies beyond is written as the
/// nearest value within. Every snapshot of a registry is within.
///
/// # Table
///
/// With `{}` it prints a line about the whole and a table with one row for each tool. Latencies
/// in the table are those of successful calls. Characters that cannot be seen are escaped.
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
    /// The name that the host gave its registry. Of a merged snapshot: the names of all hosts
    /// in it.
    pub instances: BTreeSet<String>,
    /// The time of day when the registry was built. Of a merged snapshot: of the earliest.
    pub started_at: SystemTime,
    /// The time of day when it was taken. Of a merged snapshot: of the latest.
    ///
    /// See also [`uptime`](Self::uptime), which does not jump when somebody sets the clock.
    pub taken_at: SystemTime,
    /// How long the registry has existed, in whole microseconds. Of a merged snapshot: the
    /// longest.
    ///
    /// A count divided by it is a rate over the registry's life.
    pub uptime: Duration,
    /// Calls by a name that no tool has.
    ///
    /// They belong to no tool: models invent names. A number that grows says that the model is
    /// told of tools that the host does not have, or misremembers those it has.
    pub unknown_tool_calls: u64,
    /// The tools by name.
    ///
    /// Snapshots that follow each other share the stats of a tool that did nothing in between.
    /// See also [`tool`](Self::tool).
    pub tools: BTreeMap<Arc<str>, Arc<ToolStats>>,
    /// Tools that are gone and not told apart any more: a registry remembers as many names of
    /// tools that are gone as it may have tools, and adds up what was counted under the others.
    pub nameless: Option<Arc<NamelessTools>>,
}

/// Tools that are gone and not told apart any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamelessTools {
    /// How many tools these are.
    pub tools: u64,
    /// What they did, added up.
    pub stats: ToolStats,
}

/// What a snapshot says of its registry.
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
    /// A snapshot of these tools.
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

    /// Returns all tools added up, as if they were one; `None` without a tool.
    ///
    /// [Nameless](Self::nameless) ones are in it, calls of
    /// [unknown tools](Self::unknown_tool_calls) are not.
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

    /// Adds what another host, or another registry, measured.
    ///
    /// Tools of the same name are added up as [`ToolStats::merge`] says; the others are taken
    /// over. The order in which snapshots are merged does not matter.
    ///
    /// Two snapshots of the *same* registry hold the same calls, which would then count twice:
    /// merge intervals instead, which hold each call once.
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

/// What an uptime is kept as.
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
