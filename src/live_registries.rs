//! [`LiveRegistries`]: the registries of this process by id, so that a tool that is called by name
//! finds the registry through which it was called.
//!
//! A call by name gives its tool a [`RegistryId`]. That costs nothing to copy and to drop, while a
//! weak reference costs two additions to a shared count. The few tools that need the registry look
//! it up here.
//!
//! Promises: a registry is found from before a tool can be registered with it until its last owner is
//! dropped, and not afterwards. An id is given only once. A look-up waits for no thread, and the list
//! keeps no registry alive.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `next` | `fetch_add` | `Relaxed` | orders nothing: each id is only to be unique | |
//! | `by_id` | arc-swap's `load` and `rcu` | its own | each other | |
//!
//! Neither is loom's: a model has one registry, which is inserted before its threads begin.

use arc_swap::ArcSwapOption;
use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::Ordering;
#[cfg(not(toolmeter_loom))]
use toolmeter_core::Word;

#[cfg(toolmeter_loom)]
use std::sync::atomic::AtomicU64 as Word;

/// The id of a registry within its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RegistryId(u64);

/// Weak references to the owners of all registries, by id.
pub(crate) struct LiveRegistries<T> {
    next: Word,
    by_id: ArcSwapOption<BTreeMap<RegistryId, Weak<T>>>,
}

impl<T> LiveRegistries<T> {
    pub(crate) const fn new() -> Self {
        Self {
            next: Word::new(0),
            by_id: ArcSwapOption::const_empty(),
        }
    }

    /// Inserts an owner that is about to be made. Returns its id.
    pub(crate) fn insert(&self, weak: &Weak<T>) -> RegistryId {
        let id = RegistryId(self.next.fetch_add(1, Ordering::Relaxed));
        self.change(|by_id| {
            by_id.insert(id, Weak::clone(weak));
        });
        id
    }

    /// Removes an owner.
    pub(crate) fn remove(&self, id: RegistryId) {
        self.change(|by_id| {
            by_id.remove(&id);
        });
    }

    /// Returns the owner of this id, unless it was removed.
    pub(crate) fn find(&self, id: RegistryId) -> Option<Weak<T>> {
        self.by_id.load().as_ref()?.get(&id).cloned()
    }

    fn change(&self, change: impl Fn(&mut BTreeMap<RegistryId, Weak<T>>)) {
        self.by_id.rcu(|by_id| {
            let mut by_id = by_id.as_deref().cloned().unwrap_or_default();
            change(&mut by_id);
            (!by_id.is_empty()).then(|| by_id.into())
        });
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
