//! [`HashTable`]: the registered tools of one shard by name, in memory that no call writes.
//!
//! A table is never changed: a registration makes another.
//!
//! Promises:
//!
//! - A name that was inserted is found, whatever the hashes are. No other name is found.
//! - What a look-up reads fills whole cache lines, the names included. So it never shares a line
//!   with memory that a thread writes at each call, such as the box of a future that the allocator
//!   placed there.
//!
//! The second promise is why this is not a ready-made hash table: hashbrown's control bytes are at
//! the end of an allocation that cannot be aligned or padded from outside. If they share a line
//! with a box that another thread writes at each of its calls, each look-up waits for that line.
//! Whether they do depends on the allocator, and differs from process to process.
//!
//! # Layout
//!
//! A [`Bucket`] holds eight hashes and the eight tools that they belong to. It fills two cache lines,
//! which the processor fetches together. The hash chooses the bucket of a tool; if that is full, the
//! tool is in the next one that is not. So a look-up ends with the first bucket that is not full. At
//! most half of all entries are occupied, so there is one.

use crate::tool_state::ToolHandle;

/// The entries of a bucket.
const ENTRIES: usize = 8;
/// The most tools for each bucket, on average.
const LOAD: usize = ENTRIES / 2;

/// The bit that is set in the hash of every tool. The hash of an empty entry is 0.
const FULL: u64 = 1 << 63;

/// Eight tools with their hashes, filled from the front.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Bucket {
    hashes: [u64; ENTRIES],
    tools: [Option<ToolHandle>; ENTRIES],
}

impl Bucket {
    #[inline]
    fn is_full(&self) -> bool {
        self.hashes[ENTRIES - 1] != 0
    }
}

/// The registrations of a shard, by name.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct HashTable {
    /// Zero of them, or a power of two.
    buckets: Box<[Bucket]>,
}

/// The place of a tool in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(usize);

impl HashTable {
    /// Returns the place of the tool of this name.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, name: &str) -> Option<Entry> {
        let (hash, last) = (hash | FULL, self.buckets.len().checked_sub(1)?);
        for step in 0..=last {
            let at = (hash as usize).wrapping_add(step) & last;
            let bucket = &self.buckets[at];
            let Some(entry) = bucket.hashes.iter().position(|its_hash| *its_hash == hash) else {
                if bucket.is_full() {
                    continue;
                }
                return None;
            };
            return match &bucket.tools[entry] {
                Some(tool) if tool.0.name.is(name) => Some(Entry(at * ENTRIES + entry)),
                _ => self.find_among_equals(hash, name),
            };
        }
        None
    }

    /// Does the same if two names have the same hash.
    #[cold]
    fn find_among_equals(&self, hash: u64, name: &str) -> Option<Entry> {
        let buckets = self.buckets.iter();
        let entries = buckets.flat_map(|bucket| bucket.hashes.iter().zip(&bucket.tools));
        let mut found = entries.map(|(its_hash, tool)| {
            let tool = tool.as_ref().filter(|_| *its_hash == hash);
            tool.is_some_and(|tool| tool.0.name.is(name))
        });
        found.position(|is_found| is_found).map(Entry)
    }

    /// Returns the tool at this place.
    #[inline]
    pub(super) fn get(&self, Entry(at): Entry) -> Option<&ToolHandle> {
        self.buckets.get(at / ENTRIES)?.tools[at % ENTRIES].as_ref()
    }

    /// Returns a table with one more tool, whose name is not in this one.
    pub(super) fn with(&self, hash: u64, tool: ToolHandle) -> Self {
        Self::of(self.entries().chain([(hash, tool)]))
    }

    /// Returns a table without the tool at this place, and the tool.
    pub(super) fn without(&self, entry: Entry) -> Option<(Self, ToolHandle)> {
        let tool = self.get(entry)?.clone();
        let others = self
            .entries()
            .filter(|(_, other)| other.0.slot.id != tool.0.slot.id);
        Some((Self::of(others), tool))
    }

    fn entries(&self) -> impl Iterator<Item = (u64, ToolHandle)> {
        self.buckets.iter().flat_map(|bucket| {
            let entries = bucket.hashes.iter().zip(&bucket.tools);
            entries.filter_map(|(hash, tool)| Some((*hash, tool.clone()?)))
        })
    }

    fn of(entries: impl Iterator<Item = (u64, ToolHandle)>) -> Self {
        let entries: Vec<_> = entries.collect();
        let count = match entries.len() {
            0 => 0,
            tools => tools.div_ceil(LOAD).next_power_of_two(),
        };
        let mut buckets: Box<[Bucket]> = (0..count).map(|_| Bucket::default()).collect();
        for (hash, tool) in entries {
            let (before, from) = buckets.split_at_mut(hash as usize & (count - 1));
            let mut empty = from.iter_mut().chain(before).flat_map(|bucket| {
                let entries = bucket.hashes.iter_mut().zip(&mut bucket.tools);
                entries.filter(|(_, tool)| tool.is_none())
            });
            match empty.next() {
                Some((its_hash, its_tool)) => (*its_hash, *its_tool) = (hash | FULL, Some(tool)),
                None => unreachable!("there are twice as many entries as tools"),
            }
        }
        Self { buckets }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
