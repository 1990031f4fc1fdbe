//! [`RegistryState`]: the state that all parts of one registry share.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `unknown_tool_calls`, `late`, `pump_panics` | all | `Relaxed` | lone counters | |
//! | `published` | `store` under the pump's lock, arc-swap's own orderings | | its loads | `a_published_snapshot_is_never_older`, on the stand-in |
//! | `baselines` | `compare_and_swap` by a reset, arc-swap's own | its own | `load`: the totals that are read after it are not below them | `two_cursors_and_a_reset_do_not_disturb_each_other`, on the stand-in |

use crate::call_env::CallEnv;
use crate::call_options::CallOptions;
use crate::event_names::EventNames;
use crate::instrument::CallBegin;
use crate::origin::Origin;
use crate::process::Process;
use crate::reclaim::Reclaim;
use crate::snapshot::{Clocks, Snapshot};
use crate::swap::ArcSwap;
use crate::sync::{Mutex, Ordering, Word};
use crate::text::{MAX_NAME_BYTES, escaped};
use crate::tool_map::ToolMap;
use crate::totals::{Baselines, Totals};
use crate::wall_clock::WallClock;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use toolmeter_core::{Clock, ErrorKind, Outcome};
use toolmeter_events::{Filter, Hub, Moment, SubscribeError, Subscription};

/// The state of a registry.
pub(crate) struct RegistryState {
    pub(crate) env: Arc<CallEnv>,
    pub(crate) origin: Origin,
    pub(crate) instance_id: Box<str>,
    pub(crate) process: Process,
    pub(crate) wall: WallClock,
    pub(crate) tool_limit: usize,
    pub(crate) tools: ToolMap,
    /// The registration lock: held while a tool is registered, deregistered, or departs.
    pub(crate) registration: Mutex<Reclaim>,
    /// Locked after `registration` where both are.
    pub(crate) names: Mutex<EventNames>,
    pub(crate) unknown_tool_calls: Word,
    /// The totals at the last reset; [`Registry::metrics`](crate::Registry::metrics) subtracts them.
    pub(crate) baselines: ArcSwap<Baselines>,
    pub(crate) published: ArcSwap<Snapshot>,
    pub(crate) hub: Hub,
    /// The number of events that were delivered after younger ones.
    pub(crate) late: Word,
    /// The number of rounds of the pump's thread that panicked.
    pub(crate) pump_panics: Word,
}

impl RegistryState {
    /// Reads both clocks. The caller holds no lock, since this runs the host's code.
    pub(crate) fn now(&self) -> Moment {
        self.wall.now(&self.env.clock)
    }

    /// Reads both clocks, and returns how the times of one are converted to those of the other. The
    /// caller holds no lock.
    pub(crate) fn clocks(&self) -> Clocks {
        let now = self.now();
        Clocks {
            now,
            timeline: self.wall.timeline(),
        }
    }

    /// Does the same under a lock, given a reading from before it was taken.
    pub(crate) fn clocks_since(&self, read: Moment) -> Clocks {
        let clock_ns = self.env.clock.now_ns();
        Clocks {
            now: Moment::new(read.wall_time(clock_ns), clock_ns),
            timeline: self.wall.timeline(),
        }
    }

    /// Reads every tool.
    pub(crate) fn totals(&self) -> Totals {
        Totals::read(&self.tools, self.unknown_tool_calls())
    }

    /// Makes a snapshot of what was counted since `baselines`, which were loaded before `totals`
    /// were read. The caller holds no lock.
    pub(crate) fn snapshot_since(&self, totals: Totals, baselines: &Baselines) -> Snapshot {
        totals.since(baselines, &self.origin, &self.clocks())
    }

    pub(crate) fn unknown_tool_calls(&self) -> u64 {
        self.unknown_tool_calls.load(Ordering::Relaxed)
    }

    /// Counts a call by a name that no tool has, and reports it to the hook.
    pub(crate) fn count_unknown_call(
        &self,
        name: &str,
        options: &CallOptions,
        arguments: Option<&Value>,
    ) {
        self.unknown_tool_calls.fetch_add(1, Ordering::Relaxed);
        let Some(hook) = &self.env.hook else {
            return;
        };
        let name = escaped(name, MAX_NAME_BYTES);
        let begin = CallBegin {
            name: &name,
            tool: None,
            attempt: options.attempt,
            context: options.context.as_deref(),
            arguments,
        };
        hook.refused(&begin, Outcome::Failure(ErrorKind::NotFound), None);
    }

    /// Subscribes to the events from now on.
    pub(crate) fn subscribe(
        &self,
        filter: Filter,
        queue_capacity: Option<usize>,
    ) -> Result<Subscription, SubscribeError> {
        self.hub.subscribe(&self.env.rings, filter, queue_capacity)
    }
}

impl fmt::Debug for RegistryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryState")
            .field("instance", &self.origin.instance)
            .finish_non_exhaustive()
    }
}
