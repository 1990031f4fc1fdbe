//! Which calls run now: a listener over the events, for the question which call hangs.
//!
//! Counters tell how many calls are in flight, not which. [`RunningCalls`] hears of each start and
//! each end on the pump's thread, after each round, so it needs no thread of its own and keeps no
//! more than the calls that run.
//!
//! What it cannot hear of is told: calls that began before it was made, and those whose start was
//! lost because a ring was full. Their number follows from the counters. An end that was lost
//! leaves a call behind that is over; once nothing of its tool is in flight, it goes. Until then
//! at most [`MAX_OVER`] of each tool are kept, some of the oldest and some of the newest, since
//! nothing tells which of them are over.
//!
//! # Orderings
//!
//! None of its own: the list is behind a lock, and events come through a subscription.

use crate::pump::PumpWorker;
use crate::registry_state::RegistryState;
use crate::sync::{Mutex, lock};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use toolmeter_events::{
    Batch, CallContext, CallId, Event, EventKind, Filter, Subscription, ToolId,
};

/// A listener that knows which calls run now; see
/// [`Registry::running_calls`](crate::Registry::running_calls).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use toolmeter::{CallContext, ClockSource, ManualClock, Pump, Registry};
///
/// let clock = Arc::new(ManualClock::new());
/// let source = ClockSource::Manual(Arc::clone(&clock));
/// let registry = Registry::builder().clock(source).pump(Pump::manual()).build()?;
/// let running = registry.running_calls();
/// let shell = registry.register("shell")?;
///
/// let hangs = shell.call().context(CallContext::new("session-17").call("call_9f3")).start();
/// clock.advance(Duration::from_secs(40));
/// shell.start().succeed();
///
/// let now = running.list();
/// let oldest = &now.calls[0];
/// assert_eq!((&*oldest.tool, oldest.age), ("shell", Duration::from_secs(40)));
/// assert_eq!(&*oldest.context.as_ref().unwrap().call, "call_9f3");
/// assert_eq!((now.calls.len(), now.missed_starts), (1, 0));
/// # drop(hangs);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RunningCalls {
    shared: Arc<RegistryState>,
    pumping: Arc<PumpWorker>,
    heard: Arc<Mutex<Heard>>,
}

/// The calls that run at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Running {
    /// The calls, oldest first.
    pub calls: Vec<RunningCall>,
    /// Calls that are in flight and not in the list: they began before the listener was made, or
    /// their start was lost in a full ring.
    pub missed_starts: u64,
    /// Calls in the list that may be over, since their end was lost in a full ring.
    pub missed_ends: u64,
}

/// One call that runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunningCall {
    /// The tool's name.
    pub tool: Arc<str>,
    /// The call's id, as it stands in its events.
    pub call: CallId,
    /// The host's own names for the call, if it gave any.
    pub context: Option<Arc<CallContext>>,
    /// Which attempt it is, counted from 1.
    pub attempt: u16,
    /// When it began, by the wall clock.
    pub started_at: SystemTime,
    /// For how long it has run, by the registry's clock.
    pub age: Duration,
}

impl RunningCalls {
    pub(crate) fn new(shared: Arc<RegistryState>, pumping: Arc<PumpWorker>) -> Self {
        let Ok(subscription) = shared.subscribe(Filter::new(), None) else {
            unreachable!("the capacity was checked when the registry was built")
        };
        let heard = Arc::new(Mutex::new(Heard {
            subscription,
            calls: HashMap::new(),
            compare_at: COMPARE_AT,
        }));
        shared.listeners.add(&heard);
        Self {
            shared,
            pumping,
            heard,
        }
    }

    /// Returns the calls that run now, oldest first.
    ///
    /// Makes a round of the pump first, and reads the counters, as
    /// [`metrics`](crate::Registry::metrics) does. Calls go on meanwhile: one that began or ended
    /// in the last fraction of a millisecond may be told as it was before, and then counts as
    /// missed.
    #[must_use]
    pub fn list(&self) -> Running {
        self.pumping.round();
        let read = self.shared.now();
        let mut heard = lock(&self.heard);
        heard.hear();
        let (missed_starts, missed_ends) = heard.compare(&self.shared);
        let clocks = self.shared.clocks_since(read);
        let mut calls: Vec<_> = heard
            .calls
            .iter()
            .map(|(&id, call)| {
                let age_ns = clocks.now.clock_ns().saturating_sub(call.started_ns);
                RunningCall {
                    tool: Arc::clone(&call.name),
                    call: id,
                    context: call.context.clone(),
                    attempt: call.attempt,
                    started_at: clocks.timeline.wall_time(call.started_ns),
                    age: Duration::from_nanos(age_ns),
                }
            })
            .collect();
        calls.sort_by_key(|call| (std::cmp::Reverse(call.age), call.call));
        Running {
            calls,
            missed_starts,
            missed_ends,
        }
    }
}

