//! What was read from a slot: counts, sums, the last finish and the last failure; and the
//! difference or the sum of two readings.
//!
//! A [`Reading`] is sparse: of each histogram it holds only the buckets that are not empty, in
//! the order of their index. Where those pairs are kept is the caller's choice, through
//! [`BucketCounts`]: a [`FixedCounts`] needs no allocator, and with the feature `std` a `Vec`
//! grows as needed. A reading of [`CountOnly`] keeps no pairs at all: they are told one by one as
//! they are read.
//!
//! # Differences
//!
//! A slot is not zeroed while calls run. What happened since some moment is the reading now less the
//! reading then, the *baseline*; [`Reading::subtract`] computes it, wrapping. So a call is
//! counted on exactly one side of a baseline, whatever ran while it was read. Calls in flight
//! are the one thing that is never a difference: take [`Reading::in_flight`] from a total.

use crate::outcome::{ErrorKind, OutcomeClass};
use core::{fmt, iter::Peekable};

/// A bucket's index and its count: `(index, count)`, the count never 0.
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

    /// Returns the pairs, in the order of their index.
    fn as_slice(&self) -> &[BucketCount];

    /// Returns the pairs, to be changed in place.
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

impl<const N: usize> FixedCounts<N> {
    /// Creates storage that holds no pair; it may be part of a `static`.
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

/// What a [`Reading`] must know of the buckets of one histogram: how many calls they count.
///
/// Every [`BucketCounts`] tells it by adding up; a [`CountOnly`] keeps nothing else.
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

    /// Empties all buckets, keeping the storage.
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

/// How many calls a histogram counts, without its buckets: for [`Slot::visit`](crate::Slot::visit).
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
    /// Counts the calls of one bucket that is not empty.
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

/// The error of a [`BucketCounts`] that has no room for another bucket; give it more.
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
    /// The number of pairs that it holds.
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

/// The end of the call that finished last, among successes and failures.
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

    /// Describes a failure of this kind, of this attempt (0 is taken for 1), at this time of the clock.
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

    /// Returns the failure that a word holds, if it holds one.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self(word))
    }

    /// Returns the kind of the failure.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, LastFailure};
    ///
    /// let failure = LastFailure::new(ErrorKind::Network, 1, 0);
    /// assert_eq!(failure.kind(), ErrorKind::Network);
    /// ```
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        let index = (self.0 >> 16) as usize & 0xff;
        if index < ErrorKind::COUNT {
            ErrorKind::ALL[index]
        } else {
            ErrorKind::Other
        }
    }

    /// Returns the attempt that failed, counted from 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, LastFailure};
    ///
    /// assert_eq!(LastFailure::new(ErrorKind::Network, 3, 0).attempt(), 3);
    /// ```
    #[must_use]
    pub const fn attempt(self) -> u16 {
        self.0 as u16
    }

    /// Returns when it failed, in nanoseconds of the clock, cut to a whole unit of 2^16 ns.
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

    /// Returns the later of two that are less than 2^39 units apart, 1.14 years; times are compared
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

/// The contents of one slot at some moment, or a difference or sum of such readings.
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
    /// Calls that started or were rejected.
    pub(crate) entered: u64,
    pub(crate) rejected: u64,
    pub(crate) retried: u64,
    pub(crate) recovered: u64,
    pub(crate) failures: [u64; ErrorKind::COUNT],
    pub(crate) sums_ns: [u64; OutcomeClass::COUNT],
    pub(crate) last_finish: Option<LastFinish>,
    pub(crate) last_failure: Option<LastFailure>,
    pub(crate) counts: [C; OutcomeClass::COUNT],
}

impl<const N: usize> Reading<FixedCounts<N>> {
    /// Creates a reading of nothing; it may be part of a `static`.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{FixedCounts, Reading};
    ///
    /// static EMPTY: Reading<FixedCounts<64>> = Reading::new();
    /// assert!(EMPTY.is_empty());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self::of([const { FixedCounts::new() }; OutcomeClass::COUNT])
    }
}

