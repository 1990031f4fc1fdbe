//! The slices of a round's events, shared between the batches that have the same events.
//!
//! Invariant: a slice keeps at most twice as many events alive as it has. It is a range of the
//! round itself if it is contiguous and at least half of the round. Otherwise it is a copy.
//!
//! # Orderings
//!
//! None: only the thread that hands out a round uses it.

use crate::batch::RoundData;
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Events, and the range of them that belongs to a batch.
pub(crate) type Slice = (Arc<RoundData>, Range<usize>);

/// The events of a round, and the copies made of parts of them.
pub(crate) struct Slicer {
    round: Arc<RoundData>,
    /// The number of late events, which are at the front of the round.
    late: usize,
    /// The copies of contiguous parts by their range, for all subscriptions that want the same.
    copies: BTreeMap<(usize, usize), Arc<RoundData>>,
}

/// Some events of a round, by their indices: at least one, in order.
pub(crate) enum Selection<'a> {
    Contiguous(Range<usize>),
    Scattered(&'a [usize]),
}

impl<'a> Selection<'a> {
    /// Creates the selection of these indices, which are sorted and not empty.
    pub(crate) fn new(indices: &'a [usize]) -> Self {
        let (start, end) = (indices[0], indices[indices.len() - 1] + 1);
        if end - start == indices.len() {
            Self::Contiguous(start..end)
        } else {
            Self::Scattered(indices)
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Contiguous(range) => range.len(),
            Self::Scattered(indices) => indices.len(),
        }
    }

    /// Returns the number of indices below this one.
    fn count_below(&self, index: usize) -> usize {
        match self {
            Self::Contiguous(range) => index.clamp(range.start, range.end) - range.start,
            Self::Scattered(indices) => indices.partition_point(|&other| other < index),
        }
    }
}

impl Slicer {
    /// Creates a slicer for a round whose first `late` events are late.
    pub(crate) fn new(round: RoundData, late: usize) -> Self {
        Self {
            round: Arc::new(round),
            late,
            copies: BTreeMap::new(),
        }
    }

    /// Returns the round, with all its events.
    pub(crate) fn round(&self) -> &RoundData {
        &self.round
    }

    /// Returns the number of selected events that are late.
    pub(crate) fn late(&self, selection: &Selection<'_>) -> usize {
        selection.count_below(self.late)
    }

    /// Returns the number of copies of contiguous parts.
    #[cfg(test)]
    pub(crate) fn copies(&self) -> usize {
        self.copies.len()
    }

    /// Returns the selected events: a range of the round, a copy made before, or a new copy.
    pub(crate) fn slice(&mut self, selection: &Selection<'_>) -> Slice {
        let round = &self.round;
        let events = match selection {
            Selection::Contiguous(range) => {
                if range.len() >= round.events.len() - range.len() {
                    return (Arc::clone(round), range.clone());
                }
                let copy = || Arc::new(round.with_events(round.events[range.clone()].to_vec()));
                let known = self.copies.entry((range.start, range.end));
                Arc::clone(known.or_insert_with(copy))
            }
            Selection::Scattered(indices) => {
                let events = indices.iter().map(|&index| round.events[index].clone());
                Arc::new(round.with_events(events.collect()))
            }
        };
        (events, 0..selection.len())
    }
}
