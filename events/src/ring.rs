//! One bounded ring of events per stripe, entered by ticket; every loss is counted.
//!
//! # How an event gets in
//!
//! By the tickets of [`toolmeter_core::tickets`], which says how an event is admitted, why a ring never
//! holds more than it is said to, and why neither an offer nor the drain waits. The places are those
//! of `place.rs`. (A ready-made queue was here before: the consumer of crossbeam's bounded channel
//! waits without a limit for an element that is half put, with the lock of the pump held.)
//!
//! # How the rings close
//!
//! [`Rings::close`] closes each stripe's tickets. The last drain runs until nothing is outstanding or
//! its time is up, then seals them.
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
//! | the words of `tickets` | all | | as said there | |
//! | `subscriptions` | all | Relaxed | order of the one word | |
//! | `asleep` | all | Relaxed | carried by `offered`, by `pass_over` | `no_wake_up_is_lost` |
//!
//! That the first pass of `floors` stays before the second is kept by the `Release` of the second. A
//! load that moves behind a later read-modify-write is what loom does not explore, so for that use
//! of it the text is the only proof; that two passes are needed is shown by
//! `a_call_across_stripes_never_comes_without_its_end`.

use crate::{
    accounting::RingsAccounting,
    event::{Draft, Event},
    id::{CallId, EventNumber, TICKET_MASK},
    place::{Place, Taken},
    pump_waker::PumpWaker,
    sync::{AtomicUsize, Ordering::Relaxed, Word},
};
use crossbeam_utils::CachePadded;
use std::{fmt, ops::Range, sync::OnceLock};
use thiserror::Error;
use toolmeter_core::{StripesError, check_stripes, tickets::Tickets};

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
    stripes: Box<[StripeRing]>,
    capacity: u64,
}

/// What every call reads and few write.
#[derive(Default)]
struct Gate {
    /// Subscriptions that live.
    subscriptions: AtomicUsize,
    sleep: PumpWaker,
}

/// From which tickets of a stripe on a subscription gets events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    pub(crate) ends: u64,
    pub(crate) starts: u64,
}

/// What the drain passed over in a stripe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    /// The first position whose place held no event, or the end.
    pub(crate) none_at: u64,
    /// An event was complete, and could not be taken.
    pub(crate) is_hidden: bool,
}

struct StripeRing {
    by_producers: CachePadded<ByProducers>,
    /// [`Tickets::drained`], on a line of its own: producers read it, the drain writes it once a
    /// round.
    drained: CachePadded<Word>,
    /// Built by the first subscription; a power of two.
    places: OnceLock<Box<[Place]>>,
}

/// The words of [`Tickets`] that producers write.
#[derive(Default)]
struct ByProducers {
    offered: Word,
    entered: Word,
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
            stripes: (0..stripes).map(|_| StripeRing::new()).collect(),
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
        let places = self.capacity().next_power_of_two();
        for stripe in &self.stripes {
            stripe
                .places
                .get_or_init(|| (0..places).map(|_| Place::default()).collect());
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
        let tickets = stripe.tickets();
        let ticket = tickets.take(self.capacity);
        let number = EventNumber::new(index as u8, ticket.number);
        let call = call.unwrap_or(CallId::from(number));
        if ticket.is_admitted
            && let Some(places) = stripe.places.get()
        {
            let position = tickets.enter();
            match place_of(places, position).put(position, draft.into_event(number, call)) {
                Ok(()) if !self.gate.sleep.is_set() => {}
                Ok(()) => self.gate.sleep.wake(),
                Err(refused) => stripe.count_refused(refused),
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
        let stripes = self.stripes.iter();
        stripes
            .map(|stripe| stripe.tickets().accounting())
            .collect()
    }

    /// Returns how many events wait in the rings at this moment. Looks at every place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.stripes.iter().map(StripeRing::waiting).sum()
    }

    /// Closes the rings: every later offer is lost, and counted. What was admitted before is for
    /// [`Drain::finish`](crate::Drain::finish), which calls this too.
    pub fn close(&self) {
        for stripe in &self.stripes {
            stripe.tickets().close();
        }
    }

    /// What an offer does before it puts its event in, for tests of what happens when its producer
    /// is held up there for ever.
    #[doc(hidden)]
    pub fn offer_and_stop(&self, stripe: usize) {
        let stripe = &self.stripes[stripe & (self.stripes.len() - 1)];
        stripe.stop_half_way(self.capacity);
    }

    /// Gives the rings what wakes their pump. Once: false, and no change, if they have it.
    ///
    /// An offer calls it on its own thread, so it must be short and must not wait. Its panic goes no
    /// further.
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) -> bool {
        self.gate.sleep.set_waker(Box::new(waker))
    }

