//! The fan-out: rounds of the drain go to every subscription.
//!
//! Owns the list of subscribers' lock, and with it the order of subscribing, fanning out and
//! leaving. Promises:
//!
//! - A subscription gets an event only if the event's ticket and time are not below those at
//!   which it began. A call that begins after `subscribe` returned gives it both its events (or
//!   counted losses); of a call that began before, at most the end.
//! - Exactly, for each subscription: events drained while it lived = delivered + filtered + lost.
//! - The pump never waits here for a subscription.
//!
//! Why the floors are exact: `subscribe` raises the gate and then reads each stripe's next ticket.
//! An event offered before that has a lower ticket. An event of a call that begins after
//! `subscribe` returned is offered later in the order of the ticket word, so its ticket is not
//! lower; it is drained after that, and fanned out later still, under the lock that
//! `subscribe` had by then released: the list has the subscription.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `subscribers` | `lock` | the lock's | itself | `a_call_after_the_subscription_comes_whole`, `a_call_beside_the_subscription_never_comes_without_its_end` |
//!
//! The gate and the tickets are words of `ring.rs`; all that is asked of them here is the order of
//! each single word.

use crate::{
    batch::{Batch, Moment, NameTable},
    channel::bounded,
    drain::Round,
    filter::Filter,
    ring::Rings,
    subscriber::{Announcer, Delivery, StatsHandle, Subscriber, Subscribers},
    subscription::{Membership, Subscription},
};
use std::{fmt, mem, ops::RangeInclusive, sync::Arc};
use thiserror::Error;
use toolmeter_core::sync::{self, Mutex, lock};

/// How many batches a queue can be made for.
const QUEUE_CAPACITIES: RangeInclusive<usize> = 1..=65_536;
/// How many events a batch can be limited to.
const BATCH_SIZES: RangeInclusive<usize> = 1..=65_536;

/// Why [`Hub::new`] or [`Hub::subscribe`] refused.
///
/// # Examples
///
/// ```
/// use toolmeter_events::{Hub, HubError};
///
/// assert_eq!(Hub::new(0, 16).unwrap_err(), HubError::QueueCapacity { given: 0 });
/// assert_eq!(Hub::new(16, 0).unwrap_err(), HubError::BatchSize { given: 0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The queue's capacity is out of range.
    #[error("a queue of {given} batches: the number must be from 1 to 65,536")]
    QueueCapacity {
        /// The number that was asked for.
        given: usize,
    },
    /// The size of a batch is out of range.
    #[error("batches of at most {given} events: the number must be from 1 to 65,536")]
    BatchSize {
        /// The number that was asked for.
        given: usize,
    },
}

/// Where subscriptions are made and rounds are handed out. A clone is the same hub.
///
/// When the last clone goes, the hub closes.
///
/// # Examples
///
/// ```
/// use std::{sync::Arc, time::SystemTime};
/// use toolmeter_events::{
///     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId, TryRecvError,
/// };
///
/// let rings = Arc::new(Rings::new(2, 4_096)?);
/// let mut drain = Drain::new(&rings, 0);
/// let hub = Hub::new(Hub::DEFAULT_QUEUE_CAPACITY, Hub::DEFAULT_BATCH_SIZE)?;
/// let shell = ToolId::new(1);
/// let names = Arc::new(NameTable::new([(shell, "shell")]));
///
/// let subscription = hub.subscribe(&rings, Filter::new(), 0, None)?;
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// hub.fan_out(drain.round(|| 1_000), &names, Moment::new(SystemTime::now(), 1_000));
///
/// let batch = subscription.recv()?;
/// assert_eq!(batch.name(batch[0].tool()), Some("shell"));
/// hub.close();
/// assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Disconnected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Mutex<Subscribers>>,
    queue_capacity: usize,
    batch_size: usize,
}

impl Hub {
    /// Batches that a subscription's queue holds, unless said otherwise.
    pub const DEFAULT_QUEUE_CAPACITY: usize = 1_024;
    /// Events that a batch holds at most, unless said otherwise.
    pub const DEFAULT_BATCH_SIZE: usize = 1_024;

    /// A hub that gives each subscription a queue of `queue_capacity` batches of at most
    /// `batch_size` events each.
    ///
    /// # Errors
    ///
    /// [`HubError`] if either is not from 1 to 65,536.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::Hub;
    ///
    /// let hub = Hub::new(64, 256)?;
    /// assert_eq!(hub.subscriptions(), 0);
    /// assert!(Hub::new(64, 65_537).is_err());
    /// # Ok::<(), toolmeter_events::HubError>(())
    /// ```
    pub fn new(queue_capacity: usize, batch_size: usize) -> Result<Self, HubError> {
        check_capacity(queue_capacity)?;
        if !BATCH_SIZES.contains(&batch_size) {
            return Err(HubError::BatchSize { given: batch_size });
        }
        Ok(Self {
            shared: Arc::default(),
            queue_capacity,
            batch_size,
        })
    }

