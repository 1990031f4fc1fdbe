//! [`ToolMap`]: all tools of a registry, registered, retired and departed.
//!
//! A tool map is divided into shards by the hash of the name. The contents of a shard are never
//! changed: registering or deregistering a tool makes new contents and publishes them. So look-ups
//! and readings wait for no thread, and the cost of a change does not depend on the number of tools.
//! Changes are made under the registration lock (`reclaim.rs`).
//!
//! Each shard has two parts. The *table* leads from a name to its registration, which owns the
//! host's tool; the *listing* is what readers read. So a reader, which may hold a lock of ours,
//! never drops a tool of the host. A tool is listed before it can be found, and can no longer be
//! found when it is listed as retired.
//!
//! All entries of one name are in one listing, so a reader sees each name once, as it was at one
//! moment:
//!
//! | state | meaning | place of its counts |
//! | --- | --- | --- |
//! | registered | the name leads to it | in a slot, on top of the reading it departed with before |
//! | retired | the name is free, but a handle may be left | the same |
//! | departed | no handle is left | in a compact reading |
//! | nameless | departed when as many names had departed as the limit allows | added up with others of its shard |
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `table`, `listing` | `store` under the registration lock, arc-swap's own | its own | `load`: a tool that is found is complete, and listed | `a_handle_that_is_found_counts`, on the stand-in |

use crate::last_error::ErrorRecords;
use crate::swap::{ArcSwap, Guard};
use crate::tool_slot::{ToolReading, ToolSlot};
use crate::tool_state::ToolHandle;
use foldhash::fast::RandomState;
use hash_table::HashTable;
use std::hash::BuildHasher;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;
use toolmeter_events::ToolId;

mod hash_table;

/// The number of tools for which a shard is made.
const TOOLS_PER_SHARD: usize = 32;
/// The largest number of shards.
const MAX_SHARDS: usize = if cfg!(toolmeter_loom) { 1 } else { 4_096 };

/// A tool that has no handle any more.
#[derive(Debug)]
pub(crate) struct Departed {
    pub(crate) id: ToolId,
    pub(crate) name: Arc<str>,
    pub(crate) registered_at: SystemTime,
    /// All that was ever counted under the name.
    pub(crate) reading: Arc<ToolReading>,
    pub(crate) errors: Option<Arc<ErrorRecords>>,
}

/// Departed tools without their names, added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nameless {
    pub(crate) tools: u64,
    pub(crate) reading: Arc<ToolReading>,
}

/// The tools of one part of all names. It has cache lines of its own, as has all that a look-up
/// reads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    table: ArcSwap<HashTable>,
    listing: ArcSwap<Listing>,
}

/// The tools of a shard as readers see them.
#[derive(Clone, Debug, Default)]
struct Listing {
    registered: Vec<Arc<ToolSlot>>,
    retired: Vec<Arc<ToolSlot>>,
    departed: Vec<Arc<Departed>>,
    nameless: Nameless,
}

