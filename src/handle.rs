//! [`ToolHandle`]: what a host holds of a registered tool, and what it points at.
//!
//! A handle leads straight to the words of its slot, so metering a call looks nothing up:
//!
//! ```text
//! ToolHandle -> ToolState -> SlotMemory -> words        counters, shared by all handles
//!                   |-----> Meter                       clock, rings, text policy of the registry
//!                   `-----> ToolSlot                    name, id, last error, who still holds it
//! ```
//!
//! A [`ToolSlot`] outlives the registration: it stays visible as long as a handle counts into
//! it. `holders` is how the registry learns that none is left.
//!
//! What a call reads of its tool and its registry is aligned to 128 bytes, two cache lines, which
//! processors fetch together. Otherwise the allocator may place it beside something that another
//! thread writes at each of its calls, and each call would wait for that line.
//!
//! # Orderings
//!
//! `holders` is ordered with what its handles counted: see `reclaim.rs`, which reads it. `enabled`
//! is relaxed and orders nothing.

use crate::classify::Verdict;
use crate::clock::HostClock;
use crate::contain::{Panicked, contained, discard};
use crate::instrument::Hook;
use crate::last_error::{ErrorRecords, KeptErrors};
use crate::slab::SlotMemory;
use crate::sync::{self, AtomicBool, AtomicUsize, Ordering};
use crate::text::{MAX_NAME_BYTES, TextPolicy};
use crate::tool::{Invocation, Tool, ToolFuture, ToolSpec};
use crossbeam_utils::CachePadded;
use serde_json::Value;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::SystemTime;
use toolmeter_core::Reading;
use toolmeter_core::reading::BucketCount;
use toolmeter_events::{Rings, ToolId};

/// A reading as the facade keeps it.
pub(crate) type ToolReading = Reading<Vec<BucketCount>>;

/// What every call of a registry needs.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Meter {
    pub(crate) clock: HostClock,
    pub(crate) rings: sync::Arc<Rings>,
    pub(crate) text: TextPolicy,
    pub(crate) hook: Option<Hook>,
}

/// Dropping the redactor and the hook runs the host's code.
impl Drop for Meter {
    fn drop(&mut self) {
        discard(std::mem::replace(&mut self.text, TextPolicy::Off));
        discard(self.hook.take());
    }
}

/// One tool's counters and identity, for as long as a handle counts into them or a reader reads
/// them.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ToolSlot {
    pub(crate) id: ToolId,
    pub(crate) name: Arc<str>,
    /// When the name was registered for the first time.
    pub(crate) registered_at: SystemTime,
    pub(crate) memory: SlotMemory,
    /// What was counted under the name before it got this memory.
    before: Option<Arc<ToolReading>>,
    /// Apart from what calls read: failures write it.
    pub(crate) errors: CachePadded<KeptErrors>,
    enabled: AtomicBool,
    holders: AtomicUsize,
    /// Whether it is retired; changed under the registry's lock.
    pub(crate) retired: AtomicBool,
    /// Whether it stands in the line of tools to be looked at; changed under that lock.
    pub(crate) in_line: AtomicBool,
}

impl ToolSlot {
    /// A slot for a name that was never registered.
    pub(crate) fn new(
        id: ToolId,
        name: Arc<str>,
        registered_at: SystemTime,
        memory: SlotMemory,
    ) -> Self {
        Self::continuing(id, name, registered_at, memory, None, None)
    }

    /// A slot for a name under which something was counted before.
    pub(crate) fn continuing(
        id: ToolId,
        name: Arc<str>,
        registered_at: SystemTime,
        memory: SlotMemory,
        before: Option<Arc<ToolReading>>,
        errors: Option<Arc<ErrorRecords>>,
    ) -> Self {
        Self {
            id,
            name,
            registered_at,
            memory,
            before,
            errors: CachePadded::new(KeptErrors::new(errors)),
            enabled: AtomicBool::new(true),
            holders: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            in_line: AtomicBool::new(false),
        }
    }

    /// Everything that was ever counted under the name.
    pub(crate) fn total(&self) -> ToolReading {
        let mut reading = ToolReading::default();
        // A Vec is never full.
        let _ = self.memory.slot().read(&mut reading);
        match &self.before {
            None => reading,
            Some(before) => {
                // In this order: of two failures or finishes at the same time the later one is the
                // slot's.
                let mut total = ToolReading::clone(before);
                let _ = total.add(&reading);
                total
            }
        }
    }

    /// How many calls entered, without reading anything else: while it stays the same and nothing
    /// was in flight, nothing was counted.
    pub(crate) fn entered(&self) -> u64 {
        let before = self
            .before
            .as_ref()
            .map_or(0, |before| before.started().wrapping_add(before.rejected()));
        before.wrapping_add(self.memory.slot().entered())
    }

    /// Whether no handle is left, so that nothing will be counted unless it is registered
    /// again; all that was counted is then seen by the caller.
    pub(crate) fn is_released(&self) -> bool {
        self.holders.load(Ordering::Acquire) == 0
    }
}

