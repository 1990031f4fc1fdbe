//! The meaning of results: each way in which a tool can succeed, fail, stop or refuse, with its
//! counts and the text that is kept.
//!
//! The clock is manual and tokio's time is paused, so nothing here waits.
#![cfg(not(toolmeter_loom))]

mod common;

use common::{host, invoke, poll_once, registry, stats};
use serde_json::{Value, json};
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture, pending};
use std::io;
use std::mem;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use toolmeter::{
    CallContext, ErrorKind, EventKind, Invocation, InvokeError, Outcome, Registry, Tool, ToolError,
    ToolFuture, ToolSpec, ToolStats, Verdict, async_tool, classify_mcp, nested, sync_tool,
};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a registry whose tool returns this.
fn host_of(
    gives: impl Fn(Invocation) -> Result<Value, ToolError> + Send + Sync + 'static,
) -> Registry {
    let (registry, _) = registry();
    let tool = async_tool("tool", move |call| std::future::ready(gives(call)));
    registry.register_tool(tool).unwrap();
    registry
}

/// Successes, failures, cancelled and rejected calls.
type Counts = (u64, u64, u64, u64);

const SUCCESS: Counts = (1, 0, 0, 0);
const FAILURE: Counts = (0, 1, 0, 0);
const CANCELLED: Counts = (0, 0, 1, 0);
const REJECTED: Counts = (0, 0, 0, 1);

/// Returns the counts so far, and resets them. Nothing is in flight.
#[track_caller]
fn take(registry: &Registry) -> (Counts, Vec<(ErrorKind, u64)>, Option<String>) {
    let metrics = registry.reset_metrics();
    let stats = &metrics.tools["tool"];
    assert_eq!(stats.in_flight, 0);
    let counts = (
        stats.success(),
        stats.failure(),
        stats.cancelled(),
        stats.rejected,
    );
    let kinds = stats.failures_by_kind.iter();
    let kinds = kinds.map(|(&kind, &count)| (kind, count)).collect();
    let last_error = stats.last_error.as_ref();
    (
        counts,
        kinds,
        last_error.and_then(|error| error.message.clone()),
    )
}

/// Asserts that there was one call, a failure of this kind, and returns its text.
#[track_caller]
fn assert_failed(registry: &Registry, kind: ErrorKind) -> String {
    let (counts, kinds, message) = take(registry);
    assert_eq!((counts, kinds), (FAILURE, vec![(kind, 1)]));
    message.unwrap_or_default()
}

/// Asserts that there was one call with this end, which is not a failure.
#[track_caller]
fn assert_one(registry: &Registry, expected: Counts) {
    let (counts, kinds, message) = take(registry);
    assert_eq!((counts, kinds, message), (expected, vec![], None));
}

/// Asserts that there was one call with this outcome.
#[track_caller]
fn assert_outcome(registry: &Registry, outcome: Outcome) {
    match outcome {
        Outcome::Success => assert_one(registry, SUCCESS),
        Outcome::Failure(kind) => {
            assert_failed(registry, kind);
        }
        Outcome::Cancelled => assert_one(registry, CANCELLED),
        Outcome::Rejected => assert_one(registry, REJECTED),
    }
}

// ---------------------------------------------------------------------------------------------
// Results within results.

#[cfg(feature = "tokio")]
mod results_of_tokio {
    use super::*;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn fails() -> Result<(), io::Error> {
        Err(io::Error::new(io::ErrorKind::NotFound, "no such page"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_within_a_time_limit_of_the_host_is_that_failure() {
        let (registry, tool, _) = host();
        let call = tool.call().classify(nested);
        let given = call.run_async(timeout(LIMIT, fails())).await;
        assert!(given.unwrap().is_err());
        assert_eq!(
            assert_failed(&registry, ErrorKind::NotFound),
            "no such page"
        );

        let call = tool.call().classify(nested);
        let done = async { Ok::<_, io::Error>(3) };
        let given = call.run_async(timeout(LIMIT, done)).await;
        assert_eq!(given.unwrap().unwrap(), 3);
        assert_one(&registry, SUCCESS);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_by_a_time_limit_of_the_host_is_a_time_out() {
        let (registry, tool, _) = host();
        let hangs = timeout(LIMIT, pending::<Result<(), io::Error>>());
        let given = tool.call().classify(nested).run_async(hangs).await;
        assert!(given.is_err());
        let text = assert_failed(&registry, ErrorKind::Timeout);
        assert!(text.contains("elapsed"), "{text}");

        let given = tool.run_async(timeout(LIMIT, pending::<()>())).await;
        assert!(given.is_err());
        assert_failed(&registry, ErrorKind::Timeout);

        // Two nested limits and a rule: the inner limit is exceeded.
        let inner = timeout(SECOND, pending::<Result<(), io::Error>>());
        let call = tool.call().within(LIMIT).classify(nested);
        assert!(call.run_async(inner).await.unwrap().is_err());
        assert_failed(&registry, ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn a_panic_of_a_task_is_a_panic() {
        let (registry, tool, _) = host();
        let task = tokio::spawn(async { panic!("out of cheese") });
        let joined: Result<(), _> = tool.run_async(task).await;
        assert!(joined.unwrap_err().is_panic());
        let text = assert_failed(&registry, ErrorKind::Panic);
        assert!(text.contains("out of cheese"), "{text}");

        let panics = tokio::spawn(async { panic!("out of cheese") });
        let panics: tokio::task::JoinHandle<Result<(), io::Error>> = panics;
        assert!(
            tool.call()
                .classify(nested)
                .run_async(panics)
                .await
                .is_err()
        );
        assert_failed(&registry, ErrorKind::Panic);
    }

    #[tokio::test]
    async fn a_task_that_was_aborted_is_cancelled() {
        let (registry, tool, _) = host();
        let task = tokio::spawn(pending::<()>());
        task.abort();
        assert!(tool.run_async(task).await.unwrap_err().is_cancelled());
        assert_one(&registry, CANCELLED);

        let task = tokio::spawn(pending::<Result<(), io::Error>>());
        task.abort();
        assert!(tool.call().classify(nested).run_async(task).await.is_err());
        assert_one(&registry, CANCELLED);
    }

    #[tokio::test]
    async fn a_failure_of_a_task_is_that_failure() {
        let (registry, tool, _) = host();
        let task = tokio::spawn(fails());
        let joined = tool.call().classify(nested).run_async(task).await;
        assert!(joined.unwrap().is_err());
        assert_eq!(
            assert_failed(&registry, ErrorKind::NotFound),
            "no such page"
        );
    }
}

#[cfg(unix)]
mod processes {
    use super::*;
    use std::process::Command;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_exit_status_other_than_zero_is_an_error_of_the_tool() {
        let (registry, tool, _) = host();
        let call = tool.call().classify(nested);
        let output = call.run(|| Command::new("false").output());
        assert!(output.is_ok());
        let text = assert_failed(&registry, ErrorKind::ToolError);
        assert_eq!(text, "exit status: 1");

        let _ = tool.run(|| Command::new("false").status().unwrap());
        let text = assert_failed(&registry, ErrorKind::ToolError);
        assert_eq!(text, "exit status: 1");
        let _ = tool.run(|| shell("exit 42").output().unwrap());
        let text = assert_failed(&registry, ErrorKind::ToolError);
        assert_eq!(text, "exit status: 42");
        let _ = tool.run(|| shell("kill -9 $$").output().unwrap());
        let text = assert_failed(&registry, ErrorKind::ToolError);
        assert!(text.contains("signal: 9"), "{text}");
    }

    #[test]
    fn an_exit_status_of_zero_is_a_success() {
        let (registry, tool, _) = host();
        let _ = tool
            .call()
            .classify(nested)
            .run(|| Command::new("true").output());
        assert_one(&registry, SUCCESS);
        let _ = tool.run(|| Command::new("true").output().unwrap());
        assert_one(&registry, SUCCESS);
        let _ = tool.run(|| Command::new("true").status().unwrap());
        assert_one(&registry, SUCCESS);
    }

    #[test]
    fn a_command_that_is_not_there_is_not_found() {
        let (registry, tool, _) = host();
        let run = || Command::new("/no/such/command").output();
        assert!(tool.call().classify(nested).run(run).is_err());
        assert_failed(&registry, ErrorKind::NotFound);
        assert!(tool.run(run).is_err());
        assert_failed(&registry, ErrorKind::NotFound);
    }
}

// ---------------------------------------------------------------------------------------------
// Causes below the error.

/// An error of the host, which names a step and has a cause.
#[derive(Debug)]
struct HostError(usize, Box<dyn Error + Send + Sync>);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.0)
    }
}

impl Error for HostError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.1)
    }
}

