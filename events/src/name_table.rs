//! The names of tools by their ids.
//!
//! Ids are given in sequence, so names lie in chunks of 256 ids, and only chunks that have a name
//! exist.
//!
//! # Invariants
//!
//! - A clone of the table shares every chunk: it copies a number and a pointer for each.
//! - A change copies at most the chunk that it changes, and nothing if no clone shares that chunk.
//! - A chunk without names is freed.
//!
//! # Orderings
//!
//! None: a chunk is changed only while no clone shares it.

use crate::id::ToolId;
use std::{fmt, sync::Arc};

/// The number of ids in one chunk.
const CHUNK: usize = 256;

/// The names of 256 consecutive ids.
#[derive(Clone)]
struct Chunk {
    /// The number of names that are set. Never 0 in a table.
    len: usize,
    names: [Option<Arc<str>>; CHUNK],
}

/// A table of the names of tools, by id.
///
/// Cheap to clone: a clone shares all names that are not changed afterwards.
///
/// # Examples
///
/// ```
/// use toolmeter_events::{NameTable, ToolId};
///
/// let (shell, search) = (ToolId::new(7), ToolId::new(8));
/// let mut names = NameTable::default();
/// names.insert(shell, "shell");
/// let before = names.clone();
/// names.insert(search, "web_search");
/// assert_eq!((names.name(shell), names.name(search)), (Some("shell"), Some("web_search")));
/// assert_eq!(before.name(search), None);
/// ```
#[derive(Clone, Default)]
pub struct NameTable {
    /// Sorted by number. Each has at least one name.
    chunks: Vec<(u32, Arc<Chunk>)>,
    len: usize,
}

/// Returns the number of the chunk of an id, and the id's index there.
const fn locate(tool: ToolId) -> (u32, usize) {
    let id = tool.get();
    (id / CHUNK as u32, id as usize % CHUNK)
}

impl NameTable {
    /// Creates a table of these names, given in any order. If an id has two names, the first is
    /// kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::{NameTable, ToolId};
    ///
    /// let names = NameTable::new([(ToolId::new(1), "shell"), (ToolId::new(1), "bash")]);
    /// assert_eq!((names.name(ToolId::new(1)), names.len()), (Some("shell"), 1));
    /// ```
    #[must_use]
    pub fn new<N: Into<Arc<str>>>(names: impl IntoIterator<Item = (ToolId, N)>) -> Self {
        let mut table = Self::default();
        for (tool, name) in names {
            if table.name(tool).is_none() {
                table.insert(tool, name);
            }
        }
        table
    }

    /// Sets the name of a tool, and replaces any previous name.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::{NameTable, ToolId};
    ///
    /// let mut names = NameTable::default();
    /// names.insert(ToolId::new(1), "bash");
    /// names.insert(ToolId::new(1), "shell");
    /// assert_eq!((names.name(ToolId::new(1)), names.len()), (Some("shell"), 1));
    /// ```
    pub fn insert(&mut self, tool: ToolId, name: impl Into<Arc<str>>) {
        let (number, index) = locate(tool);
        let at = match self.find(number) {
            Ok(at) => at,
            Err(at) => {
                let empty = Chunk {
                    len: 0,
                    names: [const { None }; CHUNK],
                };
                self.chunks.insert(at, (number, Arc::new(empty)));
                at
            }
        };
        let chunk = Arc::make_mut(&mut self.chunks[at].1);
        if chunk.names[index].replace(name.into()).is_none() {
            chunk.len += 1;
            self.len += 1;
        }
    }

    /// Removes the name of a tool, if it has one.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::{NameTable, ToolId};
    ///
    /// let mut names = NameTable::new([(ToolId::new(1), "shell")]);
    /// names.remove(ToolId::new(1));
    /// assert!(names.is_empty());
    /// ```
    pub fn remove(&mut self, tool: ToolId) {
        let (number, index) = locate(tool);
        let Ok(at) = self.find(number) else { return };
        let chunk = &mut self.chunks[at].1;
        if chunk.names[index].is_none() {
            return;
        }
        self.len -= 1;
        if chunk.len > 1 {
            let chunk = Arc::make_mut(chunk);
            chunk.names[index] = None;
            chunk.len -= 1;
        } else {
            self.chunks.remove(at);
            if self.chunks.capacity() > 4 * self.chunks.len() {
                self.chunks.shrink_to(2 * self.chunks.len());
            }
        }
    }

    /// Returns the name of this tool, if the table has it.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::{NameTable, ToolId};
    ///
    /// let names = NameTable::new([(ToolId::new(7), "shell"), (ToolId::new(2), "web_search")]);
    /// assert_eq!(names.name(ToolId::new(7)), Some("shell"));
    /// assert_eq!(names.name(ToolId::new(8)), None);
    /// ```
    #[must_use]
    pub fn name(&self, tool: ToolId) -> Option<&str> {
        self.shared_name(tool).map(|name| &**name)
    }