/// The host's tool, for calls by name. Dropping it runs the host's code, whose panics are
/// contained here; it is never dropped under a lock of ours.
pub(crate) struct Body {
    /// Taken only to be dropped.
    tool: Option<Box<dyn Tool>>,
    /// Asked once, when the tool was registered.
    #[cfg(feature = "tokio")]
    pub(crate) is_blocking: bool,
}

impl Body {
    /// Takes a tool over, and asks it what it is; the caller holds no lock.
    ///
    /// # Errors
    ///
    /// [`Panicked`] if the tool did. It is dropped then.
    pub(crate) fn new(tool: impl Tool) -> Result<(ToolSpec, Self), Panicked> {
        #[cfg_attr(
            not(feature = "tokio"),
            allow(unused_mut, reason = "only asked for threads")
        )]
        let mut body = Self {
            tool: Some(Box::new(Apart(tool))),
            #[cfg(feature = "tokio")]
            is_blocking: false,
        };
        let spec = contained(|| body.tool().spec())?;
        #[cfg(feature = "tokio")]
        {
            body.is_blocking = contained(|| body.tool().is_blocking())?;
        }
        Ok((spec, body))
    }

    /// The tool.
    pub(crate) fn tool(&self) -> &dyn Tool {
        match &self.tool {
            Some(tool) => &**tool,
            None => unreachable!("it is taken only to be dropped"),
        }
    }
}

/// A tool in lines of its own. Every method of [`Tool`] is passed on.
#[repr(align(128))]
struct Apart<T>(T);

impl<T: Tool> Tool for Apart<T> {
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

impl Drop for Body {
    fn drop(&mut self) {
        discard(self.tool.take());
    }
}

/// What all handles of one registration share.
#[repr(align(128))]
pub(crate) struct ToolState {
    pub(crate) memory: SlotMemory,
    pub(crate) meter: Arc<Meter>,
    pub(crate) slot: Arc<ToolSlot>,
    pub(crate) body: Option<Body>,
    /// The slot's name once more, for look-ups: the slot's own lies where the allocator placed it.
    pub(crate) name: NameHere,
}

/// A name, in place.
pub(crate) struct NameHere {
    len: usize,
    bytes: [u8; MAX_NAME_BYTES],
}

impl NameHere {
    /// A name that was checked; what is longer than a name can be never compares equal.
    fn new(name: &str) -> Self {
        let mut bytes = [0; MAX_NAME_BYTES];
        for (here, byte) in bytes.iter_mut().zip(name.bytes()) {
            *here = byte;
        }
        Self {
            len: name.len(),
            bytes,
        }
    }

    /// Whether this is the name.
    #[inline]
    pub(crate) fn is(&self, name: &str) -> bool {
        self.len == name.len() && self.bytes.get(..self.len) == Some(name.as_bytes())
    }
}

/// The counters are valid after each addition, so a host may catch a panic around its handles and
/// registry as it likes. The body is the host's own; `invoke` makes an error of its panic and calls
/// it again the next time, so a body has to expect that anyway.
impl UnwindSafe for ToolState {}
impl RefUnwindSafe for ToolState {}

impl ToolState {
    /// A registration of `slot`; the caller holds the registry's lock.
    pub(crate) fn new(slot: Arc<ToolSlot>, meter: Arc<Meter>, body: Option<Body>) -> Self {
        slot.holders.fetch_add(1, Ordering::Relaxed);
        slot.enabled.store(true, Ordering::Relaxed);
        slot.retired.store(false, Ordering::Relaxed);
        Self {
            memory: slot.memory.clone(),
            name: NameHere::new(&slot.name),
            meter,
            slot,
            body,
        }
    }
}

impl Drop for ToolState {
    fn drop(&mut self) {
        self.slot.holders.fetch_sub(1, Ordering::Release);
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

/// A registered tool: what calls are metered through.
///
/// Cloning a handle is one atomic addition; hosts keep one for each tool, or one for each
/// worker. Any number of threads may use the same handle at once. A handle outlives its
/// registry and its registration: it goes on counting, into a slot that stays visible until the
/// last handle is gone.
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

impl ToolHandle {
    /// Returns the name under which the tool was registered.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.slot.name
    }

    /// Returns the tool's id, as it stands in events. It stays the name's when the tool is
    /// deregistered and registered again, and is never given to another name.
    #[must_use]
    pub fn id(&self) -> ToolId {
        self.0.slot.id
    }

    /// Lets calls by name through, or refuses them.
    ///
    /// While a tool is disabled, [`Registry::invoke`](crate::Registry::invoke) answers with an
    /// error and counts a rejected call. Calls through handles are the host's own and are not
    /// refused. Calls under way are not touched.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{InvokeError, Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let tool = registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// tool.set_enabled(false);
    /// let answer = registry.invoke("echo", 1.into()).await;
    /// assert!(matches!(answer, Err(InvokeError::Disabled { .. })));
    /// # Ok::<(), toolmeter::RegisterError>(()) }).unwrap();
    /// ```
    pub fn set_enabled(&self, enabled: bool) {
        self.0.slot.enabled.store(enabled, Ordering::Relaxed);
    }

    /// Returns whether calls by name are let through; true after registration.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.slot.enabled.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for ToolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("enabled", &self.is_enabled())
            .finish()
    }
}
