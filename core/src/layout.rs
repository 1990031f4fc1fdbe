//! Where each word of a slot lies, for a precision, a range and a number of stripes.
//!
//! A slot is a run of 64-bit words, cut into as many equal *stripes* as there are threads
//! that should not disturb each other. Each stripe holds every counter once:
//!
//! | words | content |
//! | --- | --- |
//! | 0 to 7 | what every success and failure touches, one cache line |
//! | 8 to 21 | cancelled sum and occupancy, `retried`, `recovered`, one counter for each error kind |
//! | 22 | `rejected` |
//! | 23 | not used, and not there on small targets: the header fills three cache lines |
//! | the rest | the buckets; of each index first that of success, then failure, then cancelled |
//!
//! A stripe takes whole cache lines, lest two cores write one. On a target without an operating
//! system and without native 64-bit atomics, a microcontroller, nothing is gained by that, and a
//! stripe takes the words that it uses.
//!
//! The three classes of an index lie side by side because the calls of one tool tend to take
//! similar time however they end: the pages that a tool touches, and so its resident memory,
//! stay few. And the way from an index to its word is short; `slot` says why that counts.

use crate::buckets::Buckets;
use crate::outcome::{ErrorKind, OutcomeClass};
use core::fmt;

/// Words in a cache line of 64 bytes; 1 where cores do not disturb each other.
const LINE: usize = if cfg!(all(target_os = "none", not(target_has_atomic = "64"))) {
    1
} else {
    8
};

/// The words of a stripe before its buckets.
pub(crate) const HEADER: usize = (word::REJECTED + 1).next_multiple_of(LINE);

/// Indices into the header of a stripe.
pub(crate) mod word {
    use super::{ErrorKind, OutcomeClass};

    pub(crate) const STARTED: usize = 0;
    pub(crate) const LAST_FINISHED_AT: usize = 1;
    pub(crate) const LAST_LATENCY: usize = 2;
    pub(crate) const LAST_FAILURE: usize = 3;
    const SUCCESS_SUM: usize = 4;
    const SUCCESS_OCCUPANCY: usize = 5;
    const FAILURE_SUM: usize = 6;
    const FAILURE_OCCUPANCY: usize = 7;
    const CANCELLED_SUM: usize = 8;
    const CANCELLED_OCCUPANCY: usize = 9;
    pub(crate) const RETRIED: usize = 10;
    pub(crate) const RECOVERED: usize = 11;
    const FAILURES: usize = 12;

    pub(crate) const REJECTED: usize = FAILURES + ErrorKind::COUNT;

    #[inline]
    pub(crate) const fn sum(class: OutcomeClass) -> usize {
        match class {
            OutcomeClass::Success => SUCCESS_SUM,
            OutcomeClass::Failure => FAILURE_SUM,
            OutcomeClass::Cancelled => CANCELLED_SUM,
        }
    }

    #[inline]
    pub(crate) const fn occupancy(class: OutcomeClass) -> usize {
        match class {
            OutcomeClass::Success => SUCCESS_OCCUPANCY,
            OutcomeClass::Failure => FAILURE_OCCUPANCY,
            OutcomeClass::Cancelled => CANCELLED_OCCUPANCY,
        }
    }

    #[inline]
    pub(crate) const fn failures(kind: ErrorKind) -> usize {
        FAILURES + kind.index()
    }
}

/// The shape of a slot: the arithmetic of its buckets, and how many stripes it has.
///
/// # Examples
///
/// ```
/// use toolmeter_core::Layout;
///
/// const LAYOUT: Layout = match Layout::new(5, 48, 2) {
///     Ok(layout) => layout,
///     Err(_) => panic!("the layout is out of range"),
/// };
/// assert_eq!(LAYOUT.stripes(), 2);
/// assert_eq!(LAYOUT.words() * 8, 67_968); // bytes of address space, most never touched
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    buckets: Buckets,
    stripes: u16,
    /// Derived from the buckets, once: every metered call asks for it twice.
    stripe_words: u32,
}

impl Layout {
    /// The most stripes that a slot can have.
    pub const MAX_STRIPES: usize = 256;

