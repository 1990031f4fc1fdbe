//! The last finish and the last failure of a reading.

use super::{Reading, Tally};
use crate::error_kind::ErrorKind;

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
    /// The time of the end, in nanoseconds of the clock.
    pub at_ns: u64,
    /// The duration, in nanoseconds.
    pub latency_ns: u64,
}

/// The call that failed last, encoded in one word.
///
/// | bits | content |
/// | --- | --- |
/// | 24 to 63 | the time, in units of 2^16 ns (65.5 us), modulo 2^40 units (2.28 years) |
/// | 16 to 23 | the index of the error kind |
/// | 0 to 15 | the attempt, at least 1, so that a word of 0 encodes that there is no failure |
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

    /// Creates a failure of this kind, of this attempt (0 is treated as 1), at this time in nanoseconds
    /// of the clock.
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

    /// Returns the word that encodes the failure.
    pub(crate) const fn to_word(self) -> u64 {
        self.0
    }

    /// Returns the failure that a word encodes, or `None` for a word of 0.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self(word))
    }

    /// Returns the kind of the failure. An index that this version does not know is read as
    /// [`ErrorKind::Other`].
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

    /// Returns the time of the failure in nanoseconds of the clock, rounded down to a unit of 2^16 ns.
    ///
    /// `now_ns` is any time from the failure to less than 2.28 years after it.
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

    /// Returns the later of two failures that are less than 2^39 units (1.14 years) apart. Times wrap
    /// after 2.28 years, and are compared accordingly.
    fn later(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => {
                let ahead = (a.0 >> Self::AT_SHIFT).wrapping_sub(b.0 >> Self::AT_SHIFT);
                // The sign bit of the difference, which has as many bits as the times.
                let a_is_later = (ahead >> (Self::AT_BITS - 1)) & 1 == 0;
                Some(if a_is_later { a } else { b })
            }
            (a, b) => a.or(b),
        }
    }
}

impl<C: Tally> Reading<C> {
    /// Returns the last finish among successes and failures, if there is one. A difference has one only
    /// if such a call ended since its baseline.
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

    /// Returns the last failure, if there is one. A difference has one only if a call failed since its
    /// baseline.
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

    /// Removes the last failure and the last finish if no counted call can have left them.
    pub(crate) fn forget_lasts_of_none(&mut self) {
        let [success, failure, _] = &self.counts;
        if failure.is_empty() {
            self.last_failure = None;
            if success.is_empty() {
                self.last_finish = None;
            }
        }
    }

    /// Replaces the last finish if this one is not earlier.
    pub(crate) fn note_finish(&mut self, finish: LastFinish) {
        if self
            .last_finish
            .is_none_or(|last| last.at_ns <= finish.at_ns)
        {
            self.last_finish = Some(finish);
        }
    }

    /// Replaces the last failure if this one is not earlier.
    pub(crate) fn note_failure(&mut self, failure: Option<LastFailure>) {
        self.last_failure = LastFailure::later(failure, self.last_failure);
    }
}

#[cfg(test)]
mod tests;
