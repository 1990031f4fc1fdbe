//! The books: plain counters that one thread owns and hands over when it is joined.
//!
//! The same shape holds what the soak did itself and what toolmeter says, so that comparing is
//! field by field. Nothing here is atomic or shared, and nothing grows: a run of any length
//! takes the same memory.

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

/// How many fields a [`Tally`] has.
pub(crate) const FIELDS: usize = field::KINDS + ErrorKind::COUNT;

/// What a field of a [`Tally`] is called.
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

/// Everything that is counted of one tool.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    fields: [u64; FIELDS],
    /// Calls that began and were rejected then. They are among the rejected, and not among the
    /// calls; only their first event tells them from those that never began.
    withdrawn: u64,
}

impl Tally {
    /// The count in a field.
    pub(crate) const fn field(&self, place: usize) -> u64 {
        self.fields[place]
    }

    /// Whether all that is compared is the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.fields == other.fields
    }

    /// How much this has, in all fields, that the other has not.
    pub(crate) fn excess(&self, other: &Self) -> u64 {
        let fields = self.fields.iter().zip(other.fields);
        fields
            .map(|(mine, theirs)| mine.saturating_sub(theirs))
            .sum()
    }

    /// Calls that began and did not end. Of what toolmeter says it is 0: an interval shows only
    /// calls that ended.
    pub(crate) fn open(&self) -> u64 {
        let fields = &self.fields;
        let ended = fields[field::SUCCESS] + fields[field::FAILURE] + fields[field::CANCELLED];
        fields[field::CALLS].saturating_sub(ended)
    }

    /// Calls that began, and were not rejected.
    pub(crate) const fn calls(&self) -> u64 {
        self.fields[field::CALLS]
    }

    /// Calls that began, succeeded, failed, were cancelled and were rejected: as the kinds of
    /// events go.
    pub(crate) const fn by_event(&self) -> [u64; EventKind::ALL.len()] {
        [
            self.fields[field::CALLS] + self.withdrawn,
            self.fields[field::SUCCESS],
            self.fields[field::FAILURE],
            self.fields[field::CANCELLED],
            self.fields[field::REJECTED],
        ]
    }

    /// Events of calls that all ended.
    pub(crate) const fn events(&self) -> u64 {
        2 * self.fields[field::CALLS] + self.fields[field::REJECTED] + self.withdrawn
    }

    /// Failures of this kind.
    pub(crate) const fn failed_as(&self, kind: ErrorKind) -> u64 {
        self.fields[field::KINDS + kind.index()]
    }

    /// Adds another tally.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.fields.iter_mut().zip(other.fields) {
            *mine += theirs;
        }
        self.withdrawn += other.withdrawn;
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, attempt: u16) {
        self.fields[field::CALLS] += 1;
        self.fields[field::RETRIED] += u64::from(attempt > 1);
    }

    /// A call ends.
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
                fields[field::CALLS] -= 1;
                fields[field::REJECTED] += 1;
                self.withdrawn += 1;
            }
        }
        if let Some(class) = outcome.class() {
            fields[field::LATENCIES[class.index()]] += 1;
        }
    }

    /// How long it took is counted, too.
    pub(crate) fn took(&mut self, outcome: Outcome, latency: Duration) {
        if let Some(class) = outcome.class()
            && let Some(&place) = field::SUM_NS.get(class.index())
        {
            self.fields[place] += nanoseconds(latency);
        }
    }

    /// A call is rejected before it begins.
    pub(crate) fn reject(&mut self) {
        self.fields[field::REJECTED] += 1;
    }

    /// What toolmeter says of a tool, with the times of its calls or without.
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

/// What a run must have done to have tested anything; each is counted, and none may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// A short-lived thread came and went.
    Thread,
    /// A future was dropped before its first poll.
    NeverPolled,
    /// A future was dropped after its first poll.
    DroppedPolled,
    /// A call began on one thread and ended on another.
    Crossed,
    /// A task was aborted before it ran, or while it waited.
    Aborted,
    /// A tool was registered.
    Registered,
    /// A tool was registered again while it was held.
    Revived,
    /// A tool was deregistered.
    Deregistered,
    /// A tool was called through a handle after it was deregistered.
    CalledRetired,
    /// All tools were reset.
    Reset,
    /// An interval was read.
    Interval,
    /// A subscriber joined, and left again.
    Left,
    /// A redactor panicked.
    RedactorPanicked,
    /// A redactor called back.
    RedactorCalledBack,
    /// A waker panicked.
    WakerPanicked,
    /// A waker called back.
    WakerCalledBack,
    /// A waker was called that does not return before the end.
    WakerHeld,
    /// A body panicked when it was called, or when it was dropped.
    BodyPanicked,
    /// A body called back when it was called, or when it was dropped.
    BodyCalledBack,
    /// A receiver stopped half way.
    Halted,
    /// A clock stepped forwards.
    SteppedForwards,
    /// A clock stepped backwards.
    SteppedBackwards,
    /// The process forked.
    #[cfg(unix)]
    Forked,
}