/// A type like those of anyhow and eyre: it is not an `Error` itself, but dereferences to one.
#[derive(Debug)]
struct Report(Box<dyn Error + Send + Sync>);

impl Deref for Report {
    type Target = dyn Error + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Returns a time-out of the operating system below `depth` errors of the host, and the text of
/// all.
fn time_out_below(depth: usize) -> (HostError, String) {
    let cause = io::Error::new(io::ErrorKind::TimedOut, "no answer in 5 s");
    let mut error = HostError(1, Box::new(cause));
    let mut text = "step 1: no answer in 5 s".to_owned();
    for step in 2..=depth {
        error = HostError(step, Box::new(error));
        text = format!("step {step}: {text}");
    }
    (error, text)
}

#[test]
fn a_cause_is_found_below_the_hosts_own_error_at_any_depth() {
    let (registry, tool, _) = host();
    for depth in 1..=20 {
        let (error, text) = time_out_below(depth);
        let _: Result<(), HostError> = tool.run(|| Err(error));
        assert_eq!(assert_failed(&registry, ErrorKind::Timeout), text);
    }
}

#[test]
fn a_cause_is_found_below_a_boxed_error_at_any_depth() {
    let (registry, tool, _) = host();
    for depth in 1..=20 {
        let (error, text) = time_out_below(depth);
        let _: Result<(), Box<dyn Error>> = tool.run(|| Err(error.into()));
        assert_eq!(assert_failed(&registry, ErrorKind::Timeout), text);

        let error: Box<dyn Error + Send> = Box::new(time_out_below(depth).0);
        let _: Result<(), Box<dyn Error + Send>> = tool.run(|| Err(error));
        assert_eq!(assert_failed(&registry, ErrorKind::Timeout), text);

        let (error, _) = time_out_below(depth);
        let _: Result<(), Box<dyn Error + Send + Sync>> = tool.run(|| Err(error.into()));
        assert_eq!(assert_failed(&registry, ErrorKind::Timeout), text);
    }
}

#[test]
fn a_cause_is_found_below_an_error_that_hands_out_another() {
    let (registry, tool, _) = host();
    for depth in 1..=20 {
        let (error, text) = time_out_below(depth);
        let _: Result<(), Report> = tool.run(|| Err(Report(error.into())));
        assert_eq!(assert_failed(&registry, ErrorKind::Timeout), text);
    }
}

/// The same where a tool converts it to an error of its own, or a guard records it.
#[test]
fn a_cause_is_found_below_a_tools_error_and_by_a_guard() {
    let (registry, tool, _) = host();
    let by_name = host_of(|_| Err(ToolError::from_error(&time_out_below(20).0)));
    let boxed = host_of(|_| {
        let error: Box<dyn Error + Send + Sync> = time_out_below(20).0.into();
        Err(error.into())
    });
    let text = time_out_below(20).1;
    for registry in [by_name, boxed] {
        let error = invoke(&registry, json!({})).unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::Timeout));
        assert_eq!(assert_failed(&registry, ErrorKind::Timeout), text);
    }
    let given: Result<(), _> = Err(time_out_below(20).0);
    tool.start().record(&given);
    assert_eq!(assert_failed(&registry, ErrorKind::Timeout), text);
    tool.start()
        .finish(Verdict::from_error(&time_out_below(20).0));
    assert_eq!(assert_failed(&registry, ErrorKind::Timeout), text);
}

