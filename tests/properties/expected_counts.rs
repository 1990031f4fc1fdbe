//! A list of what happened, and the counts that follow from it, which are computed from the whole
//! list each time.

use std::collections::BTreeMap;
use std::time::Duration;
use toolmeter::{ErrorKind, LatencyStats, Outcome, ToolStats};
use toolmeter_core::Buckets;

/// Something that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    Started {
        tool: usize,
        attempt: u16,
    },
    Finished {
        tool: usize,
        attempt: u16,
        outcome: Outcome,
        latency_ns: u64,
        number: usize,
    },
    /// A call was rejected before it started.
    Rejected {
        tool: usize,
    },
    Unknown,
}

/// The counts of a tool.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    retried: u64,
    recovered: u64,
    rejected: u64,
    failures: BTreeMap<ErrorKind, u64>,
    /// The buckets and the sum of each outcome.
    latency: [(Vec<(u32, u64)>, Duration); 3],
    last_latency: Option<Duration>,
    /// Kind, attempt and text.
    last_error: Option<(ErrorKind, u16, Option<String>)>,
}

impl Counted {
    /// Returns the counts of a snapshot.
    pub(crate) fn of(stats: &ToolStats) -> Self {
        let latency = &stats.latency;
        let told = |latency: &LatencyStats| (latency.buckets().to_vec(), latency.sum());
        let last_error = stats.last_error.clone();
        Self {
            retried: stats.retried,
            recovered: stats.recovered,
            rejected: stats.rejected,
            failures: stats.failures_by_kind.clone(),
            latency: [&latency.success, &latency.failure, &latency.cancelled].map(told),
            last_latency: stats.last_latency(),
            last_error: last_error.map(|error| (error.kind, error.attempt, error.message)),
        }
    }

    pub(crate) fn without_last(self) -> Self {
        Self {
            last_latency: None,
            last_error: None,
            ..self
        }
    }

    /// Returns the counts that follow from the list.
    pub(crate) fn expected(entries: &[Entry], tool: usize, precision: u8) -> Self {
        let buckets = Buckets::new(precision, 48).unwrap();
        let mut counted = Self::default();
        let mut by_index: [BTreeMap<u32, u64>; 3] = Default::default();
        for entry in entries {
            match *entry {
                Entry::Started { tool: of, attempt } if of == tool => {
                    counted.retried += u64::from(attempt > 1);
                }
                Entry::Finished {
                    tool: of,
                    attempt,
                    outcome,
                    latency_ns,
                    number,
                } if of == tool => {
                    // A rejected call only adds to a count.
                    let Some(class) = outcome.class() else {
                        counted.rejected += 1;
                        continue;
                    };
                    let class = class.index();
                    *by_index[class]
                        .entry(buckets.index(latency_ns) as u32)
                        .or_default() += 1;
                    counted.latency[class].1 += Duration::from_nanos(latency_ns);
                    counted.recovered += u64::from(outcome == Outcome::Success && attempt > 1);
                    if let Outcome::Failure(kind) = outcome {
                        *counted.failures.entry(kind).or_default() += 1;
                        counted.last_error = Some((kind, attempt, Some(number.to_string())));
                    }
                    // A cancelled call leaves no last latency.
                    if outcome != Outcome::Cancelled {
                        let longest = Duration::from_nanos(buckets.max_value());
                        let latency = Duration::from_nanos(latency_ns).min(longest);
                        counted.last_latency = Some(latency);
                    }
                }
                Entry::Rejected { tool: of } if of == tool => counted.rejected += 1,
                _ => {}
            }
        }
        for (latency, by_index) in counted.latency.iter_mut().zip(by_index) {
            latency.0 = by_index.into_iter().collect();
        }
        counted
    }
}

pub(crate) fn unknown_calls(entries: &[Entry]) -> u64 {
    entries
        .iter()
        .filter(|entry| matches!(entry, Entry::Unknown))
        .count() as u64
}
