//! [`Registry`]: where tools are registered, looked up and deregistered, and where everything
//! else about them is asked for.
//!
//! Registering is the only thing that takes memory for a slot and the only one with a lock. It
//! replaces one shard of the tool map, so look-ups wait for no thread. What becomes of tools that
//! go is the matter of `reclaim.rs`. Cloning a registry makes another owner; when the last one
//! goes, the pump delivers what is in the rings and ends.

use crate::call::CallOptions;
use crate::clock::HostClock;
use crate::handle::{Body, ToolHandle, ToolSlot, ToolState};
use crate::instrument::CallBegin;
use crate::live_registries::{LiveRegistries, RegistryId};
use crate::publish::Published;
use crate::pump::{Pump, PumpWorker};
use crate::reclaim::{IdsExhausted, Reclaim};
use crate::registry_state::{Baselines, RegistryState};
use crate::running_calls::RunningCalls;
use crate::slab::OutOfMemory;
use crate::snapshot::Snapshot;
use crate::sync::{Mutex, Ordering, lock};
use crate::text::{MAX_NAME_BYTES, NameError, escaped, shown};
use crate::tool::{Tool, ToolSpec};
use crate::tool_map::Departed;
use crate::tool_ref::ToolRef;
use serde_json::Value;
use std::collections::HashSet;
use std::io;
use std::mem;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use toolmeter_core::{ErrorKind, Outcome};
use toolmeter_events::{Filter, SubscribeError, Subscription};

/// The tools of a host, and what is known of them.
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let registry = Registry::new();
/// let search = registry.register("web_search")?;
/// let events = registry.subscribe();
/// search.run(|| Ok::<_, String>(()))?;
///
/// println!("{}", registry.metrics());
/// let batch = events.recv()?;
/// assert_eq!(batch.name(batch[0].tool()), Some("web_search"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry(Arc<Owner>);

/// What ends with the last owner. In lines of its own: each look-up of a tool reads it.
#[derive(Debug)]
#[repr(align(128))]
struct Owner {
    shared: Arc<RegistryState>,
    pumping: Arc<PumpWorker>,
    thread: Mutex<Option<PumpThread>>,
    id: RegistryId,
}

/// Those of this process.
static LIVING: LiveRegistries<Owner> = LiveRegistries::new();

/// The background thread of the pump.
#[derive(Debug)]
struct PumpThread {
    thread: JoinHandle<()>,
    /// Disconnected when the thread holds nothing of the registry any more.
    ended: Receiver<()>,
}

/// How long the end of a registry waits for the thread of its pump.
const LAST_ROUND: Duration = Duration::from_secs(1);

impl PumpThread {
    fn start(pumping: Arc<PumpWorker>) -> io::Result<Self> {
        let (ends, ended) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("toolmeter-pump".into())
            .spawn(move || {
                // Dropped in this order, the last first.
                let _ends: Sender<()> = ends;
                let pumping = pumping;
                pumping.run();
            })?;
        Ok(Self { thread, ended })
    }

    /// Waits until the thread has ended, but not for a clock of the host that does not return.
    fn join(self) {
        if self.ended.recv_timeout(LAST_ROUND) == Err(RecvTimeoutError::Disconnected) {
            // If the pump panicked, what it left is finished here all the same.
            let _ = self.thread.join();
        }
    }
}

/// A reference to a registry that does not keep it alive, for whatever lives within the registry
/// itself, as a tool or a redactor does; see [`Registry::downgrade`].
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let registry = Registry::new();
/// let weak = registry.downgrade();
/// assert!(weak.upgrade().is_some());
/// drop(registry);
/// assert!(weak.upgrade().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct WeakRegistry(Weak<Owner>);

impl WeakRegistry {
    /// Returns the registry, unless its last owner is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Registry> {
        self.0.upgrade().map(Registry)
    }
}