    /// Marks the pump asleep, unless an event is under way. For the thread that drains, which
    /// must not itself hold an event: see [`Drain::fall_asleep`](crate::Drain::fall_asleep).
    #[must_use]
    pub(crate) fn fall_asleep(&self) -> bool {
        self.gate.sleep.set();
        let quiet = self
            .stripes
            .iter()
            .all(|stripe| stripe.tickets().is_quiet());
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
        let first = |stripe: &StripeRing| Floor {
            ends: stripe.tickets().given() & TICKET_MASK,
            starts: 0,
        };
        let mut floors: Box<[_]> = self.stripes.iter().map(first).collect();
        for (floor, stripe) in floors.iter_mut().zip(&self.stripes) {
            floor.starts = stripe.tickets().pass_over() & TICKET_MASK;
        }
        floors
    }

    /// Reads how many positions each stripe gave, in the order of the stripes. For the drain.
    pub(crate) fn entered(&self, entered: &mut Vec<u64>) {
        let given = |stripe: &StripeRing| stripe.tickets().entered();
        entered.clear();
        entered.extend(self.stripes.iter().map(given));
    }

    /// Takes the events that are complete in the places of these positions. For the drain; never
    /// waits.
    ///
    /// The event of a position whose place held none was lost, or is half put. An event that was held up may come here
    /// with a position before the first. One of a later position, which has the same place, stays
    /// there: a round takes no more than what entered before it looked.
    pub(crate) fn take(
        &self,
        stripe: usize,
        positions: Range<u64>,
        mut each: impl FnMut(u64, Event),
    ) -> Passed {
        let mut passed = Passed {
            none_at: positions.end,
            is_hidden: false,
        };
        let Some(places) = self.stripes[stripe].places.get() else {
            return passed;
        };
        // In more positions than there are places, each place would come twice.
        let first = positions.end.saturating_sub(places.len() as u64);
        for at in positions.start.max(first)..positions.end {
            match place_of(places, at).take_below(positions.end) {
                Taken::Event(position, event) => each(position, event),
                taken => {
                    passed.none_at = passed.none_at.min(at);
                    passed.is_hidden |= matches!(taken, Taken::Hidden);
                }
            }
        }
        passed
    }

    /// Returns how many positions this stripe gave, if each of its tickets is drained or lost.
    pub(crate) fn settled(&self, stripe: usize) -> Option<u64> {
        self.stripes[stripe].tickets().settled()
    }

    /// Counts events of this stripe as taken; from here on others are admitted for them.
    pub(crate) fn count_drained(&self, stripe: usize, events: u64) {
        self.stripes[stripe].tickets().count_drained(events);
    }

    /// Returns whether every ticket given is drained or lost. For the last drain, after closing.
    pub(crate) fn is_settled(&self) -> bool {
        let settled = |stripe: &StripeRing| stripe.tickets().settled().is_some();
        self.stripes.iter().all(settled)
    }

    /// Seals the stripes, since the last drain is over: what is not drained is lost.
    pub(crate) fn seal(&self) {
        for stripe in &self.stripes {
            stripe.tickets().seal();
        }
    }
}

/// Returns the place of this position.
fn place_of(places: &[Place], position: u64) -> &Place {
    &places[position as usize & (places.len() - 1)]
}

impl StripeRing {
    fn new() -> Self {
        Self {
            by_producers: CachePadded::default(),
            drained: CachePadded::default(),
            places: OnceLock::new(),
        }
    }

