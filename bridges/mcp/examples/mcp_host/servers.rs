//! The servers to start, and the progress that they report.

use crate::process::Process;
use crate::say::note;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::NotificationContext;
use rmcp::{ClientHandler, RoleClient};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use tokio::process::{ChildStdin, ChildStdout, Command};

/// A server, and the command that starts it.
pub(crate) struct Server {
    pub(crate) name: String,
    command: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
}

/// The part of a host's configuration that is used.
#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "mcpServers")]
    servers: BTreeMap<String, Configured>,
}

#[derive(Deserialize)]
struct Configured {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// Returns the servers of a configuration that are started by a command.
pub(crate) fn configured(path: &Path) -> Result<Vec<Server>, Box<dyn Error>> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let configuration: Configuration = serde_json::from_str(&text)
        .map_err(|error| format!("{shown} is not a configuration of MCP servers: {error}"))?;
    let mut servers = Vec::new();
    for (name, server) in configuration.servers {
        match server.command {
            None => note(format_args!(
                "{name} is left out: it is not started by a command"
            )),
            Some(command) => servers.push(Server {
                name,
                command: command.into(),
                arguments: server.args.into_iter().map(Into::into).collect(),
                environment: server.env,
            }),
        }
    }
    Ok(servers)
}

impl Server {
    pub(crate) fn of_command(name: String, command: &[OsString]) -> Result<Self, Box<dyn Error>> {
        let Some((command, arguments)) = command.split_first() else {
            return Err("there is no command after `--`".into());
        };
        Ok(Self {
            name,
            command: command.clone(),
            arguments: arguments.to_vec(),
            environment: BTreeMap::new(),
        })
    }

    /// Starts the server. Also returns its output and its input.
    pub(crate) fn start(&self) -> Result<(Process, (ChildStdout, ChildStdin)), Box<dyn Error>> {
        let mut command = Command::new(&self.command);
        command.args(&self.arguments).envs(&self.environment);
        let started = Process::start(command).map_err(|error| {
            let command = self.command.display();
            format!("cannot start {} ({command}): {error}", self.name)
        })?;
        Ok(started)
    }
}

/// A client handler that prints the progress of a server's tools.
#[derive(Debug)]
pub(crate) struct Progress(String);

impl Progress {
    pub(crate) fn of(server: &str) -> Self {
        Self(server.to_owned())
    }
}

impl ClientHandler for Progress {
    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let message = serde_json::json!(progress.message);
        let of = progress
            .total
            .map_or(String::new(), |total| format!(" of {total}"));
        note(format_args!(
            "{}: {}{of} {message}",
            self.0, progress.progress
        ));
    }
}
