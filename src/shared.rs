//! What all parts of one registry share, and the one way to make a [`Snapshot`] of it.
//!
//! # How a snapshot is cut
//!
//! Slots are never zeroed; a snapshot is what a slot holds less a *baseline*, an earlier
//! reading of it. The baseline is always loaded before the slot is read, so no count can be
//! smaller than its baseline. The baselines of a reset are one value that is replaced as a
//! whole: a snapshot sees all tools reset, or none.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `epoch` | `load` when a cursor begins to read | `Acquire` | the pump's addition: what was released before is then read completely | `a_cursor_elsewhere_reads_a_slot_to_its_end` |
//! | `epoch` | `fetch_add` after the pump looked for released slots | `Release` | the load | the same |
//! | `epoch` | `load` when a cursor is made, under the lock of `cursors` | `Relaxed` | the pump adds under that lock | `a_new_cursor_reads_a_slot_to_its_end` |
//! | `epoch` | `load` when the pump begins a round or a snapshot, under the pump's lock | `Relaxed` | the pump adds under that lock | |
//! | `read_epoch` | `store` after a cursor's reading, `load` by the pump | `Relaxed` | says only how far the reading is; what it returned is its caller's | |
//! | `unknown_tool_calls` | all | `Relaxed` | a lone counter | |
//! | `published` | `store` under the pump's lock, arc-swap's own orderings | | its loads | `a_published_snapshot_is_never_older`, on the stand-in |
//! | `roster`, `baselines` | arc-swap's own | | | stand-in in the models, stress tests for the real one |

use crate::handle::{ErrorRecord, Meter, ToolReading, ToolSlot};
use crate::roster::Roster;
use crate::slab::Slab;
use crate::snapshot::{ErrorText, Snapshot, ToolStats};
use crate::swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::Clock;
use toolmeter_core::sync::{Mutex, Ordering, Word, lock};
use toolmeter_events::{Hub, Moment, Subscription, ToolId};

pub(crate) struct Shared {
    pub(crate) meter: Arc<Meter>,
    pub(crate) instance: String,
    pub(crate) precision: u8,
    pub(crate) built_ns: u64,
    pub(crate) tool_limit: usize,
    pub(crate) roster: ArcSwap<Roster>,
    pub(crate) registration: Mutex<Registration>,
    pub(crate) unknown_tool_calls: Word,
    /// Since when [`Registry::metrics`](crate::Registry::metrics) counts.
    pub(crate) baselines: ArcSwap<Baselines>,
    /// Held while `baselines` are replaced. Taken after `registration` where both are.
    pub(crate) resetting: Mutex<()>,
    pub(crate) published: ArcSwap<Snapshot>,
    pub(crate) hub: Hub,
    /// The cursors that live, and how far each has read. Held while the pump looks for released
    /// slots.
    pub(crate) cursors: Mutex<Vec<std::sync::Weak<CursorMark>>>,
    /// Grows each time the pump looked for released slots.
    pub(crate) epoch: Word,
}

/// What only registering and freeing tools needs.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) slab: Slab,
    pub(crate) next_id: u32,
    /// The origin of a slot that was never used.
    pub(crate) nothing: Arc<ToolReading>,
    /// Freed slots that somebody may still be reading.
    pub(crate) graveyard: Vec<Arc<ToolSlot>>,
}

/// A reading of every tool at one moment; a tool that it does not name began later.
#[derive(Debug, Default)]
pub(crate) struct Baselines {
    pub(crate) tools: HashMap<ToolId, Arc<ToolReading>>,
    pub(crate) unknown_tool_calls: u64,
}

impl Baselines {
    pub(crate) fn of<'a>(&'a self, slot: &'a ToolSlot) -> &'a ToolReading {
        self.tools.get(&slot.id).unwrap_or(&slot.origin)
    }
}

/// How far an interval cursor has read.
#[derive(Debug)]
pub(crate) struct CursorMark {
    /// The epoch when its last reading began.
    pub(crate) read_epoch: Word,
}

/// One tool as it was read.
pub(crate) struct Total {
    pub(crate) slot: Arc<ToolSlot>,
    pub(crate) retired: bool,
    pub(crate) reading: ToolReading,
}

impl Shared {
    /// Both clocks, now.
    pub(crate) fn now(&self) -> Moment {
        Moment::new(SystemTime::now(), self.meter.clock.now_ns())
    }