    #[inline]
    fn tickets(&self) -> Tickets<'_> {
        let ByProducers {
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

    /// Takes a ticket and a position, for tests.
    fn stop_half_way(&self, capacity: u64) -> (u64, u64) {
        let ticket = self.tickets().take(capacity);
        (ticket.number, self.tickets().enter())
    }

    fn waiting(&self) -> usize {
        let places = self.places.get().into_iter().flatten();
        places.filter(|place| place.is_full()).count()
    }

    /// Counts an event that was not admitted, or came before the rings were built.
    #[cold]
    fn count_lost(&self, draft: Draft) {
        self.tickets().lose();
        drop(draft);
    }

    /// Counts an event whose place was not free.
    #[cold]
    fn count_refused(&self, refused: Event) {
        self.tickets().lose();
        drop(refused);
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
impl Rings {
    /// Takes a ticket of this stripe and begins to put its event in, like an offer that is held up
    /// there. Returns what holds the place, and the event.
    pub(crate) fn half_put(
        &self,
        stripe: usize,
        draft: Draft,
    ) -> (impl Drop + '_, impl FnOnce() -> bool + '_) {
        let at = &self.stripes[stripe];
        let (ticket, position) = at.stop_half_way(self.capacity);
        let number = EventNumber::new(stripe as u8, ticket);
        let event = draft.into_event(number, CallId::from(number));
        let place = place_of(at.places.get().unwrap(), position);
        (place.hold(), move || place.put(position, event).is_ok())
    }

    /// Holds the place of this position, as a producer of a later turn does for a moment.
    pub(crate) fn look(&self, stripe: usize, position: u64) -> impl Drop + '_ {
        place_of(self.stripes[stripe].places.get().unwrap(), position).hold()
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
    use std::sync::{Arc, atomic::AtomicU32};

    fn started() -> Draft {
        Draft::started(ToolId::new(0), 1, 0, None)
    }

    fn open(stripes: usize, capacity: usize) -> Rings {
        let rings = Rings::new(stripes, capacity).unwrap();
        rings.open();
        rings
    }

    /// All positions that a stripe gave.
    fn given(rings: &Rings, stripe: usize) -> Range<u64> {
        let mut entered = Vec::new();
        rings.entered(&mut entered);
        0..entered[stripe]
    }

    /// Takes and counts what waits in a stripe.
    fn empty(rings: &Rings, stripe: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        rings.take(stripe, given(rings, stripe), |_, event| {
            taken.push(event.number().ticket());
        });
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
        let mut taken = 0;
        rings.take(0, given(&rings, 0), |_, _| taken += 1);
        assert_eq!(taken, 1);
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
        let mut calls = Vec::new();
        rings.take(0, given(&rings, 0), |_, event| calls.push(event.call()));
        assert_eq!(calls, [call]);
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

    /// A producer is held up with its event half put: the others' events are drained, its own place
    /// costs the event of each round of tickets that comes to it, and no more than that.
    #[test]
    fn an_event_that_is_half_put_costs_its_place_alone() {
        let rings = open(1, 4);
        rings.offer(0, started(), None);
        let (held_up, go_on) = rings.half_put(0, started());
        rings.offer(0, started(), None);
        assert_eq!(empty(&rings, 0), [0, 2]);
        for _ in 0..3 {
            rings.offer(0, started(), None);
        }
        assert_eq!(empty(&rings, 0), [3, 4]);
        let accounting = rings.accounting();
        assert_eq!(
            (accounting.offered, accounting.lost, accounting.drained),
            (6, 1, 4)
        );
        assert!(!rings.fall_asleep() && rings.settled(0).is_none());
        drop(held_up);
        assert!(go_on());
        assert_eq!(empty(&rings, 0), [1]);
        assert_eq!(rings.settled(0), Some(6));
    }

    /// Losses shift nothing: what is admitted finds its place free, wherever the drain stands.
    #[test]
    fn there_is_room_for_as_many_as_were_counted() {
        let rings = open(1, 4);
        let offer = |times| {
            for _ in 0..times {
                rings.offer(0, started(), None);
            }
        };
        offer(2);
        rings.take(0, given(&rings, 0), |_, _| {});
        offer(4);
        assert_eq!((rings.accounting().lost, rings.waiting()), (2, 2));
        rings.count_drained(0, 2);
        offer(2);
        assert_eq!((rings.accounting().lost, rings.waiting()), (2, 4));
        assert_eq!(empty(&rings, 0), [2, 3, 6, 7]);
    }

    #[test]
    fn what_entered_after_the_look_stays() {
        let rings = open(1, 1);
        rings.offer(0, started(), None);
        let looked = given(&rings, 0);
        assert_eq!(empty(&rings, 0), [0]);
        rings.offer(0, started(), None);
        let later = |_, _| panic!("a later event");
        assert_eq!(rings.take(0, looked, later).none_at, 0);
        assert_eq!(empty(&rings, 0), [1]);
    }

    #[test]
    fn the_first_position_without_an_event_is_told() {
        let rings = open(1, 4);
        let none_at = |positions| rings.take(0, positions, |_, _| {}).none_at;
        assert_eq!(none_at(0..0), 0);
        for _ in 0..4 {
            rings.offer(0, started(), None);
        }
        assert_eq!(none_at(1..3), 3);
        assert_eq!(none_at(0..4), 1);
        // Of positions that have no place of their own any more the last ones are told.
        assert_eq!(none_at(0..9), 5);
    }
}
