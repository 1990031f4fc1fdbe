//! [`Roster`]: which tools there are, registered, retired and departed.
//!
//! A roster is cut into shards by the hash of the name. A shard is never changed: registering
//! or deregistering makes another and publishes it, so a look-up and a reading wait for no
//! thread, and the cost of a change does not depend on how many tools there are. Changes are made
//! under the registry's lock (`reclaim.rs`).
//!
//! All that is known of one name lies in one shard, so whoever reads a shard sees each name once,
//! as it was at one moment:
//!
//! | state | what it means | where its counts are |
//! | --- | --- | --- |
//! | registered | the name leads to it | in a slot, on top of what it departed with before |
//! | retired | the name is free, but a handle is left | the same |
//! | departed | no handle is left | in a compact reading |
//! | nameless | as many names departed as the limit allows | added up with others of its shard |
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `shards` | `store` under the registry's lock, arc-swap's own | its own | `load`: a tool that is found is complete | `a_handle_that_is_found_counts`, on the stand-in |

use crate::handle::{ToolReading, ToolSlot, ToolState};
use crate::last_error::ErrorRecords;
use crate::swap::ArcSwap;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::SystemTime;
use toolmeter_events::ToolId;

/// How many tools a shard is made for.
const TOOLS_PER_SHARD: usize = 32;
/// The most shards.
const MAX_SHARDS: usize = if cfg!(toolmeter_loom) { 1 } else { 4_096 };

/// What is left of a tool that nothing counts into any more.
#[derive(Debug)]
pub(crate) struct Departed {
    pub(crate) id: ToolId,
    pub(crate) name: Arc<str>,
    pub(crate) registered_at: SystemTime,
    /// All that was ever counted under the name.
    pub(crate) reading: Arc<ToolReading>,
    pub(crate) errors: Option<Arc<ErrorRecords>>,
}

/// Departed tools that are not told apart any more, added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nameless {
    pub(crate) tools: u64,
    pub(crate) reading: Arc<ToolReading>,
}

/// The tools of one part of all names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    registered: HashTable<Arc<ToolState>>,
    retired: Vec<Arc<ToolSlot>>,
    departed: Vec<Arc<Departed>>,
    nameless: Nameless,
}

/// One tool, or what is left of some, as a reader finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    Registered(&'a Arc<ToolSlot>),
    Retired(&'a Arc<ToolSlot>),
    Departed(&'a Arc<Departed>),
    Nameless(&'a Nameless),
}

/// Where a name belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    hash: u64,
    shard: usize,
}

#[derive(Debug)]
pub(crate) struct Roster {
    hasher: DefaultHashBuilder,
    shards: Box<[ArcSwap<Shard>]>,
}

impl Roster {
    /// An empty roster, for about this many tools.
    pub(crate) fn new(tools: usize) -> Self {
        let shards = tools.div_ceil(TOOLS_PER_SHARD).next_power_of_two();
        let empty = Arc::new(Shard::default());
        let shards = (0..shards.min(MAX_SHARDS)).map(|_| ArcSwap::new(Arc::clone(&empty)));
        Self {
            hasher: DefaultHashBuilder::default(),
            shards: shards.collect(),
        }
    }

    /// The place of this name.
    #[inline]
    pub(crate) fn place(&self, name: &str) -> Place {
        let hash = self.hasher.hash_one(name);
        // A table within a shard uses the highest and the lowest bits.
        let shard = (hash >> 32) as usize & (self.shards.len() - 1);
        Place { hash, shard }
    }

    /// The registered tool of this name.
    #[inline]
    pub(crate) fn find(&self, name: &str) -> Option<Arc<ToolState>> {
        let place = self.place(name);
        self.shards[place.shard]
            .load()
            .find(place, name)
            .map(Arc::clone)
    }

    /// Replaces the shard at this place by what `change` makes of it. The caller holds the
    /// registry's lock.
    pub(crate) fn change<R>(&self, place: Place, change: impl FnOnce(&mut Shard) -> R) -> R {
        let shard = &self.shards[place.shard];
        let mut changed = Shard::clone(&shard.load());
        let result = change(&mut changed);
        // The shard before is dropped by its last reader.
        shard.store(Arc::new(changed));
        result
    }

    /// The shard at this place, as it is now.
    pub(crate) fn shard(&self, place: Place) -> Arc<Shard> {
        self.shards[place.shard].load_full()
    }

    /// Visits every tool, shard by shard.
    pub(crate) fn visit(&self, mut visit: impl FnMut(Entry<'_>)) {
        for shard in &self.shards {
            shard.load().visit(&mut visit);
        }
    }
}

impl Shard {
    /// The registered tool of this name.
    #[inline]
    pub(crate) fn find(&self, place: Place, name: &str) -> Option<&Arc<ToolState>> {
        self.registered
            .find(place.hash, |tool| *tool.slot.name == *name)
    }

    /// The retired tool of this name.
    pub(crate) fn find_retired(&self, name: &str) -> Option<&Arc<ToolSlot>> {
        self.retired.iter().find(|slot| *slot.name == *name)
    }

    /// What is left of the tool of this name.
    pub(crate) fn find_departed(&self, name: &str) -> Option<&Arc<Departed>> {
        self.departed.iter().find(|tool| *tool.name == *name)
    }

    /// Registers a tool whose name is not registered; it takes the place of the retired or
    /// departed one of this name.
    pub(crate) fn register(&mut self, hasher: impl Fn(&str) -> u64, tool: Arc<ToolState>) {
        let name = Arc::clone(&tool.slot.name);
        self.retired.retain(|slot| slot.name != name);
        self.departed.retain(|departed| departed.name != name);
        self.registered
            .insert_unique(hasher(&name), tool, |tool| hasher(&tool.slot.name));
    }

    /// Frees a name; the tool is retired.
    pub(crate) fn retire(&mut self, place: Place, name: &str) -> Option<Arc<ToolState>> {
        let entry = self
            .registered
            .find_entry(place.hash, |tool| *tool.slot.name == *name)
            .ok()?;
        let (tool, _) = entry.remove();
        self.retired.push(Arc::clone(&tool.slot));
        Some(tool)
    }

    /// Puts what is left of a retired tool in its place, under its name.
    pub(crate) fn depart(&mut self, departed: Arc<Departed>) {
        self.retired.retain(|slot| slot.id != departed.id);
        self.departed.push(departed);
    }

    /// Adds what is left of a retired tool to what has no name.
    pub(crate) fn depart_nameless(&mut self, id: ToolId, reading: &ToolReading) {
        self.retired.retain(|slot| slot.id != id);
        let mut sum = ToolReading::clone(&self.nameless.reading);
        // A Vec is never full.
        let _ = sum.add(reading);
        self.nameless = Nameless {
            tools: self.nameless.tools + 1,
            reading: Arc::new(sum),
        };
    }

    fn visit(&self, visit: &mut impl FnMut(Entry<'_>)) {
        for tool in &self.registered {
            visit(Entry::Registered(&tool.slot));
        }
        for slot in &self.retired {
            visit(Entry::Retired(slot));
        }
        for departed in &self.departed {
            visit(Entry::Departed(departed));
        }
        if self.nameless.tools > 0 {
            visit(Entry::Nameless(&self.nameless));
        }
    }
}

impl Roster {
    /// The hash of a name, as tables of the shards need it.
    pub(crate) fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }
}
