//! What was read from a slot: counts, sums, the last finish and the last failure; and the
//! difference between two readings.
//!
//! A [`Reading`] is sparse: of each histogram it holds only the buckets that are not empty, in
//! the order of their index. Where those pairs are kept is the caller's choice, through
//! [`BucketCounts`]: a [`FixedCounts`] needs no allocator, and with the feature `std` a `Vec`
//! grows as needed.
//!
//! # Differences
//!
//! Slots are never zeroed. What happened since some moment is the reading now less the
//! reading then, the *baseline*; [`Reading::subtract`] computes it, wrapping. So a call is
//! counted on exactly one side of a baseline, whatever ran while it was read. Calls in flight
//! are the one thing that is never a difference: take [`Reading::in_flight`] from a total.

use crate::outcome::{ErrorKind, OutcomeClass};
use core::{fmt, iter::Peekable};

/// How a bucket's index and its count are kept: `(index, count)`, the count never 0.
pub type BucketCount = (u32, u64);

/// Storage for the buckets of one histogram that are not empty, in the order of their index.
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
    /// Appends a pair whose index is above that of every pair before.
    ///
    /// # Errors
    ///
    /// [`CountsFull`] if there is no room; the storage is then unchanged.
    fn push(&mut self, pair: BucketCount) -> Result<(), CountsFull>;

    /// The pairs, in the order of their index.
    fn as_slice(&self) -> &[BucketCount];

    /// The pairs, to be changed in place.
    fn as_mut_slice(&mut self) -> &mut [BucketCount];

    /// Keeps only the first `len` pairs.
    fn truncate(&mut self, len: usize);
}

/// A [`BucketCounts`] of at most `N` pairs, without an allocator.
///
/// [`Buckets::count`](crate::Buckets::count) pairs are always enough.
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

impl<const N: usize> Default for FixedCounts<N> {
    fn default() -> Self {
        Self {
            len: 0,
            pairs: [(0, 0); N],
        }
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

/// A [`BucketCounts`] has no room for another bucket; give it more.
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
    /// How many pairs it holds.
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

/// The end of the call that finished last, among successes and failures that ran.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{Finish, FixedCounts, LastFinish, Layout, Outcome, Reading, Slot, Word};
///
/// let layout = Layout::new(3, 20, 1)?;
/// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
/// let slot = Slot::new(&words, layout)?;
/// slot.start(0, 1);
/// slot.finish(0, Finish::new(Outcome::Success, 1, 1_000, 250));
/// let mut reading = Reading::<FixedCounts<8>>::default();
/// slot.read(&mut reading)?;
/// let last = LastFinish { at_ns: 1_250, latency_ns: 250 };
/// assert_eq!(reading.last_finish(), Some(last));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastFinish {
    /// When it finished, in nanoseconds of the clock.
    pub at_ns: u64,
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
}

/// The failure that happened last, as a slot keeps it: in one word.
///
/// | bits | content |
/// | --- | --- |
/// | 24 to 63 | when, in units of 2^16 ns (65.5 us), modulo 2^40 units (2.28 years) |
/// | 16 to 23 | the index of the error kind |
/// | 0 to 15 | the attempt, at least 1, so that no failure is encoded as 0 |
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, LastFailure};
///
/// let failure = LastFailure::new(ErrorKind::Provider, 3, 1 << 20);
/// assert_eq!(failure.kind(), ErrorKind::Provider);
/// assert_eq!(failure.attempt(), 3);
/// assert_eq!(failure.at_ns(1 << 30), 1 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFailure(u64);

impl LastFailure {
    const UNIT_BITS: u32 = 16;
    const AT_BITS: u32 = 40;
    const AT_SHIFT: u32 = 64 - Self::AT_BITS;
    const AT_MASK: u64 = (1 << Self::AT_BITS) - 1;

    /// A failure of this kind, of this attempt (0 is taken for 1), at this time of the clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, LastFailure};
    ///
    /// let failure = LastFailure::new(ErrorKind::Other, 0, 0);
    /// assert_eq!(failure.attempt(), 1);
    /// ```
    #[must_use]
    pub const fn new(kind: ErrorKind, attempt: u16, at_ns: u64) -> Self {
        let attempt = if attempt == 0 { 1 } else { attempt };
        let at = (at_ns >> Self::UNIT_BITS) & Self::AT_MASK;
        Self((at << Self::AT_SHIFT) | ((kind as u64) << 16) | attempt as u64)
    }

