//! The rings of a registry: one bounded ring for each stripe, and a count of every loss.
//!
//! The tickets of [`toolmeter_core::tickets`] admit an event. That file explains why a ring never
//! holds more than its capacity and why neither an offer nor the drain waits. `ring/stripe.rs` has
//! one ring, `ring/place.rs` one of its places, and `ring/first_tickets.rs` the tickets at which a
//! subscription begins.
//!
//! [`Rings::close`] closes the tickets of each stripe. The last drain runs until no event is
//! outstanding or its time is up, then seals them.
//!
//! # Invariant: a sleeping pump misses no event
//!
//! `Rings::fall_asleep` marks the pump asleep, then passes over every `offered` word with a
//! read-modify-write that changes nothing. In the order of that word, the `fetch_add` of an offer
//! comes either before or after it:
//!
//! - before: the pump reads the ticket, finds it neither drained nor lost, and stays awake;
//! - after: the offer reads from the pump's write, or from a chain of offers that began there, and
//!   so sees the mark.
//!
//! There is no third case, and no decision needs `SeqCst`.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | the words of `tickets` | all | | as described there | |
//! | `subscriptions` | all | Relaxed | order of the one word | |
//! | `asleep` | all | Relaxed | carried by `offered`, by `pass_over` | `no_wake_up_is_lost` |

mod accounting;
mod first_tickets;
mod place;
mod stripe;

pub use self::accounting::RingsAccounting;
pub(crate) use self::{first_tickets::FirstTickets, stripe::Skipped};

use self::{
    place::Place,
    stripe::{StripeRing, place_of},
};
use crate::{
    event::{Draft, Event},
    id::{CallId, EventNumber},
    pump_waker::PumpWaker,
    sync::{AtomicUsize, Ordering::Relaxed},
};
use crossbeam_utils::CachePadded;
use std::{fmt, ops::Range};
use thiserror::Error;
use toolmeter_core::{StripesError, check_stripes};

/// The largest capacity of one ring.
const MAX_CAPACITY: usize = 1 << 20;

/// An error of [`Rings::new`].
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
    /// The number of stripes is not a power of two, or is out of range.
    #[error(transparent)]
    Stripes(#[from] StripesError),
    /// The capacity is out of range.
    #[error("{given} events in a ring: the number must be from 1 to 1,048,576")]
    Capacity {
        /// The capacity that was asked for.
        given: usize,
    },
}

/// The event rings of one registry, one for each stripe.
///
/// Any thread offers events; one [`Drain`](crate::Drain) takes them out.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use toolmeter_events::{Drain, Draft, Rings, ToolId};
///
/// let rings = Arc::new(Rings::new(2, 4_096)?);
/// rings.allocate(); // as the first subscription does
/// let call = rings.offer(1, Draft::started(ToolId::new(0), 1, 500, None), None);
///
/// let mut drain = Drain::new(&rings, 0);
/// let round = drain.round(|| 1_000);
/// assert_eq!(round.events[0].call(), call);
/// assert_eq!(rings.accounting().drained, 1);
/// # Ok::<(), toolmeter_events::RingsError>(())
/// ```
pub struct Rings {
    read_mostly: CachePadded<ReadMostly>,
    stripes: Box<[StripeRing]>,
    capacity: u64,
}

/// The words that every call reads and few threads write.
#[derive(Default)]
struct ReadMostly {
    /// The number of subscriptions.
    subscriptions: AtomicUsize,
    pump_waker: PumpWaker,
}

