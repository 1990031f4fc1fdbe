//! One tool's counters over borrowed atomic words: start, finish, reject, read, clear.
//!
//! # What a call writes
//!
//! A call writes the stripe that its caller names, ideally one that no other thread writes at
//! that moment. Stripes are a matter of speed only: every write is an atomic addition, so any
//! number of threads may share one, and a call may start on one stripe and finish on another.
//!
//! * A start adds 1 to `started`, and to `retried` if it is not the first attempt.
//! * A finish adds the latency to the sum of its outcome, 1 to its error kind, sets the
//!   occupancy bit of its bucket's group, and then, last of all, adds 1 to the bucket. That
//!   addition *is* the count: there is no other, so a count and its histogram never disagree.
//! * A rejection adds 1 to `rejected`, and nothing else: a call that was refused has no latency.
//!   If it was refused before it started, 1 is added to `started` first, so `started` counts every
//!   call that entered, and what is neither counted in a bucket nor in `rejected` is in flight.
//!
//! Nothing is zeroed while calls run; see [`reading`](crate::reading) for how a reset works all
//! the same. [`Slot::clear`] zeroes a slot that no thread uses any more.
//!
//! # What a finish costs
//!
//! NB: on Zen 4 the reading of the time-stamp counter waits until the addresses of all earlier
//! stores are known, and the address of the bucket is known only when the latency is. So each
//! cycle between the clock's answer and that address is paid in full by whoever reads the clock
//! next (6 ns of a call, when calls follow each other at once), while the locked additions cost
//! nothing beside it. Therefore clamping is a branch to a cold function and not a selection, short
//! values take a branch of their own (see [`Buckets`]), and the place of a bucket is three times
//! its index.
//!
//! # What a reader sees
//!
//! A reader first loads the occupancy and the buckets of all stripes, then everything else
//! that a finish or a rejection wrote, then `started` of all stripes. Of this follows, while calls
//! run:
//!
//! 1. *In flight is never negative.* An increment of a bucket or of `rejected` that the reader
//!    saw happened after the `started` increment of its call, on whichever thread, and the reader
//!    loads `started` after both. It may be too high by the calls that began while the slot was
//!    read.
//! 2. *A counted finish is complete.* If the reader saw the bucket of a call, it sees its
//!    kind, its latency and its `recovered` too. It may see those of a call whose bucket it
//!    missed; the next reading then counts that call.
//! 3. *No counter goes back.* Each word only grows, so what a later reader in the same or a
//!    synchronised thread sees is at least what was seen before. [`Reading::started`] is no
//!    counter but a difference: a call that is rejected after its start is taken out of it.
//!
//! At rest, everything agrees.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model that fails when it is weakened |
//! | --- | --- | --- | --- | --- |
//! | bucket | `fetch_add` in `finish` | `Release` | the reader's load of the bucket | `in_flight_is_never_negative`, `a_counted_finish_is_complete`, `a_first_counted_finish_is_complete` |
//! | bucket | `load` in `read` | `Acquire` | the addition in `finish` | the same three |
//! | `rejected` | `fetch_add` in `finish` and `reject` | `Release` | the reader's load of `rejected` | `a_call_rejected_after_its_start_has_entered`, `a_call_rejected_before_its_start_has_entered` |
//! | `rejected` | `load` in `read` | `Acquire` | the addition in `finish` and `reject` | the same two |
//! | all others | any | `Relaxed` | ordered by the bucket or by `rejected`; in `clear`, by its caller | |
//!
//! The bucket's release covers the start, too: it precedes the finish in the thread that runs
//! the call, or happened before it if the call was handed to another thread. Additions by
//! other threads to the same bucket continue the release sequence, so a reader that sees a
//! count of 5 has synchronised with all five finishes. The same holds for `rejected`.
//!
//! The last finish is two words, and calls that finish at the same moment on a shared stripe
//! may mix theirs: a time of one, a latency of the other.

mod finish;
mod read;
mod stripe;

pub use finish::{Finish, MAX_SUMMED_LATENCY_NS};
pub use stripe::Stripe;

use crate::layout::Layout;
use crate::sync::Word;
use core::fmt;

/// A view of the words of one tool.
///
/// Copying it is free; all methods take `&self`, from any number of threads at once, and none
/// of them waits, allocates or makes a system call.
///
/// # Examples
///
/// See the [crate's example](crate).
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    words: &'a [Word],
    layout: Layout,
}