    pub(crate) const fn to_word(self) -> u64 {
        self.0
    }

    /// The failure that a word holds, if it holds one.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self(word))
    }

    /// The kind of the failure.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        let index = (self.0 >> 16) as usize & 0xff;
        if index < ErrorKind::COUNT {
            ErrorKind::ALL[index]
        } else {
            ErrorKind::Other
        }
    }

    /// The attempt that failed, counted from 1.
    #[must_use]
    pub const fn attempt(self) -> u16 {
        self.0 as u16
    }

    /// When it failed, in nanoseconds of the clock, cut to a whole unit of 2^16 ns.
    ///
    /// `now_ns` is any time after the failure, and less than 2.28 years after.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, LastFailure};
    ///
    /// let failed_ns = 5 * 65_536 + 7;
    /// let failure = LastFailure::new(ErrorKind::Timeout, 1, failed_ns);
    /// assert_eq!(failure.at_ns(failed_ns + 1_000_000), 5 * 65_536);
    /// ```
    #[must_use]
    pub const fn at_ns(self, now_ns: u64) -> u64 {
        let now = now_ns >> Self::UNIT_BITS;
        let age = now.wrapping_sub(self.0 >> Self::AT_SHIFT) & Self::AT_MASK;
        now.saturating_sub(age) << Self::UNIT_BITS
    }

    /// The later of two that are less than 2^39 units apart, 1.14 years; times are compared
    /// around the 2.28 years after which they repeat.
    fn later(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => {
                let ahead = (a.0 >> Self::AT_SHIFT).wrapping_sub(b.0 >> Self::AT_SHIFT);
                // The sign of the difference, as a number of as many bits as the times have.
                let a_is_later = (ahead >> (Self::AT_BITS - 1)) & 1 == 0;
                Some(if a_is_later { a } else { b })
            }
            (a, b) => a.or(b),
        }
    }
}

/// What one slot held at some moment, or the difference of two such readings.
///
/// `C` is where the histograms' buckets are kept.
///
/// # Examples
///
/// Each side of a baseline counts what happened on its side:
///
/// ```
/// use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
///
/// let layout = Layout::new(3, 20, 1)?;
/// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
/// let slot = Slot::new(&words, layout)?;
/// let call = |latency_ns| {
///     slot.start(0, 1);
///     slot.finish(0, Finish { outcome: Outcome::Success, attempt: 1, finished_at_ns: 0, latency_ns });
/// };
///
/// let mut baseline = Reading::<FixedCounts<16>>::default();
/// call(100);
/// slot.read(&mut baseline)?;
/// call(200);
/// call(300);
/// let mut new = Reading::<FixedCounts<16>>::default();
/// slot.read(&mut new)?;
/// new.subtract(&baseline);
/// assert_eq!(new.count(Outcome::SUCCESS), 2);
/// assert_eq!(new.sum_ns(Outcome::SUCCESS), 500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reading<C> {
    pub(crate) started: u64,
    pub(crate) retried: u64,
    pub(crate) recovered: u64,
    pub(crate) failures: [u64; ErrorKind::COUNT],
    pub(crate) sums_ns: [u64; OutcomeClass::COUNT],
    pub(crate) last_finish: Option<LastFinish>,
    pub(crate) last_failure: Option<LastFailure>,
    pub(crate) counts: [C; OutcomeClass::COUNT],
}

