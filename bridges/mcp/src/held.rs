//! The tools of a registry that this crate registered, and the connections that have each of them.
//!
//! Guarantees of [`Held`], of which a registry has one for all its connections:
//!
//! - A tool is registered when the first connection has it, and deregistered when the last one
//!   [releases](Held::release) it.
//! - A tool that the host has registered itself stays, unless the host first deregistered a tool of
//!   that name which a connection had.
//! - A call by name goes to the newest open connection, if there is one.
//!
//! A table changes under its lock, together with the registry. Foreign code does not run under it:
//! a value that may be the last reference to a value of the host is dropped after the lock.
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

/// The connections that have a tool, the oldest first. That of a client has the link by which the
/// tool is called, that of a server has none.
type Holders = BTreeMap<Holder, Option<Arc<Link>>>;

/// The tools that this crate registered in one registry, by the names that they have there.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<Box<str>, Holders>>);

/// A tool that a connection has.
pub(crate) struct Tool {
    pub(crate) handle: ToolHandle,
    /// True unless the host has registered the tool itself.
    pub(crate) is_held: bool,
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
        holder: Holder,
        link: Option<&Arc<Link>>,
        register: impl FnOnce() -> Result<ToolHandle, RegisterError>,
    ) -> Option<Tool> {
        let mut table = lock(&self.0);
        let handle = match register() {
            Ok(handle) => handle,
            Err(RegisterError::Duplicate { .. }) => {
                let handle = registry.get(name)?;
                if !table.contains_key(name) {
                    return Some(Tool {
                        handle,
                        is_held: false,
                    });
                }
                handle
            }
            Err(_) => return None,
        };
        let holders = table.entry(name.into()).or_default();
        holders.insert(holder, link.cloned());
        Some(Tool {
            handle,
            is_held: true,
        })
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
        let mut table = lock(&self.0);
        let Some(holders) = table.get_mut(name) else {
            return;
        };
        let before = holders.len();
        holders.retain(|holder, link| !is_gone(holder, link.as_deref()));
        if holders.len() == before || !holders.is_empty() {
            return;
        }
        table.remove(name);
        // The host may have registered a tool of its own under the name. It is dropped after the lock.
        let tool = registry.get(name);
        let _ = registry.deregister(name);
        drop(table);
        drop(tool);
    }

    /// Removes a connection from those that have a tool. The tool stays registered.
    pub(crate) fn leave(&self, registry: &Registry, name: &str, holder: &Holder) {
        let mut table = lock(&self.0);
        if let Some(holders) = table.get_mut(name) {
            holders.remove(holder);
            if holders.is_empty() && registry.tool(name).is_none() {
                table.remove(name);
            }
        }
    }

    /// Returns the connection by which a tool is called, and the server's name for the tool.
    pub(crate) fn route(&self, name: &str) -> Option<(Arc<Link>, Box<str>)> {
        let table = lock(&self.0);
        let mut routes = table
            .get(name)?
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

    /// Lets a connection hold the tool `read`. Returns whether it does.
    fn hold(held: &Held, registry: &Registry, holder: &Holder) -> bool {
        let register = || registry.register("read");
        let tool = held.hold(registry, "read", holder.clone(), None, register);
        tool.unwrap().is_held
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
        let [one, two] = [(0, "read".into()), (1, "read".into())];
        assert!(hold(&held, &registry, &one) && hold(&held, &registry, &two));
        held.release(&registry, "read", &one);
        held.release(&registry, "read", &one);
        assert!(registry.get("read").is_some());
        held.release(&registry, "read", &two);
        assert!(registry.get("read").is_none());
        assert!(lock(&held.0).is_empty());
    }

    #[test]
    fn a_tool_that_the_last_has_left_still_is_ours() {
        let registry = Registry::new();
        let held = Held::of(&registry);
        let [one, two] = [(0, "read".into()), (1, "read".into())];
        assert!(hold(&held, &registry, &one));
        held.leave(&registry, "read", &one);
        assert!(registry.get("read").is_some());
        assert!(hold(&held, &registry, &two));
        registry.deregister("read").unwrap();
        held.leave(&registry, "read", &two);
        assert!(lock(&held.0).is_empty());
        // From here on it is the host's own.
        registry.register("read").unwrap();
        assert!(!hold(&held, &registry, &one));
        held.release(&registry, "read", &one);
        assert!(registry.get("read").is_some());
    }
}