    /// A subscription to the events of `rings` that `filter` wants, from now on.
    ///
    /// `began_ns` is the registry's clock, read before this is called; events timed before it do
    /// not come. `queue_capacity` batches wait for the receiver before events are lost; `None` is
    /// the hub's own number. Opens the rings. After [`close`](Self::close) the subscription is
    /// disconnected from the start.
    ///
    /// # Errors
    ///
    /// [`HubError::QueueCapacity`] if the capacity is not from 1 to 65,536.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// use toolmeter_events::HubError;
    ///
    /// // Events before 400 ns do not come.
    /// let subscription = hub.subscribe(&rings, Filter::new(), 400, Some(8))?;
    /// rings.offer(0, Draft::started(shell, 1, 300, None), None);
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, moment);
    /// let batch = subscription.recv()?;
    /// assert_eq!((batch.len(), batch[0].time_ns()), (1, 500));
    /// let refused = hub.subscribe(&rings, Filter::new(), 0, Some(0)).unwrap_err();
    /// assert_eq!(refused, HubError::QueueCapacity { given: 0 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(
        &self,
        rings: &sync::Arc<Rings>,
        filter: Filter,
        began_ns: u64,
        queue_capacity: Option<usize>,
    ) -> Result<Subscription, HubError> {
        let capacity = queue_capacity.unwrap_or(self.queue_capacity);
        check_capacity(capacity)?;
        let (sender, receiver) = bounded::<Batch>(capacity);
        let arrivals = Arc::new(event_listener::Event::new());
        let stats = StatsHandle::new();

        let mut subscribers = lock(&self.shared);
        if subscribers.closed {
            return Ok(Subscription::new(receiver, arrivals, stats, None));
        }
        rings.open();
        rings.subscribed();
        let id = subscribers.next_id;
        subscribers.next_id += 1;
        subscribers.list.push(Subscriber {
            id,
            queue: sender,
            arrivals: Announcer(Arc::clone(&arrivals)),
            stats: stats.clone(),
            filter,
            began_ns,
            floors: rings.next_tickets(),
            lost_before: 0,
        });
        drop(subscribers);
        let membership = Membership {
            rings: sync::Arc::clone(rings),
            subscribers: Arc::downgrade(&self.shared),
            id,
        };
        Ok(Subscription::new(
            receiver,
            arrivals,
            stats,
            Some(membership),
        ))
    }

    /// Hands a round to every subscription. For the pump.
    ///
    /// `names` should know every tool of the round; `moment` is both clocks, read for this round.
    /// With no subscription the events are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// let one = hub.subscribe(&rings, Filter::new(), 0, None)?;
    /// let other = hub.subscribe(&rings, Filter::new(), 0, None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, moment);
    /// // The same events, and the same allocation.
    /// assert!(std::ptr::eq(one.recv()?.events(), other.recv()?.events()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fan_out(&self, round: Round, names: &Arc<NameTable>, moment: Moment) {
        if round.events.is_empty() {
            return;
        }
        let delivery = Delivery {
            names,
            moment,
            batch_size: self.batch_size,
        };
        // Made before the lock is taken, so also freed after it is released.
        let events = Arc::new(round.events);
        lock(&self.shared).fan_out(&events, round.late, delivery);
    }

    /// How many subscriptions there are.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// let subscription = hub.subscribe(&rings, Filter::new(), 0, None)?;
    /// assert_eq!(hub.subscriptions(), 1);
    /// drop(subscription);
    /// assert_eq!(hub.subscriptions(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        lock(&self.shared).list.len()
    }

    /// Ends all subscriptions: each still receives what is in its queue, then is disconnected.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// let subscription = hub.subscribe(&rings, Filter::new(), 0, None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, moment);
    /// hub.close();
    /// assert_eq!(subscription.recv()?.len(), 1);
    /// assert!(subscription.recv().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        let mut subscribers = lock(&self.shared);
        subscribers.closed = true;
        let ended = mem::take(&mut subscribers.list);
        drop(subscribers);
        drop(ended);
    }
}

fn check_capacity(given: usize) -> Result<(), HubError> {
    if QUEUE_CAPACITIES.contains(&given) {
        Ok(())
    } else {
        Err(HubError::QueueCapacity { given })
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("queue_capacity", &self.queue_capacity)
            .field("batch_size", &self.batch_size)
            .field("subscriptions", &self.subscriptions())
            .finish()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
