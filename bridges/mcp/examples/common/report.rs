//! The output of a program: a table on stderr at the end, a snapshot in a file while it runs, events
//! as lines of JSON on stderr.

use super::output::{SnapshotFile, write_events};
use super::stderr::{self, say, say_line};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use toolmeter::{Registry, Snapshot};

/// The time between two snapshots.
const EVERY: Duration = Duration::from_millis(500);

/// The output for one registry, from [`Report::begin`] to [`Report::end`].
pub(crate) struct Report {
    registry: Registry,
    snapshot: Option<Arc<Mutex<SnapshotFile>>>,
    events: Option<stderr::Writer>,
}

impl Report {
    /// Begins the output. Has to be called within a runtime of tokio.
    ///
    /// # Errors
    ///
    /// If the snapshot cannot be written.
    pub(crate) fn begin(
        registry: &Registry,
        snapshot: Option<PathBuf>,
        events: bool,
    ) -> Result<Self, String> {
        let snapshot = snapshot.map(|path| Arc::new(Mutex::new(SnapshotFile::new(&path))));
        if let Some(file) = &snapshot {
            write(file, registry, SnapshotFile::write)?;
            let (registry, file) = (registry.downgrade(), Arc::clone(file));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(EVERY).await;
                    let Some(registry) = registry.upgrade() else {
                        return;
                    };
                    if let Err(error) = write(&file, &registry, SnapshotFile::write) {
                        say_line(error);
                    }
                }
            });
        }
        let events = events.then(|| {
            let events = registry.subscribe();
            stderr::Writer::start(move || write_events(&events))
        });
        Ok(Self {
            registry: registry.clone(),
            snapshot,
            events,
        })
    }

    /// Writes the last snapshot, the events that are left, and the table. If stderr is not read,
    /// events and table are left out.
    pub(crate) fn end(self) {
        self.registry.shutdown();
        // First, because the rest may wait for a reader of stderr.
        if let Some(file) = self.snapshot
            && let Err(error) = write(&file, &self.registry, SnapshotFile::write_anew)
        {
            say_line(error);
        }
        if let Some(events) = self.events {
            events.wait();
        }
        say(format!("{}\n", self.registry.metrics()));
    }
}

/// Writes a snapshot. It is taken under the lock, so that it cannot replace a later one.
fn write(
    file: &Mutex<SnapshotFile>,
    registry: &Registry,
    write: fn(&mut SnapshotFile, &Snapshot) -> Result<(), String>,
) -> Result<(), String> {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    write(&mut file, &registry.metrics())
}
