//! Exponential histograms: toolmeter's log-linear buckets in those of OTLP.
//!
//! # The buckets
//!
//! In OpenTelemetry's metrics data model the base at scale s is `2^(2^-s)`, and bucket i holds
//! latencies above `base^i` seconds and of at most `base^(i+1)`. One bucket of the next coarser scale
//! is two of the finer, so the scale is lowered without loss, and receivers do the same to add up
//! histograms of different scales.
//!
//! # Zero
//!
//! The zero bucket counts latencies of 0 ns and nothing else, so the zero threshold is 0. The shortest
//! other latency is 1 ns: with 48 octaves in all there is no need to fold short ones into zero.
//!
//! # The error
//!
//! None of OTLP's bounds coincides with one of toolmeter's, which are parts of powers of two of a
//! nanosecond. A bucket of toolmeter at precision p is at most `2^-p` of its lower bound wide, so its
//! middle m is within a factor of `1 + 2^-(p+1)` of each latency in it. It is counted whole in the
//! bucket that holds m, any value in which is within a factor of `2^(2^-s)` of m. So the value that
//! a receiver reads for a latency is off by at most
//!
//! ```text
//! (1 + 2^-(p+1)) * 2^(2^-s) - 1
//! ```
//!
//! Counts and sums are exact.

use crate::places::{Places, ZERO};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use std::ops::RangeInclusive;
use toolmeter::LatencyStats;

/// A scale coarser than any that is needed, with two buckets for all latencies.
const COARSEST: i32 = -5;

/// The scales that can be set.
const SCALES: RangeInclusive<i8> = -4..=8;

/// The scale and the size of exponential histograms.
///
/// The default is scale 5, and a coarser one where a histogram would have more than 160 buckets. 160 is
/// the most that OpenTelemetry's SDKs send by default.
///
/// # Examples
///
/// ```
/// use toolmeter_otlp::Exponential;
///
/// let exponential = Exponential::new().max_scale(4).max_buckets(320);
/// // With the registry's default precision of 5.
/// assert!(Exponential::error(5, 5) < 0.038);
/// assert!(Exponential::error(4, 5) < 0.061);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exponential {
    max_scale: i8,
    max_buckets: u32,
}

impl Exponential {
    /// Returns the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_scale: 5,
            max_buckets: 160,
        }
    }

    /// Sets the finest scale: `2^scale` buckets to an octave, -4 to 8; a scale outside is treated as
    /// the nearest.
    ///
    /// A scale that is finer than the registry's precision shows no more, and costs buckets.
    #[must_use]
    pub fn max_scale(mut self, scale: i8) -> Self {
        self.max_scale = scale.clamp(*SCALES.start(), *SCALES.end());
        self
    }

    /// Sets the maximum number of buckets of a histogram, including empty ones between its first and its
    /// last; a number below 2 is treated as 2. The scale of a histogram that would have more is lowered.
    #[must_use]
    pub fn max_buckets(mut self, buckets: u32) -> Self {
        self.max_buckets = buckets.max(2);
        self
    }

    /// Returns the greatest error of a latency that is read from an exponential histogram, as a share of
    /// itself: 3.8% at scale 5 and precision 5, 6.1% at scale 4, 10.8% at scale 3.
    ///
    /// It has two factors: `1 + 2^-(precision + 1)` for toolmeter's bucket, which is counted where its
    /// middle lies, and `2^(2^-scale)` for OTLP's. A histogram contains its own scale.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_otlp::Exponential;
    ///
    /// let percent = |scale| (Exponential::error(scale, 5) * 1_000.0).ceil() / 10.0;
    /// assert_eq!([5, 4, 3].map(percent), [3.8, 6.1, 10.8]);
    /// ```
    #[must_use]
    pub fn error(scale: i8, precision: u8) -> f64 {
        let ours = 1.0 + (-f64::from(precision) - 1.0).exp2();
        let theirs = (-f64::from(scale)).exp2().exp2();
        ours * theirs - 1.0
    }

    /// Returns the places of toolmeter's buckets at the finest scale.
    pub(crate) const fn places(self) -> Places {
        Places::new(self.max_scale)
    }

    /// Returns a histogram in buckets of OTLP.
    pub(crate) fn counted(self, latency: &LatencyStats, places: &mut Places) -> Counted {
        let (mut zero_count, mut first, mut last) = (0, None, 0);
        for (place, count) in places.of(latency) {
            if place == ZERO {
                zero_count += count;
            } else {
                first.get_or_insert(place);
                last = place;
            }
        }
        let mut scale = i32::from(self.max_scale);
        let Some(first) = first else {
            return Counted {
                scale,
                zero_count,
                positive: Buckets::default(),
            };
        };
        let mut shift = 0;
        // The number of buckets at that scale; the difference of two `i32` fits in an `i64`.
        let buckets = |shift| i64::from(last >> shift) - i64::from(first >> shift) + 1;
        while buckets(shift) > self.max_buckets.into() && scale > COARSEST {
            shift += 1;
            scale -= 1;
        }
        let offset = first >> shift;
        let mut bucket_counts = vec![0_u64; buckets(shift) as usize];
        for (place, count) in places.of(latency).filter(|&(place, _)| place != ZERO) {
            bucket_counts[((place >> shift) - offset) as usize] += count;
        }
        Counted {
            scale,
            zero_count,
            positive: Buckets {
                offset,
                bucket_counts,
            },
        }
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self::new()
    }
}