// ---------------------------------------------------------------------------------------------
// Answers.

/// Asserts that the tool's answer comes back unchanged, and was counted with this outcome.
#[track_caller]
fn assert_given_back(answer: &Value, outcome: Outcome) {
    let registry = host_of(|call| Ok(call.args));
    assert_eq!(&invoke(&registry, answer.clone()).unwrap(), answer);
    assert_outcome(&registry, outcome);
}

#[test]
fn an_answer_without_a_true_error_flag_is_a_success_whatever_its_shape() {
    for answer in [
        json!({ "isError": null, "content": [{ "type": "text", "text": "3 hits" }] }),
        json!({ "isError": false, "content": [] }),
        json!({ "isError": "yes" }),
        json!({ "isError": "yes", "ok": [1, 2, 3] }),
        json!({ "isError": 1 }),
        json!({ "isError": [true] }),
        json!({ "isError": { "true": true } }),
        json!({ "result": { "isError": true } }),
        json!([{ "isError": true }]),
        json!("isError"),
        json!(null),
    ] {
        assert_given_back(&answer, Outcome::Success);
    }
}

#[test]
fn an_answer_with_an_error_flag_is_counted_and_given_back() {
    let tool_error = Outcome::Failure(ErrorKind::ToolError);
    for answer in [
        json!({ "isError": true }),
        json!({ "isError": true, "content": null }),
        json!({ "isError": true, "content": "no such repo" }),
        json!({ "isError": true, "content": [{ "type": "image", "data": "" }] }),
        json!({ "isError": true, "content": [{ "type": "text", "text": "no such repo" }] }),
    ] {
        assert_given_back(&answer, tool_error);
    }
    let registry = host_of(|call| Ok(call.args));
    let content = json!([{ "type": "image" }, { "type": "text", "text": "no such repo" }]);
    invoke(&registry, json!({ "isError": true, "content": content })).unwrap();
    let text = assert_failed(&registry, ErrorKind::ToolError);
    assert_eq!(text, "no such repo");
}

/// A tool that answers with its arguments, and judges them by a flag that is a word.
struct OwnRule;

impl Tool for OwnRule {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new("tool")
    }

    fn call(&self, invocation: Invocation) -> ToolFuture {
        Box::pin(std::future::ready(Ok(invocation.args)))
    }

    fn classify(&self, answer: &Value) -> Verdict {
        match answer["isError"].as_str() {
            Some("yes") => Verdict::failure(ErrorKind::Provider).because("it says yes"),
            Some("stopped") => Verdict::cancelled(),
            Some("refused") => Verdict::rejected(),
            _ => Verdict::success(),
        }
    }
}

#[test]
fn a_tools_own_rule_judges_its_answers_and_withholds_none() {
    let (registry, _) = registry();
    registry.register_tool(OwnRule).unwrap();
    for (flag, outcome) in [
        (json!("yes"), Outcome::Failure(ErrorKind::Provider)),
        (json!("stopped"), Outcome::Cancelled),
        (json!("refused"), Outcome::Rejected),
        (json!("no"), Outcome::Success),
        (json!(true), Outcome::Success),
        (json!(null), Outcome::Success),
    ] {
        let answer = json!({ "isError": flag });
        assert_eq!(invoke(&registry, answer.clone()).unwrap(), answer);
        assert_outcome(&registry, outcome);
    }
    invoke(&registry, json!({ "isError": "yes" })).unwrap();
    let text = assert_failed(&registry, ErrorKind::Provider);
    assert_eq!(text, "it says yes");

    // The caller's rule takes precedence over the tool's.
    let answer = json!({ "isError": "yes" });
    let call = registry
        .invoke("tool", answer.clone())
        .classify(classify_mcp);
    let Poll::Ready(given) = poll_once(pin!(call.into_future())) else {
        panic!("the tool was not done at once");
    };
    assert_eq!(given.unwrap(), answer);
    assert_one(&registry, SUCCESS);
}

/// A rule that panics is a failure of the call, and unwinds nowhere.
#[test]
fn a_rule_of_a_tool_that_panics_is_a_panic() {
    struct Panics;
    impl Tool for Panics {
        fn spec(&self) -> ToolSpec {
            ToolSpec::new("tool")
        }
        fn call(&self, invocation: Invocation) -> ToolFuture {
            Box::pin(std::future::ready(Ok(invocation.args)))
        }
        fn classify(&self, _: &Value) -> Verdict {
            panic_any(Bomb)
        }
    }
    let (registry, _) = registry();
    registry.register_tool(Panics).unwrap();
    let error = invoke(&registry, json!(1)).unwrap_err();
    assert!(matches!(error, InvokeError::Panicked { .. }));
    assert_failed(&registry, ErrorKind::Panic);
}

// ---------------------------------------------------------------------------------------------
// The Model Context Protocol.

/// Judges an error of a server as an MCP client gets it.
fn by_code(answer: &Result<Value, (i64, String)>) -> Verdict {
    match answer {
        Ok(answer) => classify_mcp(answer),
        Err((code, message)) => Verdict::json_rpc_error(*code, message),
    }
}

#[test]
fn errors_of_json_rpc_keep_their_meaning() {
    let (registry, tool, _) = host();
    for (code, kind) in [
        (-32_602, ErrorKind::InvalidArgs),
        (-32_601, ErrorKind::NotFound),
        (-32_603, ErrorKind::Provider),
        (-32_001, ErrorKind::Timeout),
        (-32_000, ErrorKind::Network),
    ] {
        let answer = Err((code, format!("error {code}")));
        let call = tool.call().classify(by_code);
        assert!(call.run(|| answer).is_err());
        assert_eq!(assert_failed(&registry, kind), format!("error {code}"));
    }
    let answer =
        json!({ "isError": true, "content": [{ "type": "text", "text": "no such repo" }] });
    assert!(tool.call().classify(by_code).run(|| Ok(answer)).is_ok());
    let text = assert_failed(&registry, ErrorKind::ToolError);
    assert_eq!(text, "no such repo");
}

