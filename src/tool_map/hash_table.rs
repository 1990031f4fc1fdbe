//! [`HashTable`]: from a name to its registration, in memory that no call writes.
//!
//! Owns the look-up within one shard. A table is never changed: a registration makes another.
//!
//! Promises:
//!
//! - A name that was put in is found, whatever the hashes are; no other is.
//! - What a look-up reads begins on a line of its own and ends with one, the names included. So it
//!   never lies beside memory that a thread writes at each call, as the box of a future does that
//!   the allocator placed there.
//!
//! The second is why this is no ready-made hash table: the control bytes of hashbrown's are at the
//! end of an allocation that cannot be aligned or padded from outside. Beside a box that another
//! thread writes at each of its calls, each look-up would wait for that line. Which of the two lies
//! beside the other is the allocator's choice, in each process anew.
//!
//! # How it is laid out
//!
//! Eight hashes and the eight tools that they belong to fill two cache lines, which the processor
//! fetches together: a [`Line`]. The hash chooses the line in which a tool lies; if it is full, the
//! tool lies in the next one that is not. So a look-up ends with the first line that is not full. At
//! most half of all entries are, so there is one.

use crate::handle::ToolHandle;

/// Tools in a line.
const ENTRIES: usize = 8;
/// Tools for each line, on average, at most.
const LOAD: usize = ENTRIES / 2;

/// The bit that is set in the hash of every tool; the hash of an empty entry is 0.
const FULL: u64 = 1 << 63;

/// Eight tools, with their hashes. Filled from the front.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line {
    hashes: [u64; ENTRIES],
    tools: [Option<ToolHandle>; ENTRIES],
}

impl Line {
    #[inline]
    fn is_full(&self) -> bool {
        self.hashes[ENTRIES - 1] != 0
    }
}

/// The registrations of a shard, by name.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct HashTable {
    /// None, or a power of two.
    lines: Box<[Line]>,
}

/// Where a tool lies in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(usize);

