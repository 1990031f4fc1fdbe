//! Stand-ins for what loom does not know: a bounded channel and an `Arc` that is swapped.
//!
//! # Coverage limit
//!
//! A model that uses these checks the code around them, never crossbeam-channel or arc-swap
//! themselves. What that leaves out, and which other test covers it:
//!
//! | stand-in | not shown | covered by |
//! | --- | --- | --- |
//! | channel | crossbeam's own code; its waiting for one that is half way through a place | `events/tests/stress.rs`, on the real one |
//! | channel | `Disconnected` from `try_send`: the end of the receiver is seen at once, not as a model would let it be | unit tests of `events` |
//! | channel | time: `recv_timeout` never waits, `recv` yields until something is there | unit tests of `events` |
//! | channel | data races on an element: each lies behind a lock that the model does not see | crossbeam's own tests |
//! | swap | arc-swap's own code: that a load waits for nobody, and that what it lends stays alive | stress tests of the facade, on the real one |
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
//! | `current`, of a swap | read-modify-write of nothing, for a load | Acquire | arc-swap's loads: ordered after the store that they read, and no more |
//! | `current`, of a swap | compare and exchange, for a store | `AcqRel` | arc-swap's stores |

// Not from `sync`, whose locks and threads need the feature `std`: this file is for loom alone.
use loom::{
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Acquire, Release},
    },
    thread,
};
use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::{
        Arc, Mutex as Unseen, MutexGuard as UnseenGuard, PoisonError,
        atomic::AtomicBool as UnseenBool,
    },
    time::Duration,
};

/// A channel for `capacity` elements; 0 is taken as 1.
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
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
pub enum TrySendError<T> {
    /// There is no place, or none of which the sender knows that it was emptied.
    Full(T),
    /// The receiver is gone.
    Disconnected(T),
}

/// The sender is gone and the channel empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

/// Why there is no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// The channel is empty.
    Empty,
    /// The sender is gone and the channel empty.
    Disconnected,
}

/// Why there is no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// The channel is empty.
    Timeout,
    /// The sender is gone and the channel empty.
    Disconnected,
}

/// Puts elements in.
pub struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    /// Puts an element in, if there is room.
    ///
    /// # Errors
    ///
    /// Gives the element back if there is no room or no receiver.
    pub fn try_send(&self, element: T) -> Result<(), TrySendError<T>> {
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
pub struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    /// Takes the next element, if there is one; waits for one that is half put.
    ///
    /// # Errors
    ///
    /// Says whether the channel is empty for now or for good.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
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
    pub fn recv(&self) -> Result<T, RecvError> {
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
    pub fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
        self.try_recv().map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// How many elements are in, those half put included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

/// A shared pointer (`P` is a std `Arc`, or an `Option` of one) that is loaded and replaced.
pub struct ArcSwapAny<P> {
    /// The number of the pointer that is current. Every access reads and writes it in one step,
    /// so each sees the latest, as arc-swap's do.
    current: AtomicUsize,
    /// The current pointer under its number, and none that was replaced.
    pointers: Unseen<HashMap<usize, P>>,
}

/// An `Arc` that is loaded and replaced.
pub type ArcSwap<T> = ArcSwapAny<Arc<T>>;

/// An `Arc`, or none, that is loaded and replaced.
pub type ArcSwapOption<T> = ArcSwapAny<Option<Arc<T>>>;

impl<P: Clone> ArcSwapAny<P> {
    /// Holds this pointer.
    pub fn new(pointer: P) -> Self {
        Self {
            current: AtomicUsize::new(0),
            pointers: Unseen::new(HashMap::from([(0, pointer)])),
        }
    }

    /// Never held across a step of the model.
    fn pointers(&self) -> UnseenGuard<'_, HashMap<usize, P>> {
        self.pointers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current number and a clone of its pointer.
    fn numbered(&self) -> (usize, P) {
        let number = self.current.fetch_add(0, Acquire);
        (number, self.pointers()[&number].clone())
    }

    /// Lends the pointer.
    pub fn load(&self) -> Guard<P> {
        Guard(self.load_full())
    }

    /// A clone of the pointer.
    pub fn load_full(&self) -> P {
        self.numbered().1
    }

    /// Replaces the pointer.
    pub fn store(&self, pointer: P) {
        drop(self.swap(pointer));
    }

    /// Replaces the pointer and returns the one before.
    pub fn swap(&self, pointer: P) -> P {
        self.rcu(|_| pointer.clone())
    }

    /// Replaces the pointer by what `update` makes of it, and returns the one before. As in
    /// arc-swap, `update` runs again if the pointer was replaced meanwhile.
    pub fn rcu<R: Into<P>>(&self, mut update: impl FnMut(&P) -> R) -> P {
        loop {
            let (number, before) = self.numbered();
            let after = update(&before).into();
            let replaced = self
                .current
                .compare_exchange(number, number + 1, AcqRel, Acquire);
            if replaced.is_ok() {
                let mut pointers = self.pointers();
                pointers.insert(number + 1, after);
                let stored = pointers.remove(&number);
                drop(pointers);
                drop(stored);
                return before;
            }
        }
    }
}

impl<T> ArcSwap<T> {
    /// Holds a new `Arc` of this value.
    pub fn from_pointee(value: T) -> Self {
        Self::new(Arc::new(value))
    }
}

impl<T> ArcSwapOption<T> {
    /// Holds a new `Arc` of this value, if there is one.
    pub fn from_pointee(value: impl Into<Option<T>>) -> Self {
        Self::new(value.into().map(Arc::new))
    }

    /// Holds none.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(None)
    }
}

impl<P: Clone + fmt::Debug> fmt::Debug for ArcSwapAny<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArcSwapAny")
            .field(&self.load_full())
            .finish()
    }
}

impl<P: Clone + Default> Default for ArcSwapAny<P> {
    fn default() -> Self {
        Self::new(P::default())
    }
}

/// A pointer on loan.
#[derive(Clone, Debug)]
pub struct Guard<P>(P);

impl<P> Guard<P> {
    /// The pointer, to keep.
    #[must_use]
    pub fn into_inner(guard: Self) -> P {
        guard.0
    }
}

impl<P> Deref for Guard<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}
