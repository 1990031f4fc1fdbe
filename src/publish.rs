//! The published snapshot: made by the pump now and then, lent to readers for next to nothing.
//!
//! A reader borrows the latest snapshot from an arc-swap cell and waits for no thread; it keeps
//! what it has for as long as it likes while newer ones are published.
//!
//! Most tools of a large registry do nothing most of the time. One of which nothing started
//! since it was read, and nothing was in flight then, cannot have changed: it shares its stats
//! with the snapshot before, for the price of one counter.

use crate::handle::ToolSlot;
use crate::last_error::ErrorRecords;
use crate::registry_state::{Baselines, Clocks, RegistryState, Total, add_nameless};
use crate::snapshot::{Snapshot, ToolStats};
use crate::swap::Guard;
use crate::tool_map::{Departed, Entry, Nameless};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use toolmeter_events::{Moment, ToolId};

/// The snapshot that was published last; see [`Registry::published`](crate::Registry::published).
///
/// It is a loan: hold it for the length of a report, and call
/// [`into_arc`](Self::into_arc) to keep it longer.
///
/// # Examples
///
/// ```
/// use toolmeter::{Pump, Registry};
///
/// let registry = Registry::builder().pump(Pump::manual()).build()?;
/// registry.register("shell")?;
/// registry.publish();
/// let published = registry.published();
/// assert!(published.tools.contains_key("shell"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Published(pub(crate) Guard<Arc<Snapshot>>);

impl Published {
    /// Returns the snapshot, to be kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().pump(Pump::manual()).build()?;
    /// let shell = registry.register("shell")?;
    /// registry.publish();
    /// let kept = registry.published().into_arc();
    /// shell.start().succeed();
    /// registry.publish();
    /// assert_eq!(kept.tools["shell"].success(), 0);
    /// assert_eq!(registry.published().tools["shell"].success(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_arc(self) -> Arc<Snapshot> {
        Guard::into_inner(self.0)
    }
}

impl Deref for Published {
    type Target = Snapshot;

    #[inline]
    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Makes the snapshots that are published, remembering the last.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    tools: HashMap<ToolId, Last>,
    baselines: Option<Arc<Baselines>>,
}

/// A tool as it was published last.
#[derive(Debug)]
struct Last {
    name: Arc<str>,
    source: Source,
    /// None for a departed tool of which there is nothing to show.
    stats: Option<Arc<ToolStats>>,
}

/// What the stats were made of.
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

/// What is published of one tool.
#[allow(
    clippy::large_enum_variant,
    reason = "short-lived, and a box for each tool that is read would cost an allocation"
)]
enum Part {
    Kept(Last),
    Read(Source, Total),
}

impl Publisher {
    /// Makes a snapshot and publishes it. `read` is a reading of the clocks from before the pump's
    /// lock was taken.
    pub(crate) fn publish(&mut self, shared: &RegistryState, read: Moment) {
        let snapshot = self.snapshot(shared, read);
        shared.published.store(Arc::new(snapshot));
    }

    fn snapshot(&mut self, shared: &RegistryState, read: Moment) -> Snapshot {
        let baselines = shared.baselines.load_full();
        let same_baselines = self
            .baselines
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, &baselines));
        let unknown_tool_calls = shared.unknown_tool_calls();
        let mut before = std::mem::take(&mut self.tools);
        let mut parts = Vec::new();
        let mut nameless = Nameless::default();
        shared.tools.visit(|entry| {
            let id = match entry {
                Entry::Registered(slot) | Entry::Retired(slot) => slot.id,
                Entry::Departed(departed) => departed.id,
                Entry::Nameless(shard) => return add_nameless(&mut nameless, shard),
            };
            match before.remove(&id) {
                Some(last) if same_baselines && last.source.still_holds(entry) => {
                    parts.push((id, Part::Kept(last)));
                }
                _ => parts.extend(Total::read(entry).map(|total| {
                    let source = Source::of(entry, &total);
                    (id, Part::Read(source, total))
                })),
            }
        });
        let clocks = shared.clocks_since(read);
        self.tools = parts
            .into_iter()
            .map(|(id, part)| (id, Last::new(part, shared, &baselines, &clocks)))
            .collect();
        let tools = self.tools.values().filter_map(|last| {
            let stats = last.stats.as_ref()?;
            Some((Arc::clone(&last.name), Arc::clone(stats)))
        });
        let tools = tools.collect();
        let nameless = baselines.new_nameless(&nameless, |id| self.tools.contains_key(&id));
        let unknown = unknown_tool_calls.wrapping_sub(baselines.unknown_tool_calls());
        self.baselines = Some(baselines);
        shared.snapshot(&clocks, unknown, tools, nameless)
    }
}

impl Last {
    fn new(part: Part, shared: &RegistryState, baselines: &Baselines, clocks: &Clocks) -> Self {
        match part {
            Part::Kept(last) => last,
            Part::Read(source, total) => Self {
                name: Arc::clone(&total.name),
                source,
                stats: {
                    let baseline = baselines.of(total.id);
                    total
                        .stats(baseline, shared.precision, clocks)
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
        let (entered, in_flight, errors) = total.mark();
        Self::Slot {
            retired,
            entered,
            in_flight,
            errors,
        }
    }

    /// Whether nothing can have happened since.
    fn still_holds(&self, entry: Entry<'_>) -> bool {
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

    /// Whether no call began, none was under way, and no text came since. A text is kept after
    /// its failure is counted, so it may come after the reading that counted the failure.
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
