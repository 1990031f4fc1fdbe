//! The counters of one tool in borrowed atomic words: start, finish, reject, read, clear.
//!
//! # What a call writes
//!
//! A call writes the stripe that its caller names, ideally one that no other thread is writing.
//! Stripes affect speed only: every write that counts is an atomic addition, so any number of
//! threads may share a stripe, and a call may start on one stripe and finish on another.
//!
//! * A start adds 1 to `started`, and 1 to `retried` if it is not the first attempt.
//! * A failure adds 1 to its error kind and stores the last failure. A success of a retry adds 1 to
//!   `recovered`. Both store the last finish. Every finish then adds the latency to the sum of its
//!   class, sets the occupancy bit of its bucket's group, and last of all adds 1 to the bucket. This
//!   addition *is* the count. There is no other, so a count and its histogram never disagree.
//! * A rejection adds 1 to `rejected`. A rejected call has no latency. If the call was rejected
//!   before it started, 1 is added to `started` first. So `started` counts every call that entered,
//!   and a call that is counted neither in a bucket nor in `rejected` is in flight.
//!
//! Nothing is set to zero while calls run; [`reading`](crate::reading) explains how a reset works
//! without that. [`Slot::clear`] zeroes a slot that no thread uses any more.
//!
//! # What a reader sees
//!
//! A reader first loads the occupancy and the buckets of all stripes, then everything else that a
//! finish or a rejection writes, then `started` of all stripes. While calls run, this guarantees:
//!
//! 1. *The number in flight is never negative.* A bucket or `rejected` is incremented after the
//!    `started` increment of the same call, on whichever thread, and the reader loads `started` after
//!    both. The number may be too high by the calls that start while the slot is read.
//! 2. *A counted finish is complete.* A reader that sees the bucket of a call also sees its error
//!    kind, its latency and its `recovered`. It may see those of a call whose bucket it missed; the
//!    next reading counts that call.
//! 3. *No counter decreases.* A later reader in the same thread, or in one that synchronized with it,
//!    sees at least as much. [`Reading::started`](crate::Reading::started)
//!    is not a counter but a difference: a call that is rejected after its start is subtracted from it.
//!
//! Once no call is running, all numbers agree.
//!
//! # Orderings
//!
//! The writes are in `slot/stripe.rs`, the loads in `slot/read.rs`.
//!
//! | field | operation | ordering | pairs with | model that fails when it is weakened |
//! | --- | --- | --- | --- | --- |
//! | bucket | `fetch_add` in `finish` | `Release` | the reader's load of the bucket | `in_flight_is_never_negative`, `a_counted_finish_is_complete`, `a_first_counted_finish_is_complete` |
//! | bucket | `load` in `read` | `Acquire` | the addition in `finish` | the same three |
//! | `rejected` | `fetch_add` in `finish` and `reject` | `Release` | the reader's load of `rejected` | `a_call_rejected_after_its_start_has_entered`, `a_call_rejected_before_its_start_has_entered` |
//! | `rejected` | `load` in `read` | `Acquire` | the addition in `finish` and `reject` | the same two |
//! | all others | any | `Relaxed` | ordered by the bucket or by `rejected`; in `clear`, by its caller | |
//!
//! The release of the bucket also covers the start: it precedes the finish in the thread that runs
//! the call, or happened before it if the call was handed to another thread. Additions by other
//! threads to the same bucket continue the release sequence, so a reader that sees a count of 5 has
//! synchronised with all five finishes. The same holds for `rejected`.
//!
//! The last finish is two words. Calls that finish at the same moment on a shared stripe may mix
//! theirs: the time of one with the latency of the other.

mod finish;
mod read;
mod stripe;

pub use finish::{Finish, MAX_SUMMED_LATENCY_NS};
pub use stripe::Stripe;

use crate::layout::Layout;
use crate::sync::Word;
use core::fmt;

/// The counters of one tool: a view of borrowed words.
///
/// All copies of a view share the same counters. All methods take `&self` and may be called from any
/// number of threads and interrupt handlers at once, except [`clear`](Self::clear). None of them
/// waits for another, allocates or makes a system call.
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
    /// Creates a view of the first [`Layout::words`] of `words`, which must be zero when they are used
    /// for the first time.
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

    /// Counts the start of a call. `attempt` counts from 1; every later attempt is a retry.
    ///
    /// A `stripe` beyond the last wraps around to the first.
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

    /// Counts the end of a call. Each start must be followed by exactly one finish, on any thread.
    ///
    /// A `stripe` beyond the last wraps around to the first. A latency beyond the range of the
    /// layout is counted in the last bucket, and at most [`MAX_SUMMED_LATENCY_NS`] of it is added to
    /// the sum. With [`Outcome::Rejected`](crate::Outcome::Rejected) the call is counted as rejected,
    /// and nothing else is recorded. A call that is rejected before its start is counted by
    /// [`reject`](Self::reject) alone.
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

    /// Counts a call that was rejected before it started. Neither [`start`](Self::start) nor
    /// [`finish`](Self::finish) is called for it.
    ///
    /// A `stripe` beyond the last wraps around to the first.
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

    /// Sets all counters to zero, so that the words can be used for another tool.
    ///
    /// No other thread may use the slot meanwhile, and no call that will finish on it may be in flight.
    /// What other threads did to the slot must happen before this call, by a lock or a join. Otherwise
    /// counts remain or are lost.
    ///
    /// Words that are already zero are not written. Apart from the headers, only groups of buckets
    /// that were ever used are visited, so a page that was never touched stays untouched.
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

    /// Returns all stripes, in order.
    fn all_stripes(&self) -> impl Iterator<Item = Stripe<'a>> {
        (0..self.layout.stripes()).map(|stripe| self.stripe(stripe))
    }

    /// Returns a stripe. A number beyond the last wraps around to the first.
    #[inline(always)]
    fn stripe(&self, stripe: usize) -> Stripe<'a> {
        let start = self.layout.stripe_start(stripe);
        match Stripe::new(&self.words[start..], self.layout) {
            Ok(stripe) => stripe,
            Err(_) => unreachable!("the slot has as many words as its layout needs"),
        }
    }
}

/// The error of [`Slot::new`] and [`Stripe::new`]: there are too few words.
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
    /// The number of words that were given.
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
