//! Tests of converting times, and of adding and dropping pairings.

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
fn each_time_is_converted_by_the_pairing_before_it() {
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
    /// A time converted at some reading of the clock is converted to the same after every renewal.
    #[test]
    fn a_converted_time_never_moves(
        steps in prop::collection::vec((1_u64..1 << 40, 0_u64..1 << 45), 1..63),
        ages in prop::collection::vec(prop_oneof![Just(0), 0_u64..1 << 41], 1..63),
    ) {
        let mut clock_ns = 1 << 42;
        let mut timeline = Timeline::new(Moment::new(EPOCH, clock_ns));
        let mut converted = Vec::new();
        for ((step_ns, wall_ns), age_ns) in steps.into_iter().zip(ages) {
            let time_ns = clock_ns - age_ns;
            converted.push((time_ns, timeline.wall_time(time_ns)));
            clock_ns += step_ns;
            // The wall clock reads anything.
            let now = Moment::new(EPOCH + Duration::from_nanos(wall_ns), clock_ns);
            timeline = timeline.renewed(now).unwrap_or(timeline);
            for &(time_ns, wall) in &converted {
                prop_assert_eq!(timeline.wall_time(time_ns), wall);
            }
        }
    }
}
