//! What a program tells of its registry: a table on stderr at the end, a snapshot in a file while
//! it runs, events as JSON lines on stderr.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use toolmeter::Registry;

/// How often the snapshot is rewritten.
const EVERY: Duration = Duration::from_millis(500);

/// Tells of a registry until [`Report::end`].
pub(crate) struct Report {
    registry: Registry,
    snapshot: Option<PathBuf>,
    events: Option<JoinHandle<()>>,
}

impl Report {
    /// Begins. Needs a runtime of tokio.
    ///
    /// # Errors
    ///
    /// If the snapshot cannot be written.
    pub(crate) fn begin(
        registry: &Registry,
        snapshot: Option<PathBuf>,
        events: bool,
    ) -> io::Result<Self> {
        if let Some(path) = &snapshot {
            write_snapshot(registry, path)?;
            let (registry, path) = (registry.downgrade(), path.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(EVERY).await;
                    let Some(registry) = registry.upgrade() else {
                        return;
                    };
                    if let Err(error) = write_snapshot(&registry, &path) {
                        eprintln!("cannot write {}: {error}", path.display());
                    }
                }
            });
        }
        let events = events.then(|| {
            let events = registry.subscribe();
            std::thread::spawn(move || {
                for batch in events.iter() {
                    for event in &*batch {
                        let name = batch.name(event.tool()).unwrap_or_default();
                        let line = serde_json::json!({ "name": name, "event": event });
                        // Whoever reads may be gone.
                        let _ = writeln!(io::stderr().lock(), "{line}");
                    }
                }
            })
        });
        Ok(Self {
            registry: registry.clone(),
            snapshot,
            events,
        })
    }

    /// Tells what is left to tell, and the table.
    pub(crate) fn end(self) {
        self.registry.shutdown();
        if let Some(events) = self.events {
            let _ = events.join();
        }
        if let Some(path) = &self.snapshot
            && let Err(error) = write_snapshot(&self.registry, path)
        {
            eprintln!("cannot write {}: {error}", path.display());
        }
        let _ = writeln!(io::stderr().lock(), "{}", self.registry.metrics());
    }
}

/// Replaces the file by a fresh snapshot: who reads it reads the one before or this one.
fn write_snapshot(registry: &Registry, path: &Path) -> io::Result<()> {
    let mut beside = OsString::from(path);
    beside.push(format!(".{}", std::process::id()));
    std::fs::write(&beside, serde_json::to_vec(&registry.metrics())?)?;
    std::fs::rename(&beside, path)
}

/// Waits for SIGTERM or an interrupt.
///
/// # Errors
///
/// If signals cannot be waited for.
pub(crate) async fn told_to_end() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