    /// Reads every visible tool.
    pub(crate) fn totals(&self) -> Vec<Total> {
        let roster = self.roster.load();
        let totals = roster.slots().map(|(slot, retired)| Total {
            slot: Arc::clone(slot),
            retired,
            reading: slot.read(),
        });
        totals.collect()
    }

    pub(crate) fn unknown_tool_calls(&self) -> u64 {
        self.unknown_tool_calls.load(Ordering::Relaxed)
    }

    /// The stats of a tool that was read before `now`, since its baseline.
    pub(crate) fn stats(&self, total: Total, baseline: &ToolReading, now: &Moment) -> ToolStats {
        let Total {
            slot,
            retired,
            mut reading,
        } = total;
        let in_flight = slot.in_flight(&reading);
        reading.subtract(baseline);
        let record = slot.last_error.load_full();
        let error = record.as_deref().map(|record: &ErrorRecord| ErrorText {
            kind: record.kind,
            attempt: record.attempt,
            at_ns: record.at_ns,
            message: Some(&record.message),
        });
        ToolStats::from_reading(&reading, in_flight, self.precision, now, error, retired)
    }

    /// A snapshot of tools whose stats were made at `now`.
    pub(crate) fn snapshot(
        &self,
        now: &Moment,
        unknown_tool_calls: u64,
        tools: BTreeMap<Arc<str>, Arc<ToolStats>>,
    ) -> Snapshot {
        let uptime = Duration::from_nanos(now.clock_ns().saturating_sub(self.built_ns));
        Snapshot::new(
            self.instance.clone(),
            now.wall(),
            uptime,
            unknown_tool_calls,
            tools,
        )
    }

    /// A snapshot of `totals` and of all unknown calls, less `baselines`.
    pub(crate) fn difference(
        &self,
        totals: Vec<Total>,
        unknown_tool_calls: u64,
        baselines: &Baselines,
    ) -> Snapshot {
        let now = self.now();
        let tools = totals.into_iter().map(|total| {
            let slot = Arc::clone(&total.slot);
            let stats = self.stats(total, baselines.of(&slot), &now);
            (Arc::clone(&slot.name), Arc::new(stats))
        });
        let unknown = unknown_tool_calls.wrapping_sub(baselines.unknown_tool_calls);
        self.snapshot(&now, unknown, tools.collect())
    }

    /// Makes a retired tool that nobody holds or has to read any more invisible, and its memory
    /// free, unless it was registered again since it had been registered `registrations` times.
    pub(crate) fn free(&self, id: ToolId, registrations: usize) {
        let mut registration = lock(&self.registration);
        let mut roster = (*self.roster.load_full()).clone();
        let Some(slot) = roster.retired().iter().find(|slot| slot.id == id).cloned() else {
            return;
        };
        if slot.registrations() != registrations || !slot.is_released() {
            return;
        }
        roster.remove_retired(id);
        roster.version += 1;
        self.roster.store(Arc::new(roster));
        self.replace_baselines(|tools| {
            tools.remove(&id);
        });
        registration.graveyard.push(slot);
        registration.reclaim();
    }

    /// Replaces the baselines of single tools.
    pub(crate) fn replace_baselines(
        &self,
        change: impl FnOnce(&mut HashMap<ToolId, Arc<ToolReading>>),
    ) {
        let _resetting = lock(&self.resetting);
        let baselines = self.baselines.load_full();
        let mut tools = baselines.tools.clone();
        change(&mut tools);
        self.baselines.store(Arc::new(Baselines {
            tools,
            unknown_tool_calls: baselines.unknown_tool_calls,
        }));
    }

    /// A subscription from now on. The clock is read before the gate opens, so a call that
    /// begins after this returned is not too early for it.
    pub(crate) fn subscribe(
        &self,
        filter: toolmeter_events::Filter,
        queue_capacity: Option<usize>,
    ) -> Result<Subscription, toolmeter_events::HubError> {
        let began_ns = self.meter.clock.now_ns();
        self.hub
            .subscribe(&self.meter.rings, filter, began_ns, queue_capacity)
    }
}

impl Registration {
    /// Takes the memory of freed slots back that nobody reads any more. A reader that still
    /// holds one would otherwise count the calls of its next owner as this tool's.
    pub(crate) fn reclaim(&mut self) {
        for slot in std::mem::take(&mut self.graveyard) {
            match Arc::try_unwrap(slot) {
                Ok(slot) => self.slab.put_back(slot.memory),
                Err(slot) => self.graveyard.push(slot),
            }
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}
