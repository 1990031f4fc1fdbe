//! The drain of a ring: the places that it visits, and their order.
//!
//! The head of `ring.rs` has the invariant and the table of orderings.

use super::place::RingEvent;
use super::{EventRing, Header};
use crate::sync::Ordering::{Acquire, Release};

/// In `relay`: there is a drain. The bits below are the first position to visit.
pub(super) const DRAINING: u64 = 1 << 63;

/// An iterator that drains the events that were offered to an [`EventRing`] before it began.
///
/// Each event is counted as drained when it is returned, and makes room for another. Dropping the
/// iterator leaves the remaining events for the next drain. While it lives, there is no other drain.
/// If it is leaked by [`core::mem::forget`], the ring cannot be drained any more.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{EventFacts, EventRing, Word};
///
/// let words: Vec<Word> = (0..EventRing::words(4)).map(|_| Word::new(0)).collect();
/// let ring = EventRing::new(&words, 4)?;
/// for tool in 0..3 {
///     ring.offer(EventFacts::started(tool, 1, 0));
/// }
/// let tools = |most| -> Vec<u32> {
///     let events = ring.drain().into_iter().flatten().take(most);
///     events.map(|event| event.facts.tool).collect()
/// };
/// assert_eq!(tools(1), [0]);
/// assert_eq!(tools(9), [1, 2]);
/// # Ok::<(), toolmeter_core::EventRingError>(())
/// ```
#[derive(Debug)]
#[must_use = "it drains nothing unless it is iterated"]
pub struct EventRingDrain<'a> {
    ring: EventRing<'a>,
    /// The first position that the previous drain left.
    from: u64,
    /// The first position of the last lap of the ring, or `from` if that is later.
    first: u64,
    /// Set if there may be events of positions below `first`.
    has_older: bool,
    /// The next position to visit.
    pub(super) at: u64,
    /// The position after the last to visit.
    end: u64,
    /// The first position whose event was not complete, or the end.
    none_at: u64,
}

impl<'a> EventRingDrain<'a> {
    /// Begins to drain. Returns `None` while there is another drain.
    #[inline]
    pub(super) fn begin(ring: EventRing<'a>) -> Option<Self> {
        let Header { tickets, relay } = ring.header();
        let from = relay.fetch_or(DRAINING, Acquire);
        if from & DRAINING != 0 {
            return None;
        }
        let end = tickets.entered();
        // In more positions than there are places, a place would be visited twice.
        let first = from.max(end.saturating_sub(ring.capacity() as u64));
        Some(Self {
            ring,
            from,
            first,
            has_older: from < first,
            at: first,
            end,
            none_at: end,
        })
    }

    /// Takes the event of the lowest position from before the last lap, if there is one.
    #[cold]
    fn take_oldest(&self) -> Option<RingEvent> {
        let places = 0..self.ring.capacity() as u64;
        let complete = places.filter_map(|place| self.ring.place(place).position());
        let oldest = complete.filter(|&position| position < self.first).min()?;
        let event = self.ring.place(oldest).take(oldest)?;
        self.ring.header().tickets.count_drained(1);
        Some(event)
    }
}

impl Iterator for EventRingDrain<'_> {
    type Item = RingEvent;

    #[inline]
    fn next(&mut self) -> Option<RingEvent> {
        if self.has_older {
            if let Some(event) = self.take_oldest() {
                return Some(event);
            }
            self.has_older = false;
        }
        while self.at < self.end {
            let at = self.at;
            self.at += 1;
            if let Some(event) = self.ring.place(at).take(at) {
                self.ring.header().tickets.count_drained(1);
                return Some(event);
            }
            self.none_at = self.none_at.min(at);
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.end.saturating_sub(self.at)).ok())
    }
}

impl core::iter::FusedIterator for EventRingDrain<'_> {}

impl Drop for EventRingDrain<'_> {
    fn drop(&mut self) {
        let Header { tickets, relay } = self.ring.header();
        let passed = self.none_at.min(self.at);
        let passed = if self.from < self.first {
            self.from
        } else {
            passed
        };
        let left = tickets.settled().unwrap_or(passed);
        relay.fetch_add(left.wrapping_sub(DRAINING | self.from), Release);
    }
}
