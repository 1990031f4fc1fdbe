//! The names of the servers: as they are configured, and as they are registered.
//!
//! A tool is registered as `server/tool`. A slash in the server's name is escaped there, so that the
//! first slash ends it.

use crate::servers::Server;
use std::collections::HashSet;
use toolmeter::ToolSpec;

/// A server's name, in its forms.
struct Name {
    configured: String,
    registered: String,
}

/// The names of all servers, the longest first.
#[derive(Default)]
pub(crate) struct Names(Vec<Name>);

/// Returns the name under which the tools of a server are registered.
pub(crate) fn registered(server: &str) -> String {
    ToolSpec::lossy(server).name().replace('/', "\\u{2f}")
}

impl Names {
    /// Collects the names of the servers.
    ///
    /// # Errors
    ///
    /// If two servers have the same name: their tools could not be told apart.
    pub(crate) fn of(servers: &[Server]) -> Result<Self, String> {
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for Server { name, .. } in servers {
            let registered = registered(name);
            if !seen.insert(registered.clone()) {
                return Err(format!("two servers have the name {name}"));
            }
            names.push(Name {
                configured: name.clone(),
                registered,
            });
        }
        names.sort_by_key(|name| std::cmp::Reverse(name.configured.len()));
        Ok(Self(names))
    }

    /// Returns the registered name of `server/tool`. `None` if there is no such server.
    pub(crate) fn given(&self, tool: &str) -> Option<String> {
        self.0.iter().find_map(|name| {
            let tool = tool.strip_prefix(&name.configured)?.strip_prefix('/')?;
            Some(format!("{}/{tool}", name.registered))
        })
    }
}
