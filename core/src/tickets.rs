//! Admission to a bounded ring by tickets: without waiting, and with every loss counted.
//!
//! The arithmetic of four words, for any ring. The events of a host and the
//! [`EventRing`](crate::EventRing) of firmware are admitted in this way; their places differ.
//!
//! # Admission
//!
//! A ring counts the events `offered` to it, `drained` from it and `lost`. An offer reads
//! `gone = drained + lost`, then takes the ticket `n = offered.fetch_add(1)`. It is admitted if
//! `n - gone < capacity`; otherwise it counts itself as lost. So a ring never holds more events than
//! its capacity:
//!
//! > Let `m` be the highest ticket admitted so far, by an offer that read `gone_m = drained_m + lost_m`.
//! > Every loser that this offer read took its ticket before `m`. So at least `lost_m` of the `m + 1`
//! > events up to `m` are lost, and at most `m + 1 - lost_m` are not. Since `m - gone_m < capacity`,
//! > this is at most `capacity + drained_m`: never more than `capacity` events are between their
//! > admission and the moment at which the drain counts them as drained.
//!
//! An offer that is admitted takes the next position, `p = entered.fetch_add(1)`, and puts its event
//! into the place `p` modulo the number of places, which is a power of two and at least the capacity.
//! Losers take no position, so the events in the ring are adjacent, and the place is free. The one
//! exception is an event whose offer or drain was interrupted half way at this place, a full lap of
//! positions ago, while later events were drained. An offer does not wait for it, but counts its own
//! event as lost.
//!
//! So an offer waits for nothing: neither for a drain that stopped with an event half taken, nor for
//! another offer that stopped with an event half put. And the drain waits for no offer: it takes each
//! event that is complete, even if one before it is not. An event that is held up half way costs one
//! place until its producer goes on, and is drained after that.
//!
//! `n` is also the number of the event. Once nothing is under way, a gap in the numbers of a ring is a
//! loss, and `offered = lost + drained` holds exactly.
//!
//! An offer that was interrupted between reading `gone` and taking its ticket compares with a value
//! that has grown meanwhile. Its event may be lost although there is room again, but is never admitted
//! when there is none.
//!
//! # Closing
//!
//! [`Tickets::close`] sets the top bit of `offered`. A ticket with that bit is far above any capacity,
//! so every later offer loses by the same comparison. The last drain runs until nothing is outstanding
//! or its time is up, then seals the ring with a bit in `drained`. In a sealed ring `lost` means
//! `offered - drained`: an event that an interrupted offer puts in after that is lost and counted,
//! however late it is.
//!
//! # Seeing the last offer
//!
//! [`Tickets::pass_over`] writes `offered` by a read-modify-write that does not change it. The
//! `fetch_add` of an offer precedes this write in the modification order of the word, or follows it. If
//! it precedes, its ticket is included in the returned number. If it follows, the offer reads from this
//! write, or from a chain of offers that began there, and so sees what was written before it.
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
//! The proof above also needs the load of `lost` to stay before the ticket. The same `Acquire` ensures
//! this. But loom does not explore a load that moves behind a later read-modify-write, so for this use
//! the text is the only proof.

use crate::sync::{
    Ordering::{Acquire, Relaxed, Release},
    Word,
};

/// In `offered`: the ring is closed. A ticket with this bit is far above any other, so it is not
/// admitted.
const CLOSED: u64 = 1 << 63;
/// In `drained`: the last drain is over.
const SEALED: u64 = 1 << 62;

/// The numbers of events that were offered to a ring, lost and drained since it was created.
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
    /// The number of events offered.
    pub offered: u64,
    /// The number of events lost: no room was left, the ring was closed, or the event was not put in
    /// before the last drain ended.
    pub lost: u64,
    /// The number of events drained.
    pub drained: u64,
}

/// A ticket that an offer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The number of the event in the ring, counted from 0. In a closed ring its top bit is set.
    pub number: u64,
    /// Set if the event takes a position. Otherwise it must be counted as lost.
    pub is_admitted: bool,
}

