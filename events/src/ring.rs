//! One bounded ring of events per stripe, entered by ticket; every loss is counted.
//!
//! # How an event gets in
//!
//! A bounded channel that is full answers `Full`, but to be sure of it crossbeam's spins while
//! an event is half taken: a drain that lost its core there would hold up
//! every tool call of the stripe. So the channel is never asked. Each stripe counts the events
//! `offered` to it, `drained` from it and `lost`. An offer reads `gone = drained + lost`, then
//! takes the ticket `n = offered.fetch_add(1)`. It is admitted if `n - gone < capacity`, else it
//! counts itself lost. An offer that is admitted finds a free place:
//!
//! > Let `m` be the highest ticket admitted so far, by an offer that read `gone_m`. At most
//! > `m + 1 - lost` events up to `m` were admitted. The losers that `m` read took their tickets
//! > before `m` did, so their number is at most the lost among the tickets below `m`. Hence
//! > `admitted <= m + 1 - lost_m <= capacity + drained_m`: never more than `capacity` events
//! > are between their admission and the moment when the drain counts them as taken. A place is
//! > counted as free only after it was emptied, and an offer that reads the count sees it empty.
//!
//! Should the channel refuse an admitted event all the same, the event is counted as lost, and a
//! debug build and a model panic.
//!
//! So an offer never waits: not for a drain stopped with an event half taken, and not for another
//! offer stopped with an event half put. (The second does delay the drain: it waits for the
//! event at the head of the ring until its producer goes on.)
//!
//! `n` is also the event's number. Once nothing is under way, a gap in a stripe's numbers is a
//! loss, and `offered = lost + drained` holds exactly.
//!
//! # How the rings close
//!
//! [`Rings::close`] sets the top bit of each `offered` word; a ticket with that bit is far above
//! any capacity, so every later offer loses by the same comparison. The last drain runs until
//! nothing is outstanding or its time is up, then seals each stripe with a bit in `drained`. In a
//! sealed stripe `lost` means `offered - drained`: what an offer preempted since its admission
//! still puts in is lost, and counted, however late it comes.
//!
//! # How a sleeping pump learns of an event
//!
//! `Rings::fall_asleep` sets the mark, then passes over every `offered` word with a
//! read-modify-write that changes nothing. The `fetch_add` of an offer comes before that in the
//! order of the word, or after it. Before: the pump reads the ticket, finds it neither drained
//! nor lost, and stays awake. After: the offer reads from the pump's write, or from a chain of
//! offers that began there, and so sees the mark. There is no third case, so no event can arrive
//! unseen, and no decision needs `SeqCst`.
//!
//! # Where a subscription begins
//!
//! A subscription gets events from some ticket of each stripe on: its floors. `Rings::floors`
//! reads every `offered` word once, and that is the floor of the stripe's ends; then it passes
//! over every word again, with a read-modify-write that changes nothing, and that is the floor of
//! the stripe's starts. A subscription that gets the start of a call gets its end too:
//!
//! > The `fetch_add` of a start that is not below its floor comes after the second pass over its
//! > word, and reads from that write, or from a chain of offers that began there. So the whole
//! > first pass happened before the start was offered, hence before the end of the call was. A
//! > load never reads from what it happened before: the floor of ends, in whichever stripe, is
//! > not above the ticket of that end.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `drained` | `fetch_add`, by the drain | Release | `drained.load` | `the_channel_is_never_tried_when_full` |
//! | `drained` | `load` | Acquire | the above: the place is empty | `the_channel_is_never_tried_when_full` |
//! | `lost` | `fetch_add`, by a loser | Release | `lost.load` | `closing_loses_nothing_uncounted` |
//! | `lost` | `load` | Acquire | the above: `offered` is read no older | `closing_loses_nothing_uncounted` |
//! | `offered` | `fetch_add(1)`, by an offer | Acquire | `fetch_add(0)` | `no_wake_up_is_lost` |
//! | `offered` | `fetch_add(0)`, by `fall_asleep` | Release | `fetch_add(1)` | `no_wake_up_is_lost` |
//! | `offered` | `fetch_add(0)`, by `floors` | Release | `fetch_add(1)` | see below |
//! | `offered` | `fetch_or`, `load` | Relaxed | order of the one word | |
//! | `drained` | `fetch_or`, the seal | Relaxed | total and seal are one word | |
//! | `subscriptions` | all | Relaxed | order of the one word | |
//! | `asleep` | all | Relaxed | carried by `offered`, see above | `no_wake_up_is_lost` |
//!
//! The proof above also needs the load of `lost` before the ticket to stay before it. That is the
//! same `Acquire`; but a load that moves behind a later read-modify-write is what loom does not
//! explore, so for that use of it the text is the only proof. The same holds for the first pass of
//! `floors`, which the `Release` of the second keeps before it; that two passes are needed is shown
//! by `a_call_across_stripes_never_comes_without_its_end`.

