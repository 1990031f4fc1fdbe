//! The end of a call.

use crate::outcome::Outcome;

/// The most that one call adds to a latency sum: 2^53 ns, 104 days.
///
/// So a clock that errs by centuries cannot make a sum useless.
///
/// # Examples
///
/// ```
/// use toolmeter_core::slot::MAX_SUMMED_LATENCY_NS;
/// use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
///
/// let layout = Layout::new(3, 20, 1)?;
/// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
/// let slot = Slot::new(&words, layout)?;
/// slot.start(0, 1);
/// slot.finish(0, Finish::new(Outcome::Success, 1, 0, u64::MAX));
/// let mut reading = Reading::<FixedCounts<8>>::default();
/// slot.read(&mut reading)?;
/// assert_eq!(reading.sum_ns(Outcome::SUCCESS), MAX_SUMMED_LATENCY_NS);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const MAX_SUMMED_LATENCY_NS: u64 = 1 << 53;

/// The end of a call, for [`Slot::finish`].
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, Finish, Outcome};
///
/// let finish = Finish::new(Outcome::Failure(ErrorKind::Timeout), 2, 1_000, 250);
/// assert_eq!(finish.attempt, 2);
/// assert_eq!(finish.finished_at_ns, 1_250);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// How it ended.
    pub outcome: Outcome,
    /// Which attempt it was, counted from 1.
    pub attempt: u16,
    /// When it ended, in nanoseconds of the clock.
    pub finished_at_ns: u64,
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
}

impl Finish {
    /// Describes the end of a call that started at `started_ns` and took `latency_ns`.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Finish, Outcome};
    ///
    /// let finish = Finish::new(Outcome::Cancelled, 1, 1_000, u64::MAX);
    /// assert_eq!(finish.finished_at_ns, u64::MAX); // the sum saturates
    /// ```
    #[must_use]
    #[inline]
    pub const fn new(outcome: Outcome, attempt: u16, started_ns: u64, latency_ns: u64) -> Self {
        Self {
            outcome,
            attempt,
            finished_at_ns: started_ns.saturating_add(latency_ns),
            latency_ns,
        }
    }
}
