//! [`ClockSource`]: the host's choice of a clock.

use std::sync::Arc;
use toolmeter_core::ManualClock;

/// The kind of clock that a registry is built with; see
/// [`RegistryBuilder::clock`](crate::RegistryBuilder::clock).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use toolmeter::{ClockSource, ManualClock, Pump, Registry};
///
/// let clock = Arc::new(ManualClock::new());
/// let source = ClockSource::Manual(Arc::clone(&clock));
/// let registry = Registry::builder().clock(source).pump(Pump::manual()).build()?;
/// let call = registry.register("shell")?.start_owned();
/// clock.advance(Duration::from_millis(3));
/// assert_eq!(call.succeed(), Duration::from_millis(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ClockSource {
    /// The time-stamp counter where the kernel keeps time by it, else the operating system's clock.
    ///
    /// The first registry of a process calibrates the counter, which may take 200 ms.
    #[default]
    Auto,
    /// The operating system's monotonic clock.
    OperatingSystem,
    /// A manual clock, which stands still until it is advanced: for tests and replays.
    Manual(Arc<ManualClock>),
}