use crate::{
    accounting::{RingsAccounting, StripeAccounting},
    channel::{Receiver, Sender, TrySendError, bounded},
    event::{Draft, Event},
    id::{CallId, EventNumber, TICKET_MASK},
    sync::{
        AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
        Word,
    },
    wake::SleepMark,
};
use crossbeam_utils::CachePadded;
use std::{fmt, sync::OnceLock};
use thiserror::Error;
use toolmeter_core::{StripesError, check_stripes};

/// In `offered`: the stripe is closed. Far above any ticket, so no such ticket is admitted.
const CLOSED: u64 = 1 << 63;
/// In `drained`: the last drain is over.
const SEALED: u64 = 1 << 62;
/// The most places of one ring.
const MAX_CAPACITY: usize = 1 << 20;

/// Why [`Rings::new`] refused.
///
/// # Examples
///
/// ```
/// use toolmeter_events::{Rings, RingsError};
///
/// assert!(matches!(Rings::new(3, 64).unwrap_err(), RingsError::Stripes(_)));
/// assert_eq!(Rings::new(1, 0).unwrap_err(), RingsError::Capacity { given: 0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RingsError {
    /// The number of stripes is no power of two, or out of range.
    #[error(transparent)]
    Stripes(#[from] StripesError),
    /// The number of places is out of range.
    #[error("{given} events in a ring: the number must be from 1 to 1,048,576")]
    Capacity {
        /// The number that was asked for.
        given: usize,
    },
}

/// The rings of one registry: offered to by any thread, taken from by one drain.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use toolmeter_events::{Drain, Draft, Rings, ToolId};
///
/// let rings = Arc::new(Rings::new(2, 4_096)?);
/// rings.open(); // as the first subscription does
/// let call = rings.offer(1, Draft::started(ToolId::new(0), 1, 500, None), None);
///
/// let mut drain = Drain::new(&rings, 0);
/// let round = drain.round(|| 1_000);
/// assert_eq!(round.events[0].call(), call);
/// assert_eq!(rings.accounting().drained, 1);
/// # Ok::<(), toolmeter_events::RingsError>(())
/// ```
pub struct Rings {
    gate: CachePadded<Gate>,
    stripes: Box<[Stripe]>,
    capacity: u64,
}

/// What every call reads and few write.
#[derive(Default)]
struct Gate {
    /// Subscriptions that live.
    subscriptions: AtomicUsize,
    sleep: SleepMark,
}

/// From which tickets of a stripe on a subscription gets events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    pub(crate) ends: u64,
    pub(crate) starts: u64,
}

struct Stripe {
    tickets: CachePadded<Tickets>,
    /// Events taken out, and the seal. On a line of its own: producers read it, the drain writes
    /// it once a round.
    drained: CachePadded<Word>,
    /// Built by the first subscription.
    channel: OnceLock<(Sender<Event>, Receiver<Event>)>,
}

/// The words that producers write.
#[derive(Default)]
struct Tickets {
    /// Tickets given, and the bit that closes the stripe.
    offered: Word,
    /// Events that were refused. In a sealed stripe it is no longer read.
    lost: Word,
}

