//! The read side of a slot: its histograms first, then its other counters.
//!
//! The head of `slot.rs` has the invariant and the table of orderings. The order of the loads below
//! is part of it: buckets before everything else, and `started` last.

use super::Slot;
use crate::error_kind::ErrorKind;
use crate::layout::word;
use crate::outcome::OutcomeClass;
use crate::reading::{
    BucketCount, BucketCounts, CountOnly, CountsFull, LastFailure, LastFinish, Reading, Tally,
};
use crate::sync::{Ordering, Word};
use core::convert::Infallible;

impl Slot<'_> {
    /// Reads all counters into `reading`, replacing its contents.
    ///
    /// Calls may start and finish meanwhile; the [module](crate::slot) says what a reader then sees.
    /// Only groups of buckets that were ever used are visited.
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

    /// Reads all counters into `reading`, replacing its contents, and calls `visit` with each bucket
    /// that is not empty instead of storing it.
    ///
    /// Buckets take no memory in the reading, and at most eight words on the stack. Calls may start and
    /// finish meanwhile, with the same guarantees as [`read`](Self::read). `visit` is called class by
    /// class, in the order of [`OutcomeClass::ALL`], and within a class by ascending index. It may itself
    /// start and finish calls of this slot.
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

    /// Reads all counters except the histograms, which must have been read before.
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
        // A slot without a finish has noted one of zeros.
        reading.forget_lasts_of_none();
    }

    /// Returns the number of calls that started or were rejected, without reading anything else.
    ///
    /// If no call was in flight and this number is unchanged since, no call was counted since.
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

    /// Calls `push` with each bucket of a class that is not empty, by ascending index.
    ///
    /// [`AT_ONCE`] buckets are added up over the stripes at a time, so no memory for a whole group is
    /// needed.
    fn read_histogram<E>(
        &self,
        class: OutcomeClass,
        mut push: impl FnMut(BucketCount) -> Result<(), E>,
    ) -> Result<(), E> {
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
                for stripe in self.all_stripes() {
                    if stripe.get(word::occupancy(class)) >> group & 1 == 0 {
                        continue;
                    }
                    let words = &stripe.buckets[first * OutcomeClass::COUNT..];
                    let (indices, _) = words.as_chunks();
                    match indices.first_chunk::<AT_ONCE>() {
                        // The compiler knows this length and unrolls the loop.
                        Some(indices) if width >= AT_ONCE => add(&mut sums, indices, class),
                        _ => add(&mut sums, indices.iter().take(width), class),
                    }
                }
                for (index, &sum) in (first..).zip(&sums) {
                    if sum != 0 {
                        push((index as u32, sum))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The buckets of one index, by class.
type Index = [Word; OutcomeClass::COUNT];

/// The number of buckets that are added up at a time. A reading with one at a time takes twice as
/// long. On a microcontroller there are fewer, because their sums lie on the stack.
const AT_ONCE: usize = if cfg!(target_os = "none") { 4 } else { 8 };

/// Adds the buckets of a class, one to each of the first sums.
#[inline(always)]
fn add<'a>(
    sums: &mut [u64; AT_ONCE],
    indices: impl IntoIterator<Item = &'a Index>,
    class: OutcomeClass,
) {
    for (sum, buckets) in sums.iter_mut().zip(indices) {
        *sum = sum.wrapping_add(buckets[class.index()].load(Ordering::Acquire));
    }
}
