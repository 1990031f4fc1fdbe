//! [`ToolRef`]: a registered tool on loan from its registry, found by name for one call.
//!
//! Promise: to look a tool up and to give it back writes nothing that another thread writes, as a
//! handle's count is. What is lent is one version of a part of the tool map (`tool_map.rs`), through
//! arc-swap, whose loans each thread notes in memory of its own. (A thread that holds more than
//! eight loans of any kind at once counts the others in the version, which is shared.)

use crate::handle::ToolHandle;
use crate::tool_map::Found;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// A registered tool on loan, from [`Registry::tool`](crate::Registry::tool): everything that a
/// [`ToolHandle`] can do, for one call.
///
/// Hold it for a call, not longer: while it is held, a tool that was deregistered may go on being
/// shown as retired, and its body be kept. To keep the tool, take a handle with
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

    /// Returns a handle of the tool, to keep.
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