impl Rings {
    /// Makes rings for this many stripes, with places for `capacity` events each. No ring memory is
    /// taken before [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// [`RingsError`] if `stripes` is no power of two from 1 to 256, or `capacity` is not from 1
    /// to 1,048,576.
    pub fn new(stripes: usize, capacity: usize) -> Result<Self, RingsError> {
        // At most 256: their index takes 8 bits of a `CallId`.
        check_stripes(stripes)?;
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            return Err(RingsError::Capacity { given: capacity });
        }
        Ok(Self {
            gate: CachePadded::default(),
            stripes: (0..stripes).map(|_| Stripe::new()).collect(),
            capacity: capacity as u64,
        })
    }

    /// Returns how many stripes there are.
    #[must_use]
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// Returns how many events each stripe has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Returns whether there is a subscription: one relaxed load.
    ///
    /// A call that begins after `subscribe` returned sees true; one that begins at the same time
    /// may see either.
    #[must_use]
    #[inline]
    pub fn is_open(&self) -> bool {
        self.gate.subscriptions.load(Relaxed) > 0
    }

    /// Builds the rings, if they are not built yet. [`Hub::subscribe`](crate::Hub::subscribe)
    /// does it; events offered before are lost, and counted.
    pub fn open(&self) {
        for stripe in &self.stripes {
            stripe.channel.get_or_init(|| bounded(self.capacity()));
        }
    }

    /// Offers an event to the ring of this stripe (taken modulo the number of stripes), and
    /// returns the id of its call: `call` if given, else the event's own number.
    ///
    /// Never waits. If there is no room, the event is lost and counted; the id is as good. An
    /// offer that finds the pump asleep wakes it.
    #[inline]
    pub fn offer(&self, stripe: usize, draft: Draft, call: Option<CallId>) -> CallId {
        let index = stripe & (self.stripes.len() - 1);
        let stripe = &self.stripes[index];
        let gone = stripe.gone();
        let ticket = stripe.tickets.offered.fetch_add(1, Acquire);
        let number = EventNumber::new(index as u8, ticket);
        let call = call.unwrap_or(CallId::from(number));
        // A closed or a sealed stripe makes the difference huge.
        if ticket.wrapping_sub(gone) < self.capacity
            && let Some((sender, _)) = stripe.channel.get()
        {
            match sender.try_send(draft.into_event(number, call)) {
                Ok(()) if !self.gate.sleep.is_set() => {}
                Ok(()) => self.gate.sleep.wake(),
                Err(refused) => stripe.count_refused(&refused),
            }
        } else {
            stripe.count_lost(draft);
        }
        call
    }

    /// Returns what became of the events offered so far.
    ///
    /// Exact once nothing is under way; until then what is under way is in `offered` alone.
    #[must_use]
    pub fn accounting(&self) -> RingsAccounting {
        self.stripes.iter().map(Stripe::accounting).collect()
    }

    /// Returns how many events wait in the rings at this moment.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.stripes.iter().map(Stripe::waiting).sum()
    }

    /// Closes the rings: every later offer is lost, and counted. What was admitted before is for
    /// [`Drain::finish`](crate::Drain::finish), which calls this too.
    pub fn close(&self) {
        for stripe in &self.stripes {
            stripe.tickets.offered.fetch_or(CLOSED, Relaxed);
        }
    }

    /// Gives the rings what wakes their pump. Once: false, and no change, if they have it.
    ///
    /// An offer calls it on its own thread, so it must be short and must not wait.
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) -> bool {
        self.gate.sleep.set_waker(Box::new(waker))
    }

    /// Marks the pump asleep, unless an event is under way. For the thread that drains, which
    /// must not itself hold an event: see [`Drain::fall_asleep`](crate::Drain::fall_asleep).
    #[must_use]
    pub(crate) fn fall_asleep(&self) -> bool {
        self.gate.sleep.set();
        let quiet = self.stripes.iter().all(Stripe::is_quiet);
        if !quiet {
            self.gate.sleep.clear();
        }
        quiet
    }

    /// Takes the pump's mark back, if no offer took it: the pump woke up.
    pub fn stay_awake(&self) {
        self.gate.sleep.clear();
    }

    /// Wakes the pump if it marked itself asleep, as an offer would.
    pub fn wake(&self) {
        self.gate.sleep.wake();
    }

    /// Counts one subscription more. The rings are open before it is seen.
    pub(crate) fn subscribed(&self) {
        self.gate.subscriptions.fetch_add(1, Relaxed);
    }

    /// Counts one subscription less.
    pub(crate) fn unsubscribed(&self) {
        self.gate.subscriptions.fetch_sub(1, Relaxed);
    }

    /// Returns for each stripe the tickets from which a subscription gets events.
    pub(crate) fn floors(&self) -> Box<[Floor]> {
        let first = |stripe: &Stripe| Floor {
            ends: stripe.tickets.offered.load(Relaxed) & TICKET_MASK,
            starts: 0,
        };
        let mut floors: Box<[_]> = self.stripes.iter().map(first).collect();
        for (floor, stripe) in floors.iter_mut().zip(&self.stripes) {
            floor.starts = stripe.tickets.offered.fetch_add(0, Release) & TICKET_MASK;
        }
        floors
    }

    /// Reads the length of each ring, in the order of the stripes. For the drain.
    pub(crate) fn lengths(&self, lengths: &mut Vec<usize>) {
        lengths.clear();
        lengths.extend(self.stripes.iter().map(Stripe::waiting));
    }

    /// Takes the next event of this stripe. For the drain; waits for an event that is half put.
    pub(crate) fn take(&self, stripe: usize) -> Option<Event> {
        self.stripes[stripe].channel.get()?.1.try_recv().ok()
    }

    /// Counts events of this stripe as taken; from here on their places are free.
    pub(crate) fn count_drained(&self, stripe: usize, events: u64) {
        self.stripes[stripe].drained.fetch_add(events, Release);
    }

    /// Returns whether every ticket given is drained or lost. For the last drain, after closing.
    pub(crate) fn is_settled(&self) -> bool {
        self.stripes.iter().all(|stripe| {
            let gone = stripe.gone();
            stripe.tickets.offered.load(Relaxed) & !CLOSED == gone
        })
    }

    /// Seals the stripes, since the last drain is over: what is not drained is lost.
    pub(crate) fn seal(&self) {
        for stripe in &self.stripes {
            stripe.drained.fetch_or(SEALED, Relaxed);
        }
    }
}

