//! One tool: its counters, its last error, and its latencies by outcome.
//!
//! [`ToolStats`] is made from a reading of the tool's slot, which is either all that the slot
//! ever counted or the difference to a baseline; calls in flight come from the total in both
//! cases. The slot keeps its last failure in one word, cut to 65.5 us and without text; if a
//! record that is kept beside the slot is of the same failure, its exact time and its text
//! are taken from there.

use super::latency::LatencyStats;
use crate::last_error::ErrorRecords;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::{ErrorKind, LastFailure, OutcomeClass, Reading};
use toolmeter_events::{Moment, Timeline};

/// How far a failure may lie ahead of the moment that both clocks were paired: 13 days.
///
/// The word of a failure tells its time modulo 2.28 years, so that a failure which happened
/// just after the clocks were read would look 2.28 years old.
const AHEAD_NS: u64 = 1 << 50;

/// What one tool did: counters, the last error, and latencies by outcome.
///
/// Counts of outcomes are methods, not fields: each is the sum of its histogram's buckets.
///
/// # Examples
///
/// ```
/// use toolmeter::ErrorKind;
///
/// let registry = toolmeter::Registry::new();
/// let tool = registry.register("read_file")?;
/// let _ = tool.run(|| Err::<(), _>("no such file"));
///
/// let snapshot = registry.metrics();
/// let stats = snapshot.tool("read_file").unwrap();
/// assert_eq!((stats.success(), stats.failure(), stats.in_flight), (0, 1, 0));
/// assert_eq!(stats.failures_by_kind[&ErrorKind::Other], 1);
/// let last_error = stats.last_error.as_ref().unwrap();
/// assert_eq!(last_error.message.as_deref(), Some("no such file"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolStats {
    /// Calls that started and did not end yet, at the moment of reading; in an interval, too.
    ///
    /// A number that stays above 0 while nothing finishes is a tool that hangs.
    pub in_flight: u64,
    /// Calls that started as a second attempt or a later one, whatever became of them.
    ///
    /// Next to [`failure`](Self::failure) it tells how many failures were tried again, next to
    /// [`recovered`](Self::recovered) whether that helped.
    pub retried: u64,
    /// Successes of a second attempt or a later one.
    ///
    /// They are in [`success`](Self::success), too. Divided by [`retried`](Self::retried): the
    /// share of retries that helped.
    pub recovered: u64,
    /// Calls that were refused before the tool ran: it was disabled, or an approver or a policy
    /// denied them.
    ///
    /// They are in no other count and in no histogram, since near-zero times of calls that never
    /// ran would drag quantiles down. A number that grows says that the model asks for what it
    /// may not have.
    pub rejected: u64,
    /// The failure that happened last; it stays when a later call succeeds.
    ///
    /// In an interval, or after a reset: only if it happened since. Its time tells whether it is
    /// still of interest.
    pub last_error: Option<LastError>,
    /// The success or failure that finished last; calls that were cancelled leave none.
    ///
    /// In an interval, or after a reset: only if it finished since. Two calls that finish at
    /// the same moment may leave the time of one and the latency of the other. See also
    /// [`last_latency`](Self::last_latency).
    pub last_finish: Option<LastCall>,
    /// Failures of each kind; a kind that did not occur is left out.
    ///
    /// At rest they add up to [`failure`](Self::failure). While calls finish, a reading may
    /// hold the kind of a call that counts in the next.
    pub failures_by_kind: BTreeMap<ErrorKind, u64>,
    /// How long calls took, by how they ended.
    pub latency: LatencyByOutcome,
    /// Whether the tool was deregistered. Such a tool is shown until its last handle is gone and
    /// a reset has handed back what was counted.
    pub retired: bool,
    /// When the name was registered for the first time. Of merged stats: the earliest.
    ///
    /// Where counts since the start are exported as cumulative, this is their start.
    pub registered_at: SystemTime,
}

/// How long the calls of a tool took, by how they ended.
///
/// Apart, because they mean different things: failures are often fast and time-outs slow, and
/// how long a call ran before it was cancelled says more of who waited than of the tool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencyByOutcome {
    /// Of calls that gave what was asked of them.
    pub success: LatencyStats,
    /// Of calls that failed.
    pub failure: LatencyStats,
    /// Of calls that were dropped: how long they had run by then. A hang leaves its trace here.
    pub cancelled: LatencyStats,
}

/// The failure that happened last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastError {
    /// What kind of failure it was.
    pub kind: ErrorKind,
    /// The error's text: its head and its tail, at most 512 bytes unless
    /// [`max_message_bytes`](crate::RegistryBuilder::max_message_bytes) says otherwise, invisible
    /// characters escaped, redacted if the host wants it so. `None` if it had none, if texts are
    /// switched off, or if another failure happened at that very moment.
    pub message: Option<String>,
    /// Which attempt failed, counted from 1.
    pub attempt: u16,
    /// When it failed.
    pub at: SystemTime,
}

/// The call that finished last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastCall {
    /// How long it took, to the nanosecond, at most 78 hours.
    pub latency: Duration,
    /// When it finished.
    pub at: SystemTime,
}

/// The registry's clock and the wall clock, and how times of the one are told by the other.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    pub(crate) now: Moment,
    pub(crate) timeline: Arc<Timeline>,
}