impl Registry {
    pub(crate) fn start(
        shared: Arc<RegistryState>,
        pumping: Arc<PumpWorker>,
        pump: Pump,
    ) -> io::Result<Self> {
        let thread = if pump.is_background {
            let thread = PumpThread::start(Arc::clone(&pumping))?;
            let pump_thread = thread.thread.thread().clone();
            shared.meter.rings.set_waker(move || pump_thread.unpark());
            Some(thread)
        } else {
            None
        };
        Ok(Self(Arc::new_cyclic(|owner| Owner {
            shared,
            pumping,
            thread: Mutex::new(thread),
            id: LIVING.enter(owner),
        })))
    }

    /// Returns the number by which [`living`](Self::living) finds it.
    #[inline]
    pub(crate) fn id(&self) -> RegistryId {
        self.0.id
    }

    /// Returns the registry of this number, unless its last owner is gone.
    pub(crate) fn living(id: RegistryId) -> Option<Self> {
        LIVING.find(id)?.upgrade().map(Self)
    }

    /// Returns a reference that does not keep the registry alive.
    ///
    /// A tool that owned its registry would keep it for ever: the registry owns the tool. See also
    /// [`Invocation::registry`](crate::Invocation::registry).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, sync_tool};
    ///
    /// let registry = Registry::new();
    /// let weak = registry.downgrade();
    /// registry.register_tool(sync_tool("metrics", move |_| {
    ///     Ok(weak.upgrade().map(|registry| registry.metrics().to_string()).into())
    /// }))?;
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakRegistry {
        WeakRegistry(Arc::downgrade(&self.0))
    }

    pub(crate) fn shared(&self) -> &Arc<RegistryState> {
        &self.0.shared
    }

    #[cfg(all(test, not(toolmeter_loom)))]
    pub(crate) fn pumping(&self) -> &PumpWorker {
        &self.0.pumping
    }

    /// Registers a tool that the host runs itself.
    ///
    /// A name under which something was counted before, and that was deregistered, continues its
    /// counts and keeps its id. Calls that are under way go on.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if the name cannot be one or is taken, or if there are as many tools as
    /// the limit allows. Nothing is registered then.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{RegisterError, Registry};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// let again = registry.register("shell");
    /// assert!(matches!(again, Err(RegisterError::Duplicate { .. })));
    /// # Ok::<(), RegisterError>(())
    /// ```
    pub fn register(&self, spec: impl Into<ToolSpec>) -> Result<ToolHandle, RegisterError> {
        self.register_one(spec.into(), None)
    }

