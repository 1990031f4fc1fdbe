//! [`Registry`]: where tools are registered, looked up and deregistered, and where everything
//! else about them is asked for.
//!
//! Registering is the only thing that takes memory for a slot and the only one with a lock. It
//! makes a new roster and publishes it, so look-ups wait for nobody. Cloning a registry makes
//! another owner; when the last one goes, the pump delivers what is in the rings and ends.

use crate::builder::RegistryBuilder;
use crate::clock::HostClock;
use crate::handle::{ToolHandle, ToolSlot, ToolState};
use crate::publish::Published;
use crate::pump::{Pump, Pumping};
use crate::roster::Roster;
use crate::shared::{Registration, Shared};
use crate::slab::OutOfMemory;
use crate::snapshot::Snapshot;
use crate::text::NameError;
use crate::tool::{Tool, ToolSpec};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use toolmeter_core::sync::{Mutex, Ordering, lock};
use toolmeter_events::{Filter, HubError, Subscription, ToolId};

/// The tools of a host, and what is known of them.
///
/// # Examples
///
/// ```
/// use toolmeter::{Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let search = registry.register(ToolSpec::new("web_search"))?;
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

/// What ends with the last owner.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    pumping: Arc<Pumping>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Registry {
    /// A registry with the defaults of [`RegistryBuilder`].
    ///
    /// # Panics
    ///
    /// If the operating system gives no thread for the pump, as [`std::thread::spawn`] does.
    /// [`RegistryBuilder::build`] returns that as an error.
    #[must_use]
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(registry) => registry,
            Err(error) => panic!("the defaults are in range, but: {error}"),
        }
    }

    /// Sets up a registry other than the default.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().instance("host-7").pump(Pump::manual()).build()?;
    /// assert_eq!(registry.metrics().instance, "host-7");
    /// # Ok::<(), toolmeter::BuildError>(())
    /// ```
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    pub(crate) fn start(
        shared: Arc<Shared>,
        pumping: Arc<Pumping>,
        pump: Pump,
    ) -> io::Result<Self> {
        let thread = if pump.is_background {
            let run = Arc::clone(&pumping);
            let thread = std::thread::Builder::new()
                .name("toolmeter-pump".into())
                .spawn(move || run.run())?;
            let pump_thread = thread.thread().clone();
            shared.meter.rings.set_waker(move || pump_thread.unpark());
            Some(thread)
        } else {
            None
        };
        Ok(Self(Arc::new(Owner {
            shared,
            pumping,
            thread: Mutex::new(thread),
        })))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    #[cfg(all(test, not(toolmeter_loom)))]
    pub(crate) fn pumping(&self) -> &Pumping {
        &self.0.pumping
    }

    /// Registers a tool that the host runs itself.
    ///
    /// If a tool of this name was deregistered and is still held or not read to its end, it is
    /// revived: same id, same slot, counting from zero. Calls that are under way go on.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if the name cannot be one or is taken, or if there are as many tools as
    /// the limit allows. Nothing is registered then.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{RegisterError, Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
    /// let again = registry.register(ToolSpec::new("shell"));
    /// assert!(matches!(again, Err(RegisterError::Duplicate { .. })));
    /// # Ok::<(), RegisterError>(())
    /// ```
    pub fn register(&self, spec: ToolSpec) -> Result<ToolHandle, RegisterError> {
        self.register_one(spec, None)
    }

    /// Registers many tools at once, all of them or none; far cheaper than one by one.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register), for the first tool that cannot be registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let handles = registry.register_all((0..1_000).map(|n| ToolSpec::new(format!("tool_{n}"))))?;
    /// assert_eq!(handles[42].name(), "tool_42");
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn register_all(
        &self,
        specs: impl IntoIterator<Item = ToolSpec>,
    ) -> Result<Vec<ToolHandle>, RegisterError> {
        self.register_tools(specs.into_iter().map(|spec| (spec, None)).collect())
    }

    /// Registers a tool that can be called by name.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    ///
    /// # Examples
    ///
    /// See [`Tool`].
    pub fn register_tool(&self, tool: impl Tool) -> Result<ToolHandle, RegisterError> {
        self.register_one(tool.spec(), Some(Arc::new(tool)))
    }

    fn register_one(
        &self,
        spec: ToolSpec,
        body: Option<Arc<dyn Tool>>,
    ) -> Result<ToolHandle, RegisterError> {
        let mut handles = self.register_tools(vec![(spec, body)])?;
        // One spec gives one handle, so this error is never returned.
        handles.pop().ok_or(RegisterError::OutOfMemory)
    }

    fn register_tools(
        &self,
        tools: Vec<(ToolSpec, Option<Arc<dyn Tool>>)>,
    ) -> Result<Vec<ToolHandle>, RegisterError> {
        let shared = self.shared();
        let mut registration = lock(&shared.registration);
        let mut roster = (*shared.roster.load_full()).clone();
        check_all(&tools, &roster, shared.tool_limit)?;
        registration.reclaim();

        let mut handles = Vec::with_capacity(tools.len());
        let mut revived = Vec::new();
        let mut taken = Vec::new();
        for (spec, body) in tools {
            let slot = if let Some(slot) = roster.revive(spec.name()) {
                revived.push(Arc::clone(&slot));
                slot
            } else {
                let slot = match registration.take_slot(spec.name()) {
                    Ok(slot) => slot,
                    Err(error) => {
                        drop(handles);
                        drop(roster);
                        registration.graveyard.append(&mut taken);
                        registration.reclaim();
                        return Err(error);
                    }
                };
                taken.push(Arc::clone(&slot));
                slot
            };
            let state = Arc::new(ToolState::new(slot, Arc::clone(&shared.meter), body));
            roster.insert(Arc::clone(&state));
            handles.push(ToolHandle(state));
        }
        if !revived.is_empty() {
            shared.replace_baselines(|tools| {
                tools.extend(revived.iter().map(|slot| (slot.id, Arc::new(slot.read()))));
            });
        }
        roster.version += 1;
        shared.roster.store(Arc::new(roster));
        Ok(handles)
    }

    /// The registered tool of this name. Waits for nobody.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// registry.register(ToolSpec::new("shell"))?;
    /// assert!(registry.get("shell").is_some());
    /// assert!(registry.get("shel").is_none());
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ToolHandle> {
        self.shared()
            .roster
            .load()
            .find(name)
            .map(|state| ToolHandle(Arc::clone(state)))
    }

    /// Frees a name.
    ///
    /// Handles that are held go on counting, and the tool stays visible, marked as retired,
    /// until the last of them is gone and every living interval cursor and the published
    /// snapshot have shown its last calls.
    ///
    /// # Errors
    ///
    /// [`NotRegistered`] if no tool has this name.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
    /// registry.deregister("shell")?;
    /// shell.start().succeed();
    /// let metrics = registry.metrics();
    /// assert!(metrics.tools["shell"].retired);
    /// assert_eq!(metrics.tools["shell"].success(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deregister(&self, name: &str) -> Result<(), NotRegistered> {
        let shared = self.shared();
        let registration = lock(&shared.registration);
        let mut roster = (*shared.roster.load_full()).clone();
        let state = roster.retire(name).ok_or_else(|| NotRegistered {
            name: crate::text::escaped(name, crate::text::MAX_NAME_BYTES),
        })?;
        roster.version += 1;
        shared.roster.store(Arc::new(roster));
        drop(registration);
        drop(state);
        Ok(())
    }

    /// A fresh snapshot of all visible tools, since they were registered or last reset.
    ///
    /// Reads every slot: some microseconds for each tool that is in use. Calls go on meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
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
        let unknown_tool_calls = shared.unknown_tool_calls();
        shared.difference(shared.totals(), unknown_tool_calls, &baselines)
    }

    /// The snapshot that the pump published last, for the price of two reads of the clock or
    /// less. It is empty until the first was published.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry, ToolSpec};
    ///
    /// let registry = Registry::builder().pump(Pump::manual()).build()?;
    /// registry.register(ToolSpec::new("shell"))?.start().succeed();
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
    /// use toolmeter::{Pump, Registry, ToolSpec};
    ///
    /// let registry = Registry::builder().pump(Pump::manual()).build()?;
    /// registry.register(ToolSpec::new("shell"))?;
    /// registry.publish();
    /// assert!(registry.published().tools.contains_key("shell"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(&self) {
        self.0.pumping.publish();
    }

    /// Every event from now on.
    ///
    /// The first subscription takes the memory of the rings.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{EventKind, Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let events = registry.subscribe();
    /// registry.register(ToolSpec::new("shell"))?.start().succeed();
    /// registry.shutdown();
    /// let batch = events.recv()?;
    /// assert_eq!(batch.len(), 2);
    /// assert_eq!(batch[1].kind(), EventKind::Succeeded);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "events that nobody receives are lost to the subscription"]
    pub fn subscribe(&self) -> Subscription {
        match self.shared().subscribe(Filter::new(), None) {
            Ok(subscription) => subscription,
            Err(_) => unreachable!("the capacity was checked when the registry was built"),
        }
    }

    /// The events from now on that `filter` lets through, with a queue of `queue_capacity`
    /// batches, or of as many as the registry was built with.
    ///
    /// # Errors
    ///
    /// [`HubError`] if the capacity is not from 1 to 65,536.
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
    /// # Ok::<(), toolmeter::HubError>(())
    /// ```
    pub fn subscribe_with(
        &self,
        filter: Filter,
        queue_capacity: Option<usize>,
    ) -> Result<Subscription, HubError> {
        self.shared().subscribe(filter, queue_capacity)
    }

    /// One round of the pump: drains the rings, delivers batches, and publishes a snapshot if
    /// one is due. Returns how many events were drained and delivered to all who subscribe.
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

    /// The account of all events; at rest, offered = lost in rings + drained.
    ///
    /// # Examples
    ///
    /// See [`EventsAccounting`].
    #[must_use]
    pub fn events(&self) -> EventsAccounting {
        let late = self.0.pumping.late();
        let rings = self.shared().meter.rings.accounting();
        EventsAccounting {
            offered: rings.offered,
            lost_in_rings: rings.lost,
            drained: rings.drained,
            found_full: rings.found_full,
            late,
        }
    }

    /// The clock that times the calls.
    #[must_use]
    pub fn clock(&self) -> &HostClock {
        &self.shared().meter.clock
    }

    /// Delivers what is in the rings, ends every subscription, and stops the pump.
    ///
    /// Handles go on counting, and [`metrics`](Self::metrics) shows it; events offered from now
    /// on are counted as lost. Happens by itself when the last owner goes. Waits at most 100 ms
    /// for calls that are just offering an event.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
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

    pub(crate) fn count_unknown(&self) {
        let unknown = &self.shared().unknown_tool_calls;
        unknown.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Owner {
    fn shutdown(&self) {
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            self.pumping.stop();
            thread.thread().unpark();
            // The pump runs code of the host only to drop it, and that could drop a registry.
            if thread.thread().id() != std::thread::current().id() {
                // If the pump panicked, what it left is finished here all the same.
                let _ = thread.join();
            }
        }
        self.pumping.finish();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Registration {
    /// A slot for a tool of this name, with an id of its own.
    fn take_slot(&mut self, name: &str) -> Result<Arc<ToolSlot>, RegisterError> {
        let id = ToolId::new(self.next_id);
        let next_id = self.next_id.checked_add(1);
        let next_id = next_id.ok_or(RegisterError::IdsExhausted)?;
        let (memory, origin) = match self.slab.take_used() {
            Some(memory) => {
                let mut origin = crate::handle::ToolReading::default();
                // A Vec is never full.
                let _ = memory.slot().read(&mut origin);
                (memory, Arc::new(origin))
            }
            None => {
                let memory = self.slab.take_fresh();
                let memory = memory.map_err(|OutOfMemory| RegisterError::OutOfMemory)?;
                (memory, Arc::clone(&self.nothing))
            }
        };
        self.next_id = next_id;
        Ok(Arc::new(ToolSlot::new(id, name.into(), memory, origin)))
    }
}

/// Whether all of these can be registered.
fn check_all(
    tools: &[(ToolSpec, Option<Arc<dyn Tool>>)],
    roster: &Roster,
    limit: usize,
) -> Result<(), RegisterError> {
    let mut names = HashSet::new();
    let mut visible = roster.len();
    for (spec, _) in tools {
        spec.check()?;
        let name = spec.name();
        if roster.find(name).is_some() || !names.insert(name) {
            return Err(RegisterError::Duplicate { name: name.into() });
        }
        if !roster.retired().iter().any(|slot| *slot.name == *name) {
            visible += 1;
        }
        if visible > limit {
            let name = name.into();
            return Err(RegisterError::TooManyTools { name, limit });
        }
    }
    Ok(())
}

/// The account of all events of a registry.
///
/// # Examples
///
/// ```
/// use toolmeter::{Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let shell = registry.register(ToolSpec::new("shell"))?;
/// let _events = registry.subscribe();
/// shell.start().succeed();
/// registry.shutdown();
/// let events = registry.events();
/// assert_eq!((events.offered, events.lost_in_rings, events.drained), (2, 0, 2));
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventsAccounting {
    /// Events that calls offered to the rings.
    pub offered: u64,
    /// Events that found no room in their ring, or came after the registry was shut down.
    pub lost_in_rings: u64,
    /// Events taken out of the rings. What became of them, each subscription's stats tell.
    pub drained: u64,
    /// How often a ring was full although a ticket had admitted the event. Always 0; a test of
    /// the algorithm.
    pub found_full: u64,
    /// Events that were delivered after younger ones, since their thread was held up.
    pub late: u64,
}

/// Why a tool was not registered.
///
/// # Examples
///
/// ```
/// use toolmeter::{Pump, RegisterError, Registry, ToolSpec};
///
/// let registry = Registry::builder().tool_limit(1).pump(Pump::manual()).build()?;
/// registry.register(ToolSpec::new("shell"))?;
/// let one_more = registry.register(ToolSpec::new("index"));
/// assert!(matches!(one_more, Err(RegisterError::TooManyTools { limit: 1, .. })));
/// assert!(matches!(registry.register(ToolSpec::new("")), Err(RegisterError::Name(_))));
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
        "`{name}` would be one tool above the limit of {limit}: build the registry with a higher `tool_limit`, or drop the handles of deregistered tools"
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
    /// More than four billion tools were registered; build another registry.
    #[error("the registry has given out all its tool ids: build another")]
    IdsExhausted,
}

/// No tool of this name is registered.
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
    /// The name, escaped and cut to 128 bytes.
    pub name: String,
}
