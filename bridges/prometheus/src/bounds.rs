//! The bounds of classic histograms: [`Bounds`], and how many latencies lie below each.
//!
//! # Why powers of two are exact
//!
//! A bucket of toolmeter never crosses a power of two of a nanosecond, so the latencies below 2^k ns
//! are those of whole buckets. Prometheus includes a bound in its bucket, and latencies are whole
//! nanoseconds: below 2^k ns is at most 2^k - 1 ns. That is what `le` says, to the nanosecond.
//!
//! Any other bound may lie within a bucket. The whole of such a bucket then counts above the bound.

use std::ops::RangeInclusive;
use toolmeter::LatencyStats;

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// The greatest power of two that can be a bound, in nanoseconds: 39 hours.
const MAX_EXPONENT: u8 = 47;

/// The greatest latency that toolmeter's last bucket shows, in nanoseconds: it holds all that are
/// longer, too.
const END: u64 = (1 << 48) - 1;

/// The upper bounds of the buckets of `toolmeter_call_duration_seconds`.
///
/// The default is [`powers_of_two`](Self::powers_of_two) from 2^20 ns (1.05 ms) to 2^38 ns (4.6
/// minutes), 19 bounds. Each bound is a series for each tool and outcome.
///
/// # Examples
///
/// ```
/// use toolmeter_prometheus::Bounds;
///
/// // 16 us to 17 s, each second power.
/// let coarse = Bounds::exponents((14..=34).step_by(2));
/// assert_eq!(coarse.len(), 11);
/// assert!(coarse.are_exact());
///
/// // Those of the semantic conventions.
/// let conventions = Bounds::seconds((0..14).map(|k| 0.01 * f64::from(1 << k)))?;
/// assert!(!conventions.are_exact());
/// # Ok::<(), toolmeter_prometheus::BoundsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Ascending.
    bounds: Vec<Bound>,
    exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound {
    /// The greatest latency within, in nanoseconds.
    greatest_ns: u64,
    /// What `le` says, in seconds.
    le: f64,
}

/// The reason why bounds cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundsError {
    /// A bound is not a number, not above 0, or not below 2^48 ns (78 hours), from where on
    /// toolmeter tells latencies apart no more.
    #[error("{0} s is no bound: it must be above 0 and below 281474 s")]
    OutOfRange(f64),
}

impl Bounds {
    /// Returns the bounds 2^k ns for each k, which are exact: `le` is 2^k - 1 ns, the greatest
    /// latency below.
    ///
    /// A `k` below 1 is treated as 1, one above 47 (39 hours) as 47.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_prometheus::Bounds;
    ///
    /// let bounds = Bounds::powers_of_two(20..=38);
    /// assert_eq!(bounds, Bounds::default());
    /// assert_eq!(bounds.iter().next(), Some(0.001048575));
    /// ```
    #[must_use]
    pub fn powers_of_two(exponents: RangeInclusive<u8>) -> Self {
        Self::exponents(exponents)
    }

    /// Returns the bounds 2^k ns for some k, as [`powers_of_two`](Self::powers_of_two) does for a
    /// range of them.
    #[must_use]
    pub fn exponents(exponents: impl IntoIterator<Item = u8>) -> Self {
        let bounds = exponents.into_iter().map(|exponent| {
            let greatest_ns = (1 << exponent.clamp(1, MAX_EXPONENT)) - 1;
            Bound {
                greatest_ns,
                le: greatest_ns as f64 / SECOND,
            }
        });
        Self::new(bounds.collect(), true)
    }

    /// Returns bounds in seconds.
    ///
    /// A bound lies within a bucket of toolmeter, which counts above it as a whole. So some calls that
    /// took at most as long as the bound are counted above it: those with latencies less than 3.2%
    /// below it, with the default precision. The help text says so.
    ///
    /// # Errors
    ///
    /// [`BoundsError`] for the first that cannot be a bound.
    pub fn seconds(bounds: impl IntoIterator<Item = f64>) -> Result<Self, BoundsError> {
        let bound = |le: f64| {
            let ns = (le * SECOND).round();
            if le > 0.0 && ns < END as f64 {
                Ok(Bound {
                    greatest_ns: ns as u64,
                    le,
                })
            } else {
                Err(BoundsError::OutOfRange(le))
            }
        };
        let bounds: Result<Vec<_>, _> = bounds.into_iter().map(bound).collect();
        Ok(Self::new(bounds?, false))
    }

    fn new(mut bounds: Vec<Bound>, exact: bool) -> Self {
        bounds.sort_by(|a, b| a.le.total_cmp(&b.le));
        bounds.dedup_by_key(|bound| bound.le);
        Self { bounds, exact }
    }

    /// Returns what `le` says of each bound, in seconds, ascending. `+Inf` is not among them.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> {
        self.bounds.iter().map(|bound| bound.le)
    }

    /// Returns how many bounds there are, `+Inf` apart.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bounds.len()
    }

    /// Returns whether there is no bound but `+Inf`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }

    /// Returns whether the count at each bound is exact, as it is for powers of two.
    #[must_use]
    pub fn are_exact(&self) -> bool {
        self.exact
    }

    /// Replaces `cells` by the latencies above the bound before and up to this one, for each bound
    /// and then for `+Inf`.
    pub(crate) fn count(&self, latency: &LatencyStats, cells: &mut Vec<(f64, u64)>) {
        cells.clear();
        let mut buckets = latency
            .buckets()
            .iter()
            .map(|&(index, count)| (greatest_ns(latency, index), count))
            .peekable();
        // All cells together are at most `u64::MAX`, so that a reader that adds them up stays within.
        let mut seen = 0_u64;
        for bound in &self.bounds {
            let before = seen;
            while let Some((_, count)) =
                buckets.next_if(|&(greatest, _)| greatest <= bound.greatest_ns)
            {
                seen = seen.saturating_add(count);
            }
            cells.push((bound.le, seen - before));
        }
        let rest = buckets.fold(seen, |sum, (_, count)| sum.saturating_add(count));
        cells.push((f64::INFINITY, rest - seen));
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::powers_of_two(20..=38)
    }
}

