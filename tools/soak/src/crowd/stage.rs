//! The registry that the threads share, and the end of the load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use toolmeter::{RegisterError, Registry, ToolHandle};

/// The registry and the flag that the threads share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) registry: Registry,
    pub(super) over: AtomicBool,
}

impl Stage {
    pub(super) fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let stage = Arc::clone(self);
        thread::spawn(move || work(&stage))
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Registers a name that no other thread registers. Returns `None` if too many tools are held.
    pub(super) fn register(&self, name: &str) -> Option<ToolHandle> {
        match self.registry.register(name.to_owned()) {
            Ok(handle) => Some(handle),
            Err(RegisterError::TooManyTools { .. }) => None,
            Err(error) => panic!("`{name}` cannot be registered: {error}"),
        }
    }

    pub(super) fn deregister(&self, name: &str) {
        let ended = self.registry.deregister(name);
        ended.expect("no other thread deregisters this name");
    }
}
