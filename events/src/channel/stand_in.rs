//! A stand-in for crossbeam's bounded channel, which loom does not know.
//!
//! # Coverage limit
//!
//! A model that uses it checks the code around it, never crossbeam-channel itself. What that
//! leaves out, and which other test covers it:
//!
//! | not shown | covered by |
//! | --- | --- |
//! | crossbeam's own code; its waiting for one that is half way through a place | `events/tests/stress.rs`, on the real one |
//! | `Disconnected` from `try_send`: the end of the receiver is seen at once, not as a model would let it be | unit tests of `events` |
//! | time: `recv_timeout` never waits, `recv` yields until something is there | unit tests of `events` |
//! | data races on an element: each lies behind a lock that the model does not see | crossbeam's own tests |
//!
//! What the channel does keep is what the rings stand on. A place has a stamp, and it can be put
//! into again only by one to whom the end of the taking is visible. Where it is not, crossbeam
//! would wait for the taker or say `Full`; this one always says `Full`, so a model sees either as
//! an event that was refused. A length counts what is half put, as crossbeam's does, and may be
//! as old as an acquiring load may be; crossbeam's is never older.
//!
//! # Orderings
//!
//! | field | operation | ordering | as in crossbeam |
//! | --- | --- | --- | --- |
//! | `stamp` | load, store | Acquire, Release | the same |
//! | `tail`, `head` | compare and exchange | Acquire and Release | `SeqCst`, which a model treats as this |
//! | `tail`, by a sender | read-modify-write of nothing | Acquire | a relaxed load, then a `SeqCst` fence before it says `Full` |
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
    sync::{Arc, Mutex as Unseen, PoisonError, atomic::AtomicBool as UnseenBool},
    time::Duration,
};

/// A channel for `capacity` elements; 0 is taken as 1.
#[must_use]
pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let place = |index| Place {
        stamp: AtomicUsize::new(2 * index),
        element: Unseen::new(None),
    };
    let channel = Arc::new(Channel {
        places: (0..capacity.max(1)).map(place).collect(),
        head: AtomicUsize::new(0),
        tail: AtomicUsize::new(0),
        sender_gone: AtomicBool::new(false),
        receiver_gone: UnseenBool::new(false),
    });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

struct Channel<T> {
    places: Box<[Place<T>]>,
    /// How many were taken, or are being taken.
    head: AtomicUsize,
    /// How many were put, or are being put.
    tail: AtomicUsize,
    sender_gone: AtomicBool,
    receiver_gone: UnseenBool,
}

struct Place<T> {
    /// `2 n`: free for the `n`th element. `2 n + 1`: holds it.
    stamp: AtomicUsize,
    element: Unseen<Option<T>>,
}

impl<T> Place<T> {
    /// Puts or takes; never held across a step of the model.
    fn replace(&self, element: Option<T>) -> Option<T> {
        let mut guard = self.element.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *guard, element)
    }
}

impl<T> Channel<T> {
    fn place(&self, index: usize) -> &Place<T> {
        &self.places[index % self.places.len()]
    }

    fn len(&self) -> usize {
        let tail = self.tail.load(Acquire);
        tail.saturating_sub(self.head.load(Acquire))
    }
}

/// The channel refused the element, and gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrySendError<T> {
    /// There is no place, or none of which the sender knows that it was emptied.
    Full(T),
    /// The receiver is gone.
    Disconnected(T),
}

/// The sender is gone and the channel empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecvError;

/// Why there is no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TryRecvError {
    /// The channel is empty.
    Empty,
    /// The sender is gone and the channel empty.
    Disconnected,
}

/// Why there is no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecvTimeoutError {
    /// The channel is empty.
    Timeout,
    /// The sender is gone and the channel empty.
    Disconnected,
}

/// Puts elements in.
pub(crate) struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    /// Returns false: a model leaves it to [`try_send`](Self::try_send), which is one step less.
    pub(crate) fn is_full(&self) -> bool {
        false
    }

    /// Puts an element in, if there is room.
    ///
    /// # Errors
    ///
    /// Gives the element back if there is no room or no receiver.
    pub(crate) fn try_send(&self, element: T) -> Result<(), TrySendError<T>> {
        if self.0.receiver_gone.load(Acquire) {
            return Err(TrySendError::Disconnected(element));
        }
        loop {
            let tail = self.0.tail.fetch_add(0, Acquire);
            let place = self.0.place(tail);
            let stamp = place.stamp.load(Acquire);
            if stamp < 2 * tail {
                return Err(TrySendError::Full(element));
            }
            // A higher stamp: another sender was faster.
            if stamp == 2 * tail
                && self
                    .0
                    .tail
                    .compare_exchange(tail, tail + 1, AcqRel, Acquire)
                    .is_ok()
            {
                let before = place.replace(Some(element));
                assert!(
                    before.is_none(),
                    "a place was put into before it was emptied"
                );
                place.stamp.store(2 * tail + 1, Release);
                return Ok(());
            }
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.sender_gone.store(true, Release);
    }
}

/// Takes elements out.
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    /// Takes the next element, if there is one; waits for one that is half put.
    ///
    /// # Errors
    ///
    /// Says whether the channel is empty for now or for good.
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        loop {
            let head = self.0.head.load(Acquire);
            let place = self.0.place(head);
            if place.stamp.load(Acquire) == 2 * head + 1 {
                if self
                    .0
                    .head
                    .compare_exchange(head, head + 1, AcqRel, Acquire)
                    .is_ok()
                {
                    let element = place.replace(None);
                    place.stamp.store(2 * (head + self.0.places.len()), Release);
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
    /// [`RecvError`] if none will come.
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        loop {
            match self.try_recv() {
                Ok(element) => return Ok(element),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => thread::yield_now(),
            }
        }
    }

    /// Takes the next element, if there is one; there is no time in a model.
    ///
    /// # Errors
    ///
    /// Says whether the channel is empty for now or for good.
    pub(crate) fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
        self.try_recv().map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// How many elements are in, those half put included.
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
