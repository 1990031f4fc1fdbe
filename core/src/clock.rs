//! Clocks: nanoseconds since an origin that is fixed for each clock.
//!
//! A [`Clock`] need not know the time of day. It should be cheap to read and should not run
//! backwards. If it does, latencies saturate at 0.
//!
//! # Orderings
//!
//! The word of a [`ManualClock`] is read and written `Relaxed`. It orders no other memory.

use crate::sync::{Ordering, Word};
use core::time::Duration;

/// A source of time, in nanoseconds since a fixed origin.
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
    /// Returns the current time, in nanoseconds since the clock's origin.
    fn now_ns(&self) -> u64;
}

impl<C: Clock + ?Sized> Clock for &C {
    #[inline]
    fn now_ns(&self) -> u64 {
        (**self).now_ns()
    }
}

/// A clock that moves only when it is advanced or set: the manual clock of tests and replays.
///
/// Any thread may read or move it at any time. It orders no other memory.
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
    /// Creates a clock at 0.
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

    /// Creates a clock at 0. The constructor of loom's word is not `const`.
    #[cfg(toolmeter_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            now_ns: Word::new(0),
        }
    }

    /// Moves the clock forward.
    ///
    /// A duration above 2^64 - 1 ns is treated as 2^64 - 1 ns. The time wraps beyond 64 bits.
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

    /// Sets the clock, possibly to an earlier time.
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
    fn it_moves_only_when_it_is_moved() {
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
