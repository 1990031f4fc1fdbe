//! The arithmetic of histogram buckets: from a latency to the index of its bucket, and back.
//!
//! # The scale
//!
//! Values are nanoseconds. The scale is log-linear: from `2^p` up, every octave (from a power of two to
//! the next) is divided into `2^p` buckets of equal width, where `p` is the *precision*. So a bucket is
//! 1 wide or at most `2^-p` of its lower bound, and both directions take a few instructions:
//!
//! * Below `2^(p+1)` a bucket is 1 wide, and its index is the value itself.
//! * Above, with `s = floor(log2(v)) - p`, the top `p + 1` bits of the value are `v >> s`, between
//!   `2^p` and `2^(p+1) - 1`, and the index is `(s << p) + (v >> s)`. At `v = 2^(p+1)` this continues
//!   the first rule without a gap.
//!
//! This scale is known as H2. The documentation of Pelikan's histograms describes it, and the
//! `histogram` crate uses it. With `p = 4` and `p = 7` the buckets are those of an `HdrHistogram` of
//! 1 and 2 significant digits. Each bucket of precision `p` lies inside one bucket of any lower
//! precision, so converting to a lower precision loses resolution only.
//!
//! A value of `2^max_exponent` or more is counted in the last bucket.
//!
//! # Groups
//!
//! `2^p` neighbouring buckets are a *group*: the first holds the values below `2^p`, and each of the
//! others one octave. A slot keeps one bit for each group that was ever used, so there are at most 64.

/// The arithmetic of the buckets of one precision and one range.
///
/// # Examples
///
/// ```
/// use toolmeter_core::Buckets;
///
/// let buckets = Buckets::new(5, 48).unwrap();
/// let index = buckets.index(1_000_000); // 1 ms
/// assert!(buckets.lower(index) <= 1_000_000 && 1_000_000 <= buckets.upper(index));
/// // The bucket is narrower than 1/32 of its lower bound.
/// assert!((buckets.upper(index) - buckets.lower(index)) * 32 < buckets.lower(index));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buckets {
    precision: u8,
    max_exponent: u8,
}

impl Buckets {
    /// The highest precision: 128 buckets in each octave.
    pub const MAX_PRECISION: u8 = 7;
    /// The highest exponent of the range.
    pub const MAX_EXPONENT: u8 = 63;

    /// Creates the arithmetic of `2^precision` buckets in each octave, for values below
    /// `2^max_exponent` nanoseconds.
    ///
    /// Returns `None` unless `precision <= 7` and `precision < max_exponent <= 63`.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// assert!(Buckets::new(5, 48).is_some());
    /// assert_eq!(Buckets::new(8, 48), None);
    /// assert_eq!(Buckets::new(5, 5), None);
    /// ```
    #[must_use]
    pub const fn new(precision: u8, max_exponent: u8) -> Option<Self> {
        if precision > Self::MAX_PRECISION
            || max_exponent > Self::MAX_EXPONENT
            || precision >= max_exponent
        {
            return None;
        }
        Some(Self {
            precision,
            max_exponent,
        })
    }

    /// Returns the precision `p`: each octave has `2^p` buckets.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// assert_eq!(Buckets::new(5, 48).unwrap().precision(), 5); // 32 buckets
    /// ```
    #[must_use]
    pub const fn precision(self) -> u8 {
        self.precision
    }

    /// Returns the exponent `e` of the range, which ends below `2^e` nanoseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// assert_eq!(Buckets::new(5, 48).unwrap().max_exponent(), 48);
    /// ```
    #[must_use]
    pub const fn max_exponent(self) -> u8 {
        self.max_exponent
    }

    /// Returns the highest value of the range, in nanoseconds. Higher values are counted in its bucket.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// assert_eq!(Buckets::new(3, 20).unwrap().max_value(), (1 << 20) - 1);
    /// ```
    #[must_use]
    #[inline]
    pub const fn max_value(self) -> u64 {
        (1 << self.max_exponent) - 1
    }

    /// Returns the number of buckets.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// let buckets = Buckets::new(5, 48).unwrap();
    /// assert_eq!(buckets.count(), 44 * 32);
    /// ```
    #[must_use]
    #[inline]
    pub const fn count(self) -> usize {
        self.groups() << self.precision
    }

    /// Returns the number of groups of `2^precision` buckets, at most 64.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// assert_eq!(Buckets::new(5, 48).unwrap().groups(), 44);
    /// ```
    #[must_use]
    #[inline]
    pub const fn groups(self) -> usize {
        (self.max_exponent - self.precision + 1) as usize
    }

    /// Returns the index of the bucket that counts `value`. It is below [`count`](Self::count) for any
    /// value.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// let buckets = Buckets::new(3, 20).unwrap();
    /// assert_eq!(buckets.index(15), 15); // small values have a bucket each
    /// assert_eq!(buckets.index(16), buckets.index(17));
    /// assert_eq!(buckets.index(u64::MAX), buckets.count() - 1);
    /// ```
    #[must_use]
    #[inline]
    pub const fn index(self, value: u64) -> usize {
        let value = if value > self.max_value() {
            self.max_value()
        } else {
            value
        };
        self.index_in_range(value)
    }

    /// Returns the index of a value that does not exceed [`max_value`](Self::max_value).
    #[inline(always)]
    pub(crate) const fn index_in_range(self, value: u64) -> usize {
        // A branch, not a conditional move: most calls of a tool lie on one side of this, so it is
        // predicted, and the index of a short call does not depend on the longer rule.
        if value >> self.precision <= 1 {
            return short(value);
        }
        let shift = (63 - value.leading_zeros()) - self.precision as u32;
        ((shift as usize) << self.precision) + (value >> shift) as usize
    }

