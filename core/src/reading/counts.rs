//! Storage for the buckets of one histogram: [`BucketCounts`], [`FixedCounts`], and `Vec`.

use core::fmt;

/// The index and the count of a bucket: `(index, count)`. In a [`Reading`](super::Reading) the count is
/// never 0.
pub type BucketCount = (u32, u64);

/// Storage for the buckets of one histogram that are not empty, by ascending index.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{BucketCounts, FixedCounts};
///
/// fn total(counts: &impl BucketCounts) -> u64 {
///     counts.as_slice().iter().map(|&(_, count)| count).sum()
/// }
/// let mut counts = FixedCounts::<4>::default();
/// counts.push((3, 10))?;
/// counts.push((8, 5))?;
/// assert_eq!(total(&counts), 15);
/// # Ok::<(), toolmeter_core::CountsFull>(())
/// ```
pub trait BucketCounts: Default {
    /// Appends a pair. Its index must be above that of every earlier pair.
    ///
    /// # Errors
    ///
    /// [`CountsFull`] if there is no room. The storage is then unchanged.
    fn push(&mut self, pair: BucketCount) -> Result<(), CountsFull>;

    /// Returns the pairs, by ascending index.
    fn as_slice(&self) -> &[BucketCount];

    /// Returns the pairs, to change in place.
    fn as_mut_slice(&mut self) -> &mut [BucketCount];

    /// Keeps the first `len` pairs, or all if there are fewer.
    fn truncate(&mut self, len: usize);
}

/// Storage for at most `N` buckets, without an allocator.
///
/// An `N` of [`Buckets::count`](crate::Buckets::count) is always enough. Each takes at most
/// 16 bytes.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{BucketCounts, CountsFull, FixedCounts};
///
/// let mut counts = FixedCounts::<1>::default();
/// assert_eq!(counts.push((3, 10)), Ok(()));
/// assert_eq!(counts.push((8, 5)), Err(CountsFull { capacity: 1 }));
/// assert_eq!(counts.as_slice(), [(3, 10)]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FixedCounts<const N: usize> {
    len: usize,
    pairs: [BucketCount; N],
}

impl<const N: usize> FixedCounts<N> {
    /// Creates empty storage. It may be part of a `static`.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{BucketCounts, FixedCounts};
    ///
    /// static EMPTY: FixedCounts<4> = FixedCounts::new();
    /// assert!(EMPTY.as_slice().is_empty());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            len: 0,
            pairs: [(0, 0); N],
        }
    }
}

impl<const N: usize> Default for FixedCounts<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> BucketCounts for FixedCounts<N> {
    fn push(&mut self, pair: BucketCount) -> Result<(), CountsFull> {
        let place = self
            .pairs
            .get_mut(self.len)
            .ok_or(CountsFull { capacity: N })?;
        *place = pair;
        self.len += 1;
        Ok(())
    }

    fn as_slice(&self) -> &[BucketCount] {
        &self.pairs[..self.len]
    }

    fn as_mut_slice(&mut self) -> &mut [BucketCount] {
        &mut self.pairs[..self.len]
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

#[cfg(feature = "std")]
impl BucketCounts for std::vec::Vec<BucketCount> {
    fn push(&mut self, pair: BucketCount) -> Result<(), CountsFull> {
        std::vec::Vec::push(self, pair);
        Ok(())
    }

    fn as_slice(&self) -> &[BucketCount] {
        self
    }

    fn as_mut_slice(&mut self) -> &mut [BucketCount] {
        self
    }

    fn truncate(&mut self, len: usize) {
        std::vec::Vec::truncate(self, len);
    }
}

/// The error of a [`BucketCounts`] that has no room for another bucket.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{BucketCounts, FixedCounts};
///
/// let error = FixedCounts::<0>::default().push((3, 10)).unwrap_err();
/// assert_eq!(error.capacity, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountsFull {
    /// The number of buckets that it has room for.
    pub capacity: usize,
}

impl fmt::Display for CountsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {} buckets are not empty: read into storage for as many as the layout has",
            self.capacity
        )
    }
}

impl core::error::Error for CountsFull {}

#[cfg(test)]
mod tests;