    /// Returns the name of this tool as an `Arc`, which can be kept without a copy.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use toolmeter_events::{NameTable, ToolId};
    ///
    /// let shell: Arc<str> = "shell".into();
    /// let names = NameTable::new([(ToolId::new(1), Arc::clone(&shell))]);
    /// assert!(Arc::ptr_eq(names.shared_name(ToolId::new(1)).unwrap(), &shell));
    /// ```
    #[must_use]
    pub fn shared_name(&self, tool: ToolId) -> Option<&Arc<str>> {
        let (number, index) = locate(tool);
        let at = self.find(number).ok()?;
        self.chunks[at].1.names[index].as_ref()
    }

    /// Returns the number of names.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::{NameTable, ToolId};
    ///
    /// assert_eq!(NameTable::new([(ToolId::new(1), "shell")]).len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the table has no name.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::NameTable;
    ///
    /// assert!(NameTable::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the index of the chunk with this number, or as an error the index at which to insert it.
    fn find(&self, number: u32) -> Result<usize, usize> {
        self.chunks.binary_search_by_key(&number, |chunk| chunk.0)
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &Arc<str>)> {
        self.chunks.iter().flat_map(|(number, chunk)| {
            let ids = (0..CHUNK as u32).map(move |index| number * CHUNK as u32 + index);
            ids.zip(&chunk.names)
                .filter_map(|(id, name)| Some((id, name.as_ref()?)))
        })
    }
}

impl fmt::Debug for NameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Operation {
        Insert(u32, String),
        Remove(u32),
        /// Keeps a clone, which no later operation may change.
        Keep,
    }

    fn any_operation() -> impl Strategy<Value = Operation> {
        // Few enough that ids repeat, on both sides of a chunk's end, and the largest.
        let id = prop_oneof![0_u32..4, 254_u32..260, u32::MAX - 2..=u32::MAX];
        prop_oneof![
            3 => (id.clone(), "[a-c]").prop_map(|(id, name)| Operation::Insert(id, name)),
            2 => id.prop_map(Operation::Remove),
            1 => Just(Operation::Keep),
        ]
    }

    fn contents(table: &NameTable) -> Vec<(u32, String)> {
        let own = |(id, name): (u32, &Arc<str>)| (id, name.to_string());
        table.iter().map(own).collect()
    }

    proptest! {
        #[test]
        fn it_has_the_names_that_a_map_would(
            operations in prop::collection::vec(any_operation(), 0..80),
        ) {
            let mut table = NameTable::default();
            let mut map = BTreeMap::new();
            let mut kept = Vec::new();
            for operation in operations {
                match operation {
                    Operation::Insert(id, name) => {
                        table.insert(ToolId::new(id), &*name);
                        map.insert(id, name);
                    }
                    Operation::Remove(id) => {
                        table.remove(ToolId::new(id));
                        map.remove(&id);
                    }
                    Operation::Keep => kept.push((table.clone(), map.clone())),
                }
                let chunks: std::collections::BTreeSet<_> = map.keys().map(|id| id / 256).collect();
                prop_assert_eq!(table.chunks.len(), chunks.len(), "an empty chunk is left");
                prop_assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
                for id in [0, 3, 255, 256, u32::MAX] {
                    let name = table.name(ToolId::new(id));
                    prop_assert_eq!(name, map.get(&id).map(String::as_str));
                }
            }
            kept.push((table, map));
            for (table, map) in kept {
                prop_assert_eq!(contents(&table), map.into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn of_two_names_the_first_is_kept() {
        let one = ToolId::new(1);
        let names = NameTable::new([(ToolId::new(3), "c"), (one, "a"), (one, "b")]);
        assert_eq!(
            (names.len(), names.name(one), names.is_empty()),
            (2, Some("a"), false)
        );
    }

    #[test]
    fn a_change_copies_its_chunk_alone_and_only_if_it_is_shared() {
        let id = ToolId::new;
        let mut names = NameTable::new((0..1_024).map(|number| (id(number), "a")));
        let chunk = |names: &NameTable, at: usize| Arc::as_ptr(&names.chunks[at].1);
        let before = chunk(&names, 1);
        names.insert(id(300), "b");
        assert_eq!(chunk(&names, 1), before, "no clone shares it");

        let clone = names.clone();
        names.insert(id(300), "c");
        names.remove(id(301));
        for at in 0..4 {
            assert_eq!(chunk(&names, at) == chunk(&clone, at), at != 1, "{at}");
        }
        assert_eq!(
            (clone.name(id(300)), clone.name(id(301))),
            (Some("b"), Some("a"))
        );
    }

    #[test]
    fn removing_all_names_frees_the_memory() {
        let ids = || (0..256 * 64).map(ToolId::new);
        let mut names = NameTable::new(ids().map(|id| (id, "a")));
        for id in ids() {
            names.remove(id);
        }
        assert_eq!((names.chunks.len(), names.chunks.capacity()), (0, 0));
    }
}
