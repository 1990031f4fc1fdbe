//! The switch between the real synchronisation primitives and loom's.
//!
//! Files of this crate that loom checks import their primitives from here, so a model checks the
//! code that a host runs. [`lock`] ignores poisoning, since what is behind a lock is valid after
//! each statement.

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

/// Locks the mutex, poisoned or not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
