//! The switch between the real 64-bit word and its replacements.
//!
//! Every file of this crate that synchronises takes its word from here, so a model checks the
//! very code that a host runs.
//!
//! | build | 64-bit word |
//! | --- | --- |
//! | the target has native 64-bit atomics | [`core`]'s |
//! | it has none, but an operating system | portable-atomic's, which may take a lock |
//! | it has neither, feature `critical-section` | a `u64` that is used in critical sections only |
//! | it has neither, feature `unsafe-assume-single-core` | portable-atomic's of that name: interrupts are disabled |
//! | it has neither, no feature | none: the crate does not compile |
//! | `--cfg toolmeter_loom` | loom's |
//! | `--cfg toolmeter_locked_word` | that of `critical-section`, on any machine, so that the tests run on it |
//!
//! Without an operating system a call may be metered from an interrupt. There a lock would be waited
//! for without end by a handler that interrupted its holder; so none of the words that can be chosen
//! there takes one.
//!
//! # Invariant of the word in a critical section
//!
//! Its value is read and written in one critical section for each operation. So every operation
//! is atomic, and all operations of all words are in one order that every thread and every handler
//! agrees on, which is stronger than any ordering that is asked for. An ordering therefore has no
//! row here: the argument is taken, as by an atomic, and not used.

#[cfg(all(
    target_os = "none",
    not(any(
        target_has_atomic = "64",
        toolmeter_loom,
        toolmeter_locked_word,
        feature = "critical-section",
        feature = "unsafe-assume-single-core"
    ))
))]
compile_error!(
    "this target has no native 64-bit atomics: choose the word of toolmeter-core by its feature \
     `critical-section` (with an implementation of that crate) or, on a single core whose program may \
     disable interrupts, `unsafe-assume-single-core`"
);

#[cfg(toolmeter_loom)]
mod imp {
    pub use loom::sync::atomic::AtomicU64 as Word;
    pub(crate) use loom::sync::atomic::Ordering;
}

#[cfg(not(toolmeter_loom))]
mod imp {
    #[cfg(all(not(toolmeter_locked_word), target_has_atomic = "64"))]
    pub use core::sync::atomic::AtomicU64 as Word;
    pub(crate) use core::sync::atomic::Ordering;
    #[cfg(all(
        not(toolmeter_locked_word),
        not(target_has_atomic = "64"),
        not(target_os = "none")
    ))]
    pub use portable_atomic::AtomicU64 as Word;
    #[cfg(all(
        not(toolmeter_locked_word),
        not(target_has_atomic = "64"),
        target_os = "none",
        feature = "unsafe-assume-single-core",
        not(feature = "critical-section")
    ))]
    pub use portable_atomic::AtomicU64 as Word;

    #[cfg(any(
        toolmeter_locked_word,
        all(
            not(target_has_atomic = "64"),
            target_os = "none",
            feature = "critical-section"
        )
    ))]
    pub use super::section::Word;
}

pub(crate) use imp::Ordering;
pub use imp::Word;

#[cfg(all(
    not(toolmeter_loom),
    any(
        toolmeter_locked_word,
        all(
            not(target_has_atomic = "64"),
            target_os = "none",
            feature = "critical-section"
        )
    )
))]
mod section {
    use super::Ordering;
    use core::cell::Cell;
    use core::fmt;
    use core::panic::RefUnwindSafe;
    use critical_section::Mutex;

    /// A `u64` that is used in critical sections, with the methods of an atomic that this crate
    /// and those that build on it use.
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

        /// Replaces the value by what `change` makes of it, and returns the value before.
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

        /// Replaces the value if it is `current`.
        ///
        /// # Errors
        ///
        /// The value, if it is another.
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

        /// Adds, wrapping, and returns the value before.
        #[inline]
        pub fn fetch_add(&self, addend: u64, _: Ordering) -> u64 {
            self.change(|value| value.wrapping_add(addend))
        }

        /// Subtracts, wrapping, and returns the value before.
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

        /// Replaces the value by the greater of both and returns the value before.
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
            let order = Ordering::SeqCst;
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
                    scope
                        .spawn(|| (0..EACH).for_each(|_| _ = word.fetch_add(1, Ordering::Relaxed)));
                }
            });
            assert_eq!(word.load(Ordering::Relaxed), 4 * EACH);
        }
    }
}
