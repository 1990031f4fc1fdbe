//! A bounded ring of events in borrowed words, for interrupts and threads: [`EventRing`].
//!
//! # Guarantees
//!
//! - An offer waits for nothing: neither for the drain, nor for another offer that it interrupted.
//! - The drain waits for nothing: it takes each event that is complete, even if one before it is not.
//! - Each drained event is whole and is drained once.
//! - Every event has a number of its own, and is either drained or counted as lost. Once nothing is
//!   under way and the ring is drained, `offered = lost + drained`, and a gap in the numbers is a loss.
//! - The end of a call is not drained before its start, if the start was offered before it.
//! - There is one drain at a time. A request for a second one returns `None`.
//!
//! Tickets (see [`tickets`](crate::tickets)) decide which events are admitted, and to which position.
//! They guarantee that no more events are under way than there are places.
//!
//! # Places
//!
//! The event of a position is put into a *place*: the position modulo the capacity. A place is a word
//! of state and the words of one event. The state says whether an offer *holds* the place, and which
//! position's event is complete in it, if any:
//!
//! | state | who may change it, and how |
//! | --- | --- |
//! | empty | an offer holds it: `fetch_or` of the bit |
//! | held | the offer that holds it replaces the bit by its position; other offers that set the bit change nothing and give up |
//! | full | the drain subtracts the position; an offer sets the bit, finds the place full, clears the bit again and gives up |
//!
//! So only an offer that found the place empty and not held writes the words of the event, and only the
//! drain reads them, once they are complete. No other write to them can begin before the drain has
//! emptied the place. This holds wherever either of them is interrupted, and also if others went
//! around the ring while an offer was interrupted. Such an offer either finds its place still empty, and
//! its event is drained late; or it finds the place used by an event of a later lap, and counts its own
//! event as lost. An offer of a later lap that finds the place held counts its own event as lost. The
//! drain ignores the bit, so an offer that stops while it has set the bit of a full place does not hide
//! the event.
//!
//! Positions and tickets are 64-bit words with two bits used as marks, so they wrap after 2^62 events.
//!
//! # What a drain visits
//!
//! A drain reads the number of positions given, once, and takes what is complete at these positions, in
//! order. It leaves an event of a later position in its place. So when it takes an end, it also sees
//! everything that was put before the end was offered, and takes the start first. It records the first
//! position that it passed over, and the next drain begins there.
//!
//! That position may be more than a lap of the ring back, if an offer was interrupted or gave up while
//! others went on. Then the drain first takes the events from before the last lap, that of the lowest
//! position each time, which visits all places for each of them. After that it visits each place once,
//! for the event of the last lap. An event from before that lap that is completed meanwhile is left for
//! the next drain. If nothing is under way, the next drain does not go back.
//!
//! # Orderings
//!
//! Those of the tickets are in [`tickets`](crate::tickets). `relay` is the word that one drain hands to
//! the next. The operations on `state` are in `ring/place.rs`, those on `relay` in `ring/drain.rs`.
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `state` | `fetch_add`, by an offer: full | Release | `load`, by the drain | `an_event_is_drained_whole` |
//! | `state` | `load`, by the drain | Acquire | the above: the event is complete | `an_event_is_drained_whole` |
//! | `state` | `fetch_add`, by the drain: empty | Release | `fetch_or`, by an offer | see below |
//! | `state` | `fetch_or`, by an offer: held | Acquire | the above: the event was read | see below |
//! | `state` | `fetch_add`, by an offer: not held | Relaxed | continues the release sequence of *full* or *empty* | |
//! | `relay` | `fetch_or`, by a drain | Acquire | `fetch_add`, by the drain before | `two_drains_take_each_event_once` |
//! | `relay` | `fetch_add`, by a drain | Release | the above: the places are seen as they were left | `two_drains_take_each_event_once` |
//! | the words of an event | all | Relaxed | behind `state` | |
//!
//! Each change of these two words is a read-modify-write, so it applies to the latest value. (Where only
//! one thread may change a word, other threads that set a bit which is already set change nothing, and a
//! plain store would do. But loom treats their addition of nothing as one that may follow that store.)
//!
//! The pair that empties a place and holds it again keeps the reads of an event before the writes of the
//! next. If the offer was admitted because that event was counted as drained, the tickets also do this.
//! But an offer may have taken its ticket a lap ago. loom does not explore a load that moves behind a
//! later write of the same thread, so for this pair the text is the only proof.
//! `an_offer_that_was_overtaken_disturbs_no_event` shows that the place must be empty and not held.
//!
//! # Examples
//!
//! An interrupt offers while the main loop drains:
//!
//! ```
//! use toolmeter_core::{EventFacts, EventKind, EventRing, Finish, Outcome, Word};
//!
//! const CAPACITY: usize = 8;
//! static WORDS: [Word; EventRing::words(CAPACITY)] =
//!     [const { Word::new(0) }; EventRing::words(CAPACITY)];
//! static EVENTS: EventRing<'static> = match EventRing::new(&WORDS, CAPACITY) {
//!     Ok(ring) => ring,
//!     Err(_) => panic!("the ring is out of range"),
//! };
//! const READ_SENSOR: u32 = 1;
//!
//! // In the interrupt:
//! EVENTS.offer(EventFacts::started(READ_SENSOR, 1, 1_000));
//! let finish = Finish::new(Outcome::Success, 1, 1_000, 250);
//! EVENTS.offer(EventFacts::closing(READ_SENSOR, finish));
//!
//! // In the main loop:
//! let mut kinds = Vec::new();
//! for event in EVENTS.drain().into_iter().flatten() {
//!     kinds.push(event.facts.kind);
//! }
//! assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
//! let accounting = EVENTS.accounting();
//! assert_eq!((accounting.offered, accounting.lost, accounting.drained), (2, 0, 2));
//! ```

