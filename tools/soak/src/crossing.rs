//! Calls that begin on one thread and end on another, and the channel between the threads.

use crate::counts::{Counts, Open};
use crate::did::Did;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll, Waker};
use toolmeter::{Outcome, OwnedCall};

/// The number of calls that may wait for the thread that ends them.
const WAITING: usize = 64;

/// A call under way that changes threads.
pub(crate) enum Passed {
    /// A guard, and the outcome to end it with.
    Call(OwnedCall, Open, Outcome),
    /// A future that was polled once, and its outcome: it is dropped if cancelled, otherwise polled
    /// again.
    Future(Pin<Box<dyn Future<Output = ()> + Send>>, Open, Outcome),
}

impl Passed {
    /// Ends the call on this thread.
    fn end(self, counts: &mut Counts) {
        match self {
            Self::Call(call, open, outcome) => {
                match outcome {
                    Outcome::Success => {
                        call.succeed();
                    }
                    Outcome::Failure(kind) => {
                        call.fail(kind, "on another thread");
                    }
                    Outcome::Cancelled => drop(call),
                    Outcome::Rejected => call.reject("on another thread"),
                }
                counts.end(open, outcome);
            }
            Self::Future(mut future, open, outcome) => {
                if outcome != Outcome::Cancelled {
                    assert!(poll_once(future.as_mut()).is_ready());
                }
                drop(future);
                counts.end(open, outcome);
            }
        }
    }
}

/// The channel to the thread that ends the calls.
#[derive(Clone)]
pub(crate) struct Finisher(SyncSender<Passed>);

/// The other end of the channel.
pub(crate) struct Handed(Receiver<Passed>);

/// Returns both ends of the channel.
pub(crate) fn crossing() -> (Finisher, Handed) {
    let (sender, receiver) = sync_channel(WAITING);
    (Finisher(sender), Handed(receiver))
}

impl Finisher {
    /// Hands a call over, or ends it here if too many wait already.
    pub(crate) fn pass(&self, passed: Passed, counts: &mut Counts) {
        match self.0.try_send(passed) {
            Ok(()) => {}
            Err(TrySendError::Full(passed) | TrySendError::Disconnected(passed)) => {
                passed.end(counts);
            }
        }
    }
}

/// Ends the calls that are handed over, until no sender is left.
pub(crate) fn end_calls(handed: &Handed) -> Counts {
    let mut counts = Counts::default();
    while let Ok(passed) = handed.0.recv() {
        passed.end(&mut counts);
        counts.did(Did::Crossed);
    }
    counts
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
