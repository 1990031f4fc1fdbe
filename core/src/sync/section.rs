//! The word of the feature `critical-section`: a `u64` that is used in critical sections only.
//!
//! # Invariant
//!
//! Each operation reads and writes the value in one critical section. So every operation is atomic, and
//! every thread and every handler sees all operations on all words in one order.
//!
//! # Orderings
//!
//! That order is stronger than any requested ordering. So the argument is accepted, as by an atomic, and
//! ignored, and no operation has a row in a table.

use super::Ordering;
use core::cell::Cell;
use core::fmt;
use core::panic::RefUnwindSafe;
use critical_section::Mutex;

/// A `u64` in a critical section, with the methods of an atomic that this crate and those that build on
/// it use.
pub struct Word(Mutex<Cell<u64>>);

impl Default for Word {
    fn default() -> Self {
        Self::new(0)
    }
}

/// No operation can panic with the value half changed.
impl RefUnwindSafe for Word {}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load(Ordering::Relaxed).fmt(f)
    }
}

impl Word {
    /// Creates a word that holds `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(Mutex::new(Cell::new(value)))
    }

    /// Replaces the value by the result of `change`, and returns the value before.
    #[inline]
    fn change(&self, change: impl FnOnce(u64) -> u64) -> u64 {
        critical_section::with(|section| {
            let cell = self.0.borrow(section);
            let before = cell.get();
            cell.set(change(before));
            before
        })
    }

    /// Returns the value.
    #[inline]
    pub fn load(&self, _: Ordering) -> u64 {
        critical_section::with(|section| self.0.borrow(section).get())
    }

    /// Replaces the value.
    #[inline]
    pub fn store(&self, value: u64, _: Ordering) {
        critical_section::with(|section| self.0.borrow(section).set(value));
    }

    /// Replaces the value, and returns the value before.
    #[inline]
    pub fn swap(&self, value: u64, _: Ordering) -> u64 {
        self.change(|_| value)
    }

    /// Replaces the value if it is `current`, and returns the value before.
    ///
    /// # Errors
    ///
    /// The value, if it is not `current`.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        _: Ordering,
        _: Ordering,
    ) -> Result<u64, u64> {
        let before = self.change(|value| if value == current { new } else { value });
        if before == current {
            Ok(before)
        } else {
            Err(before)
        }
    }

    /// Adds `addend`, wrapping, and returns the value before.
    #[inline]
    pub fn fetch_add(&self, addend: u64, _: Ordering) -> u64 {
        self.change(|value| value.wrapping_add(addend))
    }

    /// Subtracts `subtrahend`, wrapping, and returns the value before.
    #[inline]
    pub fn fetch_sub(&self, subtrahend: u64, _: Ordering) -> u64 {
        self.change(|value| value.wrapping_sub(subtrahend))
    }

    /// Sets the bits of `mask` and returns the value before.
    #[inline]
    pub fn fetch_or(&self, mask: u64, _: Ordering) -> u64 {
        self.change(|value| value | mask)
    }

    /// Keeps only the bits of `mask` and returns the value before.
    #[inline]
    pub fn fetch_and(&self, mask: u64, _: Ordering) -> u64 {
        self.change(|value| value & mask)
    }

    /// Replaces the value by the higher of both and returns the value before.
    #[inline]
    pub fn fetch_max(&self, value: u64, _: Ordering) -> u64 {
        self.change(|before| before.max(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_does_what_an_atomic_does() {
        use core::sync::atomic::AtomicU64;
        let (word, atomic) = (Word::new(5), AtomicU64::new(5));
        let order = Ordering::Relaxed;
        macro_rules! same {
            ($($call:ident($($argument:expr),*)),* $(,)?) => {$(
                assert_eq!(word.$call($($argument),*), atomic.$call($($argument),*));
                assert_eq!(word.load(order), atomic.load(order));
            )*};
        }
        same!(
            load(order),
            fetch_add(u64::MAX, order),
            fetch_sub(9, order),
            store(0b1100, order),
            fetch_or(0b0110, order),
            fetch_and(0b1010, order),
            fetch_max(3, order),
            fetch_max(70, order),
            swap(8, order),
            compare_exchange(7, 9, order, order),
            compare_exchange(8, 9, order, order),
        );
        assert_eq!(format!("{word:?} {:?}", Word::default()), "9 0");
    }

    #[test]
    fn additions_of_several_threads_all_count() {
        const EACH: u64 = 10_000;
        let word = Word::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..EACH).for_each(|_| _ = word.fetch_add(1, Ordering::Relaxed)));
            }
        });
        assert_eq!(word.load(Ordering::Relaxed), 4 * EACH);
    }
}
