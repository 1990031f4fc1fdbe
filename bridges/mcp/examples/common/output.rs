//! The metrics in a file, and events as lines of JSON on stderr.

use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use toolmeter::{Batch, Event, Snapshot, Subscription};

/// A file that always holds one whole snapshot.
pub(crate) struct SnapshotFile {
    path: PathBuf,
    /// The snapshot that it holds.
    written: Option<Snapshot>,
}

impl SnapshotFile {
    /// Returns a file that is written later.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            written: None,
        }
    }

    /// Replaces the snapshot in the file, unless the new one differs from it in its times only.
    ///
    /// # Errors
    ///
    /// A message of one line, if the operating system refuses.
    pub(crate) fn write(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        // The times are not compared: they differ in every snapshot.
        let is_written = self.written.as_ref().is_some_and(|written| {
            written.tools == snapshot.tools
                && written.unknown_tool_calls == snapshot.unknown_tool_calls
        });
        if is_written {
            return Ok(());
        }
        self.replace(snapshot)
            .map_err(|error| format!("cannot write {}: {error}", self.path.display()))?;
        self.written = Some(snapshot.clone());
        Ok(())
    }

    fn replace(&self, snapshot: &Snapshot) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut beside = tempfile::Builder::new();
        beside.prefix(".snapshot-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            beside.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = beside.tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec(snapshot)?)?;
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

/// Writes events until there are no more, or stderr cannot be written.
pub(crate) fn write_events(subscription: &Subscription) {
    for batch in subscription.iter() {
        if io::stderr().write_all(lines(&batch).as_bytes()).is_err() {
            return;
        }
    }
}