    /// Returns the tool of this name, and registers it if it is not registered.
    ///
    /// Of several threads that do so at once, one registers it and all get it.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register), except that the name may be taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// // As a server names its tools, whatever that is.
    /// for name in ["list", "read", "list"] {
    ///     registry.get_or_register(ToolSpec::lossy(name))?.start().succeed();
    /// }
    /// assert_eq!(registry.metrics().tools["list"].success(), 2);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn get_or_register(&self, spec: impl Into<ToolSpec>) -> Result<ToolHandle, RegisterError> {
        let spec = spec.into();
        loop {
            if let Some(handle) = self.get(spec.name()) {
                return Ok(handle);
            }
            match self.register_one(spec.clone(), None) {
                // Another thread was faster; it may be gone again by now.
                Err(RegisterError::Duplicate { .. }) => {}
                registered => return registered,
            }
        }
    }

    /// Registers many tools at once, all of them or none.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register), for the first tool that cannot be registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let handles = registry.register_all((0..1_000).map(|n| format!("tool_{n}")))?;
    /// assert_eq!(handles[42].name(), "tool_42");
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn register_all<S: Into<ToolSpec>>(
        &self,
        specs: impl IntoIterator<Item = S>,
    ) -> Result<Vec<ToolHandle>, RegisterError> {
        let specs = specs.into_iter().map(|spec| (spec.into(), None));
        self.register_tools(specs.collect())
    }

    /// Registers a tool that can be called by name.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register), and [`RegisterError::Panicked`] if the tool's
    /// [`spec`](Tool::spec) or [`is_blocking`](Tool::is_blocking) panics. A tool that is not
    /// registered is dropped.
    ///
    /// # Examples
    ///
    /// See [`Tool`].
    pub fn register_tool(&self, tool: impl Tool) -> Result<ToolHandle, RegisterError> {
        let (spec, body) = Body::new(tool).map_err(|panicked| RegisterError::Panicked {
            message: shown(&panicked.text()),
        })?;
        self.register_one(spec, Some(body))
    }

    fn register_one(
        &self,
        spec: ToolSpec,
        body: Option<Body>,
    ) -> Result<ToolHandle, RegisterError> {
        let mut handles = self.register_tools(vec![(spec, body)])?;
        // One spec gives one handle, so this error is never returned.
        handles.pop().ok_or(RegisterError::OutOfMemory)
    }

    fn register_tools(
        &self,
        tools: Vec<(ToolSpec, Option<Body>)>,
    ) -> Result<Vec<ToolHandle>, RegisterError> {
        let shared = self.shared();
        for (spec, _) in &tools {
            spec.check()?;
        }
        let now = shared.now().wall();
        let mut reclaim = lock(&shared.registration);
        // What is not registered after all is dropped when the lock is released.
        check_names(&tools, shared)?;
        let slots = take_slots(&tools, now, shared, &mut reclaim)?;
        let mut handles = Vec::with_capacity(tools.len());
        for ((_, body), slot) in tools.into_iter().zip(slots) {
            handles.push(register_slot(shared, &mut reclaim, slot, body));
        }
        // Not before all are registered: a slot that was taken for one of them must not depart.
        reclaim.depart_some(handles.len(), &shared.tools, &mut lock(&shared.names));
        drop(reclaim);
        Ok(handles)
    }

    /// Returns a handle of the registered tool of this name. Waits for no thread.
    ///
    /// A handle is counted, and all who look the tool up write that count. For a single call,
    /// [`tool`](Self::tool) lends the tool without that.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// registry.register("shell")?;
    /// assert!(registry.get("shell").is_some());
    /// assert!(registry.get("shel").is_none());
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ToolHandle> {
        self.tool(name).map(|tool| tool.to_handle())
    }

    /// Lends the registered tool of this name, for one call. Waits for no thread, and writes
    /// nothing that threads share.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// registry.register("web_search")?;
    /// let asked = "web_search"; // by the model
    /// match registry.tool(asked) {
    ///     Some(tool) => tool.run(|| Ok::<_, String>(3))?,
    ///     None => {
    ///         registry.count_unknown_call();
    ///         0
    ///     }
    /// };
    /// assert_eq!(registry.metrics().tools["web_search"].success(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn tool(&self, name: &str) -> Option<ToolRef<'_>> {
        self.shared().tools.find(name).map(ToolRef::new)
    }

    /// Frees a name.
    ///
    /// Handles that are held go on counting, and nothing that was counted vanishes: the tool stays
    /// visible, marked as retired, until the last handle is gone and a reset has handed its counts
    /// back, and [`totals`](Self::totals) shows them after that, too. Registering the name again
    /// continues its counts.
    ///
    /// # Errors
    ///
    /// [`NotRegistered`] if no tool has this name.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().succeed();
    /// registry.deregister("shell")?;
    /// drop(shell);
    /// let metrics = registry.metrics();
    /// assert!(metrics.tools["shell"].retired);
    /// assert_eq!(metrics.tools["shell"].success(), 1);
    /// registry.register("shell")?.start().succeed();
    /// assert_eq!(registry.metrics().tools["shell"].success(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deregister(&self, name: &str) -> Result<(), NotRegistered> {
        let shared = self.shared();
        let mut reclaim = lock(&shared.registration);
        let tool = shared.tools.retire(name).ok_or_else(|| NotRegistered {
            name: escaped(name, MAX_NAME_BYTES),
        })?;
        reclaim.retired(Arc::clone(&tool.0.slot));
        drop(reclaim);
        // Not under the lock: it may be the last of it, and its body is the host's.
        drop(tool);
        Ok(())
    }

    /// Returns a fresh snapshot of all tools, since they were registered or last reset.
    ///
    /// Reads every slot: some microseconds for each tool that is in use. Calls go on meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().succeed();
    /// let before = registry.metrics();
    /// shell.start().succeed();
    /// assert_eq!(before.tools["shell"].success(), 1);
    /// assert_eq!(registry.metrics().tools["shell"].success(), 2);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        let shared = self.shared();
        // Before the slots, so that no count is below its baseline.
        let baselines = shared.baselines.load_full();
        shared.difference(shared.totals(), &baselines)
    }

    /// Returns a fresh snapshot of all that was counted since the registry was built, whatever was
    /// reset since, also of tools that are gone: what exporters of cumulative counters read.
    ///
    /// No count in it ever decreases. A tool's counts begin at
    /// [`registered_at`](crate::ToolStats::registered_at), those of the registry at
    /// [`started_at`](Self::started_at).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// registry.register("shell")?.start().succeed();
    /// registry.reset_metrics();
    /// registry.deregister("shell")?;
    /// assert_eq!(registry.totals().tools["shell"].success(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn totals(&self) -> Snapshot {
        let shared = self.shared();
        shared.difference(shared.totals(), &Baselines::default())
    }

    /// Returns the time of day when the registry was built.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.shared().started_at
    }

    /// Returns an id that no other registry has, in this process or another: a text of 32
    /// hexadecimal digits, random at each start.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// assert_eq!(registry.instance_id().len(), 32);
    /// assert_ne!(registry.instance_id(), Registry::new().instance_id());
    /// ```
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.shared().instance_id
    }

    /// Returns the snapshot that the pump published last, for the price of two reads of the clock
    /// or less. It is empty until the first was published.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().pump(Pump::manual()).build()?;
    /// registry.register("shell")?.start().succeed();
    /// assert!(registry.published().tools.is_empty());
    /// registry.pump();
    /// assert_eq!(registry.published().tools["shell"].success(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn published(&self) -> Published {
        Published(self.shared().published.load())
    }

    /// Publishes a snapshot now, whenever the next is due.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().pump(Pump::manual()).build()?;
    /// registry.register("shell")?;
    /// registry.publish();
    /// assert!(registry.published().tools.contains_key("shell"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(&self) {
        self.0.pumping.publish();
    }

    /// Subscribes to every event from now on.
    ///
    /// The first subscription takes the memory of the rings.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{EventKind, Registry};
    ///
    /// let registry = Registry::new();
    /// let events = registry.subscribe();
    /// registry.register("shell")?.start().succeed();
    /// registry.shutdown();
    /// let events = events.iter().flat_map(|batch| batch.to_vec());
    /// let kinds: Vec<_> = events.map(|event| event.kind()).collect();
    /// assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "events that are not received are lost to the subscription"]
    pub fn subscribe(&self) -> Subscription {
        match self.shared().subscribe(Filter::new(), None) {
            Ok(subscription) => subscription,
            Err(_) => unreachable!("the capacity was checked when the registry was built"),
        }
    }

    /// Subscribes to the events from now on that `filter` lets through, with a queue of
    /// `queue_capacity` batches, or of as many as the registry was built with.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the capacity is not from 1 to 65,536.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{EventKind, Filter, Registry};
    ///
    /// let registry = Registry::new();
    /// let failures = registry.subscribe_with(Filter::new().kinds([EventKind::Failed]), Some(16))?;
    /// assert!(failures.try_recv().is_err());
    /// assert!(registry.subscribe_with(Filter::new(), Some(0)).is_err());
    /// # Ok::<(), toolmeter::SubscribeError>(())
    /// ```
    pub fn subscribe_with(
        &self,
        filter: Filter,
        queue_capacity: Option<usize>,
    ) -> Result<Subscription, SubscribeError> {
        self.shared().subscribe(filter, queue_capacity)
    }

    /// Returns a listener that knows which calls run now, from now on.
    ///
    /// Make it when the host starts; it hears of the calls that start after that. It costs what a
    /// subscription costs, and a look-up for each event on the pump's thread.
    ///
    /// # Examples
    ///
    /// See [`RunningCalls`].
    #[must_use = "it hears of calls only while it lives"]
    pub fn running_calls(&self) -> RunningCalls {
        RunningCalls::new(Arc::clone(self.shared()), Arc::clone(&self.0.pumping))
    }

    /// Makes one round of the pump: drains the rings, delivers batches, and publishes a snapshot
    /// if one is due. Returns how many events were drained and delivered to all who subscribe.
    ///
    /// This is how a registry with [`Pump::manual`] is driven; with a background pump it is
    /// allowed too, and does at once what would happen within milliseconds.
    ///
    /// # Examples
    ///
    /// See [`Pump::manual`].
    #[allow(
        clippy::must_use_candidate,
        reason = "the work is the point, not the count"
    )]
    pub fn pump(&self) -> usize {
        self.0.pumping.round()
    }

    /// Returns the account of all events; at rest, offered = lost in rings + drained.
    ///
    /// # Examples
    ///
    /// See [`EventAccounting`].
    #[must_use]
    pub fn event_accounting(&self) -> EventAccounting {
        let shared = self.shared();
        let late = shared.late.load(Ordering::Relaxed);
        let rings = shared.meter.rings.accounting();
        EventAccounting {
            offered: rings.offered,
            lost_in_rings: rings.lost,
            drained: rings.drained,
            late,
            waker_panics: shared.hub.waker_panics(),
            stuck_wakers: shared.hub.stuck_wakers(),
            pump_panics: shared.pump_panics.load(Ordering::Relaxed),
        }
    }

    /// Returns the clock that times the calls.
    #[must_use]
    pub fn clock(&self) -> &HostClock {
        &self.shared().meter.clock
    }

    /// Delivers what is in the rings, ends every subscription, and stops the pump.
    ///
    /// Handles go on counting, and [`metrics`](Self::metrics) shows it; events offered from now
    /// on are counted as lost. Happens by itself when the last owner goes. Waits at most 100 ms
    /// for calls that are just offering an event, and at most a second for the pump's thread.
    ///
    /// In a forked child, where the pump's thread is not, nothing is delivered any more; the child
    /// may count, read, shut down and drop.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// let events = registry.subscribe();
    /// shell.start().succeed();
    /// registry.shutdown();
    /// assert_eq!(events.iter().map(|batch| batch.len()).sum::<usize>(), 2);
    /// assert!(events.recv().is_err());
    /// shell.start().succeed();
    /// assert_eq!(registry.metrics().tools["shell"].success(), 2);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn shutdown(&self) {
        self.0.shutdown();
    }

    /// Counts a call by a name that no tool has, in
    /// [`unknown_tool_calls`](crate::Snapshot::unknown_tool_calls).
    ///
    /// [`invoke`](Self::invoke) does so by itself; this is for hosts that look tools up by
    /// themselves.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// match registry.get("teleport") {
    ///     Some(tool) => tool.start().cancel(),
    ///     None => {
    ///         registry.count_unknown_call();
    ///         std::time::Duration::ZERO
    ///     }
    /// };
    /// assert_eq!(registry.metrics().unknown_tool_calls, 1);
    /// ```
    pub fn count_unknown_call(&self) {
        self.count_unknown_call_of("", &CallOptions::new(), None);
    }

    /// Counts a call by this name, which is escaped and bounded, and tells the hook.
    pub(crate) fn count_unknown_call_of(
        &self,
        name: &str,
        options: &CallOptions,
        arguments: Option<&Value>,
    ) {
        let shared = self.shared();
        shared.unknown_tool_calls.fetch_add(1, Ordering::Relaxed);
        let Some(hook) = &shared.meter.hook else {
            return;
        };
        let begin = CallBegin {
            name,
            tool: None,
            attempt: options.attempt,
            context: options.context.as_deref(),
            arguments,
        };
        hook.refused(&begin, Outcome::Failure(ErrorKind::NotFound), None);
    }
}