/// The texts of the SDKs for errors of the protocol inside an answer.
#[test]
fn errors_that_an_sdk_words_inside_an_answer_keep_their_meaning() {
    for (text, kind) in [
        (
            "MCP error -32602: Input validation error: Invalid arguments for tool read: [\n  {\n \"code\": \"invalid_type\"",
            ErrorKind::InvalidArgs,
        ),
        (
            "MCP error -32602: Invalid arguments for tool read: path",
            ErrorKind::InvalidArgs,
        ),
        (
            "failed to deserialize parameters: missing field `path`",
            ErrorKind::InvalidArgs,
        ),
        (
            "Error executing tool add: 1 validation error for addArguments\nb\n  Field required [type=missing",
            ErrorKind::InvalidArgs,
        ),
        ("MCP error -32602: Tool raed not found", ErrorKind::NotFound),
        ("MCP error -32602: Tool off disabled", ErrorKind::NotFound),
        ("Unknown tool: raed", ErrorKind::NotFound),
        (
            "MCP error -32602: Output validation error: Invalid structured content for tool read",
            ErrorKind::ToolError,
        ),
        (
            "Error executing tool add: no such row",
            ErrorKind::ToolError,
        ),
        ("MCP error -32601: Method not found", ErrorKind::NotFound),
        ("MCP error -32603: Internal error", ErrorKind::Provider),
        ("MCP error -32001: Request timed out", ErrorKind::Timeout),
        ("MCP error -32000: Connection closed", ErrorKind::Network),
        ("no such repo", ErrorKind::ToolError),
        ("MCP error: it is broken", ErrorKind::ToolError),
        ("", ErrorKind::ToolError),
    ] {
        let answer = json!({ "isError": true, "content": [{ "type": "text", "text": text }] });
        assert_given_back(&answer, Outcome::Failure(kind));
        assert_eq!(Verdict::mcp(true, text).outcome(), Outcome::Failure(kind));
    }
}

#[test]
fn a_server_that_is_gone_is_a_failure_of_the_network() {
    for kind in [
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionRefused,
    ] {
        let registry = host_of(move |_| Err(io::Error::from(kind).into()));
        let error = invoke(&registry, json!({})).unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::Network));
        assert_failed(&registry, ErrorKind::Network);

        // Below the client's own error.
        let registry = host_of(move |_| {
            let client = HostError(1, io::Error::from(kind).into());
            Err(ToolError::from_error(&client))
        });
        assert!(invoke(&registry, json!({})).is_err());
        assert_failed(&registry, ErrorKind::Network);
    }
}

// ---------------------------------------------------------------------------------------------
// Calls that stop.

#[test]
fn a_tool_that_notices_that_it_should_stop_is_cancelled() {
    let (registry, tool, _) = host();
    let judge = |result: &Result<(), &str>| match result {
        Ok(()) => Verdict::success(),
        Err(why) => Verdict::cancelled().because(why),
    };
    let _ = tool.call().classify(judge).run(|| Err("interrupted"));
    assert_one(&registry, CANCELLED);
    let stopped = tool
        .call()
        .classify(judge)
        .run_async(async { Err("interrupted") });
    assert!(poll_once(pin!(stopped)).is_ready());
    assert_one(&registry, CANCELLED);

    tool.start().cancel();
    assert_one(&registry, CANCELLED);
    tool.start().finish(Verdict::cancelled());
    assert_one(&registry, CANCELLED);
    let _ = tool.run(|| Err::<(), _>(ToolError::cancelled("interrupted")));
    assert_one(&registry, CANCELLED);
    let stopped = ToolError::cancelled("interrupted");
    let _ = tool.run(|| Err::<(), _>(HostError(1, stopped.into())));
    assert_one(&registry, CANCELLED);

    let by_name = host_of(|_| Err(ToolError::cancelled("interrupted")));
    let error = invoke(&by_name, json!({})).unwrap_err();
    assert_eq!((error.outcome(), error.kind()), (Outcome::Cancelled, None));
    assert!(error.to_string().contains("interrupted"));
    assert_one(&by_name, CANCELLED);
}

#[test]
fn subscribers_hear_why_a_tool_stopped() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    tool.start()
        .finish(Verdict::cancelled().because("interrupted"));
    registry.pump();
    let batch = events.try_recv().unwrap();
    assert_eq!(batch[1].kind(), EventKind::Cancelled);
    assert_eq!(batch[1].message(), Some("interrupted"));
    assert_eq!(batch[1].latency(), Some(Duration::ZERO));
}

// ---------------------------------------------------------------------------------------------
// Calls that are refused.

#[test]
fn a_call_that_is_refused_before_it_starts_is_one_event_and_no_latency() {
    let (registry, clock) = registry();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    clock.advance(SECOND);
    let context = CallContext::new("session-17").turn(3).call("call_9f");
    let call = tool.call().attempt(2).context(context);
    call.reject("no shell after midnight");
    registry.pump();

    let batch = events.try_recv().unwrap();
    assert_eq!(batch.len(), 1, "{batch:?}");
    let event = &batch[0];
    assert_eq!(event.kind(), EventKind::Rejected);
    assert_eq!(event.kind().as_str(), "tool.rejected");
    assert_eq!(event.message(), Some("no shell after midnight"));
    assert_eq!((event.attempt(), event.latency()), (2, None));
    assert_eq!(event.error_kind(), None);
    let context = event.context().unwrap();
    assert_eq!(
        (&*context.session, context.turn, &*context.call),
        ("session-17", 3, "call_9f")
    );
    assert_eq!(event.time_ns(), SECOND.as_nanos() as u64);
    assert_no_latency(&stats(&registry));
    assert_eq!(stats(&registry).retried, 0);
    assert_one(&registry, REJECTED);
}

