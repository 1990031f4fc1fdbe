//! The tools of one server, by the names that the server gives them.
//!
//! Guarantees of [`Names`]:
//!
//! - The registered tools follow the list: a tool that is no longer in it is deregistered, and one
//!   that comes back continues its counts. Tools that the host has registered itself stay.
//! - A name that is not a valid name of a tool is escaped and cut. Names that are the same then
//!   share their counts.
//! - At most [`MAX_TOOLS`] names of at most [`MAX_NAME`] bytes are kept, and no more than the
//!   registry has room for. Calls of others are unknown calls.

use crate::text::visible;
use std::collections::{HashMap, HashSet};
use toolmeter::{RegisterError, Registry, ToolHandle, ToolSpec};

/// The most tools of one server.
pub(crate) const MAX_TOOLS: usize = 10_000;
/// The longest name, in bytes. MCP recommends 128 at most.
pub(crate) const MAX_NAME: usize = 1_024;

/// A function that registers a tool, given the server's name for it and a spec with its name in the
/// registry.
type Register =
    dyn Fn(&Registry, &str, ToolSpec) -> Result<ToolHandle, RegisterError> + Send + Sync;

/// The result of registering a list of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The number of tools that are metered.
    pub tools: usize,
    /// The number of tools that are not metered, because the registry's tool limit is reached, there are
    /// more than 10,000, or the name is longer than 1,024 bytes. Their calls are counted as unknown
    /// calls.
    pub left_out: usize,
}

/// A tool of a server.
struct Entry {
    handle: ToolHandle,
    /// Set if this adapter registered it.
    is_ours: bool,
}

/// The tools of a server.
pub(crate) struct Names {
    registry: Registry,
    /// The server's name, if it is a part of the registered names.
    prefix: Option<Box<str>>,
    register: Box<Register>,
    tools: HashMap<Box<str>, Entry>,
}

impl Names {
    pub(crate) fn new(registry: &Registry, prefix: Option<&str>, register: Box<Register>) -> Self {
        Self {
            registry: registry.clone(),
            // Slashes are escaped, so that the first slash always ends the server's name.
            prefix: prefix.map(|name| visible(name).replace('/', "\\u{2f}").into()),
            register,
            tools: HashMap::new(),
        }
    }

    /// Returns the spec with which a tool of this name is registered.
    fn registered(&self, name: &str) -> ToolSpec {
        match &self.prefix {
            None => ToolSpec::lossy(name),
            Some(prefix) => ToolSpec::lossy(&format!("{prefix}/{name}")),
        }
    }

    /// Returns the tool of this name, if the server is known to have it.
    pub(crate) fn get(&self, name: &str) -> Option<ToolHandle> {
        self.tools.get(name).map(|entry| entry.handle.clone())
    }

    /// Returns the tool of this name, and adds it if it is new. `None` if there is no room for it.
    pub(crate) fn get_or_add(&mut self, name: &str) -> Option<ToolHandle> {
        if let Some(entry) = self.tools.get(name) {
            return Some(entry.handle.clone());
        }
        if self.tools.len() >= MAX_TOOLS || name.len() > MAX_NAME {
            return None;
        }
        let spec = self.registered(name);
        let (handle, is_ours) = match (self.register)(&self.registry, name, spec.clone()) {
            Ok(handle) => (handle, true),
            Err(RegisterError::Duplicate { .. }) => {
                let shares = self
                    .tools
                    .values()
                    .any(|entry| entry.is_ours && entry.handle.name() == spec.name());
                (self.registry.get(spec.name())?, shares)
            }
            Err(_) => return None,
        };
        let entry = Entry {
            handle: handle.clone(),
            is_ours,
        };
        self.tools.insert(name.into(), entry);
        Some(handle)
    }

