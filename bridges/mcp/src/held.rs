//! The tools of a registry that connections have, and which connections have each of them.
//!
//! Guarantees of [`Held`], of which a registry has one for all its connections:
//!
//! - A tool is registered when the first connection has it, and deregistered when the last one
//!   [releases](Held::release) it.
//! - A tool that the host has registered itself stays, unless the host first deregistered a tool of
//!   that name which a connection had registered. No handle of it is kept.
//! - A call by name goes to the open connection that was made last, if there is one.
//! - Tools that no connection has any more make room for others when the registry's limit is
//!   reached.
//!
//! # Invariant
//!
//! A connection is among the holders of a tool before it registers the tool, and a tool is
//! deregistered under the lock, after its last holder was removed. So a tool with a holder is not
//! deregistered. Registering a tool reads the host's wall clock, so it is done outside of the lock.
//! Under the lock, the host's code runs only if the host replaces a tool at that moment, whose last
//! handle is then dropped.
//!
//! # Orderings
//!
//! | word | orderings | why |
//! | --- | --- | --- |
//! | `NUMBER` | `Relaxed` | it publishes nothing, and a later connection gets a greater number all the same |
//!
//! All else is under two locks, of which none is taken while the other is held.

use crate::link::Link;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use toolmeter::{RegisterError, Registry, ToolHandle, WeakRegistry};

/// The number of the next connection.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The tables of the registries that have one.
static TABLES: Mutex<Vec<(WeakRegistry, Arc<Held>)>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection, by its number, and its name for a tool.
type Holder = (u64, Box<str>);

/// A tool that connections have.
#[derive(Default)]
struct Entry {
    /// The connections that have it, the oldest first. That of a client has the link by which the
    /// tool is called, that of a server has none.
    holders: BTreeMap<Holder, Option<Arc<Link>>>,
    /// Whether a connection registered the tool, so that the last one deregisters it.
    is_ours: bool,
}

/// The tools that connections have, by the names that they have in the registry.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<Box<str>, Entry>>);

/// A tool that a connection has.
#[derive(Clone)]
pub(crate) enum Tool {
    /// The connection registered it.
    Ours(ToolHandle),
    /// It was registered before, by this name, perhaps by the host.
    Named(Box<str>),
}

impl Tool {
    /// Returns the name in the registry.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Ours(handle) => handle.name(),
            Self::Named(name) => name,
        }
    }

    /// Returns the tool's handle, unless the host has deregistered it.
    pub(crate) fn handle(self, registry: &Registry) -> Option<ToolHandle> {
        match self {
            Self::Ours(handle) => Some(handle),
            Self::Named(name) => registry.get(&name),
        }
    }
}

