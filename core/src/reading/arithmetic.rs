//! The difference and the sum of two readings.

use super::Reading;
use super::counts::{BucketCount, BucketCounts, CountsFull};
use core::iter::Peekable;

impl<C: BucketCounts> Reading<C> {
    /// Subtracts `baseline`, an earlier reading of the same slot.
    ///
    /// Counts are subtracted wrapping. A reading that is taken while calls finish may have the latency
    /// or the kind of a call whose bucket it missed. Such a call is counted in the next difference, and
    /// its latency in this one. See [`slot`](crate::slot).
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

    /// Adds `other`, a reading of a slot of the same layout.
    ///
    /// Counts are added wrapping, and histograms bucket by bucket. The later last finish and the later
    /// last failure are kept.
    ///
    /// # Errors
    ///
    /// [`CountsFull`] if this reading has no room for the buckets of both. It is then unchanged.
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

/// Returns the count of the bucket of this index, or 0 if there is none, and skips all pairs up to it.
/// Must be called with ascending indices.
fn count_of(pairs: &mut Peekable<impl Iterator<Item = BucketCount>>, index: u32) -> u64 {
    while pairs.next_if(|&(other, _)| other < index).is_some() {}
    pairs
        .next_if(|&(other, _)| other == index)
        .map_or(0, |(_, count)| count)
}

/// Subtracts the counts of `before`, and removes the buckets that are then empty.
pub(super) fn subtract_counts<C: BucketCounts>(counts: &mut C, before: &[BucketCount]) {
    let mut before = before.iter().copied().peekable();
    for (index, count) in counts.as_mut_slice() {
        *count = count.wrapping_sub(count_of(&mut before, *index));
    }
    drop_empty(counts);
}

/// Appends a placeholder for each bucket of `more` that `counts` lacks.
pub(super) fn make_room<C: BucketCounts>(
    counts: &mut C,
    more: &[BucketCount],
) -> Result<(), CountsFull> {
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

/// Adds `more` to the first `len` pairs, wrapping. The pairs behind them are the placeholders of
/// [`make_room`].
pub(super) fn add_counts<C: BucketCounts>(counts: &mut C, len: usize, mut more: &[BucketCount]) {
    let pairs = counts.as_mut_slice();
    let mut left = len;
    // From the end, so that each pair is moved before it is overwritten.
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

/// Removes the pairs whose count is 0.
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
