//! The output of a program: a table on stderr at the end, a snapshot in a file while it runs, events
//! as lines of JSON on stderr.

use super::output::{SnapshotFile, write_events};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use toolmeter::Registry;

/// The time between two snapshots.
const EVERY: Duration = Duration::from_millis(500);

/// The output for one registry, from [`Report::begin`] to [`Report::end`].
pub(crate) struct Report {
    registry: Registry,
    snapshot: Option<Arc<Mutex<SnapshotFile>>>,
    events: Option<JoinHandle<()>>,
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
            write(file, registry)?;
            let (registry, file) = (registry.downgrade(), Arc::clone(file));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(EVERY).await;
                    let Some(registry) = registry.upgrade() else {
                        return;
                    };
                    if let Err(error) = write(&file, &registry) {
                        eprintln!("{error}");
                    }
                }
            });
        }
        let events = events.then(|| {
            let events = registry.subscribe();
            std::thread::spawn(move || write_events(&events))
        });
        Ok(Self {
            registry: registry.clone(),
            snapshot,
            events,
        })
    }

    /// Writes the events that are left, the last snapshot, and the table.
    pub(crate) fn end(self) {
        self.registry.shutdown();
        if let Some(events) = self.events {
            let _ = events.join();
        }
        if let Some(Err(error)) = self.snapshot.map(|file| write(&file, &self.registry)) {
            eprintln!("{error}");
        }
        let _ = writeln!(io::stderr().lock(), "{}", self.registry.metrics());
    }
}

/// Writes a snapshot. It is taken under the lock, so that it cannot replace a later one.
fn write(file: &Mutex<SnapshotFile>, registry: &Registry) -> Result<(), String> {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.write(&registry.metrics())
}
