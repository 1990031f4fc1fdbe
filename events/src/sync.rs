//! The switch between the primitives of std and those of loom.
//!
//! Files import from here the primitives that a model has to see, so a model checks the code that a
//! host runs. (It does not see the `OnceLock`s in `ring/stripe.rs` and `pump_waker.rs`, which are
//! set before they matter, nor the threads of `waker_threads.rs`, which no model has.) This file only
//! re-exports, except for [`lock`].
//!
//! # Orderings
//!
//! None of its own.

pub(crate) use toolmeter_core::Word;

#[cfg(toolmeter_loom)]
pub(crate) use loom::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
#[cfg(not(toolmeter_loom))]
pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Takes the lock, even if it is poisoned: no code that can panic runs while the data behind a lock
/// of this crate is inconsistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
