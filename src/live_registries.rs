//! The registries of this process that live, by number: how a tool that is called by name finds
//! the registry through which it was called.
//!
//! Owns that list. A call by name gives its tool a [`RegistryId`], which costs nothing to make and
//! to drop, where a weak reference costs two additions to a count; the few tools that ask for the
//! registry look it up here.
//!
//! Promises: a registry is found from before anything can be registered with it until its last
//! owner goes, and never afterwards; a number is never given again; a look-up waits for no thread,
//! and the list keeps no registry alive.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `next` | `fetch_add` | `Relaxed` | orders nothing: only a number of its own | |
//! | `by_id` | arc-swap's `load` and `rcu` | its own | each other | |
//!
//! Neither is loom's: a model has one registry, which enters before its threads begin.

use arc_swap::ArcSwapOption;
use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::Ordering;
#[cfg(not(toolmeter_loom))]
use toolmeter_core::Word;

#[cfg(toolmeter_loom)]
use std::sync::atomic::AtomicU64 as Word;

/// The number of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RegistryId(u64);

/// Entries of the process, each a weak reference to a `T`.
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

    /// Enters one that is about to be made.
    pub(crate) fn enter(&self, weak: &Weak<T>) -> RegistryId {
        let id = RegistryId(self.next.fetch_add(1, Ordering::Relaxed));
        self.change(|by_id| {
            by_id.insert(id, Weak::clone(weak));
        });
        id
    }

    /// Takes one out that ends.
    pub(crate) fn leave(&self, id: RegistryId) {
        self.change(|by_id| {
            by_id.remove(&id);
        });
    }

    /// Returns the reference, if it has not left.
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
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};
    use std::thread;

    #[test]
    fn one_is_found_until_it_leaves_and_its_number_is_no_others() {
        let living = LiveRegistries::new();
        let (first, second) = (Arc::new(1), Arc::new(2));
        let ids = [&first, &second].map(|one| living.enter(&Arc::downgrade(one)));
        let found = |id| {
            living
                .find(id)
                .and_then(|one| one.upgrade())
                .as_deref()
                .copied()
        };
        assert_eq!(ids.map(found), [Some(1), Some(2)]);
        living.leave(ids[0]);
        assert_eq!(ids.map(found), [None, Some(2)]);
        let third = living.enter(&Arc::downgrade(&first));
        assert!(!ids.contains(&third));
        assert_eq!(ids.map(found), [None, Some(2)]);
        // It keeps none of them.
        drop(second);
        assert_eq!(found(ids[1]), None);
        for id in [ids[1], third] {
            living.leave(id);
        }
        assert!(living.by_id.load().is_none());
    }

    /// Threads that enter and leave at the same time do not undo each other's changes.
    #[test]
    fn changes_at_the_same_time_are_all_made() {
        const THREADS: usize = 4;
        let living = LiveRegistries::new();
        let begin = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    begin.wait();
                    for number in 0..500 {
                        let one = Arc::new(number);
                        let id = living.enter(&Arc::downgrade(&one));
                        assert_eq!(living.find(id).and_then(|one| one.upgrade()), Some(one));
                        living.leave(id);
                        assert!(living.find(id).is_none());
                    }
                });
            }
        });
        assert!(living.by_id.load().is_none());
    }
}