/// Returns a number that is greater than those of all connections before.
pub(crate) fn next_number() -> u64 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Held {
    /// Returns the table of a registry.
    pub(crate) fn of(registry: &Registry) -> Arc<Self> {
        // Any of them may be the last clone of its registry when it is dropped here.
        let mut alive = Vec::new();
        let mut found = None;
        let mut tables = lock(&TABLES);
        tables.retain(|(registry_of, table)| match registry_of.upgrade() {
            None => false,
            Some(other) => {
                if other.ptr_eq(registry) {
                    found = Some(Arc::clone(table));
                }
                alive.push(other);
                true
            }
        });
        let table = found.unwrap_or_else(|| {
            let table = Arc::<Self>::default();
            tables.push((registry.downgrade(), Arc::clone(&table)));
            table
        });
        drop(tables);
        drop(alive);
        table
    }

    /// Adds a connection to those that have a tool, and registers the tool unless it is registered.
    /// Returns `None` if the registry has no room for it.
    pub(crate) fn hold(
        &self,
        registry: &Registry,
        name: &str,
        holder: &Holder,
        link: Option<&Arc<Link>>,
        register: impl Fn() -> Result<ToolHandle, RegisterError>,
    ) -> Option<Tool> {
        {
            let mut table = lock(&self.0);
            let entry = table.entry(name.into()).or_default();
            entry.holders.insert(holder.clone(), link.cloned());
        }
        let registered = match register() {
            Err(RegisterError::TooManyTools { .. }) if self.make_room(registry) => register(),
            registered => registered,
        };
        match registered {
            Ok(handle) => {
                if let Some(entry) = lock(&self.0).get_mut(name) {
                    entry.is_ours = true;
                }
                Some(Tool::Ours(handle))
            }
            Err(RegisterError::Duplicate { .. }) => Some(Tool::Named(name.into())),
            Err(_) => {
                self.release(registry, name, holder);
                None
            }
        }
    }

    /// Deregisters the tools that no connection has. Returns whether there were any.
    fn make_room(&self, registry: &Registry) -> bool {
        let mut table = lock(&self.0);
        let left = table.extract_if(|_, entry| entry.holders.is_empty());
        left.filter(|(name, entry)| entry.is_ours && registry.deregister(name).is_ok())
            .count()
            > 0
    }

    /// Removes a connection from those that have a tool. Deregisters the tool if it was the last.
    pub(crate) fn release(&self, registry: &Registry, name: &str, holder: &Holder) {
        self.release_where(registry, name, |other, _| other == holder);
    }

    /// Removes closed connections from those that have a tool whose name starts with `start`.
    pub(crate) fn release_closed(&self, registry: &Registry, start: &str) {
        let names: Vec<_> = {
            let table = lock(&self.0);
            let names = table.keys().filter(|name| name.starts_with(start));
            names.cloned().collect()
        };
        for name in names {
            self.release_where(registry, &name, |_, link| link.is_some_and(Link::is_closed));
        }
    }

    fn release_where(
        &self,
        registry: &Registry,
        name: &str,
        is_gone: impl Fn(&Holder, Option<&Link>) -> bool,
    ) {
        // The host may have registered a tool of its own under the name. It is dropped after the lock.
        let _tool = registry.get(name);
        let mut table = lock(&self.0);
        let Some(entry) = table.get_mut(name) else {
            return;
        };
        let before = entry.holders.len();
        entry
            .holders
            .retain(|holder, link| !is_gone(holder, link.as_deref()));
        if entry.holders.len() == before || !entry.holders.is_empty() {
            return;
        }
        let is_ours = entry.is_ours;
        table.remove(name);
        if is_ours {
            let _ = registry.deregister(name);
        }
    }

    /// Removes a connection from those that have a tool. The tool stays registered.
    pub(crate) fn leave(&self, registry: &Registry, name: &str, holder: &Holder) {
        // Dropped after the lock, as above.
        let tool = registry.get(name);
        let mut table = lock(&self.0);
        if let Some(entry) = table.get_mut(name) {
            entry.holders.remove(holder);
            if entry.holders.is_empty() && (tool.is_none() || !entry.is_ours) {
                table.remove(name);
            }
        }
    }

    /// Returns the connection by which a tool is called, and the server's name for the tool.
    pub(crate) fn route(&self, name: &str) -> Option<(Arc<Link>, Box<str>)> {
        let table = lock(&self.0);
        let mut routes = table
            .get(name)?
            .holders
            .iter()
            .rev()
            .filter_map(|((_, name), link)| Some((link.as_ref()?, name)));
        let newest = routes.next()?;
        let open = std::iter::once(newest)
            .chain(routes)
            .find(|(link, _)| !link.is_closed());
        let (link, name) = open.unwrap_or(newest);
        Some((Arc::clone(link), name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(number: u64) -> Holder {
        (number, "read".into())
    }

    /// Lets a connection hold the tool `read`. Returns whether it registered the tool.
    fn hold(held: &Held, registry: &Registry, number: u64) -> bool {
        let register = || registry.register("read");
        let tool = held.hold(registry, "read", &holder(number), None, register);
        matches!(tool.unwrap(), Tool::Ours(_))
    }

    #[test]
    fn a_registry_has_one_table_and_its_clones_have_the_same() {
        let (one, two) = (Registry::new(), Registry::new());
        let table = Held::of(&one);
        assert!(Arc::ptr_eq(&table, &Held::of(&one.clone())));
        assert!(!Arc::ptr_eq(&table, &Held::of(&two)));
        drop(one);
        // The table of a registry that is gone is dropped when another is asked for, unless another
        // thread is looking at the registry just then.
        let weak = Arc::downgrade(&table);
        drop(table);
        let is_gone = (0..100_000).any(|_| {
            let _ = Held::of(&two);
            std::thread::yield_now();
            weak.upgrade().is_none()
        });
        assert!(is_gone);
    }

    #[test]
    fn a_tool_goes_with_the_last_that_has_it() {
        let registry = Registry::new();
        let held = Held::of(&registry);
        assert!(hold(&held, &registry, 0) && !hold(&held, &registry, 1));
        held.release(&registry, "read", &holder(0));
        held.release(&registry, "read", &holder(0));
        assert!(registry.get("read").is_some());
        held.release(&registry, "read", &holder(1));
        assert!(registry.get("read").is_none());
        assert!(lock(&held.0).is_empty());
    }

    #[test]
    fn a_tool_that_the_last_has_left_still_is_ours() {
        let registry = Registry::new();
        let held = Held::of(&registry);
        assert!(hold(&held, &registry, 0));
        held.leave(&registry, "read", &holder(0));
        assert!(!hold(&held, &registry, 1));
        held.release(&registry, "read", &holder(1));
        assert!(registry.get("read").is_none());
        assert!(hold(&held, &registry, 2));
        registry.deregister("read").unwrap();
        held.leave(&registry, "read", &holder(2));
        assert!(lock(&held.0).is_empty());
    }

    #[test]
    fn a_tool_of_the_hosts_stays_until_a_connection_registers_it_again() {
        let registry = Registry::new();
        let held = Held::of(&registry);
        registry.register("read").unwrap();
        assert!(!hold(&held, &registry, 0));
        held.release(&registry, "read", &holder(0));
        assert!(registry.get("read").is_some());
        held.leave(&registry, "read", &holder(0));
        assert!(lock(&held.0).is_empty());

        // The first connection has it still when the second, which registered it, is gone.
        assert!(!hold(&held, &registry, 0));
        registry.deregister("read").unwrap();
        assert!(hold(&held, &registry, 1));
        held.release(&registry, "read", &holder(1));
        assert!(registry.get("read").is_some());
        held.release(&registry, "read", &holder(0));
        assert!(registry.get("read").is_none());
    }

    #[test]
    fn what_no_connection_has_makes_room() {
        let registry = Registry::builder().tool_limit(2).build().unwrap();
        let held = Held::of(&registry);
        assert!(hold(&held, &registry, 0));
        held.leave(&registry, "read", &holder(0));
        registry.register("the host's").unwrap();
        let register = || registry.register("list");
        let tool = held.hold(&registry, "list", &(1, "list".into()), None, register);
        assert!(tool.is_some());
        assert!(registry.get("read").is_none());
        // There is no more to give up.
        let register = || registry.register("hash");
        let tool = held.hold(&registry, "hash", &(1, "hash".into()), None, register);
        assert!(tool.is_none());
        assert_eq!(lock(&held.0).len(), 1);
    }
}