impl Reading<CountOnly> {
    /// Creates a reading of nothing that keeps no buckets.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{CountOnly, Reading};
    ///
    /// static EMPTY: Reading<CountOnly> = Reading::without_buckets();
    /// assert!(EMPTY.is_empty());
    /// ```
    #[must_use]
    pub const fn without_buckets() -> Self {
        let none = CountOnly {
            total: 0,
            any: false,
        };
        Self::of([none; OutcomeClass::COUNT])
    }
}

impl<C> Reading<C> {
    const fn of(counts: [C; OutcomeClass::COUNT]) -> Self {
        Self {
            entered: 0,
            rejected: 0,
            retried: 0,
            recovered: 0,
            failures: [0; ErrorKind::COUNT],
            sums_ns: [0; OutcomeClass::COUNT],
            last_finish: None,
            last_failure: None,
            counts,
        }
    }
}

impl<C: Tally> Reading<C> {
    /// Returns the number of calls that started and were not rejected.
    ///
    /// In a difference, a call that had started before the baseline and was rejected since is
    /// taken away from those that started since; the result is at least 0.
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
    /// slot.start(0, 1);
    /// slot.finish(0, Finish::new(Outcome::Rejected, 1, 0, 0));
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!((reading.started(), reading.rejected()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn started(&self) -> u64 {
        // The sign of the difference, since both counters wrap.
        let started = self.entered.wrapping_sub(self.rejected);
        if (started as i64) < 0 { 0 } else { started }
    }

    /// Returns the number of calls that were refused before the tool ran, whether or not they
    /// had been counted as started.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{FixedCounts, Layout, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.reject(0);
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!((reading.started(), reading.rejected()), (0, 1));
    /// assert_eq!((reading.finished(), reading.in_flight()), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Returns whether there is nothing: no call entered, and none ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{FixedCounts, Layout, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert!(reading.is_empty());
    /// slot.start(0, 1);
    /// slot.read(&mut reading)?;
    /// assert!(!reading.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entered == 0 && self.rejected == 0 && self.counts.iter().all(C::is_empty)
    }

    /// Returns the number of calls that ended after the tool ran: successes, failures and
    /// cancelled calls, but not rejected ones.
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

    /// Returns the number of calls that started and neither ended nor were rejected. Only a total
    /// knows this, never a difference.
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
        let ended = self.finished().wrapping_add(self.rejected);
        self.entered.saturating_sub(ended)
    }

    /// Returns the number of calls that started as a second attempt or a later one, whatever became
    /// of them.
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
    /// slot.start(0, 2);
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!(reading.retried(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn retried(&self) -> u64 {
        self.retried
    }

    /// Returns the number of successes of a second attempt or a later one.
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

    /// Returns the number of failures of one kind.
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
    /// slot.finish(0, Finish::new(Outcome::Failure(ErrorKind::ToolError), 1, 0, 100));
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!(reading.failures(ErrorKind::ToolError), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn failures(&self, kind: ErrorKind) -> u64 {
        self.failures[kind.index()]
    }

    /// Returns the number of calls that ended in this class: the sum over its buckets.
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
    /// assert_eq!(reading.count(Outcome::SUCCESS), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn count(&self, class: OutcomeClass) -> u64 {
        self.counts[class.index()].total()
    }

    /// Returns the sum of the latencies of the calls that ended in this class, in nanoseconds.
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
    /// assert_eq!(reading.sum_ns(Outcome::SUCCESS), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn sum_ns(&self, class: OutcomeClass) -> u64 {
        self.sums_ns[class.index()]
    }

    /// Returns the last finish among successes and failures; a difference has one only if such a
    /// call ended since its baseline.
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
    ///     slot.finish(0, Finish::new(outcome, 1, 1_000, 250));
    /// }
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// let last = reading.last_finish().map(|last| last.at_ns);
    /// assert_eq!(last, Some(1_250));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn last_finish(&self) -> Option<LastFinish> {
        self.last_finish
    }

    /// Returns the last failure; a difference has one only if a call failed since its baseline.
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