impl HashTable {
    /// Returns where the tool of this name lies.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, name: &str) -> Option<Entry> {
        let (hash, last) = (hash | FULL, self.lines.len().checked_sub(1)?);
        for step in 0..=last {
            let at = (hash as usize).wrapping_add(step) & last;
            let line = &self.lines[at];
            let Some(entry) = line.hashes.iter().position(|its_hash| *its_hash == hash) else {
                if line.is_full() {
                    continue;
                }
                return None;
            };
            return match &line.tools[entry] {
                Some(tool) if tool.0.name.is(name) => Some(Entry(at * ENTRIES + entry)),
                _ => self.find_among_equals(hash, name),
            };
        }
        None
    }

    /// The same where two names have one hash.
    #[cold]
    fn find_among_equals(&self, hash: u64, name: &str) -> Option<Entry> {
        let lines = self.lines.iter();
        let entries = lines.flat_map(|line| line.hashes.iter().zip(&line.tools));
        let mut found = entries.map(|(its_hash, tool)| {
            let tool = tool.as_ref().filter(|_| *its_hash == hash);
            tool.is_some_and(|tool| tool.0.name.is(name))
        });
        found.position(|is_found| is_found).map(Entry)
    }

    /// Returns the tool that lies there.
    #[inline]
    pub(super) fn get(&self, Entry(at): Entry) -> Option<&ToolHandle> {
        self.lines.get(at / ENTRIES)?.tools[at % ENTRIES].as_ref()
    }

    /// Returns a table with one tool more, whose name is in none of them.
    pub(super) fn with(&self, hash: u64, tool: ToolHandle) -> Self {
        Self::of(self.entries().chain([(hash, tool)]))
    }

    /// Returns a table without the tool that lies there, and the tool.
    pub(super) fn without(&self, entry: Entry) -> Option<(Self, ToolHandle)> {
        let tool = self.get(entry)?.clone();
        let others = self.entries().filter(|(_, other)| other.id() != tool.id());
        Some((Self::of(others), tool))
    }

    fn entries(&self) -> impl Iterator<Item = (u64, ToolHandle)> {
        self.lines.iter().flat_map(|line| {
            let entries = line.hashes.iter().zip(&line.tools);
            entries.filter_map(|(hash, tool)| Some((*hash, tool.clone()?)))
        })
    }

    fn of(entries: impl Iterator<Item = (u64, ToolHandle)>) -> Self {
        let entries: Vec<_> = entries.collect();
        let count = match entries.len() {
            0 => 0,
            tools => tools.div_ceil(LOAD).next_power_of_two(),
        };
        let mut lines: Box<[Line]> = (0..count).map(|_| Line::default()).collect();
        for (hash, tool) in entries {
            let (before, from) = lines.split_at_mut(hash as usize & (count - 1));
            let mut empty = from.iter_mut().chain(before).flat_map(|line| {
                let entries = line.hashes.iter_mut().zip(&mut line.tools);
                entries.filter(|(_, tool)| tool.is_none())
            });
            match empty.next() {
                Some((its_hash, its_tool)) => (*its_hash, *its_tool) = (hash | FULL, Some(tool)),
                None => unreachable!("there are twice as many entries as tools"),
            }
        }
        Self { lines }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use crate::Registry;
    use std::ptr;

    fn tools(count: usize) -> Vec<ToolHandle> {
        let registry = Registry::builder()
            .pump(crate::Pump::manual())
            .build()
            .unwrap();
        let specs = (0..count).map(|number| format!("tool_{number}"));
        registry.register_all(specs).unwrap()
    }

    fn found(table: &HashTable, hash: u64, name: &str) -> Option<String> {
        let tool = table.get(table.find(hash, name)?)?;
        Some(tool.name().to_owned())
    }

    /// Each way to spread the names, the worst included: all in one line, and in the last one.
    #[test]
    fn a_name_is_found_whatever_the_hashes_are() {
        let tools = tools(100);
        let hashes: [fn(usize) -> u64; 5] = [
            |number| number as u64,
            |_| 0,
            |_| u64::MAX,
            |number| u64::MAX - number as u64 % 2,
            |number| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ];
        for hash in hashes {
            let mut table = HashTable::default();
            assert_eq!(table.find(hash(0), "tool_0"), None);
            for (number, tool) in tools.iter().enumerate() {
                table = table.with(hash(number), tool.clone());
            }
            for (number, tool) in tools.iter().enumerate() {
                let name = tool.name();
                assert_eq!(found(&table, hash(number), name).as_deref(), Some(name));
                assert_eq!(found(&table, hash(number), &format!("{name}x")), None);
                assert_eq!(found(&table, hash(number), &format!("{name}\0")), None);
                assert_eq!(found(&table, hash(number), &name[1..]), None);
            }
            assert_eq!(table.entries().count(), tools.len());
            for (number, tool) in tools.iter().enumerate() {
                let entry = table.find(hash(number), tool.name()).unwrap();
                let (rest, gone) = table.without(entry).unwrap();
                assert_eq!(gone.name(), tool.name());
                assert_eq!(rest.find(hash(number), tool.name()), None);
                assert_eq!(rest.entries().count(), tools.len() - number - 1);
                table = rest;
            }
            assert_eq!(table.lines.len(), 0);
        }
    }

    /// A name that has the hash of another is another.
    #[test]
    fn names_of_one_hash_are_told_apart() {
        let tools = tools(2);
        let table = HashTable::default().with(7, tools[0].clone());
        assert_eq!(found(&table, 7, "tool_0").as_deref(), Some("tool_0"));
        assert_eq!(found(&table, 7, "tool_1"), None);
        assert_eq!(found(&table, 8, "tool_0"), None);
    }

    #[test]
    fn what_a_look_up_reads_lies_in_lines_of_its_own() {
        assert_eq!((size_of::<Line>(), align_of::<Line>()), (128, 128));
        let parts = [
            align_of::<HashTable>(),
            align_of::<super::super::Shard>(),
            align_of::<super::super::ToolMap>(),
        ];
        assert_eq!(parts, [128; 3]);
        let tool = &tools(1)[0];
        let [state, meter, slot] = [
            ptr::from_ref(&*tool.0).addr(),
            ptr::from_ref(&*tool.0.meter).addr(),
            ptr::from_ref(&*tool.0.slot).addr(),
        ];
        assert_eq!([state % 128, meter % 128, slot % 128], [0; 3]);
        assert_eq!(size_of_val(&*tool.0) % 128, 0);
    }
}
