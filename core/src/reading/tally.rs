//! The number of calls in a histogram, with or without its buckets: [`Tally`] and [`CountOnly`].

use super::counts::BucketCounts;

/// The total of one histogram, which every [`Reading`](super::Reading) needs.
///
/// Every [`BucketCounts`] computes it from its buckets. A [`CountOnly`] stores nothing else.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{BucketCounts, FixedCounts, Tally};
///
/// let mut counts = FixedCounts::<4>::default();
/// counts.push((3, 10))?;
/// counts.push((8, 5))?;
/// assert_eq!(counts.total(), 15);
/// # Ok::<(), toolmeter_core::CountsFull>(())
/// ```
pub trait Tally: Default {
    /// Returns the number of calls in all buckets, wrapping.
    fn total(&self) -> u64;

    /// Returns whether all buckets are empty.
    fn is_empty(&self) -> bool;

    /// Empties all buckets and keeps the storage.
    fn clear(&mut self);
}

impl<C: BucketCounts> Tally for C {
    fn total(&self) -> u64 {
        self.as_slice()
            .iter()
            .fold(0, |sum, &(_, count)| sum.wrapping_add(count))
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn clear(&mut self) {
        self.truncate(0);
    }
}

/// The number of calls in a histogram, without its buckets, for [`Slot::visit`](crate::Slot::visit).
///
/// # Examples
///
/// ```
/// use toolmeter_core::{CountOnly, Tally};
///
/// assert_eq!(CountOnly::default().total(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountOnly {
    total: u64,
    any: bool,
}

impl CountOnly {
    /// The count of an empty histogram.
    pub(super) const NONE: Self = Self {
        total: 0,
        any: false,
    };

    /// Adds the count of a bucket that is not empty.
    pub(crate) fn count(&mut self, count: u64) {
        self.total = self.total.wrapping_add(count);
        self.any = true;
    }
}

impl Tally for CountOnly {
    fn total(&self) -> u64 {
        self.total
    }

    fn is_empty(&self) -> bool {
        !self.any
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
