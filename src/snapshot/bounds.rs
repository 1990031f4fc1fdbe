//! The bounds of the explicit histograms that exporters write: [`LatencyBounds`].
//!
//! # Why powers of two are exact
//!
//! A bucket of [`LatencyStats`] never crosses a power of two of a nanosecond, so the latencies below
//! 2^k ns are those of whole buckets. Prometheus and OTLP include a bound in its bucket, and latencies
//! are whole nanoseconds: a latency below 2^k ns is at most 2^k - 1 ns, and that is the bound.
//!
//! Any other bound may lie within a bucket, which then counts above the bound as a whole.

use super::latency::{LatencyStats, MAX_EXPONENT};

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// The greatest power of two that can be a bound, in nanoseconds: 39 hours.
const MAX_BOUND: u8 = MAX_EXPONENT - 1;

/// The upper bound of the last bucket, which also counts everything longer, in nanoseconds.
const END: u64 = (1 << MAX_EXPONENT) - 1;

/// The upper bounds of an explicit histogram, as Prometheus and OTLP have it.
///
/// The default is [`powers_of_two`](Self::powers_of_two) from 2^20 ns (1.05 ms) to 2^38 ns (4.6
/// minutes), 19 bounds. In Prometheus each bound is a series for each tool and outcome.
///
/// # Examples
///
/// ```
/// use toolmeter::LatencyBounds;
///
/// // 16 us to 17 s, every second power.
/// let coarse = LatencyBounds::powers_of_two((14..=34).step_by(2));
/// assert_eq!(coarse.len(), 11);
/// assert!(coarse.are_exact());
///
/// // Those of OpenTelemetry's semantic conventions.
/// let conventions = LatencyBounds::seconds((0..14).map(|k| 0.01 * f64::from(1 << k)))?;
/// assert!(!conventions.are_exact());
/// # Ok::<(), toolmeter::BoundsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyBounds {
    /// Ascending.
    bounds: Vec<Bound>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound {
    /// The greatest latency within, in nanoseconds.
    greatest_ns: u64,
    /// The bound as it is written.
    seconds: f64,
}

impl Bound {
    /// Returns the bound of the latencies below 2^`exponent` ns.
    fn below_power(exponent: u8) -> Self {
        let greatest_ns = (1 << exponent) - 1;
        Self {
            greatest_ns,
            seconds: greatest_ns as f64 / SECOND,
        }
    }
}

/// The error of bounds that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundsError {
    /// A bound is not a number, not above 0, or not below 2^48 - 1 ns (78 hours), the end of the
    /// last bucket, which also counts longer latencies.
    #[error("{0} s is no bound: it must be above 0 and below 281474 s")]
    OutOfRange(f64),
}

impl LatencyBounds {
    /// Returns the bounds 2^k ns for each k, which are exact: each is written as 2^k - 1 ns, the
    /// greatest latency below.
    ///
    /// A `k` below 1 is treated as 1, one above 47 (39 hours) as 47.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::LatencyBounds;
    ///
    /// let bounds = LatencyBounds::powers_of_two(20..=38);
    /// assert_eq!(bounds, LatencyBounds::default());
    /// assert_eq!(bounds.iter().next(), Some(0.001048575));
    /// ```
    #[must_use]
    pub fn powers_of_two(exponents: impl IntoIterator<Item = u8>) -> Self {
        let bounds = exponents
            .into_iter()
            .map(|exponent| Bound::below_power(exponent.clamp(1, MAX_BOUND)));
        Self::new(bounds.collect())
    }

    /// Returns bounds in seconds.
    ///
    /// A bound may lie within a bucket of toolmeter, which counts above it as a whole. So some calls
    /// that took at most as long as the bound are counted above it: those with latencies less than
    /// 3.2% below it, with the default precision.
    ///
    /// # Errors
    ///
    /// [`BoundsError`] for the first that cannot be a bound.
    pub fn seconds(bounds: impl IntoIterator<Item = f64>) -> Result<Self, BoundsError> {
        let bound = |seconds: f64| {
            let ns = (seconds * SECOND).round();
            if seconds > 0.0 && ns < END as f64 {
                Ok(Bound {
                    greatest_ns: ns as u64,
                    seconds,
                })
            } else {
                Err(BoundsError::OutOfRange(seconds))
            }
        };
        let bounds: Result<Vec<_>, _> = bounds.into_iter().map(bound).collect();
        Ok(Self::new(bounds?))
    }

    fn new(mut bounds: Vec<Bound>) -> Self {
        bounds.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        bounds.dedup_by_key(|bound| bound.seconds);
        Self { bounds }
    }

    /// Returns the bounds as they are written, in seconds, ascending. Infinity is not among them.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> {
        self.bounds.iter().map(|bound| bound.seconds)
    }

    /// Returns the number of bounds, without infinity.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bounds.len()
    }

    /// Returns whether there is no bound except infinity.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }

    /// Returns whether the count at each bound is exact, as it is for powers of two.
    #[must_use]
    pub fn are_exact(&self) -> bool {
        self.bounds.iter().all(|bound| {
            let exponent = bound.greatest_ns.trailing_ones() as u8;
            *bound == Bound::below_power(exponent)
        })
    }

    /// Returns each bound with the number of latencies above the bound before it and at most as long
    /// as this one, ascending. The last bound is infinity.
    ///
    /// All counts together are at most `u64::MAX`, so a reader that adds them up does not overflow.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::LatencyBounds;
    ///
    /// let json = r#"{ "precision": 5, "sum_ns": 40, "buckets": [[7, 3], [19, 1]] }"#;
    /// let latency: toolmeter::LatencyStats = serde_json::from_str(json)?;
    /// let counts: Vec<_> = LatencyBounds::powers_of_two(3..=4).counts(&latency).collect();
    /// assert_eq!(counts, [(7e-9, 3), (15e-9, 0), (f64::INFINITY, 1)]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn counts(&self, latency: &LatencyStats) -> impl Iterator<Item = (f64, u64)> {
        let greatest_ns = |index| {
            // A histogram holds no index without bounds, and no bound of 2^64 ns.
            let bounds = latency.bucket_bounds(index);
            bounds.map_or(u64::MAX, |(_, greatest)| greatest.as_nanos() as u64)
        };
        let buckets = latency.buckets().iter();
        let mut buckets = buckets
            .map(move |&(index, count)| (greatest_ns(index), count))
            .peekable();
        let above_all = Bound {
            greatest_ns: u64::MAX,
            seconds: f64::INFINITY,
        };
        let mut room = u64::MAX;
        self.bounds
            .iter()
            .copied()
            .chain([above_all])
            .map(move |bound| {
                let mut within = 0;
                while let Some((_, count)) =
                    buckets.next_if(|&(greatest, _)| greatest <= bound.greatest_ns)
                {
                    let count = count.min(room);
                    room -= count;
                    within += count;
                }
                (bound.seconds, within)
            })
    }
}

impl Default for LatencyBounds {
    fn default() -> Self {
        Self::powers_of_two(20..=38)
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
