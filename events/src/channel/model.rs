//! A stand-in for crossbeam's channel without a capacity, which loom cannot see.
//!
//! # Coverage limit
//!
//! A model that uses it checks the code around it, but not crossbeam-channel itself. The table
//! lists what that leaves out, and which other test covers it:
//!
//! | not shown | covered by |
//! | --- | --- |
//! | crossbeam's own code; that a receiver waits for an element that is half put | `events/tests/stress.rs`, on the real one |
//! | an error from `send`: the end of the receiver is seen at once, not as late as a model would allow | unit tests of `events` |
//! | time: `recv_timeout` never waits, `recv` yields until there is an element | unit tests of `events` |
//! | data races on an element: each is behind a lock that the model does not see | crossbeam's own tests |
//! | memory: a channel has 8 places, each used once; a model that needs more panics | crossbeam's own tests |
//!
//! The length counts elements that are half put, as crossbeam's does. It may be as old as an
//! acquiring load may be; crossbeam's is never older.
//!
//! # Orderings
//!
//! | field | operation | ordering | as in crossbeam |
//! | --- | --- | --- | --- |
//! | `full` | load, store | Acquire, Release | the same, of a bit |
//! | `tail`, `head` | read-modify-write | Acquire and Release | `SeqCst`, which a model treats as this |
//! | `tail`, `head`, for the length | load | Acquire | `SeqCst` |
//! | `sender_gone` | load, store | Acquire, Release | a bit of `tail` |

use loom::{
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Acquire, Release},
    },
    thread,
};
use std::{
    fmt,
    sync::{Arc, Mutex as StdMutex, PoisonError, atomic::AtomicBool as StdAtomicBool},
    time::Duration,
};

/// The largest number of elements that a model may send through a channel.
const MAX_ELEMENTS: usize = 8;

/// Creates a channel.
#[must_use]
pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let place = |_| Place {
        full: AtomicBool::new(false),
        element: StdMutex::new(None),
    };
    let channel = Arc::new(Channel {
        places: (0..MAX_ELEMENTS).map(place).collect(),
        head: AtomicUsize::new(0),
        tail: AtomicUsize::new(0),
        sender_gone: AtomicBool::new(false),
        receiver_gone: StdAtomicBool::new(false),
    });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

struct Channel<T> {
    /// Used once each.
    places: Box<[Place<T>]>,
    /// The number of elements that were taken, or are being taken.
    head: AtomicUsize,
    /// The number of elements that were put, or are being put.
    tail: AtomicUsize,
    sender_gone: AtomicBool,
    receiver_gone: StdAtomicBool,
}

struct Place<T> {
    /// Set once an element was put in, and kept set after it was taken.
    full: AtomicBool,
    element: StdMutex<Option<T>>,
}

impl<T> Place<T> {
    /// Puts an element in, or takes it out. The lock is not held across a step of the model.
    fn replace(&self, element: Option<T>) -> Option<T> {
        let mut guard = self.element.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *guard, element)
    }
}

impl<T> Channel<T> {
    fn len(&self) -> usize {
        let tail = self.tail.load(Acquire);
        tail.saturating_sub(self.head.load(Acquire))
    }
}

/// The error of [`Sender::send`], with the element: the receiver was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendError<T>(pub(crate) T);

/// The error of [`Receiver::recv`]: the sender was dropped, and the channel is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecvError;

/// An error of [`Receiver::try_recv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TryRecvError {
    /// The channel is empty.
    Empty,
    /// The sender was dropped, and the channel is empty.
    Disconnected,
}

/// An error of [`Receiver::recv_timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecvTimeoutError {
    /// The channel is empty.
    Timeout,
    /// The sender was dropped, and the channel is empty.
    Disconnected,
}

/// The sending end.
pub(crate) struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    /// Puts an element in.
    ///
    /// # Errors
    ///
    /// Returns the element if the receiver was dropped.
    pub(crate) fn send(&self, element: T) -> Result<(), SendError<T>> {
        if self.0.receiver_gone.load(Acquire) {
            return Err(SendError(element));
        }
        let tail = self.0.tail.fetch_add(1, AcqRel);
        let place = self.0.places.get(tail);
        let place = place.expect("the model sends too many elements");
        place.replace(Some(element));
        place.full.store(true, Release);
        Ok(())
    }

    /// Returns the number of elements in the channel, including those half put.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.sender_gone.store(true, Release);
    }
}

/// The receiving end.
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    /// Takes the next element, if there is one. Waits for one that is half put.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] if the channel is empty.
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        loop {
            let head = self.0.head.load(Acquire);
            let place = self.0.places.get(head);
            if place.is_some_and(|place| place.full.load(Acquire)) {
                if self
                    .0
                    .head
                    .compare_exchange(head, head + 1, AcqRel, Acquire)
                    .is_ok()
                {
                    let element = place.and_then(|place| place.replace(None));
                    return element.ok_or(TryRecvError::Empty);
                }
                continue;
            }
            let sender_gone = self.0.sender_gone.load(Acquire);
            if self.0.tail.load(Acquire) <= head {
                let error = [TryRecvError::Empty, TryRecvError::Disconnected];
                return Err(error[usize::from(sender_gone)]);
            }
            thread::yield_now();
        }
    }

    /// Takes the next element, yielding until there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the sender was dropped and the channel is empty.
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        loop {
            match self.try_recv() {
                Ok(element) => return Ok(element),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => thread::yield_now(),
            }
        }
    }

    /// Takes the next element, if there is one. A model has no time.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`] if the channel is empty.
    pub(crate) fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
        self.try_recv().map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// Returns the number of elements in the channel, including those half put.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.store(true, Release);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