    /// Returns the lowest value that the bucket counts, in nanoseconds.
    ///
    /// An index past the last bucket is treated as the last.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// let buckets = Buckets::new(3, 20).unwrap();
    /// assert_eq!(buckets.lower(buckets.index(1_000)), 960);
    /// ```
    #[must_use]
    pub const fn lower(self, index: usize) -> u64 {
        let index = self.clamped(index);
        let shift = self.shift(index);
        ((index - (shift << self.precision)) as u64) << shift
    }

    /// Returns the highest value of the range that the bucket counts, in nanoseconds. The last bucket
    /// also counts all values beyond the range.
    ///
    /// An index past the last bucket is treated as the last.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Buckets;
    ///
    /// let buckets = Buckets::new(3, 20).unwrap();
    /// assert_eq!(buckets.upper(buckets.index(1_000)), 1_023);
    /// assert_eq!(buckets.upper(usize::MAX), buckets.max_value());
    /// ```
    #[must_use]
    pub const fn upper(self, index: usize) -> u64 {
        let index = self.clamped(index);
        self.lower(index) + ((1 << self.shift(index)) - 1)
    }

    /// Returns the index, or that of the last bucket if it is past the end.
    const fn clamped(self, index: usize) -> usize {
        if index < self.count() {
            index
        } else {
            self.count() - 1
        }
    }

    /// Returns the binary logarithm of the width of the bucket.
    const fn shift(self, index: usize) -> usize {
        (index >> self.precision).saturating_sub(1)
    }
}

/// Returns the index of a value whose bucket is 1 wide. Cold, so that the compiler branches to it.
#[cold]
const fn short(value: u64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_buckets() -> impl Strategy<Value = Buckets> {
        (0..=Buckets::MAX_PRECISION)
            .prop_flat_map(|p| (Just(p), p + 1..=Buckets::MAX_EXPONENT))
            .prop_map(|(p, max)| Buckets::new(p, max).unwrap())
    }

    /// Values of every magnitude, not only huge ones.
    fn any_value() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
    }

    #[test]
    fn the_ranges_of_the_arguments() {
        assert!(Buckets::new(0, 1).is_some());
        assert!(Buckets::new(7, 63).is_some());
        assert!(Buckets::new(8, 48).is_none());
        assert!(Buckets::new(5, 64).is_none());
        assert!(Buckets::new(5, 5).is_none());
        let buckets = Buckets::new(5, 48).unwrap();
        assert_eq!((buckets.precision(), buckets.max_exponent()), (5, 48));
        assert_eq!((buckets.groups(), buckets.count()), (44, 1408));
        assert_eq!(buckets.max_value(), (1 << 48) - 1);
    }

    #[test]
    fn the_buckets_tile_the_range_without_gap_or_overlap() {
        for p in 0..=Buckets::MAX_PRECISION {
            for max in p + 1..=Buckets::MAX_EXPONENT {
                let buckets = Buckets::new(p, max).unwrap();
                let mut next = 0;
                for index in 0..buckets.count() {
                    assert_eq!(buckets.lower(index), next);
                    assert!(buckets.upper(index) >= next);
                    assert_eq!(buckets.index(next), index);
                    assert_eq!(buckets.index(buckets.upper(index)), index);
                    next = buckets.upper(index).wrapping_add(1);
                }
                assert_eq!(next, buckets.max_value() + 1);
                assert!(buckets.groups() <= 64);
            }
        }
    }

    #[test]
    fn an_index_past_the_end_is_the_last() {
        let buckets = Buckets::new(3, 9).unwrap();
        let last = buckets.count() - 1;
        assert_eq!(buckets.lower(usize::MAX), buckets.lower(last));
        assert_eq!(buckets.upper(last + 1), buckets.max_value());
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_and_is_narrow(buckets in any_buckets(), value in any_value()) {
            let index = buckets.index(value);
            prop_assert!(index < buckets.count());
            let value = value.min(buckets.max_value());
            let (lower, upper) = (buckets.lower(index), buckets.upper(index));
            prop_assert!(lower <= value && value <= upper);
            let width = u128::from(upper - lower + 1);
            prop_assert!(width == 1 || width << buckets.precision() <= u128::from(lower));
        }

        #[test]
        fn the_index_is_monotonic(buckets in any_buckets(), a in any_value(), b in any_value()) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(buckets.index(low) <= buckets.index(high));
        }

        #[test]
        fn a_bucket_nests_in_one_of_each_coarser_precision(
            value in any_value(), fine in 0_u8..=7, coarse in 0_u8..=7,
        ) {
            prop_assume!(coarse <= fine);
            let fine = Buckets::new(fine, 48).unwrap();
            let coarse = Buckets::new(coarse, 48).unwrap();
            let index = fine.index(value);
            prop_assert_eq!(coarse.index(fine.lower(index)), coarse.index(fine.upper(index)));
            prop_assert_eq!(coarse.index(fine.lower(index)), coarse.index(value));
        }

        #[test]
        fn precisions_4_and_7_are_hdrhistograms_of_1_and_2_digits(value in any_value()) {
            let value = value.min((1 << 48) - 1);
            for (precision, digits) in [(4, 1), (7, 2)] {
                let buckets = Buckets::new(precision, 48).unwrap();
                let hdr = hdrhistogram::Histogram::<u64>::new_with_bounds(1, (1 << 48) - 1, digits).unwrap();
                let index = buckets.index(value);
                prop_assert_eq!(hdr.lowest_equivalent(value), buckets.lower(index));
                prop_assert_eq!(hdr.highest_equivalent(value), buckets.upper(index));
            }
        }
    }
}
