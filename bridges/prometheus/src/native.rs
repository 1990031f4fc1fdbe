//! Native histograms: toolmeter's buckets in the exponential ones of Prometheus.
//!
//! The bounds of a native histogram are powers of two of a *second* to the power of `2^-schema`, and
//! toolmeter's are parts of powers of two of a *nanosecond*, so none of them coincide. Each bucket of
//! toolmeter is counted as a whole in the native bucket that holds its upper bound. So a latency is in
//! its native bucket, or above it by less than the width of its bucket. Counts and sum are exact.

use prometheus_client::encoding::{NativeHistogram, NativeHistogramBuckets};
use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};
use toolmeter::LatencyStats;

/// The schemas that Prometheus knows.
pub(crate) const SCHEMAS: RangeInclusive<i8> = -4..=8;

/// The threshold of the zero bucket, which holds latencies of 0 ns and no others.
const ZERO_THRESHOLD: f64 = 1e-10;

/// The buckets of one native histogram, and the memory for those of the next.
#[derive(Debug, Default)]
pub(crate) struct Native {
    zero_count: u64,
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
}

impl Native {
    /// Replaces the buckets by those of `latency`.
    pub(crate) fn count(&mut self, latency: &LatencyStats, schema: i8) {
        self.zero_count = 0;
        self.spans.clear();
        self.deltas.clear();
        // The native bucket that is being filled.
        let mut open: Option<(i32, u64)> = None;
        let mut closed: Option<(i32, u64)> = None;
        for &(index, count) in latency.buckets() {
            let ns = greatest_ns(latency, index);
            if ns == 0 {
                self.zero_count = count;
                continue;
            }
            let index = native_index(ns, schema);
            open = match open {
                Some((at, sum)) if at == index => Some((at, sum.saturating_add(count))),
                Some(full) => {
                    self.close(full, closed);
                    closed = Some(full);
                    Some((index, count))
                }
                None => Some((index, count)),
            };
        }
        if let Some(full) = open {
            self.close(full, closed);
        }
    }

    /// Adds a bucket after the one before.
    fn close(&mut self, (index, count): (i32, u64), before: Option<(i32, u64)>) {
        let gap = before.map_or(index, |(at, _)| index - at - 1);
        match self.spans.last_mut() {
            Some((_, length)) if gap == 0 => *length += 1,
            _ => self.spans.push((gap, 1)),
        }
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let before = before.map_or(0, |(_, count)| signed(count));
        self.deltas.push(signed(count) - before);
    }

    /// Returns the histogram as prometheus-client takes it.
    pub(crate) fn histogram(&self, schema: i8, created: SystemTime) -> NativeHistogram<'_> {
        NativeHistogram {
            schema: schema.into(),
            zero_threshold: ZERO_THRESHOLD,
            zero_count: self.zero_count,
            negative: NativeHistogramBuckets {
                spans: &[],
                deltas: &[],
            },
            positive: NativeHistogramBuckets {
                spans: &self.spans,
                deltas: &self.deltas,
            },
            // A time before 1970 has no encoding, and would fail the scrape.
            created: (created >= UNIX_EPOCH).then_some(created),
        }
    }
}

/// Returns the greatest latency that counts in this bucket, in nanoseconds.
fn greatest_ns(latency: &LatencyStats, index: u32) -> u64 {
    // A histogram holds no index without bounds, and no bound of 2^64 ns.
    let bounds = latency.bucket_bounds(index);
    bounds.map_or(u64::MAX, |(_, greatest)| greatest.as_nanos() as u64)
}

/// Returns the native bucket that holds a latency: the least i for which `2^(i * 2^-schema)` seconds are
/// not less than it.
fn native_index(ns: u64, schema: i8) -> i32 {
    let seconds = ns as f64 / 1e9;
    (seconds.log2() * f64::from(schema).exp2()).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_in_its_native_bucket_or_one_bucket_of_toolmeter_above() {
        for schema in SCHEMAS {
            let factor = f64::from(-schema).exp2();
            let latency = |ns: u64| {
                let layout = toolmeter_core::Buckets::new(5, 48).unwrap();
                let json = serde_json::json!({
                    "precision": 5, "sum_ns": ns, "buckets": [[layout.index(ns), 1]],
                });
                serde_json::from_value::<LatencyStats>(json).unwrap()
            };
            for ns in (0..47).flat_map(|k| [1_u64 << k, (1 << k) + (1 << k) / 3]) {
                let mut native = Native::default();
                native.count(&latency(ns), schema);
                let [(index, 1)] = native.spans[..] else {
                    panic!("one bucket: {native:?}")
                };
                let upper = (f64::from(index) * factor).exp2();
                let lower = (f64::from(index - 1) * factor).exp2();
                let seconds = ns as f64 / 1e9;
                assert!(seconds <= upper * (1.0 + 1e-12), "{ns} ns, schema {schema}");
                assert!(
                    seconds * (1.0 + 1.0 / 32.0) > lower,
                    "{ns} ns, schema {schema}"
                );
            }
        }
    }

    #[test]
    fn spans_and_deltas_give_the_counts_back() {
        let json = serde_json::json!({
            "precision": 5, "sum_ns": 9,
            "buckets": [[0, 7], [1, 5], [2, 3], [64, 2], [65, 2], [66, 9], [900, 1], [1407, 4]],
        });
        let latency: LatencyStats = serde_json::from_value(json).unwrap();
        let mut native = Native::default();
        // Filled twice: what is left of the first must not show.
        native.count(&latency, 8);
        native.count(&latency, 3);
        assert_eq!(native.zero_count, 7);
        let lengths: u32 = native.spans.iter().map(|span| span.1).sum();
        assert_eq!(lengths as usize, native.deltas.len());
        let counts = native.deltas.iter().scan(0, |count, delta| {
            *count += delta;
            Some(*count)
        });
        let counts: Vec<i64> = counts.collect();
        assert!(counts.iter().all(|&count| count > 0));
        assert_eq!(counts.iter().sum::<i64>() + 7, latency.count() as i64);
    }

    #[test]
    fn a_time_before_1970_is_left_out() {
        let native = Native::default();
        let before = UNIX_EPOCH - std::time::Duration::from_secs(1);
        assert_eq!(native.histogram(3, before).created, None);
        assert_eq!(native.histogram(3, UNIX_EPOCH).created, Some(UNIX_EPOCH));
    }
}
