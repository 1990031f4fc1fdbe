//! What all parts of one registry share, and the one way to make a [`Snapshot`] of it.
//!
//! # How a snapshot is cut
//!
//! Nothing that was counted is ever taken away: the total of a name only grows, also while the
//! tool comes and goes (`reclaim.rs`). A snapshot is the totals less a *baseline*, earlier totals.
//! The baseline is always loaded before the totals are read, so no count can be smaller than its
//! baseline. The baselines of a reset are one value that is replaced as a whole: a snapshot sees
//! all tools reset, or none.
//!
//! A departed tool is in a snapshot only if something was counted under its name since the
//! baseline. What departed without a name is one entry of its own; names that a baseline knew and
//! that have gone there since are taken from that entry's side.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `unknown_tool_calls` | all | `Relaxed` | a lone counter | |
//! | `published` | `store` under the pump's lock, arc-swap's own orderings | | its loads | `a_published_snapshot_is_never_older`, on the stand-in |
//! | `baselines` | `compare_and_swap` by a reset, arc-swap's own | its own | `load`: the totals that are read after it are not below them | `two_cursors_and_a_reset_do_not_disturb_each_other`, on the stand-in |

use crate::handle::{Meter, ToolReading};
use crate::last_error::ErrorRecords;
use crate::process::Process;
use crate::reclaim::{Names, Reclaim, sum};
use crate::running_calls::Listeners;
use crate::snapshot::{Header, NamelessTools, Recorded, Snapshot, ToolStats};
use crate::swap::ArcSwap;
use crate::sync::{Mutex, Ordering, Word};
use crate::tool_map::{Departed, Entry, Nameless, ToolMap};
use crate::wall_clock::WallClock;
use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::Clock;
use toolmeter_events::{Filter, Hub, Moment, SubscribeError, Subscription, ToolId};

pub(crate) struct RegistryState {
    pub(crate) meter: Arc<Meter>,
    pub(crate) instance: String,
    pub(crate) instance_id: Box<str>,
    pub(crate) started_at: SystemTime,
    pub(crate) process: Process,
    pub(crate) precision: u8,
    pub(crate) built_ns: u64,
    pub(crate) wall: WallClock,
    pub(crate) tool_limit: usize,
    pub(crate) tools: ToolMap,
    /// Held while a tool is registered, deregistered, or departs.
    pub(crate) registration: Mutex<Reclaim>,
    /// Taken after `registration` where both are.
    pub(crate) names: Mutex<Names>,
    pub(crate) unknown_tool_calls: Word,
    /// Since when [`Registry::metrics`](crate::Registry::metrics) counts.
    pub(crate) baselines: ArcSwap<Baselines>,
    pub(crate) published: ArcSwap<Snapshot>,
    pub(crate) hub: Hub,
    /// Events that were delivered after younger ones.
    pub(crate) late: Word,
    /// Rounds of the pump's thread that panicked.
    pub(crate) pump_panics: Word,
    pub(crate) listeners: Listeners,
}

/// The totals of all tools at one moment; a tool that they do not name began later.
#[derive(Debug, Default)]
pub(crate) struct Baselines {
    tools: HashMap<ToolId, Arc<ToolReading>>,
    nameless: Nameless,
    unknown_tool_calls: u64,
}

/// One tool as it was read.
#[derive(Debug)]
pub(crate) struct Total {
    pub(crate) id: ToolId,
    pub(crate) name: Arc<str>,
    registered_at: SystemTime,
    state: State,
    reading: Read,
    errors: Option<Arc<ErrorRecords>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Registered,
    Retired,
    Departed,
}

/// A total: of a slot, read for this; or of a tool that has departed, which does not change.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are readings of slots, and a box for each would cost an allocation"
)]
#[derive(Debug)]
enum Read {
    Own(ToolReading),
    RegistryState(Arc<ToolReading>),
}

impl Deref for Read {
    type Target = ToolReading;

    fn deref(&self) -> &ToolReading {
        match self {
            Self::Own(reading) => reading,
            Self::RegistryState(reading) => reading,
        }
    }
}

