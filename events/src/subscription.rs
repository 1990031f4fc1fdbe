//! The receiver's side of one subscription.
//!
//! Owns [`Subscription`] and the errors of receiving. Promises:
//!
//! - Batches come in the order of the rounds, and each goes to one receiver.
//! - A subscription that is not read costs its own events: they are counted as lost once its
//!   queue is full. No thread waits for it.
//! - Dropped: the gate of the rings is lowered by one, its queue is emptied, and nothing is
//!   delivered to it or counted for it any more.
//! - Its hub closed or dropped: what is in the queue is still received, then every way to receive
//!   says disconnected.
//! - Dropped in a forked child of the process where it was made: it waits for nothing. A fork copies
//!   locks as they are, and none of the threads that would release them. So it takes neither the
//!   hub's lock nor one of its queue: its place in the copy of the hub, and the copy of its queue,
//!   are leaked. The gate is lowered, which is one atomic word.
//!
//! # Orderings
//!
//! None of its own: the queue is a channel; leaving goes through the hub's lock; the gate is one
//! word, see `ring.rs`; async receivers are woken, and batches taken are counted, through
//! `async_receivers.rs`. Model:
//! `a_call_after_the_subscription_comes_whole`.

use crate::{
    async_receivers::{AsyncReceivers, Receiving},
    batch::Batch,
    channel::{self, Receiver},
    ring::Rings,
    subscriber::{self, StatsHandle, Subscribers, SubscriptionStats},
    sync::{self, Mutex},
};
use std::{
    fmt,
    future::poll_fn,
    iter,
    ops::Deref,
    sync::Weak,
    task::{Context, Poll},
    time::Duration,
};
use thiserror::Error;

/// No batch will come any more: the hub is closed and the queue is empty.
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
/// use toolmeter_events::RecvError;
///
/// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
/// hub.close().wake();
/// let error: RecvError = subscription.recv().unwrap_err();
/// assert!(error.to_string().starts_with("no more events"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no more events: the registry is closed and every batch was received")]
#[non_exhaustive]
pub struct RecvError;

/// Why [`Subscription::try_recv`] has no batch.
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
/// use toolmeter_events::TryRecvError;
///
/// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
/// assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Empty);
/// hub.close().wake();
/// assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Disconnected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No batch waits now.
    #[error("no batch of events waits")]
    Empty,
    /// No batch will come any more.
    #[error("no more events: the registry is closed and every batch was received")]
    Disconnected,
}

/// Why [`Subscription::recv_timeout`] has no batch.
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
/// use toolmeter_events::RecvTimeoutError;
///
/// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
/// let error = subscription.recv_timeout(Duration::ZERO).unwrap_err();
/// assert_eq!(error, RecvTimeoutError::Timeout);
/// hub.close().wake();
/// let error = subscription.recv_timeout(Duration::ZERO).unwrap_err();
/// assert_eq!(error, RecvTimeoutError::Disconnected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No batch came in time.
    #[error("no batch of events came in time")]
    Timeout,
    /// No batch will come any more.
    #[error("no more events: the registry is closed and every batch was received")]
    Disconnected,
}

/// Receives batches of events. From [`Hub::subscribe`](crate::Hub::subscribe).
///
/// Several threads may receive from one subscription; each batch goes to one of them.
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
/// // What was delivered before is still received.
/// let tools: Vec<_> = subscription.iter().map(|batch| batch[0].tool()).collect();
/// assert_eq!(tools, [shell]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscription {
    queue: Receiver<Batch>,
    pub(crate) receivers: std::sync::Arc<AsyncReceivers>,
    stats: StatsHandle,
    /// What it leaves when it is dropped; `None` if the hub was closed when it began.
    pub(crate) membership: Option<Membership>,
}

/// One subscriber's place in its hub, and its share in keeping the rings' gate open.
pub(crate) struct Membership {
    pub(crate) rings: sync::Arc<Rings>,
    pub(crate) subscribers: Weak<Mutex<Subscribers>>,
    pub(crate) id: u64,
    /// The process in which it was made.
    pub(crate) process: u32,
}

impl Membership {
    /// Returns whether this is a child that was forked since it was made.
    pub(crate) fn is_forked(&self) -> bool {
        self.process != this_process()
    }
}

/// Returns the process that this is, where a process can fork.
#[cfg(all(unix, not(toolmeter_loom)))]
pub(crate) fn this_process() -> u32 {
    std::process::id()
}

/// Returns the only process there is: without fork, a subscription is dropped where it was made.
#[cfg(not(all(unix, not(toolmeter_loom))))]
pub(crate) const fn this_process() -> u32 {
    0
}

impl Subscription {
    pub(crate) fn new(
        queue: Receiver<Batch>,
        receivers: std::sync::Arc<AsyncReceivers>,
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

    /// Counts a batch that was taken, which makes room for another.
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

    /// Takes the next batch, if one is there. Never waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if none waits, [`TryRecvError::Disconnected`] if none will come.
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

    /// Waits for the next batch, but not longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came in time, [`RecvTimeoutError::Disconnected`] if
    /// none will come.
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

    /// Waits for the next batch without holding a thread, on any async runtime.
    ///
    /// Safe to drop at any point: a batch is taken from the queue only to be returned.
    ///
    /// The waker of the task is called on a thread of its own, `toolmeter-waker`, under no lock. A
    /// panic of it is counted by [`Hub::waker_panics`](crate::Hub::waker_panics), and that it does
    /// not return by [`Hub::stuck_wakers`](crate::Hub::stuck_wakers); neither keeps others from
    /// being woken.
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
        let mut receiving = Receiving::new(&*self.receivers);
        poll_fn(|context| self.poll_recv(&mut receiving, context)).await
    }

    /// Takes the next batch, or leaves the task's waker for what comes.
    pub(crate) fn poll_recv<A: Deref<Target = AsyncReceivers>>(
        &self,
        receiving: &mut Receiving<A>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Batch, RecvError>> {
        let mut received = self.try_recv();
        if matches!(received, Err(TryRecvError::Empty)) {
            receiving.wake_by(context.waker());
            // What arrives after this look at the queue calls the waker.
            received = self.try_recv();
        }
        match received {
            Ok(batch) => Poll::Ready(Ok(batch)),
            Err(TryRecvError::Disconnected) => Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// Returns batches as they come, waiting for each; it ends when [`recv`](Self::recv) would fail.
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

    /// Returns what became of the events drained so far while it lived.
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

    /// Returns a handle that reads [`stats`](Self::stats) also after the subscription was dropped.
    #[must_use]
    pub fn stats_handle(&self) -> StatsHandle {
        self.stats.clone()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(membership) = &self.membership {
            membership.rings.unsubscribed();
            if membership.is_forked() {
                channel::leak(&self.queue);
            } else {
                subscriber::remove(&membership.subscribers, membership.id);
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
