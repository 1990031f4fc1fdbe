//! Which process this is, so that a forked child knows that it is one.
//!
//! A fork copies the memory of a process and one of its threads. What other threads had locked
//! stays locked in the child for ever, and the pump's thread is not there. So the child counts and
//! reads, which takes no lock, and leaves alone what the pump may have held.

/// The process in which something was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// The process that calls this.
    pub(crate) fn current() -> Self {
        Self(id())
    }

    /// Another process.
    #[cfg(all(test, not(toolmeter_loom)))]
    pub(crate) fn other() -> Self {
        Self(id() ^ 1)
    }

    /// Whether the caller is in another process, a forked child of this one.
    pub(crate) fn is_forked(self) -> bool {
        self != Self::current()
    }
}

/// The id of the process, where there are processes.
#[cfg(any(unix, windows))]
pub(crate) fn id() -> u32 {
    std::process::id()
}

/// There is one process only.
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
