//! [`LatencyStats`]: the latencies of one tool and one outcome, as a sparse histogram and an exact
//! sum.
//!
//! The buckets are those of [`toolmeter_core::Buckets`]: `2^precision` to an octave, over latencies
//! below 2^48 ns. Only the buckets that are not empty are kept, in the order of their index.
//! Everything else except the sum is computed from them, so nothing can disagree.
//!
//! # The rank of a quantile
//!
//! The quantile q of n latencies is the one of rank r, where r is the smallest number from 1 to n
//! for which `r / n >= q` in `f64`. `ceil(q * n)` is mathematically the same, but 0.07 as an `f64` is
//! a little more than 7 hundredths, and its product with 100 is rounded up to 8. The division rounds
//! as q itself was rounded.

use std::time::Duration;
use toolmeter_core::Buckets;

/// The range of the buckets: latencies below two to this power, in nanoseconds, which is 78 hours.
pub(crate) const MAX_EXPONENT: u8 = 48;

/// The precisions that a histogram can have.
pub(crate) const PRECISIONS: std::ops::RangeInclusive<u8> = 3..=Buckets::MAX_PRECISION;

/// The histogram of the latencies of one tool's calls with one outcome.
///
/// A bucket's width is at most `2^-precision` of its lower bound, so with the default precision
/// of 5 a latency is known to within 3.2%. The [sum](Self::sum) and the [mean](Self::mean) are
/// exact. A latency of 78 hours or more counts in the last bucket.
///
/// The methods take time in proportion to the number of buckets in use; [`merge`](Self::merge) also
/// sorts them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let registry = toolmeter::Registry::new();
/// let tool = registry.register(toolmeter::ToolSpec::new("web_search"))?;
/// tool.run(|| Ok::<_, String>("hit"))?;
///
/// let snapshot = registry.metrics();
/// let success = &snapshot.tool("web_search").unwrap().latency.success;
/// assert_eq!(success.count(), 1);
/// assert!(success.min() <= success.mean() && success.mean() <= success.max());
/// assert!(success.p99().unwrap() < Duration::from_secs(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyStats {
    layout: Buckets,
    sum_ns: u64,
    buckets: Vec<(u32, u64)>,
}

impl LatencyStats {
    /// Creates the histogram of these buckets. Their indices must be ascending and in range, and
    /// their counts not 0.
    ///
    /// A precision out of range is treated as the nearest within.
    pub(crate) fn new(precision: u8, sum_ns: u64, buckets: Vec<(u32, u64)>) -> Self {
        debug_assert!(buckets.is_sorted_by(|a, b| a.0 < b.0));
        Self {
            layout: layout(precision),
            sum_ns,
            buckets,
        }
    }

