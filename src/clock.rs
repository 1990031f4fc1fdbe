//! Which clock a host gets: the processor's counter, the operating system's, or one by hand.
//!
//! A metered call reads the clock twice, and without a subscriber that is most of what it
//! costs. So the processor's time-stamp counter is read directly where it can be trusted,
//! which is where the Linux kernel itself keeps time by it: the kernel has then checked that
//! it runs at one rate, on all cores alike, and goes on checking. Everywhere else the
//! operating system's monotonic clock is used.
//!
//! The counter is read through `quanta`, which also calibrates it; the scaling to nanoseconds is
//! done here, by one multiplication: a call waits for it, and with quanta's, which also divides by
//! a power of two that it looks up, a call took 0.8 to 1.3 ns longer (of 22, Zen 4 under KVM).
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
    Tsc {
        counter: quanta::Clock,
        origin: u64,
        rate: Rate,
    },
    OperatingSystem {
        origin: Instant,
    },
    Manual(Arc<ManualClock>),
}

impl HostClock {
    pub(crate) fn new(source: ClockSource) -> Self {
        Self(match source {
            ClockSource::Auto if kernel_trusts_tsc() => {
                let counter = quanta::Clock::new();
                match Rate::of(&counter) {
                    Some(rate) => Source::Tsc {
                        origin: counter.raw(),
                        counter,
                        rate,
                    },
                    None => Source::operating_system(),
                }
            }
            ClockSource::Auto | ClockSource::OperatingSystem => Source::operating_system(),
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

    /// Whether the clock is moved by hand.
    pub(crate) fn is_manual(&self) -> bool {
        matches!(self.0, Source::Manual(_))
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

/// A moment as the clock counts it: ticks of the counter, or nanoseconds.
///
/// A call keeps its start as that and is timed by [`HostClock::ns_between`]: the difference is
/// scaled, not the two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick(u64);

impl HostClock {
    /// Now, not yet in nanoseconds.
    #[inline(always)]
    pub(crate) fn tick(&self) -> Tick {
        Tick(match &self.0 {
            Source::Tsc { counter, .. } => counter.raw(),
            Source::OperatingSystem { origin } => since(*origin),
            Source::Manual(clock) => clock.now_ns(),
        })
    }

    /// When a tick was, in nanoseconds, as [`now_ns`](Clock::now_ns) tells it.
    #[inline(always)]
    pub(crate) fn ns(&self, tick: Tick) -> u64 {
        match &self.0 {
            Source::Tsc { origin, .. } => self.ns_between(Tick(*origin), tick),
            Source::OperatingSystem { .. } | Source::Manual(_) => tick.0,
        }
    }

    /// The nanoseconds from `start` to `end`; 0 if the clock ran backwards between them, so that
    /// one bad reading does not poison a sum.
    #[inline(always)]
    pub(crate) fn ns_between(&self, start: Tick, end: Tick) -> u64 {
        if end.0 < start.0 {
            return backwards();
        }
        let ticks = end.0 - start.0;
        match &self.0 {
            Source::Tsc { rate, .. } => rate.ns(ticks),
            Source::OperatingSystem { .. } | Source::Manual(_) => ticks,
        }
    }
}

/// A function of its own, so that what follows does not wait for the comparison.
#[cold]
fn backwards() -> u64 {
    0
}

impl Clock for HostClock {
    #[inline]
    fn now_ns(&self) -> u64 {
        self.ns(self.tick())
    }
}

impl Source {
    fn operating_system() -> Self {
        Self::OperatingSystem {
            origin: Instant::now(),
        }
    }
}

/// How long a tick of the counter is: in units of 2^-64 ns, so that scaling is the upper half of
/// one multiplication.
#[derive(Clone, Copy, Debug)]
struct Rate(u64);

impl Rate {
    /// The rate that `counter` was calibrated to, exact to 2^-62; `None` if a tick is a
    /// nanosecond or longer, as no counter's is that a kernel keeps time by.
    fn of(counter: &quanta::Clock) -> Option<Self> {
        Self::scaled_by(|ticks| counter.delta_as_nanos(0, ticks))
    }

    /// The rate by which `ns` scales a number of ticks.
    ///
    /// What `ns` tells wraps where it needs more than 64 bits. So it is asked first for a number of
    /// ticks that fits while a tick is less than 2^34 ns, 17 seconds.
    fn scaled_by(ns: impl Fn(u64) -> u64) -> Option<Self> {
        const FEW: u64 = 1 << 30;
        const MANY: u64 = 1 << 62;
        (ns(FEW) < FEW).then(|| Self(ns(MANY) << 2))
    }

    #[inline(always)]
    const fn ns(self, ticks: u64) -> u64 {
        ((ticks as u128 * self.0 as u128) >> 64) as u64
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

    #[test]
    fn ticks_are_scaled_as_the_calibration_says() {
        let counter = quanta::Clock::new();
        let Some(rate) = Rate::of(&counter) else {
            println!("SKIPPED: no time-stamp counter that is faster than 1 GHz");
            return;
        };
        for ticks in [0, 1, 1_000, 3_333_333_333, 1 << 50, (1 << 62) - 1] {
            let theirs = counter.delta_as_nanos(0, ticks);
            assert!(rate.ns(ticks).abs_diff(theirs) <= 1, "{ticks}: {theirs}");
        }
    }

    /// Scales as a counter of this many ticks in as many nanoseconds does: it wraps.
    fn counter(ticks: u64, ns: u64) -> impl Fn(u64) -> u64 {
        move |delta| (u128::from(delta) * u128::from(ns) / u128::from(ticks)) as u64
    }

    #[test]
    fn a_counter_whose_tick_is_a_nanosecond_or_longer_has_no_rate() {
        // 1 GHz, 250 MHz, 62.5 MHz, whose 2^62 ticks are 2^66 ns, 24 MHz, 1 MHz, 1 kHz, 1 Hz.
        let slow = [1, 4, 16, 1_000, 1_000_000, 1_000_000_000];
        for (ticks, ns) in slow.map(|ns| (1, ns)).into_iter().chain([(24, 1_000)]) {
            assert!(
                Rate::scaled_by(counter(ticks, ns)).is_none(),
                "{ns} ns for {ticks} ticks"
            );
        }
        for power in 0..30 {
            assert!(
                Rate::scaled_by(counter(1, 1 << power)).is_none(),
                "2^{power} ns"
            );
        }
    }

    #[test]
    fn a_counter_whose_tick_is_shorter_has_the_rate_it_scales_by() {
        for (ticks, ns) in [
            (1_000_001, 1_000_000),
            (2, 1),
            (3, 1),
            (24, 10),
            (1 << 20, 1),
        ] {
            let scaled = counter(ticks, ns);
            let rate = Rate::scaled_by(&scaled).unwrap();
            for delta in [0, 1, 1_000, 3_333_333_333, 1 << 50, (1 << 62) - 1] {
                assert!(
                    rate.ns(delta).abs_diff(scaled(delta)) <= 1,
                    "{ns} ns for {ticks} ticks"
                );
            }
        }
    }

    #[test]
    fn a_clock_that_runs_backwards_measures_nothing() {
        for source in [ClockSource::Auto, ClockSource::OperatingSystem] {
            let clock = HostClock::new(source);
            let (earlier, later) = (Tick(1 << 40), Tick((1 << 40) + 1_000));
            assert_eq!(clock.ns_between(later, earlier), 0);
            assert!(clock.ns_between(earlier, later) > 0);
        }
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