/// Asserts that there is no latency anywhere.
#[track_caller]
fn assert_no_latency(stats: &ToolStats) {
    let latency = &stats.latency;
    for latency in [&latency.success, &latency.failure, &latency.cancelled] {
        assert_eq!((latency.count(), latency.max()), (0, None));
        assert_eq!(latency.sum(), Duration::ZERO);
    }
    assert_eq!((stats.finished(), stats.last_finish), (0, None));
    assert_eq!(stats.total_latency(), Duration::ZERO);
    assert_eq!(stats.last_error, None);
    assert!(stats.failures_by_kind.is_empty());
}

#[test]
fn a_call_that_is_refused_after_it_started_is_two_events_and_no_latency() {
    let (registry, clock) = registry();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    let context = CallContext::new("session-17").call("call_9f");
    let call = tool.call().attempt(3).context(context).start();
    assert_eq!(stats(&registry).in_flight, 1);
    clock.advance(SECOND);
    call.reject("denied");
    registry.pump();

    let batch = events.try_recv().unwrap();
    let kinds: Vec<_> = batch.iter().map(|event| event.kind().as_str()).collect();
    assert_eq!(kinds, ["tool.started", "tool.rejected"]);
    assert_eq!(batch[0].call(), batch[1].call());
    assert_eq!(
        (batch[1].message(), batch[1].latency()),
        (Some("denied"), None)
    );
    assert_eq!(batch[1].attempt(), 3);
    assert_eq!(&*batch[1].context().unwrap().call, "call_9f");
    assert_no_latency(&stats(&registry));
    assert_one(&registry, REJECTED);

    // The other ways to reject a call.
    tool.start().finish(Verdict::rejected().because("denied"));
    assert_one(&registry, REJECTED);
    let _ = tool.run(|| Err::<(), _>(ToolError::rejected("denied")));
    assert_one(&registry, REJECTED);
    let by_name = host_of(|_| Err(ToolError::rejected("denied")));
    assert!(invoke(&by_name, json!({})).is_err());
    assert_no_latency(&stats(&by_name));
    assert_one(&by_name, REJECTED);
}

#[test]
fn a_retry_that_is_refused_before_it_starts_is_no_retry() {
    let (registry, tool, _) = host();
    tool.call().attempt(2).reject("denied");
    let stats = stats(&registry);
    assert_eq!((stats.rejected, stats.in_flight), (1, 0));
    assert_no_latency(&stats);
    assert_eq!((stats.retried, stats.recovered), (0, 0));
}

/// It was counted when it started, and intervals would not add up if it were subtracted.
#[test]
fn a_retry_that_is_refused_after_it_started_stays_a_retry() {
    let (registry, tool, _) = host();
    tool.call().attempt(2).start().reject("denied");
    let stats = stats(&registry);
    assert_eq!((stats.rejected, stats.in_flight), (1, 0));
    assert_no_latency(&stats);
    assert_eq!((stats.retried, stats.recovered), (1, 0));
}

#[test]
fn a_disabled_tool_refuses_its_calls() {
    let registry = host_of(|call| Ok(call.args));
    registry.get("tool").unwrap().set_enabled(false);
    let error = invoke(&registry, json!({})).unwrap_err();
    assert!(matches!(error, InvokeError::Disabled { .. }));
    assert_no_latency(&stats(&registry));
    assert_one(&registry, REJECTED);
}

// ---------------------------------------------------------------------------------------------
// Panics that are not the tool's.

#[test]
fn a_guard_that_is_dropped_while_its_thread_unwinds_is_cancelled() {
    let (registry, tool, _) = host();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _call = tool.start();
        panic!("a bug of the host");
    }));
    assert!(ended.is_err());
    assert_one(&registry, CANCELLED);

    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _call = tool.start_owned();
        let mut future = Box::pin(tool.run_async(pending::<()>()));
        assert!(poll_once(future.as_mut()).is_pending());
        panic!("a bug of the host");
    }));
    assert!(ended.is_err());
    let (counts, kinds, _) = take(&registry);
    assert_eq!((counts, kinds), ((0, 0, 2, 0), vec![]));
}

/// A tool within a tool: the panic is that of the inner one, and passes through the outer one.
#[test]
fn a_panic_is_that_of_each_tool_that_it_passes_through() {
    let (registry, tool, _) = host();
    let inner = registry.register("inner").unwrap();
    let waits = registry.register("waits").unwrap();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        tool.run(|| {
            let _waits = waits.start();
            inner.run(|| -> () { panic!("inner") });
        });
    }));
    assert!(ended.is_err());
    let metrics = registry.metrics();
    let panics = |name| metrics.tools[name].failures_by_kind[&ErrorKind::Panic];
    assert_eq!((panics("tool"), panics("inner")), (1, 1));
    assert_eq!(metrics.tools["waits"].cancelled(), 1);
}

/// A task has two futures: one is metered and waits, the other panics.
#[tokio::test]
async fn a_call_whose_neighbour_panics_is_cancelled() {
    let (registry, _) = registry();
    let tool = registry.register("tool").unwrap();
    let by_name = async_tool("by_name", |_| pending());
    registry.register_tool(by_name).unwrap();
    let host = registry.clone();
    let task = tokio::spawn(async move {
        tokio::join!(
            tool.run_async(pending::<Result<(), String>>()),
            host.invoke("by_name", json!({})).into_future(),
            async {
                tokio::task::yield_now().await;
                panic!("a bug of the host")
            }
        )
    });
    assert!(task.await.unwrap_err().is_panic());
    let metrics = registry.metrics();
    assert_eq!(metrics.tools["by_name"].cancelled(), 1);
    assert_eq!(metrics.tools["by_name"].failure(), 0);
    assert_one(&registry, CANCELLED);
}

/// A thread has two tasks, and the runtime is dropped while the panic of the other one unwinds.
#[test]
fn a_task_that_goes_with_its_runtime_is_cancelled_whatever_unwinds() {
    let (registry, tool, _) = host();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            tokio::spawn(async move { tool.run_async(pending::<()>()).await });
            while stats(&registry).in_flight == 0 {
                tokio::task::yield_now().await;
            }
            panic!("a bug of the host");
        });
    }));
    assert!(ended.is_err());
    assert_one(&registry, CANCELLED);
}

