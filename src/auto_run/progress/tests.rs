use super::*;

#[test]
fn an_attempt_that_was_none_is_taken_back() {
    for (last_attempt, started, retries, unnumbered) in [
        (0, false, 0, 0),
        (0, true, 0, 0),
        (7, false, 0, 0),
        (7, true, 1, 0),
        (u16::MAX, false, 0, 0),
        (u16::MAX, true, 1, 1),
    ] {
        let mut progress = CallProgress::default();
        let attempt = progress.next_attempt(last_attempt);
        assert_eq!(attempt, last_attempt.saturating_add(1));
        progress.retract_attempt(started);
        assert_eq!((progress.attempt, progress.attempts), (0, 0));
        assert_eq!(
            (progress.retries, progress.unnumbered),
            (retries, unnumbered)
        );
    }
}

#[test]
fn numbers_go_on_up_to_the_last_one() {
    let mut progress = CallProgress::default();
    let numbers = [(); 4].map(|()| progress.next_attempt(65_533));
    assert_eq!(numbers, [65_534, 65_535, 65_535, 65_535]);
    assert_eq!((progress.attempts, progress.retries), (4, 4));
    assert_eq!(progress.unnumbered, 2);
}
