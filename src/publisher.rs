//! [`Publisher`]: the making of the snapshots that the pump publishes.
//!
//! Most tools of a large registry do nothing most of the time. If no call of a tool began since its
//! last reading, and none was in flight then, its counts cannot have changed: the new snapshot
//! shares its stats with the one before, at the cost of reading one counter.

use crate::last_error::ErrorRecords;
use crate::registry_state::RegistryState;
use crate::snapshot::{Clocks, Snapshot, ToolStats};
use crate::tool_map::{Departed, Entry, Nameless};
use crate::tool_slot::ToolSlot;
use crate::totals::{Baselines, Total, add_nameless};
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use toolmeter_events::{Moment, ToolId};

/// The maker of the published snapshots, which keeps what it published last.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    tools: HashMap<ToolId, PublishedTool>,
    baselines: Option<Arc<Baselines>>,
}

/// A tool as it was published.
#[derive(Debug)]
struct PublishedTool {
    name: Arc<str>,
    source: Source,
    /// `None` for a departed tool without new counts.
    stats: Option<Arc<ToolStats>>,
}

/// The state of a tool from which its stats were made.
#[derive(Debug)]
enum Source {
    Slot {
        retired: bool,
        entered: u64,
        in_flight: u64,
        errors: Option<Arc<ErrorRecords>>,
    },
    Departed(Arc<Departed>),
}

/// A tool for the next snapshot: as it was published before, or read again.
#[allow(
    clippy::large_enum_variant,
    reason = "short-lived, and a box for each tool that is read costs an allocation"
)]
enum Part {
    Kept(PublishedTool),
    Read(Source, Total),
}

impl Publisher {
    /// Makes a snapshot and publishes it. `read` is a reading of the clocks from before the lock of the
    /// pump was taken.
    pub(crate) fn publish(&mut self, state: &RegistryState, read: Moment) {
        let snapshot = self.snapshot(state, read);
        state.published.store(Arc::new(snapshot));
    }

    fn snapshot(&mut self, state: &RegistryState, read: Moment) -> Snapshot {
        let baselines = state.baselines.load_full();
        let same_baselines = self
            .baselines
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, &baselines));
        let unknown_tool_calls = state.unknown_tool_calls();
        let mut before = mem::take(&mut self.tools);
        let mut parts = Vec::new();
        let mut nameless = Nameless::default();
        state.tools.visit(|entry| {
            let id = match entry {
                Entry::Registered(slot) | Entry::Retired(slot) => slot.id,
                Entry::Departed(departed) => departed.id,
                Entry::Nameless(shard) => return add_nameless(&mut nameless, shard),
            };
            match before.remove(&id) {
                Some(last) if same_baselines && last.source.is_current(entry) => {
                    parts.push((id, Part::Kept(last)));
                }
                _ => parts.extend(Total::read(entry).map(|total| {
                    let source = Source::of(entry, &total);
                    (id, Part::Read(source, total))
                })),
            }
        });
        let clocks = state.clocks_since(read);
        self.tools = parts
            .into_iter()
            .map(|(id, part)| (id, PublishedTool::new(part, state, &baselines, &clocks)))
            .collect();
        let tools = self.tools.values().filter_map(|last| {
            let stats = last.stats.as_ref()?;
            Some((Arc::clone(&last.name), Arc::clone(stats)))
        });
        let tools = tools.collect();
        let nameless = baselines.new_nameless(&nameless, |id| self.tools.contains_key(&id));
        let unknown = unknown_tool_calls.wrapping_sub(baselines.unknown_tool_calls());
        self.baselines = Some(baselines);
        state.origin.snapshot(&clocks, unknown, tools, nameless)
    }
}

impl PublishedTool {
    fn new(part: Part, state: &RegistryState, baselines: &Baselines, clocks: &Clocks) -> Self {
        match part {
            Part::Kept(last) => last,
            Part::Read(source, total) => Self {
                name: Arc::clone(&total.name),
                source,
                stats: {
                    let baseline = baselines.of(total.id);
                    total
                        .stats(baseline, state.origin.precision, clocks)
                        .map(Arc::new)
                },
            },
        }
    }
}

impl Source {
    fn of(entry: Entry<'_>, total: &Total) -> Self {
        let retired = match entry {
            Entry::Departed(departed) => return Self::Departed(Arc::clone(departed)),
            Entry::Retired(_) | Entry::Nameless(_) => true,
            Entry::Registered(_) => false,
        };
        Self::Slot {
            retired,
            entered: total.entered(),
            in_flight: total.in_flight(),
            errors: total.errors(),
        }
    }

    /// Returns whether nothing can have been counted since.
    fn is_current(&self, entry: Entry<'_>) -> bool {
        match (self, entry) {
            (Self::Departed(last), Entry::Departed(now)) => Arc::ptr_eq(last, now),
            (&Self::Slot { retired, .. }, Entry::Registered(slot)) => {
                !retired && self.is_unchanged(slot)
            }
            (&Self::Slot { retired, .. }, Entry::Retired(slot)) => {
                retired && self.is_unchanged(slot)
            }
            _ => false,
        }
    }

    /// Returns whether no call was in flight, and since then none began and no text was kept.
    ///
    /// A text is kept after its failure is counted, so it may come after the reading that counted
    /// the failure.
    fn is_unchanged(&self, slot: &ToolSlot) -> bool {
        let Self::Slot {
            entered,
            in_flight: 0,
            errors,
            ..
        } = self
        else {
            return false;
        };
        slot.entered() == *entered && slot.errors.is_same(errors.as_ref())
    }
}