/// The four words that admit events to a ring and count them.
///
/// They may be anywhere in memory, so that what producers write and what the drain writes can be on
/// different cache lines. All of them are 0 at first. This type is for implementations of a ring;
/// [`EventRing`](crate::EventRing) is a complete one.
///
/// # Examples
///
/// The order of calls of a ring, here without places:
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
    /// The number of tickets given, and the bit that closes the ring.
    pub offered: &'a Word,
    /// The number of positions given: one for each admitted event.
    pub entered: &'a Word,
    /// The number of events lost, up to the seal. In a sealed ring it is `offered - drained` instead.
    pub lost: &'a Word,
    /// The number of events drained, and the seal.
    pub drained: &'a Word,
}

impl Tickets<'_> {
    /// Takes the next ticket of a ring for `capacity` events.
    ///
    /// The caller must then call [`enter`](Self::enter) if the ticket is admitted, and
    /// [`lose`](Self::lose) otherwise.
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

    /// Takes the next position, for an admitted event, counted from 0.
    #[must_use]
    #[inline]
    pub fn enter(self) -> u64 {
        self.entered.fetch_add(1, Release)
    }

    /// Returns the number of positions given. A drain must take no event of a later position.
    #[must_use]
    #[inline]
    pub fn entered(self) -> u64 {
        self.entered.load(Acquire)
    }

    /// Counts an event as lost: it was not admitted, or its place was not free.
    #[inline]
    pub fn lose(self) {
        self.lost.fetch_add(1, Release);
    }

    /// Counts events as drained, which makes room for as many.
    #[inline]
    pub fn count_drained(self, events: u64) {
        self.drained.fetch_add(events, Release);
    }

    /// Returns the number of tickets given.
    #[must_use]
    #[inline]
    pub fn given(self) -> u64 {
        self.offered.load(Relaxed) & !CLOSED
    }

    /// Returns the number of tickets given, and leaves in `offered` a write for later offers to
    /// synchronise with. See [the module](self#seeing-the-last-offer).
    #[must_use]
    #[inline]
    pub fn pass_over(self) -> u64 {
        self.offered.fetch_add(0, Release) & !CLOSED
    }

    /// Returns whether nothing is under way, and leaves in `offered` a write as
    /// [`pass_over`](Self::pass_over) does.
    #[must_use]
    #[inline]
    pub fn is_quiet(self) -> bool {
        let gone = self.gone();
        self.pass_over() == gone & !SEALED
    }

    /// Returns the number of positions given if every ticket is drained or lost, and `None` otherwise.
    ///
    /// The positions are read before the tickets, so each of them belongs to one of these tickets.
    #[must_use]
    #[inline]
    pub fn settled(self) -> Option<u64> {
        let entered = self.entered();
        let gone = self.gone();
        (self.given() == gone).then_some(entered)
    }

    /// Closes the ring. No later ticket is admitted.
    #[inline]
    pub fn close(self) {
        self.offered.fetch_or(CLOSED, Relaxed);
    }

    /// Seals the ring at the end of the last drain. From then on every event that is not drained counts
    /// as lost.
    #[inline]
    pub fn seal(self) {
        self.drained.fetch_or(SEALED, Relaxed);
    }

    /// Returns the numbers of events offered, lost and drained. An event that is under way is counted in
    /// `offered` alone.
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

    /// Returns the number of events drained, with the seal, and the number of events lost. If they are
    /// read before `offered`, they count no ticket that is missing there.
    #[inline]
    fn drained_and_lost(self) -> (u64, u64) {
        let drained = self.drained.load(Acquire);
        (drained, self.lost.load(Acquire))
    }

    /// Returns the number of tickets that need no place any more, with the seal.
    #[inline]
    fn gone(self) -> u64 {
        let (drained, lost) = self.drained_and_lost();
        drained.wrapping_add(lost)
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
