//! The write side of a slot: one stripe of it.
//!
//! The head of `slot.rs` has the invariant and the table of orderings. The order of the writes below
//! is part of it: the bucket last.
//!
//! # What a finish costs
//!
//! On Zen 4, reading the time-stamp counter waits until the addresses of all earlier stores are
//! known, and the address of the bucket depends on the latency. So each cycle between a reading of
//! the clock and that address delays the next reading (6 ns of a call, if calls run back to back),
//! while the locked additions are hidden behind it. Therefore a latency beyond the range takes a
//! branch to a cold function instead of a conditional move, short latencies take a branch of their
//! own (see [`Buckets`]), and the offset of a bucket is three times its index plus its class.

use super::SlotTooSmall;
use super::finish::{Finish, MAX_SUMMED_LATENCY_NS};
use crate::buckets::Buckets;
use crate::layout::{self, HEADER, Layout, word};
use crate::outcome::{Outcome, OutcomeClass};
use crate::reading::LastFailure;
use crate::sync::{Ordering, Word};

/// One stripe of a slot: a view of its words, for a caller that locates them itself.
///
/// [`Slot::start`](super::Slot::start) and [`Slot::finish`](super::Slot::finish) find a stripe by its
/// number.
///
/// # Examples
///
/// ```
/// use toolmeter_core::slot::Stripe;
/// use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
///
/// let layout = Layout::new(3, 20, 2)?;
/// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
/// let stripe = Stripe::new(&words[layout.stripe_start(1)..], layout)?;
/// stripe.start(1);
/// stripe.finish(Finish::new(Outcome::Success, 1, 0, 700));
/// let mut reading = Reading::<FixedCounts<8>>::default();
/// Slot::new(&words, layout)?.read(&mut reading)?;
/// assert_eq!(reading.count(Outcome::SUCCESS), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stripe<'a> {
    pub(super) header: &'a [Word; HEADER],
    pub(super) buckets: &'a [Word],
    arithmetic: Buckets,
}

impl<'a> Stripe<'a> {
    /// Creates a view of the first [`Layout::stripe_words`] of `words`.
    ///
    /// # Errors
    ///
    /// [`SlotTooSmall`] if there are fewer than [`Layout::stripe_words`].
    #[inline(always)]
    pub fn new(words: &'a [Word], layout: Layout) -> Result<Self, SlotTooSmall> {
        let needed = layout.stripe_words();
        match words.get(..needed).and_then(<[Word]>::split_first_chunk) {
            Some((header, buckets)) => Ok(Self {
                header,
                buckets,
                arithmetic: layout.buckets(),
            }),
            None => Err(SlotTooSmall {
                words: words.len(),
                needed,
            }),
        }
    }

    /// Counts the start of a call, as [`Slot::start`](super::Slot::start) does.
    #[inline(always)]
    pub fn start(&self, attempt: u16) {
        self.add(word::STARTED, 1);
        if attempt > 1 {
            self.add(word::RETRIED, 1);
        }
    }

    /// Counts the end of a call, as [`Slot::finish`](super::Slot::finish) does.
    #[inline(always)]
    pub fn finish(&self, finish: Finish) {
        let class = match finish.outcome {
            Outcome::Success => {
                if finish.attempt > 1 {
                    self.add(word::RECOVERED, 1);
                }
                OutcomeClass::Success
            }
            Outcome::Failure(kind) => {
                self.add(word::failures(kind), 1);
                let failure = LastFailure::new(kind, finish.attempt, finish.finished_at_ns);
                self.header[word::LAST_FAILURE].store(failure.to_word(), Ordering::Relaxed);
                OutcomeClass::Failure
            }
            // A separate function distinguishes these two: with a fourth arm the compiler would
            // emit an indirect jump for all of them.
            Outcome::Cancelled | Outcome::Rejected => {
                if self.counted_as_rejected(finish.outcome) {
                    return;
                }
                OutcomeClass::Cancelled
            }
        };
        let mut in_range_ns = finish.latency_ns;
        let mut summed_ns = finish.latency_ns;
        if finish.latency_ns > self.arithmetic.max_value().min(MAX_SUMMED_LATENCY_NS) {
            (in_range_ns, summed_ns) = self.clamped(finish.latency_ns);
        }
        if !matches!(class, OutcomeClass::Cancelled) {
            self.header[word::LAST_FINISHED_AT].store(finish.finished_at_ns, Ordering::Relaxed);
            self.header[word::LAST_LATENCY].store(in_range_ns, Ordering::Relaxed);
        }
        self.add(word::sum(class), summed_ns);
        let index = self.arithmetic.index_in_range(in_range_ns);
        let group = 1 << (index >> self.arithmetic.precision());
        let occupancy = &self.header[word::occupancy(class)];
        if occupancy.load(Ordering::Relaxed) & group == 0 {
            occupancy.fetch_or(group, Ordering::Relaxed);
        }
        self.buckets[layout::bucket(class, index)].fetch_add(1, Ordering::Release);
    }

    /// Counts a call that was rejected before it started, as [`Slot::reject`](super::Slot::reject) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::slot::Stripe;
    /// use toolmeter_core::{Layout, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 2)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// Stripe::new(&words[layout.stripe_start(1)..], layout)?.reject();
    /// assert_eq!(Slot::new(&words, layout)?.entered(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn reject(&self) {
        self.add(word::STARTED, 1);
        self.add_rejected();
    }

    /// Counts the end of a rejected call. Returns false, and counts nothing, if it was not rejected.
    #[cold]
    #[inline(never)]
    fn counted_as_rejected(&self, outcome: Outcome) -> bool {
        let rejected = outcome == Outcome::Rejected;
        if rejected {
            self.add_rejected();
        }
        rejected
    }

    /// Counts a rejection of a call that `started` already counts.
    #[inline]
    fn add_rejected(&self) {
        self.header[word::REJECTED].fetch_add(1, Ordering::Release);
    }

    /// Sets the stripe to zero, for [`Slot::clear`](super::Slot::clear).
    pub(super) fn clear(&self) {
        let groups = OutcomeClass::ALL
            .into_iter()
            .fold(0, |groups, class| groups | self.get(word::occupancy(class)));
        let group_words = OutcomeClass::COUNT << self.arithmetic.precision();
        let all_groups = self.buckets.chunks_exact(group_words);
        for (group, buckets) in all_groups.take(self.arithmetic.groups()).enumerate() {
            if groups >> group & 1 == 1 {
                clear(buckets);
            }
        }
        clear(self.header);
    }

    /// Returns a long latency as it is counted and as it is summed. Cold, so that the address of the
    /// bucket does not depend on the comparison.
    #[cold]
    fn clamped(&self, latency_ns: u64) -> (u64, u64) {
        (
            latency_ns.min(self.arithmetic.max_value()),
            latency_ns.min(MAX_SUMMED_LATENCY_NS),
        )
    }

    #[inline(always)]
    fn add(&self, word: usize, addend: u64) {
        self.header[word].fetch_add(addend, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn get(&self, word: usize) -> u64 {
        self.header[word].load(Ordering::Relaxed)
    }
}

/// Zeroes the words that are not zero.
fn clear(words: &[Word]) {
    for word in words {
        if word.load(Ordering::Relaxed) != 0 {
            word.store(0, Ordering::Relaxed);
        }
    }
}
