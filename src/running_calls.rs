//! [`RunningCalls`]: the calls that are running, to find one that hangs.
//!
//! The counters show how many calls are in flight; this lists them. `call_list.rs` describes which
//! calls may be missing.

use crate::call_list::CallList;
use crate::pump_worker::PumpWorker;
use crate::registry_state::RegistryState;
use crate::sync::{Mutex, lock};
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_events::{CallContext, CallId, Filter};

/// A list of the calls that are running; see
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
    registry: Arc<RegistryState>,
    worker: Arc<PumpWorker>,
    list: Arc<Mutex<CallList>>,
}

/// The calls that are running at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Running {
    /// The calls, oldest first.
    pub calls: Vec<RunningCall>,
    /// The number of calls that are in flight and not in the list: they began before
    /// [`Registry::running_calls`](crate::Registry::running_calls), or the event of their start was
    /// lost in a full ring.
    pub missed_starts: u64,
    /// The number of calls in the list that may be over: the event of their end was lost in a full
    /// ring.
    pub missed_ends: u64,
}

/// One running call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunningCall {
    /// The tool's name.
    pub tool: Arc<str>,
    /// The id of the call in its events.
    pub call: CallId,
    /// The host's own names for the call, if it gave any.
    pub context: Option<Arc<CallContext>>,
    /// The number of the attempt, counted from 1.
    pub attempt: u16,
    /// The time of day when it began.
    pub started_at: SystemTime,
    /// The time for which it has run, by the registry's clock.
    pub age: Duration,
}

impl RunningCalls {
    pub(crate) fn new(registry: Arc<RegistryState>, worker: Arc<PumpWorker>) -> Self {
        let Ok(subscription) = registry.subscribe(Filter::new(), None) else {
            unreachable!("the capacity was checked when the registry was built")
        };
        let list = Arc::new(Mutex::new(CallList::new(subscription)));
        worker.call_lists().add(&list);
        Self {
            registry,
            worker,
            list,
        }
    }

    /// Returns the calls that are running, oldest first.
    ///
    /// This makes a round of the pump, and reads the counters as
    /// [`metrics`](crate::Registry::metrics) does. Calls start and end meanwhile: if one did so in
    /// the last fraction of a millisecond, the list may show it as it was before, and counts it as
    /// missed.
    #[must_use]
    pub fn list(&self) -> Running {
        self.worker.round();
        let read = self.registry.now();
        let mut list = lock(&self.list);
        list.update();
        let (missed_starts, missed_ends) = list.compare(&self.registry);
        let clocks = self.registry.clocks_since(read);
        let mut calls: Vec<_> = list
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
        calls.sort_by_key(|call| (Reverse(call.age), call.call));
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
