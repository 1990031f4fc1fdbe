//! [`Due`]: the counts and latencies of one tool that are still to be pushed.
//!
//! Each of them is taken out after the recorder has taken it. So a panic leaves behind what the recorder
//! did not take, and the next export pushes that: nothing is lost. The push that panicked is treated as
//! not taken, so what the recorder counted of it before it panicked is counted again.

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use std::sync::Arc;
use toolmeter::{LatencyStats, OUTCOMES, Outcome, OutcomeClass, ToolStats, error_type};

pub(crate) const CALLS: &str = "toolmeter.calls";
pub(crate) const DURATION: &str = "toolmeter.call.duration";
pub(crate) const IN_FLIGHT: &str = "toolmeter.in_flight";
pub(crate) const RETRIED: &str = "toolmeter.retried";
pub(crate) const RECOVERED: &str = "toolmeter.recovered";
pub(crate) const NAMELESS: &str = "toolmeter.nameless_calls";

const METADATA: Metadata<'static> =
    Metadata::new(env!("CARGO_PKG_NAME"), Level::INFO, Some(module_path!()));

/// The counts and latencies of one tool that are still to be pushed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Due {
    /// By the index of the outcome in [`OUTCOMES`].
    counts: [u64; OUTCOMES.len()],
    retried: u64,
    recovered: u64,
    /// Twice the middle of a bucket in nanoseconds, ascending, and how many calls it counts.
    latencies: [Vec<(u64, u64)>; OutcomeClass::COUNT],
}

/// The numbers of an export.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) calls: u64,
    pub(crate) latencies: u64,
    pub(crate) left_out: u64,
}

impl Due {
    /// Returns what is new of a tool.
    pub(crate) fn new(stats: &ToolStats) -> Self {
        Self {
            counts: OUTCOMES.map(|outcome| stats.count(outcome)),
            retried: stats.retried,
            recovered: stats.recovered,
            latencies: stats
                .latency
                .by_class()
                .map(|(_, latency)| middles(latency)),
        }
    }

    /// Adds what an earlier export left.
    pub(crate) fn add(&mut self, left: Self) {
        for (count, left) in self.counts.iter_mut().zip(left.counts) {
            *count = count.saturating_add(left);
        }
        self.retried = self.retried.saturating_add(left.retried);
        self.recovered = self.recovered.saturating_add(left.recovered);
        for (latencies, left) in self.latencies.iter_mut().zip(left.latencies) {
            latencies.extend(left);
            latencies.sort_unstable();
            latencies.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1 = kept.1.saturating_add(next.1);
                }
                same
            });
        }
    }

    /// Pushes all of it. After a panic, `self` holds what was not taken.
    pub(crate) fn push(
        &mut self,
        tool: &Arc<str>,
        max_records: u32,
        recorder: &dyn Recorder,
        pushed: &mut Pushed,
    ) {
        let tool = || Label::new("tool", SharedString::from(Arc::clone(tool)));
        self.push_counts(CALLS, || vec![tool()], recorder, pushed);
        for (name, count) in [
            (RETRIED, &mut self.retried),
            (RECOVERED, &mut self.recovered),
        ] {
            if *count > 0 {
                increment(name, vec![tool()], count, recorder);
            }
        }
        for (class, latencies) in OutcomeClass::ALL.into_iter().zip(&mut self.latencies) {
            if latencies.is_empty() {
                continue;
            }
            pushed.left_out += thin(latencies, max_records);
            let labels = vec![tool(), Label::from_static_parts("outcome", class.as_str())];
            let key = Key::from_parts(KeyName::from_const_str(DURATION), labels);
            let histogram = recorder.register_histogram(&key, &METADATA);
            while let Some(&(twice_ns, count)) = latencies.last() {
                // At most `max_records`, which fits wherever there are 32 bits.
                let records = usize::try_from(count).unwrap_or(usize::MAX);
                histogram.record_many(twice_ns as f64 / 2e9, records);
                latencies.pop();
                pushed.latencies += count;
            }
        }
    }

    /// Pushes only the counts, as those of tools without names.
    pub(crate) fn push_nameless(&mut self, recorder: &dyn Recorder, pushed: &mut Pushed) {
        self.push_counts(NAMELESS, Vec::new, recorder, pushed);
    }

    fn push_counts(
        &mut self,
        name: &'static str,
        of: impl Fn() -> Vec<Label>,
        recorder: &dyn Recorder,
        pushed: &mut Pushed,
    ) {
        for (outcome, count) in OUTCOMES.into_iter().zip(&mut self.counts) {
            // A success series exists from the first export on, so that its first call shows as an increase.
            if *count > 0 || outcome == Outcome::Success {
                let error_type = error_type(outcome).unwrap_or_default();
                let mut labels = of();
                labels.push(Label::from_static_parts("outcome", outcome.as_str()));
                labels.push(Label::from_static_parts("error_type", error_type));
                pushed.calls += increment(name, labels, count, recorder);
            }
        }
    }
}