impl<C: BucketCounts> Reading<C> {
    /// Calls that started.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// Calls that ended, however they did.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// for outcome in [Outcome::Success, Outcome::Cancelled] {
    ///     slot.start(0, 1);
    ///     slot.finish(0, Finish::new(outcome, 1, 0, 100));
    /// }
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!(reading.finished(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn finished(&self) -> u64 {
        OutcomeClass::ALL
            .into_iter()
            .fold(0, |sum, class| sum.wrapping_add(self.count(class)))
    }

    /// Calls that started and did not end yet. Only a total knows this, never a difference.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{FixedCounts, Layout, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.start(0, 1);
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!((reading.started(), reading.in_flight()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.started.saturating_sub(self.finished())
    }

    /// Calls that started as a second attempt or a later one.
    #[must_use]
    pub const fn retried(&self) -> u64 {
        self.retried
    }

    /// Successes of a second attempt or a later one.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.start(0, 2);
    /// slot.finish(0, Finish::new(Outcome::Success, 2, 0, 100));
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!((reading.retried(), reading.recovered()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn recovered(&self) -> u64 {
        self.recovered
    }

    /// Failures of one kind.
    #[must_use]
    pub const fn failures(&self, kind: ErrorKind) -> u64 {
        self.failures[kind.index()]
    }

    /// Calls that ended in this class: the sum over its buckets.
    #[must_use]
    pub fn count(&self, class: OutcomeClass) -> u64 {
        self.buckets(class)
            .iter()
            .fold(0, |sum, &(_, count)| sum.wrapping_add(count))
    }

    /// The latencies of the calls that ended in this class, added up, in nanoseconds.
    #[must_use]
    pub const fn sum_ns(&self, class: OutcomeClass) -> u64 {
        self.sums_ns[class.index()]
    }

    /// The buckets of this class that are not empty, in the order of their index.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.start(0, 1);
    /// slot.finish(0, Finish::new(Outcome::Success, 1, 0, 100));
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// let index = layout.buckets().index(100) as u32;
    /// assert_eq!(reading.buckets(Outcome::SUCCESS), [(index, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn buckets(&self, class: OutcomeClass) -> &[BucketCount] {
        self.counts[class.index()].as_slice()
    }

    /// The last finish among successes and failures that ran; a difference has one only if
    /// such a call ended since its baseline.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.start(0, 1);
    /// slot.finish(0, Finish::new(Outcome::Failure(ErrorKind::Rejected), 1, 0, 0));
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!(reading.last_finish(), None); // it never ran
    /// assert!(reading.last_failure().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn last_finish(&self) -> Option<LastFinish> {
        self.last_finish
    }

    /// The last failure; a difference has one only if a call failed since its baseline.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.start(0, 1);
    /// slot.finish(0, Finish::new(Outcome::Failure(ErrorKind::Network), 1, 0, 100));
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// let kind = reading.last_failure().map(|failure| failure.kind());
    /// assert_eq!(kind, Some(ErrorKind::Network));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure
    }

    /// Back to nothing read, keeping the storage.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{FixedCounts, Layout, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.start(0, 1);
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// reading.clear();
    /// assert_eq!(reading.started(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&mut self) {
        let mut counts = core::mem::take(&mut self.counts);
        for histogram in &mut counts {
            histogram.truncate(0);
        }
        *self = Self {
            counts,
            ..Self::default()
        };
    }

    /// Takes away what `baseline`, an earlier reading of the same slot, holds already.
    ///
    /// Counts are subtracted wrapping. A reading that is taken while calls finish may hold the
    /// latency or the kind of a call whose bucket it missed: such a call is counted in the
    /// next difference, its latency in this one. See [`slot`](crate::slot).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{FixedCounts, Layout, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.start(0, 1);
    /// let mut baseline = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut baseline)?;
    /// slot.start(0, 1);
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// reading.subtract(&baseline);
    /// assert_eq!(reading.started(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subtract<D: BucketCounts>(&mut self, baseline: &Reading<D>) {
        self.started = self.started.wrapping_sub(baseline.started);
        self.retried = self.retried.wrapping_sub(baseline.retried);
        self.recovered = self.recovered.wrapping_sub(baseline.recovered);
        for (kind, before) in self.failures.iter_mut().zip(baseline.failures) {
            *kind = kind.wrapping_sub(before);
        }
        for (sum, before) in self.sums_ns.iter_mut().zip(baseline.sums_ns) {
            *sum = sum.wrapping_sub(before);
        }
        for (counts, before) in self.counts.iter_mut().zip(&baseline.counts) {
            subtract_counts(counts, before.as_slice());
        }
        self.forget_lasts_of_none();
    }

    /// Forgets the last failure and the last finish if no call that could have left them is
    /// counted.
    pub(crate) fn forget_lasts_of_none(&mut self) {
        let failed = self.count(OutcomeClass::Failure);
        if failed == 0 {
            self.last_failure = None;
        }
        // A rejected call never ran, so it leaves no last finish.
        let failed_running = failed.saturating_sub(self.failures(ErrorKind::Rejected));
        if self.count(OutcomeClass::Success) == 0 && failed_running == 0 {
            self.last_finish = None;
        }
    }

    /// Notes a finish that some stripe holds, if it is the latest so far.
    pub(crate) fn note_finish(&mut self, finish: LastFinish) {
        if self
            .last_finish
            .is_none_or(|last| last.at_ns <= finish.at_ns)
        {
            self.last_finish = Some(finish);
        }
    }

    /// Notes a failure that some stripe holds, if it is the latest so far.
    pub(crate) fn note_failure(&mut self, failure: Option<LastFailure>) {
        self.last_failure = LastFailure::later(failure, self.last_failure);
    }
}