impl Read {
    fn into_own(self) -> ToolReading {
        match self {
            Self::Own(reading) => reading,
            Self::RegistryState(reading) => Arc::unwrap_or_clone(reading),
        }
    }

    fn to_shared(&self) -> Arc<ToolReading> {
        match self {
            Self::Own(reading) => Arc::new(reading.clone()),
            Self::RegistryState(reading) => Arc::clone(reading),
        }
    }

    fn is(&self, other: &Arc<ToolReading>) -> bool {
        matches!(self, Self::RegistryState(reading) if Arc::ptr_eq(reading, other))
    }
}

/// Everything as it was read.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) tools: Vec<Total>,
    nameless: Nameless,
    unknown_tool_calls: u64,
}

impl Total {
    /// Reads one tool; what departed without a name is no tool.
    pub(crate) fn read(entry: Entry<'_>) -> Option<Self> {
        let (slot, state) = match entry {
            Entry::Registered(slot) => (slot, State::Registered),
            Entry::Retired(slot) => (slot, State::Retired),
            Entry::Departed(departed) => return Some(Self::departed(departed)),
            Entry::Nameless(_) => return None,
        };
        let reading = Read::Own(slot.total());
        Some(Self {
            id: slot.id,
            name: Arc::clone(&slot.name),
            registered_at: slot.registered_at,
            state,
            reading,
            // After the counts, so that the text of every failure that was counted and told is
            // there.
            errors: slot.errors.load(),
        })
    }

    fn departed(departed: &Departed) -> Self {
        Self {
            id: departed.id,
            name: Arc::clone(&departed.name),
            registered_at: departed.registered_at,
            state: State::Departed,
            reading: Read::RegistryState(Arc::clone(&departed.reading)),
            errors: departed.errors.clone(),
        }
    }

    /// What the slot says of calls that began, and the record of its last error, to tell whether
    /// anything can have happened since.
    pub(crate) fn mark(&self) -> (u64, u64, Option<Arc<ErrorRecords>>) {
        let entered = self.reading.started().wrapping_add(self.reading.rejected());
        (entered, self.reading.in_flight(), self.errors.clone())
    }

    /// The stats since a baseline; `None` for a departed tool of which nothing is new.
    pub(crate) fn stats(
        self,
        baseline: Option<&Arc<ToolReading>>,
        precision: u8,
        clocks: &Clocks,
    ) -> Option<ToolStats> {
        let is_departed = self.state == State::Departed;
        if baseline.is_some_and(|baseline| self.reading.is(baseline)) {
            return None;
        }
        let in_flight = self.reading.in_flight();
        let mut reading = self.reading.into_own();
        if let Some(baseline) = baseline {
            reading.subtract(baseline);
        }
        if is_departed && reading.is_empty() && in_flight == 0 {
            return None;
        }
        let recorded = Recorded {
            reading: &reading,
            in_flight,
            errors: self.errors.as_deref(),
            retired: self.state != State::Registered,
            registered_at: self.registered_at,
        };
        Some(ToolStats::new(&recorded, precision, clocks))
    }
}

pub(crate) use crate::snapshot::Clocks;

impl Totals {
    /// These totals, to be subtracted from later ones.
    pub(crate) fn baselines(&self) -> Baselines {
        let tools = self.tools.iter();
        Baselines {
            tools: tools
                .map(|total| (total.id, total.reading.to_shared()))
                .collect(),
            nameless: self.nameless.clone(),
            unknown_tool_calls: self.unknown_tool_calls,
        }
    }
}

impl Baselines {
    pub(crate) fn of(&self, id: ToolId) -> Option<&Arc<ToolReading>> {
        self.tools.get(&id)
    }

    /// What departed without a name since then, of what is there now. `is_there` says which tools
    /// still have a name.
    pub(crate) fn new_nameless(
        &self,
        now: &Nameless,
        is_there: impl Fn(ToolId) -> bool,
    ) -> Option<(u64, ToolReading)> {
        let tools = now.tools.saturating_sub(self.nameless.tools);
        if tools == 0 {
            return None;
        }
        let mut reading = ToolReading::clone(&now.reading);
        reading.subtract(&self.nameless.reading);
        // What was counted under a name before the baseline is not new, wherever it is now.
        for (&id, before) in &self.tools {
            if !is_there(id) {
                reading.subtract(before);
            }
        }
        Some((tools, reading))
    }

