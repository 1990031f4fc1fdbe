//! [`Totals`], all that was ever counted, and [`Baselines`], earlier totals that are subtracted.
//!
//! Nothing that was counted is ever taken away: the total of a name only grows, even while its tool
//! comes and goes (`reclaim.rs`). A snapshot is the totals less a *baseline*, which is earlier
//! totals. The baseline is always loaded before the totals are read, so no count can be smaller
//! than its baseline. The baselines of a reset are one value that is replaced as a whole: a snapshot
//! sees all tools reset, or none.
//!
//! A departed tool is in a snapshot only if something was counted under its name since the
//! baseline. All tools that departed without a name are one entry. If a baseline has the total of a
//! tool that has become nameless since, that total is subtracted from this entry.

use crate::last_error::ErrorRecords;
use crate::origin::Origin;
use crate::snapshot::{Clocks, Recorded, Snapshot, ToolStats};
use crate::tool_map::{Departed, Entry, Nameless, ToolMap};
use crate::tool_slot::ToolReading;
use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;
use toolmeter_events::ToolId;

/// The totals of all tools at one moment, to be subtracted from later totals. A tool that is not in
/// them was registered later.
#[derive(Debug, Default)]
pub(crate) struct Baselines {
    tools: HashMap<ToolId, Arc<ToolReading>>,
    nameless: Nameless,
    unknown_tool_calls: u64,
}

/// The total of one tool.
#[derive(Debug)]
pub(crate) struct Total {
    pub(crate) id: ToolId,
    pub(crate) name: Arc<str>,
    registered_at: SystemTime,
    presence: Presence,
    reading: TotalReading,
    errors: Option<Arc<ErrorRecords>>,
}

/// The state of a tool when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Registered,
    Retired,
    Departed,
}

/// The reading of a slot, or that of a departed tool, which does not change and is shared.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are readings of slots, and a box for each costs an allocation"
)]
#[derive(Debug)]
enum TotalReading {
    Own(ToolReading),
    Shared(Arc<ToolReading>),
}

impl Deref for TotalReading {
    type Target = ToolReading;

    fn deref(&self) -> &ToolReading {
        match self {
            Self::Own(reading) => reading,
            Self::Shared(reading) => reading,
        }
    }
}

impl TotalReading {
    fn into_reading(self) -> ToolReading {
        match self {
            Self::Own(reading) => reading,
            Self::Shared(reading) => Arc::unwrap_or_clone(reading),
        }
    }

    fn to_arc(&self) -> Arc<ToolReading> {
        match self {
            Self::Own(reading) => Arc::new(reading.clone()),
            Self::Shared(reading) => Arc::clone(reading),
        }
    }

    /// Returns whether this is that very reading of a departed tool.
    fn is(&self, other: &Arc<ToolReading>) -> bool {
        matches!(self, Self::Shared(reading) if Arc::ptr_eq(reading, other))
    }
}

/// The totals of all tools.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) tools: Vec<Total>,
    nameless: Nameless,
    unknown_tool_calls: u64,
}

impl Total {
    /// Reads one tool. Returns `None` for nameless tools.
    pub(crate) fn read(entry: Entry<'_>) -> Option<Self> {
        let (slot, presence) = match entry {
            Entry::Registered(slot) => (slot, Presence::Registered),
            Entry::Retired(slot) => (slot, Presence::Retired),
            Entry::Departed(departed) => return Some(Self::departed(departed)),
            Entry::Nameless(_) => return None,
        };
        let reading = TotalReading::Own(slot.total());
        Some(Self {
            id: slot.id,
            name: Arc::clone(&slot.name),
            registered_at: slot.registered_at,
            presence,
            reading,
            // After the counts. The text of a failure is kept after the failure is counted, and
            // before its event is offered: so a failure whose event was seen before this reading is
            // here with its text.
            errors: slot.errors.load(),
        })
    }

    fn departed(departed: &Departed) -> Self {
        Self {
            id: departed.id,
            name: Arc::clone(&departed.name),
            registered_at: departed.registered_at,
            presence: Presence::Departed,
            reading: TotalReading::Shared(Arc::clone(&departed.reading)),
            errors: departed.errors.clone(),
        }
    }

