//! [`Registry`]: the methods by which a host registers tools, calls them by name, and reads their
//! metrics and events.
//!
//! The methods only delegate: `registration.rs`, `invoke.rs`, `totals.rs` and `pump_worker.rs` do the
//! work on the state that all clones share (`registry_state.rs`). Two methods of types below are here,
//! since they return a registry: [`RegistryBuilder::build`] and [`Invocation::registry`].

use crate::boxed_tool::BoxedTool;
use crate::builder::{BuildError, BuiltState, RegistryBuilder};
use crate::clock::HostClock;
use crate::event_accounting::EventAccounting;
use crate::hook::{CallScope, Hook};
use crate::intervals::{self, Intervals};
use crate::invoke::Invoke;
use crate::owner::Owner;
use crate::published::Published;
use crate::pump_worker::PumpWorker;
use crate::registration::{self, NotRegistered, RegisterError};
use crate::registry_state::RegistryState;
use crate::running_calls::RunningCalls;
use crate::snapshot::Snapshot;
use crate::text::shown;
use crate::tool::{Invocation, Tool, ToolSpec};
use crate::tool_ref::ToolRef;
use crate::tool_state::ToolHandle;
use crate::totals::Baselines;
use crate::unknown_call::UnknownCall;
use serde_json::Value;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::SystemTime;
use toolmeter_events::{Filter, SubscribeError, Subscription};

/// The tools of a host, with their metrics and events.
///
/// Cloning a registry is cheap: all clones share its tools. The pump stops when the last clone is
/// dropped.
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

/// A reference to a registry that does not keep it alive; see [`Registry::downgrade`].
///
/// Use it in values that the registry itself owns, such as a tool or a redactor.
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
    /// Returns the registry, unless its last clone is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Registry> {
        self.0.upgrade().map(Registry)
    }
}