impl fmt::Debug for RunningCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningCalls").finish_non_exhaustive()
    }
}

/// How many calls of a tool are kept beyond those in flight.
const MAX_OVER: usize = 256;

/// At how many calls the list is compared with the counters for the first time.
const COMPARE_AT: usize = 512;

/// What a listener has heard.
pub(crate) struct Heard {
    subscription: Subscription,
    calls: HashMap<CallId, Started>,
    /// At how many calls the list is compared with the counters.
    compare_at: usize,
}

/// A call whose end has not come.
struct Started {
    tool: ToolId,
    name: Arc<str>,
    context: Option<Arc<CallContext>>,
    attempt: u16,
    started_ns: u64,
}

impl Heard {
    /// Hears of everything that was delivered.
    fn hear(&mut self) {
        while let Ok(batch) = self.subscription.try_recv() {
            for event in &batch {
                if event.kind() == EventKind::Started {
                    self.calls.insert(event.call(), Started::of(event, &batch));
                } else {
                    self.calls.remove(&event.call());
                }
            }
        }
    }

    /// Compares the list with the counters, and forgets calls that are over. Returns how many calls
    /// are in flight and not in the list, and how many in the list may be over.
    ///
    /// The counters are read after what was heard: of a tool of which nothing is in flight then, no
    /// call in the list still runs.
    fn compare(&mut self, shared: &RegistryState) -> (u64, u64) {
        let mut listed: HashMap<ToolId, Vec<(u64, CallId)>> = HashMap::new();
        for (&id, call) in &self.calls {
            let calls = listed.entry(call.tool).or_default();
            calls.push((call.started_ns, id));
        }
        let (mut missed_starts, mut missed_ends) = (0, 0);
        for total in &shared.totals().tools {
            let in_flight = total.mark().1;
            let mut calls = listed.remove(&total.id).unwrap_or_default();
            missed_starts += in_flight.saturating_sub(calls.len() as u64);
            let most = match usize::try_from(in_flight) {
                Ok(0) => 0,
                Ok(in_flight) => in_flight.saturating_add(MAX_OVER),
                Err(_) => usize::MAX,
            };
            if let Some(over) = calls.len().checked_sub(most)
                && over > 0
            {
                calls.sort_unstable();
                let oldest = most.min(MAX_OVER / 2);
                for (_, id) in calls.drain(oldest..oldest + over) {
                    self.calls.remove(&id);
                }
            }
            missed_ends += (calls.len() as u64).saturating_sub(in_flight);
        }
        self.compare_at = COMPARE_AT.max(2 * self.calls.len());
        (missed_starts, missed_ends)
    }
}

impl Started {
    fn of(event: &Event, batch: &Batch) -> Self {
        let name = batch.names().shared_name(event.tool());
        Self {
            tool: event.tool(),
            name: name.map_or_else(|| Arc::from("(unnamed)"), Arc::clone),
            context: event.context().cloned(),
            attempt: event.attempt(),
            started_ns: event.started_ns(),
        }
    }
}

/// The listeners of one registry, as the pump knows them.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<Vec<Weak<Mutex<Heard>>>>);

impl Listeners {
    fn add(&self, heard: &Arc<Mutex<Heard>>) {
        let mut listeners = lock(&self.0);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(heard));
    }

    /// Lets all of them hear of what was delivered. One whose list has grown since it was compared
    /// with the counters compares it again, so that ends that were lost do not make it grow.
    pub(crate) fn hear(&self, shared: &RegistryState) {
        let listeners: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        for listener in listeners {
            let mut heard = lock(&listener);
            heard.hear();
            if heard.calls.len() >= heard.compare_at {
                heard.compare(shared);
            }
        }
    }
}
