//! One place of a ring.

use crate::event::EventFacts;
use crate::sync::{
    Ordering::{Acquire, Relaxed, Release},
    Word,
};

/// The words of a place: its state, the event's number, its facts.
pub(super) const PLACE: usize = 2 + EventFacts::WORDS;
/// In the state of a place: an offer holds it. The bits above tell the event.
pub(super) const HELD: u64 = 1;

/// An event that was drained.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{EventFacts, EventRing, Word};
///
/// let words: Vec<Word> = (0..EventRing::words(4)).map(|_| Word::new(0)).collect();
/// let ring = EventRing::new(&words, 4)?;
/// let facts = EventFacts::started(7, 1, 500);
/// let number = ring.offer(facts);
/// let event = ring.drain().and_then(|mut events| events.next()).unwrap();
/// assert_eq!((event.number, event.facts), (number, facts));
/// # Ok::<(), toolmeter_core::EventRingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RingEvent {
    /// Which event of its ring it is, counted from 0. Lost events have numbers, too.
    pub number: u64,
    /// What it says.
    pub facts: EventFacts,
}

/// One place of a ring.
pub(super) struct Place<'a> {
    /// Twice one more than the position of the event that is complete here, or 0; and the bit [`HELD`].
    pub(super) state: &'a Word,
    pub(super) number: &'a Word,
    pub(super) facts: &'a [Word; EventFacts::WORDS],
}

impl<'a> Place<'a> {
    /// Views the words of a place.
    #[inline]
    pub(super) fn of([state, number, facts @ ..]: &'a [Word; PLACE]) -> Self {
        Self {
            state,
            number,
            facts,
        }
    }

    /// Holds the place; false, and no change, if it is held or full.
    #[inline]
    pub(super) fn hold(&self) -> bool {
        let before = self.state.fetch_or(HELD, Acquire);
        if before & HELD == 0 && before != 0 {
            // The drain may be emptying it.
            self.state.fetch_add(HELD.wrapping_neg(), Relaxed);
        }
        before == 0
    }

    /// Writes an event. For the offer that holds the place.
    #[inline]
    pub(super) fn write(&self, number: u64, facts: EventFacts) {
        self.number.store(number, Relaxed);
        for (word, value) in self.facts.iter().zip(facts.to_words()) {
            word.store(value, Relaxed);
        }
    }

    /// Leaves the place full with the event of this position. For the offer that holds it.
    #[inline]
    pub(super) fn fill(&self, position: u64) {
        self.state
            .fetch_add(full(position).wrapping_sub(HELD), Release);
    }

    /// Returns the position of the event that is complete here, if there is one.
    #[inline]
    pub(super) fn position(&self) -> Option<u64> {
        let full_with = self.state.load(Acquire) & !HELD;
        (full_with / (HELD << 1)).checked_sub(1)
    }

    /// Takes the event of this position out, if it is complete. For the drain.
    #[inline]
    pub(super) fn take(&self, position: u64) -> Option<RingEvent> {
        let full_with = full(position);
        if self.state.load(Acquire) & !HELD != full_with {
            return None;
        }
        let number = self.number.load(Relaxed);
        let mut words = [0; EventFacts::WORDS];
        for (value, word) in words.iter_mut().zip(self.facts) {
            *value = word.load(Relaxed);
        }
        // An offer may be taking its bit off.
        self.state.fetch_add(full_with.wrapping_neg(), Release);
        let facts = EventFacts::from_words(words);
        Some(RingEvent { number, facts })
    }
}

/// The state of a place that is full with the event of this position.
#[inline]
const fn full(position: u64) -> u64 {
    position.wrapping_add(1).wrapping_mul(HELD << 1)
}
