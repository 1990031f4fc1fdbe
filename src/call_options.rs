//! [`CallOptions`]: the attempt and the context of a call.

use std::sync::Arc;
use toolmeter_events::CallContext;

/// The attempt and the context of a call.
#[derive(Clone, Debug)]
pub(crate) struct CallOptions {
    /// Counted from 1.
    pub(crate) attempt: u16,
    pub(crate) context: Option<Arc<CallContext>>,
}

impl CallOptions {
    /// Returns the options of a first attempt without a context.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            attempt: 1,
            context: None,
        }
    }

    /// Sets the attempt, at least 1.
    #[inline]
    pub(crate) fn set_attempt(&mut self, attempt: u16) {
        self.attempt = attempt.max(1);
    }

    #[inline]
    pub(crate) fn set_context(&mut self, context: impl Into<Arc<CallContext>>) {
        self.context = Some(context.into());
    }
}
