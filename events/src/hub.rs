//! The fan-out: rounds of the drain go to every subscription.
//!
//! Owns the list of subscribers' lock, and with it the order of subscribing, fanning out and
//! leaving. Promises:
//!
//! - A subscription gets an event only if the event's ticket is not below the one at which it began.
//!   A call that begins after `subscribe` returned gives it both its events (or counted losses). A
//!   call whose start was offered before `subscribe` was called gives it at most the end. A call
//!   that begins while `subscribe` runs gives it both, the end alone, or nothing, but no start
//!   without its end.
//! - Exactly, for each subscription: events drained while it lived = delivered + filtered + lost.
//! - The pump never waits here for a subscription.
//! - Code of the host, a waker, does not run here: what a round has to announce is returned
//!   ([`Wakeups`]), for the pump to announce once it holds no lock of its own either.
//!
//! Why the floors are exact: `subscribe` raises the gate and then reads each stripe's next ticket,
//! twice; the first reading is the floor of ends, the second of starts. An event offered before
//! `subscribe` was called has a lower ticket than either. An event of a call that begins after
//! `subscribe` returned is offered later in the order of the ticket word, so its ticket is not
//! lower; it is drained after that, and fanned out later still, under the lock that
//! `subscribe` had by then released: the list has the subscription. Of a call in between, a start
//! that is not below its floor has an end that is not below its own: see `ring.rs`. No clock
//! appears in this, so no clock that steps can filter an event out.
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
    async_receivers::AsyncReceivers,
    batch::{Batch, Shared},
    channel::unbounded,
    drain::Round,
    filter::Filter,
    names::NameTable,
    ring::Rings,
    subscriber::{self, Delivery, StatsHandle, Subscriber, Subscribers},
    subscription::{Membership, Subscription, this_process},
    sync::{self, Mutex, lock},
    timeline::{Moment, Timeline},
    waker_threads::{WakerThreads, Wakeups},
};
use std::{fmt, mem, ops::RangeInclusive, sync::Arc};
use thiserror::Error;

/// How many batches a queue can be made for.
const QUEUE_CAPACITIES: RangeInclusive<usize> = 1..=65_536;
/// How many events a batch can be limited to.
const BATCH_SIZES: RangeInclusive<usize> = 1..=65_536;

/// Why [`Hub::new`] refused.
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

/// Why [`Hub::subscribe`] refused.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// use toolmeter_events::{Filter, Hub, Rings, SubscribeError};
///
/// let rings = Arc::new(Rings::new(1, 1_024)?);
/// let refused = Hub::new(16, 16)?.subscribe(&rings, Filter::new(), Some(0)).unwrap_err();
/// assert_eq!(refused, SubscribeError::QueueCapacity { given: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The queue's capacity is out of range.
    #[error("a queue of {given} batches: the number must be from 1 to 65,536")]
    QueueCapacity {
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
///     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId, TryRecvError,
/// };
///
/// let rings = Arc::new(Rings::new(2, 4_096)?);
/// let mut drain = Drain::new(&rings, 0);
/// let hub = Hub::new(Hub::DEFAULT_QUEUE_CAPACITY, Hub::DEFAULT_BATCH_SIZE)?;
/// let shell = ToolId::new(1);
/// let names = Arc::new(NameTable::new([(shell, "shell")]));
///
/// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// let now = Moment::new(SystemTime::now(), 1_000);
/// let timeline = Arc::new(Timeline::new(now));
/// hub.fan_out(drain.round(|| 1_000), &names, &timeline, now).wake();
///
/// let batch = subscription.recv()?;
/// assert_eq!(batch.name(batch[0].tool()), Some("shell"));
/// hub.close().wake();
/// assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Disconnected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Mutex<Subscribers>>,
    queue_capacity: usize,
    batch_size: usize,
    waker_threads: Arc<WakerThreads>,
}

impl Hub {
    /// Batches that a subscription's queue holds, unless said otherwise.
    pub const DEFAULT_QUEUE_CAPACITY: usize = 1_024;
    /// Events that a batch holds at most, unless said otherwise.
    pub const DEFAULT_BATCH_SIZE: usize = 1_024;

