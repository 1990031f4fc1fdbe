//! [`BoxedTool`]: the host's tool behind a registration, for calls by name.
//!
//! Dropping it runs the host's code. A panic of that is contained here, and no caller drops it
//! while it holds a lock of ours.

use crate::classify::Verdict;
use crate::contain::{Panicked, contained, discard};
use crate::tool::{Invocation, Tool, ToolFuture, ToolSpec};
use serde_json::Value;

/// A [`Tool`] of the host, in a box.
pub(crate) struct BoxedTool {
    /// `None` only while it is dropped.
    tool: Option<Box<dyn Tool>>,
    /// True if the tool blocks, as read when it was registered.
    #[cfg(feature = "tokio")]
    pub(crate) is_blocking: bool,
}

impl BoxedTool {
    /// Boxes a tool, and returns its spec. The caller holds no lock.
    ///
    /// # Errors
    ///
    /// [`Panicked`] if the tool panicked. It is dropped then.
    pub(crate) fn new(tool: impl Tool) -> Result<(ToolSpec, Self), Panicked> {
        #[cfg_attr(
            not(feature = "tokio"),
            allow(unused_mut, reason = "only a tool that blocks is asked")
        )]
        let mut boxed = Self {
            tool: Some(Box::new(CacheAligned(tool))),
            #[cfg(feature = "tokio")]
            is_blocking: false,
        };
        let spec = contained(|| boxed.tool().spec())?;
        #[cfg(feature = "tokio")]
        {
            boxed.is_blocking = contained(|| boxed.tool().is_blocking())?;
        }
        Ok((spec, boxed))
    }

    /// Returns the tool.
    pub(crate) fn tool(&self) -> &dyn Tool {
        match &self.tool {
            Some(tool) => &**tool,
            None => unreachable!("the tool is taken only by the destructor"),
        }
    }
}

/// A tool in cache lines of its own (see `tool_state.rs`). It passes every method of [`Tool`] on.
#[repr(align(128))]
struct CacheAligned<T>(T);

impl<T: Tool> Tool for CacheAligned<T> {
    fn spec(&self) -> ToolSpec {
        self.0.spec()
    }

    fn is_blocking(&self) -> bool {
        self.0.is_blocking()
    }

    fn call(&self, invocation: Invocation) -> ToolFuture {
        self.0.call(invocation)
    }

    fn classify(&self, answer: &Value) -> Verdict {
        self.0.classify(answer)
    }
}

impl Drop for BoxedTool {
    fn drop(&mut self) {
        discard(self.tool.take());
    }
}
