//! From the registry's clock to the wall clock.
//!
//! Owns [`Moment`], both clocks read together, and [`Timeline`], the history of such pairings.
//!
//! # The promise, and why it holds
//!
//! A wall-clock time that was told once does not move when it is told again, whatever the wall
//! clock did meanwhile: it was set, or the machine was suspended, during which the registry's
//! clock may stand still.
//!
//! > A time is placed by the newest pairing that is earlier than it. A renewal adds a pairing at
//! > the reading of the registry's clock of now, and none if that is below the pairings there
//! > are. So it is the newest, and it places only times above that reading. Every time that may
//! > have been told by then is not above it, and is placed by the same pairing as before.
//!
//! It ends where a pairing is dropped, beyond [`Timeline::MAX_PAIRINGS`]: times before the oldest
//! pairing that is left are placed by that one.
//!
//! # Orderings
//!
//! None: a timeline never changes, a renewal makes another.

use std::time::{Duration, SystemTime};

/// The wall clock and the registry's clock, read at one moment: what turns times of the one into
/// times of the other.
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
    /// Makes the moment when the wall clock said `wall` and the registry's clock `clock_ns`
    /// nanoseconds.
    #[must_use]
    pub const fn new(wall: SystemTime, clock_ns: u64) -> Self {
        Self { wall, clock_ns }
    }

    /// Returns what the wall clock said.
    #[must_use]
    pub const fn wall(&self) -> SystemTime {
        self.wall
    }

    /// Returns what the registry's clock said, in nanoseconds.
    #[must_use]
    pub const fn clock_ns(&self) -> u64 {
        self.clock_ns
    }

    /// Returns the wall-clock time of `time_ns` nanoseconds of the registry's clock. A time that
    /// the system cannot express becomes the moment itself.
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

/// The history of pairings of the wall clock and the registry's clock.
///
/// A time that was told once is told the same again after the wall clock jumped: only times from
/// the jump on are placed by the pairing that was made after it.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use toolmeter_events::{Moment, Timeline};
///
/// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(43_200);
/// let timeline = Timeline::new(Moment::new(noon, 0));
/// let told = timeline.wall_time(1_000);
///
/// // The machine slept for an hour, in which the registry's clock stood still.
/// let awake = Moment::new(noon + Duration::from_secs(3_600), 2_000);
/// let timeline = timeline.renewed(awake).expect("the clocks disagree");
/// assert_eq!(timeline.wall_time(1_000), told);
/// assert_eq!(timeline.wall_time(2_001), awake.wall() + Duration::from_nanos(1));
/// ```
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Never empty; no pairing's reading of the registry's clock is below the one before.
    pairings: Vec<Moment>,
}

impl Timeline {
    /// The most pairings; of more, the oldest are dropped.
    pub const MAX_PAIRINGS: usize = 64;
    /// How far the two clocks may drift apart before a pairing is added.
    pub const TOLERANCE: Duration = Duration::from_millis(50);

    /// Makes the timeline of one pairing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use toolmeter_events::{Moment, Timeline};
    ///
    /// let first = Moment::new(SystemTime::UNIX_EPOCH, 5_000);
    /// assert_eq!(Timeline::new(first).latest(), first);
    /// ```
    #[must_use]
    pub fn new(first: Moment) -> Self {
        Self {
            pairings: vec![first],
        }
    }

    /// Returns the timeline with the pairing `now` added, if it is needed.
    ///
    /// `None` if `now` agrees with the latest pairing within [`TOLERANCE`](Self::TOLERANCE), and
    /// if the registry's clock stepped backwards, to before the latest pairing: times of both
    /// sides of such a step cannot be told apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use toolmeter_events::{Moment, Timeline};
    ///
    /// let timeline = Timeline::new(Moment::new(SystemTime::UNIX_EPOCH, 0));
    /// let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
    /// assert!(timeline.renewed(Moment::new(at(2), 2_000_000_000)).is_none());
    /// let renewed = timeline.renewed(Moment::new(at(9), 2_000_000_000)).unwrap();
    /// assert_eq!(renewed.latest().wall(), at(9));
    /// ```
    #[must_use]
    pub fn renewed(&self, now: Moment) -> Option<Self> {
        let latest = self.latest();
        if now.clock_ns < latest.clock_ns {
            return None;
        }
        let expected = latest.wall_time(now.clock_ns);
        let drift = now
            .wall
            .duration_since(expected)
            .unwrap_or_else(|error| error.duration());
        if drift <= Self::TOLERANCE {
            return None;
        }
        // While the registry's clock stands still, one pairing follows another at the same reading,
        // and the last alone places anything.
        let replaced = self.pairings.len() > 1 && latest.clock_ns == now.clock_ns;
        let kept = &self.pairings[..self.pairings.len() - usize::from(replaced)];
        let kept = &kept[(kept.len() + 1).saturating_sub(Self::MAX_PAIRINGS)..];
        let mut pairings = Vec::with_capacity(kept.len() + 1);
        pairings.extend_from_slice(kept);
        pairings.push(now);
        Some(Self { pairings })
    }