impl Stripe {
    fn new() -> Self {
        Self {
            tickets: CachePadded::default(),
            drained: CachePadded::default(),
            channel: OnceLock::new(),
        }
    }

    /// Returns the events drained (and the seal) and the events lost. Read before `offered`, the two never count
    /// a ticket that is not given yet.
    #[inline]
    fn drained_and_lost(&self) -> (u64, u64) {
        let drained = self.drained.load(Acquire);
        (drained, self.tickets.lost.load(Acquire))
    }

    /// Returns how many tickets need no place any more.
    #[inline]
    fn gone(&self) -> u64 {
        let (drained, lost) = self.drained_and_lost();
        drained.wrapping_add(lost)
    }

    /// Returns whether nothing is under way, leaving in `offered` a write for later offers to read.
    fn is_quiet(&self) -> bool {
        let gone = self.gone();
        self.tickets.offered.fetch_add(0, Release) & !CLOSED == gone & !SEALED
    }

    fn waiting(&self) -> usize {
        self.channel.get().map_or(0, |(_, receiver)| receiver.len())
    }

    /// Counts an event that was not admitted, or came before the rings were built.
    #[cold]
    fn count_lost(&self, draft: Draft) {
        self.lose();
        drop(draft);
    }

    fn lose(&self) {
        self.tickets.lost.fetch_add(1, Release);
    }

    /// Counts an event that the channel refused though it was admitted. By the proof at the top of
    /// the file it is never called.
    ///
    /// # Panics
    ///
    /// In a debug build and in a model.
    #[cold]
    fn count_refused(&self, refused: &TrySendError<Event>) {
        self.lose();
        if cfg!(any(debug_assertions, toolmeter_loom)) {
            panic!("the channel refused an admitted event: {refused:?}");
        }
    }

