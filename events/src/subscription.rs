//! The receiver's side of one subscription.
//!
//! # Invariants
//!
//! - Batches come in the order of the rounds, and each goes to one receiver.
//! - No thread waits for a subscription that is not read. If no room is left in its queue, its
//!   events are counted as lost, and no other subscription loses any.
//! - Once a subscription is dropped, nothing is delivered to it or counted for it, and its queue is
//!   freed. (`membership.rs` describes what a forked child leaks.)
//! - Once its hub is closed or dropped, the batches in the queue are still received; then every
//!   receiving method reports the end.
//!
//! # Orderings
//!
//! None of its own: the queue is a channel; leaving goes through the hub's lock; async receivers
//! are woken, and batches taken are counted, through `async_receivers.rs`. Model:
//! `a_call_after_the_subscription_comes_whole`.

use crate::{
    async_receivers::{AsyncReceiver, AsyncReceivers},
    batch::Batch,
    channel::{self, Receiver},
    membership::Membership,
    recv_error::{RecvError, RecvTimeoutError, TryRecvError},
    subscription_stats::{StatsHandle, SubscriptionStats},
};
use std::{
    fmt,
    future::poll_fn,
    iter,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// A subscription to events, which receives them in batches.
///
/// Created by [`Hub::subscribe`](crate::Hub::subscribe). Several threads may receive from one
/// subscription; each batch goes to one of them. Dropping the subscription ends it.
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
/// // Batches that were delivered before are still received.
/// let tools: Vec<_> = subscription.iter().map(|batch| batch[0].tool()).collect();
/// assert_eq!(tools, [shell]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscription {
    queue: Receiver<Batch>,
    pub(crate) receivers: Arc<AsyncReceivers>,
    stats: StatsHandle,
    /// Left when the subscription is dropped. `None` if the hub was closed before.
    pub(crate) membership: Option<Membership>,
}

impl Subscription {
    pub(crate) fn new(
        queue: Receiver<Batch>,
        receivers: Arc<AsyncReceivers>,
        stats: StatsHandle,
        membership: Option<Membership>,
    ) -> Self {
        Self {
            queue,
            receivers,
            stats,
            membership,
        }
    }

    /// Counts a batch that was taken from the queue, which makes room for another.
    fn counted<E>(&self, taken: Result<Batch, E>) -> Result<Batch, E> {
        if taken.is_ok() {
            self.receivers.count_taken();
        }
        taken
    }

    /// Waits for the next batch.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the hub is closed and every batch was received.
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
    /// assert_eq!(subscription.recv()?.len(), 1);
    /// hub.close().wake();
    /// assert!(subscription.recv().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<Batch, RecvError> {
        self.counted(self.queue.recv()).map_err(|_| RecvError)
    }

    /// Returns the next batch, if the queue has one. Never waits.
    ///
    /// # Errors
    ///
    /// - [`TryRecvError::Empty`] if the queue is empty and batches may still come.
    /// - [`TryRecvError::Disconnected`] once the hub is closed and every batch was received.
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
    /// assert!(subscription.try_recv().is_err());
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// assert_eq!(subscription.try_recv()?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&self) -> Result<Batch, TryRecvError> {
        self.counted(self.queue.try_recv())
            .map_err(|error| match error {
                channel::TryRecvError::Empty => TryRecvError::Empty,
                channel::TryRecvError::Disconnected => TryRecvError::Disconnected,
            })
    }

    /// Waits for the next batch, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// - [`RecvTimeoutError::Timeout`] if no batch came in time.
    /// - [`RecvTimeoutError::Disconnected`] once the hub is closed and every batch was received.
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
    /// use std::time::Duration;
    ///
    /// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// assert_eq!(subscription.recv_timeout(Duration::from_secs(1))?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Batch, RecvTimeoutError> {
        self.counted(self.queue.recv_timeout(timeout))
            .map_err(|error| match error {
                channel::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
                channel::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
            })
    }

    /// Waits for the next batch without blocking the thread, on any async runtime.
    ///
    /// Cancel-safe: the future takes a batch from the queue only to return it.
    ///
    /// The task's waker is called on a thread named `toolmeter-waker`, which holds no lock. A waker
    /// that panics is counted by [`Hub::waker_panics`](crate::Hub::waker_panics), one that does not
    /// return by [`Hub::stuck_wakers`](crate::Hub::stuck_wakers). Other tasks are still woken.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the hub is closed and every batch was received.
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
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
    /// let mut batch = pin!(subscription.recv_async());
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(batch.as_mut().poll(&mut context).is_pending());
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// assert!(matches!(batch.poll(&mut context), Poll::Ready(Ok(batch)) if batch.len() == 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn recv_async(&self) -> Result<Batch, RecvError> {
        let mut receiver = AsyncReceiver::new(&*self.receivers);
        poll_fn(|context| self.poll_recv(&mut receiver, context)).await
    }

    /// Returns the next batch, or registers the task's waker for the next one.
    pub(crate) fn poll_recv<A: Deref<Target = AsyncReceivers>>(
        &self,
        receiver: &mut AsyncReceiver<A>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Batch, RecvError>> {
        let mut received = self.try_recv();
        if matches!(received, Err(TryRecvError::Empty)) {
            receiver.register(context.waker());
            // A batch that arrives after this look at the queue calls the waker.
            received = self.try_recv();
        }
        match received {
            Ok(batch) => Poll::Ready(Ok(batch)),
            Err(TryRecvError::Disconnected) => Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// Returns an iterator that waits for each batch, and ends when [`recv`](Self::recv) fails.
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
    /// assert_eq!(subscription.iter().map(|batch| batch.len()).sum::<usize>(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Batch> + '_ {
        iter::from_fn(|| self.recv().ok())
    }

    /// Returns the counts of this subscription, as of the last round that was handed out.
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
    /// assert_eq!(subscription.stats().drained, 0);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// assert_eq!(subscription.stats().delivered, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.stats.read()
    }

    /// Returns a handle that reads the [`stats`](Self::stats), even after the subscription was
    /// dropped.
    #[must_use]
    pub fn stats_handle(&self) -> StatsHandle {
        self.stats.clone()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(membership) = &self.membership {
            membership.leave();
            if membership.is_forked() {
                channel::leak(&self.queue);
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("queued_batches", &self.queue.len())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
