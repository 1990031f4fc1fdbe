//! The bounds of explicit histograms: [`Bounds`].
//!
//! # Why powers of two are exact
//!
//! A bucket of toolmeter never crosses a power of two of a nanosecond, so the latencies below 2^k ns
//! are those of whole buckets. OTLP includes an upper bound in its bucket, and latencies are whole
//! nanoseconds: below 2^k ns is at most 2^k - 1 ns. That is what the bound says, to the nanosecond.
//!
//! Any other bound may lie within a bucket. The whole of such a bucket then counts above the bound.

use std::ops::RangeInclusive;

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// The greatest power of two that can be a bound, in nanoseconds: 39 hours.
const MAX_EXPONENT: u8 = 47;

/// The greatest latency that toolmeter's last bucket shows, in nanoseconds: it holds all that are
/// longer, too.
const END: u64 = (1 << 48) - 1;

/// The bounds of explicit histograms.
///
/// The default is [`powers_of_two`](Self::powers_of_two) from 2^20 ns (1.05 ms) to 2^38 ns (4.6
/// minutes), 19 bounds.
///
/// # Examples
///
/// ```
/// use toolmeter_otlp::Bounds;
///
/// // 16 us to 17 s, each second power.
/// let coarse = Bounds::exponents((14..=34).step_by(2));
/// assert_eq!(coarse.iter().count(), 11);
/// assert!(coarse.are_exact());
///
/// // Those of the semantic conventions.
/// let conventions = Bounds::seconds((0..14).map(|k| 0.01 * f64::from(1 << k)))?;
/// assert!(!conventions.are_exact());
/// # Ok::<(), toolmeter_otlp::BoundsError>(())
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
    /// What the message says.
    seconds: f64,
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
    /// Returns the bounds 2^k ns for each k, which are exact: a bound is 2^k - 1 ns, the greatest
    /// latency below.
    ///
    /// A `k` below 1 is treated as 1, one above 47 (39 hours) as 47.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_otlp::Bounds;
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
                seconds: greatest_ns as f64 / SECOND,
            }
        });
        Self::new(bounds.collect(), true)
    }

    /// Returns bounds in seconds.
    ///
    /// A bound lies within a bucket of toolmeter, which counts above it as a whole. So some calls that
    /// took at most as long as the bound are counted above it: those with latencies less than 3.2%
    /// below it, with the default precision. The metric's description says so.
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
        Ok(Self::new(bounds?, false))
    }

    fn new(mut bounds: Vec<Bound>, exact: bool) -> Self {
        bounds.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        bounds.dedup_by_key(|bound| bound.seconds);
        Self { bounds, exact }
    }

    /// Returns the bounds as a message says them, in seconds, ascending.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> {
        self.bounds.iter().map(|bound| bound.seconds)
    }

    /// Returns whether the count at each bound is exact, as it is for powers of two.
    #[must_use]
    pub const fn are_exact(&self) -> bool {
        self.exact
    }

    /// Returns which bucket of a message counts latencies of which this is the greatest.
    pub(crate) fn place(&self, greatest_ns: u64) -> i32 {
        let below = |bound: &Bound| bound.greatest_ns < greatest_ns;
        self.bounds.partition_point(below) as i32
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::powers_of_two(20..=38)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_two_is_written_as_the_nanosecond_below_it() {
        for exponent in 1..=MAX_EXPONENT {
            let bounds = Bounds::powers_of_two(exponent..=exponent);
            let seconds = bounds.iter().next().unwrap();
            let ns = (1_u64 << exponent) - 1;
            let exact = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
            assert_eq!(exact.parse(), Ok(seconds));
            // What lies on either side of it is told apart.
            assert_eq!((bounds.place(ns), bounds.place(ns + 1)), (0, 1));
        }
    }

    #[test]
    fn exponents_out_of_range_are_taken_for_the_nearest() {
        let bounds = Bounds::exponents([0, 1, 47, 48, 255]);
        assert_eq!(bounds, Bounds::exponents([1, 47]));
        assert_eq!(Bounds::exponents([]).place(7), 0);
    }

    #[test]
    fn bounds_that_cannot_be_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 281_475.0] {
            assert!(Bounds::seconds([1.0, bad]).is_err());
        }
        let bounds = Bounds::seconds([2.0, 1.0, 2.0]).unwrap();
        assert_eq!(bounds.iter().collect::<Vec<_>>(), [1.0, 2.0]);
    }
}