    /// Empties the reading, keeping the storage.
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
    /// assert!(reading.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&mut self) {
        // Field by field: a copy of the whole would not fit the stack of a small machine.
        let Self {
            entered,
            rejected,
            retried,
            recovered,
            failures,
            sums_ns,
            last_finish,
            last_failure,
            counts,
        } = self;
        for counter in [entered, rejected, retried, recovered] {
            *counter = 0;
        }
        failures.fill(0);
        sums_ns.fill(0);
        *last_finish = None;
        *last_failure = None;
        counts.iter_mut().for_each(C::clear);
    }

    /// Forgets the last failure and the last finish if no call that could have left them is
    /// counted.
    pub(crate) fn forget_lasts_of_none(&mut self) {
        let [success, failure, _] = &self.counts;
        if failure.is_empty() {
            self.last_failure = None;
            if success.is_empty() {
                self.last_finish = None;
            }
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

impl<C: BucketCounts> Reading<C> {
    /// Returns the buckets of this class that are not empty, in the order of their index.
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
        self.entered = self.entered.wrapping_sub(baseline.entered);
        self.rejected = self.rejected.wrapping_sub(baseline.rejected);
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

    /// Adds what `other`, a reading of a slot of the same layout, holds.
    ///
    /// Counts are added wrapping, the histograms bucket by bucket. The last finish and the last
    /// failure are the later of both.
    ///
    /// # Errors
    ///
    /// [`CountsFull`] if this reading has no room for the buckets of both; it is then unchanged.
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
    /// let mut sum = reading.clone();
    /// sum.add(&reading)?;
    /// assert_eq!(sum.count(Outcome::SUCCESS), 2);
    /// assert_eq!(sum.sum_ns(Outcome::SUCCESS), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add<D: BucketCounts>(&mut self, other: &Reading<D>) -> Result<(), CountsFull> {
        let lens = self.counts.each_ref().map(|counts| counts.as_slice().len());
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            if let Err(full) = make_room(counts, more.as_slice()) {
                for (counts, len) in self.counts.iter_mut().zip(lens) {
                    counts.truncate(len);
                }
                return Err(full);
            }
        }
        for ((counts, len), more) in self.counts.iter_mut().zip(lens).zip(&other.counts) {
            add_counts(counts, len, more.as_slice());
        }
        self.entered = self.entered.wrapping_add(other.entered);
        self.rejected = self.rejected.wrapping_add(other.rejected);
        self.retried = self.retried.wrapping_add(other.retried);
        self.recovered = self.recovered.wrapping_add(other.recovered);
        for (kind, more) in self.failures.iter_mut().zip(other.failures) {
            *kind = kind.wrapping_add(more);
        }
        for (sum, more) in self.sums_ns.iter_mut().zip(other.sums_ns) {
            *sum = sum.wrapping_add(more);
        }
        self.note_failure(other.last_failure);
        if let Some(finish) = other.last_finish {
            self.note_finish(finish);
        }
        Ok(())
    }
}

/// Returns the count of this bucket, 0 if there is none, and skips all pairs up to it. Asked for
/// ascending indices.
fn count_of(pairs: &mut Peekable<impl Iterator<Item = BucketCount>>, index: u32) -> u64 {
    while pairs.next_if(|&(other, _)| other < index).is_some() {}
    pairs
        .next_if(|&(other, _)| other == index)
        .map_or(0, |(_, count)| count)
}

/// Takes the counts of `before` away, and drops the buckets that are then empty.
fn subtract_counts<C: BucketCounts>(counts: &mut C, before: &[BucketCount]) {
    let mut before = before.iter().copied().peekable();
    for (index, count) in counts.as_mut_slice() {
        *count = count.wrapping_sub(count_of(&mut before, *index));
    }
    drop_empty(counts);
}

/// Appends a pair to be replaced for each bucket of `more` that `counts` has not.
fn make_room<C: BucketCounts>(counts: &mut C, more: &[BucketCount]) -> Result<(), CountsFull> {
    let mut own = counts.as_slice().iter().copied().peekable();
    let missing = more
        .iter()
        .filter(|&&(index, _)| count_of(&mut own, index) == 0)
        .count();
    let last = |pairs: &[BucketCount]| pairs.last().map_or(0, |&(index, _)| index);
    let end = last(counts.as_slice()).max(last(more));
    for index in (end..).skip(1).take(missing) {
        counts.push((index, 1))?;
    }
    Ok(())
}

