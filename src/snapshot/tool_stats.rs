//! [`ToolStats`]: the counters of a tool, its last error, and its latencies by outcome.
//!
//! They are made from a reading of the tool's slot: either all that the slot ever counted, or the
//! difference to a baseline. Calls in flight come from the total in both cases. The slot keeps its
//! last failure in one word, with a time in units of 65.5 us and without a text. If a record beside
//! the slot is of the same failure, its exact time and its text are used.

use super::latency::LatencyStats;
use crate::last_error::ErrorRecords;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::{ErrorKind, LastFailure, OutcomeClass, Reading};
use toolmeter_events::{Moment, Timeline};

/// The longest time by which a failure may be later than the reading of the clocks: 13 days.
///
/// The word of a failure holds its time modulo 2.28 years. Without this allowance, a failure just
/// after the clocks were read would look 2.28 years old.
const AHEAD_NS: u64 = 1 << 50;

/// The metrics of one tool: counters, the last error, and latencies by outcome.
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
    /// Calls that had started and not ended when the tool was read, even in an interval.
    ///
    /// A number that stays above 0 while nothing finishes means that the tool hangs.
    pub in_flight: u64,
    /// Calls that started as a second or later attempt, however they ended.
    ///
    /// Compared with [`failure`](Self::failure) it shows how many failures were retried, compared
    /// with [`recovered`](Self::recovered) whether that helped.
    pub retried: u64,
    /// Second or later attempts that succeeded.
    ///
    /// They are in [`success`](Self::success), too. Divided by [`retried`](Self::retried) it is the
    /// share of retries that helped.
    pub recovered: u64,
    /// Calls that were refused before the tool did anything: the tool was disabled, an approver or a
    /// policy denied them, or the tool refused them itself.
    ///
    /// They are in no other count of outcomes and in no histogram, since near-zero times of calls
    /// that never ran would drag quantiles down. A growing number means that the model requests
    /// what it may not have.
    pub rejected: u64,
    /// The failure that happened last; it stays when a later call succeeds.
    ///
    /// In an interval, or after a reset, it is there only if it happened since.
    pub last_error: Option<LastError>,
    /// The success or failure that finished last; a cancelled call leaves none.
    ///
    /// In an interval, or after a reset, it is there only if it finished since. Two calls that
    /// finish at the same moment may leave the time of one and the latency of the other. See also
    /// [`last_latency`](Self::last_latency).
    pub last_finish: Option<LastCall>,
    /// Failures of each kind; a kind that did not occur is left out.
    ///
    /// They add up to [`failure`](Self::failure) if no call finishes meanwhile. Otherwise a reading
    /// may hold the kind of a call that the next reading counts.
    pub failures_by_kind: BTreeMap<ErrorKind, u64>,
    /// Latencies by outcome.
    pub latency: LatencyByOutcome,
    /// True if the tool was deregistered. Such a tool is shown until its last handle is gone and a
    /// reset has returned its counts.
    pub retired: bool,
    /// The time when the name was registered for the first time; in merged stats, the earliest.
    ///
    /// An exporter of cumulative counts uses it as their start.
    pub registered_at: SystemTime,
}

/// The latencies of a tool's calls by outcome.
///
/// They are kept apart since they mean different things. Failures are often fast and time-outs slow,
/// and the time until a call was cancelled depends on its caller rather than on the tool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencyByOutcome {
    /// Latencies of successful calls.
    pub success: LatencyStats,
    /// Latencies of calls that failed.
    pub failure: LatencyStats,
    /// The times that cancelled calls had run. Calls that hung until they were dropped are here.
    pub cancelled: LatencyStats,
}

/// The failure that happened last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastError {
    /// The kind of the failure.
    pub kind: ErrorKind,
    /// The error's text: its head and its tail, at most 512 bytes or
    /// [`max_message_bytes`](crate::RegistryBuilder::max_message_bytes), with invisible characters
    /// escaped, and redacted if the host sets a redactor. `None` if the error had no text, if texts
    /// are switched off, or if another failure happened at the same moment.
    pub message: Option<String>,
    /// The number of the attempt that failed, counted from 1.
    pub attempt: u16,
    /// The time when it failed.
    pub at: SystemTime,
}

/// The call that finished last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastCall {
    /// The latency, to the nanosecond, at most 78 hours.
    pub latency: Duration,
    /// The time when it finished.
    pub at: SystemTime,
}

/// A reading of the registry's clock and the wall clock, with the pairings that convert between them.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    pub(crate) now: Moment,
    pub(crate) timeline: Arc<Timeline>,
}

/// The records of one tool from which its stats are made.
#[derive(Debug)]
pub(crate) struct Recorded<'a> {
    /// A reading of its slot, or the difference of two.
    pub(crate) reading: &'a Reading<Vec<(u32, u64)>>,
    /// Calls in flight in the total.
    pub(crate) in_flight: u64,
    /// The latest records of failures; none of them need be of the failure in the reading.
    pub(crate) errors: Option<&'a ErrorRecords>,
    pub(crate) retired: bool,
    pub(crate) registered_at: SystemTime,
}

impl ToolStats {
    /// Returns the stats of a tool; `clocks` were read just after its slot.
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

    /// Returns the number of calls that succeeded.
    #[must_use]
    pub fn success(&self) -> u64 {
        self.latency.success.count()
    }

    /// Returns the number of calls that failed, of all [kinds](Self::failures_by_kind).
    ///
    /// Each attempt is counted: two failures and a success in the third attempt are two
    /// [retried](Self::retried) and one [recovered](Self::recovered).
    #[must_use]
    pub fn failure(&self) -> u64 {
        self.latency.failure.count()
    }

    /// Returns the number of calls that were cancelled.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.latency.cancelled.count()
    }

    /// Returns the number of calls that ended as success, failure or cancelled. Rejected calls are
    /// not included.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.success()
            .saturating_add(self.failure())
            .saturating_add(self.cancelled())
    }

    /// Returns the latency of the call that [finished last](Self::last_finish).
    #[must_use]
    pub fn last_latency(&self) -> Option<Duration> {
        self.last_finish.map(|call| call.latency)
    }

    /// Returns the sum of the latencies of all successes and failures, exact to the nanosecond.
    ///
    /// The time spent in cancelled calls is [`latency.cancelled.sum()`](LatencyStats::sum).
    #[must_use]
    pub const fn total_latency(&self) -> Duration {
        // Two sums below 2^64 ns each fit into a Duration with room to spare.
        self.latency
            .success
            .sum()
            .saturating_add(self.latency.failure.sum())
    }

    /// Returns the sum of both, as if all calls were of one tool.
    ///
    /// Counts and sums are added, up to `u64::MAX`, and histograms as by [`LatencyStats::merge`].
    /// The later of the last errors and of the last finishes is kept. The result is retired only if
    /// both are, and its time of registration is the earlier one. Merging is associative and
    /// commutative.
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
            // At equal times the other fields decide, so that the order of merging does not.
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