impl Owner {
    fn shutdown(&self) {
        if self.shared.process.is_forked() {
            // The pump's thread is not in this process, and what it had locked stays locked. All
            // that is left to do is that no event is taken in any more.
            self.shared.meter.rings.close();
            return;
        }
        let thread = lock(&self.thread).take();
        if let Some(pump) = thread {
            self.pumping.stop();
            pump.thread.thread().unpark();
            // The pump reads a clock of the host, which could drop a registry.
            if pump.thread.thread().id() != std::thread::current().id() {
                pump.join();
            }
        }
        self.pumping.finish();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        LIVING.leave(self.id);
        self.shutdown();
        if self.shared.process.is_forked() {
            // Dropping what the pump may have held in the middle of a change is no option.
            mem::forget((Arc::clone(&self.shared), Arc::clone(&self.pumping)));
        }
    }
}

/// Whether none of these names is registered, and none is there twice.
fn check_names(
    tools: &[(ToolSpec, Option<Body>)],
    shared: &RegistryState,
) -> Result<(), RegisterError> {
    let mut names = HashSet::new();
    for (spec, _) in tools {
        let name = spec.name();
        if shared.tools.find(name).is_some() || !names.insert(name) {
            return Err(RegisterError::Duplicate { name: name.into() });
        }
    }
    Ok(())
}

