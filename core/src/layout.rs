//! The position of each word in a slot, for a precision, a range and a number of stripes.
//!
//! A slot is a run of 64-bit words, divided into equal *stripes*: as many as there are threads that
//! should not disturb each other. Each stripe has every counter once:
//!
//! | words | content |
//! | --- | --- |
//! | 0 to 7 | `started`, last finish and failure, sums and occupancies of successes and failures: one cache line |
//! | 8 to 21 | cancelled sum and occupancy, `retried`, `recovered`, one counter for each error kind |
//! | 22 | `rejected` |
//! | 23 | unused, and absent on small targets: the header fills three cache lines |
//! | the rest | the buckets; for each index that of success, then failure, then cancelled |
//!
//! A stripe takes whole cache lines, so that two cores do not write to the same one. On a target
//! without an operating system and without native 64-bit atomics (a microcontroller) this would gain
//! nothing, and a stripe takes only the words that it uses.
//!
//! The three classes of an index are adjacent because the calls of one tool tend to take similar times
//! however they end. So a tool touches few pages, and its resident memory stays small. It also makes
//! the address of a bucket quick to compute; `slot/stripe.rs` says why that matters.

mod error;
pub(crate) mod word;

pub use error::{LayoutError, StripesError};

use crate::buckets::Buckets;
use crate::outcome::OutcomeClass;

/// The number of words in a cache line of 64 bytes; 1 where stripes need no lines of their own.
const LINE: usize = if cfg!(all(target_os = "none", not(target_has_atomic = "64"))) {
    1
} else {
    8
};

/// The number of words of a stripe before its buckets.
pub(crate) const HEADER: usize = (word::REJECTED + 1).next_multiple_of(LINE);

/// The shape of a slot: the arithmetic of its buckets, and the number of its stripes.
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
    /// Computed from the buckets once, since every metered call needs it twice.
    stripe_words: u32,
}

impl Layout {
    /// The highest number of stripes of a slot.
    pub const MAX_STRIPES: usize = 256;

    /// Creates a layout of `stripes` stripes, with `2^precision` buckets in each octave, for latencies
    /// below `2^max_exponent` nanoseconds.
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

    /// Returns the number of stripes, a power of two.
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

    /// Returns the number of words of one stripe: whole cache lines, except on microcontrollers.
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

    /// Returns the index of the first word of a stripe in its slot. A number beyond the last stripe
    /// wraps around to the first.
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

/// Returns the position of the bucket of this class and index after the header of a stripe. The next
/// bucket of the class is [`OutcomeClass::COUNT`] words further.
#[inline(always)]
pub(crate) const fn bucket(class: OutcomeClass, index: usize) -> usize {
    index * OutcomeClass::COUNT + class.index()
}

/// Checks that a number of stripes is a power of two from 1 to [`Layout::MAX_STRIPES`].
///
/// # Errors
///
/// [`StripesError`] if it is not.
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

#[cfg(test)]
mod tests;