impl<'a> Slot<'a> {
    /// Views `words`, which must be zero when they are used for the first time.
    ///
    /// # Errors
    ///
    /// [`SlotTooSmall`] if there are fewer than [`Layout::words`].
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Layout, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// assert_eq!(slot.entered(), 0);
    /// assert!(Slot::new(&words[1..], layout).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub const fn new(words: &'a [Word], layout: Layout) -> Result<Self, SlotTooSmall> {
        if words.len() < layout.words() {
            return Err(SlotTooSmall {
                words: words.len(),
                needed: layout.words(),
            });
        }
        Ok(Self { words, layout })
    }

    /// Counts the start of a call; `attempt` counts from 1, and every later one is a retry.
    ///
    /// A `stripe` beyond the last starts over from the first.
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
    /// slot.start(0, 2); // a retry
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!((reading.started(), reading.retried()), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn start(&self, stripe: usize, attempt: u16) {
        self.stripe(stripe).start(attempt);
    }

    /// Counts the end of a call. Each start must be followed by one finish, on any thread.
    ///
    /// A `stripe` beyond the last starts over from the first. A latency beyond the range of
    /// the layout is counted in the last bucket, and is added to the sum as
    /// [`MAX_SUMMED_LATENCY_NS`] at most. With [`Outcome::Rejected`], the call is counted as
    /// rejected and nothing else is kept of it; for a call that was refused before its start, see
    /// [`reject`](Self::reject).
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
    /// slot.finish(0, Finish::new(Outcome::Failure(ErrorKind::Network), 1, 0, 700));
    /// slot.start(0, 2);
    /// slot.finish(0, Finish::new(Outcome::Success, 2, 900, 300));
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!(reading.failures(ErrorKind::Network), 1);
    /// assert_eq!(reading.recovered(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn finish(&self, stripe: usize, finish: Finish) {
        self.stripe(stripe).finish(finish);
    }

    /// Counts a call that was refused before it started: neither [`start`](Self::start) nor
    /// [`finish`](Self::finish) is called for it.
    ///
    /// A `stripe` beyond the last starts over from the first.
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
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn reject(&self, stripe: usize) {
        self.stripe(stripe).reject();
    }

    /// Sets all counters to zero, so that the words can be given to another tool.
    ///
    /// No other thread may use the slot meanwhile, and no call may be in flight that will still
    /// finish on it; what other threads did before must have happened before, by a lock or a
    /// join. Otherwise counts are left over, or lost.
    ///
    /// Words that are zero already are not written, and beyond the headers only groups of buckets
    /// that were ever used are visited: a page that was never touched stays so.
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
    /// slot.finish(0, Finish::new(Outcome::Success, 1, 0, 700));
    /// slot.clear();
    /// let mut reading = Reading::<FixedCounts<8>>::default();
    /// slot.read(&mut reading)?;
    /// assert!(reading.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) {
        for stripe in self.all_stripes() {
            stripe.clear();
        }
    }

    fn all_stripes(&self) -> impl Iterator<Item = Stripe<'a>> {
        (0..self.layout.stripes()).map(|stripe| self.stripe(stripe))
    }

    #[inline(always)]
    fn stripe(&self, stripe: usize) -> Stripe<'a> {
        let start = self.layout.stripe_start(stripe);
        match Stripe::new(&self.words[start..], self.layout) {
            Ok(stripe) => stripe,
            Err(_) => unreachable!("the slot has as many words as its layout asks for"),
        }
    }
}

/// The error of [`Slot::new`] and [`Stripe::new`] when there are too few words.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{Layout, Slot, SlotTooSmall};
///
/// let layout = Layout::new(3, 20, 1)?;
/// let error = Slot::new(&[], layout).unwrap_err();
/// assert_eq!(error, SlotTooSmall { words: 0, needed: layout.words() });
/// # Ok::<(), toolmeter_core::LayoutError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTooSmall {
    /// The number of words there were.
    pub words: usize,
    /// The number of words that the layout needs.
    pub needed: usize,
}

impl fmt::Display for SlotTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this layout needs {} words, but there are {}",
            self.needed, self.words
        )
    }
}

impl core::error::Error for SlotTooSmall {}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
