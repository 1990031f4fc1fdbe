//! A metered program in WebAssembly: no threads, no process id, and the clock of its host.
//!
//! The program sets the clock of the registry to the host's time before the first call and at the end
//! of each tool, and pumps the registry itself. It exits with the number of the first check that fails,
//! or with 0. `tests/wasm` runs it.

mod host;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter::{ClockSource, EventKind, ManualClock, Pump, Registry};

fn main() -> ExitCode {
    match meter() {
        Ok(checks) => {
            let failed = checks.iter().position(|passed| !passed);
            failed.map_or(ExitCode::SUCCESS, |failed| ExitCode::from(failed as u8 + 1))
        }
        Err(_) => ExitCode::from(100),
    }
}

/// Meters four calls, and returns the results of the checks.
fn meter() -> Result<Vec<bool>, Box<dyn Error>> {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .wall_clock(|| SystemTime::UNIX_EPOCH + Duration::from_nanos(host::now_ns()))
        .pump(Pump::manual())
        .build()?;
    let read = registry.register("read")?;
    let write = registry.register("write")?;
    let events = registry.subscribe();

    // A tool that waits until a microsecond has passed by the host's clock.
    let work = || {
        let began_ns = host::now_ns();
        while host::now_ns() < began_ns + 1_000 {}
        clock.set_ns(host::now_ns());
    };
    clock.set_ns(host::now_ns());
    for _ in 0..2 {
        read.run(|| {
            work();
            Ok::<_, String>(())
        })?;
    }
    let failed = write.run(|| {
        work();
        Err::<(), _>("the disk is full")
    });
    drop(write.start());

    registry.pump();
    let batch = events.try_recv()?;
    let kinds = |kind| batch.iter().filter(|event| event.kind() == kind).count();
    let metrics = registry.metrics();
    let (read, write) = (&metrics.tools["read"], &metrics.tools["write"]);
    let accounting = registry.event_accounting();
    Ok(vec![
        failed.is_err(),
        (read.success(), read.failure(), read.in_flight) == (2, 0, 0),
        (write.success(), write.failure(), write.cancelled()) == (0, 1, 1),
        read.latency.success.min() >= Some(Duration::from_micros(1)),
        metrics.taken_at >= registry.started_at(),
        kinds(EventKind::Started) == 4,
        kinds(EventKind::Succeeded) == 2,
        kinds(EventKind::Failed) == 1,
        kinds(EventKind::Cancelled) == 1,
        (
            accounting.offered,
            accounting.lost_in_rings,
            accounting.drained,
        ) == (8, 0, 8),
    ])
}
