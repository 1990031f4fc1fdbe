//! The plain model of one tool: a list of what happened, which each reading goes through.
//!
//! A reading is computed from the whole list so far, and the difference to a baseline from the list
//! since then. The model keeps no counters.

use std::collections::BTreeMap;
use toolmeter_core::{Buckets, ErrorKind, LastFailure, LastFinish, Outcome, OutcomeClass};

/// The most that one call adds to a latency sum, as `Slot::finish` documents it: 2^53 ns.
const MAX_SUMMED_NS: u64 = 1 << 53;

/// Something that happened to the tool.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happened {
    Started {
        attempt: u16,
    },
    /// It was refused before it started.
    Rejected,
    Finished {
        stripe: usize,
        outcome: Outcome,
        attempt: u16,
        at_ns: u64,
        latency_ns: u64,
    },
}

/// A moment, as the length of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(usize);

/// The contents that a reading must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Calls that started or were rejected.
    pub(super) entered: u64,
    pub(super) rejected: u64,
    pub(super) retried: u64,
    pub(super) recovered: u64,
    pub(super) failures: [u64; ErrorKind::COUNT],
    pub(super) sums_ns: [u64; OutcomeClass::COUNT],
    pub(super) buckets: [BTreeMap<u32, u64>; OutcomeClass::COUNT],
    pub(super) last_finish: Option<LastFinish>,
    pub(super) last_failure: Option<LastFailure>,
    /// The time of that failure in nanoseconds, which the word of a failure rounds.
    pub(super) last_failure_ns: Option<u64>,
}

/// Everything that happened.
#[derive(Debug)]
pub(super) struct Model {
    buckets: Buckets,
    stripes: usize,
    happened: Vec<Happened>,
}

impl Model {
    pub(super) fn new(buckets: Buckets, stripes: usize) -> Self {
        Self {
            buckets,
            stripes,
            happened: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, happened: Happened) {
        self.happened.push(happened);
    }

    pub(super) fn now(&self) -> Moment {
        Moment(self.happened.len())
    }

    /// Returns the number of calls that started and have not ended yet.
    pub(super) fn in_flight(&self) -> u64 {
        let mut in_flight = 0;
        for happened in &self.happened {
            match happened {
                Happened::Started { .. } => in_flight += 1,
                Happened::Finished { .. } => in_flight -= 1,
                Happened::Rejected => {}
            }
        }
        in_flight
    }

    /// Forgets everything that happened.
    pub(super) fn clear(&mut self) {
        self.happened.clear();
    }

    /// Returns what a reading taken now must hold in addition to one that was taken at `since`.
    pub(super) fn since(&self, since: Moment) -> Expected {
        self.between(since, self.now())
    }

    /// Returns what a reading taken at `until` must hold in addition to one that was taken at
    /// `since`.
    pub(super) fn between(&self, since: Moment, until: Moment) -> Expected {
        let mut expected = Expected::default();
        for happened in &self.happened[since.0..until.0] {
            self.count(&mut expected, *happened);
        }
        // The last finish and failure are those of the slot. They are present if such a call ended
        // since.
        let [succeeded, failed, _] = OutcomeClass::ALL.map(|class| expected.count(class));
        if succeeded > 0 || failed > 0 {
            expected.last_finish = self.last_finish(until);
        }
        if failed > 0
            && let Some((kind, attempt, at_ns)) = self.last_failure(until)
        {
            expected.last_failure = Some(LastFailure::new(kind, attempt, at_ns));
            expected.last_failure_ns = Some(at_ns);
        }
        expected
    }

    fn count(&self, expected: &mut Expected, happened: Happened) {
        match happened {
            Happened::Started { attempt } => {
                expected.entered += 1;
                expected.retried += u64::from(attempt > 1);
            }
            Happened::Rejected => {
                expected.entered += 1;
                expected.rejected += 1;
            }
            Happened::Finished {
                outcome,
                attempt,
                latency_ns,
                ..
            } => {
                if let Some(kind) = outcome.error_kind() {
                    expected.failures[kind.index()] += 1;
                }
                let is_success = outcome == Outcome::Success;
                expected.recovered += u64::from(is_success && attempt > 1);
                let Some(class) = outcome.class().map(OutcomeClass::index) else {
                    expected.rejected += 1;
                    return;
                };
                let sum_ns = &mut expected.sums_ns[class];
                *sum_ns = sum_ns.wrapping_add(latency_ns.min(MAX_SUMMED_NS));
                let index = self.buckets.index(latency_ns) as u32;
                *expected.buckets[class].entry(index).or_default() += 1;
            }
        }
    }

    /// Returns the latest, by its time, of the last items of each stripe that `pick` selects. Of
    /// several at the same time, it returns that of the highest stripe.
    fn latest<T>(
        &self,
        until: Moment,
        pick: impl Fn(&Happened) -> Option<(usize, u64, T)>,
    ) -> Option<T> {
        let mut last: Vec<Option<(u64, T)>> = (0..self.stripes).map(|_| None).collect();
        for happened in &self.happened[..until.0] {
            if let Some((stripe, at, what)) = pick(happened) {
                last[stripe] = Some((at, what));
            }
        }
        let latest = last.into_iter().flatten().max_by_key(|(at, _)| *at);
        latest.map(|(_, what)| what)
    }

    fn last_finish(&self, until: Moment) -> Option<LastFinish> {
        self.latest(until, |happened| match *happened {
            Happened::Finished {
                stripe,
                outcome: Outcome::Success | Outcome::Failure(_),
                at_ns,
                latency_ns,
                ..
            } => {
                let latency_ns = latency_ns.min(self.buckets.max_value());
                Some((stripe, at_ns, LastFinish { at_ns, latency_ns }))
            }
            _ => None,
        })
    }

    fn last_failure(&self, until: Moment) -> Option<(ErrorKind, u16, u64)> {
        self.latest(until, |happened| match *happened {
            Happened::Finished {
                stripe,
                outcome: Outcome::Failure(kind),
                attempt,
                at_ns,
                ..
            } => Some((stripe, at_ns >> 16, (kind, attempt, at_ns))),
            _ => None,
        })
    }
}

impl Expected {
    /// Returns the number of calls that started and were not rejected. A call that is rejected
    /// after its start is subtracted when it ends, which may be in a later interval.
    pub(super) fn started(&self) -> u64 {
        self.entered.saturating_sub(self.rejected)
    }

    /// Returns whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        let has_no_bucket = self.buckets.iter().all(BTreeMap::is_empty);
        self.entered == 0 && self.rejected == 0 && has_no_bucket
    }

    pub(super) fn count(&self, class: OutcomeClass) -> u64 {
        self.buckets[class.index()].values().sum()
    }

    /// Returns the buckets that are not empty, as a reading lists them.
    pub(super) fn pairs(&self, class: OutcomeClass) -> Vec<(u32, u64)> {
        let buckets = &self.buckets[class.index()];
        buckets
            .iter()
            .map(|(&index, &count)| (index, count))
            .collect()
    }
}
