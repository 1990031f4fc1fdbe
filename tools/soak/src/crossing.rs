//! Calls that begin on one thread and end on another: what is handed over, and who ends it.

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
    /// A guard, and how to end it.
    Call(OwnedCall, Open, Outcome),
    /// A future that was polled once, and how it ends: with a second poll or dropped.
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

/// The other end of it.
pub(crate) struct Handed(Receiver<Passed>);

/// Both ends.
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

/// Ends what is handed over until no thread is left that could.
pub(crate) fn end_calls(handed: &Handed) -> Counts {
    let mut counts = Counts::default();
    while let Ok(passed) = handed.0.recv() {
        passed.end(&mut counts);
        counts.did(Did::Crossed);
    }
    counts
}

/// Polls a future that will be polled again by hand, so that no task needs to be woken.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