/// Pushes a count, then takes it out, and returns it.
pub(crate) fn increment(
    name: &'static str,
    labels: Vec<Label>,
    count: &mut u64,
    recorder: &dyn Recorder,
) -> u64 {
    let key = Key::from_parts(KeyName::from_const_str(name), labels);
    recorder.register_counter(&key, &METADATA).increment(*count);
    std::mem::take(count)
}

/// Sets the number of calls of a tool that are in flight.
pub(crate) fn set_in_flight(tool: &Arc<str>, in_flight: u64, recorder: &dyn Recorder) {
    let labels = vec![Label::new("tool", SharedString::from(Arc::clone(tool)))];
    let key = Key::from_parts(KeyName::from_const_str(IN_FLIGHT), labels);
    recorder
        .register_gauge(&key, &METADATA)
        .set(in_flight as f64);
}

/// Returns the buckets of a histogram as twice their middles, with their counts.
fn middles(latency: &LatencyStats) -> Vec<(u64, u64)> {
    let buckets = latency.buckets().iter();
    let middle = |&(index, count)| {
        // A histogram holds no index without bounds, and none of 2^63 ns.
        let (least, greatest) = latency.bucket_bounds(index)?;
        Some(((least.as_nanos() + greatest.as_nanos()) as u64, count))
    };
    buckets.filter_map(middle).collect()
}

/// Leaves `max` of the calls, evenly spaced by rank, if there are more, and returns the number that it
/// left out.
///
/// Record i of `max` stands for the call of rank `(2 i + 1) n / (2 max)` among all n, counted from 0.
fn thin(latencies: &mut Vec<(u64, u64)>, max: u32) -> u64 {
    let all: u128 = latencies.iter().map(|&(_, count)| u128::from(count)).sum();
    let max = u128::from(max);
    if all <= max {
        return 0;
    }
    // The number of records with a rank below this one.
    let below = |rank: u128| (2 * max * rank).saturating_sub(all).div_ceil(2 * all);
    let mut seen = 0;
    for (_, count) in &mut *latencies {
        let before = below(seen);
        seen += u128::from(*count);
        *count = (below(seen) - before) as u64;
    }
    latencies.retain(|&(_, count)| count > 0);
    u64::try_from(all - max).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The value of a rank, counted from 0.
    fn ranked(latencies: &[(u64, u64)], rank: u64) -> u64 {
        let mut seen = 0;
        for &(value, count) in latencies {
            seen += count;
            if seen > rank {
                return value;
            }
        }
        panic!("no rank {rank} in {latencies:?}")
    }

    proptest! {
        #[test]
        fn thinned_out_each_quantile_stays_within_its_neighbours(
            counts in prop::collection::vec(1_u64..50, 1..60),
            max in 1_u32..200,
        ) {
            let before: Vec<(u64, u64)> = (0..).zip(counts).collect();
            let all: u64 = before.iter().map(|&(_, count)| count).sum();
            let mut after = before.clone();
            let left_out = thin(&mut after, max);
            let kept: u64 = after.iter().map(|&(_, count)| count).sum();
            prop_assert_eq!(kept, all.min(max.into()));
            prop_assert_eq!(left_out, all - kept);
            for rank in 0..kept {
                // What it stands for is the share from rank / kept to (rank + 1) / kept.
                let (from, to) = (rank * all / kept, ((rank + 1) * all - 1) / kept);
                let value = ranked(&after, rank);
                prop_assert!(ranked(&before, from) <= value && value <= ranked(&before, to));
            }
        }
    }

    #[test]
    fn counts_that_hardly_fit_are_thinned_out() {
        let mut latencies = vec![(1, u64::MAX), (2, u64::MAX)];
        assert_eq!(thin(&mut latencies, 1_000), u64::MAX);
        assert_eq!(latencies, [(1, 500), (2, 500)]);
        assert_eq!(thin(&mut latencies, 0), 1_000);
        assert_eq!(latencies, []);
    }
}