impl Registry {
    /// Creates a registry with the default settings of [`RegistryBuilder`], and starts its pump.
    ///
    /// # Panics
    ///
    /// If the operating system cannot start a thread for the pump. [`RegistryBuilder::build`]
    /// returns an error instead.
    #[must_use]
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(registry) => registry,
            Err(error) => panic!("the defaults are in range, but: {error}"),
        }
    }

    /// Returns a builder with the default settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().instance("host-7").pump(Pump::manual()).build()?;
    /// assert!(registry.metrics().instances.contains("host-7"));
    /// # Ok::<(), toolmeter::BuildError>(())
    /// ```
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    #[inline]
    pub(crate) fn state(&self) -> &Arc<RegistryState> {
        &self.0.state
    }

    #[cfg(all(test, not(toolmeter_loom)))]
    pub(crate) fn pump_worker(&self) -> &PumpWorker {
        &self.0.worker
    }

    /// Returns whether both are clones of one registry.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// assert!(registry.ptr_eq(&registry.clone()));
    /// assert!(!registry.ptr_eq(&Registry::new()));
    /// ```
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns a reference that does not keep the registry alive.
    ///
    /// A registry owns its tools. If a tool owned its registry, neither would ever be dropped. See
    /// also [`Invocation::registry`].
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

    /// Registers a tool that the host runs itself.
    ///
    /// A name that was registered before continues its counts and keeps its id, unless the registry
    /// has [forgotten](crate::Snapshot::nameless) it. Handles of the earlier registration still
    /// count.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if the name is not valid or already registered, or if the registry has as
    /// many tools as its limit allows. Nothing is registered then.
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

    /// Returns the tool of this name, and registers it first if it is not registered.
    ///
    /// If several threads call this at once, one of them registers the tool, and all of them return
    /// it.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register), except that the name may be registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// // The names that a server gives its tools, valid or not.
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
                // Another thread was faster. Its tool may be deregistered by now.
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
        registration::register_all(self.state(), specs.collect())
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
        let (spec, callable) =
            BoxedTool::new(tool).map_err(|panicked| RegisterError::Panicked {
                message: shown(&panicked.text()),
            })?;
        self.register_one(spec, Some(callable))
    }

    fn register_one(
        &self,
        spec: ToolSpec,
        callable: Option<BoxedTool>,
    ) -> Result<ToolHandle, RegisterError> {
        let mut handles = registration::register_all(self.state(), vec![(spec, callable)])?;
        // One spec gives one handle, so this error is never returned.
        handles.pop().ok_or(RegisterError::OutOfMemory)
    }

    /// Returns a handle of the registered tool of this name. This waits for no other thread.
    ///
    /// This clones the handle, which writes a count that all threads share. For a single call,
    /// borrow the tool with [`tool`](Self::tool) instead.
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

    /// Borrows the registered tool of this name, for one call. This waits for no other thread, and
    /// writes no memory that threads share unless the thread holds more than eight borrowed tools.
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
    ///         registry.unknown_call(asked).count();
    ///         0
    ///     }
    /// };
    /// assert_eq!(registry.metrics().tools["web_search"].success(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn tool(&self, name: &str) -> Option<ToolRef<'_>> {
        self.state().tools.find(name).map(ToolRef::new)
    }

    /// Deregisters a tool, which frees its name.
    ///
    /// Remaining handles still count, and nothing that was counted is lost. The tool stays visible,
    /// marked as retired, until its last handle is gone and a reset has returned its counts.
    /// [`totals`](Self::totals) still shows them after that.
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
        registration::deregister(self.state(), name)
    }

    /// Calls a tool by name.
    ///
    /// Returns the tool's answer even if it has an error flag; [`Tool::classify`] judges it.
    /// Dropping the future cancels the call. For tools that block, see [`Tool::is_blocking`].
    ///
    /// # Errors
    ///
    /// [`InvokeError`](crate::InvokeError) if no tool has the name, if the tool is disabled or was
    /// not registered by [`register_tool`](Self::register_tool), if it panics or returns an error,
    /// if a time limit expires, or if the runtime has no thread for a tool that blocks. The call is
    /// counted as the [`outcome`](crate::InvokeError::outcome) of the error, or in
    /// `unknown_tool_calls` if no tool has the name.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::{Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// assert_eq!(registry.invoke("echo", json!([1, 2])).await?, json!([1, 2]));
    /// assert!(registry.invoke("eccho", json!(0)).await.is_err());
    /// assert_eq!(registry.metrics().unknown_tool_calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn invoke<'a>(&'a self, name: &'a str, args: Value) -> Invoke<'a> {
        Invoke::new(self.state(), self.0.id, name, args)
    }

    /// Begins a call by a name that no tool has, which [`count`](UnknownCall::count) counts in
    /// [`unknown_tool_calls`](crate::Snapshot::unknown_tool_calls).
    ///
    /// [`invoke`](Self::invoke) does this itself. Hosts that look tools up themselves call this.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{CallContext, Registry};
    ///
    /// let registry = Registry::new();
    /// let asked = "teleport"; // by the model
    /// let context = CallContext::new("session-17").turn(4).call("call_9f3");
    /// match registry.get(asked) {
    ///     Some(tool) => tool.call().context(context).start().cancel(),
    ///     None => {
    ///         registry.unknown_call(asked).context(context).count();
    ///         std::time::Duration::ZERO
    ///     }
    /// };
    /// assert_eq!(registry.metrics().unknown_tool_calls, 1);
    /// ```
    pub fn unknown_call<'a>(&'a self, name: &'a str) -> UnknownCall<'a> {
        UnknownCall::new(self.state(), name)
    }

    /// Returns a future that polls `future` within the scope of the registry's hook that is current
    /// now. Without a hook it only polls `future`.
    ///
    /// A spawned task begins without a scope. If this wraps its future, the call that spawned it is
    /// the parent of the calls that it makes. `AutoRun` does this itself.
    ///
    /// # Panics
    ///
    /// If `future` panics while it is polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let registry = Registry::new();
    /// let search = registry.register("web_search")?;
    /// let call = async move { search.run_async(async { Ok::<_, String>(3) }).await };
    /// let task = tokio::spawn(registry.in_current_scope(call));
    /// assert_eq!(task.await?, Ok(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_current_scope<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let hook = self.state().env.hook.as_ref();
        hook.map_or(CallScope::NONE, Hook::current).around(future)
    }

    /// Returns a fresh snapshot of what was counted since the registry was built, or since the last
    /// reset.
    ///
    /// This reads every slot, which takes some microseconds for each tool that is in use. Calls go on
    /// meanwhile.
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
        // Before the slots, so that no count is below its baseline.
        let state = self.state();
        let baselines = state.baselines.load_full();
        state.snapshot_since(state.totals(), &baselines)
    }

    /// Returns a fresh snapshot of all that was counted since the registry was built, including
    /// before resets and by tools that are gone. Exporters of cumulative counters read it.
    ///
    /// No count in it decreases, except that a tool that is gone and
    /// [forgotten](crate::Snapshot::nameless) is no longer listed by name. A tool's counts begin at
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
        let state = self.state();
        state.snapshot_since(state.totals(), &Baselines::default())
    }

    /// Returns a cursor whose first interval begins now.
    ///
    /// There may be any number of cursors. They affect neither each other nor
    /// [`reset_metrics`](Self::reset_metrics).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().succeed();
    /// let mut intervals = registry.intervals();
    /// shell.start().succeed();
    /// shell.start().succeed();
    /// assert_eq!(intervals.read().tools["shell"].success(), 2);
    /// assert_eq!(intervals.read().tools["shell"].success(), 0);
    /// assert_eq!(registry.metrics().tools["shell"].success(), 3);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use]
    pub fn intervals(&self) -> Intervals {
        Intervals::new(Arc::clone(self.state()))
    }

    /// Starts counting from zero. Returns what was counted until now.
    ///
    /// Every call is either in the snapshot that this returns or in those that
    /// [`metrics`](Self::metrics) returns from now on, never in both. Calls in flight stay in flight,
    /// and are counted when they end. All tools are reset at once: no snapshot shows some of them reset
    /// and others not.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().succeed();
    /// let running = shell.start();
    /// let cleared = registry.reset_metrics();
    /// assert_eq!(cleared.tools["shell"].success(), 1);
    /// assert_eq!(registry.metrics().tools["shell"].in_flight, 1);
    /// running.succeed();
    /// assert_eq!(registry.metrics().tools["shell"].success(), 1);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "many callers only want to start from zero"
    )]
    pub fn reset_metrics(&self) -> Snapshot {
        intervals::reset(self.state())
    }

    /// Returns the time of day when the registry was built.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.state().origin.started_at
    }

    /// Returns an id that no other registry has, in this process or another: 32 random hexadecimal
    /// digits.
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
        &self.state().instance_id
    }

    /// Returns the snapshot that the pump published last, or an empty one before that. This costs
    /// no more than two reads of the clock.
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
        Published(self.state().published.load())
    }

    /// Publishes a snapshot now. The next one is due a full interval later.
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
        self.0.worker.publish();
    }

    /// Subscribes to all events from now on.
    ///
    /// The first subscription allocates the rings.
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
        match self.state().subscribe(Filter::new(), None) {
            Ok(subscription) => subscription,
            Err(_) => unreachable!("the capacity was checked when the registry was built"),
        }
    }

    /// Subscribes to the events from now on that pass `filter`, with a queue of `queue_capacity`
    /// batches. `None` is the capacity that the registry was built with.
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
        self.state().subscribe(filter, queue_capacity)
    }

    /// Returns a list of the running calls, of those that start from now on.
    ///
    /// Create it when the host starts. It costs as much as a subscription, and a look-up for each
    /// event on the pump's thread.
    ///
    /// # Examples
    ///
    /// See [`RunningCalls`].
    #[must_use = "calls are listed only while the list exists"]
    pub fn running_calls(&self) -> RunningCalls {
        RunningCalls::new(Arc::clone(self.state()), Arc::clone(&self.0.worker))
    }

    /// Makes one round of the pump: drains the rings, delivers batches, and publishes a snapshot if one
    /// is due. Returns the number of events that were drained.
    ///
    /// A host calls this if it built the registry with [`Pump::manual`](crate::Pump::manual). With a
    /// background pump, it does at once what would happen within milliseconds.
    ///
    /// # Examples
    ///
    /// See [`Pump::manual`](crate::Pump::manual).
    #[allow(
        clippy::must_use_candidate,
        reason = "many callers only want the round"
    )]
    pub fn pump(&self) -> usize {
        self.0.worker.round()
    }

    /// Returns the counts of the registry's events. When no event is on its way, `offered` is the
    /// sum of `lost_in_rings` and `drained`.
    ///
    /// # Examples
    ///
    /// See [`EventAccounting`].
    #[must_use]
    pub fn event_accounting(&self) -> EventAccounting {
        EventAccounting::of(self.state())
    }

    /// Returns the clock that times the calls.
    #[must_use]
    pub fn clock(&self) -> &HostClock {
        &self.state().env.clock
    }

    /// Delivers what is in the rings, ends every subscription, and stops the pump.
    ///
    /// Handles still count, and [`metrics`](Self::metrics) shows that. Events that are offered from
    /// now on are counted as lost. Dropping the last clone of the registry does the same. This
    /// waits at most 100 ms for calls that are offering an event, and at most a second for the
    /// pump's thread.
    ///
    /// A forked child has no thread of the pump, so nothing is delivered there. The child may count
    /// calls, read metrics, and shut down and drop the registry.
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
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl RegistryBuilder {
    /// Builds the registry, and starts its pump.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for a setting that is out of range, or if the operating system cannot start a
    /// thread for the pump.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let error = Registry::builder().stripes(3).build().unwrap_err();
    /// assert!(error.to_string().contains("power of two"));
    /// assert!(Registry::builder().stripes(4).build().is_ok());
    /// ```
    pub fn build(self) -> Result<Registry, BuildError> {
        let BuiltState {
            state,
            publish_every,
            pump,
        } = self.build_state()?;
        let worker = Arc::new(PumpWorker::new(Arc::clone(&state), publish_every));
        let owner = Owner::start(state, worker, pump).map_err(BuildError::PumpThread)?;
        Ok(Registry(owner))
    }
}

impl Invocation {
    /// Returns the registry through which the call was made, for a tool that calls other tools.
    ///
    /// Returns `None` if the call was not made through a registry, or if the last clone of the
    /// registry is gone. A tool must not own its registry, or it is never dropped; see
    /// [`Registry::downgrade`].
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::{Registry, ToolError, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("read", |call| async move { Ok(call.args) }))?;
    /// registry.register_tool(async_tool("read_twice", |call| async move {
    ///     let registry = call.registry().ok_or(ToolError::cancelled("the host is ending"))?;
    ///     let mut parts = Vec::new();
    ///     for part in 0..2 {
    ///         let read = registry.invoke("read", json!(part));
    ///         let read = read.context(call.child_context(format!("part_{part}")));
    ///         parts.push(read.await?);
    ///     }
    ///     Ok(parts.into())
    /// }))?;
    /// assert_eq!(registry.invoke("read_twice", json!({})).await?, json!([0, 1]));
    /// assert_eq!(registry.metrics().tools["read"].success(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn registry(&self) -> Option<Registry> {
        Owner::find(self.registry?).map(Registry)
    }
}
