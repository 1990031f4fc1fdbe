//! [`HostClock`]: the clock of a registry, which reads the processor's counter, the operating
//! system's clock, or a manual clock.
//!
//! A metered call reads the clock twice, and without a subscriber that is most of its cost. So the
//! processor's time-stamp counter is read directly where the Linux kernel itself keeps time by it.
//! The kernel has then checked that the counter runs at one rate and in step on all cores, and
//! keeps checking. Everywhere else the operating system's monotonic clock is used.
//!
//! The counter is read through `quanta`; `clock/tick_rate.rs` scales its ticks to nanoseconds.
//!
//! None of these clocks runs while the machine is suspended.

mod counter;
mod source;
mod tick_rate;

pub use source::ClockSource;

use counter::Counter;
use std::sync::Arc;
use std::time::Instant;
use tick_rate::TickRate;
use toolmeter_core::{Clock, ManualClock};

/// The clock of a registry: nanoseconds since the registry was built, or the time of a manual clock.
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
        counter: Counter,
        origin: u64,
        rate: TickRate,
    },
    OperatingSystem {
        origin: Instant,
    },
    Manual(Arc<ManualClock>),
}

impl HostClock {
    pub(crate) fn new(source: ClockSource) -> Self {
        Self(match source {
            ClockSource::Auto => Source::tsc().unwrap_or_else(Source::operating_system),
            ClockSource::OperatingSystem => Source::operating_system(),
            ClockSource::Manual(clock) => Source::Manual(clock),
        })
    }

    /// Returns the name of what this clock reads: `tsc`, `operating_system` or `manual`.
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

    /// Returns whether this is a manual clock.
    pub(crate) fn is_manual(&self) -> bool {
        matches!(self.0, Source::Manual(_))
    }

    /// Returns the time for which the drain holds an event back, so that an earlier one that is
    /// still on its way into its ring comes before it.
    ///
    /// The time-stamp counter is read out of order with memory accesses, and a producer may be
    /// interrupted between reading the clock and its ring. A manual clock needs no such time.
    pub(crate) fn hold_back_ns(&self) -> u64 {
        match &self.0 {
            Source::Manual(_) => 0,
            Source::Tsc { .. } | Source::OperatingSystem { .. } => 50_000,
        }
    }
}

/// A reading of the clock in its own unit: ticks of the counter, or nanoseconds.
///
/// A call keeps its start in this form, and [`HostClock::ns_between`] scales only the difference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick(u64);

impl HostClock {
    /// Returns the current tick.
    #[inline(always)]
    pub(crate) fn tick(&self) -> Tick {
        Tick(match &self.0 {
            Source::Tsc { counter, .. } => counter.raw(),
            Source::OperatingSystem { origin } => since(*origin),
            Source::Manual(clock) => clock.now_ns(),
        })
    }

    /// Returns the time of a tick in nanoseconds, on the same scale as [`now_ns`](Clock::now_ns).
    #[inline(always)]
    pub(crate) fn ns(&self, tick: Tick) -> u64 {
        match &self.0 {
            Source::Tsc { origin, .. } => self.ns_between(Tick(*origin), tick),
            Source::OperatingSystem { .. } | Source::Manual(_) => tick.0,
        }
    }

    /// Returns the nanoseconds from `start` to `end`; 0 if the clock ran backwards between them, so
    /// that one bad reading does not spoil a sum.
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

/// Returns 0. It is a cold function so that the comparison compiles to a branch, which is predicted,
/// and not to a selection, for which the scaling would wait.
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
    /// Returns the processor's counter, if it can be trusted.
    fn tsc() -> Option<Self> {
        counter::trusted().and_then(|counter| {
            let rate = TickRate::of(&counter)?;
            Some(Self::Tsc {
                origin: counter.raw(),
                counter,
                rate,
            })
        })
    }

    fn operating_system() -> Self {
        Self::OperatingSystem {
            origin: Instant::now(),
        }
    }
}

fn since(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
