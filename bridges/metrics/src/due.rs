//! [`Due`]: what is yet to be pushed of one tool, and what becomes of it when the recorder panics.
//!
//! Each thing to be pushed is taken out when the recorder has taken it. So what a panic leaves behind is
//! what was not taken, and is pushed with the next export: nothing is lost. The push that panicked counts
//! as not taken; what a recorder had counted of it before it panicked is counted again.

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use std::sync::Arc;
use toolmeter::{ErrorKind, LatencyStats, ToolStats};

pub(crate) const CALLS: &str = "toolmeter.calls";
pub(crate) const DURATION: &str = "toolmeter.call.duration";
pub(crate) const IN_FLIGHT: &str = "toolmeter.in_flight";
pub(crate) const RETRIED: &str = "toolmeter.retried";
pub(crate) const RECOVERED: &str = "toolmeter.recovered";
pub(crate) const NAMELESS: &str = "toolmeter.nameless_calls";

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";
const CANCELLED: &str = "cancelled";
const REJECTED: &str = "rejected";

/// Outcomes that have a latency, in the order of [`Due::latencies`].
const TIMED: [&str; 3] = [SUCCESS, FAILURE, CANCELLED];
/// Success, each kind of failure, cancelled and rejected.
const ENDINGS: usize = ErrorKind::COUNT + 3;

const METADATA: Metadata<'static> =
    Metadata::new(env!("CARGO_PKG_NAME"), Level::INFO, Some(module_path!()));

/// What is yet to be pushed of one tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Due {
    endings: [u64; ENDINGS],
    retried: u64,
    recovered: u64,
    /// Twice the middle of a bucket in nanoseconds, ascending, and how many calls it counts.
    latencies: [Vec<(u64, u64)>; 3],
}

/// What was pushed, and what never will be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) calls: u64,
    pub(crate) latencies: u64,
    pub(crate) left_out: u64,
}

/// What the counter of an ending is labelled with.
fn labels(ending: usize) -> (&'static str, &'static str) {
    const LAST: usize = ENDINGS - 1;
    match ending {
        0 => (SUCCESS, ""),
        LAST => (REJECTED, REJECTED),
        ending => match ErrorKind::ALL.get(ending - 1) {
            Some(ErrorKind::Other) => (FAILURE, "_OTHER"),
            Some(kind) => (FAILURE, kind.as_str()),
            None => (CANCELLED, CANCELLED),
        },
    }
}

impl Due {
    /// What is new of a tool.
    pub(crate) fn new(stats: &ToolStats) -> Self {
        let mut endings = [0; ENDINGS];
        endings[0] = stats.success();
        for (&kind, &count) in &stats.failures_by_kind {
            endings[1 + kind as usize] = count;
        }
        endings[ENDINGS - 2] = stats.cancelled();
        endings[ENDINGS - 1] = stats.rejected;
        let latency = &stats.latency;
        Self {
            endings,
            retried: stats.retried,
            recovered: stats.recovered,
            latencies: [&latency.success, &latency.failure, &latency.cancelled].map(middles),
        }
    }

    /// Adds what an earlier export left.
    pub(crate) fn add(&mut self, left: Self) {
        for (ending, left) in self.endings.iter_mut().zip(left.endings) {
            *ending = ending.saturating_add(left);
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

    /// Pushes all of it. What is left in `self` after a panic was not taken.
    pub(crate) fn push(
        &mut self,
        tool: &Arc<str>,
        max_records: u32,
        recorder: &dyn Recorder,
        pushed: &mut Pushed,
    ) {
        let tool = || Label::new("tool", SharedString::from(Arc::clone(tool)));
        self.push_endings(CALLS, || vec![tool()], recorder, pushed);
        for (name, count) in [
            (RETRIED, &mut self.retried),
            (RECOVERED, &mut self.recovered),
        ] {
            if *count > 0 {
                increment(name, vec![tool()], count, recorder);
            }
        }
        for (outcome, latencies) in TIMED.into_iter().zip(&mut self.latencies) {
            if latencies.is_empty() {
                continue;
            }
            pushed.left_out += thin(latencies, max_records);
            let labels = vec![tool(), Label::from_static_parts("outcome", outcome)];
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

    /// Pushes the counts only, as of tools that are not told apart.
    pub(crate) fn push_nameless(&mut self, recorder: &dyn Recorder, pushed: &mut Pushed) {
        self.push_endings(NAMELESS, Vec::new, recorder, pushed);
    }

    fn push_endings(
        &mut self,
        name: &'static str,
        of: impl Fn() -> Vec<Label>,
        recorder: &dyn Recorder,
        pushed: &mut Pushed,
    ) {
        for (ending, count) in self.endings.iter_mut().enumerate() {
            // A success series is there from the first export on, so that its first call is seen.
            if *count > 0 || ending == 0 {
                let (outcome, error_type) = labels(ending);
                let mut labels = of();
                labels.push(Label::from_static_parts("outcome", outcome));
                labels.push(Label::from_static_parts("error_type", error_type));
                pushed.calls += increment(name, labels, count, recorder);
            }
        }
    }
}

/// Pushes a count and takes it out, in this order. Returns the count.
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

/// Sets how many calls of a tool are in flight.
pub(crate) fn set_in_flight(tool: &Arc<str>, in_flight: u64, recorder: &dyn Recorder) {
    let labels = vec![Label::new("tool", SharedString::from(Arc::clone(tool)))];
    let key = Key::from_parts(KeyName::from_const_str(IN_FLIGHT), labels);
    recorder
        .register_gauge(&key, &METADATA)
        .set(in_flight as f64);
}

/// The buckets of a histogram as twice their middles, and their counts.
fn middles(latency: &LatencyStats) -> Vec<(u64, u64)> {
    let buckets = latency.buckets().iter();
    let middle = |&(index, count)| {
        // A histogram holds no index without bounds, and none of 2^63 ns.
        let (least, greatest) = latency.bucket_bounds(index)?;
        Some(((least.as_nanos() + greatest.as_nanos()) as u64, count))
    };
    buckets.filter_map(middle).collect()
}

/// Leaves `max` of the calls, evenly spaced by rank, if there are more. Returns how many it left out.
///
/// Record i of `max` stands for the call of rank `(2 i + 1) n / (2 max)` among all n, counted from 0.
fn thin(latencies: &mut Vec<(u64, u64)>, max: u32) -> u64 {
    let all: u128 = latencies.iter().map(|&(_, count)| u128::from(count)).sum();
    let max = u128::from(max);
    if all <= max {
        return 0;
    }
    // How many of the records have a rank below this one.
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

    #[test]
    fn each_ending_has_labels_of_its_own() {
        let all: Vec<_> = (0..ENDINGS).map(labels).collect();
        assert_eq!(all[0], ("success", ""));
        assert_eq!(all[1], ("failure", "invalid_args"));
        assert_eq!(all[10], ("failure", "_OTHER"));
        assert_eq!(all[11], ("cancelled", "cancelled"));
        assert_eq!(all[12], ("rejected", "rejected"));
        let apart: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(apart.len(), ENDINGS);
        for kind in ErrorKind::ALL {
            assert_eq!(kind, ErrorKind::ALL[kind as usize]);
        }
    }

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
