use super::*;

#[test]
fn the_word_of_a_failure_keeps_kind_attempt_and_time() {
    let year_ns = 365 * 86_400 * 1_000_000_000_u64;
    for kind in ErrorKind::ALL {
        for attempt in [1, 2, u16::MAX] {
            for at_ns in [0, 1 << 16, 3 * year_ns] {
                let failure = LastFailure::new(kind, attempt, at_ns);
                let read = LastFailure::from_word(failure.to_word()).unwrap();
                assert_eq!((read.kind(), read.attempt()), (kind, attempt));
                assert_eq!(read.at_ns(at_ns + year_ns), at_ns >> 16 << 16);
            }
        }
    }
    assert_eq!(LastFailure::new(ErrorKind::Panic, 0, 0).attempt(), 1);
    assert_eq!(LastFailure::from_word(0), None);
}

#[test]
fn a_kind_that_this_version_does_not_know_is_read_as_other() {
    for unknown in [ErrorKind::COUNT as u64, 0xff] {
        let failure = LastFailure::from_word(unknown << 16 | 1).unwrap();
        assert_eq!(failure.kind(), ErrorKind::Other);
    }
}

#[test]
fn the_later_failure_wins_also_when_the_time_has_wrapped() {
    let end_ns = (1_u64 << 56) - (1 << 16);
    let before = LastFailure::new(ErrorKind::Other, 1, end_ns);
    let after = LastFailure::new(ErrorKind::Network, 1, end_ns + (1 << 17));
    for (a, b) in [(before, after), (after, before)] {
        assert_eq!(LastFailure::later(Some(a), Some(b)), Some(after));
    }
    assert_eq!(LastFailure::later(None, Some(before)), Some(before));
    assert_eq!(LastFailure::later(Some(before), None), Some(before));
}
