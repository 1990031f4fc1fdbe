//! [`CallList`]: the running calls, according to the events that the pump delivers.
//!
//! The pump updates each list after it has delivered a round, so a list needs no thread, and keeps
//! no more than the calls that run.
//!
//! Events may be lost in a full ring. A call whose start was lost is not in the list; how many there
//! are follows from the counters. A call whose end was lost stays in the list until no call of its
//! tool is in flight. Until then, at most [`MAX_OVER`] calls of each tool are kept beyond those in
//! flight: some of the oldest and some of the newest, since nothing shows which of them are over.
//!
//! # Orderings
//!
//! None of its own: each list is behind a lock, and events come through a subscription.

use crate::registry_state::RegistryState;
use crate::sync::{Mutex, lock};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use toolmeter_events::{Batch, CallContext, CallId, Event, EventKind, Subscription, ToolId};

/// The number of calls of a tool that are kept beyond those in flight.
const MAX_OVER: usize = 256;

/// The length at which a list is compared with the counters for the first time.
const COMPARE_AT: usize = 512;

/// The running calls, according to their events.
pub(crate) struct CallList {
    subscription: Subscription,
    pub(crate) calls: HashMap<CallId, StartedCall>,
    /// The length at which the list is compared with the counters.
    compare_at: usize,
}

/// A call whose start was received, and whose end was not.
pub(crate) struct StartedCall {
    tool: ToolId,
    pub(crate) name: Arc<str>,
    pub(crate) context: Option<Arc<CallContext>>,
    pub(crate) attempt: u16,
    pub(crate) started_ns: u64,
}

impl CallList {
    /// Creates an empty list of the calls that start from now on.
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            calls: HashMap::new(),
            compare_at: COMPARE_AT,
        }
    }

    /// Receives all events that were delivered.
    pub(crate) fn update(&mut self) {
        while let Ok(batch) = self.subscription.try_recv() {
            for event in &batch {
                if event.kind() == EventKind::Started {
                    self.calls
                        .insert(event.call(), StartedCall::of(event, &batch));
                } else {
                    self.calls.remove(&event.call());
                }
            }
        }
    }

    /// Compares the list with the counters, and forgets calls that are over. Returns the number of
    /// calls that are in flight and not in the list, and the number in the list that may be over.
    ///
    /// The counters are read after the events: if a tool has no call in flight then, no call of it
    /// in the list still runs.
    pub(crate) fn compare(&mut self, registry: &RegistryState) -> (u64, u64) {
        let mut listed: HashMap<ToolId, Vec<(u64, CallId)>> = HashMap::new();
        for (&id, call) in &self.calls {
            let calls = listed.entry(call.tool).or_default();
            calls.push((call.started_ns, id));
        }
        let (mut missed_starts, mut missed_ends) = (0, 0);
        for total in &registry.totals().tools {
            let in_flight = total.in_flight();
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

impl StartedCall {
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

/// All lists of one registry, which the pump keeps up to date.
#[derive(Debug, Default)]
pub(crate) struct CallLists(Mutex<Vec<Weak<Mutex<CallList>>>>);

impl CallLists {
    /// Adds a list, for as long as the caller keeps it.
    pub(crate) fn add(&self, list: &Arc<Mutex<CallList>>) {
        let mut lists = lock(&self.0);
        lists.retain(|list| list.strong_count() > 0);
        lists.push(Arc::downgrade(list));
    }

    /// Updates all lists. A list that has grown since it was compared with the counters is compared
    /// again, so that lost ends do not make it grow without bound.
    pub(crate) fn update(&self, registry: &RegistryState) {
        let lists: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        for list in lists {
            let mut list = lock(&list);
            list.update();
            if list.calls.len() >= list.compare_at {
                list.compare(registry);
            }
        }
    }
}

impl fmt::Debug for CallList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallList")
            .field("calls", &self.calls.len())
            .finish_non_exhaustive()
    }
}
