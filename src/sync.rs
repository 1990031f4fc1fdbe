//! The facade's one switch between the real primitives and loom's.
//!
//! Every file of this crate that synchronises takes its primitives from here, so a model checks
//! the very code that a host runs. Everything here only renames, except [`lock`], which takes a
//! mutex whether or not a panic poisoned it: what is kept behind a lock is valid after each
//! statement.

pub(crate) use toolmeter_core::Word;

#[cfg(toolmeter_loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
#[cfg(not(toolmeter_loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Takes the lock, poisoned or not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