    pub(crate) fn unknown_tool_calls(&self) -> u64 {
        self.unknown_tool_calls
    }
}

impl RegistryState {
    /// Both clocks, now. Not for whom holds a lock: it runs the host's code.
    pub(crate) fn now(&self) -> Moment {
        self.wall.now(&self.meter.clock)
    }

    /// Both clocks, and how the times of one are told by the other. Not for whom holds a lock.
    pub(crate) fn clocks(&self) -> Clocks {
        let now = self.now();
        Clocks {
            now,
            timeline: self.wall.timeline(),
        }
    }

    /// The same under a lock, by a reading from before it was taken.
    pub(crate) fn clocks_since(&self, read: Moment) -> Clocks {
        let clock_ns = self.meter.clock.now_ns();
        Clocks {
            now: Moment::new(read.wall_time(clock_ns), clock_ns),
            timeline: self.wall.timeline(),
        }
    }

    /// Reads every tool.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            unknown_tool_calls: self.unknown_tool_calls(),
            ..Totals::default()
        };
        self.tools.visit(|entry| match entry {
            Entry::Nameless(nameless) => add_nameless(&mut totals.nameless, nameless),
            tool => totals.tools.extend(Total::read(tool)),
        });
        totals
    }

    pub(crate) fn unknown_tool_calls(&self) -> u64 {
        self.unknown_tool_calls.load(Ordering::Relaxed)
    }

    /// A snapshot of tools whose stats were made at that time.
    pub(crate) fn snapshot(
        &self,
        clocks: &Clocks,
        unknown_tool_calls: u64,
        tools: BTreeMap<Arc<str>, Arc<ToolStats>>,
        nameless: Option<(u64, ToolReading)>,
    ) -> Snapshot {
        let now = clocks.now;
        let uptime = Duration::from_nanos(now.clock_ns().saturating_sub(self.built_ns));
        let header = Header {
            instance: self.instance.clone(),
            started_at: self.started_at,
            taken_at: now.wall(),
            uptime,
            unknown_tool_calls,
        };
        let nameless = nameless.map(|(tools, reading)| {
            let recorded = Recorded {
                reading: &reading,
                in_flight: 0,
                errors: None,
                retired: true,
                registered_at: self.started_at,
            };
            let stats = ToolStats::new(&recorded, self.precision, clocks);
            Arc::new(NamelessTools { tools, stats })
        });
        Snapshot::new(header, tools, nameless)
    }

    /// A snapshot of `totals`, less `baselines`.
    pub(crate) fn difference(&self, totals: Totals, baselines: &Baselines) -> Snapshot {
        let clocks = self.clocks();
        let there = LazyCell::new(|| {
            let ids = totals.tools.iter().map(|total| total.id);
            ids.collect::<HashSet<ToolId>>()
        });
        let nameless = baselines.new_nameless(&totals.nameless, |id| there.contains(&id));
        drop(there);
        let unknown = totals
            .unknown_tool_calls
            .wrapping_sub(baselines.unknown_tool_calls);
        let tools = totals.tools.into_iter().filter_map(|total| {
            let name = Arc::clone(&total.name);
            let baseline = baselines.of(total.id);
            let stats = total.stats(baseline, self.precision, &clocks)?;
            Some((name, Arc::new(stats)))
        });
        let tools = tools.collect();
        self.snapshot(&clocks, unknown, tools, nameless)
    }

    /// A subscription from now on.
    pub(crate) fn subscribe(
        &self,
        filter: Filter,
        queue_capacity: Option<usize>,
    ) -> Result<Subscription, SubscribeError> {
        self.hub
            .subscribe(&self.meter.rings, filter, queue_capacity)
    }
}

/// Adds what departed without a name in one shard.
pub(crate) fn add_nameless(all: &mut Nameless, shard: &Nameless) {
    if all.tools == 0 {
        *all = shard.clone();
        return;
    }
    all.tools += shard.tools;
    sum(Arc::make_mut(&mut all.reading), &shard.reading);
}

impl std::fmt::Debug for RegistryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryState")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}
