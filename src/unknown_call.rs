//! [`UnknownCall`]: a call by a name that no tool has, in a host that looks tools up itself.
//!
//! Promises:
//!
//! - [`UnknownCall::count`] adds one to the registry's count of such calls, and reports it to the
//!   registry's hook as a call by name would be. Without a hook it allocates nothing.
//! - The name may be anything that a model sends. The hook gets it escaped and bounded.

use crate::call_options::CallOptions;
use crate::registry_state::RegistryState;
use std::sync::Arc;
use toolmeter_events::CallContext;

/// A call by a name that no tool has; see [`Registry::unknown_call`](crate::Registry::unknown_call).
#[derive(Clone, Debug)]
#[must_use = "nothing is counted until `count` is called"]
pub struct UnknownCall<'a> {
    registry: &'a RegistryState,
    name: &'a str,
    options: CallOptions,
}

impl<'a> UnknownCall<'a> {
    pub(crate) const fn new(registry: &'a RegistryState, name: &'a str) -> Self {
        Self {
            registry,
            name,
            options: CallOptions::new(),
        }
    }

    /// Sets the number of the attempt, counted from 1; 0 is treated as 1.
    pub fn attempt(mut self, attempt: u16) -> Self {
        self.options.set_attempt(attempt);
        self
    }

    /// Sets the host's own names for the call.
    pub fn context(mut self, context: impl Into<Arc<CallContext>>) -> Self {
        self.options.set_context(context);
        self
    }

    /// Counts the call, and reports it to the hook of the registry if there is one.
    pub fn count(self) {
        self.registry
            .count_unknown_call(self.name, &self.options, None);
    }
}
