//! [`ToolMap`]: which tools there are, registered, retired and departed.
//!
//! A tool map is cut into shards by the hash of the name. What a shard holds is never changed:
//! registering or deregistering makes another and publishes it, so a look-up and a reading wait
//! for no thread, and the cost of a change does not depend on how many tools there are. Changes are
//! made under the registry's lock (`reclaim.rs`).
//!
//! Each shard has two parts. The *table* leads from a name to its registration, with the tool's
//! body, which is the host's; the *listing* is what readers read. So a reader, who may hold a lock
//! of ours, never is the last to hold a body, and never drops one. A tool is listed before it can
//! be found, and is found no more before it is listed as retired.
//!
//! All that is listed of one name lies in one listing, so a reader sees each name once,
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
//! | `table`, `listing` | `store` under the registry's lock, arc-swap's own | its own | `load`: a tool that is found is complete, and listed | `a_handle_that_is_found_counts`, on the stand-in |

use crate::handle::{ToolHandle, ToolReading, ToolSlot};
use crate::last_error::ErrorRecords;
use crate::swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;
use hash_table::HashTable;
use std::hash::BuildHasher;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;
use toolmeter_events::ToolId;

mod hash_table;

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

/// The tools of one part of all names. In lines of its own, as all that a look-up reads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    table: ArcSwap<HashTable>,
    listing: ArcSwap<Listing>,
}

/// What readers read.
#[derive(Clone, Debug, Default)]
struct Listing {
    registered: Vec<Arc<ToolSlot>>,
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

/// See the head of this file. In lines of its own, as all that a look-up reads.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ToolMap {
    hasher: RandomState,
    shards: Box<[Shard]>,
}

impl ToolMap {
    /// An empty tool map, for about this many tools.
    pub(crate) fn new(tools: usize) -> Self {
        let shards = tools.div_ceil(TOOLS_PER_SHARD).next_power_of_two();
        // All begin with the same empty parts.
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

    /// The hash of a name, and the shard that the name belongs to.
    #[inline]
    fn place(&self, name: &str) -> (u64, &Shard) {
        let hash = self.hasher.hash_one(name);
        // A table uses the lowest bits.
        let shard = (hash >> 32) as usize & (self.shards.len() - 1);
        (hash, &self.shards[shard])
    }

    /// The registered tool of this name.
    ///
    /// NB: inlined always, as the path of a call is: a program that also registers tools in another
    /// place left this as a call of its own, and a look-up then took 8 ns more (Intel Xeon under
    /// KVM, floor of two clock reads 17.5).
    #[inline(always)]
    pub(crate) fn find(&self, name: &str) -> Option<Found> {
        let (hash, shard) = self.place(name);
        let table = shard.table.load();
        let at = table.find(hash, name)?;
        Some(Found { table, at })
    }

    /// The retired tool of this name.
    pub(crate) fn find_retired(&self, name: &str) -> Option<Arc<ToolSlot>> {
        let listing = self.place(name).1.listing.load();
        let mut retired = listing.retired.iter();
        retired.find(|slot| *slot.name == *name).map(Arc::clone)
    }

    /// What is left of the tool of this name.
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

/// A registered tool, on loan from the table in which it was found. As long as it is held, the tools
/// of that table do not depart.
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
            None => unreachable!("it was found there, and a table does not change"),
        }
    }
}

/// Changes; the caller holds the registry's lock.
impl ToolMap {
    /// Registers a tool whose name is not registered; it takes the place of the retired or
    /// departed one of this name.
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

    /// Frees a name; the tool is retired. What was registered is returned, to be dropped when the
    /// lock is released: its body is the host's.
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

    /// Puts what is left of a retired tool in its place, under its name.
    pub(crate) fn depart(&self, departed: Arc<Departed>) {
        self.place(&departed.name).1.change_listing(|listing| {
            listing.retired.retain(|slot| slot.id != departed.id);
            listing.departed.push(departed);
        });
    }

    /// Adds what is left of a retired tool to what has no name.
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
    /// Replaces the listing. The one before is dropped by its last reader; there is nothing of the
    /// host's in it.
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
