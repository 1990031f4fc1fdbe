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
mod section;