/// One tool, or the nameless tools of one shard, as a reader sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    Registered(&'a Arc<ToolSlot>),
    Retired(&'a Arc<ToolSlot>),
    Departed(&'a Arc<Departed>),
    Nameless(&'a Nameless),
}

/// All tools of a registry. It has cache lines of its own, as has all that a look-up reads.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ToolMap {
    hasher: RandomState,
    shards: Box<[Shard]>,
}

impl ToolMap {
    /// Creates an empty tool map for about this many tools.
    pub(crate) fn new(tools: usize) -> Self {
        let shards = tools.div_ceil(TOOLS_PER_SHARD).next_power_of_two();
        // All shards begin with the same empty parts.
        let (table, listing) = (Arc::default(), Arc::default());
        let shards = (0..shards.min(MAX_SHARDS)).map(|_| Shard {
            table: ArcSwap::new(Arc::clone(&table)),
            listing: ArcSwap::new(Arc::clone(&listing)),
        });
        Self {
            hasher: RandomState::default(),
            shards: shards.collect(),
        }
    }

    /// Returns the hash of a name, and the shard of the name.
    #[inline]
    fn place(&self, name: &str) -> (u64, &Shard) {
        let hash = self.hasher.hash_one(name);
        // A table uses the low bits.
        let shard = (hash >> 32) as usize & (self.shards.len() - 1);
        (hash, &self.shards[shard])
    }

    /// Returns the registered tool of this name.
    ///
    /// NB: always inlined, as the path of a call is: in a program that registers tools in another
    /// place, the compiler left this as a call, and a look-up then took 8 ns more (Intel Xeon under
    /// KVM, floor of two clock reads 17.5).
    #[inline(always)]
    pub(crate) fn find(&self, name: &str) -> Option<Found> {
        let (hash, shard) = self.place(name);
        let table = shard.table.load();
        let at = table.find(hash, name)?;
        Some(Found { table, at })
    }

    /// Returns the retired tool of this name.
    pub(crate) fn find_retired(&self, name: &str) -> Option<Arc<ToolSlot>> {
        let listing = self.place(name).1.listing.load();
        let mut retired = listing.retired.iter();
        retired.find(|slot| *slot.name == *name).map(Arc::clone)
    }

    /// Returns the departed tool of this name.
    pub(crate) fn find_departed(&self, name: &str) -> Option<Arc<Departed>> {
        let listing = self.place(name).1.listing.load();
        let mut departed = listing.departed.iter();
        departed.find(|tool| *tool.name == *name).map(Arc::clone)
    }

    /// Visits every tool, shard by shard.
    pub(crate) fn visit(&self, mut visit: impl FnMut(Entry<'_>)) {
        for shard in &self.shards {
            shard.listing.load().visit(&mut visit);
        }
    }
}

/// A registered tool, borrowed from the table in which it was found. While this is held, no tool of
/// that table departs.
pub(crate) struct Found {
    table: Guard<Arc<HashTable>>,
    at: hash_table::Entry,
}

impl Deref for Found {
    type Target = ToolHandle;

    #[inline]
    fn deref(&self) -> &ToolHandle {
        match self.table.get(self.at) {
            Some(tool) => tool,
            None => unreachable!("the tool was found there, and a table does not change"),
        }
    }
}

/// Changes, for which the caller holds the registration lock.
impl ToolMap {
    /// Registers a tool whose name is not registered. It replaces the retired or departed tool of
    /// this name.
    pub(crate) fn register(&self, tool: ToolHandle) {
        let slot = Arc::clone(&tool.0.slot);
        let (hash, shard) = self.place(&slot.name);
        shard.change_listing(|listing| {
            listing.retired.retain(|retired| retired.name != slot.name);
            listing.departed.retain(|tool| tool.name != slot.name);
            listing.registered.push(Arc::clone(&slot));
        });
        let table = shard.table.load().with(hash, tool);
        shard.table.store(Arc::new(table));
    }

    /// Frees a name, and lists its tool as retired. Returns the registration, to be dropped after the
    /// lock is released: its tool is the host's.
    pub(crate) fn retire(&self, name: &str) -> Option<ToolHandle> {
        let (hash, shard) = self.place(name);
        let table = shard.table.load();
        let (others, tool) = table.without(table.find(hash, name)?)?;
        shard.table.store(Arc::new(others));
        let slot = Arc::clone(&tool.0.slot);
        shard.change_listing(|listing| {
            listing.registered.retain(|tool| tool.id != slot.id);
            listing.retired.push(slot);
        });
        Some(tool)
    }

    /// Replaces a retired tool by its departed one.
    pub(crate) fn depart(&self, departed: Arc<Departed>) {
        self.place(&departed.name).1.change_listing(|listing| {
            listing.retired.retain(|slot| slot.id != departed.id);
            listing.departed.push(departed);
        });
    }

    /// Adds the reading of a retired tool to the nameless tools, and removes the tool.
    pub(crate) fn depart_nameless(&self, slot: &ToolSlot, reading: &ToolReading) {
        self.place(&slot.name).1.change_listing(|listing| {
            listing.retired.retain(|retired| retired.id != slot.id);
            let mut sum = ToolReading::clone(&listing.nameless.reading);
            // A Vec is never full.
            let _ = sum.add(reading);
            listing.nameless = Nameless {
                tools: listing.nameless.tools + 1,
                reading: Arc::new(sum),
            };
        });
    }
}

impl Shard {
    /// Replaces the listing. The last reader of the one before drops it; it holds nothing of the
    /// host's.
    fn change_listing(&self, change: impl FnOnce(&mut Listing)) {
        let mut changed = Listing::clone(&self.listing.load());
        change(&mut changed);
        self.listing.store(Arc::new(changed));
    }
}

impl Listing {
    fn visit(&self, visit: &mut impl FnMut(Entry<'_>)) {
        for slot in &self.registered {
            visit(Entry::Registered(slot));
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