    /// Returns the wall-clock time of `time_ns` nanoseconds of the registry's clock.
    ///
    /// It is placed by the newest pairing whose reading of that clock is below it; times up to the
    /// oldest pairing are placed by the oldest. A time that the system cannot express
    /// becomes that of the pairing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use toolmeter_events::{Moment, Timeline};
    ///
    /// let timeline = Timeline::new(Moment::new(SystemTime::UNIX_EPOCH, 5_000));
    /// let before = SystemTime::UNIX_EPOCH - Duration::from_nanos(2_000);
    /// assert_eq!(timeline.wall_time(3_000), before);
    /// ```
    #[must_use]
    pub fn wall_time(&self, time_ns: u64) -> SystemTime {
        let later = self
            .pairings
            .partition_point(|pairing| pairing.clock_ns < time_ns);
        self.pairings[later.saturating_sub(1)].wall_time(time_ns)
    }

    /// Returns the newest pairing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use toolmeter_events::{Moment, Timeline};
    ///
    /// let timeline = Timeline::new(Moment::new(SystemTime::UNIX_EPOCH, 0));
    /// let jumped = Moment::new(SystemTime::UNIX_EPOCH + Duration::from_secs(60), 1_000);
    /// assert_eq!(timeline.renewed(jumped).unwrap().latest(), jumped);
    /// ```
    #[must_use]
    pub fn latest(&self) -> Moment {
        self.pairings[self.pairings.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(wall_ms: u64, clock_ms: u64) -> Moment {
        Moment::new(
            EPOCH + Duration::from_millis(wall_ms),
            Duration::from_millis(clock_ms).as_nanos() as u64,
        )
    }

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

    #[test]
    fn only_a_jump_makes_a_pairing() {
        let timeline = Timeline::new(at(10_000, 1_000));
        for wall_ms in [11_950, 12_000, 12_050] {
            assert!(timeline.renewed(at(wall_ms, 3_000)).is_none(), "{wall_ms}");
        }
        for wall_ms in [0, 11_949, 12_051, 99_000] {
            let now = at(wall_ms, 3_000);
            assert_eq!(timeline.renewed(now).unwrap().latest(), now);
        }
        assert!(timeline.renewed(at(99_000, 999)).is_none(), "backwards");
    }

    #[test]
    fn each_time_is_placed_by_the_pairing_before_it() {
        let timeline = Timeline::new(at(10_000, 1_000));
        let timeline = timeline.renewed(at(50_000, 2_000)).unwrap();
        let wall = |ms: u64| timeline.wall_time(ms * 1_000_000);
        assert_eq!(wall(0), at(9_000, 0).wall());
        assert_eq!(wall(1_999), at(10_999, 0).wall());
        assert_eq!(wall(2_000), at(11_000, 0).wall());
        assert_eq!(wall(2_001), at(50_001, 0).wall());
        let _ = timeline.wall_time(u64::MAX);
    }

    #[test]
    fn while_the_clock_stands_still_no_pairing_is_dropped() {
        let mut timeline = Timeline::new(at(0, 1_000));
        for jump in 1..=100 {
            timeline = timeline.renewed(at(jump * 1_000, 1_000)).unwrap();
        }
        assert_eq!(timeline.pairings, [at(0, 1_000), at(100_000, 1_000)]);
        assert_eq!(timeline.wall_time(1_000_000_000), at(0, 0).wall());
    }

    #[test]
    fn the_oldest_pairings_are_dropped() {
        let mut timeline = Timeline::new(at(0, 0));
        for jump in 1..=100 {
            timeline = timeline.renewed(at(jump * 1_000, jump)).unwrap();
            assert!(timeline.pairings.len() <= Timeline::MAX_PAIRINGS);
        }
        assert_eq!(timeline.pairings.len(), Timeline::MAX_PAIRINGS);
        assert_eq!(timeline.pairings[0], at(37_000, 37));
        assert_eq!(timeline.latest(), at(100_000, 100));
    }

    proptest! {
        /// What is told at some reading of the clock is told the same after every later renewal.
        #[test]
        fn a_told_time_never_moves(
            steps in prop::collection::vec((1_u64..1 << 40, 0_u64..1 << 45), 1..63),
            ages in prop::collection::vec(prop_oneof![Just(0), 0_u64..1 << 41], 1..63),
        ) {
            let mut clock_ns = 1 << 42;
            let mut timeline = Timeline::new(Moment::new(EPOCH, clock_ns));
            let mut told = Vec::new();
            for ((step_ns, wall_ns), age_ns) in steps.into_iter().zip(ages) {
                let time_ns = clock_ns - age_ns;
                told.push((time_ns, timeline.wall_time(time_ns)));
                clock_ns += step_ns;
                // The wall clock says anything.
                let now = Moment::new(EPOCH + Duration::from_nanos(wall_ns), clock_ns);
                timeline = timeline.renewed(now).unwrap_or(timeline);
                for &(time_ns, wall) in &told {
                    prop_assert_eq!(timeline.wall_time(time_ns), wall);
                }
            }
        }
    }
}
