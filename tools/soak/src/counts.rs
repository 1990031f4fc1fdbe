//! Plain counters that one thread owns, and returns when it is joined.
//!
//! The same types hold the expected counts and those that toolmeter reports, so the comparison is
//! field by field. Nothing here is shared or grows: a run of any length takes the same memory.

use crate::did::Did;
use crate::tools::{self, TIMED, TOOLS};
use std::time::Duration;
use toolmeter::{ErrorKind, EventKind, LatencyStats, Outcome, Snapshot, ToolStats};

/// Fields of a [`Tally`], by their place. The kinds of errors follow the last.
mod field {
    pub(super) const CALLS: usize = 0;
    pub(super) const SUCCESS: usize = 1;
    pub(super) const FAILURE: usize = 2;
    pub(super) const CANCELLED: usize = 3;
    pub(super) const RETRIED: usize = 4;
    pub(super) const RECOVERED: usize = 5;
    pub(super) const REJECTED: usize = 6;
    pub(super) const LATENCIES: [usize; 3] = [7, 8, 9];
    pub(super) const SUM_NS: [usize; 2] = [10, 11];
    pub(super) const KINDS: usize = 12;
}

/// The number of fields of a [`Tally`].
pub(crate) const FIELDS: usize = field::KINDS + ErrorKind::COUNT;

/// Returns the name of a field of a [`Tally`].
pub(crate) fn field_name(place: usize) -> &'static str {
    const NAMES: [&str; field::KINDS] = [
        "calls",
        "success",
        "failure",
        "cancelled",
        "retried",
        "recovered",
        "rejected",
        "latencies of successes",
        "latencies of failures",
        "latencies of cancelled calls",
        "nanoseconds of successes, where timed",
        "nanoseconds of failures, where timed",
    ];
    NAMES
        .get(place)
        .copied()
        .unwrap_or_else(|| ErrorKind::ALL[place - field::KINDS].as_str())
}

/// The counts of one tool.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    fields: [u64; FIELDS],
    /// Calls that began and were then rejected. They count as rejected and not as calls; only their
    /// first event distinguishes them from those that never began.
    withdrawn: u64,
}

impl Tally {
    /// Returns the count in a field.
    pub(crate) const fn field(&self, place: usize) -> u64 {
        self.fields[place]
    }

    /// Returns whether all fields are equal.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.fields == other.fields
    }

    /// Returns the sum of the amounts by which the fields of this tally exceed those of the other.
    pub(crate) fn excess(&self, other: &Self) -> u64 {
        let fields = self.fields.iter().zip(other.fields);
        fields
            .map(|(mine, theirs)| mine.saturating_sub(theirs))
            .sum()
    }

    /// Returns the number of calls that began and did not end. It is 0 for the counts of toolmeter,
    /// which contain only calls that ended.
    pub(crate) fn open(&self) -> u64 {
        let fields = &self.fields;
        let ended = fields[field::SUCCESS] + fields[field::FAILURE] + fields[field::CANCELLED];
        fields[field::CALLS].saturating_sub(ended)
    }

    /// Returns the number of calls that began and were not rejected.
    pub(crate) const fn calls(&self) -> u64 {
        self.fields[field::CALLS]
    }

    /// Returns the number of events of each kind: calls that began, succeeded, failed, were cancelled
    /// and were rejected.
    pub(crate) const fn by_event(&self) -> [u64; EventKind::ALL.len()] {
        [
            self.fields[field::CALLS] + self.withdrawn,
            self.fields[field::SUCCESS],
            self.fields[field::FAILURE],
            self.fields[field::CANCELLED],
            self.fields[field::REJECTED],
        ]
    }

    /// Returns the number of events, if all calls ended.
    pub(crate) const fn events(&self) -> u64 {
        2 * self.fields[field::CALLS] + self.fields[field::REJECTED] + self.withdrawn
    }

    /// Returns the number of failures of this kind.
    pub(crate) const fn failed_as(&self, kind: ErrorKind) -> u64 {
        self.fields[field::KINDS + kind.index()]
    }

    /// Adds another tally.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.fields.iter_mut().zip(other.fields) {
            *mine = mine.wrapping_add(theirs);
        }
        self.withdrawn += other.withdrawn;
    }

    /// Counts the start of a call.
    pub(crate) fn begin(&mut self, attempt: u16) {
        self.fields[field::CALLS] += 1;
        self.fields[field::RETRIED] += u64::from(attempt > 1);
    }

    /// Counts the end of a call.
    pub(crate) fn end(&mut self, attempt: u16, outcome: Outcome) {
        let fields = &mut self.fields;
        match outcome {
            Outcome::Success => {
                fields[field::SUCCESS] += 1;
                fields[field::RECOVERED] += u64::from(attempt > 1);
            }
            Outcome::Failure(kind) => {
                fields[field::FAILURE] += 1;
                fields[field::KINDS + kind.index()] += 1;
            }
            Outcome::Cancelled => fields[field::CANCELLED] += 1,
            Outcome::Rejected => {
                // Below zero until the counts of the thread that began the call are added.
                fields[field::CALLS] = fields[field::CALLS].wrapping_sub(1);
                fields[field::REJECTED] += 1;
                self.withdrawn += 1;
            }
        }
        if let Some(class) = outcome.class() {
            fields[field::LATENCIES[class.index()]] += 1;
        }
    }

    /// Adds the latency of a call.
    pub(crate) fn took(&mut self, outcome: Outcome, latency: Duration) {
        if let Some(class) = outcome.class()
            && let Some(&place) = field::SUM_NS.get(class.index())
        {
            self.fields[place] += nanoseconds(latency);
        }
    }

    /// Counts a call that is rejected before it begins.
    pub(crate) fn reject(&mut self) {
        self.fields[field::REJECTED] += 1;
    }

    /// Returns toolmeter's counts of a tool, with the sums of its latencies if `is_timed`.
    pub(crate) fn of(stats: &ToolStats, is_timed: bool) -> Self {
        let mut tally = Self::default();
        let (fields, latency) = (&mut tally.fields, &stats.latency);
        fields[field::CALLS] = stats.finished();
        fields[field::SUCCESS] = stats.success();
        fields[field::FAILURE] = stats.failure();
        fields[field::CANCELLED] = stats.cancelled();
        fields[field::RETRIED] = stats.retried;
        fields[field::RECOVERED] = stats.recovered;
        fields[field::REJECTED] = stats.rejected;
        let by_outcome = [&latency.success, &latency.failure, &latency.cancelled];
        for (place, latency) in field::LATENCIES.into_iter().zip(by_outcome) {
            fields[place] = in_buckets(latency);
        }
        if is_timed {
            for (place, latency) in field::SUM_NS.into_iter().zip(by_outcome) {
                fields[place] = nanoseconds(latency.sum());
            }
        }
        for (kind, count) in &stats.failures_by_kind {
            fields[field::KINDS + kind.index()] = *count;
        }
        tally
    }
}