/// What was recorded of one tool, as its stats are made of it.
#[derive(Debug)]
pub(crate) struct Recorded<'a> {
    /// A reading of its slot, or a difference of two.
    pub(crate) reading: &'a Reading<Vec<(u32, u64)>>,
    /// From the total.
    pub(crate) in_flight: u64,
    /// The latest records of failures, whether or not one is of the failure that the reading holds.
    pub(crate) errors: Option<&'a ErrorRecords>,
    pub(crate) retired: bool,
    pub(crate) registered_at: SystemTime,
}

impl ToolStats {
    /// The stats of a tool; `clocks` were read just after the slot was.
    pub(crate) fn new(recorded: &Recorded<'_>, precision: u8, clocks: &Clocks) -> Self {
        let reading = recorded.reading;
        let latency = |class| {
            let buckets = reading.buckets(class).to_vec();
            LatencyStats::new(precision, reading.sum_ns(class), buckets)
        };
        Self {
            in_flight: recorded.in_flight,
            retried: reading.retried(),
            recovered: reading.recovered(),
            rejected: reading.rejected(),
            last_error: reading
                .last_failure()
                .map(|failure| LastError::new(failure, recorded.errors, clocks)),
            last_finish: reading.last_finish().map(|finish| LastCall {
                latency: Duration::from_nanos(finish.latency_ns),
                at: clocks.timeline.wall_time(finish.at_ns),
            }),
            failures_by_kind: ErrorKind::ALL
                .into_iter()
                .map(|kind| (kind, reading.failures(kind)))
                .filter(|&(_, count)| count > 0)
                .collect(),
            latency: LatencyByOutcome {
                success: latency(OutcomeClass::Success),
                failure: latency(OutcomeClass::Failure),
                cancelled: latency(OutcomeClass::Cancelled),
            },
            retired: recorded.retired,
            registered_at: recorded.registered_at,
        }
    }

    /// Calls that gave what was asked of them.
    #[must_use]
    pub fn success(&self) -> u64 {
        self.latency.success.count()
    }

    /// Calls that failed, of all [kinds](Self::failures_by_kind).
    ///
    /// Attempts, not tasks: a call that failed twice and then succeeded is two failures and one
    /// success, two [retried](Self::retried) and one [recovered](Self::recovered).
    #[must_use]
    pub fn failure(&self) -> u64 {
        self.latency.failure.count()
    }

    /// Calls that were dropped before they ended.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.latency.cancelled.count()
    }

    /// Calls that ended, however they did: success, failure and cancelled. Rejected calls never
    /// began.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.success()
            .saturating_add(self.failure())
            .saturating_add(self.cancelled())
    }

    /// How long the call that [finished last](Self::last_finish) took.
    #[must_use]
    pub fn last_latency(&self) -> Option<Duration> {
        self.last_finish.map(|call| call.latency)
    }

    /// The latencies of all successes and failures added up, exact to the nanosecond.
    ///
    /// Time that was spent in calls that were cancelled later is in
    /// [`latency.cancelled.sum()`](LatencyStats::sum).
    #[must_use]
    pub const fn total_latency(&self) -> Duration {
        // Two sums below 2^64 ns each fit into a Duration with room to spare.
        self.latency
            .success
            .sum()
            .saturating_add(self.latency.failure.sum())
    }

    /// Both together, as if one tool had done it all.
    ///
    /// Counts and sums are added, at most to `u64::MAX`; histograms as in
    /// [`LatencyStats::merge`]. The later last error and last finish stay. The result is retired
    /// only if both are, and was registered when the earlier one was. Associative and commutative.
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = toolmeter::Registry::new();
    /// let tool = registry.register("web_search")?;
    /// tool.run(|| Ok::<_, String>("hit"))?;
    ///
    /// let snapshot = registry.metrics();
    /// let stats = snapshot.tool("web_search").unwrap();
    /// assert_eq!(stats.merge(stats).success(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let mut failures_by_kind = self.failures_by_kind.clone();
        for (&kind, &count) in &other.failures_by_kind {
            let sum = failures_by_kind.entry(kind).or_default();
            *sum = sum.saturating_add(count);
        }
        let (mine, theirs) = (&self.latency, &other.latency);
        let errors = self.last_error.iter().chain(&other.last_error);
        let finishes = self.last_finish.iter().chain(&other.last_finish);
        Self {
            in_flight: self.in_flight.saturating_add(other.in_flight),
            retried: self.retried.saturating_add(other.retried),
            recovered: self.recovered.saturating_add(other.recovered),
            rejected: self.rejected.saturating_add(other.rejected),
            // Of two at the same time the rest decides, so that the order of merging does not.
            last_error: errors
                .max_by_key(|error| (error.at, error.kind, error.attempt, &error.message))
                .cloned(),
            last_finish: finishes
                .max_by_key(|finish| (finish.at, finish.latency))
                .copied(),
            failures_by_kind,
            latency: LatencyByOutcome {
                success: mine.success.merge(&theirs.success),
                failure: mine.failure.merge(&theirs.failure),
                cancelled: mine.cancelled.merge(&theirs.cancelled),
            },
            retired: self.retired && other.retired,
            registered_at: self.registered_at.min(other.registered_at),
        }
    }
}

impl LastError {
    fn new(failure: LastFailure, errors: Option<&ErrorRecords>, clocks: &Clocks) -> Self {
        let record = errors.and_then(|errors| errors.of(failure));
        let at_ns = record.map_or_else(
            || failure.at_ns(clocks.now.clock_ns().saturating_add(AHEAD_NS)),
            |record| record.at_ns,
        );
        Self {
            kind: failure.kind(),
            message: record.map(|record| record.message.to_string()),
            attempt: failure.attempt(),
            at: clocks.timeline.wall_time(at_ns),
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
