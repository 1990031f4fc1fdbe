//! A bounded ring of events over borrowed words, for interrupts and threads: [`EventRing`].
//!
//! # What is promised
//!
//! - An offer waits for nothing: not for the drain, nor for another offer that it interrupted.
//! - The drain waits for nothing: it takes what is complete, whatever lies before it.
//! - What is drained is whole, and comes once.
//! - Every event has a number of its own, and each is drained or counted as lost: once nothing is
//!   under way and the ring is drained, `offered = lost + drained`, and a gap in the numbers is a
//!   loss.
//! - The end of a call is not drained before its start, if the start was offered before it.
//! - There is one drain at a time. Who asks for a second one gets none.
//!
//! Tickets (see [`tickets`](crate::tickets)) say which event is admitted and to which position; they
//! hold that no more events are under way than there are places.
//!
//! # How an event is put into its place
//!
//! A place is a word of state and the words of one event. The state says whether the place is *held*
//! by an offer, and the position of the event that is complete in it, if any:
//!
//! | state | who may change it, and how |
//! | --- | --- |
//! | empty | an offer holds it: `fetch_or` of the bit |
//! | held | the offer that holds it puts its position in the place of the bit; others that set the bit change nothing and give up |
//! | full | the drain takes the position off; an offer sets the bit, finds the place full, takes the bit off again and gives up |
//!
//! So the words of the event are written only by the offer that found the place empty and not held,
//! and they are read only by the drain, which finds them complete: no other write to them can
//! begin before the drain has emptied the place. That holds wherever either is interrupted, also if
//! the offer was overtaken by a whole turn of the ring meanwhile: it finds its place empty still, and
//! its event is drained late, or it finds the place used by an event of the later turn, and counts
//! its own as lost; and the offer of the later turn which finds the place held counts its own as
//! lost. The drain does not care for the bit, so no offer that stops while it holds a full place
//! hides the event from it.
//!
//! Positions and tickets are 64-bit words, of which two bits serve as marks: they wrap after 2^62
//! events.
//!
//! # What the drain looks at
//!
//! It reads the number of positions given, once, and takes what is complete at these positions, in
//! their order. An event of a later position that it meets in a place stays there. So it takes an
//! end only if it also sees all that was put before the end was offered, and its start comes first.
//! It remembers the first position that it passed over, and begins there the next time.
//!
//! That position may lie more than a turn of the ring back: an offer was held up, or gave up, and
//! others went on. Then the drain looks for events from before the last turn first, the one of the
//! lowest position each time, which takes a look at all places for each of them; and then it looks at
//! each place once, for the event of the last turn. An event from before that turn which is completed
//! meanwhile is left for the next drain. Where nothing is under way there is nothing to go back for.
//!
//! # Orderings
//!
//! Those of the tickets are in [`tickets`](crate::tickets). `relay` is the word that one drain leaves to the
//! next.
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `state` | `fetch_add`, by an offer: full | Release | `load`, by the drain | `an_event_is_drained_whole` |
//! | `state` | `load`, by the drain | Acquire | the above: the event is complete | `an_event_is_drained_whole` |
//! | `state` | `fetch_add`, by the drain: empty | Release | `fetch_or`, by an offer | see below |
//! | `state` | `fetch_or`, by an offer: held | Acquire | the above: the event was read | see below |
//! | `state` | `fetch_add`, by an offer: not held | Relaxed | keeps the chain that began with *full* or *empty* | |
//! | `relay` | `fetch_or`, by a drain | Acquire | `fetch_add`, by the drain before | `two_drains_take_each_event_once` |
//! | `relay` | `fetch_add`, by a drain | Release | the above: the places are seen as they were left | `two_drains_take_each_event_once` |
//! | the words of an event | all | Relaxed | behind `state` | |
//!
//! Each change of these two words is a read-modify-write, so it is made to the latest value. (Where
//! only one may change a word, others that set a bit which is set change nothing, and a plain store
//! would do. But loom takes their addition of nothing for one that may come after that store.)
//!
//! The pair that empties a place and holds it again keeps the reading of an event before the
//! writing of the next. Where the offer was admitted because that event was counted as drained, the
//! tickets do that too; but an offer may have got its ticket a turn ago. A load that moves behind a
//! later write of the same thread is what loom does not explore, so for this pair the text is the
//! only proof. That the place must be empty, and not held, is shown by
//! `an_offer_that_was_overtaken_disturbs_no_event`.
//!
//! # Examples
//!
//! An interrupt offers while the main loop drains:
//!
//! ```
//! use toolmeter_core::{EventFacts, EventKind, EventRing, Finish, Outcome, Word};
//!
//! const PLACES: usize = 8;
//! static WORDS: [Word; EventRing::words(PLACES)] =
//!     [const { Word::new(0) }; EventRing::words(PLACES)];
//! static EVENTS: EventRing<'static> = match EventRing::new(&WORDS, PLACES) {
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

