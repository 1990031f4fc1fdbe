//! One place of a ring: its state, and the event in it.
//!
//! The head of `ring.rs` has the states, who may change them, and the table of orderings.

use crate::event::EventFacts;
use crate::sync::{
    Ordering::{Acquire, Relaxed, Release},
    Word,
};

/// The number of words of a place: its state, the number of the event, its facts.
pub(super) const PLACE: usize = 2 + EventFacts::WORDS;
/// In the state of a place: an offer holds it. The bits above encode the position of the event.
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
    /// The number of the event in its ring, counted from 0. Lost events have numbers too.
    pub number: u64,
    /// The content of the event.
    pub facts: EventFacts,
}

/// One place of a ring.
pub(super) struct Place<'a> {
    /// Twice (the position of the complete event plus one), or 0 if there is none; and the bit [`HELD`].
    pub(super) state: &'a Word,
    pub(super) number: &'a Word,
    pub(super) facts: &'a [Word; EventFacts::WORDS],
}

impl<'a> Place<'a> {
    /// Creates a view of the words of a place.
    #[inline]
    pub(super) fn of([state, number, facts @ ..]: &'a [Word; PLACE]) -> Self {
        Self {
            state,
            number,
            facts,
        }
    }

    /// Holds the place. Returns false, and changes nothing, if it is held or full.
    #[inline]
    pub(super) fn hold(&self) -> bool {
        let before = self.state.fetch_or(HELD, Acquire);
        if before & HELD == 0 && before != 0 {
            // The drain may be emptying the place, so this is not a store.
            self.state.fetch_add(HELD.wrapping_neg(), Relaxed);
        }
        before == 0
    }

    /// Writes an event. Only the offer that holds the place calls this.
    #[inline]
    pub(super) fn write(&self, number: u64, facts: EventFacts) {
        self.number.store(number, Relaxed);
        for (word, value) in self.facts.iter().zip(facts.to_words()) {
            word.store(value, Relaxed);
        }
    }

    /// Makes the place full with the event of this position. Only the offer that holds it calls this.
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

    /// Takes the event of this position out, if it is complete. Only the drain calls this.
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
        // An offer may be clearing its bit, so this is not a store.
        self.state.fetch_add(full_with.wrapping_neg(), Release);
        let facts = EventFacts::from_words(words);
        Some(RingEvent { number, facts })
    }
}

/// Returns the state of a place that is full with the event of this position.
#[inline]
const fn full(position: u64) -> u64 {
    position.wrapping_add(1).wrapping_mul(HELD << 1)
}
