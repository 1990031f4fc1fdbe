//! The history of the wall clock against the registry's clock.
//!
//! # Invariant: a converted time does not move
//!
//! A wall-clock time that was reported once is reported the same again, whatever the wall clock did
//! meanwhile: it was set, or the machine was suspended, during which the registry's clock may stand
//! still.
//!
//! Proof. A time is converted by the newest pairing with a lower reading of the registry's clock. A
//! renewal adds a pairing at the current reading of that clock, and none if that is below the
//! existing pairings. So the new pairing is the newest, and converts only times above that
//! reading. Every time that may have been reported by then is not above it, and is converted by the
//! same pairing as before.
//!
//! This ends where a pairing is dropped, beyond [`Timeline::MAX_PAIRINGS`]: times before the oldest
//! pairing that is left are converted by that one.
//!
//! # Orderings
//!
//! None: a timeline never changes, a renewal makes another.

use crate::moment::Moment;
use std::time::{Duration, SystemTime};

/// The history of the wall clock against the registry's clock, as [`Moment`]s called pairings.
///
/// A time that was converted once is converted to the same time after the wall clock jumped: only
/// times after the jump are converted by the pairing that was added for it.
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
    /// Never empty. Sorted by the reading of the registry's clock.
    pairings: Vec<Moment>,
}

impl Timeline {
    /// The largest number of pairings. Beyond it the oldest are dropped.
    pub const MAX_PAIRINGS: usize = 64;
    /// The drift between the two clocks beyond which a pairing is added.
    pub const TOLERANCE: Duration = Duration::from_millis(50);

    /// Creates a timeline of one pairing.
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

    /// Returns a timeline with the pairing `now` added, if it is needed.
    ///
    /// Returns `None` if `now` agrees with the latest pairing within
    /// [`TOLERANCE`](Self::TOLERANCE). Also returns `None` if the registry's clock stepped back to
    /// before the latest pairing, since times before and after such a step cannot be distinguished.
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
        if now.clock_ns() < latest.clock_ns() {
            return None;
        }
        let expected = latest.wall_time(now.clock_ns());
        let drift = now
            .wall()
            .duration_since(expected)
            .unwrap_or_else(|error| error.duration());
        if drift <= Self::TOLERANCE {
            return None;
        }
        // While the registry's clock stands still, pairings follow each other at the same reading,
        // and only the last of them converts any time.
        let replaced = self.pairings.len() > 1 && latest.clock_ns() == now.clock_ns();
        let kept = &self.pairings[..self.pairings.len() - usize::from(replaced)];
        let kept = &kept[(kept.len() + 1).saturating_sub(Self::MAX_PAIRINGS)..];
        let mut pairings = Vec::with_capacity(kept.len() + 1);
        pairings.extend_from_slice(kept);
        pairings.push(now);
        Some(Self { pairings })
    }

    /// Returns the wall-clock time at which the registry's clock read `time_ns` nanoseconds.
    ///
    /// The newest pairing with a lower reading of that clock converts it; the oldest pairing
    /// converts times up to its own. If the system cannot express the result, this is the
    /// wall-clock time of the pairing.
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
            .partition_point(|pairing| pairing.clock_ns() < time_ns);
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
mod tests;
