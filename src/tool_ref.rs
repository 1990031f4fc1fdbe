//! [`ToolRef`]: a registered tool that was looked up by name and is borrowed for one call.
//!
//! Promise: looking a tool up and dropping the reference writes no memory that another thread
//! writes, while cloning a handle writes the count that all handles share. The reference borrows one
//! version of a shard of the tool map (`tool_map.rs`) through arc-swap. Each thread records such
//! loans in memory of its own; if it has more than eight at once, the others are counted in the
//! version, which is shared.

use crate::tool_map::Found;
use crate::tool_state::ToolHandle;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// A borrowed tool, from [`Registry::tool`](crate::Registry::tool). It has all methods of a
/// [`ToolHandle`].
///
/// Hold it for one call only. While it is held, a tool that was deregistered may stay visible as
/// retired, and is not dropped. To keep the tool, take a handle with
/// [`to_handle`](Self::to_handle).
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let registry = Registry::new();
/// registry.register("shell")?;
/// let shell = registry.tool("shell").ok_or("no shell")?;
/// shell.call().attempt(2).start().succeed();
/// assert_eq!(shell.name(), "shell");
/// assert_eq!(registry.metrics().tools["shell"].recovered, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ToolRef<'a> {
    found: Found,
    registry: PhantomData<&'a ()>,
}

impl ToolRef<'_> {
    #[inline]
    pub(crate) const fn new(found: Found) -> Self {
        Self {
            found,
            registry: PhantomData,
        }
    }

    /// Returns a handle of the tool.
    #[must_use]
    pub fn to_handle(&self) -> ToolHandle {
        (**self).clone()
    }
}

impl Deref for ToolRef<'_> {
    type Target = ToolHandle;

    #[inline]
    fn deref(&self) -> &ToolHandle {
        &self.found
    }
}

impl fmt::Debug for ToolRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolRef").field(&**self).finish()
    }
}
