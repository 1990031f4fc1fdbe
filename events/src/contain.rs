//! Running code of the host, a waker, so that its panic stays its own.
//!
//! # Orderings
//!
//! None.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Runs `code`; false if it panicked.
///
/// The payload of the panic is dropped here. If that panics too, the payload of the second panic
/// is leaked, since its destructor might panic again.
pub(crate) fn contained(code: impl FnOnce()) -> bool {
    // Between two statements of this crate, never within one: nothing of it is half changed.
    let Err(payload) = catch_unwind(AssertUnwindSafe(code)) else {
        return true;
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;

    /// Panics when it is dropped, with another of its kind.
    struct Bomb(u8);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_is_told_and_goes_no_further_whatever_it_carries() {
        assert!(contained(|| {}));
        assert!(!contained(|| panic!("text")));
        for depth in 0..4 {
            assert!(!contained(|| panic_any(Bomb(depth))));
        }
    }
}