// ---------------------------------------------------------------------------------------------
// Panics that go off again.

/// A value that panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Fuse);
    }
}

/// The payload of a bomb's panic, which panics when it is dropped, too.
struct Fuse;

impl Drop for Fuse {
    fn drop(&mut self) {
        panic!("twice");
    }
}

/// A future that panics when it is dropped, and is ready after this many polls.
struct BombFuture(usize, Result<Value, ToolError>);

impl BombFuture {
    fn never() -> Self {
        Self(usize::MAX, Ok(json!(null)))
    }
}

impl Future for BombFuture {
    type Output = Result<Value, ToolError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0 == 0 {
            return Poll::Ready(self.1.clone());
        }
        self.0 -= 1;
        Poll::Pending
    }
}

impl Drop for BombFuture {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

/// Asserts that nothing unwinds out of `code`.
#[track_caller]
fn quiet<R>(code: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(given) => given,
        Err(payload) => {
            mem::forget(payload);
            panic!("a panic came through");
        }
    }
}

/// Asserts that only the tool's own panic unwinds out of `code`.
#[track_caller]
fn panics_with_a_bomb(code: impl FnOnce()) {
    let payload: Box<dyn Any + Send> = catch_unwind(AssertUnwindSafe(code)).unwrap_err();
    assert!(payload.is::<Bomb>(), "the tool's own panic was lost");
    mem::forget(payload);
}

#[test]
fn a_panic_whose_payload_panics_is_one_panic() {
    let (registry, tool, _) = host();
    panics_with_a_bomb(|| tool.run(|| panic_any(Bomb)));
    assert_failed(&registry, ErrorKind::Panic);
    panics_with_a_bomb(|| {
        let mut future = Box::pin(tool.run_async(async { panic_any(Bomb) as () }));
        let _ = poll_once(future.as_mut());
    });
    assert_failed(&registry, ErrorKind::Panic);

    let by_name = host_of(|_| panic_any(Bomb));
    let error = quiet(|| invoke(&by_name, json!({}))).unwrap_err();
    assert!(matches!(error, InvokeError::Panicked { .. }));
    quiet(|| drop(error));
    assert_failed(&by_name, ErrorKind::Panic);
    let (blocking, _) = self::registry();
    let tool = sync_tool("tool", |_| panic_any(Bomb));
    blocking.register_tool(tool).unwrap();
    assert!(quiet(|| invoke(&blocking, json!({}))).is_err());
    assert_failed(&blocking, ErrorKind::Panic);
}

#[test]
fn a_future_that_panics_when_it_is_dropped_is_what_it_was() {
    let (registry, tool, _) = host();
    // After it was done.
    let mut done = Box::pin(tool.run_async(BombFuture(1, Ok(json!(3)))));
    assert!(poll_once(done.as_mut()).is_pending());
    let answer = quiet(|| poll_once(done.as_mut()));
    assert_eq!(answer, Poll::Ready(Ok(json!(3))));
    quiet(|| drop(done));
    assert_one(&registry, SUCCESS);
    let refused = ToolError::new(ErrorKind::RateLimited, "in 30 s");
    let mut failed = Box::pin(tool.run_async(BombFuture(0, Err(refused))));
    assert!(quiet(|| poll_once(failed.as_mut())).is_ready());
    quiet(|| drop(failed));
    assert_failed(&registry, ErrorKind::RateLimited);
    // The future is dropped before it is done, and before it was polled.
    let mut cancelled = Box::pin(tool.run_async(BombFuture::never()));
    assert!(poll_once(cancelled.as_mut()).is_pending());
    quiet(|| drop(cancelled));
    assert_one(&registry, CANCELLED);
    let never = tool.run_async(BombFuture::never());
    quiet(|| drop(never));
    assert_eq!(take(&registry).0, (0, 0, 0, 0));
}