/// The greatest latency that counts in this bucket, in nanoseconds.
pub(crate) fn greatest_ns(latency: &LatencyStats, index: u32) -> u64 {
    // A histogram holds no index without bounds, and no bound of 2^64 ns.
    latency
        .bucket_bounds(index)
        .map_or(u64::MAX, |(_, greatest)| {
            u64::try_from(greatest.as_nanos()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(precision: u8, buckets: &[(u32, u64)]) -> LatencyStats {
        let json = serde_json::json!({ "precision": precision, "sum_ns": 0, "buckets": buckets });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_power_of_two_is_written_as_the_nanosecond_below_it() {
        for exponent in 1..=MAX_EXPONENT {
            let bounds = Bounds::powers_of_two(exponent..=exponent);
            let le = bounds.iter().next().unwrap();
            let ns = (1_u64 << exponent) - 1;
            // The decimal that is written is exact, and reads as the same float everywhere.
            let exact = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
            assert_eq!(exact.parse(), Ok(le));
            assert_eq!((le * SECOND).round() as u64, ns);
        }
    }

    #[test]
    fn exponents_out_of_range_are_taken_for_the_nearest() {
        let bounds = Bounds::exponents([0, 1, 47, 48, 255]);
        assert_eq!(bounds, Bounds::exponents([1, 47]));
        assert_eq!(bounds.len(), 2);
        assert!(Bounds::exponents([]).is_empty());
    }

    #[test]
    fn bounds_that_cannot_be_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 281_475.0] {
            assert!(Bounds::seconds([1.0, bad]).is_err());
        }
        let bounds = Bounds::seconds([2.0, 1.0, 2.0]).unwrap();
        assert_eq!(bounds.iter().collect::<Vec<_>>(), [1.0, 2.0]);
    }

    #[test]
    fn counts_that_do_not_fit_stay_at_their_maximum() {
        let latency = histogram(5, &[(1, u64::MAX), (700, u64::MAX), (900, 1)]);
        let mut cells = Vec::new();
        Bounds::default().count(&latency, &mut cells);
        assert_eq!(cells.iter().map(|cell| cell.1).sum::<u64>(), u64::MAX);
    }

    proptest! {
        /// Each cumulative count is that of the latencies themselves, not only of their buckets.
        #[test]
        fn a_power_of_two_counts_exactly_what_is_below(
            precision in 3_u8..=7,
            latencies in prop::collection::vec((any::<u64>(), 0_u32..64), 0..200),
            exact in prop::collection::vec(1_u32..48, 0..20),
        ) {
            // Values of every magnitude, the powers themselves and their neighbours.
            let latencies = latencies.iter().map(|&(bits, shift)| bits >> shift).chain(
                exact.iter().flat_map(|&k| [(1 << k) - 1, 1 << k, (1 << k) + 1]),
            );
            let latencies: Vec<u64> = latencies.collect();
            let layout = toolmeter_buckets(precision);
            let mut counts = std::collections::BTreeMap::new();
            for &latency in &latencies {
                *counts.entry(layout.index(latency) as u32).or_default() += 1;
            }
            let buckets: Vec<(u32, u64)> = counts.into_iter().collect();
            let bounds = Bounds::powers_of_two(1..=MAX_EXPONENT);
            let mut cells = Vec::new();
            bounds.count(&histogram(precision, &buckets), &mut cells);
            let mut seen = 0;
            for (bound, &(le, count)) in bounds.bounds.iter().zip(&cells) {
                seen += count;
                let within = latencies.iter().filter(|&&ns| ns <= bound.greatest_ns).count();
                prop_assert_eq!(seen, within as u64, "le {}", le);
            }
            let all: u64 = cells.iter().map(|cell| cell.1).sum();
            prop_assert_eq!(all, latencies.len() as u64);
        }

        /// A bound of any other kind misses at most what lies in its own bucket.
        #[test]
        fn any_bound_is_within_a_bucket(
            latencies in prop::collection::vec((any::<u64>(), 16_u32..64), 1..200),
            le in 1e-6_f64..100.0,
        ) {
            let latencies: Vec<u64> = latencies.iter().map(|&(bits, shift)| bits >> shift).collect();
            let layout = toolmeter_buckets(5);
            let mut counts = std::collections::BTreeMap::new();
            for &latency in &latencies {
                *counts.entry(layout.index(latency) as u32).or_default() += 1;
            }
            let buckets: Vec<(u32, u64)> = counts.into_iter().collect();
            let bounds = Bounds::seconds([le]).unwrap();
            let mut cells = Vec::new();
            bounds.count(&histogram(5, &buckets), &mut cells);
            let ns = bounds.bounds[0].greatest_ns;
            let at_most = latencies.iter().filter(|&&latency| latency <= ns).count() as u64;
            let surely = latencies.iter().filter(|&&latency| latency < ns - ns / 32).count() as u64;
            prop_assert!((surely..=at_most).contains(&cells[0].1));
        }
    }

    fn toolmeter_buckets(precision: u8) -> toolmeter_core::Buckets {
        toolmeter_core::Buckets::new(precision, 48).unwrap()
    }
}