impl Did {
    const COUNT: usize = Self::ALL.len();

    /// Whether it is a forked child.
    pub(crate) const fn is_fork(self) -> bool {
        #[cfg(unix)]
        return matches!(self, Self::Forked);
        #[cfg(not(unix))]
        false
    }

    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self::Thread,
        Self::NeverPolled,
        Self::DroppedPolled,
        Self::Crossed,
        Self::Aborted,
        Self::Registered,
        Self::Revived,
        Self::Deregistered,
        Self::CalledRetired,
        Self::Reset,
        Self::Interval,
        Self::Left,
        Self::RedactorPanicked,
        Self::RedactorCalledBack,
        Self::WakerPanicked,
        Self::WakerCalledBack,
        Self::WakerHeld,
        Self::BodyPanicked,
        Self::BodyCalledBack,
        Self::Halted,
        Self::SteppedForwards,
        Self::SteppedBackwards,
        #[cfg(unix)]
        Self::Forked,
    ];

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Thread => "threads that came and went",
            Self::NeverPolled => "futures dropped before the first poll",
            Self::DroppedPolled => "futures dropped after it",
            Self::Crossed => "calls handed to another thread",
            Self::Aborted => "tasks aborted",
            Self::Registered => "tools registered",
            Self::Revived => "tools registered again while held",
            Self::Deregistered => "tools deregistered",
            Self::CalledRetired => "calls of deregistered tools",
            Self::Reset => "resets",
            Self::Interval => "intervals read",
            Self::Left => "subscribers that joined and left",
            Self::RedactorPanicked => "redactors that panicked",
            Self::RedactorCalledBack => "redactors that called back",
            Self::WakerPanicked => "wakers that panicked",
            Self::WakerCalledBack => "wakers that called back",
            Self::WakerHeld => "wakers that did not return",
            Self::BodyPanicked => "bodies that panicked",
            Self::BodyCalledBack => "bodies that called back",
            Self::Halted => "receivers that stopped half way",
            Self::SteppedForwards => "clocks that stepped forwards",
            Self::SteppedBackwards => "clocks that stepped backwards",
            #[cfg(unix)]
            Self::Forked => "forks",
        }
    }
}

/// A call under way, as the books know it: who ends the call books its end.
#[derive(Clone, Copy, Debug)]
#[must_use = "a call that began must be booked as ended"]
pub(crate) struct Open {
    tool: usize,
    attempt: u16,
}

/// All counters of one thread, or of several added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    tools: [Tally; TOOLS],
    /// Calls by a name that no tool has.
    pub(crate) unknown: u64,
    did: [u64; Did::COUNT],
}

impl Books {
    /// A call begins.
    pub(crate) fn begin(&mut self, tool: usize, attempt: u16) -> Open {
        self.tools[tool].begin(attempt);
        Open { tool, attempt }
    }

    /// A call ends.
    pub(crate) fn end(&mut self, open: Open, outcome: Outcome) {
        self.tools[open.tool].end(open.attempt, outcome);
    }

    /// A call is rejected before it begins.
    pub(crate) fn reject(&mut self, tool: usize) {
        self.tools[tool].reject();
    }

    /// A call ends, and its guard said how long it took.
    pub(crate) fn end_after(&mut self, open: Open, outcome: Outcome, latency: Duration) {
        self.end(open, outcome);
        if open.tool == TIMED {
            self.tools[TIMED].took(outcome, latency);
        }
    }

    /// A call begins and ends, both booked at once.
    pub(crate) fn whole(&mut self, tool: usize, attempt: u16, outcome: Outcome) {
        let open = self.begin(tool, attempt);
        self.end(open, outcome);
    }

    /// Something happened that a run must have done.
    pub(crate) fn did(&mut self, what: Did) {
        self.did[what as usize] += 1;
    }

    /// How often it happened.
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

    /// Adds the books of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.tools.iter_mut().zip(&other.tools) {
            mine.add(theirs);
        }
        self.unknown += other.unknown;
        for (mine, theirs) in self.did.iter_mut().zip(other.did) {
            *mine += theirs;
        }
    }

    /// All calls, by known names and unknown ones.
    pub(crate) fn calls(&self) -> u64 {
        self.sum(0..TOOLS).calls() + self.unknown
    }

    /// What was counted of a tool.
    pub(crate) const fn tool(&self, tool: usize) -> &Tally {
        &self.tools[tool]
    }

    /// All of these tools added up.
    pub(crate) fn sum(&self, tools: std::ops::Range<usize>) -> Tally {
        let mut sum = Tally::default();
        for tally in &self.tools[tools] {
            sum.add(tally);
        }
        sum
    }
}
