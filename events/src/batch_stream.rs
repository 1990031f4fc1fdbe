//! A subscription as a `futures_core::Stream` of batches.
//!
//! Promises, beside those of [`Subscription`]:
//!
//! - A batch leaves the queue only to be returned by the poll that takes it, so no batch is lost
//!   when the future that polls the stream is dropped, a `next()` in a `select!` for instance.
//! - The waker that is called is that of the last poll. A stream that is pending keeps one waker, one
//!   that is not keeps none.
//! - It ends once the hub is closed and every batch was received, and stays ended.
//! - Dropped, it ends the subscription. Dropped in a forked child, it waits for nothing: its waker is
//!   leaked, since the lock of the wakers may have been held at the fork.
//!
//! # Orderings
//!
//! None of its own: see `async_receivers.rs`.

use crate::{
    async_receivers::{AsyncReceivers, Receiving},
    batch::Batch,
    subscription::{Membership, Subscription},
};
use futures_core::{FusedStream, Stream};
use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A [`Subscription`] as a [`Stream`] of batches. From [`Subscription::into_stream`].
///
/// It ends when the hub is closed and every batch was received. Dropping it ends the subscription.
/// Polling it is cancel-safe: a batch that is not returned stays in the queue.
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
/// // What was delivered before is still received.
/// let lengths = batches.map(|batch| batch.len()).collect::<Vec<_>>();
/// assert_eq!(lengths.now_or_never(), Some(vec![1]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct BatchStream {
    waiting: Waiting,
    subscription: Subscription,
    ended: bool,
}

/// The waker that a pending stream left.
#[derive(Default)]
struct Waiting(Option<Receiving<Arc<AsyncReceivers>>>);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Waiting" } else { "Idle" })
    }
}

impl Subscription {
    /// Returns the batches as a [`Stream`], which owns the subscription.
    ///
    /// The task's waker is called as [`recv_async`](Self::recv_async) says.
    ///
    /// # Examples
    ///
    /// See [`BatchStream`].
    pub fn into_stream(self) -> BatchStream {
        BatchStream {
            waiting: Waiting::default(),
            subscription: self,
            ended: false,
        }
    }
}

impl BatchStream {
    /// Returns the subscription, to read its [`stats`](Subscription::stats).
    ///
    /// What is received from it is not given by the stream.
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
        let new = || Receiving::new(Arc::clone(receivers));
        let receiving = this.waiting.0.get_or_insert_with(new);
        let received = ready!(this.subscription.poll_recv(receiving, context));
        this.waiting.0 = None;
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
            mem::forget(mem::take(&mut self.waiting));
        }
    }
}
