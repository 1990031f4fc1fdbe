//! Time as the slots see it: nanoseconds from an origin that a clock fixes once.
//!
//! A [`Clock`] never has to be right about the time of day; it has to be cheap and to move
//! forward. One that runs backwards does no harm: differences saturate at 0.

use crate::sync::{Ordering, Word};
use core::time::Duration;

/// Nanoseconds since an origin of the clock's own.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{Clock, ManualClock};
///
/// fn latency_ns(clock: &impl Clock, work: impl FnOnce()) -> u64 {
///     let started_ns = clock.now_ns();
///     work();
///     clock.now_ns().saturating_sub(started_ns)
/// }
/// let clock = ManualClock::new();
/// assert_eq!(latency_ns(&clock, || clock.set_ns(250)), 250);
/// ```
pub trait Clock {
    /// Returns the time now, in nanoseconds since the clock's origin.
    fn now_ns(&self) -> u64;
}

impl<C: Clock + ?Sized> Clock for &C {
    #[inline]
    fn now_ns(&self) -> u64 {
        (**self).now_ns()
    }
}

/// A clock that stands still until it is told to move: for tests, and for replays.
///
/// Reading and moving it are relaxed atomic operations, so any thread may do either at any
/// time; it orders no other memory.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use toolmeter_core::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_micros(400));
/// assert_eq!(clock.now_ns(), 400_000);
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now_ns: Word,
}

impl ManualClock {
    /// Creates a clock that stands at 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Clock, ManualClock};
    ///
    /// assert_eq!(ManualClock::new().now_ns(), 0);
    /// ```
    #[cfg(not(toolmeter_loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            now_ns: Word::new(0),
        }
    }

    /// Creates a clock that stands at 0; loom's word has no `const` constructor.
    #[cfg(toolmeter_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            now_ns: Word::new(0),
        }
    }

    /// Moves the clock forward; what does not fit into 64 bits of nanoseconds wraps.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::time::Duration;
    /// use toolmeter_core::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// clock.advance(Duration::from_nanos(3));
    /// clock.advance(Duration::from_micros(2));
    /// assert_eq!(clock.now_ns(), 2_003);
    /// ```
    pub fn advance(&self, by: Duration) {
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.now_ns.fetch_add(by_ns, Ordering::Relaxed);
    }

    /// Sets the clock, backwards too: that is how tests show that a clock may err.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// clock.set_ns(900);
    /// clock.set_ns(300);
    /// assert_eq!(clock.now_ns(), 300);
    /// ```
    pub fn set_ns(&self, now_ns: u64) {
        self.now_ns.store(now_ns, Ordering::Relaxed);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    #[inline]
    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_moves_only_when_told() {
        let clock = ManualClock::default();
        assert_eq!(clock.now_ns(), 0);
        clock.advance(Duration::new(1, 5));
        assert_eq!(clock.now_ns(), 1_000_000_005);
        clock.set_ns(7);
        assert_eq!(Clock::now_ns(&&clock), 7);
        clock.advance(Duration::ZERO);
        assert_eq!(clock.now_ns(), 7);
    }
}