/// A slot for a tool that is about to be registered.
enum Taken {
    /// It is still visible, since a handle is held.
    Retired(Arc<ToolSlot>),
    /// It is new, or has departed.
    New {
        slot: Arc<ToolSlot>,
        was_departed: bool,
    },
}

/// A slot for each of these tools; or none, and nothing has changed.
fn take_slots(
    tools: &[(ToolSpec, Option<Body>)],
    now: SystemTime,
    shared: &RegistryState,
    reclaim: &mut Reclaim,
) -> Result<Vec<Taken>, RegisterError> {
    let map = &shared.tools;
    // Tools that are not visible yet; looking for room may make more of them depart.
    let hidden = || {
        let names = tools.iter().map(|(spec, _)| spec.name());
        names.filter(|name| map.find_retired(name).is_none())
    };
    let limit = shared.tool_limit;
    if reclaim.room() < hidden().count() {
        reclaim.depart_all(map, &mut lock(&shared.names));
    }
    if let Some(name) = hidden().nth(reclaim.room()) {
        let name = name.into();
        return Err(RegisterError::TooManyTools { name, limit });
    }
    let mut slots = Vec::with_capacity(tools.len());
    for (spec, _) in tools {
        let slot = match map.find_retired(spec.name()) {
            Some(slot) => Ok(Taken::Retired(slot)),
            None => {
                let departed = map.find_departed(spec.name());
                new_slot(spec.name(), departed.as_deref(), now, reclaim)
            }
        };
        match slot {
            Ok(slot) => slots.push(slot),
            Err(error) => {
                give_back(slots, reclaim);
                return Err(error);
            }
        }
    }
    Ok(slots)
}

