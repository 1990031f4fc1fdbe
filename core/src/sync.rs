//! The 64-bit word: the native atomic, or its replacement.
//!
//! Every file of this crate that synchronises imports its word from here, so the loom models run the
//! same code as a host.
//!
//! | build | 64-bit word |
//! | --- | --- |
//! | the target has native 64-bit atomics | [`core`]'s |
//! | it has none, feature `critical-section` | a `u64` that is used in critical sections only |
//! | it has none, but has an operating system | portable-atomic's, which may take a lock |
//! | it has neither, feature `unsafe-assume-single-core` | portable-atomic's of that name, which disables interrupts |
//! | it has neither, no feature | none: the crate does not compile |
//! | `--cfg toolmeter_loom` | loom's |
//! | `--cfg toolmeter_locked_word` | that of `critical-section`, on any machine, for tests |
//!
//! Without an operating system a call may be metered in an interrupt handler. A handler that
//! interrupts the holder of a lock would wait for that lock forever, so none of the words for such
//! targets takes one. For an operating system that calls programs from interrupt handlers, the first
//! feature chooses the same word.

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

#[cfg(target_pointer_width = "16")]
compile_error!(
    "toolmeter-core needs pointers of at least 32 bits: a layout or a ring may have more words than \
     16 bits can count"
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
        not(target_os = "none"),
        not(feature = "critical-section")
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
        all(not(target_has_atomic = "64"), feature = "critical-section")
    ))]
    pub use super::section::Word;
}

pub(crate) use imp::Ordering;
pub use imp::Word;

#[cfg(all(
    not(toolmeter_loom),
    any(
        toolmeter_locked_word,
        all(not(target_has_atomic = "64"), feature = "critical-section")
    )
))]
mod section;
