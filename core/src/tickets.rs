//! How an event gets into a bounded ring: by a ticket, without waiting, every loss counted.
//!
//! Owns the arithmetic of four words, for whoever has a ring. The events of a host and the
//! [`EventRing`](crate::EventRing) of firmware are both entered in this way; what their places hold
//! differs.
//!
//! # How an event is admitted
//!
//! A ring counts the events `offered` to it, `drained` from it and `lost`. An offer reads
//! `gone = drained + lost`, then takes the ticket `n = offered.fetch_add(1)`. It is admitted if
//! `n - gone < capacity`, else it counts itself lost. So a ring never holds more than it is said to:
//!
//! > Let `m` be the highest ticket admitted so far, by an offer that read `gone_m`. At most
//! > `m + 1 - lost` events up to `m` were admitted. The losers that `m` read took their tickets
//! > before `m` did, so their number is at most the lost among the tickets below `m`. Hence
//! > `admitted <= m + 1 - lost_m <= capacity + drained_m`: never more than `capacity` events
//! > are between their admission and the moment when the drain counts them as taken.
//!
//! An offer that is admitted takes the next position, `p = entered.fetch_add(1)`, and puts its event
//! into the place `p` modulo the number of places, which is a power of two and at least the capacity.
//! Losers take no position, so the events in the ring lie side by side, and the place is free. The
//! one exception is an event that was held up half way into this place, a full turn of positions
//! ago, or half way out of it, while those after it were drained. An offer does not wait for it: it
//! counts its own event as lost.
//!
//! So an offer waits for nothing: not for a drain stopped with an event half taken, and not for
//! another offer stopped with an event half put. And the drain waits for no offer: it takes what
//! is complete, whatever lies before it. An event held up half way costs one place until its
//! producer goes on, and is drained after that.
//!
//! `n` is also the event's number. Once nothing is under way, a gap in a ring's numbers is a
//! loss, and `offered = lost + drained` holds exactly.
//!
//! An offer that was interrupted between reading `gone` and taking its ticket compares with less
//! than is gone by then. It may be lost though there is room again; it is never admitted though there
//! is none.
//!
//! # How a ring closes
//!
//! [`Tickets::close`] sets the top bit of `offered`; a ticket with that bit is far above any capacity,
//! so every later offer loses by the same comparison. The last drain runs until nothing is
//! outstanding or its time is up, then seals the ring with a bit in `drained`. In a sealed ring
//! `lost` means `offered - drained`: what an offer preempted since its admission still puts in is
//! lost, and counted, however late it comes.
//!
//! # How to see the last offer
//!
//! [`Tickets::pass_over`] passes over `offered` with a read-modify-write that changes nothing. The
//! `fetch_add` of an offer comes before that in the order of the word, or after it. Before: its
//! ticket is among those that are told. After: the offer reads from this write, or from a chain of
//! offers that began there, and so sees what was written before it.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `drained` | `fetch_add`, by the drain | Release | `drained.load` | `an_account_never_tells_of_more_than_was_offered` |
//! | `drained` | `load` | Acquire | the above: `offered` is read no older | `an_account_never_tells_of_more_than_was_offered` |
//! | `lost` | `fetch_add`, by a loser | Release | `lost.load` | `closing_loses_nothing_uncounted` |
//! | `lost` | `load` | Acquire | the above: `offered` is read no older | `closing_loses_nothing_uncounted` |
//! | `offered` | `fetch_add(1)`, by an offer | Acquire | `fetch_add(0)` | `no_wake_up_is_lost` |
//! | `offered` | `fetch_add(0)`, by `pass_over` | Release | `fetch_add(1)` | `no_wake_up_is_lost` |
//! | `entered` | `fetch_add(1)`, by an offer | Release | `load`, by the drain | `a_start_never_comes_after_its_end` |
//! | `entered` | `load`, by the drain | Acquire | the above: what was put before is seen | `a_start_never_comes_after_its_end` |
//! | `offered` | `fetch_or`, other `load`s | Relaxed | order of the one word | |
//! | `drained` | `fetch_or`, the seal | Relaxed | total and seal are one word | |
//!
//! The proof above also needs the load of `lost` before the ticket to stay before it. That is the
//! same `Acquire`; but a load that moves behind a later read-modify-write is what loom does not
//! explore, so for that use of it the text is the only proof.

use crate::sync::{
    Ordering::{Acquire, Relaxed, Release},
    Word,
};

/// In `offered`: the ring is closed. Far above any ticket, so no such ticket is admitted.
const CLOSED: u64 = 1 << 63;
/// In `drained`: the last drain is over.
const SEALED: u64 = 1 << 62;

/// What became of the events offered to one ring. Counts, since it was made.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{EventFacts, EventRing, Word};
///
/// static WORDS: [Word; EventRing::words(1)] = [const { Word::new(0) }; EventRing::words(1)];
/// let ring = EventRing::new(&WORDS, 1)?;
/// ring.offer(EventFacts::started(0, 1, 0));
/// ring.offer(EventFacts::started(0, 1, 1)); // no room
/// let accounting = ring.accounting();
/// assert_eq!((accounting.offered, accounting.lost, accounting.drained), (2, 1, 0));
/// # Ok::<(), toolmeter_core::EventRingError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingAccounting {
    /// Events offered.
    pub offered: u64,
    /// Events lost: no room, offered after closing, or never put in before the last drain ended.
    pub lost: u64,
    /// Events that the drain took out.
    pub drained: u64,
}

