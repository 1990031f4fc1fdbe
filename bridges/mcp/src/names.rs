//! The tools of one server, by the names that the server gives them.
//!
//! Guarantees of [`Names`]:
//!
//! - The registered tools follow the list: a tool that is no longer in it is deregistered, unless
//!   another connection has it, and one that comes back continues its counts. Tools that the host
//!   has registered itself stay.
//! - The tools of a client are deregistered when it is dropped. Those of a server stay registered
//!   for its later connections.
//! - A name that is not a valid name of a tool is escaped and cut. Names that are the same then
//!   share their counts.
//! - At most [`MAX_TOOLS`] names of at most [`MAX_NAME`] bytes are kept, and no more than the
//!   registry has room for. Calls of others are unknown calls.

use crate::held::{self, Held, Tool};
use crate::link::Link;
use crate::remote::Remote;
use crate::text::visible;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use toolmeter::{Registry, ToolSpec};

/// The most tools of one server.
pub(crate) const MAX_TOOLS: usize = 10_000;
/// The longest name, in bytes. MCP recommends 128 at most.
pub(crate) const MAX_NAME: usize = 1_024;

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

/// The tools of a server, on one connection.
pub(crate) struct Names {
    registry: Registry,
    held: Arc<Held>,
    /// The number of the connection.
    connection: u64,
    /// The server's name, if it is a part of the registered names.
    prefix: Option<Box<str>>,
    /// The link by which the tools are called. A server has none.
    link: Option<Arc<Link>>,
    tools: HashMap<Box<str>, Tool>,
}

impl Names {
    pub(crate) fn new(registry: &Registry, prefix: Option<&str>, link: Option<&Arc<Link>>) -> Self {
        Self {
            registry: registry.clone(),
            held: Held::of(registry),
            connection: held::next_number(),
            // Slashes are escaped, so that the first slash always ends the server's name.
            prefix: prefix.map(|name| visible(name).replace('/', "\\u{2f}").into()),
            link: link.cloned(),
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
    pub(crate) fn get(&self, name: &str) -> Option<Tool> {
        self.tools.get(name).cloned()
    }

    /// Returns the tool of this name, and adds it if it is new. `None` if there is no room for it.
    pub(crate) fn get_or_add(&mut self, name: &str) -> Option<Tool> {
        if let Some(tool) = self.tools.get(name) {
            return Some(tool.clone());
        }
        if self.tools.len() >= MAX_TOOLS || name.len() > MAX_NAME {
            return None;
        }
        let spec = self.registered(name);
        let holder = (self.connection, name.into());
        let link = self.link.as_ref();
        let register = || match link {
            None => self.registry.register(spec.clone()),
            Some(_) => (self.registry).register_tool(Remote::new(spec.clone(), &self.held)),
        };
        let tool = (self.held).hold(&self.registry, spec.name(), &holder, link, register)?;
        self.tools.insert(name.into(), tool.clone());
        Some(tool)
    }

    /// Follows a list of all tools.
    pub(crate) fn follow<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Listed {
        let listed: HashSet<&str> = names.into_iter().collect();
        // Removed tools make room for new ones. A tool that the host deregistered is registered
        // again.
        let registry = &self.registry;
        let is_gone = |name: &str, tool: &Tool| {
            !listed.contains(name) || registry.tool(tool.name()).is_none()
        };
        let gone: Vec<_> = self
            .tools
            .extract_if(|name, tool| is_gone(name, tool))
            .collect();
        for (name, tool) in gone {
            self.release(name, &tool);
        }
        let mut report = Listed::default();
        for name in listed {
            match self.get_or_add(name) {
                Some(_) => report.tools += 1,
                None => report.left_out += 1,
            }
        }
        if let (Some(prefix), Some(_)) = (&self.prefix, &self.link) {
            // The tools that only a lost connection to the same server had. This is last, so that
            // the tools that both have stay registered.
            self.held
                .release_closed(&self.registry, &format!("{prefix}/"));
        }
        report
    }

    /// Releases a tool that was removed from `tools`.
    fn release(&self, name: Box<str>, tool: &Tool) {
        let holder = (self.connection, name);
        self.held.release(&self.registry, tool.name(), &holder);
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for (name, tool) in std::mem::take(&mut self.tools) {
            match self.link {
                Some(_) => self.release(name, &tool),
                None => {
                    let holder = (self.connection, name);
                    self.held.leave(&self.registry, tool.name(), &holder);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toolmeter::ToolHandle;

    fn handle(names: &Names, name: &str) -> ToolHandle {
        names.get(name).unwrap().handle(&names.registry).unwrap()
    }

    #[test]
    fn tools_that_go_and_come_keep_their_counts() {
        let registry = Registry::new();
        let mut names = Names::new(&registry, None, None);
        assert_eq!(
            names.follow(["read", "list"]),
            Listed {
                tools: 2,
                left_out: 0
            }
        );
        handle(&names, "read").start().succeed();
        names.follow(["list"]);
        assert!(names.get("read").is_none() && registry.get("read").is_none());
        assert_eq!(registry.metrics().tools["read"].success(), 1);
        names.follow(["read", "list"]);
        handle(&names, "read").start().succeed();
        let metrics = registry.metrics();
        assert_eq!(metrics.tools["read"].success(), 2);
        assert!(!metrics.tools["read"].retired);
    }

    #[test]
    fn what_the_host_registered_stays() {
        let registry = Registry::new();
        let own = registry.register("read").unwrap();
        let mut names = Names::new(&registry, None, None);
        names.follow(["read"]);
        handle(&names, "read").start().succeed();
        names.follow([]);
        assert!(registry.get("read").is_some());
        own.start().succeed();
        assert_eq!(registry.metrics().tools["read"].success(), 2);
    }

    #[test]
    fn hostile_names_are_bounded_and_share_what_they_become() {
        let registry = Registry::new();
        let mut names = Names::new(&registry, Some("a/b"), None);
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
        assert_eq!(handle(&names, "").name(), "a\\u{2f}b/");
        assert!(!handle(&names, "\u{1b}[2J").name().contains('\u{1b}'));
        let shared = handle(&names, &one);
        assert_eq!(shared.id(), handle(&names, &two).id());
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
        let mut names = Names::new(&registry, None, None);
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
