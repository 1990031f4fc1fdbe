//! A subscription as a `futures_core::Stream` of batches.
//!
//! # Invariants
//!
//! In addition to those of [`Subscription`]:
//!
//! - A batch leaves the queue only to be returned by the poll that takes it. So no batch is lost if
//!   the future that polls the stream is dropped, such as a `next()` in a `select!`.
//! - The waker of the last poll is called. A pending stream keeps one waker, any other stream none.
//! - The stream ends once the hub is closed and every batch was received, and stays ended.
//! - Dropped in a forked child, the stream waits for nothing: its waker is leaked, since the lock
//!   of the wakers may have been held at the fork.
//!
//! # Orderings
//!
//! None of its own: see `async_receivers.rs`.

use crate::{
    async_receivers::{AsyncReceiver, AsyncReceivers},
    batch::Batch,
    membership::Membership,
    subscription::Subscription,
};
use futures_core::{FusedStream, Stream};
use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A [`Stream`] of the batches of a [`Subscription`].
///
/// Created by [`Subscription::into_stream`]. The stream ends once the hub is closed and every batch was
/// received. Dropping it ends the subscription. Polling is cancel-safe: a batch that is not
/// returned stays in the queue.
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
/// use futures_util::{FutureExt, StreamExt};
///
/// let mut batches = hub.subscribe(&rings, Filter::new(), None)?.into_stream();
/// assert!(batches.next().now_or_never().is_none());
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
/// hub.close().wake();
/// // Batches that were delivered before are still received.
/// let lengths = batches.map(|batch| batch.len()).collect::<Vec<_>>();
/// assert_eq!(lengths.now_or_never(), Some(vec![1]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct BatchStream {
    registered: Registered,
    subscription: Subscription,
    ended: bool,
}

/// The receiver with the waker of a pending stream.
#[derive(Default)]
struct Registered(Option<AsyncReceiver<Arc<AsyncReceivers>>>);

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Waiting" } else { "Idle" })
    }
}

impl Subscription {
    /// Returns the batches as a [`Stream`], which owns the subscription.
    ///
    /// The task's waker is called as described at [`recv_async`](Self::recv_async).
    ///
    /// # Examples
    ///
    /// See [`BatchStream`].
    pub fn into_stream(self) -> BatchStream {
        BatchStream {
            registered: Registered::default(),
            subscription: self,
            ended: false,
        }
    }
}

impl BatchStream {
    /// Returns the subscription, for example to read its [`stats`](Subscription::stats).
    ///
    /// The stream does not return a batch that is received from the subscription directly.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use toolmeter_events::{Filter, Hub, Rings};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let hub = Hub::new(16, 16)?;
    /// let batches = hub.subscribe(&rings, Filter::new(), None)?.into_stream();
    /// assert_eq!(batches.subscription().stats().delivered, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn subscription(&self) -> &Subscription {
        &self.subscription
    }
}

impl Stream for BatchStream {
    type Item = Batch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        let this = self.get_mut();
        let receivers = &this.subscription.receivers;
        let new = || AsyncReceiver::new(Arc::clone(receivers));
        let receiver = this.registered.0.get_or_insert_with(new);
        let received = ready!(this.subscription.poll_recv(receiver, context));
        this.registered.0 = None;
        this.ended = received.is_err();
        Poll::Ready(received.ok())
    }
}

impl FusedStream for BatchStream {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl Drop for BatchStream {
    fn drop(&mut self) {
        let membership = self.subscription.membership.as_ref();
        if membership.is_some_and(Membership::is_forked) {
            mem::forget(mem::take(&mut self.registered));
        }
    }
}
