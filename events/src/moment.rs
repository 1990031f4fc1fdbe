//! A reading of both clocks at one moment.
//!
//! # Orderings
//!
//! None.

use std::time::{Duration, SystemTime};

/// A reading of the wall clock and of the registry's clock at the same moment.
///
/// It converts times of the registry's clock to the wall clock.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use toolmeter_events::Moment;
///
/// let moment = Moment::new(SystemTime::UNIX_EPOCH, 5_000);
/// assert_eq!((moment.wall(), moment.clock_ns()), (SystemTime::UNIX_EPOCH, 5_000));
/// let later = SystemTime::UNIX_EPOCH + Duration::from_nanos(2_000);
/// assert_eq!(moment.wall_time(7_000), later);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall: SystemTime,
    clock_ns: u64,
}

impl Moment {
    /// Creates the moment at which the wall clock read `wall` and the registry's clock read
    /// `clock_ns` nanoseconds.
    #[must_use]
    pub const fn new(wall: SystemTime, clock_ns: u64) -> Self {
        Self { wall, clock_ns }
    }

    /// Returns the reading of the wall clock.
    #[must_use]
    pub const fn wall(&self) -> SystemTime {
        self.wall
    }

    /// Returns the reading of the registry's clock, in nanoseconds.
    #[must_use]
    pub const fn clock_ns(&self) -> u64 {
        self.clock_ns
    }

    /// Returns the wall-clock time at which the registry's clock reads `time_ns` nanoseconds.
    ///
    /// If the system cannot express that time, this is the wall-clock time of the moment itself.
    #[must_use]
    pub fn wall_time(&self, time_ns: u64) -> SystemTime {
        let distance = Duration::from_nanos(time_ns.abs_diff(self.clock_ns));
        let time = if time_ns < self.clock_ns {
            self.wall.checked_sub(distance)
        } else {
            self.wall.checked_add(distance)
        };
        time.unwrap_or(self.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn wall_time_runs_both_ways_and_stays_within_the_system() {
        let wall = EPOCH + Duration::from_secs(1_000);
        let moment = Moment::new(wall, 5_000);
        assert_eq!(moment.wall_time(4_000), wall - Duration::from_micros(1));
        assert_eq!(moment.wall_time(6_000), wall + Duration::from_micros(1));
        assert_eq!(moment.wall_time(5_000), wall);
        // Neither panics; on a system that can express them they are far away.
        let _ = Moment::new(EPOCH, u64::MAX).wall_time(0);
        let _ = moment.wall_time(u64::MAX);
    }
}
