//! The metrics in a file, and events as lines of JSON on stderr.

use super::stderr;
use serde::Serialize;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use toolmeter::{Batch, Event, Snapshot, Subscription};

/// A regular file that always holds one whole snapshot.
pub(crate) struct SnapshotFile {
    path: PathBuf,
    /// The snapshot that it holds, unless another program has changed it.
    written: Option<Snapshot>,
    /// The error that was returned last, until it is written again.
    refused: Option<String>,
}

impl SnapshotFile {
    /// Returns a file that is written later. `{pid}` in its name is replaced by the id of the
    /// process; a name that is not UTF-8 is left as it is.
    pub(crate) fn new(path: &Path) -> Self {
        let path = match path.to_str() {
            Some(path) => path
                .replace("{pid}", &std::process::id().to_string())
                .into(),
            None => path.into(),
        };
        Self {
            path,
            written: None,
            refused: None,
        }
    }

    /// Replaces the snapshot in the file, unless the new one differs from it in its times only.
    ///
    /// # Errors
    ///
    /// A message of one line, if the file is not a regular one, or the operating system refuses. It
    /// is returned once, until the file has been written again.
    pub(crate) fn write(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        // The times are not compared: they differ in every snapshot.
        let is_written = self.written.as_ref().is_some_and(|written| {
            written.tools == snapshot.tools
                && written.unknown_tool_calls == snapshot.unknown_tool_calls
        });
        // Another program may have removed it.
        if is_written && self.path.exists() {
            return Ok(());
        }
        match self.replace(snapshot) {
            Ok(()) => {
                self.written = Some(snapshot.clone());
                self.refused = None;
                Ok(())
            }
            Err(error) => {
                let error = format!("cannot write {}: {error}", self.path.display());
                if self.refused.as_ref() == Some(&error) {
                    return Ok(());
                }
                self.refused = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Replaces the snapshot in the file, whatever the file holds.
    ///
    /// # Errors
    ///
    /// As [`SnapshotFile::write`].
    pub(crate) fn write_anew(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        self.written = None;
        self.write(snapshot)
    }

    fn replace(&self, snapshot: &Snapshot) -> io::Result<()> {
        // A rename would put a file in the place of a device or a link.
        let permissions = match fs::symlink_metadata(&self.path) {
            Ok(present) if present.is_file() => Some(present.permissions()),
            Ok(_) => return Err(io::Error::other("not a regular file")),
            Err(_) => None,
        };
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut beside = tempfile::Builder::new();
        beside.prefix(".snapshot-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            beside.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = beside.tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec(snapshot)?)?;
        if let Some(permissions) = permissions {
            file.as_file().set_permissions(permissions)?;
        }
        file.persist(&self.path)?;
        Ok(())
    }
}

/// An event with the name of its tool.
#[derive(Serialize)]
struct EventLine<'a> {
    name: Option<&'a str>,
    #[serde(flatten)]
    event: &'a Event,
}

/// Returns one line for each event of the batch.
fn lines(batch: &Batch) -> String {
    let mut lines = String::new();
    for event in batch.events() {
        let name = batch.name(event.tool());
        if let Ok(json) = serde_json::to_string(&EventLine { name, event }) {
            lines.push_str(&json);
            lines.push('\n');
        }
    }
    if batch.lost_before() > 0 {
        let lost = batch.lost_before();
        lines.push_str(&format!("{{\"event\":\"lost\",\"events\":{lost}}}\n"));
    }
    lines
}

/// Writes events until there are no more, or stderr is closed.
pub(crate) fn write_events(subscription: &Subscription) {
    for batch in subscription.iter() {
        if stderr::write(lines(&batch).as_bytes()).is_err() {
            return;
        }
    }
}