/// A slot for a name that is not visible.
fn new_slot(
    name: &str,
    departed: Option<&Departed>,
    now: SystemTime,
    reclaim: &mut Reclaim,
) -> Result<Taken, RegisterError> {
    let memory = reclaim
        .take_memory()
        .map_err(|OutOfMemory| RegisterError::OutOfMemory)?;
    let slot = match departed {
        Some(departed) => ToolSlot::continuing(
            departed.id,
            Arc::clone(&departed.name),
            departed.registered_at,
            memory,
            Some(Arc::clone(&departed.reading)),
            departed.errors.clone(),
        ),
        None => match reclaim.take_id() {
            Ok(id) => ToolSlot::new(id, name.into(), now, memory),
            Err(IdsExhausted) => {
                reclaim.put_back(memory);
                return Err(RegisterError::IdsExhausted);
            }
        },
    };
    Ok(Taken::New {
        slot: Arc::new(slot),
        was_departed: departed.is_some(),
    })
}

/// Gives the memory of slots back that no tool was registered in.
fn give_back(slots: Vec<Taken>, reclaim: &mut Reclaim) {
    for taken in slots {
        if let Taken::New { slot, .. } = taken
            && let Ok(slot) = Arc::try_unwrap(slot)
        {
            reclaim.put_back(slot.memory);
        }
    }
}

