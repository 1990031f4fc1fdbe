//! The one switch between std's primitives and loom's.
//!
//! Every file of this crate that synchronises takes its primitives from here, so a model checks
//! the code that a host runs. Everything here only renames, except [`lock`].
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

/// Takes the lock, poisoned or not: what this crate keeps behind a lock is valid after each
/// statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
