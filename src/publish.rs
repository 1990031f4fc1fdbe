//! The published snapshot: made by the pump now and then, lent to readers for next to nothing.
//!
//! A reader borrows the latest snapshot from an arc-swap cell and waits for nobody; it keeps
//! what it has for as long as it likes while newer ones are published.
//!
//! Most tools of a large registry do nothing most of the time. One of which nothing started
//! since it was read, and nothing was in flight then, cannot have changed: it shares its stats
//! with the snapshot before, for the price of one counter.

use crate::shared::{Baselines, Shared, Total};
use crate::snapshot::{Snapshot, ToolStats};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use toolmeter_core::sync::Ordering;
use toolmeter_events::{Moment, ToolId};

/// The snapshot that was published last; see [`Registry::published`](crate::Registry::published).
///
/// It is a loan: hold it for the length of a report, and call
/// [`into_arc`](Self::into_arc) to keep it longer.
///
/// # Examples
///
/// ```
/// use toolmeter::{Pump, Registry, ToolSpec};
///
/// let registry = Registry::builder().pump(Pump::manual()).build()?;
/// registry.register(ToolSpec::new("shell"))?;
/// registry.publish();
/// let published = registry.published();
/// assert!(published.tools.contains_key("shell"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Published(pub(crate) Guard);

#[cfg(not(toolmeter_loom))]
type Guard = arc_swap::Guard<Arc<Snapshot>>;
#[cfg(toolmeter_loom)]
type Guard = toolmeter_core::stand_in::Guard<Arc<Snapshot>>;

impl Published {
    /// The snapshot, to be kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry, ToolSpec};
    ///
    /// let registry = Registry::builder().pump(Pump::manual()).build()?;
    /// let shell = registry.register(ToolSpec::new("shell"))?;
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
    /// The epoch when the last snapshot was begun.
    pub(crate) read_epoch: Option<u64>,
}

/// A tool as it was published last.
#[derive(Debug)]
struct Last {
    started: u64,
    in_flight: u64,
    retired: bool,
    stats: Arc<ToolStats>,
}

impl Publisher {
    /// Makes a snapshot and publishes it.
    pub(crate) fn publish(&mut self, shared: &Shared) {
        let epoch = shared.epoch.load(Ordering::Relaxed);
        let snapshot = self.snapshot(shared);
        shared.published.store(Arc::new(snapshot));
        self.read_epoch = Some(epoch);
    }

    fn snapshot(&mut self, shared: &Shared) -> Snapshot {
        let baselines = shared.baselines.load_full();
        let same_baselines = self
            .baselines
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, &baselines));
        let unknown_tool_calls = shared.unknown_tool_calls();
        let mut before = std::mem::take(&mut self.tools);
        let mut read = Vec::new();
        for (slot, retired) in shared.roster.load().slots() {
            match before.remove(&slot.id) {
                Some(last) if same_baselines && last.still_holds(slot, retired) => {
                    self.tools.insert(slot.id, last);
                    read.push((Arc::clone(slot), None));
                }
                _ => {
                    let total = Total {
                        slot: Arc::clone(slot),
                        retired,
                        reading: slot.read(),
                    };
                    read.push((Arc::clone(slot), Some(total)));
                }
            }
        }
        let now = shared.now();
        let tools = read.into_iter().filter_map(|(slot, total)| {
            if let Some(total) = total {
                let last = Last::new(shared, total, &baselines, &now);
                self.tools.insert(slot.id, last);
            }
            let stats = Arc::clone(&self.tools.get(&slot.id)?.stats);
            Some((Arc::clone(&slot.name), stats))
        });
        let tools = tools.collect();
        let unknown = unknown_tool_calls.wrapping_sub(baselines.unknown_tool_calls);
        self.baselines = Some(baselines);
        shared.snapshot(&now, unknown, tools)
    }
}

impl Last {
    fn new(shared: &Shared, total: Total, baselines: &Baselines, now: &Moment) -> Self {
        let slot = Arc::clone(&total.slot);
        let (started, retired) = (total.reading.started(), total.retired);
        let stats = shared.stats(total, baselines.of(&slot), now);
        Self {
            started,
            in_flight: stats.in_flight,
            retired,
            stats: Arc::new(stats),
        }
    }

    /// Whether nothing can have happened since.
    fn still_holds(&self, slot: &crate::handle::ToolSlot, retired: bool) -> bool {
        self.in_flight == 0
            && self.retired == retired
            && self.started == slot.memory.slot().started()
    }
}
