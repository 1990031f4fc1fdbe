//! Receivers that stop half way: they begin to take a batch, and do not continue for a while.
//!
//! | who | wants | stops | its queue | so |
//! | --- | --- | --- | --- | --- |
//! | full | all | in the middle of a batch | fills meanwhile | loses what finds no room |
//! | ample | failures | in the middle of a batch | does not | loses nothing |
//! | polled | failures | between being woken and polling again | does not | loses nothing, whether it goes on or gives up |

use crate::counts::Counts;
use crate::did::Did;
use crate::foreign::Foreign;
use crate::host::{Host, Received};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;
use toolmeter::{
    Batch, EventKind, Filter, RecvTimeoutError, SubscribeError, Subscription, SubscriptionStats,
    TryRecvError,
};

/// The time for which they stop.
const HALT: Duration = Duration::from_millis(50);
/// The number of batches between two stops.
const EVERY: u64 = 64;
/// The time that they wait for a batch before they check for the end.
const LOOK: Duration = Duration::from_millis(20);
/// A queue that has room for what comes while they stop.
const LONG_QUEUE: usize = 65_536;

/// The ways in which a receiver stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halting {
    /// Its queue fills meanwhile.
    Full,
    /// Its queue has room.
    Ample,
    /// It was woken.
    Polled,
}

/// The findings of a receiver.
#[derive(Debug)]
pub(crate) struct Halted {
    /// The receiver.
    pub(crate) who: Halting,
    /// Its counts, among them the number of times that it stopped.
    pub(crate) counts: Counts,
    /// Events that it received.
    pub(crate) received: u64,
    told_lost: u64,
    /// The statistics of its subscription.
    pub(crate) stats: SubscriptionStats,
}

impl Halting {
    /// All variants.
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::Ample, Self::Polled];

    /// Returns its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Ample => "ample",
            Self::Polled => "polled",
        }
    }

    /// Subscribes.
    ///
    /// # Errors
    ///
    /// None, as the queues are within their limits.
    pub(crate) fn subscribe(self, host: &Host) -> Result<Subscription, SubscribeError> {
        // Callers wait for the receivers with a long queue. Those receive failures only, so that
        // callers seldom wait.
        let (filter, queue) = match self {
            Self::Full => (Filter::new(), 1),
            Self::Ample | Self::Polled => (Filter::new().kinds([EventKind::Failed]), LONG_QUEUE),
        };
        host.registry.subscribe_with(filter, Some(queue))
    }

    /// Makes callers wait for this receiver, if it must not lose anything.
    pub(crate) fn follow(self, host: &Host, subscription: &Subscription) -> Option<Received> {
        (self != Self::Full).then(|| host.follow(subscription.stats_handle()))
    }

    /// Receives to the end.
    pub(crate) fn receive(
        self,
        host: &Host,
        foreign: &Foreign,
        from: &Subscription,
        received: Option<&Received>,
    ) -> Halted {
        let mut halted = Halted {
            who: self,
            counts: Counts::default(),
            received: 0,
            told_lost: 0,
            stats: from.stats(),
        };
        let (mut since, mut stops_so_far) = (0, 0);
        loop {
            if let Some(received) = received {
                received.set(halted.received);
            }
            match from.try_recv() {
                Ok(batch) => {
                    halted.take(&batch, foreign, false);
                    since += 1;
                    continue;
                }
                Err(TryRecvError::Empty) => {}
                Err(_) => break,
            }
            // It has caught up, so what comes while it stops is not added to what came before.
            let stops = since >= EVERY && !host.is_over();
            if stops {
                (since, stops_so_far) = (0, stops_so_far + 1);
            }
            let next = match self {
                Self::Polled if stops => halted.poll(from, stops_so_far % 2 == 0),
                _ => from.recv_timeout(LOOK),
            };
            match next {
                Ok(batch) => halted.take(&batch, foreign, stops && self != Self::Polled),
                Err(RecvTimeoutError::Timeout) => {}
                Err(_) => break,
            }
        }
        halted.stats = from.stats();
        halted
    }
}

impl Halted {
    /// Returns the number of events that were reported to it as lost and were not. The last losses
    /// may be unreported.
    pub(crate) fn told_too_much(&self) -> u64 {
        self.told_lost.saturating_sub(self.stats.lost)
    }
}

/// A waker that unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Halted {
    fn take(&mut self, batch: &Batch, foreign: &Foreign, stops: bool) {
        self.told_lost += batch.lost_before();
        let half = batch.len() / 2;
        for (place, event) in batch.iter().enumerate() {
            if stops && place == half {
                self.stop();
            }
            self.received += 1;
            if let Some(message) = event.message() {
                foreign.judge(message);
            }
        }
    }

    fn stop(&mut self) {
        thread::sleep(HALT);
        self.counts.did(Did::Halted);
    }

    /// Waits until it is woken, and stops. Then it polls again, or gives up unless `goes_on`.
    fn poll(&mut self, from: &Subscription, goes_on: bool) -> Result<Batch, RecvTimeoutError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut batch = pin!(from.recv_async());
        let mut polled = batch.as_mut().poll(&mut context);
        if polled.is_pending() {
            thread::park_timeout(LOOK);
            self.stop();
            if goes_on {
                polled = batch.as_mut().poll(&mut context);
            }
        }
        match polled {
            Poll::Ready(Ok(batch)) => Ok(batch),
            Poll::Ready(Err(_)) => Err(RecvTimeoutError::Disconnected),
            // The events that were queued when it gave up are still there.
            Poll::Pending => from.recv_timeout(LOOK),
        }
    }
}
