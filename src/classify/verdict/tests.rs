use super::*;
use crate::classify::Classify;

#[test]
fn a_verdict_says_what_it_was_given_and_a_success_says_nothing() {
    let message = |verdict: Verdict| verdict.message().map(Cow::into_owned);
    assert_eq!(
        message(Verdict::rejected().because("no")).as_deref(),
        Some("no")
    );
    assert_eq!(
        message(Verdict::cancelled().because(3)).as_deref(),
        Some("3")
    );
    assert_eq!(message(Verdict::success().because("fine")), None);
    assert_eq!(message(Verdict::failure(ErrorKind::Other)), None);
}

#[test]
fn an_error_that_panics_is_an_error_all_the_same() {
    #[derive(Debug)]
    struct Panics;
    impl std::fmt::Display for Panics {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("cannot be shown")
        }
    }
    impl Error for Panics {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            panic!("nor its source")
        }
    }
    let verdict = Verdict::from_error(&Panics);
    assert_eq!(verdict.outcome(), Outcome::Failure(ErrorKind::Other));
    assert!(verdict.message().unwrap().contains("could not be read"));
    assert_eq!(
        Err::<(), _>(Panics).outcome(),
        Outcome::Failure(ErrorKind::Other)
    );
}
