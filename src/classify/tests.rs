use super::*;
use crate::error::ToolError;
use serde_json::json;
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

#[test]
fn an_answer_may_carry_an_error() {
    let outcome = |answer: &Value| classify_mcp(answer).outcome();
    for success in [
        json!({ "isError": false }),
        json!({ "isError": null }),
        json!({ "isError": "yes" }),
        json!(null),
    ] {
        assert_eq!(outcome(&success), Outcome::Success, "{success}");
    }
    let failed = json!({ "isError": true, "content": [{ "type": "image" }, { "text": "why" }] });
    let verdict = classify_mcp(&failed);
    assert_eq!(verdict.outcome(), Outcome::Failure(ErrorKind::ToolError));
    assert_eq!(verdict.message().unwrap(), "why");
    let silent = classify_mcp(&json!({ "isError": true, "content": 3 }));
    assert_eq!(silent.outcome(), Outcome::Failure(ErrorKind::ToolError));
    assert!(silent.message().is_none());
}

#[test]
fn errors_of_the_protocol_within_an_answer_keep_their_kind() {
    for (text, kind) in [
        (
            "MCP error -32602: Input validation error",
            ErrorKind::InvalidArgs,
        ),
        (
            "MCP error -32602: Tool teleport not found",
            ErrorKind::NotFound,
        ),
        ("MCP error -32601: Method not found", ErrorKind::NotFound),
        ("MCP error -32603: Internal error", ErrorKind::Provider),
        ("MCP error -32001: Request timed out", ErrorKind::Timeout),
        ("MCP error -32000: Connection closed", ErrorKind::Network),
        (
            "failed to deserialize parameters: missing field `path`",
            ErrorKind::InvalidArgs,
        ),
        ("MCP error of my own: 3", ErrorKind::ToolError),
        ("", ErrorKind::ToolError),
    ] {
        let outcome = Verdict::mcp(true, text).outcome();
        assert_eq!(outcome, Outcome::Failure(kind), "{text}");
        assert_eq!(Verdict::mcp(None, text).outcome(), Outcome::Success);
        assert_eq!(Verdict::mcp(false, text).outcome(), Outcome::Success);
    }
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
