//! The servers to start, and the progress that they report.

use crate::common::stderr::say_line;
use crate::process::Process;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::NotificationContext;
use rmcp::{ClientHandler, RoleClient};
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use tokio::process::{ChildStdin, ChildStdout, Command};

/// A server, and the command that starts it.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) command: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// What is set, and, with `None`, what is removed.
    pub(crate) environment: Vec<(String, Option<String>)>,
    /// The folder that it is started in, unless it is the host's.
    pub(crate) folder: Option<PathBuf>,
}

impl Server {
    /// Makes a server of a command and its arguments. `None` if there is no command.
    pub(crate) fn of_command(
        name: &str,
        words: impl IntoIterator<Item = OsString>,
    ) -> Option<Self> {
        let mut words = words.into_iter();
        Some(Self {
            name: name.to_owned(),
            command: words.next()?,
            arguments: words.collect(),
            environment: Vec::new(),
            folder: None,
        })
    }

    /// Starts the server. Also returns its output and its input.
    pub(crate) fn start(&self) -> Result<(Process, (ChildStdout, ChildStdin)), Box<dyn Error>> {
        let mut command = Command::new(&self.command);
        command.args(&self.arguments);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut place = String::new();
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
            place = format!(" in {}", folder.display());
        }
        let started = Process::start(command).map_err(|error| {
            let command = self.command.display();
            format!("cannot start {} ({command}{place}): {error}", self.name)
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
        say_line(format_args!(
            "{}: {}{of} {message}",
            self.0, progress.progress
        ));
    }
}
