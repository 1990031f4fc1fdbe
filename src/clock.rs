//! Which clock a host gets: the processor's counter, the operating system's, or one by hand.
//!
//! A metered call reads the clock twice, and with nobody listening that is most of what it
//! costs. So the processor's time-stamp counter is read directly where it can be trusted,
//! which is where the Linux kernel itself keeps time by it: the kernel has then checked that
//! it runs at one rate, on all cores alike, and goes on checking. Everywhere else the
//! operating system's monotonic clock is used.
//!
//! None of these clocks runs while the machine is suspended.

use std::sync::Arc;
use std::time::Instant;
use toolmeter_core::{Clock, ManualClock};

/// The clock to build a registry with; see [`RegistryBuilder::clock`](crate::RegistryBuilder::clock).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use toolmeter::{ClockSource, ManualClock, Pump, Registry, ToolSpec};
///
/// let clock = Arc::new(ManualClock::new());
/// let source = ClockSource::Manual(Arc::clone(&clock));
/// let registry = Registry::builder().clock(source).pump(Pump::manual()).build()?;
/// let call = registry.register(ToolSpec::new("shell"))?.start_owned();
/// clock.advance(Duration::from_millis(3));
/// assert_eq!(call.succeed(), Duration::from_millis(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ClockSource {
    /// The time-stamp counter where the kernel keeps time by it, else the operating system's.
    ///
    /// The first registry of a process then calibrates the counter, which may take 200 ms.
    #[default]
    Auto,
    /// The operating system's monotonic clock.
    OperatingSystem,
    /// A clock that stands still until it is moved: for tests and replays.
    Manual(Arc<ManualClock>),
}

/// The clock of a registry: nanoseconds since the registry was built, or as a manual clock says.
///
/// # Examples
///
/// ```
/// use toolmeter::{Clock, Registry};
///
/// let registry = Registry::new();
/// let before = registry.clock().now_ns();
/// assert!(registry.clock().now_ns() >= before);
/// ```
#[derive(Clone, Debug)]
pub struct HostClock(Source);

#[derive(Clone, Debug)]
enum Source {
    Tsc { counter: quanta::Clock, origin: u64 },
    OperatingSystem { origin: Instant },
    Manual(Arc<ManualClock>),
}

impl HostClock {
    pub(crate) fn new(source: ClockSource) -> Self {
        Self(match source {
            ClockSource::Auto if kernel_trusts_tsc() => {
                let counter = quanta::Clock::new();
                let origin = counter.raw();
                Source::Tsc { counter, origin }
            }
            ClockSource::Auto | ClockSource::OperatingSystem => Source::OperatingSystem {
                origin: Instant::now(),
            },
            ClockSource::Manual(clock) => Source::Manual(clock),
        })
    }

    /// What this clock reads: `tsc`, `operating_system` or `manual`.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ClockSource, Pump, Registry};
    ///
    /// let builder = Registry::builder().pump(Pump::manual());
    /// let registry = builder.clock(ClockSource::OperatingSystem).build()?;
    /// assert_eq!(registry.clock().source_name(), "operating_system");
    /// # Ok::<(), toolmeter::BuildError>(())
    /// ```
    #[must_use]
    pub fn source_name(&self) -> &'static str {
        match &self.0 {
            Source::Tsc { .. } => "tsc",
            Source::OperatingSystem { .. } => "operating_system",
            Source::Manual(_) => "manual",
        }
    }

    /// For how long an event may be on its way into its ring and still be sorted in.
    ///
    /// The time-stamp counter is read out of order with memory, and a producer may be held up
    /// between clock and ring; a manual clock knows neither.
    pub(crate) fn hold_back_ns(&self) -> u64 {
        match &self.0 {
            Source::Manual(_) => 0,
            Source::Tsc { .. } | Source::OperatingSystem { .. } => 50_000,
        }
    }
}

impl Clock for HostClock {
    #[inline]
    fn now_ns(&self) -> u64 {
        match &self.0 {
            Source::Tsc { counter, origin } => counter.delta_as_nanos(*origin, counter.raw()),
            Source::OperatingSystem { origin } => since(*origin),
            Source::Manual(clock) => clock.now_ns(),
        }
    }
}

fn since(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Whether the kernel keeps its own time by the time-stamp counter.
fn kernel_trusts_tsc() -> bool {
    const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
        && std::fs::read_to_string(CURRENT).is_ok_and(|source| source.trim() == "tsc")
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_manual_clock_is_read_as_it_is() {
        let manual = Arc::new(ManualClock::new());
        let clock = HostClock::new(ClockSource::Manual(Arc::clone(&manual)));
        manual.advance(Duration::from_nanos(5));
        assert_eq!(clock.now_ns(), 5);
        assert_eq!(clock.source_name(), "manual");
        assert_eq!(clock.hold_back_ns(), 0);
    }

    /// The counter is scaled right if it agrees with the operating system over a busy wait.
    #[test]
    fn the_counter_and_the_operating_system_agree() {
        let auto = HostClock::new(ClockSource::Auto);
        let system = HostClock::new(ClockSource::OperatingSystem);
        let (auto_start, system_start) = (auto.now_ns(), system.now_ns());
        while system.now_ns() - system_start < 20_000_000 {
            std::hint::spin_loop();
        }
        let (auto_ns, system_ns) = (auto.now_ns() - auto_start, system.now_ns() - system_start);
        let apart = auto_ns.abs_diff(system_ns);
        assert!(
            apart < system_ns / 5 + 5_000_000,
            "{}: {auto_ns} ns against {system_ns} ns",
            auto.source_name()
        );
        assert!(auto.hold_back_ns() > 0);
    }
}