/// Adds `more` to the first `len` pairs, wrapping. There is room behind them for the buckets that
/// they have not, from [`make_room`].
fn add_counts<C: BucketCounts>(counts: &mut C, len: usize, mut more: &[BucketCount]) {
    let pairs = counts.as_mut_slice();
    let mut left = len;
    // From the end, so that each pair is moved before its place is taken.
    for place in (0..pairs.len()).rev() {
        let own = pairs[..left].last().copied();
        let other = more.last().copied();
        let index = own.max(other).map_or(0, |(index, _)| index);
        let mut sum = 0_u64;
        if let Some((_, count)) = own.filter(|own| own.0 == index) {
            sum = count;
            left -= 1;
        }
        if let Some((_, count)) = other.filter(|other| other.0 == index) {
            sum = sum.wrapping_add(count);
            more = &more[..more.len() - 1];
        }
        pairs[place] = (index, sum);
    }
    drop_empty(counts);
}

/// Drops the pairs whose count is 0.
fn drop_empty<C: BucketCounts>(counts: &mut C) {
    let pairs = counts.as_mut_slice();
    let mut kept = 0;
    for place in 0..pairs.len() {
        if pairs[place].1 != 0 {
            pairs[kept] = pairs[place];
            kept += 1;
        }
    }
    counts.truncate(kept);
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

        let mut succeeded = total.clone();
        succeeded.counts[OutcomeClass::Success.index()] = fixed(&[(1, 2)]);
        succeeded.subtract(&total);
        assert_eq!(succeeded.last_failure(), None);
        assert_eq!(succeeded.last_finish(), Some(finish));
    }

    #[test]
    fn a_sum_has_the_later_of_the_last() {
        let noted = |at_ns| {
            let mut reading = success(&[(1, 1)]);
            reading.note_finish(LastFinish {
                at_ns,
                latency_ns: at_ns / 2,
            });
            reading.note_failure(Some(LastFailure::new(ErrorKind::Network, 1, at_ns)));
            reading
        };
        let (early, late) = (noted(1 << 20), noted(1 << 21));
        for (a, b) in [(&early, &late), (&late, &early), (&late, &success(&[]))] {
            for (a, b) in [(a, b), (b, a)] {
                let mut sum = a.clone();
                sum.add(b).unwrap();
                assert_eq!(sum.last_finish(), late.last_finish());
                assert_eq!(sum.last_failure(), late.last_failure());
            }
        }
    }

    #[test]
    fn a_sum_that_does_not_fit_leaves_the_reading_as_it_was() {
        let mut reading = success(&[(1, 1), (2, 1)]);
        reading.counts[OutcomeClass::Cancelled.index()] = fixed(&[(0, 1), (1, 1)]);
        let mut other = success(&[(1, 1)]);
        other.entered = 1;
        other.counts[OutcomeClass::Cancelled.index()] =
            fixed(&[2, 3, 4, 5, 6, 7, 8].map(|index| (index, 1)));
        assert_eq!(reading.add(&other), Err(CountsFull { capacity: 8 }));
        assert_eq!(reading.entered, 0);
        assert_eq!(reading.buckets(OutcomeClass::Success), [(1, 1), (2, 1)]);
        assert_eq!(reading.buckets(OutcomeClass::Cancelled), [(0, 1), (1, 1)]);
    }

    #[test]
    fn a_bucket_that_wraps_to_nothing_is_dropped() {
        let mut reading = success(&[(1, u64::MAX), (2, 1)]);
        reading.add(&success(&[(1, 1)])).unwrap();
        assert_eq!(reading.buckets(OutcomeClass::Success), [(2, 1)]);
    }

    #[test]
    fn only_a_reading_of_nothing_is_empty() {
        let empty = Reading::<FixedCounts<8>>::default;
        assert!(empty().is_empty());
        let entered = Reading {
            entered: 1,
            ..empty()
        };
        let rejected = Reading {
            rejected: 1,
            ..empty()
        };
        let mut cancelled = empty();
        cancelled.counts[OutcomeClass::Cancelled.index()] = fixed(&[(3, 1)]);
        for reading in [entered, rejected, success(&[(3, 1)]), cancelled] {
            assert!(!reading.is_empty(), "{reading:?}");
        }
    }

    #[test]
    fn started_is_right_when_the_counters_wrap_and_never_negative() {
        let started = |entered, rejected| {
            Reading::<FixedCounts<1>> {
                entered,
                rejected,
                ..Reading::default()
            }
            .started()
        };
        assert_eq!(started(5, 2), 3);
        assert_eq!(started(0, 1), 0);
        assert_eq!(started(1, u64::MAX), 2);
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

    fn reading() -> impl Strategy<Value = Reading<FixedCounts<40>>> {
        let counter = || 0_u64..=u64::MAX;
        let lasts = (any::<bool>(), 0_u64..1 << 40);
        (
            prop::array::uniform4(counter()),
            prop::array::uniform10(counter()),
            prop::array::uniform3(counter()),
            prop::array::uniform3(histogram()),
            lasts,
        )
            .prop_map(|(counters, failures, sums_ns, counts, (ran, at_ns))| {
                let [entered, rejected, retried, recovered] = counters;
                Reading {
                    entered,
                    rejected,
                    retried,
                    recovered,
                    failures,
                    sums_ns,
                    last_finish: ran.then_some(LastFinish {
                        at_ns,
                        latency_ns: at_ns,
                    }),
                    last_failure: ran.then(|| LastFailure::new(ErrorKind::Panic, 1, at_ns)),
                    counts: counts.map(|counts| fixed(&pairs(&counts))),
                }
            })
    }

    type Compared<'a> = (
        [u64; 4],
        [u64; ErrorKind::COUNT],
        [u64; OutcomeClass::COUNT],
        [&'a [BucketCount]; OutcomeClass::COUNT],
    );

    /// Everything that is counted: all but the last finish and the last failure.
    fn counted<C: BucketCounts>(reading: &Reading<C>) -> Compared<'_> {
        (
            [
                reading.entered,
                reading.rejected,
                reading.retried,
                reading.recovered,
            ],
            reading.failures,
            reading.sums_ns,
            OutcomeClass::ALL.map(|class| reading.buckets(class)),
        )
    }

    fn sum(a: &Reading<FixedCounts<40>>, b: &Reading<FixedCounts<40>>) -> Reading<FixedCounts<40>> {
        let mut sum = a.clone();
        sum.add(b).unwrap();
        sum
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
        fn subtracting_what_was_added_gives_back_the_first(a in reading(), b in reading()) {
            let mut both = sum(&a, &b);
            both.subtract(&b);
            prop_assert_eq!(counted(&both), counted(&a));
        }

        #[test]
        fn readings_are_added_in_any_order(a in reading(), b in reading(), c in reading()) {
            let (ab, ba) = (sum(&a, &b), sum(&b, &a));
            prop_assert_eq!(counted(&ab), counted(&ba));
            prop_assert_eq!(ab.last_finish(), ba.last_finish());
            prop_assert_eq!(ab.last_failure().map(|last| last.at_ns(1 << 40)),
                ba.last_failure().map(|last| last.at_ns(1 << 40)));
            let (left, right) = (sum(&ab, &c), sum(&a, &sum(&b, &c)));
            prop_assert_eq!(counted(&left), counted(&right));
        }

        #[test]
        fn adding_and_subtracting_agree_with_a_map(a in histogram(), b in histogram()) {
            let mut expected = a.clone();
            for (&index, &count) in &b {
                *expected.entry(index).or_default() += count;
            }
            let mut sum = fixed::<40>(&pairs(&a));
            make_room(&mut sum, &pairs(&b)).unwrap();
            prop_assert_eq!(sum.as_slice().len(), expected.len());
            add_counts(&mut sum, a.len(), &pairs(&b));
            prop_assert_eq!(sum.as_slice(), pairs(&expected));
            subtract_counts(&mut sum, &pairs(&b));
            prop_assert_eq!(sum.as_slice(), pairs(&a));
        }
    }
}