    /// Returns the number of calls: the sum of all buckets, at most `u64::MAX`.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, &(_, count)| sum.saturating_add(count))
    }

    /// Returns a lower bound of the shortest latency, which is the lower bound of its bucket; `None`
    /// if nothing was counted.
    ///
    /// The shortest latency itself is not kept, since it could not be subtracted, and intervals and
    /// resets are made by subtraction.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        let &(index, _) = self.buckets.first()?;
        Some(Duration::from_nanos(self.layout.lower(index as usize)))
    }

    /// Returns an upper bound of the longest latency, which is the upper bound of its bucket; `None`
    /// if nothing was counted.
    ///
    /// For latencies of 78 hours and more it is 78 hours.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        let &(index, _) = self.buckets.last()?;
        Some(self.upper(index))
    }

    /// Returns the [sum](Self::sum) divided by the [count](Self::count), rounded to a nanosecond;
    /// `None` if nothing was counted.
    ///
    /// It does not depend on the widths of buckets. In a reading taken while calls finish, the sum
    /// may include calls that the count does not.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let count = u128::from(self.count());
        let rounded = (u128::from(self.sum_ns) + count / 2).checked_div(count)?;
        Some(Duration::from_nanos(
            u64::try_from(rounded).unwrap_or(u64::MAX),
        ))
    }

    /// Returns the latency that a share `q` of the calls did not exceed: the upper bound of the
    /// bucket that holds the call of rank max(1, ceil(q n)) among all n. `None` if nothing was
    /// counted, or if `q` is not a number.
    ///
    /// A `q` below 0 is treated as 0, one above 1 as 1. The true quantile is at most the result, and
    /// at least the lower bound of that bucket. Quantiles of different tools or hosts cannot be
    /// averaged: [merge](Self::merge) the histograms.
    ///
    /// # Examples
    ///
    /// ```
    /// let json = r#"{ "precision": 5, "sum_ns": 400, "buckets": [[1, 90], [31, 10]] }"#;
    /// let latency: toolmeter::LatencyStats = serde_json::from_str(json)?;
    /// assert_eq!(latency.quantile(0.9).unwrap().as_nanos(), 1);
    /// assert_eq!(latency.quantile(0.91).unwrap().as_nanos(), 31);
    /// assert_eq!(latency.quantile(f64::NAN), None);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if q.is_nan() || count == 0 {
            return None;
        }
        let rank = rank(q, count);
        let mut seen = 0_u64;
        for &(index, count) in &self.buckets {
            seen = seen.saturating_add(count);
            if seen >= rank {
                return Some(self.upper(index));
            }
        }
        self.max()
    }

    /// Returns the median, which half of the calls did not exceed. See [`quantile`](Self::quantile).
    #[must_use]
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// Returns the latency that 9 of 10 calls did not exceed. See [`quantile`](Self::quantile).
    #[must_use]
    pub fn p90(&self) -> Option<Duration> {
        self.quantile(0.9)
    }

    /// Returns the latency that 99 of 100 calls did not exceed. See [`quantile`](Self::quantile).
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    /// Returns the latency that 999 of 1,000 calls did not exceed. See [`quantile`](Self::quantile).
    #[must_use]
    pub fn p999(&self) -> Option<Duration> {
        self.quantile(0.999)
    }

    /// Returns the sum of all latencies, exact to the nanosecond, at most `u64::MAX` ns (584 years).
    ///
    /// It may be above 0 although the count is 0: an interval that ended while a call finished can
    /// hold the latency of a call that the next interval counts.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Returns the precision: the binary logarithm of the number of buckets to an octave, 3 to 7.
    #[must_use]
    pub const fn precision(&self) -> u8 {
        self.layout.precision()
    }

    /// Returns the buckets that are not empty, as `(index, count)`, in the order of their index.
    ///
    /// [`bucket_bounds`](Self::bucket_bounds) returns the latencies of an index.
    #[must_use]
    pub fn buckets(&self) -> &[(u32, u64)] {
        &self.buckets
    }

    /// Returns the least and the greatest latency of the bucket of this index; `None` if there is no
    /// such bucket.
    ///
    /// # Examples
    ///
    /// ```
    /// let json = r#"{ "precision": 5, "sum_ns": 152000000, "buckets": [[740, 1]] }"#;
    /// let latency: toolmeter::LatencyStats = serde_json::from_str(json)?;
    /// let (least, greatest) = latency.bucket_bounds(740).unwrap();
    /// assert_eq!((least.as_nanos(), greatest.as_nanos()), (150_994_944, 155_189_247));
    /// assert_eq!(latency.bucket_bounds(1_408), None);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn bucket_bounds(&self, index: u32) -> Option<(Duration, Duration)> {
        let index = index as usize;
        (index < self.layout.count()).then(|| {
            (
                Duration::from_nanos(self.layout.lower(index)),
                Duration::from_nanos(self.layout.upper(index)),
            )
        })
    }

    /// Converts the histogram into one of the crate [`hdrhistogram`], in nanoseconds.
    ///
    /// The result has 2 significant digits over 1 ns to 2^48 - 1 ns and takes some 40 KiB. Each bucket
    /// is recorded at its upper bound.
    ///
    /// # Examples
    ///
    /// ```
    /// let json = r#"{ "precision": 7, "sum_ns": 1500, "buckets": [[631, 1]] }"#;
    /// let latency: toolmeter::LatencyStats = serde_json::from_str(json)?;
    /// let hdr = latency.to_hdr();
    /// assert_eq!(hdr.len(), latency.count());
    /// assert_eq!(u128::from(hdr.max()), latency.max().unwrap().as_nanos());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    #[cfg(feature = "hdrhistogram")]
    pub fn to_hdr(&self) -> hdrhistogram::Histogram<u64> {
        let Ok(mut hdr) = hdrhistogram::Histogram::new_with_bounds(1, self.layout.max_value(), 2)
        else {
            unreachable!("2 digits from 1 to 2^48 - 1 is a valid configuration")
        };
        for &(index, count) in &self.buckets {
            hdr.saturating_record_n(self.layout.upper(index as usize), count);
        }
        hdr
    }

    /// Returns the sum of both histograms, in the coarser precision of the two.
    ///
    /// The result is that of recording everything in one histogram of that precision, since finer
    /// buckets nest in coarser ones. Merging is associative and commutative.
    ///
    /// # Examples
    ///
    /// ```
    /// let read = |json| serde_json::from_str::<toolmeter::LatencyStats>(json);
    /// let a = read(r#"{ "precision": 5, "sum_ns": 3, "buckets": [[3, 1]] }"#)?;
    /// let b = read(r#"{ "precision": 4, "sum_ns": 9, "buckets": [[3, 3]] }"#)?;
    /// let both = a.merge(&b);
    /// assert_eq!((both.precision(), both.buckets()), (4, &[(3, 4)][..]));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let precision = self.precision().min(other.precision());
        let pairs = self.nested(precision).chain(other.nested(precision));
        Self {
            layout: layout(precision),
            sum_ns: self.sum_ns.saturating_add(other.sum_ns),
            buckets: added_up(pairs.collect()),
        }
    }

    /// Returns the histogram in a coarser precision, with fewer and wider buckets; count and sum
    /// stay.
    ///
    /// A precision that is not coarser changes nothing; one below 3 is treated as 3.
    ///
    /// # Examples
    ///
    /// ```
    /// let json = r#"{ "precision": 5, "sum_ns": 66, "buckets": [[32, 1], [34, 1]] }"#;
    /// let latency: toolmeter::LatencyStats = serde_json::from_str(json)?;
    /// let coarse = latency.coarsen(3);
    /// assert_eq!((coarse.count(), coarse.buckets().len()), (2, 1));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn coarsen(&self, precision: u8) -> Self {
        let precision = precision.clamp(*PRECISIONS.start(), self.precision());
        Self {
            layout: layout(precision),
            sum_ns: self.sum_ns,
            buckets: added_up(self.nested(precision).collect()),
        }
    }

    #[cfg(feature = "serde")]
    pub(crate) const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    fn upper(&self, index: u32) -> Duration {
        Duration::from_nanos(self.layout.upper(index as usize))
    }

    /// Returns the buckets with their indices in a coarser precision; indices may repeat.
    fn nested(&self, precision: u8) -> impl Iterator<Item = (u32, u64)> {
        let (fine, coarse) = (self.layout, layout(precision));
        self.buckets.iter().map(move |&(index, count)| {
            let index = coarse.index(fine.lower(index as usize));
            (index as u32, count)
        })
    }
}

/// Returns the arithmetic of the buckets for this precision, or for the nearest valid one.
pub(crate) fn layout(precision: u8) -> Buckets {
    let precision = precision.clamp(*PRECISIONS.start(), *PRECISIONS.end());
    let Some(layout) = Buckets::new(precision, MAX_EXPONENT) else {
        unreachable!("every precision in PRECISIONS is below MAX_EXPONENT")
    };
    layout
}

/// Returns the pairs in the order of their index, with the counts of equal indices added up.
fn added_up(mut pairs: Vec<(u32, u64)>) -> Vec<(u32, u64)> {
    pairs.sort_unstable_by_key(|&(index, _)| index);
    pairs.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(next.1);
        }
        same
    });
    pairs
}

/// Returns the rank of quantile `q` among `count` values, of which there is at least one; see the
/// head of this file.
fn rank(q: f64, count: u64) -> u64 {
    let q = q.min(1.0);
    let (mut low, mut high) = (1, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if middle as f64 / count as f64 >= q {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
