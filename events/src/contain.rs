//! Running code of the host, here a waker, and catching its panics.
//!
//! # Orderings
//!
//! None.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Runs `code`. Returns `false` if it panicked.
///
/// The payload of the panic is dropped here. If that panics too, the second payload is leaked,
/// since its destructor might panic again.
pub(crate) fn contained(code: impl FnOnce()) -> bool {
    // Unwind-safe: at every call, the data of this crate is consistent.
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

    /// Panics when it is dropped, with a payload that does the same.
    struct Bomb(u8);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_is_caught_and_reported_whatever_its_payload() {
        assert!(contained(|| {}));
        assert!(!contained(|| panic!("text")));
        for depth in 0..4 {
            assert!(!contained(|| panic_any(Bomb(depth))));
        }
    }
}
