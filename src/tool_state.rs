//! [`ToolHandle`], and the [`ToolState`] that it points to.
//!
//! A handle leads straight to the words of its slot, so metering a call looks nothing up:
//!
//! ```text
//! ToolHandle -> ToolState -> SlotMemory -> words        counters, shared by all handles
//!                   |-----> CallEnv                     clock, rings, text policy of the registry
//!                   |-----> ToolSlot                    name, id, last errors, number of holders
//!                   `-----> BoxedTool                   the host's tool, for calls by name
//! ```
//!
//! The methods of a handle are in `handle.rs`, above what they use.
//!
//! # Cache lines
//!
//! What a call reads of its tool and its registry is aligned to 128 bytes: two cache lines, which
//! processors fetch together. Otherwise the allocator may place it beside memory that another
//! thread writes at each of its calls, and each call would wait for that line.

use crate::boxed_tool::BoxedTool;
use crate::call_env::CallEnv;
use crate::slab::SlotMemory;
use crate::text::MAX_NAME_BYTES;
use crate::tool_slot::ToolSlot;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

/// A handle of a registered tool, through which its calls are metered.
///
/// Cloning a handle costs one atomic addition. Hosts keep one handle for each tool, or one for each
/// worker; any number of threads may use the same handle at once. A handle outlives its registry
/// and its registration, and still counts; see
/// [`Registry::deregister`](crate::Registry::deregister).
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let registry = Registry::new();
/// let search = registry.register("web_search")?;
/// let hits = search.run(|| Ok::<_, String>(3))?;
/// assert_eq!(hits, 3);
///
/// let call = search.start();
/// call.succeed();
/// assert_eq!(registry.metrics().tools["web_search"].success(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ToolHandle(pub(crate) Arc<ToolState>);

/// The state that all handles of one registration point to.
#[repr(align(128))]
pub(crate) struct ToolState {
    pub(crate) memory: SlotMemory,
    pub(crate) env: Arc<CallEnv>,
    pub(crate) slot: Arc<ToolSlot>,
    /// The host's tool, if it can be called by name.
    pub(crate) callable: Option<BoxedTool>,
    /// A copy of the slot's name, for look-ups: the slot's own is an allocation that may share a
    /// cache line with any other.
    pub(crate) name: InlineName,
}

/// A tool's name, stored in place.
pub(crate) struct InlineName {
    len: usize,
    bytes: [u8; MAX_NAME_BYTES],
}

impl InlineName {
    /// Copies a name that was checked. A longer text never compares equal.
    fn new(name: &str) -> Self {
        let mut bytes = [0; MAX_NAME_BYTES];
        for (copy, byte) in bytes.iter_mut().zip(name.bytes()) {
            *copy = byte;
        }
        Self {
            len: name.len(),
            bytes,
        }
    }

    /// Returns whether this is the name.
    #[inline]
    pub(crate) fn is(&self, name: &str) -> bool {
        self.len == name.len() && self.bytes.get(..self.len) == Some(name.as_bytes())
    }
}

/// The counters are valid after each addition, so a host may catch a panic around its handles and
/// its registry. The tool of the host is called again after it has panicked, by `invoke` too.
impl UnwindSafe for ToolState {}
impl RefUnwindSafe for ToolState {}

impl ToolState {
    /// Creates a registration of `slot`. The caller holds the registration lock.
    pub(crate) fn new(slot: Arc<ToolSlot>, env: Arc<CallEnv>, callable: Option<BoxedTool>) -> Self {
        slot.hold();
        Self {
            memory: slot.memory.clone(),
            name: InlineName::new(&slot.name),
            env,
            slot,
            callable,
        }
    }
}

impl Drop for ToolState {
    fn drop(&mut self) {
        self.slot.release();
    }
}

impl fmt::Debug for ToolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolState")
            .field("id", &self.slot.id)
            .field("name", &self.slot.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ToolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = &self.0.slot;
        f.debug_struct("ToolHandle")
            .field("id", &slot.id)
            .field("name", &slot.name)
            .field("enabled", &slot.is_enabled())
            .finish()
    }
}
