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

use crate::buckets::Buckets;
use crate::layout::{self, HEADER, Layout, word};
use crate::outcome::{ErrorKind, Outcome, OutcomeClass};
use crate::reading::{
    BucketCount, BucketCounts, CountOnly, CountsFull, LastFailure, LastFinish, Reading, Tally,
};
use crate::sync::{Ordering, Word};
use core::convert::Infallible;
use core::fmt;

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

    /// Reads everything into `reading`, replacing what it held.
    ///
    /// Calls may start and finish meanwhile; the head of [this file](crate::slot) says what is
    /// then seen. Only groups of buckets that were ever used are visited.
    ///
    /// # Errors
    ///
    /// [`CountsFull`] if `reading` has no room for all buckets that are not empty; it is then
    /// left cleared.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// for latency_ns in [100, 5_000] {
    ///     slot.start(0, 1);
    ///     slot.finish(0, Finish::new(Outcome::Success, 1, 0, latency_ns));
    /// }
    /// let mut reading = Reading::<FixedCounts<2>>::default();
    /// slot.read(&mut reading)?;
    /// assert_eq!(reading.sum_ns(Outcome::SUCCESS), 5_100);
    ///
    /// let mut small = Reading::<FixedCounts<1>>::default();
    /// assert!(slot.read(&mut small).is_err());
    /// assert_eq!(small.started(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<C: BucketCounts>(&self, reading: &mut Reading<C>) -> Result<(), CountsFull> {
        reading.clear();
        for class in OutcomeClass::ALL {
            let counts = &mut reading.counts[class.index()];
            if let Err(full) = self.read_histogram(class, |bucket| counts.push(bucket)) {
                reading.clear();
                return Err(full);
            }
        }
        self.read_counters(reading);
        Ok(())
    }

    /// Reads everything, telling `visit` of each bucket that is not empty, and keeping the rest in
    /// `reading`, whose contents it replaces.
    ///
    /// It takes no memory for buckets, neither in the reading nor on the stack. What is read, and in
    /// which order, is as with [`read`](Self::read): `visit` is called by class, in the order of
    /// [`OutcomeClass::ALL`], and within one by index. It may start and finish calls of this slot.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{CountOnly, Finish, Layout, Outcome, OutcomeClass, Reading, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// for latency_ns in [100, 5_000] {
    ///     slot.start(0, 1);
    ///     slot.finish(0, Finish::new(Outcome::Success, 1, 0, latency_ns));
    /// }
    /// let mut slow = 0;
    /// let mut reading = Reading::<CountOnly>::without_buckets();
    /// slot.visit(&mut reading, |class, (index, count)| {
    ///     if class == OutcomeClass::Success && layout.buckets().lower(index as usize) >= 1_000 {
    ///         slow += count;
    ///     }
    /// });
    /// assert_eq!((reading.count(Outcome::SUCCESS), slow), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn visit(
        &self,
        reading: &mut Reading<CountOnly>,
        mut visit: impl FnMut(OutcomeClass, BucketCount),
    ) {
        reading.clear();
        for class in OutcomeClass::ALL {
            let counts = &mut reading.counts[class.index()];
            let Ok(()) = self.read_histogram(class, |bucket| {
                counts.count(bucket.1);
                visit(class, bucket);
                Ok::<(), Infallible>(())
            });
        }
        self.read_counters(reading);
    }

    /// Reads all but the histograms, after those.
    fn read_counters<C: Tally>(&self, reading: &mut Reading<C>) {
        for stripe in self.all_stripes() {
            reading.retried = reading.retried.wrapping_add(stripe.get(word::RETRIED));
            reading.recovered = reading.recovered.wrapping_add(stripe.get(word::RECOVERED));
            let rejected = stripe.header[word::REJECTED].load(Ordering::Acquire);
            reading.rejected = reading.rejected.wrapping_add(rejected);
            for kind in ErrorKind::ALL {
                let failures = &mut reading.failures[kind.index()];
                *failures = failures.wrapping_add(stripe.get(word::failures(kind)));
            }
            for class in OutcomeClass::ALL {
                let sum_ns = &mut reading.sums_ns[class.index()];
                *sum_ns = sum_ns.wrapping_add(stripe.get(word::sum(class)));
            }
            reading.note_failure(LastFailure::from_word(stripe.get(word::LAST_FAILURE)));
            reading.note_finish(LastFinish {
                at_ns: stripe.get(word::LAST_FINISHED_AT),
                latency_ns: stripe.get(word::LAST_LATENCY),
            });
        }
        for stripe in self.all_stripes() {
            reading.entered = reading.entered.wrapping_add(stripe.get(word::STARTED));
        }
        // An untouched slot has noted a finish of zeros.
        reading.forget_lasts_of_none();
    }

    /// Returns the number of calls that started or were rejected, without reading anything else.
    ///
    /// While it stays the same and nothing was in flight, nothing happened.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Layout, Slot, Word};
    ///
    /// let layout = Layout::new(3, 20, 1)?;
    /// let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    /// let slot = Slot::new(&words, layout)?;
    /// slot.start(0, 1);
    /// slot.reject(0);
    /// assert_eq!(slot.entered(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn entered(&self) -> u64 {
        self.all_stripes()
            .fold(0, |sum, stripe| sum.wrapping_add(stripe.get(word::STARTED)))
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

    /// Gives the buckets of a class that are not empty to `push`, in the order of their index.
    ///
    /// A few buckets are added up over the stripes at a time, so that no room for a group is needed.
    fn read_histogram<E>(
        &self,
        class: OutcomeClass,
        mut push: impl FnMut(BucketCount) -> Result<(), E>,
    ) -> Result<(), E> {
        /// How many buckets are added up at once. One at a time takes twice as long, and no more
        /// than these are needed, so a reading asks for little stack.
        const AT_ONCE: usize = 8;
        let width = 1 << self.layout.buckets().precision();
        let mut groups = self.all_stripes().fold(0, |groups, stripe| {
            groups | stripe.get(word::occupancy(class))
        });
        while groups != 0 {
            let group = groups.trailing_zeros() as usize;
            groups &= groups - 1;
            let past = (group + 1) * width;
            for first in (group * width..past).step_by(AT_ONCE) {
                let mut sums = [0_u64; AT_ONCE];
                let sums = &mut sums[..width.min(AT_ONCE)];
                for stripe in self.all_stripes() {
                    if stripe.get(word::occupancy(class)) >> group & 1 == 0 {
                        continue;
                    }
                    let words = &stripe.buckets[first * OutcomeClass::COUNT..];
                    let (indices, _) = words.as_chunks::<{ OutcomeClass::COUNT }>();
                    for (sum, buckets) in sums.iter_mut().zip(indices) {
                        let bucket = &buckets[class.index()];
                        *sum = sum.wrapping_add(bucket.load(Ordering::Acquire));
                    }
                }
                for (index, &sum) in (first..).zip(&*sums) {
                    if sum != 0 {
                        push((index as u32, sum))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn all_stripes(&self) -> impl Iterator<Item = Stripe<'a>> {
        let slot = *self;
        (0..slot.layout.stripes()).map(move |stripe| slot.stripe(stripe))
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

/// A view of the words of one stripe, for a caller that finds them by itself.
///
/// [`Slot::start`] and [`Slot::finish`] do the same for a stripe by its number.
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
    header: &'a [Word; HEADER],
    buckets: &'a [Word],
    arithmetic: Buckets,
}

impl<'a> Stripe<'a> {
    /// Views the first words of `words`, as many as a stripe of this layout has.
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

    /// Counts the start of a call, as [`Slot::start`] does.
    #[inline(always)]
    pub fn start(&self, attempt: u16) {
        self.add(word::STARTED, 1);
        if attempt > 1 {
            self.add(word::RETRIED, 1);
        }
    }

    /// Counts the end of a call, as [`Slot::finish`] does.
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
            // Told apart in a function of their own: with a fourth arm, every outcome would be
            // found by an indirect jump.
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

    /// Counts a call that was refused before it started, as [`Slot::reject`] does.
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

    /// Counts the end of a call that was refused, and returns whether it was.
    #[cold]
    #[inline(never)]
    fn counted_as_rejected(&self, outcome: Outcome) -> bool {
        let rejected = outcome == Outcome::Rejected;
        if rejected {
            self.add_rejected();
        }
        rejected
    }

    /// Counts a rejection; what entered with it was counted before.
    #[inline]
    fn add_rejected(&self) {
        self.header[word::REJECTED].fetch_add(1, Ordering::Release);
    }

    fn clear(&self) {
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

    /// A long latency as it is counted and as it is summed. A function of its own, so that the
    /// address of the bucket does not wait for the comparison.
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
    fn get(&self, word: usize) -> u64 {
        self.header[word].load(Ordering::Relaxed)
    }
}

/// Sets the words that are not zero to zero.
fn clear(words: &[Word]) {
    for word in words {
        if word.load(Ordering::Relaxed) != 0 {
            word.store(0, Ordering::Relaxed);
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