    /// Returns a layout of `2^precision` buckets an octave, for latencies below `2^max_exponent`
    /// nanoseconds, in `stripes` stripes.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] unless `precision` is 0 to 7, `max_exponent` is above `precision` and
    /// at most 63, and `stripes` is a power of two from 1 to 256.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Layout, LayoutError, StripesError};
    ///
    /// assert!(Layout::new(5, 48, 4).is_ok());
    /// let error = LayoutError::Stripes(StripesError { given: 3 });
    /// assert_eq!(Layout::new(5, 48, 3), Err(error));
    /// ```
    pub const fn new(precision: u8, max_exponent: u8, stripes: usize) -> Result<Self, LayoutError> {
        if precision > Buckets::MAX_PRECISION {
            return Err(LayoutError::Precision(precision));
        }
        let Some(buckets) = Buckets::new(precision, max_exponent) else {
            return Err(LayoutError::MaxExponent {
                max_exponent,
                precision,
            });
        };
        if let Err(error) = check_stripes(stripes) {
            return Err(LayoutError::Stripes(error));
        }
        let stripe_words = HEADER + OutcomeClass::COUNT * buckets.count();
        Ok(Self {
            buckets,
            stripes: stripes as u16,
            stripe_words: stripe_words.next_multiple_of(LINE) as u32,
        })
    }

    /// Returns the arithmetic of the buckets.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Buckets, Layout};
    ///
    /// assert_eq!(Some(Layout::new(5, 48, 2)?.buckets()), Buckets::new(5, 48));
    /// # Ok::<(), toolmeter_core::LayoutError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn buckets(self) -> Buckets {
        self.buckets
    }

    /// Returns the number of stripes: a power of two.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Layout;
    ///
    /// assert_eq!(Layout::new(5, 48, 4)?.stripes(), 4);
    /// # Ok::<(), toolmeter_core::LayoutError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn stripes(self) -> usize {
        self.stripes as usize
    }

    /// Returns the number of words that a slot of this layout needs.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Layout;
    ///
    /// assert_eq!(Layout::new(5, 48, 4)?.words(), 4 * Layout::new(5, 48, 1)?.words());
    /// # Ok::<(), toolmeter_core::LayoutError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn words(self) -> usize {
        self.stripe_words() * self.stripes()
    }

    /// Returns the number of words that one stripe takes: whole cache lines, where there are any.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Layout;
    ///
    /// let layout = Layout::new(5, 48, 4)?;
    /// assert_eq!(layout.words(), 4 * layout.stripe_words());
    /// # Ok::<(), toolmeter_core::LayoutError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn stripe_words(self) -> usize {
        self.stripe_words as usize
    }

    /// Returns the word of a slot at which the stripe that a caller names begins; numbers beyond
    /// the last start over.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::Layout;
    ///
    /// let layout = Layout::new(5, 48, 4)?;
    /// assert_eq!(layout.stripe_start(3), 3 * layout.stripe_words());
    /// assert_eq!(layout.stripe_start(4), 0);
    /// # Ok::<(), toolmeter_core::LayoutError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn stripe_start(self, stripe: usize) -> usize {
        (stripe & (self.stripes() - 1)) * self.stripe_words()
    }
}

/// Returns where, after the header of a stripe, the bucket of this class and index lies. The next
/// bucket of the class lies [`OutcomeClass::COUNT`] words on.
#[inline(always)]
pub(crate) const fn bucket(class: OutcomeClass, index: usize) -> usize {
    index * OutcomeClass::COUNT + class.index()
}

/// Checks a number of stripes: a power of two from 1 to [`Layout::MAX_STRIPES`].
///
/// # Errors
///
/// [`StripesError`] if it is anything else.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{StripesError, check_stripes};
///
/// assert_eq!(check_stripes(8), Ok(()));
/// assert_eq!(check_stripes(6), Err(StripesError { given: 6 }));
/// ```
pub const fn check_stripes(stripes: usize) -> Result<(), StripesError> {
    if stripes.is_power_of_two() && stripes <= Layout::MAX_STRIPES {
        Ok(())
    } else {
        Err(StripesError { given: stripes })
    }
}