/// The most places of one ring.
const MAX_PLACES: usize = 1 << 20;
/// The words in front of the places: four of the tickets, and `relay`.
const HEADER: usize = 5;

/// A bounded ring of events in borrowed words: any number of producers, one drain, no waiting.
///
/// It is a view of its words. Copying it is free, and all copies of a view are the same ring. All
/// methods take `&self`, from interrupts of any priority and from any number of threads.
///
/// # Examples
///
/// See [the file](crate::ring).
#[derive(Clone, Copy)]
pub struct EventRing<'a> {
    header: &'a [Word; HEADER],
    places: &'a [[Word; PLACE]],
}

/// The words in front of the places.
struct Header<'a> {
    tickets: Tickets<'a>,
    /// The first position that the next drain looks at, and whether there is a drain.
    relay: &'a Word,
}

impl<'a> EventRing<'a> {
    /// Returns how many words a ring with so many places needs.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::EventRing;
    ///
    /// assert_eq!(EventRing::words(64), 5 + 64 * 5);
    /// ```
    #[must_use]
    pub const fn words(places: usize) -> usize {
        HEADER.saturating_add(places.saturating_mul(PLACE))
    }

    /// Views `words` as a ring with so many places. The words must be zero when they are used for the
    /// first time; those beyond [`words`](Self::words) are left alone.
    ///
    /// # Errors
    ///
    /// [`EventRingError`] if `places` is no power of two from 1 to 1,048,576, or there are fewer
    /// words than they need.
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
    pub const fn new(words: &'a [Word], places: usize) -> Result<Self, EventRingError> {
        if !places.is_power_of_two() || places > MAX_PLACES {
            return Err(EventRingError::Places { given: places });
        }
        if let Some((header, rest)) = words.split_first_chunk() {
            let (all, _) = rest.as_chunks();
            if let Some((places, _)) = all.split_at_checked(places) {
                return Ok(Self { header, places });
            }
        }
        Err(EventRingError::TooSmall {
            words: words.len(),
            needed: Self::words(places),
        })
    }

    /// Returns how many events there is room for.
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

    /// Offers an event, and returns its number. Never waits: if there is no room, the event is lost,
    /// and counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventFacts, EventRing, Word};
    ///
    /// let words: Vec<Word> = (0..EventRing::words(1)).map(|_| Word::new(0)).collect();
    /// let ring = EventRing::new(&words, 1)?;
    /// assert_eq!(ring.offer(EventFacts::started(0, 1, 0)), 0);
    /// assert_eq!(ring.offer(EventFacts::started(0, 1, 5)), 1); // lost
    /// assert_eq!(ring.accounting().lost, 1);
    /// # Ok::<(), toolmeter_core::EventRingError>(())
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "the number of an event is for who wants it"
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

    /// Begins to drain the events that were offered so far; `None` while there is another drain.
    ///
    /// So an interrupt that finds the main loop draining leaves the events to it.
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

    /// Returns what became of the events offered so far.
    ///
    /// Exact once nothing is under way; until then what is under way is in `offered` alone.
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

    #[inline]
    fn place(&self, position: u64) -> Place<'a> {
        Place::of(&self.places[position as usize & (self.places.len() - 1)])
    }

    /// Puts an event into the place of its position; false if the place is not free.
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
