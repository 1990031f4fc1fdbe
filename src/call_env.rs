//! [`CallEnv`]: the parts of a registry that its calls use: clock, rings, text policy and hook.

use crate::clock::HostClock;
use crate::contain::discard;
use crate::hook::Hook;
use crate::sync;
use crate::text::TextPolicy;
use std::mem;
use toolmeter_events::Rings;

/// The parts of a registry that its calls use. All its tools share one.
///
/// It has cache lines of its own (see `tool_state.rs`).
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct CallEnv {
    pub(crate) clock: HostClock,
    pub(crate) rings: sync::Arc<Rings>,
    pub(crate) text: TextPolicy,
    pub(crate) hook: Option<Hook>,
}

/// Dropping the redactor and the hook runs the host's code, whose panics are contained here.
impl Drop for CallEnv {
    fn drop(&mut self) {
        discard(mem::replace(&mut self.text, TextPolicy::Off));
        discard(self.hook.take());
    }
}
