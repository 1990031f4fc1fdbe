//! [`Roster`]: which tools there are at one moment, registered and retired.
//!
//! A roster is never changed: registering or deregistering makes another and publishes it, so
//! whoever looks a tool up or reads all of them waits for nobody and sees one moment.

use crate::handle::{ToolSlot, ToolState};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;
use toolmeter_events::ToolId;

#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    /// Grows with each change, so that who derived something from a roster knows when to anew.
    pub(crate) version: u64,
    hasher: DefaultHashBuilder,
    registered: HashTable<Arc<ToolState>>,
    /// Tools whose name is free again but who are still held or not read to the end.
    retired: Vec<Arc<ToolSlot>>,
}

impl Roster {
    /// The registered tool of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<ToolState>> {
        self.registered
            .find(self.hasher.hash_one(name), |tool| *tool.slot.name == *name)
    }

    /// Adds a tool whose name is not registered.
    pub(crate) fn insert(&mut self, tool: Arc<ToolState>) {
        let hash = self.hasher.hash_one(&*tool.slot.name);
        let hasher = &self.hasher;
        self.registered
            .insert_unique(hash, tool, |tool| hasher.hash_one(&*tool.slot.name));
    }

    /// Frees a name; the tool is retired.
    pub(crate) fn retire(&mut self, name: &str) -> Option<Arc<ToolState>> {
        let hash = self.hasher.hash_one(name);
        let entry = self
            .registered
            .find_entry(hash, |tool| *tool.slot.name == *name)
            .ok()?;
        let (tool, _) = entry.remove();
        self.retired.push(Arc::clone(&tool.slot));
        Some(tool)
    }

    /// Takes the retired tool of this name out, to be registered again.
    pub(crate) fn revive(&mut self, name: &str) -> Option<Arc<ToolSlot>> {
        let place = self.retired.iter().position(|slot| *slot.name == *name)?;
        Some(self.retired.swap_remove(place))
    }

    /// Forgets a retired tool.
    pub(crate) fn remove_retired(&mut self, id: ToolId) {
        self.retired.retain(|slot| slot.id != id);
    }

    /// How many tools are visible.
    pub(crate) fn len(&self) -> usize {
        self.registered.len() + self.retired.len()
    }

    pub(crate) fn retired(&self) -> &[Arc<ToolSlot>] {
        &self.retired
    }

    /// Every visible tool, and whether it is retired.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (&Arc<ToolSlot>, bool)> {
        let registered = self.registered.iter().map(|tool| (&tool.slot, false));
        registered.chain(self.retired.iter().map(|slot| (slot, true)))
    }
}