/// The count of this bucket, 0 if it is not the next.
fn next_count(pairs: &mut Peekable<impl Iterator<Item = BucketCount>>, index: u32) -> u64 {
    pairs
        .next_if(|&(next, _)| next == index)
        .map_or(0, |(_, count)| count)
}

/// Takes the counts of `before` away, and drops the buckets that are then empty.
fn subtract_counts<C: BucketCounts>(counts: &mut C, before: &[BucketCount]) {
    let mut before = before.iter().copied().peekable();
    let pairs = counts.as_mut_slice();
    let mut kept = 0;
    for place in 0..pairs.len() {
        let (index, count) = pairs[place];
        while before.next_if(|&(other, _)| other < index).is_some() {}
        let count = count.wrapping_sub(next_count(&mut before, index));
        if count != 0 {
            pairs[kept] = (index, count);
            kept += 1;
        }
    }
    counts.truncate(kept);
}

/// Adds two histograms of the same layout, bucket by bucket, wrapping.
///
/// # Errors
///
/// [`CountsFull`] if `sum` has no room; it then holds the pairs that fitted.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{reading::add_counts, BucketCounts, FixedCounts};
///
/// let mut sum = FixedCounts::<3>::default();
/// add_counts(&[(1, 5), (7, 1)], &[(1, 2), (3, 4)], &mut sum)?;
/// assert_eq!(sum.as_slice(), [(1, 7), (3, 4), (7, 1)]);
/// # Ok::<(), toolmeter_core::CountsFull>(())
/// ```
pub fn add_counts<C: BucketCounts>(
    a: &[BucketCount],
    b: &[BucketCount],
    sum: &mut C,
) -> Result<(), CountsFull> {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    loop {
        let index = match (a.peek(), b.peek()) {
            (Some(left), Some(right)) => left.0.min(right.0),
            (Some(only), None) | (None, Some(only)) => only.0,
            (None, None) => return Ok(()),
        };
        let count = next_count(&mut a, index).wrapping_add(next_count(&mut b, index));
        sum.push((index, count))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn fixed<const N: usize>(pairs: &[BucketCount]) -> FixedCounts<N> {
        let mut counts = FixedCounts::default();
        for &pair in pairs {
            counts.push(pair).unwrap();
        }
        counts
    }

    fn success(pairs: &[BucketCount]) -> Reading<FixedCounts<8>> {
        Reading {
            counts: [fixed(pairs), fixed(&[]), fixed(&[])],
            ..Reading::default()
        }
    }

    #[test]
    fn full_storage_says_so_and_stays_as_it_was() {
        let mut counts = fixed::<2>(&[(1, 1), (2, 1)]);
        assert_eq!(counts.push((3, 1)), Err(CountsFull { capacity: 2 }));
        assert_eq!(counts.as_slice(), [(1, 1), (2, 1)]);
        assert!(
            CountsFull { capacity: 2 }
                .to_string()
                .contains("more than 2 buckets")
        );
    }

    #[test]
    fn a_difference_drops_what_is_empty_and_keeps_the_order() {
        let mut reading = success(&[(1, 5), (2, 3), (9, 1)]);
        reading.subtract(&success(&[(1, 2), (2, 3)]));
        assert_eq!(reading.buckets(OutcomeClass::Success), [(1, 3), (9, 1)]);
        assert_eq!(reading.count(OutcomeClass::Success), 4);
    }

    #[test]
    fn the_last_of_each_shows_only_if_it_is_new() {
        let failure = LastFailure::new(ErrorKind::Network, 2, 1 << 20);
        let finish = LastFinish {
            at_ns: 1,
            latency_ns: 2,
        };
        let mut total = success(&[(1, 1)]);
        total.counts[OutcomeClass::Failure.index()] = fixed(&[(1, 1)]);
        total.last_failure = Some(failure);
        total.last_finish = Some(finish);

        let mut nothing_new = total.clone();
        nothing_new.subtract(&total);
        assert_eq!(nothing_new.last_failure(), None);
        assert_eq!(nothing_new.last_finish(), None);

        let mut failed = total.clone();
        failed.subtract(&success(&[(1, 1)]));
        assert_eq!(failed.last_failure(), Some(failure));
        assert_eq!(failed.last_finish(), Some(finish));

        let mut rejected = total.clone();
        rejected.failures[ErrorKind::Rejected.index()] = 1;
        rejected.subtract(&success(&[(1, 1)]));
        assert_eq!(rejected.last_failure(), Some(failure));
        assert_eq!(rejected.last_finish(), None, "a rejected call never ran");
    }

    #[test]
    fn the_word_of_a_failure_keeps_kind_attempt_and_time() {
        let year_ns = 365 * 86_400 * 1_000_000_000_u64;
        for kind in ErrorKind::ALL {
            for attempt in [1, 2, u16::MAX] {
                for at_ns in [0, 1 << 16, 3 * year_ns] {
                    let failure = LastFailure::new(kind, attempt, at_ns);
                    let read = LastFailure::from_word(failure.to_word()).unwrap();
                    assert_eq!((read.kind(), read.attempt()), (kind, attempt));
                    assert_eq!(read.at_ns(at_ns + year_ns), at_ns >> 16 << 16);
                }
            }
        }
        assert_eq!(LastFailure::new(ErrorKind::Panic, 0, 0).attempt(), 1);
        assert_eq!(LastFailure::from_word(0), None);
    }

    #[test]
    fn a_kind_that_this_version_does_not_know_is_read_as_other() {
        for unknown in [ErrorKind::COUNT as u64, 0xff] {
            let failure = LastFailure::from_word(unknown << 16 | 1).unwrap();
            assert_eq!(failure.kind(), ErrorKind::Other);
        }
    }

    #[test]
    fn the_later_failure_wins_also_when_the_time_has_wrapped() {
        let end_ns = (1_u64 << 56) - (1 << 16);
        let before = LastFailure::new(ErrorKind::Other, 1, end_ns);
        let after = LastFailure::new(ErrorKind::Network, 1, end_ns + (1 << 17));
        for (a, b) in [(before, after), (after, before)] {
            assert_eq!(LastFailure::later(Some(a), Some(b)), Some(after));
        }
        assert_eq!(LastFailure::later(None, Some(before)), Some(before));
        assert_eq!(LastFailure::later(Some(before), None), Some(before));
    }

    fn histogram() -> impl Strategy<Value = BTreeMap<u32, u64>> {
        prop::collection::btree_map(0_u32..40, 1_u64..1_000, 0..20)
    }

    fn pairs(histogram: &BTreeMap<u32, u64>) -> Vec<BucketCount> {
        histogram
            .iter()
            .map(|(&index, &count)| (index, count))
            .collect()
    }

    #[test]
    #[cfg(feature = "std")]
    fn a_cleared_reading_keeps_its_storage() {
        let mut reading = Reading::<std::vec::Vec<BucketCount>>::default();
        for counts in &mut reading.counts {
            counts.extend((0..100).map(|index| (index, 1)));
        }
        reading.clear();
        for counts in &reading.counts {
            assert!(counts.is_empty() && counts.capacity() >= 100);
        }
    }

    /// Pushes, cuts and changes in place, and compares with the plain list after each.
    #[cfg(feature = "std")]
    fn keeps_what_it_is_given<C: BucketCounts>(given: &[BucketCount], len: usize) {
        let mut counts = C::default();
        let mut expected = Vec::new();
        for &pair in given {
            counts.push(pair).unwrap();
            expected.push(pair);
            assert_eq!(counts.as_slice(), expected);
        }
        counts.truncate(len);
        expected.truncate(len);
        assert_eq!(counts.as_slice(), expected);
        for pairs in [counts.as_mut_slice(), &mut expected] {
            for pair in pairs {
                pair.1 += 1;
            }
        }
        assert_eq!(counts.as_slice(), expected);
    }

    proptest! {
        #[test]
        #[cfg(feature = "std")]
        fn every_storage_keeps_what_it_is_given(given in histogram(), len in 0_usize..30) {
            keeps_what_it_is_given::<FixedCounts<20>>(&pairs(&given), len);
            keeps_what_it_is_given::<std::vec::Vec<BucketCount>>(&pairs(&given), len);
        }

        #[test]
        fn adding_and_subtracting_agree_with_a_map(a in histogram(), b in histogram()) {
            let mut expected = a.clone();
            for (&index, &count) in &b {
                *expected.entry(index).or_default() += count;
            }
            let mut sum = FixedCounts::<40>::default();
            add_counts(&pairs(&a), &pairs(&b), &mut sum).unwrap();
            prop_assert_eq!(sum.as_slice(), pairs(&expected));
            subtract_counts(&mut sum, &pairs(&b));
            prop_assert_eq!(sum.as_slice(), pairs(&a));
        }
    }
}
