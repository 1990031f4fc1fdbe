//! What is told of the calls: the snapshot in a file, events, and the table at the end.

use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use toolmeter::{Batch, Event, Snapshot, Subscription};

use crate::follow::{Seen, Tally};

/// A file that always holds one whole snapshot.
pub(crate) struct SnapshotFile {
    path: PathBuf,
    /// What it holds.
    written: Option<Snapshot>,
}

impl SnapshotFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            written: None,
        }
    }

    /// Puts this snapshot in the place of the one before, if a call began or ended since.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn write(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        // Its times are new each time.
        let calls = |snapshot: &Snapshot| (snapshot.tools.clone(), snapshot.unknown_tool_calls);
        if self.written.as_ref().map(calls) == Some(calls(snapshot)) {
            return Ok(());
        }
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::Builder::new()
            .prefix(".mcp_proxy-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec(snapshot)?)?;
        file.persist(&self.path)?;
        self.written = Some(snapshot.clone());
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

/// Writes events until there are no more, or no one reads them.
pub(crate) fn write_events(subscription: &Subscription) {
    for batch in subscription.iter() {
        if io::stderr().write_all(lines(&batch).as_bytes()).is_err() {
            return;
        }
    }
}

/// Returns what is written at the end.
pub(crate) fn summary(command: &str, state: &str, snapshot: &Snapshot, tally: &Tally) -> String {
    let mut text = format!("mcp_proxy: {command}: {state}\n{snapshot}\n");
    let mut say = |line: std::fmt::Arguments<'_>| {
        // A String takes everything.
        let _infallible = writeln!(text, "mcp_proxy: {line}");
    };
    for (side, seen) in [("client", tally.client), ("server", tally.server)] {
        let Seen {
            lines,
            bytes,
            longest,
            not_json,
        } = seen;
        say(format_args!(
            "from the {side}: {lines} lines, {bytes} bytes, the longest {longest}; not JSON: {not_json}"
        ));
    }
    if tally.progress > 0 {
        say(format_args!(
            "notifications of progress: {}",
            tally.progress
        ));
    }
    if tally.late > 0 {
        say(format_args!("answers to cancelled calls: {}", tally.late));
    }
    if tally.not_followed > 0 {
        say(format_args!(
            "messages not followed: {}",
            tally.not_followed
        ));
    }
    text
}