    fn accounting(&self) -> StripeAccounting {
        let (drained, lost) = self.drained_and_lost();
        let offered = self.tickets.offered.load(Relaxed) & !CLOSED;
        let total = drained & !SEALED;
        let lost = if drained == total {
            lost
        } else {
            offered.wrapping_sub(total)
        };
        StripeAccounting {
            offered,
            lost,
            drained: total,
        }
    }
}

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rings")
            .field("capacity", &self.capacity)
            .field("is_open", &self.is_open())
            .field("accounting", &self.accounting())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use crate::id::ToolId;
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, atomic::AtomicU32},
    };

    fn started() -> Draft {
        Draft::started(ToolId::new(0), 1, 0, None)
    }

    fn open(stripes: usize, capacity: usize) -> Rings {
        let rings = Rings::new(stripes, capacity).unwrap();
        rings.open();
        rings
    }

    /// Takes and counts what waits in a stripe.
    fn empty(rings: &Rings, stripe: usize) -> Vec<u64> {
        let taken: Vec<_> = std::iter::from_fn(|| rings.take(stripe))
            .map(|event| event.number().ticket())
            .collect();
        rings.count_drained(stripe, taken.len() as u64);
        taken
    }

    #[test]
    fn ranges_are_checked_and_named() {
        for stripes in [0, 3, 512, usize::MAX] {
            let error = Rings::new(stripes, 1).unwrap_err();
            let RingsError::Stripes(StripesError { given, .. }) = error else {
                panic!("{error}")
            };
            assert_eq!(given, stripes);
            assert!(error.to_string().contains("256"), "{error}");
        }
        for capacity in [0, MAX_CAPACITY + 1] {
            let error = Rings::new(1, capacity).unwrap_err();
            assert_eq!(error, RingsError::Capacity { given: capacity });
            assert!(error.to_string().contains("from 1 to 1,048,576"));
        }
        assert!(Rings::new(256, 1).is_ok() && Rings::new(1, MAX_CAPACITY).is_ok());
    }

    #[test]
    fn before_the_first_subscription_events_are_lost_and_counted() {
        let rings = Rings::new(1, 4).unwrap();
        assert!(!rings.is_open());
        assert_eq!(rings.offer(0, started(), None), CallId::new(0, 0));
        assert_eq!(rings.waiting(), 0);
        let accounting = rings.accounting();
        assert_eq!(
            (accounting.offered, accounting.lost, accounting.drained),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_full_ring_loses_the_new_and_a_gap_tells() {
        let rings = open(1, 2);
        for ticket in 0..4 {
            assert_eq!(rings.offer(0, started(), None), CallId::new(0, ticket));
        }
        assert_eq!(empty(&rings, 0), [0, 1]);
        rings.offer(0, started(), None);
        assert_eq!(empty(&rings, 0), [4]);
        let accounting = rings.accounting();
        assert_eq!(
            (accounting.offered, accounting.lost, accounting.drained),
            (5, 2, 3)
        );
    }

    #[test]
    fn a_taken_event_frees_its_place_only_when_counted() {
        let rings = open(1, 1);
        rings.offer(0, started(), None);
        assert!(rings.take(0).is_some());
        rings.offer(0, started(), None);
        assert_eq!((rings.accounting().lost, rings.waiting()), (1, 0));
        rings.count_drained(0, 1);
        rings.offer(0, started(), None);
        assert_eq!((rings.accounting().lost, rings.waiting()), (1, 1));
    }

    #[test]
    fn any_stripe_number_finds_a_ring() {
        let rings = open(2, 4);
        assert_eq!(rings.offer(7, started(), None), CallId::new(1, 0));
        assert_eq!(rings.offer(usize::MAX, started(), None), CallId::new(1, 1));
        assert_eq!(rings.accounting().stripes[1].offered, 2);
    }

    #[test]
    fn an_end_keeps_the_id_of_its_call() {
        let rings = open(2, 4);
        let call = rings.offer(1, started(), None);
        assert_eq!(rings.offer(0, started(), Some(call)), call);
        assert_eq!(rings.take(0).unwrap().call(), call);
    }

    #[test]
    fn closed_rings_take_nothing_more() {
        let rings = open(1, 4);
        rings.offer(0, started(), None);
        rings.close();
        assert_eq!(rings.offer(0, started(), None), CallId::new(0, 1));
        let floors = rings.floors();
        assert_eq!((floors[0].ends, floors[0].starts), (2, 2));
        assert_eq!(empty(&rings, 0), [0]);
        assert!(rings.is_settled());
        rings.seal();
        rings.offer(0, started(), None);
        let accounting = rings.accounting();
        assert_eq!(
            (accounting.offered, accounting.lost, accounting.drained),
            (3, 2, 1)
        );
    }

    #[test]
    fn what_was_not_drained_before_the_seal_is_lost() {
        let rings = open(1, 4);
        rings.offer(0, started(), None);
        rings.close();
        assert!(!rings.is_settled());
        rings.seal();
        let accounting = rings.accounting();
        assert_eq!(
            (accounting.offered, accounting.lost, accounting.drained),
            (1, 1, 0)
        );
    }

    #[test]
    fn only_the_first_offer_wakes_a_sleeping_pump() {
        let rings = open(2, 4);
        let woken = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&woken);
        assert!(rings.set_waker(move || {
            counter.fetch_add(1, Relaxed);
        }));
        assert!(!rings.set_waker(|| {}));

        rings.offer(0, started(), None);
        assert!(!rings.fall_asleep(), "an event waits");
        empty(&rings, 0);
        assert!(rings.fall_asleep());
        rings.offer(1, started(), None);
        rings.offer(0, started(), None);
        assert_eq!(woken.load(Relaxed), 1);
        empty(&rings, 0);
        empty(&rings, 1);
        assert!(rings.fall_asleep());
        rings.stay_awake();
        rings.offer(1, started(), None);
        assert_eq!(woken.load(Relaxed), 1);
    }

    #[test]
    fn closed_rings_let_the_pump_sleep() {
        let rings = open(1, 4);
        rings.offer(0, started(), None);
        empty(&rings, 0);
        rings.close();
        assert!(rings.fall_asleep());
        rings.seal();
        assert!(rings.fall_asleep());
    }

    #[test]
    fn an_event_that_the_channel_refuses_is_counted_and_shows() {
        let rings = open(1, 4);
        let event = || started().into_event(EventNumber::new(0, 0), CallId::new(0, 0));
        for refused in [
            TrySendError::Full(event()),
            TrySendError::Disconnected(event()),
        ] {
            let counting = AssertUnwindSafe(|| rings.stripes[0].count_refused(&refused));
            assert_eq!(catch_unwind(counting).is_err(), cfg!(debug_assertions));
        }
        assert_eq!(rings.accounting().lost, 2);
    }
}