mod drain;
mod error;
mod place;

pub use drain::EventRingDrain;
pub use error::EventRingError;
pub use place::RingEvent;

use crate::event::EventFacts;
use crate::sync::Word;
use crate::tickets::{RingAccounting, Tickets};
use core::fmt;
use place::{PLACE, Place};

/// The highest capacity of a ring.
const MAX_CAPACITY: usize = 1 << 20;
/// The number of words before the places: four of the tickets, and `relay`.
const HEADER: usize = 5;

/// A bounded ring of events in borrowed words: any number of producers, one drain at a time.
///
/// It is a view, and all copies of a view share the same events. All methods take `&self` and may be
/// called from interrupt handlers of any priority and from any number of threads. None of them waits,
/// allocates or makes a system call.
///
/// # Examples
///
/// See the [module](crate::ring).
#[derive(Clone, Copy)]
pub struct EventRing<'a> {
    header: &'a [Word; HEADER],
    places: &'a [[Word; PLACE]],
}

/// The words before the places.
struct Header<'a> {
    tickets: Tickets<'a>,
    /// The first position that the next drain visits, and whether there is a drain.
    relay: &'a Word,
}

impl<'a> EventRing<'a> {
    /// Returns the number of words that a ring for `capacity` events needs.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::EventRing;
    ///
    /// assert_eq!(EventRing::words(64), 5 + 64 * 5);
    /// ```
    #[must_use]
    pub const fn words(capacity: usize) -> usize {
        HEADER.saturating_add(capacity.saturating_mul(PLACE))
    }

    /// Creates a view of `words` as a ring for `capacity` events. The words must be zero when they are
    /// used for the first time. Those beyond [`words`](Self::words) are not used.
    ///
    /// # Errors
    ///
    /// [`EventRingError`] if `capacity` is not a power of two from 1 to 1,048,576, or if there are
    /// fewer words than [`words`](Self::words).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventRing, Word};
    ///
    /// static WORDS: [Word; EventRing::words(4)] = [const { Word::new(0) }; EventRing::words(4)];
    /// let ring = EventRing::new(&WORDS, 4)?;
    /// assert_eq!(ring.capacity(), 4);
    /// # Ok::<(), toolmeter_core::EventRingError>(())
    /// ```
    pub const fn new(words: &'a [Word], capacity: usize) -> Result<Self, EventRingError> {
        if !capacity.is_power_of_two() || capacity > MAX_CAPACITY {
            return Err(EventRingError::Capacity { given: capacity });
        }
        if let Some((header, rest)) = words.split_first_chunk() {
            let (all, _) = rest.as_chunks();
            if let Some((places, _)) = all.split_at_checked(capacity) {
                return Ok(Self { header, places });
            }
        }
        Err(EventRingError::TooSmall {
            words: words.len(),
            needed: Self::words(capacity),
        })
    }

