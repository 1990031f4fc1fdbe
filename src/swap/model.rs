//! A stand-in for arc-swap, which loom does not know: an `Arc` that is loaded and replaced.
//!
//! # Coverage limit
//!
//! A model that uses this checks the code around it, never arc-swap itself. What that leaves out
//! is arc-swap's own code: that a load waits for no thread, and that what it lends stays alive.
//! The stress tests of the facade cover that, on the real one.
//!
//! # Orderings
//!
//! | field | operation | ordering | as in arc-swap |
//! | --- | --- | --- | --- |
//! | `current` | read-modify-write of nothing, for a load | Acquire | its loads: ordered after the store that they read, and no more |
//! | `current` | compare and exchange, for a store | `AcqRel` | its stores |

use loom::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire},
};
use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex as Unseen, MutexGuard as UnseenGuard, PoisonError},
};

/// A shared pointer (`P` is a std `Arc`, or an `Option` of one) that is loaded and replaced.
pub(crate) struct ArcSwapAny<P> {
    /// The number of the pointer that is current. Every access reads and writes it in one step,
    /// so each sees the latest, as arc-swap's do.
    current: AtomicUsize,
    /// The current pointer under its number, and none that was replaced.
    pointers: Unseen<HashMap<usize, P>>,
}

/// An `Arc` that is loaded and replaced.
pub(crate) type ArcSwap<T> = ArcSwapAny<Arc<T>>;

/// An `Arc`, or none, that is loaded and replaced.
pub(crate) type ArcSwapOption<T> = ArcSwapAny<Option<Arc<T>>>;

impl<P: Clone> ArcSwapAny<P> {
    /// Holds this pointer.
    pub(crate) fn new(pointer: P) -> Self {
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
    pub(crate) fn load(&self) -> Guard<P> {
        Guard(self.load_full())
    }

    /// A clone of the pointer.
    pub(crate) fn load_full(&self) -> P {
        self.numbered().1
    }

    /// Replaces the pointer.
    pub(crate) fn store(&self, pointer: P) {
        drop(self.swap(pointer));
    }

    /// Replaces the pointer and returns the one before.
    pub(crate) fn swap(&self, pointer: P) -> P {
        self.rcu(|_| pointer.clone())
    }

    /// Replaces the pointer by what `update` makes of it, and returns the one before. As in
    /// arc-swap, `update` runs again if the pointer was replaced meanwhile.
    pub(crate) fn rcu<R: Into<P>>(&self, mut update: impl FnMut(&P) -> R) -> P {
        loop {
            let (number, before) = self.numbered();
            let after = update(&before).into();
            if self.replaced(number, || after.clone()) {
                return before;
            }
        }
    }

    /// Replaces the pointer of this number, unless it was replaced meanwhile.
    fn replaced(&self, number: usize, pointer: impl FnOnce() -> P) -> bool {
        let replaced = self
            .current
            .compare_exchange(number, number + 1, AcqRel, Acquire);
        if replaced.is_ok() {
            let mut pointers = self.pointers();
            pointers.insert(number + 1, pointer());
            let stored = pointers.remove(&number);
            drop(pointers);
            drop(stored);
        }
        replaced.is_ok()
    }
}

impl<T> ArcSwap<T> {
    /// Replaces the pointer if it is `expected`, and returns the one before either way.
    pub(crate) fn compare_and_swap(&self, expected: &Arc<T>, pointer: Arc<T>) -> Guard<Arc<T>> {
        loop {
            let (number, before) = self.numbered();
            if !Arc::ptr_eq(&before, expected) {
                return Guard(before);
            }
            if self.replaced(number, || Arc::clone(&pointer)) {
                return Guard(before);
            }
        }
    }

    /// Holds a new `Arc` of this value.
    pub(crate) fn from_pointee(value: T) -> Self {
        Self::new(Arc::new(value))
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
pub(crate) struct Guard<P>(P);

impl<P> Guard<P> {
    /// The pointer, to keep.
    #[must_use]
    pub(crate) fn into_inner(guard: Self) -> P {
        guard.0
    }
}

impl<P> Deref for Guard<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}
