//! A stand-in for arc-swap in loom's models: an `Arc` that is loaded and replaced.
//!
//! # Coverage limit
//!
//! loom does not know arc-swap, so a model checks the code around it, but not that arc-swap's own
//! loads wait for no thread and that what they lend stays alive. The facade's stress tests run the
//! real arc-swap.
//!
//! # Orderings
//!
//! | field | operation | ordering | as in arc-swap |
//! | --- | --- | --- | --- |
//! | `current` | addition of 0, for a load | Acquire | its loads: ordered after the store that they read, and no more |
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
    /// The number of the current pointer. Every access is a read-modify-write, so it sees the latest
    /// number, as arc-swap's accesses do.
    current: AtomicUsize,
    /// The current pointer by its number.
    pointers: Unseen<HashMap<usize, P>>,
}

/// An `Arc` that is loaded and replaced.
pub(crate) type ArcSwap<T> = ArcSwapAny<Arc<T>>;

/// An `Arc`, or none, that is loaded and replaced.
pub(crate) type ArcSwapOption<T> = ArcSwapAny<Option<Arc<T>>>;

impl<P: Clone> ArcSwapAny<P> {
    /// Creates a shared pointer with this value.
    pub(crate) fn new(pointer: P) -> Self {
        Self {
            current: AtomicUsize::new(0),
            pointers: Unseen::new(HashMap::from([(0, pointer)])),
        }
    }

    /// Locks the map. The guard is never held across a step of the model.
    fn pointers(&self) -> UnseenGuard<'_, HashMap<usize, P>> {
        self.pointers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current number and a clone of its pointer.
    fn numbered(&self) -> (usize, P) {
        let number = self.current.fetch_add(0, Acquire);
        (number, self.pointers()[&number].clone())
    }

    /// Lends the pointer.
    pub(crate) fn load(&self) -> Guard<P> {
        Guard(self.load_full())
    }

    /// Returns a clone of the pointer.
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

    /// Replaces the pointer by the result of `update`, and returns the one before. As in arc-swap,
    /// `update` runs again if the pointer was replaced meanwhile.
    pub(crate) fn rcu<R: Into<P>>(&self, mut update: impl FnMut(&P) -> R) -> P {
        loop {
            let (number, before) = self.numbered();
            let after = update(&before).into();
            if self.replaced(number, || after.clone()) {
                return before;
            }
        }
    }

    /// Replaces the pointer if its number is still current, and returns whether it did.
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

    /// Creates a shared pointer to this value.
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

/// A borrowed pointer.
#[derive(Clone, Debug)]
pub(crate) struct Guard<P>(P);

impl<P> Guard<P> {
    /// Returns the pointer.
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