/// Registers a tool in the slot that was taken for it.
fn register_slot(
    shared: &RegistryState,
    reclaim: &mut Reclaim,
    taken: Taken,
    body: Option<Body>,
) -> ToolHandle {
    let (slot, departed) = match taken {
        Taken::Retired(slot) => (slot, None),
        Taken::New { slot, was_departed } => (slot, Some(was_departed)),
    };
    let state = ToolState::new(slot, Arc::clone(&shared.meter), body);
    let handle = ToolHandle(Arc::new(state));
    lock(&shared.names).insert(&handle.0.slot);
    shared.tools.register(handle.clone());
    if let Some(was_departed) = departed {
        reclaim.registered(was_departed);
    }
    handle
}

/// What became of all events of a registry: counts since it was built.
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let registry = Registry::new();
/// let shell = registry.register("shell")?;
/// let _events = registry.subscribe();
/// shell.start().succeed();
/// registry.shutdown();
/// let events = registry.event_accounting();
/// assert_eq!((events.offered, events.lost_in_rings, events.drained), (2, 0, 2));
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventAccounting {
    /// Events that calls offered to the rings.
    pub offered: u64,
    /// Events that found no room in their ring, or came after the registry was shut down.
    pub lost_in_rings: u64,
    /// Events taken out of the rings. What became of them, each subscription's stats tell.
    pub drained: u64,
    /// Events that were delivered after younger ones, since their thread was held up.
    pub late: u64,
    /// Wakers of async receivers that panicked when they were called. No event is lost by that,
    /// but the receiver may not have been woken.
    pub waker_panics: u64,
    /// Wakers of async receivers that did not return within 100 ms while others waited, and were
    /// left alone. Those after them are called on other threads, of which there are 8 at most.
    pub stuck_wakers: u64,
    /// Rounds of the pump that panicked. Always 0: anything else is an error in toolmeter, please
    /// report it. The pump goes on, but the events of such a round may be lost.
    pub pump_panics: u64,
}

/// The reason why a tool was not registered.
///
/// # Examples
///
/// ```
/// use toolmeter::{Pump, RegisterError, Registry};
///
/// let registry = Registry::builder().tool_limit(1).pump(Pump::manual()).build()?;
/// registry.register("shell")?;
/// let one_more = registry.register("index");
/// assert!(matches!(one_more, Err(RegisterError::TooManyTools { limit: 1, .. })));
/// assert!(matches!(registry.register(""), Err(RegisterError::Name(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name cannot be a tool's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A tool of this name is registered.
    #[error("a tool `{name}` is registered already: look it up with `get`, or deregister it")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// There are as many tools as the registry's limit allows.
    #[error(
        "`{name}` would be a tool above the limit of {limit}: build the registry with a higher `tool_limit`, or drop the handles of deregistered tools"
    )]
    TooManyTools {
        /// The first tool above the limit.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// The operating system gave no memory for the tool's counters.
    #[error("no memory for the counters of another tool")]
    OutOfMemory,
    /// The tool panicked when it was asked for its name, or whether it blocks.
    #[error("the tool panicked while it was registered: {message}")]
    Panicked {
        /// What the panic said, escaped; of more than 8 KiB the head and the tail.
        message: String,
    },
    /// More than four billion tools were registered; build another registry.
    #[error("the registry has given out all its tool ids: build another")]
    IdsExhausted,
}

/// The error of a name that no tool is registered under.
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let missing = Registry::new().deregister("shell").unwrap_err();
/// assert_eq!(missing.name, "shell");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tool `{name}` is registered")]
#[non_exhaustive]
pub struct NotRegistered {
    /// The name, escaped and cut to 256 bytes.
    pub name: String,
}