    /// Follows a list of all tools.
    pub(crate) fn follow<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Listed {
        let listed: HashSet<&str> = names.into_iter().collect();
        // Removed tools make room for new ones.
        let gone: Vec<_> = self
            .tools
            .extract_if(|name, _| !listed.contains(&**name))
            .map(|(_, entry)| entry)
            .collect();
        self.gone(gone);
        let mut report = Listed::default();
        for name in listed {
            match self.get_or_add(name) {
                Some(_) => report.tools += 1,
                None => report.left_out += 1,
            }
        }
        report
    }

    /// Deregisters the tools of these entries, unless another entry of this server shares them.
    fn gone(&self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let kept: HashSet<&str> = self
            .tools
            .values()
            .map(|entry| entry.handle.name())
            .collect();
        for entry in entries {
            if entry.is_ours && !kept.contains(entry.handle.name()) {
                // The host may have deregistered it before.
                let _ = self.registry.deregister(entry.handle.name());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Box<Register> {
        Box::new(|registry, _, spec| registry.register(spec))
    }

    #[test]
    fn tools_that_go_and_come_keep_their_counts() {
        let registry = Registry::new();
        let mut names = Names::new(&registry, None, plain());
        assert_eq!(
            names.follow(["read", "list"]),
            Listed {
                tools: 2,
                left_out: 0
            }
        );
        names.get("read").unwrap().start().succeed();
        names.follow(["list"]);
        assert!(names.get("read").is_none() && registry.get("read").is_none());
        assert_eq!(registry.metrics().tools["read"].success(), 1);
        names.follow(["read", "list"]);
        names.get("read").unwrap().start().succeed();
        let metrics = registry.metrics();
        assert_eq!(metrics.tools["read"].success(), 2);
        assert!(!metrics.tools["read"].retired);
    }

    #[test]
    fn what_the_host_registered_stays() {
        let registry = Registry::new();
        let own = registry.register("read").unwrap();
        let mut names = Names::new(&registry, None, plain());
        names.follow(["read"]);
        names.get("read").unwrap().start().succeed();
        names.follow([]);
        assert!(registry.get("read").is_some());
        own.start().succeed();
        assert_eq!(registry.metrics().tools["read"].success(), 2);
    }

    #[test]
    fn hostile_names_are_bounded_and_share_what_they_become() {
        let registry = Registry::new();
        let mut names = Names::new(&registry, Some("a/b"), plain());
        let long = |end: &str| format!("{}{end}", "x".repeat(400));
        let (one, two, three) = (long("1"), long("2"), "y".repeat(2_000));
        let listed = names.follow(["", "\u{1b}[2J", &*one, &*two, &*three]);
        assert_eq!(
            listed,
            Listed {
                tools: 4,
                left_out: 1
            }
        );
        assert_eq!(names.get("").unwrap().name(), "a\\u{2f}b/");
        assert!(!names.get("\u{1b}[2J").unwrap().name().contains('\u{1b}'));
        let shared = names.get(&one).unwrap();
        assert_eq!(shared.id(), names.get(&two).unwrap().id());
        assert!(shared.name().len() <= 256);
        // One of the two is removed, and the other is still registered by the shared name.
        names.follow([&*two]);
        assert!(registry.get(shared.name()).is_some());
        names.follow([]);
        assert!(registry.get(shared.name()).is_none());
    }

    #[test]
    fn no_more_tools_than_there_is_room_for() {
        let registry = Registry::builder().tool_limit(3).build().unwrap();
        let mut names = Names::new(&registry, None, plain());
        let all: Vec<_> = (0..10).map(|n| format!("tool_{n}")).collect();
        let listed = names.follow(all.iter().map(|name| &**name));
        assert_eq!(
            listed,
            Listed {
                tools: 3,
                left_out: 7
            }
        );
        // Removed tools make room.
        let listed = names.follow(["other"]);
        assert_eq!(
            listed,
            Listed {
                tools: 1,
                left_out: 0
            }
        );
        names.follow([]);
        assert!(registry.get("other").is_none());
    }
}
