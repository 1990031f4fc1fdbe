//! The contents of a slot as they were read, and sums and differences of them.
//!
//! A [`Reading`] is sparse: it has only the buckets of each histogram that are not empty, by
//! ascending index. The caller chooses their storage through [`BucketCounts`]: [`FixedCounts`] needs
//! no allocator, and with the feature `std` a `Vec` grows as needed. A reading of [`CountOnly`] stores
//! no buckets; [`Slot::visit`](crate::Slot::visit) passes them to a closure.
//!
//! # Differences
//!
//! A slot is not zeroed while calls run. The counts since some moment are the reading now minus the
//! reading then, the *baseline*; [`Reading::subtract`] computes them, wrapping. So a call is counted on
//! exactly one side of a baseline, whatever ran while the baseline was read. The number of calls in
//! flight is not a difference: take [`Reading::in_flight`] from a total.

mod arithmetic;
mod counts;
mod last;
mod tally;

pub use counts::{BucketCount, BucketCounts, CountsFull, FixedCounts};
pub use last::{LastFailure, LastFinish};
pub use tally::{CountOnly, Tally};

use crate::error_kind::ErrorKind;
use crate::outcome::OutcomeClass;

/// The contents of one slot as they were read, or a sum or difference of such readings.
///
/// `C` is the storage of one histogram's buckets.
///
/// # Examples
///
/// The calls since a baseline:
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
    /// The number of calls that started or were rejected.
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
    /// Creates an empty reading. It may be part of a `static`.
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
    /// Creates an empty reading that stores no buckets. It may be part of a `static`.
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
        Self::of([CountOnly::NONE; OutcomeClass::COUNT])
    }
}

impl<C> Reading<C> {
    /// Creates an empty reading with this storage.
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
    /// In a difference, a call that started before the baseline and was rejected since is subtracted
    /// from those that started since. The result is at least 0.
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

    /// Returns the number of calls that were rejected before the tool ran, whether or not they had been
    /// counted as started.
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

    /// Returns whether no call started, was rejected or ended.
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

    /// Returns the number of calls that ended and were not rejected: successes, failures and cancelled
    /// calls.
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

    /// Returns the number of calls that started and have neither ended nor been rejected. It is
    /// meaningful only for a total, not for a difference.
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

    /// Returns the number of calls that started as a second or later attempt, however they ended.
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

    /// Returns the number of successes of a second or later attempt.
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

    /// Returns the number of calls that ended in this class, which is the sum of its buckets.
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

    /// Empties the reading and keeps its storage.
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
        // Field by field: an empty reading to assign would take too much stack on a microcontroller.
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
}

impl<C: BucketCounts> Reading<C> {
    /// Returns the buckets of this class that are not empty, by ascending index.
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
}

#[cfg(test)]
mod tests;
