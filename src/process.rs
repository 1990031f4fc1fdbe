//! [`Process`]: the identity of the process, by which a forked child is recognised.
//!
//! A fork copies the memory of a process but only one of its threads. Locks of other threads stay
//! locked in the child for ever, and the pump's thread does not exist there. So the child only
//! counts and reads, which takes no lock of the parent, and does not touch what the pump may have
//! locked.

/// The process in which something was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// Returns the current process.
    pub(crate) fn current() -> Self {
        Self(id())
    }

    /// Returns another process.
    #[cfg(all(test, not(toolmeter_loom)))]
    pub(crate) fn other() -> Self {
        Self(id() ^ 1)
    }

    /// Returns whether the caller is in another process, which is a forked child of this one.
    pub(crate) fn is_forked(self) -> bool {
        self != Self::current()
    }
}

/// Returns the id of the current process.
#[cfg(any(unix, windows))]
pub(crate) fn id() -> u32 {
    std::process::id()
}

/// Returns 0, since there is only one process.
#[cfg(not(any(unix, windows)))]
pub(crate) fn id() -> u32 {
    0
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn another_process_is_a_fork() {
        assert!(!Process::current().is_forked());
        assert!(Process(id().wrapping_add(1)).is_forked());
    }
}
