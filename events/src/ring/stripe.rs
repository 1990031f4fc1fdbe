//! The ring of one stripe: its tickets, and its places.
//!
//! Invariant: the counters that producers write and the one that each round writes lie on different
//! cache lines.
//!
//! The places are not those of a ready-made queue: the consumer of crossbeam's bounded channel
//! waits without a limit for an element that is half put, and the pump would hold its lock meanwhile.
//!
//! # Orderings
//!
//! None of its own: the words are those of [`toolmeter_core::tickets`], a place is described in
//! `place.rs`, and `places` is set once by a `OnceLock`.

use super::place::{Place, TakeResult};
use crate::{
    event::{Draft, Event},
    sync::Word,
};
use crossbeam_utils::CachePadded;
use std::{ops::Range, sync::OnceLock};
use toolmeter_core::tickets::Tickets;

/// The ring of one stripe.
pub(super) struct StripeRing {
    by_producers: CachePadded<ProducerWords>,
    /// [`Tickets::drained`], on a line of its own: producers read it, and the drain writes it once
    /// a round.
    drained: CachePadded<Word>,
    /// Allocated by the first subscription; their number is a power of two.
    pub(super) places: OnceLock<Box<[Place]>>,
}

/// The words of [`Tickets`] that producers write.
#[derive(Default)]
struct ProducerWords {
    offered: Word,
    entered: Word,
    lost: Word,
}

/// The positions at which [`StripeRing::take`] found no event to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skipped {
    /// The first of them, or the end of the range if there is none.
    pub(crate) first: u64,
    /// Set if one of them had a complete event behind the lock of another thread.
    pub(crate) any_locked: bool,
}

/// Returns the place of this position.
pub(super) fn place_of(places: &[Place], position: u64) -> &Place {
    &places[position as usize & (places.len() - 1)]
}

impl StripeRing {
    pub(super) fn new() -> Self {
        Self {
            by_producers: CachePadded::default(),
            drained: CachePadded::default(),
            places: OnceLock::new(),
        }
    }

    #[inline]
    pub(super) fn tickets(&self) -> Tickets<'_> {
        let ProducerWords {
            offered,
            entered,
            lost,
        } = &*self.by_producers;
        Tickets {
            offered,
            entered,
            lost,
            drained: &self.drained,
        }
    }

    /// Takes the complete events of these positions. Never waits.
    ///
    /// If the place of a position has no event, that event was lost or is half put. An event that
    /// was held up may come with a position before the range. An event with a position after the
    /// range may have the same place; it stays there, so a round takes no more than what entered
    /// before it read the positions.
    pub(super) fn take(&self, positions: Range<u64>, mut each: impl FnMut(u64, Event)) -> Skipped {
        let mut skipped = Skipped {
            first: positions.end,
            any_locked: false,
        };
        let Some(places) = self.places.get() else {
            return skipped;
        };
        // A range longer than the ring would visit a place twice.
        let first = positions.end.saturating_sub(places.len() as u64);
        for at in positions.start.max(first)..positions.end {
            match place_of(places, at).take_below(positions.end) {
                TakeResult::Event(position, event) => each(position, event),
                taken => {
                    skipped.first = skipped.first.min(at);
                    skipped.any_locked |= matches!(taken, TakeResult::Locked);
                }
            }
        }
        skipped
    }

    /// Returns the number of places that have an event.
    pub(super) fn waiting(&self) -> usize {
        let places = self.places.get().into_iter().flatten();
        places.filter(|place| place.is_full()).count()
    }

    /// Counts an event that was not admitted, or that came before the places were allocated.
    #[cold]
    pub(super) fn count_lost(&self, draft: Draft) {
        self.tickets().lose();
        drop(draft);
    }

    /// Counts an event whose place was not free.
    #[cold]
    pub(super) fn count_refused(&self, refused: Event) {
        self.tickets().lose();
        drop(refused);
    }

    /// Takes a ticket and a position. For tests.
    pub(super) fn stop_half_way(&self, capacity: u64) -> (u64, u64) {
        let ticket = self.tickets().take(capacity);
        (ticket.number, self.tickets().enter())
    }
}
