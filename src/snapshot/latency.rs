//! The latencies of one tool and one outcome: a sparse histogram and an exact sum.
//!
//! The buckets are those of [`toolmeter_core::buckets`]: `2^precision` to an octave over
//! latencies below 2^48 ns. Only those that are not empty are kept, in the order of their
//! index. Everything else is computed from them, so nothing can disagree.
//!
//! # Which rank a quantile is
//!
//! The quantile q of n latencies is the one of rank r, the smallest r from 1 to n of which
//! `r / n >= q` holds, as rounded by `f64`. `ceil(q * n)` would be the same on paper, but
//! 0.07 as a `f64` is a little more than 7 hundredths, and its product with 100 is rounded
//! up to 8. The division rounds as q itself was rounded.

use std::time::Duration;
use toolmeter_core::Buckets;

/// Latencies are told apart below two to this power, in nanoseconds: 78 hours.
pub(crate) const MAX_EXPONENT: u8 = 48;

/// The precisions that a histogram can have.
pub(crate) const PRECISIONS: std::ops::RangeInclusive<u8> = 3..=Buckets::MAX_PRECISION;

/// How long calls of one tool with one outcome took: a histogram.
///
/// A bucket's width is at most `2^-precision` of its lower bound, so with the default precision
/// of 5 a latency is known to within 3.2%. The [sum](Self::sum), and so the
/// [mean](Self::mean), is exact. A latency of 78 hours or more counts in the last bucket.
///
/// All methods take time in proportion to the number of buckets in use.
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
    /// The histogram of these buckets: indices ascending and in range, no count 0.
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

    /// How many calls ended this way: the sum of all buckets, at most `u64::MAX`.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, &(_, count)| sum.saturating_add(count))
    }

    /// A lower bound of the shortest latency: that of the lowest bucket; `None` if nothing was
    /// counted.
    ///
    /// A bound and not the latency itself, since that would not survive the subtraction by
    /// which intervals and resets are made.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        let &(index, _) = self.buckets.first()?;
        Some(Duration::from_nanos(self.layout.lower(index as usize)))
    }

    /// An upper bound of the longest latency: that of the highest bucket; `None` if nothing was
    /// counted.
    ///
    /// For latencies of 78 hours and more it is 78 hours.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        let &(index, _) = self.buckets.last()?;
        Some(self.upper(index))
    }

    /// The [sum](Self::sum) divided by the [count](Self::count), rounded to a nanosecond; `None`
    /// if nothing was counted.
    ///
    /// Exact, as no bucket is involved. In a reading taken while calls finish it may be off by
    /// those calls. One very long call moves the mean and leaves the median where it is.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let count = u128::from(self.count());
        let rounded = (u128::from(self.sum_ns) + count / 2).checked_div(count)?;
        Some(Duration::from_nanos(
            u64::try_from(rounded).unwrap_or(u64::MAX),
        ))
    }

    /// The latency that a share `q` of the calls did not exceed: the upper bound of the bucket
    /// that holds the call of rank max(1, ceil(q n)) among all n.
    ///
    /// A `q` below 0 is treated as 0, one above 1 as 1. `None` if nothing was counted, or if `q`
    /// is not a number.
    ///
    /// The true quantile is at most this, and less by the width of a bucket at most. Quantiles
    /// of different tools or hosts cannot be averaged: [merge](Self::merge) the histograms.
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

    /// The median: half of the calls took no longer. See [`quantile`](Self::quantile).
    #[must_use]
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// Nine of ten calls took no longer. See [`quantile`](Self::quantile).
    #[must_use]
    pub fn p90(&self) -> Option<Duration> {
        self.quantile(0.9)
    }

    /// 99 of 100 calls took no longer. See [`quantile`](Self::quantile).
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    /// 999 of 1,000 calls took no longer. See [`quantile`](Self::quantile).
    #[must_use]
    pub fn p999(&self) -> Option<Duration> {
        self.quantile(0.999)
    }

    /// All latencies added up, exact to the nanosecond, at most `u64::MAX` of them (584 years).
    ///
    /// It may be above 0 while the count is 0: an interval that ended while a call finished
    /// can hold the latency of a call that counts in the next.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Buckets to an octave, as a power of two: 3 to 7.
    #[must_use]
    pub const fn precision(&self) -> u8 {
        self.layout.precision()
    }

    /// The buckets that are not empty, as `(index, count)`, indices ascending.
    ///
    /// See [`bucket_bounds`](Self::bucket_bounds) for what an index stands for.
    #[must_use]
    pub fn buckets(&self) -> &[(u32, u64)] {
        &self.buckets
    }

    /// The least and the greatest latency that count in the bucket of this index; `None` if
    /// there is no such bucket.
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

    /// Returns the same as a histogram of the crate [`hdrhistogram`], in nanoseconds.
    ///
    /// It has 2 significant digits over 1 ns to 2^48 - 1 ns; each of our buckets is recorded at
    /// its upper bound, and lies wholly within one of its. Takes some 40 KiB.
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

    /// Both together, in the coarser precision of the two.
    ///
    /// With the same precision nothing is lost: the result is that of recording everything in
    /// one place. With different ones the finer buckets nest in the coarser. Associative and
    /// commutative.
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

    /// The same in a coarser precision, with fewer and wider buckets; count and sum stay.
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

    /// The buckets with the indices that they have in a coarser precision; some then repeat.
    fn nested(&self, precision: u8) -> impl Iterator<Item = (u32, u64)> {
        let (fine, coarse) = (self.layout, layout(precision));
        self.buckets.iter().map(move |&(index, count)| {
            let index = coarse.index(fine.lower(index as usize));
            (index as u32, count)
        })
    }
}

/// The arithmetic of the buckets, for the nearest precision that a histogram can have.
pub(crate) fn layout(precision: u8) -> Buckets {
    let precision = precision.clamp(*PRECISIONS.start(), *PRECISIONS.end());
    let Some(layout) = Buckets::new(precision, MAX_EXPONENT) else {
        unreachable!("every precision in PRECISIONS is below MAX_EXPONENT")
    };
    layout
}

/// The pairs in the order of their index, each index once.
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

/// The rank of quantile `q` among `count` values, at least one: see the head of this file.
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
