//! The hub, which makes subscriptions and hands rounds of the drain to all of them.
//!
//! It owns the lock of the list of subscribers, and with it the order of subscribing, handing out and
//! leaving.
//!
//! # Invariants
//!
//! - A subscription gets an event only if its ticket is not below the one at which the subscription
//!   began. It gets both events (or counted losses) of a call that begins after `subscribe`
//!   returned, and at most the end of a call whose start was offered before `subscribe` was called.
//!   Of a call that begins while `subscribe` runs, it gets both events, the end alone, or nothing,
//!   but never a start without its end.
//! - For each subscription, the events drained while it existed = delivered + filtered + lost.
//! - The pump waits for no receiver.
//! - No code of the host (a waker) runs here: a round returns the receivers to be woken
//!   ([`Wakeups`]), and the pump has them woken once it holds no lock of its own either.
//!
//! # Proof that a subscription begins where it should
//!
//! `subscribe` counts the subscription and then reads each stripe's next ticket twice; the first
//! reading is for ends, the second for starts. An event offered before `subscribe` was called has a
//! lower ticket than either. An event of a call that begins after `subscribe` returned is offered
//! later in the order of the ticket word, so its ticket is not lower. It is drained after that, and
//! handed out even later, under the lock that `subscribe` had released by then; so the list has
//! the subscription. Of a call in between, a start that is not below its first ticket has an end
//! that is not below its own: see `ring/first_tickets.rs`. The proof uses no clock, so a clock that
//! steps filters no event out.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `subscribers` | `lock` | the lock's | itself | `a_call_after_the_subscription_comes_whole`, `a_call_beside_the_subscription_never_comes_without_its_end` |
//!
//! The count of subscriptions and the tickets are words of `ring.rs`. The hub needs only the
//! modification order of each.

mod error;

pub use self::error::{HubError, SubscribeError};

use crate::{
    async_receivers::AsyncReceivers,
    batch::{Batch, RoundData},
    channel::unbounded,
    delivery::Delivery,
    drain::Round,
    filter::Filter,
    membership::Membership,
    moment::Moment,
    name_table::NameTable,
    ring::Rings,
    subscriber::{self, Subscriber, Subscribers},
    subscription::Subscription,
    subscription_stats::StatsHandle,
    sync::{self, Mutex, lock},
    timeline::Timeline,
    waker_threads::WakerThreads,
    wakeups::Wakeups,
};
use std::{fmt, mem, ops::RangeInclusive, sync::Arc};

/// The capacities that a queue may have, in batches.
const QUEUE_CAPACITIES: RangeInclusive<usize> = 1..=65_536;
/// The numbers of events that a batch may be limited to.
const BATCH_SIZES: RangeInclusive<usize> = 1..=65_536;

/// A hub, which makes subscriptions and hands rounds of events to all of them.
///
/// A clone is the same hub. Dropping the last clone closes it.
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
    subscribers: Arc<Mutex<Subscribers>>,
    queue_capacity: usize,
    batch_size: usize,
    waker_threads: Arc<WakerThreads>,
}

impl Hub {
    /// The default capacity of a subscription's queue, in batches.
    pub const DEFAULT_QUEUE_CAPACITY: usize = 1_024;
    /// The default limit of a batch, in events.
    pub const DEFAULT_BATCH_SIZE: usize = 1_024;

    /// Creates a hub whose subscriptions have room for `queue_capacity` batches of at most
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
            subscribers: Arc::new(Mutex::new(Subscribers::new(Arc::clone(&waker_threads)))),
            queue_capacity,
            batch_size,
            waker_threads,
        })
    }

    /// Subscribes to the events of `rings` that `filter` wants, from now on.
    ///
    /// Events offered earlier are not delivered. `queue_capacity` is the number of batches that
    /// may wait for the receiver, beyond which events are dropped and counted as lost; `None`
    /// stands for the hub's own. The queue takes memory as it fills. The first subscription
    /// allocates the places of the rings. After [`close`](Self::close), the subscription is
    /// disconnected from the start.
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

        let mut subscribers = lock(&self.subscribers);
        if subscribers.closed {
            return Ok(Subscription::new(receiver, receivers, stats, None));
        }
        rings.allocate();
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
            first_tickets: rings.first_tickets(),
            lost_before: 0,
        });
        drop(subscribers);
        let membership = Membership::new(rings, Arc::downgrade(&self.subscribers), id);
        Ok(Subscription::new(
            receiver,
            receivers,
            stats,
            Some(membership),
        ))
    }

    /// Hands a round to every subscription, and returns the wakeups of their async receivers.
    ///
    /// [Wake](Wakeups::wake) them once no lock is held that a waker might take. `names` should have
    /// every tool of the round, and `timeline` converts its times; `now` is both clocks, read for
    /// this round. If there is no subscription, the events are dropped.
    ///
    /// A batch whose events are contiguous in the round and at least half of it shares the round's
    /// memory. Any other has a copy of its events, so that it does not keep the round's memory
    /// while it waits. Batches of equal filters share one copy, except those of a subscription that
    /// began after an event of the round was offered.
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
        let data = RoundData::new(round.events, names, timeline, now);
        // Created before the lock is taken, and so freed after it is released.
        let mut delivery = Delivery::new(data, round.late, self.batch_size);
        let to_wake = lock(&self.subscribers).fan_out(&mut delivery);
        Wakeups::new(to_wake, Arc::clone(&self.waker_threads))
    }

    /// Returns the number of subscriptions.
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
        lock(&self.subscribers).list.len()
    }

    /// Returns the number of times that the waker of an async receiver panicked.
    ///
    /// The panic is caught: the other receivers are woken, and the pump goes on.
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

    /// Returns the number of wakers of async receivers that did not return for 100 ms while others
    /// waited behind them.
    ///
    /// The others are then woken on another thread. There are at most 8 such threads: while each of
    /// them is in a waker that does not return, no receiver is woken, and a receiver gets batches
    /// only if it is polled for another reason. Once a waker returns, the receivers that still wait
    /// are woken.
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

    /// Ends all subscriptions, and returns the wakeups of their async receivers.
    ///
    /// Each subscription still receives the batches in its queue, and is then disconnected. A later
    /// [`subscribe`](Self::subscribe) returns a subscription that is disconnected from the start.
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
        let mut subscribers = lock(&self.subscribers);
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
