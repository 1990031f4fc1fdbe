use super::*;
use crate::error::ToolError;
use std::io;
use std::rc::Rc;

fn verdict<M>(result: &impl Classify<M>) -> (Outcome, Option<String>) {
    let verdict = result.classify();
    assert_eq!(verdict.outcome(), result.outcome(), "both ways agree");
    let message = verdict.message().map(Cow::into_owned);
    (verdict.outcome(), message)
}

fn failure(kind: ErrorKind, message: &str) -> (Outcome, Option<String>) {
    (Outcome::Failure(kind), Some(message.to_owned()))
}

#[test]
fn a_result_is_judged_by_its_error() {
    assert_eq!(verdict(&()), (Outcome::Success, None));
    assert_eq!(verdict(&Ok::<_, String>(1)), (Outcome::Success, None));
    let error = ToolError::new(ErrorKind::Network, "reset by peer");
    assert_eq!(
        verdict(&Err::<(), _>(error)),
        failure(ErrorKind::Network, "reset by peer")
    );
    let error = io::Error::new(io::ErrorKind::TimedOut, "5 s");
    assert_eq!(
        verdict(&Err::<(), _>(error)),
        failure(ErrorKind::Timeout, "5 s")
    );
    let error = ToolError::cancelled("interrupted");
    assert_eq!(
        verdict(&Err::<(), _>(error)),
        (Outcome::Cancelled, Some("interrupted".into()))
    );
}

#[test]
fn every_text_may_be_an_error() {
    let other = failure(ErrorKind::Other, "why");
    assert_eq!(verdict(&Err::<(), _>("why")), other);
    assert_eq!(verdict(&Err::<(), _>("why".to_owned())), other);
    assert_eq!(verdict(&Err::<(), _>(Cow::from("why"))), other);
    assert_eq!(verdict(&Err::<(), Box<str>>("why".into())), other);
    assert_eq!(verdict(&Err::<(), Rc<str>>("why".into())), other);
    assert_eq!(
        verdict(&Err::<(), std::sync::Arc<str>>("why".into())),
        other
    );
}

#[test]
fn whatever_hands_out_an_error_is_judged_by_it() {
    /// As `anyhow::Error` does.
    struct Report(Box<dyn Error + Send + Sync>);
    impl Deref for Report {
        type Target = dyn Error + Send + Sync;
        fn deref(&self) -> &Self::Target {
            &*self.0
        }
    }
    let late = || io::Error::new(io::ErrorKind::TimedOut, "5 s");
    let timeout = failure(ErrorKind::Timeout, "5 s");
    assert_eq!(verdict(&Err::<(), Box<dyn Error>>(late().into())), timeout);
    let error: Box<dyn Error + Send> = Box::new(late());
    assert_eq!(verdict(&Err::<(), _>(error)), timeout);
    let error: Box<dyn Error + Send + Sync> = Box::new(late());
    assert_eq!(verdict(&Err::<(), _>(error)), timeout);
    assert_eq!(verdict(&Err::<(), _>(Report(late().into()))), timeout);
}

#[test]
fn a_result_within_a_result_is_judged_by_both() {
    type Nested = Result<Result<u8, io::Error>, String>;
    let outcome = |result: &Nested| nested(result).outcome();
    assert_eq!(outcome(&Ok(Ok(1))), Outcome::Success);
    let inner = Ok(Err(io::ErrorKind::NotFound.into()));
    assert_eq!(outcome(&inner), Outcome::Failure(ErrorKind::NotFound));
    let outer = Err("late".to_owned());
    assert_eq!(outcome(&outer), Outcome::Failure(ErrorKind::Other));
    let three: Result<Nested, String> = Ok(Ok(Err(io::ErrorKind::NotFound.into())));
    let by_all = |result: &Result<Nested, String>| match result {
        Ok(inner) => nested(inner),
        Err(_) => result.classify(),
    };
    assert_eq!(
        by_all(&three).outcome(),
        Outcome::Failure(ErrorKind::NotFound)
    );
}

#[cfg(unix)]
#[test]
fn a_command_is_judged_by_its_exit_status() {
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(verdict(&ExitStatus::from_raw(0)), (Outcome::Success, None));
    let failed = Output {
        status: ExitStatus::from_raw(1 << 8),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    assert_eq!(
        verdict(&failed),
        failure(ErrorKind::ToolError, "exit status: 1")
    );
}