/// A number of stripes that is not a power of two from 1 to 256.
///
/// # Examples
///
/// ```
/// use toolmeter_core::StripesError;
///
/// let error = StripesError { given: 6 };
/// assert_eq!(
///     error.to_string(),
///     "6 stripes are out of range: use a power of two from 1 to 256"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StripesError {
    /// The number of stripes that was asked for.
    pub given: usize,
}

impl fmt::Display for StripesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} stripes are out of range: use a power of two from 1 to {}",
            self.given,
            Layout::MAX_STRIPES
        )
    }
}

impl core::error::Error for StripesError {}

/// The reason why [`Layout::new`] refused.
///
/// # Examples
///
/// ```
/// use toolmeter_core::Layout;
///
/// let error = Layout::new(9, 48, 1).unwrap_err();
/// assert_eq!(error.to_string(), "precision 9 is out of range: use 0 to 7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// The precision is not 0 to 7.
    Precision(u8),
    /// The range does not reach beyond the first group, or is above 63.
    MaxExponent {
        /// The exponent that was asked for.
        max_exponent: u8,
        /// The precision it has to exceed.
        precision: u8,
    },
    /// The number of stripes is not a power of two from 1 to 256.
    Stripes(StripesError),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Precision(precision) => {
                write!(f, "precision {precision} is out of range: use 0 to 7")
            }
            Self::MaxExponent {
                max_exponent,
                precision,
            } => write!(
                f,
                "max_exponent {max_exponent} is out of range: use {} to 63",
                precision + 1
            ),
            Self::Stripes(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LayoutError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, vec::Vec};

    #[test]
    fn what_is_out_of_range_is_refused_with_the_range() {
        let refused = |p, e, s| Layout::new(p, e, s).unwrap_err().to_string();
        assert_eq!(refused(8, 48, 1), "precision 8 is out of range: use 0 to 7");
        assert_eq!(
            refused(5, 5, 1),
            "max_exponent 5 is out of range: use 6 to 63"
        );
        assert_eq!(
            refused(5, 64, 1),
            "max_exponent 64 is out of range: use 6 to 63"
        );
        for stripes in [0, 3, 512] {
            assert_eq!(
                refused(5, 48, stripes),
                format!("{stripes} stripes are out of range: use a power of two from 1 to 256")
            );
        }
    }

    #[test]
    fn the_number_of_stripes_is_a_power_of_two_up_to_the_most() {
        let good: Vec<usize> = (0..=2 * Layout::MAX_STRIPES)
            .filter(|&stripes| check_stripes(stripes).is_ok())
            .collect();
        assert_eq!(good, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
        assert_eq!(check_stripes(512), Err(StripesError { given: 512 }));
    }

    #[test]
    fn every_counter_has_a_word_of_its_own() {
        let layout = Layout::new(3, 9, 4).unwrap();
        let mut taken = BTreeSet::new();
        let mut take = |word: usize| assert!(taken.insert(word), "word {word} is taken twice");
        for word in [
            word::STARTED,
            word::LAST_FINISHED_AT,
            word::LAST_LATENCY,
            word::LAST_FAILURE,
            word::RETRIED,
            word::RECOVERED,
            word::REJECTED,
        ] {
            take(word);
        }
        for kind in ErrorKind::ALL {
            take(word::failures(kind));
        }
        for class in OutcomeClass::ALL {
            take(word::sum(class));
            take(word::occupancy(class));
            for index in 0..layout.buckets().count() {
                take(HEADER + bucket(class, index));
            }
        }
        assert!(taken.last().unwrap() < &layout.stripe_words());
        assert_eq!(layout.stripe_words() % LINE, 0);
    }

    #[test]
    fn the_ends_of_the_ranges_are_within() {
        assert_eq!(Layout::new(0, 1, 1).unwrap().stripes(), 1);
        let most = Layout::new(7, 63, Layout::MAX_STRIPES).unwrap();
        assert_eq!((most.stripes(), most.buckets().groups()), (256, 57));
    }

    #[test]
    fn a_stripe_number_beyond_the_last_starts_over() {
        let layout = Layout::new(3, 9, 4).unwrap();
        assert_eq!(layout.stripe_start(3), 3 * layout.stripe_words());
        assert_eq!(layout.stripe_start(4), 0);
        assert_eq!(layout.words(), 4 * layout.stripe_words());
    }
}