/// A ticket that an offer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which event of the ring it is, counted from 0. In a closed ring with its top bit set.
    pub number: u64,
    /// Whether the event takes a position. If not, it is to be counted as lost.
    pub is_admitted: bool,
}

/// The four words of a ring that say what was offered to it and what became of that.
///
/// They may lie wherever their owner wants them, so that what producers write and what the drain
/// writes can be kept on different cache lines. All of them are 0 at first. This type is only for
/// whoever builds a ring; [`EventRing`](crate::EventRing) is one that is built.
///
/// # Examples
///
/// A ring without places, which only counts:
///
/// ```
/// use toolmeter_core::{Word, tickets::Tickets};
///
/// let words = [const { Word::new(0) }; 4];
/// let [offered, entered, lost, drained] = &words;
/// let tickets = Tickets { offered, entered, lost, drained };
///
/// let capacity = 1;
/// let first = tickets.take(capacity);
/// assert!(first.is_admitted);
/// assert_eq!(tickets.enter(), 0);
/// let second = tickets.take(capacity);
/// assert!(!second.is_admitted);
/// tickets.lose();
/// tickets.count_drained(1);
/// assert_eq!(tickets.settled(), Some(1));
/// assert_eq!(tickets.accounting().lost, 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tickets<'a> {
    /// Tickets given, and the bit that closes the ring.
    pub offered: &'a Word,
    /// Positions given: one for each event that was admitted.
    pub entered: &'a Word,
    /// Events that were refused. In a sealed ring it is no longer read.
    pub lost: &'a Word,
    /// Events taken out, and the seal.
    pub drained: &'a Word,
}

impl Tickets<'_> {
    /// Takes the next ticket of a ring with so many places.
    ///
    /// Then either [`enter`](Self::enter) or [`lose`](Self::lose) is to be called.
    #[must_use]
    #[inline]
    pub fn take(self, capacity: u64) -> Ticket {
        let gone = self.gone();
        let number = self.offered.fetch_add(1, Acquire);
        // A closed or a sealed ring makes the difference huge.
        let is_admitted = number.wrapping_sub(gone) < capacity;
        Ticket {
            number,
            is_admitted,
        }
    }

    /// Takes the next position, for an event that is admitted.
    #[must_use]
    #[inline]
    pub fn enter(self) -> u64 {
        self.entered.fetch_add(1, Release)
    }

    /// Returns how many positions were given. For the drain: the places of these are to be looked
    /// at, and no later ones.
    #[must_use]
    #[inline]
    pub fn entered(self) -> u64 {
        self.entered.load(Acquire)
    }

    /// Counts an event that was not admitted, or whose place was not free.
    #[inline]
    pub fn lose(self) {
        self.lost.fetch_add(1, Release);
    }

    /// Counts events as taken; from here on others are admitted for them.
    #[inline]
    pub fn count_drained(self, events: u64) {
        self.drained.fetch_add(events, Release);
    }

    /// Returns how many tickets were given.
    #[must_use]
    #[inline]
    pub fn given(self) -> u64 {
        self.offered.load(Relaxed) & !CLOSED
    }

    /// Returns how many tickets were given, leaving in `offered` a write for later offers to read.
    #[must_use]
    #[inline]
    pub fn pass_over(self) -> u64 {
        self.offered.fetch_add(0, Release) & !CLOSED
    }

    /// Returns whether nothing is under way, leaving in `offered` a write for later offers to read.
    #[must_use]
    #[inline]
    pub fn is_quiet(self) -> bool {
        let gone = self.gone();
        self.pass_over() == gone & !SEALED
    }

    /// Returns how many positions were given, if each ticket is drained or lost. Read before the
    /// tickets: each of these positions has a ticket among those.
    #[must_use]
    #[inline]
    pub fn settled(self) -> Option<u64> {
        let entered = self.entered();
        let gone = self.gone();
        (self.given() == gone).then_some(entered)
    }

    /// Closes the ring: every later ticket is refused.
    #[inline]
    pub fn close(self) {
        self.offered.fetch_or(CLOSED, Relaxed);
    }

    /// Seals the ring, since the last drain is over: what is not drained is lost.
    #[inline]
    pub fn seal(self) {
        self.drained.fetch_or(SEALED, Relaxed);
    }

    /// Returns what became of the events offered so far. What is under way is in `offered` alone.
    #[must_use]
    #[inline]
    pub fn accounting(self) -> RingAccounting {
        let (with_seal, lost) = self.drained_and_lost();
        let offered = self.given();
        let drained = with_seal & !SEALED;
        let lost = if with_seal == drained {
            lost
        } else {
            offered.wrapping_sub(drained)
        };
        RingAccounting {
            offered,
            lost,
            drained,
        }
    }

    /// Returns the events drained (and the seal) and the events lost. Read before `offered`, the two
    /// never count a ticket that is not given yet.
    #[inline]
    fn drained_and_lost(self) -> (u64, u64) {
        let drained = self.drained.load(Acquire);
        (drained, self.lost.load(Acquire))
    }

    /// Returns how many tickets need no place any more.
    #[inline]
    fn gone(self) -> u64 {
        let (drained, lost) = self.drained_and_lost();
        drained.wrapping_add(lost)
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