fn in_buckets(latency: &LatencyStats) -> u64 {
    latency.buckets().iter().map(|&(_, count)| count).sum()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A call that began. The thread that ends the call passes this to [`Counts::end`].
#[derive(Clone, Copy, Debug)]
#[must_use = "the end of the call must be counted"]
pub(crate) struct Open {
    tool: usize,
    attempt: u16,
}

/// The counts of one thread, or of several added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    tools: [Tally; TOOLS],
    /// Calls by names that no tool has.
    pub(crate) unknown: u64,
    did: [u64; Did::COUNT],
}

impl Counts {
    /// Counts the start of a call.
    pub(crate) fn begin(&mut self, tool: usize, attempt: u16) -> Open {
        self.tools[tool].begin(attempt);
        Open { tool, attempt }
    }

    /// Counts the end of a call.
    pub(crate) fn end(&mut self, open: Open, outcome: Outcome) {
        self.tools[open.tool].end(open.attempt, outcome);
    }

    /// Counts a call that is rejected before it begins.
    pub(crate) fn reject(&mut self, tool: usize) {
        self.tools[tool].reject();
    }

    /// Counts the end of a call, and the latency that its guard returned.
    pub(crate) fn end_after(&mut self, open: Open, outcome: Outcome, latency: Duration) {
        self.end(open, outcome);
        if open.tool == TIMED {
            self.tools[TIMED].took(outcome, latency);
        }
    }

    /// Counts the start and the end of a call.
    pub(crate) fn whole(&mut self, tool: usize, attempt: u16, outcome: Outcome) {
        let open = self.begin(tool, attempt);
        self.end(open, outcome);
    }

    /// Counts something that a run must do.
    pub(crate) fn did(&mut self, what: Did) {
        self.did[what as usize] += 1;
    }

    /// Returns the number of times that it was done.
    pub(crate) const fn times(&self, what: Did) -> u64 {
        self.did[what as usize]
    }

    /// Adds what toolmeter counted of each tool and of unknown ones.
    ///
    /// # Panics
    ///
    /// If it names a tool that the soak does not have, or has one without a name.
    pub(crate) fn add_snapshot(&mut self, snapshot: &Snapshot) {
        for (name, stats) in &snapshot.tools {
            let Some(tool) = tools::place(name) else {
                panic!("a snapshot names `{name}`, which was never registered");
            };
            self.tools[tool].add(&Tally::of(stats, tool == TIMED));
        }
        assert!(snapshot.nameless.is_none(), "a tool lost its name");
        self.unknown += snapshot.unknown_tool_calls;
    }

    /// Adds the counts of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.tools.iter_mut().zip(&other.tools) {
            mine.add(theirs);
        }
        self.unknown += other.unknown;
        for (mine, theirs) in self.did.iter_mut().zip(other.did) {
            *mine += theirs;
        }
    }

    /// Returns the number of calls, by known names and unknown ones.
    pub(crate) fn calls(&self) -> u64 {
        self.sum(0..TOOLS).calls() + self.unknown
    }

    /// Returns the counts of a tool.
    pub(crate) const fn tool(&self, tool: usize) -> &Tally {
        &self.tools[tool]
    }

    /// Returns the sum over these tools.
    pub(crate) fn sum(&self, tools: std::ops::Range<usize>) -> Tally {
        let mut sum = Tally::default();
        for tally in &self.tools[tools] {
            sum.add(tally);
        }
        sum
    }
}
