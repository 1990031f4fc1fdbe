//! The names of the servers: as they are configured, as they are registered, and as agents record
//! them.
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
    /// As a part of the name of a tool that a provider of models accepts.
    plain: String,
}

/// The names of all servers, the longest first.
#[derive(Default)]
pub(crate) struct Names(Vec<Name>);

/// Returns the name under which the tools of a server are registered.
pub(crate) fn registered(server: &str) -> String {
    ToolSpec::lossy(server).name().replace('/', "\\u{2f}")
}

/// Replaces what is no letter, digit or underscore.
fn plain(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
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
                plain: plain(name),
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

    /// Returns the registered name of a tool that an agent recorded as `mcp__server__tool`, as
    /// `server__tool` or as `server/tool`. `None` if there is no such server.
    pub(crate) fn recorded(&self, tool: &str) -> Option<String> {
        let rest = tool.strip_prefix("mcp__").unwrap_or(tool);
        // Agents differ in whether they keep a hyphen.
        let same = rest.replace('-', "_");
        self.given(tool).or_else(|| {
            self.0.iter().find_map(|name| {
                same.strip_prefix(&name.plain)?.strip_prefix("__")?;
                let tool = rest.get(name.plain.len() + 2..)?;
                Some(format!("{}/{tool}", name.registered))
            })
        })
    }
}
