//! The switch between the real 64-bit word and its replacements.
//!
//! Every file of this crate that synchronises takes its word from here, so a model checks the
//! very code that a host runs. Three sets exist:
//!
//! | build | 64-bit word |
//! | --- | --- |
//! | default | [`core`]'s, or portable-atomic's where the target has none |
//! | `--cfg toolmeter_loom` | loom's |
//! | `--cfg toolmeter_locked_word` | a `u64` behind a std lock |
//!
//! The locked word exists to run the tests on a word that is not natively atomic, on any
//! machine; it is not meant for any other use.

#[cfg(toolmeter_loom)]
mod imp {
    pub use loom::sync::atomic::AtomicU64 as Word;
    pub(crate) use loom::sync::atomic::Ordering;
}

#[cfg(not(toolmeter_loom))]
mod imp {
    #[cfg(toolmeter_locked_word)]
    pub use super::locked::Word;
    #[cfg(all(not(toolmeter_locked_word), target_has_atomic = "64"))]
    pub use core::sync::atomic::AtomicU64 as Word;
    pub(crate) use core::sync::atomic::Ordering;
    #[cfg(all(not(toolmeter_locked_word), not(target_has_atomic = "64")))]
    pub use portable_atomic::AtomicU64 as Word;
}

pub(crate) use imp::Ordering;
pub use imp::Word;

#[cfg(toolmeter_locked_word)]
mod locked {
    use super::Ordering;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// A `u64` behind a lock, with the methods of an atomic that this crate uses.
    #[derive(Debug, Default)]
    pub struct Word(Mutex<u64>);

    impl Word {
        /// Creates a word that holds `value`.
        pub const fn new(value: u64) -> Self {
            Self(Mutex::new(value))
        }

        fn value(&self) -> MutexGuard<'_, u64> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Reads the value; the lock is stronger than any ordering.
        pub fn load(&self, _: Ordering) -> u64 {
            *self.value()
        }

        /// Replaces the value.
        pub fn store(&self, value: u64, _: Ordering) {
            *self.value() = value;
        }

        /// Adds, wrapping, and returns the value before.
        pub fn fetch_add(&self, addend: u64, _: Ordering) -> u64 {
            let mut value = self.value();
            let before = *value;
            *value = before.wrapping_add(addend);
            before
        }

        /// Sets the bits of `mask` and returns the value before.
        pub fn fetch_or(&self, mask: u64, _: Ordering) -> u64 {
            let mut value = self.value();
            let before = *value;
            *value = before | mask;
            before
        }
    }
}