#[test]
fn a_tool_whose_future_panics_when_it_is_dropped_is_what_it_was() {
    let (registry, _) = registry();
    let tool = async_tool("tool", |call| match call.args.as_u64() {
        Some(polls) => BombFuture(polls as usize, Ok(call.args)),
        None => BombFuture::never(),
    });
    registry.register_tool(tool).unwrap();
    let mut done = Box::pin(registry.invoke("tool", json!(1)).into_future());
    assert!(poll_once(done.as_mut()).is_pending());
    let Poll::Ready(answer) = quiet(|| poll_once(done.as_mut())) else {
        panic!("it is done at the second poll");
    };
    assert_eq!(answer.unwrap(), json!(1));
    quiet(|| drop(done));
    assert_one(&registry, SUCCESS);

    let mut cancelled = Box::pin(registry.invoke("tool", json!(null)).into_future());
    assert!(poll_once(cancelled.as_mut()).is_pending());
    quiet(|| drop(cancelled));
    assert_one(&registry, CANCELLED);
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_future_that_panics_when_it_is_dropped_at_its_time_limit_is_a_time_out() {
    let (registry, _) = registry();
    let tool = registry.register_tool(async_tool("tool", |_| BombFuture::never()));
    let tool = tool.unwrap();
    let call = tool.call().within(SECOND);
    // A panic that came through would fail the test here.
    let error = call.run_async(BombFuture::never()).await.unwrap_err();
    assert_eq!(error.limit, SECOND);
    assert_failed(&registry, ErrorKind::Timeout);

    let answer = registry.invoke("tool", json!({})).within(SECOND).await;
    assert!(matches!(answer, Err(InvokeError::TimedOut { .. })));
    assert_failed(&registry, ErrorKind::Timeout);
}

// ---------------------------------------------------------------------------------------------
// Errors of toolmeter itself, handed on.

#[test]
fn an_error_of_a_call_by_name_keeps_its_meaning() {
    let (registry, tool, _) = host();
    let name: Arc<str> = "inner".into();
    let limit = SECOND;
    let message = String::from("out of cheese");
    let errors = [
        InvokeError::UnknownTool { name: "x".into() },
        InvokeError::Disabled {
            name: Arc::clone(&name),
        },
        InvokeError::NotCallable {
            name: Arc::clone(&name),
        },
        InvokeError::RuntimeStopped {
            name: Arc::clone(&name),
        },
        InvokeError::TimedOut {
            name: Arc::clone(&name),
            limit,
        },
        InvokeError::Panicked { name, message },
        InvokeError::Failed(ToolError::new(ErrorKind::RateLimited, "in 30 s")),
        InvokeError::Failed(ToolError::cancelled("interrupted")),
        InvokeError::Failed(ToolError::rejected("denied")),
    ];
    let outcomes = [
        Outcome::Failure(ErrorKind::NotFound),
        Outcome::Rejected,
        Outcome::Rejected,
        Outcome::Rejected,
        Outcome::Failure(ErrorKind::Timeout),
        Outcome::Failure(ErrorKind::Panic),
        Outcome::Failure(ErrorKind::RateLimited),
        Outcome::Cancelled,
        Outcome::Rejected,
    ];
    for (error, outcome) in errors.into_iter().zip(outcomes) {
        let _: Result<(), _> = tool.run(|| Err(error.clone()));
        assert_outcome(&registry, outcome);
        let boxed: Box<dyn Error + Send + Sync> = error.clone().into();
        let _: Result<(), _> = tool.run(|| Err(HostError(1, boxed)));
        assert_outcome(&registry, outcome);
        // A tool that answers with the error of another tool.
        let error = ToolError::from_error(&error);
        assert_eq!(error.outcome(), outcome);
        let _: Result<(), _> = tool.run(|| Err(error));
        assert_outcome(&registry, outcome);
    }
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_time_limit_that_was_exceeded_is_a_time_out_wherever_it_is_handed_on() {
    let (registry, tool, _) = host();
    let inner = registry.register("inner").unwrap();
    let late = inner.call().within(SECOND).run_async(pending::<()>()).await;
    let error = late.unwrap_err();
    let _: Result<(), _> = tool.run(|| Err(error));
    let text = assert_failed(&registry, ErrorKind::Timeout);
    assert!(text.contains("1s"), "{text}");
    let _: Result<(), _> = tool.run(|| Err(HostError(1, error.into())));
    assert_failed(&registry, ErrorKind::Timeout);
}

// ---------------------------------------------------------------------------------------------
// The loop of an agent.

#[cfg(feature = "auto_run")]
mod loops {
    use super::*;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use toolmeter::AutoRun;
    use toolmeter::auto_run::{
        Approval, CallError, CallResult, CancellationToken, Model, Report, ToolCall, Turn,
    };

    /// A model that asks for these turns, keeps the results, then is done.
    struct Script {
        turns: VecDeque<Vec<ToolCall>>,
        told: Vec<CallResult>,
    }

    impl Script {
        fn new(turns: impl IntoIterator<Item = Vec<ToolCall>>) -> Self {
            Self {
                turns: turns.into_iter().collect(),
                told: Vec::new(),
            }
        }
    }

    impl Model for Script {
        type Error = Infallible;

        async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
            self.told.extend(results);
            Ok(match self.turns.pop_front() {
                Some(calls) => Turn::Calls(calls),
                None => Turn::Done(json!("done")),
            })
        }
    }

    fn call() -> ToolCall {
        ToolCall::new("tool", json!({}))
    }

    #[test]
    fn an_error_of_the_loop_keeps_its_meaning() {
        let (registry, tool, _) = host();
        let limit = ToolError::new(ErrorKind::RateLimited, "in 30 s");
        let name = "tool".into();
        for (error, outcome) in [
            (
                CallError::Denied {
                    reason: "no".into(),
                },
                Outcome::Rejected,
            ),
            (CallError::Cancelled, Outcome::Cancelled),
            (
                CallError::Failed(limit.into()),
                Outcome::Failure(ErrorKind::RateLimited),
            ),
            (
                CallError::Failed(InvokeError::Disabled { name }),
                Outcome::Rejected,
            ),
        ] {
            let _: Result<(), _> = tool.run(|| Err(error.clone()));
            assert_outcome(&registry, outcome);
            let boxed: Box<dyn Error + Send + Sync> = error.into();
            let _: Result<(), _> = tool.run(|| Err(HostError(1, boxed)));
            assert_outcome(&registry, outcome);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_calls_leave_the_latency_of_the_one_that_ran() {
        let (registry, clock) = registry();
        let tool = async_tool("tool", move |_| {
            clock.advance(Duration::from_secs(30));
            pending()
        });
        let tool = registry.register_tool(tool).unwrap();
        // Three that an approver denies, three of a disabled tool, three that a policy denies.
        let deny = |_| async {
            Approval::Denied {
                reason: "no shell here".into(),
            }
        };
        let mut model = Script::new([vec![call(), call(), call()]]);
        let run = AutoRun::new(&registry).approve_with(deny);
        let report = run.run(&mut model).await;
        assert_eq!((report.rejected, report.attempts), (3, 0));
        assert_eq!((report.failures_left, report.retries), (0, 0));

        tool.set_enabled(false);
        let mut model = Script::new([vec![call(), call(), call()]]);
        let report = AutoRun::new(&registry).run(&mut model).await;
        assert_eq!((report.rejected, report.attempts), (3, 0));
        tool.set_enabled(true);
        for _ in 0..3 {
            tool.call().reject("no shell after midnight");
        }

        let mut model = Script::new([vec![call()]]);
        let run = AutoRun::new(&registry).time_limit(Duration::from_secs(30));
        let report = run.run(&mut model).await;
        assert_eq!((report.failures_left, report.rejected), (1, 0));

        let stats = stats(&registry);
        assert_eq!((stats.rejected, stats.in_flight), (9, 0));
        assert_eq!(
            (stats.success(), stats.failure(), stats.cancelled()),
            (0, 1, 0)
        );
        let failure = &stats.latency.failure;
        let limit = Duration::from_secs(30);
        assert_eq!((failure.count(), failure.sum()), (1, limit));
        let median = failure.p50().unwrap();
        assert!(median >= limit && median <= limit * 33 / 32, "{median:?}");
        let error = stats.last_error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert!(error.message.as_ref().unwrap().contains("30s"));
        assert_eq!(stats.last_latency(), Some(limit));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_arguments_in_another_order_are_a_retry() {
        let (registry, _) = registry();
        let tool = async_tool("tool", |call| async move {
            match call.attempt {
                1 => Err(ToolError::new(ErrorKind::NotFound, "no such file")),
                attempt => Ok(json!(attempt)),
            }
        });
        registry.register_tool(tool).unwrap();
        let ask = |args: &str| vec![ToolCall::new("tool", serde_json::from_str(args).unwrap())];
        let mut model = Script::new([
            ask(r#"{ "path": "a.rs", "range": { "from": 1, "to": [2, 3] } }"#),
            ask(r#"{ "range": { "to": [2, 3], "from": 1 }, "path": "a.rs" }"#),
            ask(r#"{ "range": { "to": [3, 2], "from": 1 }, "path": "a.rs" }"#),
        ]);
        let report = AutoRun::new(&registry).run(&mut model).await;
        let attempts: Vec<_> = model.told.iter().map(|result| result.attempt).collect();
        assert_eq!(attempts, [1, 2, 1]);
        assert_eq!(
            (report.attempts, report.retries, report.recovered),
            (3, 1, 1)
        );
        let stats = stats(&registry);
        assert_eq!((stats.retried, stats.recovered), (1, 1));
    }

    /// Asserts that report, results and registry agree.
    #[track_caller]
    fn assert_agree(registry: &Registry, report: &Report<Infallible>, told: &[CallResult]) {
        let stats = stats(registry);
        assert_eq!(report.attempts, stats.finished());
        assert_eq!(report.failures_left, stats.failure());
        assert_eq!(report.cancelled, stats.cancelled());
        assert_eq!(report.rejected, stats.rejected);
        assert_eq!(stats.in_flight, 0);
        assert_eq!(report.calls, told.len() as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn the_loop_counts_panics_that_go_off_again_once() {
        for tool in [true, false] {
            let (registry, _) = registry();
            if tool {
                let blocking = sync_tool("tool", |_| panic_any(Bomb));
                registry.register_tool(blocking).unwrap();
            } else {
                let waiting = async_tool("tool", |_| async { panic_any(Bomb) });
                registry.register_tool(waiting).unwrap();
            }
            let mut model = Script::new([vec![call()]]);
            let report = AutoRun::new(&registry).run(&mut model).await;
            assert_agree(&registry, &report, &model.told);
            let outcome = model.told[0].outcome;
            assert_eq!(outcome, Outcome::Failure(ErrorKind::Panic));
            assert_failed(&registry, ErrorKind::Panic);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_loop_counts_futures_that_panic_when_dropped_once() {
        // At the time limit.
        let (registry, _) = registry();
        let tool = async_tool("tool", |call| match call.args.as_u64() {
            Some(polls) => BombFuture(polls as usize, Ok(call.args)),
            None => BombFuture::never(),
        });
        registry.register_tool(tool).unwrap();
        let mut model = Script::new([vec![call()]]);
        let run = AutoRun::new(&registry).time_limit(SECOND);
        let report = run.run(&mut model).await;
        assert_agree(&registry, &report, &model.told);
        let outcome = model.told[0].outcome;
        assert_eq!(outcome, Outcome::Failure(ErrorKind::Timeout));
        assert_failed(&registry, ErrorKind::Timeout);

        // On cancellation.
        let token = CancellationToken::new();
        let mut model = Script::new([vec![call().cancel_token(token.clone())]]);
        let run = AutoRun::new(&registry);
        let stop = async {
            while stats(&registry).in_flight == 0 {
                tokio::task::yield_now().await;
            }
            token.cancel();
        };
        let (report, ()) = tokio::join!(run.run(&mut model), stop);
        assert_agree(&registry, &report, &model.told);
        assert_eq!(model.told[0].outcome, Outcome::Cancelled);
        assert_one(&registry, CANCELLED);

        // When it is done.
        let mut model = Script::new([vec![ToolCall::new("tool", json!(0))]]);
        let report = AutoRun::new(&registry).run(&mut model).await;
        assert_agree(&registry, &report, &model.told);
        assert_eq!(model.told[0].outcome, Outcome::Success);
        assert_one(&registry, SUCCESS);

        // The run itself is dropped.
        let mut model = Script::new([vec![call()]]);
        let run = AutoRun::new(&registry);
        let mut running = Box::pin(run.run(&mut model));
        tokio::select! {
            biased;
            _ = &mut running => panic!("it never ends"),
            () = async { while stats(&registry).in_flight == 0 { tokio::task::yield_now().await; } } => {}
        }
        quiet(|| drop(running));
        while stats(&registry).in_flight > 0 {
            tokio::task::yield_now().await;
        }
        assert_one(&registry, CANCELLED);
    }

    #[tokio::test]
    async fn an_answer_with_an_error_flag_is_given_to_the_model() {
        let registry = host_of(|call| Ok(call.args));
        let failed = json!({ "isError": true, "content": [{ "type": "text", "text": "no" }] });
        let odd = json!({ "isError": "yes" });
        let calls = [&failed, &odd].map(|args| ToolCall::new("tool", args.clone()));
        let mut model = Script::new([calls.to_vec()]);
        let report = AutoRun::new(&registry).run(&mut model).await;
        assert_eq!(model.told[0].answer.as_ref().unwrap(), &failed);
        assert_eq!(
            model.told[0].outcome,
            Outcome::Failure(ErrorKind::ToolError)
        );
        assert_eq!(model.told[1].answer.as_ref().unwrap(), &odd);
        assert_eq!(model.told[1].outcome, Outcome::Success);
        assert_agree(&registry, &report, &model.told);
    }
}