impl Rings {
    /// Creates rings for `stripes` stripes, each with room for `capacity` events.
    ///
    /// The memory of the places is allocated by [`allocate`](Self::allocate).
    ///
    /// # Errors
    ///
    /// [`RingsError`] if `stripes` is not a power of two from 1 to 256, or `capacity` is not from 1
    /// to 1,048,576.
    pub fn new(stripes: usize, capacity: usize) -> Result<Self, RingsError> {
        // At most 256, since the index of a stripe takes 8 bits of a `CallId`.
        check_stripes(stripes)?;
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            return Err(RingsError::Capacity { given: capacity });
        }
        Ok(Self {
            read_mostly: CachePadded::default(),
            stripes: (0..stripes).map(|_| StripeRing::new()).collect(),
            capacity: capacity as u64,
        })
    }

    /// Returns the number of stripes.
    #[must_use]
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// Returns the number of events that each stripe has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Returns whether there is a subscription: one relaxed load.
    ///
    /// A call that begins after `subscribe` returned sees `true`. One that begins while `subscribe`
    /// runs may see either.
    #[must_use]
    #[inline]
    pub fn is_open(&self) -> bool {
        self.read_mostly.subscriptions.load(Relaxed) > 0
    }

    /// Allocates the places of the rings, unless they are allocated already.
    ///
    /// [`Hub::subscribe`](crate::Hub::subscribe) calls this. Events offered before are lost, and
    /// counted.
    pub fn allocate(&self) {
        let places = self.capacity().next_power_of_two();
        for stripe in &self.stripes {
            stripe
                .places
                .get_or_init(|| (0..places).map(|_| Place::default()).collect());
        }
    }

    /// Offers an event to the ring of `stripe` (modulo the number of stripes), and returns the id
    /// of its call: `call` if given, otherwise the event's own number.
    ///
    /// Never waits. If no room is left the event is dropped and counted as lost; the id is still
    /// valid. An event that enters its ring while the pump sleeps wakes the pump.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Finish, Outcome};
    /// use toolmeter_events::{Draft, Rings, ToolId};
    ///
    /// let rings = Rings::new(1, 2)?;
    /// rings.allocate();
    /// let tool = ToolId::new(0);
    /// let call = rings.offer(0, Draft::started(tool, 1, 100, None), None);
    /// let end = Draft::closing(tool, Finish::new(Outcome::Success, 1, 100, 50), None, None);
    /// assert_eq!(rings.offer(0, end, Some(call)), call);
    ///
    /// // The ring is full.
    /// rings.offer(0, Draft::started(tool, 1, 200, None), None);
    /// assert_eq!((rings.waiting(), rings.accounting().lost), (2, 1));
    /// # Ok::<(), toolmeter_events::RingsError>(())
    /// ```
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
                Ok(()) if !self.read_mostly.pump_waker.is_asleep() => {}
                Ok(()) => self.read_mostly.pump_waker.wake(),
                Err(refused) => stripe.count_refused(refused),
            }
        } else {
            stripe.count_lost(draft);
        }
        call
    }

    /// Returns the counts of the events offered so far.
    ///
    /// The counts are exact while no event is under way. An event that is under way is counted in
    /// `offered` only.
    #[must_use]
    pub fn accounting(&self) -> RingsAccounting {
        let stripes = self.stripes.iter();
        stripes
            .map(|stripe| stripe.tickets().accounting())
            .collect()
    }

    /// Returns the number of events in the rings. Visits every place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.stripes.iter().map(StripeRing::waiting).sum()
    }

    /// Closes the rings: every later offer is lost, and counted.
    ///
    /// [`Drain::finish`](crate::Drain::finish) calls this and takes what was admitted before.
    pub fn close(&self) {
        for stripe in &self.stripes {
            stripe.tickets().close();
        }
    }

    /// Takes a ticket and a position and stops there, like an offer whose thread never runs again.
    /// For tests.
    #[doc(hidden)]
    pub fn offer_and_stop(&self, stripe: usize) {
        let stripe = &self.stripes[stripe & (self.stripes.len() - 1)];
        stripe.stop_half_way(self.capacity);
    }

    /// Sets the function that wakes the pump. Returns `false`, and changes nothing, if one is set
    /// already.
    ///
    /// An offer calls it on its own thread, so it must be short and must not wait. A panic in it is
    /// caught there.
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) -> bool {
        self.read_mostly.pump_waker.set_waker(Box::new(waker))
    }

    /// Marks the pump asleep, unless an event is under way. Returns whether it did.
    ///
    /// For the thread that drains, which must hold no event itself: see
    /// [`Drain::fall_asleep`](crate::Drain::fall_asleep).
    #[must_use]
    pub(crate) fn fall_asleep(&self) -> bool {
        self.read_mostly.pump_waker.mark_asleep();
        let quiet = self
            .stripes
            .iter()
            .all(|stripe| stripe.tickets().is_quiet());
        if !quiet {
            self.read_mostly.pump_waker.mark_awake();
        }
        quiet
    }

    /// Marks the pump awake again, after its sleep.
    pub fn stay_awake(&self) {
        self.read_mostly.pump_waker.mark_awake();
    }

    /// Wakes the pump if it is marked asleep, as an offer does.
    pub fn wake(&self) {
        self.read_mostly.pump_waker.wake();
    }

    /// Counts one more subscription. The places must be allocated already.
    pub(crate) fn subscribed(&self) {
        self.read_mostly.subscriptions.fetch_add(1, Relaxed);
    }

    /// Counts one subscription less.
    pub(crate) fn unsubscribed(&self) {
        self.read_mostly.subscriptions.fetch_sub(1, Relaxed);
    }

    /// Returns, for each stripe, the tickets from which a subscription that begins now gets events.
    pub(crate) fn first_tickets(&self) -> Box<[FirstTickets]> {
        first_tickets::read(&self.stripes)
    }

    /// Reads the number of positions that each stripe gave, in the order of the stripes. For the drain.
    pub(crate) fn entered(&self, entered: &mut Vec<u64>) {
        let given = |stripe: &StripeRing| stripe.tickets().entered();
        entered.clear();
        entered.extend(self.stripes.iter().map(given));
    }

    /// Takes the complete events of these positions of a stripe: see [`StripeRing::take`].
    pub(crate) fn take(
        &self,
        stripe: usize,
        positions: Range<u64>,
        each: impl FnMut(u64, Event),
    ) -> Skipped {
        self.stripes[stripe].take(positions, each)
    }

    /// Returns the number of positions that this stripe gave, if each of its tickets is drained or
    /// lost.
    pub(crate) fn settled(&self, stripe: usize) -> Option<u64> {
        self.stripes[stripe].tickets().settled()
    }

    /// Counts events of this stripe as drained, which makes room for as many.
    pub(crate) fn count_drained(&self, stripe: usize, events: u64) {
        self.stripes[stripe].tickets().count_drained(events);
    }

    /// Returns whether each ticket of every stripe is drained or lost. For the last drain, after
    /// closing.
    pub(crate) fn is_settled(&self) -> bool {
        let settled = |stripe: &StripeRing| stripe.tickets().settled().is_some();
        self.stripes.iter().all(settled)
    }

    /// Seals the stripes at the end of the last drain: what is not drained is lost.
    pub(crate) fn seal(&self) {
        for stripe in &self.stripes {
            stripe.tickets().seal();
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
impl Rings {
    /// Takes a ticket of this stripe and locks the place of its event, like an offer that is held
    /// up there. Returns the lock, and a function that puts the event in.
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
        (place.lock(), move || place.put(position, event).is_ok())
    }

    /// Locks the place of this position, as a producer of a later turn does for a moment.
    pub(crate) fn lock_place(&self, stripe: usize, position: u64) -> impl Drop + '_ {
        place_of(self.stripes[stripe].places.get().unwrap(), position).lock()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
