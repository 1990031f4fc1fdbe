//! Conversions of the time of day to and from RFC 3339.

use jiff::Timestamp;
use std::time::SystemTime;

/// Returns the time as it is written, in RFC 3339 and UTC. Years before -9999 and after 9999 cannot
/// be written, and become the nearest time that can.
pub(crate) fn to_timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(if time < SystemTime::UNIX_EPOCH {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// Returns the time of a timestamp; `None` if [`SystemTime`] cannot represent it.
#[cfg(feature = "serde")]
pub(crate) fn from_timestamp(timestamp: Timestamp) -> Option<SystemTime> {
    let since_epoch = timestamp.as_duration();
    if since_epoch.is_negative() {
        SystemTime::UNIX_EPOCH.checked_sub(since_epoch.unsigned_abs())
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since_epoch.unsigned_abs())
    }
}

#[cfg(all(test, feature = "serde", not(toolmeter_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;
    use toolmeter_events::Moment;

    /// Returns the last second that this system can represent.
    fn end_of_time() -> SystemTime {
        (0..64).rev().fold(SystemTime::UNIX_EPOCH, |time, bit| {
            time.checked_add(Duration::from_secs(1 << bit))
                .unwrap_or(time)
        })
    }

    #[test]
    fn a_time_that_the_system_cannot_represent_is_that_of_the_pairing() {
        let wall = end_of_time();
        let pairing = Moment::new(wall, 0);
        assert_eq!(pairing.wall_time(u64::MAX), wall);
    }

    #[test]
    fn times_are_written_to_the_nanosecond_and_clamped_at_the_ends() {
        for distance in [
            Duration::ZERO,
            Duration::new(1, 1),
            Duration::new(1 << 37, 999_999_999),
        ] {
            for time in [
                SystemTime::UNIX_EPOCH + distance,
                SystemTime::UNIX_EPOCH - distance,
            ] {
                let written = to_timestamp(time).to_string();
                assert_eq!(
                    from_timestamp(written.parse().unwrap()),
                    Some(time),
                    "{written}"
                );
            }
        }
        assert_eq!(to_timestamp(end_of_time()), Timestamp::MAX);
        let long_ago = SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 40);
        assert_eq!(to_timestamp(long_ago), Timestamp::MIN);
        for end in [Timestamp::MIN, Timestamp::MAX] {
            let written = end.to_string();
            assert_eq!(written.parse::<Timestamp>().unwrap(), end);
            assert_eq!(to_timestamp(from_timestamp(end).unwrap()), end);
        }
    }
}