    /// Makes a hub that gives each subscription a queue of `queue_capacity` batches of at most
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
        if !QUEUE_CAPACITIES.contains(&queue_capacity) {
            return Err(HubError::QueueCapacity {
                given: queue_capacity,
            });
        }
        if !BATCH_SIZES.contains(&batch_size) {
            return Err(HubError::BatchSize { given: batch_size });
        }
        let waker_threads = Arc::new(WakerThreads::new());
        Ok(Self {
            shared: Arc::new(Mutex::new(Subscribers::new(Arc::clone(&waker_threads)))),
            queue_capacity,
            batch_size,
            waker_threads,
        })
    }

    /// Subscribes to the events of `rings` that `filter` wants, from now on.
    ///
    /// Events that were offered before do not come. `queue_capacity` batches wait for the receiver
    /// before events are lost; `None` is the hub's own number. They take memory as they come. Opens
    /// the rings. After [`close`](Self::close) the subscription is disconnected from the start.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::QueueCapacity`] if the capacity is not from 1 to 65,536.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{
    /// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
    /// # };
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// # let timeline = Arc::new(Timeline::new(moment));
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None); // comes too early
    /// let subscription = hub.subscribe(&rings, Filter::new(), Some(8))?;
    /// rings.offer(0, Draft::started(shell, 1, 600, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// let batch = subscription.recv()?;
    /// assert_eq!((batch.len(), batch[0].time_ns()), (1, 600));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(
        &self,
        rings: &sync::Arc<Rings>,
        filter: Filter,
        queue_capacity: Option<usize>,
    ) -> Result<Subscription, SubscribeError> {
        let capacity = queue_capacity.unwrap_or(self.queue_capacity);
        if !QUEUE_CAPACITIES.contains(&capacity) {
            return Err(SubscribeError::QueueCapacity { given: capacity });
        }
        let (sender, receiver) = unbounded::<Batch>();
        let receivers = Arc::new(AsyncReceivers::new());
        let stats = StatsHandle::new();

        let mut subscribers = lock(&self.shared);
        if subscribers.closed {
            return Ok(Subscription::new(receiver, receivers, stats, None));
        }
        rings.open();
        rings.subscribed();
        let id = subscribers.next_id;
        subscribers.next_id += 1;
        subscribers.list.push(Subscriber {
            id,
            queue: sender,
            sent: 0,
            capacity: capacity as u64,
            receivers: Arc::clone(&receivers),
            stats: stats.clone(),
            filter,
            floors: rings.floors(),
            lost_before: 0,
        });
        drop(subscribers);
        let membership = Membership {
            rings: sync::Arc::clone(rings),
            subscribers: Arc::downgrade(&self.shared),
            id,
            process: this_process(),
        };
        Ok(Subscription::new(
            receiver,
            receivers,
            stats,
            Some(membership),
        ))
    }

    /// Hands a round to every subscription. For the pump, which wakes their receivers afterwards,
    /// when it holds no lock that a waker might want.
    ///
    /// `names` should know every tool of the round, and `timeline` places its times; `now` is both
    /// clocks, read for this round. With no subscription the events are dropped.
    ///
    /// A batch that is less than half of the round gets a copy of its events, so that it does not
    /// keep the round's memory while it waits; a larger one shares the round.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{
    /// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
    /// # };
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// # let timeline = Arc::new(Timeline::new(moment));
    /// let one = hub.subscribe(&rings, Filter::new(), None)?;
    /// let other = hub.subscribe(&rings, Filter::new(), None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// // The same events, and the same allocation.
    /// assert!(std::ptr::eq(one.recv()?.events(), other.recv()?.events()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fan_out(
        &self,
        round: Round,
        names: &Arc<NameTable>,
        timeline: &Arc<Timeline>,
        now: Moment,
    ) -> Wakeups {
        if round.events.is_empty() {
            return Wakeups::new(Vec::new(), Arc::clone(&self.waker_threads));
        }
        let shared = Shared::new(round.events, names, timeline, now);
        // Made before the lock is taken, so also freed after it is released.
        let mut delivery = Delivery::new(shared, round.late, self.batch_size);
        let arrived = lock(&self.shared).fan_out(&mut delivery);
        Wakeups::new(arrived, Arc::clone(&self.waker_threads))
    }

    /// Returns how many subscriptions there are.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{
    /// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
    /// # };
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// # let timeline = Arc::new(Timeline::new(moment));
    /// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
    /// assert_eq!(hub.subscriptions(), 1);
    /// drop(subscription);
    /// assert_eq!(hub.subscriptions(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        lock(&self.shared).list.len()
    }

    /// Returns how often the waker of an async receiver panicked.
    ///
    /// Such a panic goes no further: the other receivers are woken, and the pump goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::sync::Arc;
    /// use std::task::{Context, Wake};
    /// use toolmeter_events::{Filter, Hub, Rings};
    ///
    /// struct Broken;
    /// impl Wake for Broken {
    ///     fn wake(self: Arc<Self>) {
    ///         panic!("the waker's own");
    ///     }
    /// }
    ///
    /// let rings = Arc::new(Rings::new(1, 1_024)?);
    /// let hub = Hub::new(16, 16)?;
    /// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
    /// let mut receiving = pin!(subscription.recv_async());
    /// let waker = Arc::new(Broken).into();
    /// assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    /// hub.close().wake();
    /// while hub.waker_panics() == 0 {
    ///     std::thread::yield_now(); // it is called on another thread
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn waker_panics(&self) -> u64 {
        self.waker_threads.panics()
    }

    /// Returns how many wakers of async receivers were left alone, because they did not return for
    /// 100 ms.
    ///
    /// Others are then woken on another thread. There are 8 at most: while each of them is in a
    /// waker that does not return, no receiver is woken, and a receiver hears of batches only when it
    /// is polled for another reason. Once one returns, those that still wait are woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::Hub;
    ///
    /// let hub = Hub::new(16, 16)?;
    /// assert_eq!(hub.stuck_wakers(), 0);
    /// # Ok::<(), toolmeter_events::HubError>(())
    /// ```
    #[must_use]
    pub fn stuck_wakers(&self) -> u64 {
        self.waker_threads.stuck()
    }

    /// Ends all subscriptions: each still receives what is in its queue, then is disconnected.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{
    /// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
    /// # };
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// # let timeline = Arc::new(Timeline::new(moment));
    /// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// hub.close().wake();
    /// assert_eq!(subscription.recv()?.len(), 1);
    /// assert!(subscription.recv().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Wakeups {
        let mut subscribers = lock(&self.shared);
        subscribers.closed = true;
        let ended = mem::take(&mut subscribers.list);
        drop(subscribers);
        subscriber::end(ended, &self.waker_threads)
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