    /// Returns the number of events that the ring has room for.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventRing, Word};
    ///
    /// let words: Vec<Word> = (0..EventRing::words(4)).map(|_| Word::new(0)).collect();
    /// assert_eq!(EventRing::new(&words, 4)?.capacity(), 4);
    /// # Ok::<(), toolmeter_core::EventRingError>(())
    /// ```
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.places.len()
    }

    /// Offers an event and returns its number, counted from 0. Never waits: if no room is left, the
    /// event is dropped and counted as lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventFacts, EventRing, Word};
    ///
    /// let words: Vec<Word> = (0..EventRing::words(1)).map(|_| Word::new(0)).collect();
    /// let ring = EventRing::new(&words, 1)?;
    /// assert_eq!(ring.offer(EventFacts::started(0, 1, 0)), 0);
    /// assert_eq!(ring.offer(EventFacts::started(0, 1, 5)), 1); // no room is left
    /// assert_eq!(ring.accounting().lost, 1);
    /// # Ok::<(), toolmeter_core::EventRingError>(())
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "few callers need the number of the event"
    )]
    #[inline]
    pub fn offer(&self, facts: EventFacts) -> u64 {
        let tickets = self.header().tickets;
        let ticket = tickets.take(self.capacity() as u64);
        if !(ticket.is_admitted && self.put(tickets.enter(), ticket.number, facts)) {
            tickets.lose();
        }
        ticket.number
    }

    /// Begins to drain the events that were offered so far. Returns `None` while there is another drain.
    ///
    /// A handler that interrupts a drain gets `None`. The events stay for that drain or the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventFacts, EventRing, Word};
    ///
    /// let words: Vec<Word> = (0..EventRing::words(4)).map(|_| Word::new(0)).collect();
    /// let ring = EventRing::new(&words, 4)?;
    /// ring.offer(EventFacts::started(7, 1, 500));
    /// let mut events = ring.drain().unwrap();
    /// assert!(ring.drain().is_none());
    /// assert_eq!(events.next().map(|event| event.facts.tool), Some(7));
    /// drop(events);
    /// assert_eq!(ring.drain().map(|events| events.count()), Some(0));
    /// # Ok::<(), toolmeter_core::EventRingError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn drain(&self) -> Option<EventRingDrain<'a>> {
        EventRingDrain::begin(*self)
    }

    /// Returns the numbers of events offered, lost and drained so far.
    ///
    /// They are exact once nothing is under way. An event that is under way is counted in `offered`
    /// alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventFacts, EventRing, Word};
    ///
    /// let words: Vec<Word> = (0..EventRing::words(2)).map(|_| Word::new(0)).collect();
    /// let ring = EventRing::new(&words, 2)?;
    /// for started_ns in 0..3 {
    ///     ring.offer(EventFacts::started(0, 1, started_ns));
    /// }
    /// let drained = ring.drain().map_or(0, |events| events.count());
    /// let accounting = ring.accounting();
    /// assert_eq!((accounting.offered, accounting.lost), (3, 1));
    /// assert_eq!((accounting.drained, drained), (2, 2));
    /// # Ok::<(), toolmeter_core::EventRingError>(())
    /// ```
    #[must_use]
    pub fn accounting(&self) -> RingAccounting {
        self.header().tickets.accounting()
    }

    /// Returns the words before the places.
    #[inline]
    const fn header(&self) -> Header<'a> {
        let [offered, entered, lost, drained, relay] = self.header;
        let tickets = Tickets {
            offered,
            entered,
            lost,
            drained,
        };
        Header { tickets, relay }
    }

    /// Returns the place of a position.
    #[inline]
    fn place(&self, position: u64) -> Place<'a> {
        Place::of(&self.places[position as usize & (self.places.len() - 1)])
    }

    /// Puts an event into the place of its position. Returns false if the place is held or full.
    #[inline]
    fn put(&self, position: u64, number: u64, facts: EventFacts) -> bool {
        let place = self.place(position);
        if !place.hold() {
            return false;
        }
        place.write(number, facts);
        place.fill(position);
        true
    }
}

impl fmt::Debug for EventRing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRing")
            .field("capacity", &self.capacity())
            .field("accounting", &self.accounting())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