/// The buckets of a data point.
#[derive(Debug, PartialEq)]
pub(crate) struct Counted {
    pub(crate) scale: i32,
    pub(crate) zero_count: u64,
    pub(crate) positive: Buckets,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use toolmeter_core::Buckets as Layout;

    fn histogram(precision: u8, latencies: &[u64]) -> LatencyStats {
        let layout = Layout::new(precision, 48).unwrap();
        let mut counts = std::collections::BTreeMap::new();
        for &ns in latencies {
            *counts.entry(layout.index(ns)).or_insert(0_u64) += 1;
        }
        let buckets: Vec<_> = counts.into_iter().collect();
        let json = serde_json::json!({ "precision": precision, "sum_ns": 0, "buckets": buckets });
        serde_json::from_value(json).unwrap()
    }

    fn counted(exponential: Exponential, latency: &LatencyStats) -> Counted {
        exponential.counted(latency, &mut exponential.places())
    }

    /// The bounds of a bucket in nanoseconds.
    fn bounds(scale: i32, index: i32) -> (f64, f64) {
        let bound = |index: i32| (f64::from(index) * (-f64::from(scale)).exp2()).exp2() * 1e9;
        (bound(index), bound(index + 1))
    }

    #[test]
    fn nothing_counted_is_an_empty_histogram_at_the_finest_scale() {
        let counted = counted(Exponential::new(), &histogram(5, &[]));
        assert_eq!((counted.scale, counted.zero_count), (5, 0));
        assert_eq!(counted.positive, Buckets::default());
    }

    #[test]
    fn only_0_ns_is_zero() {
        let counted = counted(Exponential::new(), &histogram(5, &[0, 0, 1]));
        assert_eq!(counted.zero_count, 2);
        assert_eq!(counted.positive.bucket_counts, [1]);
        let (above, upto) = bounds(counted.scale, counted.positive.offset);
        assert!(above < 1.0 && 1.0 <= upto * (1.0 + 1e-9), "{above} {upto}");
    }

    #[test]
    fn the_scale_is_lowered_until_the_buckets_are_few_enough() {
        let wide = histogram(5, &[1, u64::MAX]);
        for max_buckets in [0, 2, 3, 48, 160, 10_000] {
            let exponential = Exponential::new().max_buckets(max_buckets);
            let counted = counted(exponential, &wide);
            let buckets = counted.positive.bucket_counts.len();
            assert!(buckets <= max_buckets.max(2) as usize, "{counted:?}");
            // And no further: one step finer it would be too many.
            let finer = exponential.max_scale(counted.scale as i8 + 1);
            if (-4..5).contains(&counted.scale) {
                let all = finer.max_buckets(u32::MAX);
                let all = self::counted(all, &wide).positive.bucket_counts.len();
                assert!(all > max_buckets as usize);
            }
        }
        assert_eq!(self::counted(Exponential::new(), &wide).scale, 1);
    }

    #[test]
    fn counts_that_do_not_fit_stay_at_their_maximum() {
        let json = serde_json::json!({
            "precision": 5, "sum_ns": 0, "buckets": [[1, u64::MAX], [700, u64::MAX], [701, 1]],
        });
        let latency = serde_json::from_value(json).unwrap();
        let counted = counted(Exponential::new(), &latency);
        assert_eq!(counted.positive.bucket_counts.iter().sum::<u64>(), u64::MAX);
    }

    proptest! {
        /// Each latency by itself: any value that a receiver reads for it is off by the bound at most.
        #[test]
        fn a_latency_is_off_by_no_more_than_the_bound(
            ns in (1_u64..1 << 48, 0_u32..48).prop_map(|(bits, shift)| (bits >> shift).max(1)),
            precision in 3_u8..=7,
            scale in -4_i8..=8,
        ) {
            let counted = counted(Exponential::new().max_scale(scale), &histogram(precision, &[ns]));
            prop_assert_eq!(counted.scale, i32::from(scale));
            let (above, upto) = bounds(counted.scale, counted.positive.offset);
            let error = 1.0 + Exponential::error(scale, precision) + 1e-9;
            prop_assert!(upto <= ns as f64 * error, "{ns} {above} {upto}");
            prop_assert!(above >= ns as f64 / error, "{ns} {above} {upto}");
        }

        /// A coarser scale is the finer one with buckets added up, for any latencies.
        #[test]
        fn lowering_the_scale_loses_no_count(
            latencies in prop::collection::vec((any::<u64>(), 0_u32..64), 1..100),
            max_buckets in 2_u32..200,
        ) {
            let latencies: Vec<u64> = latencies.iter().map(|&(bits, shift)| bits >> shift).collect();
            let latency = histogram(5, &latencies);
            let all = counted(Exponential::new().max_buckets(u32::MAX), &latency);
            let few = counted(Exponential::new().max_buckets(max_buckets), &latency);
            let shift = all.scale - few.scale;
            let mut sums = std::collections::BTreeMap::new();
            for (index, &count) in (all.positive.offset..).zip(&all.positive.bucket_counts) {
                *sums.entry(index >> shift).or_insert(0) += count;
            }
            let found: std::collections::BTreeMap<_, _> =
                (few.positive.offset..).zip(few.positive.bucket_counts).collect();
            prop_assert_eq!(sums, found);
            prop_assert_eq!(all.zero_count, few.zero_count);
        }
    }
}
