//! The end of a call, and the limit on the latency that it adds to a sum.

use crate::outcome::Outcome;

/// The most that one call adds to a sum of latencies: 2^53 ns, 104 days.
///
/// The bound keeps a sum meaningful if the clock errs by centuries.
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

/// The end of a call, for [`Slot::finish`](super::Slot::finish).
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
    /// The way in which the call ended.
    pub outcome: Outcome,
    /// The number of the attempt, counted from 1.
    pub attempt: u16,
    /// The time of the end, in nanoseconds of the clock.
    pub finished_at_ns: u64,
    /// The duration, in nanoseconds.
    pub latency_ns: u64,
}

impl Finish {
    /// Creates the end of a call that started at `started_ns` and took `latency_ns`. Their sum, the time
    /// of the end, saturates.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Finish, Outcome};
    ///
    /// let finish = Finish::new(Outcome::Cancelled, 1, 1_000, u64::MAX);
    /// assert_eq!(finish.finished_at_ns, u64::MAX);
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
