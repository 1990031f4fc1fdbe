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
//! it. `holders` is how the registry learns that nobody does any more.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `holders` | `fetch_sub` when a handle's state is dropped | `Release` | the load in `is_released` | `a_slot_is_read_to_its_end_before_it_is_free` |
//! | `holders` | `load` in `is_released` | `Acquire` | the subtraction: every call of that handle is then seen | the same |
//! | `holders`, `registrations` | `fetch_add` | `Relaxed` | made under the registry's lock, as is the decision to free a slot | |
//! | `enabled` | all | `Relaxed` | orders nothing | |

use crate::clock::HostClock;
use crate::slab::SlotMemory;
use crate::swap::ArcSwapOption;
use crate::text::TextPolicy;
use crate::tool::Tool;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use toolmeter_core::reading::BucketCount;
use toolmeter_core::sync::{self, AtomicBool, AtomicUsize, Ordering};
use toolmeter_core::{ErrorKind, Reading};
use toolmeter_events::{ErrorMessage, Rings, ToolId};

/// A reading as the facade keeps it.
pub(crate) type ToolReading = Reading<Vec<BucketCount>>;

/// What every call of a registry needs.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) clock: HostClock,
    pub(crate) rings: sync::Arc<Rings>,
    pub(crate) text: TextPolicy,
}

/// The text of a tool's last failure, with what tells which failure that was.
#[derive(Clone, Debug)]
pub(crate) struct ErrorRecord {
    pub(crate) kind: ErrorKind,
    pub(crate) attempt: u16,
    pub(crate) at_ns: u64,
    pub(crate) message: ErrorMessage,
}

/// One tool's counters and identity, for as long as anybody counts into them or has to read
/// them.
#[derive(Debug)]
pub(crate) struct ToolSlot {
    pub(crate) id: ToolId,
    pub(crate) name: Arc<str>,
    pub(crate) memory: SlotMemory,
    /// What the memory held when this tool got it.
    pub(crate) origin: Arc<ToolReading>,
    pub(crate) last_error: ArcSwapOption<ErrorRecord>,
    enabled: AtomicBool,
    holders: AtomicUsize,
    /// How often the tool was registered.
    registrations: AtomicUsize,
}

impl ToolSlot {
    pub(crate) fn new(
        id: ToolId,
        name: Arc<str>,
        memory: SlotMemory,
        origin: Arc<ToolReading>,
    ) -> Self {
        Self {
            id,
            name,
            memory,
            origin,
            last_error: ArcSwapOption::empty(),
            enabled: AtomicBool::new(true),
            holders: AtomicUsize::new(0),
            registrations: AtomicUsize::new(0),
        }
    }

    /// Everything the slot's memory holds, its origin included.
    pub(crate) fn read(&self) -> ToolReading {
        let mut reading = ToolReading::default();
        // A Vec is never full.
        let _ = self.memory.slot().read(&mut reading);
        reading
    }

    /// Calls in flight, from a total of [`read`](Self::read).
    pub(crate) fn in_flight(&self, total: &ToolReading) -> u64 {
        total.in_flight().saturating_sub(self.origin.in_flight())
    }

    /// Whether no handle is left, so that nothing will be counted unless it is registered
    /// again; all that was counted is then seen by the caller.
    pub(crate) fn is_released(&self) -> bool {
        self.holders.load(Ordering::Acquire) == 0
    }

    /// How often the tool was registered: while that stays, a released slot is still released.
    pub(crate) fn registrations(&self) -> usize {
        self.registrations.load(Ordering::Relaxed)
    }

    /// Keeps the text of a failure unless that of a later one is there already.
    pub(crate) fn keep_error(&self, record: ErrorRecord) {
        let record = Arc::new(record);
        self.last_error.rcu(|last| match last {
            Some(last) if last.at_ns > record.at_ns => Some(Arc::clone(last)),
            _ => Some(Arc::clone(&record)),
        });
    }
}

/// What all handles of one registration share.
pub(crate) struct ToolState {
    pub(crate) memory: SlotMemory,
    pub(crate) meter: Arc<Meter>,
    pub(crate) slot: Arc<ToolSlot>,
    pub(crate) body: Option<Arc<dyn Tool>>,
}

/// The counters are valid after each addition, so a host may catch a panic around its handles and
/// registry as it likes. The body is the host's own; `invoke` makes an error of its panic and calls
/// it again the next time, so a body has to expect that anyway.
impl UnwindSafe for ToolState {}
impl RefUnwindSafe for ToolState {}

impl ToolState {
    /// A registration of `slot`; the caller holds the registry's lock.
    pub(crate) fn new(slot: Arc<ToolSlot>, meter: Arc<Meter>, body: Option<Arc<dyn Tool>>) -> Self {
        slot.registrations.fetch_add(1, Ordering::Relaxed);
        slot.holders.fetch_add(1, Ordering::Relaxed);
        slot.enabled.store(true, Ordering::Relaxed);
        Self {
            memory: slot.memory.clone(),
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
/// use toolmeter::{Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let search = registry.register(ToolSpec::new("web_search"))?;
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
    /// The name under which the tool was registered.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.slot.name
    }

    /// The tool's id, as it stands in events. Ids are never reused.
    #[must_use]
    pub fn id(&self) -> ToolId {
        self.0.slot.id
    }

    /// Lets calls by name through, or refuses them.
    ///
    /// While a tool is disabled, [`Registry::invoke`](crate::Registry::invoke) answers with an
    /// error and counts a failure of kind `rejected` without a latency. Calls through handles
    /// are the host's own and are not refused. Calls under way are not touched.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{CallOptions, InvokeError, Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let tool = registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// tool.set_enabled(false);
    /// let answer = registry.invoke("echo", 1.into(), CallOptions::new()).await;
    /// assert!(matches!(answer, Err(InvokeError::Disabled { .. })));
    /// # Ok::<(), toolmeter::RegisterError>(()) }).unwrap();
    /// ```
    pub fn set_enabled(&self, enabled: bool) {
        self.0.slot.enabled.store(enabled, Ordering::Relaxed);
    }

    /// Whether calls by name are let through; true after registration.
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