    /// Returns the number of calls that were started or rejected, as `ToolSlot::entered` does.
    pub(crate) fn entered(&self) -> u64 {
        self.reading.started().wrapping_add(self.reading.rejected())
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.reading.in_flight()
    }

    pub(crate) fn errors(&self) -> Option<Arc<ErrorRecords>> {
        self.errors.clone()
    }

    /// Makes the stats since a baseline. Returns `None` for a departed tool without new counts.
    pub(crate) fn stats(
        self,
        baseline: Option<&Arc<ToolReading>>,
        precision: u8,
        clocks: &Clocks,
    ) -> Option<ToolStats> {
        let is_departed = self.presence == Presence::Departed;
        if baseline.is_some_and(|baseline| self.reading.is(baseline)) {
            return None;
        }
        let in_flight = self.reading.in_flight();
        let mut reading = self.reading.into_reading();
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
            retired: self.presence != Presence::Registered,
            registered_at: self.registered_at,
        };
        Some(ToolStats::new(&recorded, precision, clocks))
    }
}

impl Totals {
    /// Reads every tool.
    pub(crate) fn read(tools: &ToolMap, unknown_tool_calls: u64) -> Self {
        let mut totals = Self {
            unknown_tool_calls,
            ..Self::default()
        };
        tools.visit(|entry| match entry {
            Entry::Nameless(nameless) => add_nameless(&mut totals.nameless, nameless),
            tool => totals.tools.extend(Total::read(tool)),
        });
        totals
    }

    /// Returns these totals as a baseline.
    pub(crate) fn baselines(&self) -> Baselines {
        let tools = self.tools.iter();
        Baselines {
            tools: tools
                .map(|total| (total.id, total.reading.to_arc()))
                .collect(),
            nameless: self.nameless.clone(),
            unknown_tool_calls: self.unknown_tool_calls,
        }
    }

    /// Makes a snapshot of these totals less `baselines`.
    pub(crate) fn since(self, baselines: &Baselines, origin: &Origin, clocks: &Clocks) -> Snapshot {
        let ids = LazyCell::new(|| {
            let ids = self.tools.iter().map(|total| total.id);
            ids.collect::<HashSet<ToolId>>()
        });
        let nameless = baselines.new_nameless(&self.nameless, |id| ids.contains(&id));
        drop(ids);
        let unknown = self
            .unknown_tool_calls
            .wrapping_sub(baselines.unknown_tool_calls);
        let tools = self.tools.into_iter().filter_map(|total| {
            let name = Arc::clone(&total.name);
            let baseline = baselines.of(total.id);
            let stats = total.stats(baseline, origin.precision, clocks)?;
            Some((name, Arc::new(stats)))
        });
        origin.snapshot(clocks, unknown, tools.collect(), nameless)
    }
}

impl Baselines {
    /// Returns the total of a tool.
    pub(crate) fn of(&self, id: ToolId) -> Option<&Arc<ToolReading>> {
        self.tools.get(&id)
    }

    /// Returns the number and the reading of the tools that became nameless since the baseline,
    /// given all that are nameless `now`. `is_named` returns true for a tool that still has a name.
    pub(crate) fn new_nameless(
        &self,
        now: &Nameless,
        is_named: impl Fn(ToolId) -> bool,
    ) -> Option<(u64, ToolReading)> {
        let tools = now.tools.saturating_sub(self.nameless.tools);
        if tools == 0 {
            return None;
        }
        let mut reading = ToolReading::clone(&now.reading);
        reading.subtract(&self.nameless.reading);
        // What was counted under a name before the baseline is not new, although it is nameless now.
        for (&id, before) in &self.tools {
            if !is_named(id) {
                reading.subtract(before);
            }
        }
        Some((tools, reading))
    }

    pub(crate) fn unknown_tool_calls(&self) -> u64 {
        self.unknown_tool_calls
    }
}

/// Adds the nameless tools of one shard.
pub(crate) fn add_nameless(all: &mut Nameless, shard: &Nameless) {
    if all.tools == 0 {
        *all = shard.clone();
        return;
    }
    all.tools += shard.tools;
    // A Vec is never full.
    let _ = Arc::make_mut(&mut all.reading).add(&shard.reading);
}
