//! Tests of the loop of an agent host, one for each guarantee. Time is paused and the clock is
//! manual, so nothing waits for real time to pass.
#![cfg(all(feature = "auto_run", not(toolmeter_loom)))]

mod common;

use common::registry;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};
use toolmeter::auto_run::{
    Approval, BackoffBuilder, CallError, CallResult, CancellationToken, ConstantBuilder, Model,
    StopReason, ToolCall, Turn,
};
use toolmeter::{
    AutoRun, ErrorKind, Event, EventKind, InvokeError, Outcome, Registry, ToolError, async_tool,
    sync_tool,
};

/// Far longer than a tool that blocks has to wait. It passes only if the test hangs.
const STUCK: Duration = Duration::from_secs(60);

/// A model that asks for these turns, keeps the results, then is done.
#[derive(Default)]
struct Script {
    turns: VecDeque<Vec<ToolCall>>,
    told: Vec<Vec<CallResult>>,
}

impl Script {
    fn new(turns: impl IntoIterator<Item = Vec<ToolCall>>) -> Self {
        Self {
            turns: turns.into_iter().collect(),
            told: Vec::new(),
        }
    }

    /// Returns the results of a turn, counted from 0.
    fn results(&self, turn: usize) -> &[CallResult] {
        &self.told[turn + 1]
    }
}

impl Model for Script {
    type Error = String;

    async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, String> {
        self.told.push(results);
        Ok(match self.turns.pop_front() {
            Some(calls) => Turn::Calls(calls),
            None => Turn::Done(json!("done")),
        })
    }
}

/// Returns a registry with the tool `wait`, which sleeps for the milliseconds that it is given and
/// answers with them.
fn with_wait() -> Registry {
    let (registry, _) = registry();
    let tool = async_tool("wait", |call| async move {
        sleep(Duration::from_millis(call.args.as_u64().unwrap())).await;
        Ok(call.args)
    });
    registry.register_tool(tool).unwrap();
    registry
}

fn wait(ms: u64) -> ToolCall {
    ToolCall::new("wait", json!(ms))
}

/// Registers the tool `flaky`, which fails in this way `failures` times, then answers with the
/// number of its attempt.
fn with_flaky(registry: &Registry, kind: ErrorKind, failures: usize) {
    let asked = AtomicUsize::new(0);
    let tool = async_tool("flaky", move |call| {
        let fails = asked.fetch_add(1, Ordering::Relaxed) < failures;
        async move {
            if fails {
                Err(ToolError::new(kind, "not yet"))
            } else {
                Ok(json!(call.attempt))
            }
        }
    });
    registry.register_tool(tool).unwrap();
}

fn flaky() -> ToolCall {
    ToolCall::new("flaky", json!({ "a": 1, "b": 2 }))
}

fn answer(result: &CallResult) -> Value {
    result.answer.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_a_turn_run_concurrently_and_answer_in_their_order() {
    let registry = with_wait();
    let mut model = Script::new([vec![wait(300), wait(100), wait(200)]]);
    let began = Instant::now();
    let report = AutoRun::new(&registry).run(&mut model).await;
    assert_eq!(began.elapsed(), Duration::from_millis(300));
    let answers: Vec<_> = model.results(0).iter().map(answer).collect();
    assert_eq!(answers, [300, 100, 200]);
    assert_eq!(report.stop, StopReason::Done(json!("done")));
    assert_eq!((report.turns, report.calls, report.attempts), (1, 3, 3));
    assert_eq!(
        (report.retries, report.failures_left, report.cancelled),
        (0, 0, 0)
    );
    assert!(model.told[0].is_empty(), "the first turn gets no results");
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_run_at_once_than_the_limit_says() {
    for (limit, expected_ms) in [(0, 400), (1, 400), (2, 200), (3, 200), (4, 100)] {
        let registry = with_wait();
        let mut model = Script::new([(0..4).map(|_| wait(100)).collect()]);
        let began = Instant::now();
        AutoRun::new(&registry)
            .concurrency(limit)
            .run(&mut model)
            .await;
        let elapsed = began.elapsed();
        assert_eq!(elapsed, Duration::from_millis(expected_ms), "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_starts_no_earlier_than_its_delay() {
    let registry = with_wait();
    let late = wait(100).delay(Duration::from_millis(250));
    let began = Instant::now();
    AutoRun::new(&registry)
        .run(&mut Script::new([vec![wait(100), late]]))
        .await;
    assert_eq!(began.elapsed(), Duration::from_millis(350));
}

#[tokio::test(start_paused = true)]
async fn each_call_has_a_time_limit() {
    let registry = with_wait();
    let generous = wait(5_000).time_limit(Duration::from_secs(9));
    let mut model = Script::new([vec![wait(5_000), generous, wait(10)]]);
    let limit = Duration::from_secs(1);
    let report = AutoRun::new(&registry)
        .time_limit(limit)
        .run(&mut model)
        .await;
    let [late, generous, quick] = model.results(0) else {
        panic!()
    };
    assert_eq!(late.outcome, Outcome::Failure(ErrorKind::Timeout));
    assert!(matches!(
        &late.answer,
        Err(CallError::Failed(InvokeError::TimedOut { limit: l, .. })) if *l == limit
    ));
    assert_eq!((answer(generous), answer(quick)), (json!(5_000), json!(10)));
    assert_eq!(report.failures_left, 1);
    let stats = &registry.metrics().tools["wait"];
    assert_eq!(
        (
            stats.failures_by_kind[&ErrorKind::Timeout],
            stats.cancelled()
        ),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn retryable_failures_are_tried_again_with_backoff() {
    let (registry, _) = registry();
    with_flaky(&registry, ErrorKind::Network, 2);
    let mut model = Script::new([vec![flaky()]]);
    let backoff = ConstantBuilder::default().with_delay(Duration::from_secs(7));
    let began = Instant::now();
    let run = AutoRun::new(&registry).max_attempts(5).backoff(backoff);
    let report = run.run(&mut model).await;
    assert_eq!(began.elapsed(), Duration::from_secs(14));
    assert_eq!(answer(&model.results(0)[0]), 3);
    assert_eq!(
        (
            report.calls,
            report.attempts,
            report.retries,
            report.recovered
        ),
        (1, 3, 2, 1)
    );
    let stats = &registry.metrics().tools["flaky"];
    assert_eq!((stats.retried, stats.recovered, stats.failure()), (2, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn attempts_end_at_their_limit_and_with_the_backoff() {
    let run = |attempts, pauses: usize| async move {
        let (registry, _) = registry();
        with_flaky(&registry, ErrorKind::Provider, usize::MAX);
        let backoff = ConstantBuilder::default().with_max_times(pauses);
        let run = AutoRun::new(&registry)
            .max_attempts(attempts)
            .backoff(backoff);
        let report = run.run(&mut Script::new([vec![flaky()]])).await;
        assert_eq!(report.failures_left, 1);
        report.attempts
    };
    assert_eq!(run(0, 9).await, 1);
    assert_eq!(run(1, 9).await, 1);
    assert_eq!(run(4, 9).await, 4);
    assert_eq!(run(9, 2).await, 3);
}

#[tokio::test(start_paused = true)]
async fn other_failures_are_not_tried_again() {
    for kind in [
        ErrorKind::InvalidArgs,
        ErrorKind::PermissionDenied,
        ErrorKind::Other,
    ] {
        let (registry, _) = registry();
        with_flaky(&registry, kind, 1);
        let run = AutoRun::new(&registry).max_attempts(3);
        let report = run.run(&mut Script::new([vec![flaky()]])).await;
        assert_eq!((report.attempts, report.failures_left), (1, 1), "{kind}");
        let (registry, _) = self::registry();
        with_flaky(&registry, kind, 1);
        let run = AutoRun::new(&registry).max_attempts(3).retry_on([kind]);
        let report = run.run(&mut Script::new([vec![flaky()]])).await;
        assert_eq!((report.attempts, report.failures_left), (2, 0), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_carries_an_error_is_tried_again_if_the_host_says_so() {
    let (registry, _) = registry();
    let tool = async_tool("mcp", |call| async move {
        Ok(json!({ "isError": call.attempt < 2 }))
    });
    registry.register_tool(tool).unwrap();
    let script = || Script::new([vec![ToolCall::new("mcp", json!(0))]]);
    // By default the error is not retried but given to the model, which knows what to do about the
    // tool's own error.
    let mut model = script();
    let run = AutoRun::new(&registry).max_attempts(2);
    let report = run.run(&mut model).await;
    assert_eq!((report.attempts, report.failures_left), (1, 1));
    let result = &model.results(0)[0];
    assert_eq!(result.outcome, Outcome::Failure(ErrorKind::ToolError));
    assert_eq!(answer(result), json!({ "isError": true }));

    let mut model = script();
    let run = run.retry_on([ErrorKind::ToolError]);
    let report = run.run(&mut model).await;
    assert_eq!((report.attempts, report.recovered), (2, 1));
    assert_eq!(answer(&model.results(0)[0]), json!({ "isError": false }));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_new_in_a_later_turn_is_no_retry() {
    let registry = with_wait();
    let mut model = Script::new((1..=5).map(|ms| vec![wait(ms)]));
    let report = AutoRun::new(&registry).run(&mut model).await;
    assert_eq!((report.turns, report.retries), (5, 0));
    assert_eq!((report.recovered, report.failures_left), (0, 0));
    assert!((0..5).all(|turn| model.results(turn)[0].attempt == 1));
    assert_eq!(registry.metrics().tools["wait"].retried, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_follows_the_latest_identical_one_that_did_not_succeed() {
    let (registry, _) = registry();
    with_flaky(&registry, ErrorKind::Other, 2);
    let other_args = ToolCall::new("flaky", json!({ "a": 1, "b": 3 }));
    // The same arguments, written in another order.
    let reordered = ToolCall::new("flaky", json!({ "b": 2, "a": 1 }));
    let turns = [flaky(), reordered, flaky(), flaky(), other_args];
    let mut model = Script::new(turns.map(|call| vec![call]));
    let report = AutoRun::new(&registry).run(&mut model).await;
    let attempts: Vec<_> = (0..5).map(|turn| model.results(turn)[0].attempt).collect();
    // It fails twice and recovers. Then the latest identical call succeeded, and the last call is
    // another.
    assert_eq!(attempts, [1, 2, 3, 1, 1]);
    assert_eq!(
        (report.retries, report.recovered, report.failures_left),
        (2, 1, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn identical_calls_of_one_turn_do_not_follow_each_other() {
    let (registry, _) = registry();
    with_flaky(&registry, ErrorKind::Other, 2);
    let mut model = Script::new([vec![flaky(), flaky()], vec![flaky()]]);
    let report = AutoRun::new(&registry).concurrency(1).run(&mut model).await;
    let attempts: Vec<_> = model
        .told
        .iter()
        .flatten()
        .map(|result| result.attempt)
        .collect();
    assert_eq!(attempts, [1, 1, 2]);
    assert_eq!(report.retries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_says_which_calls_are_identical() {
    let (registry, _) = registry();
    with_flaky(&registry, ErrorKind::Other, 3);
    let call = |args: u8, key: &str| vec![ToolCall::new("flaky", json!(args)).key(key)];
    let mut model = Script::new([call(1, "x"), call(2, "x"), call(2, "y")]);
    AutoRun::new(&registry).run(&mut model).await;
    let attempts: Vec<_> = model
        .told
        .iter()
        .flatten()
        .map(|result| result.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tool_is_an_attempt_and_its_next_call_a_retry() {
    let (registry, _) = registry();
    let call = || vec![ToolCall::new("invented", json!(0))];
    let mut model = Script::new([call(), call()]);
    // No approver is called for a tool that does not exist.
    let run = AutoRun::new(&registry).approve_with(|_| async {
        Approval::Denied {
            reason: "asked".into(),
        }
    });
    let report = run.run(&mut model).await;
    assert_eq!(
        (report.attempts, report.retries, report.failures_left),
        (2, 1, 2)
    );
    assert_eq!(registry.metrics().unknown_tool_calls, 2);
    assert!(matches!(
        &model.results(0)[0].answer,
        Err(CallError::Failed(InvokeError::UnknownTool { name })) if name == "invented"
    ));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_approval_is_no_part_of_the_latency() {
    let (registry, clock) = registry();
    let tool_clock = Arc::clone(&clock);
    let tool = async_tool("shell", move |call| {
        tool_clock.advance(Duration::from_millis(3));
        async move { Ok(call.args) }
    });
    registry.register_tool(tool).unwrap();
    let run = AutoRun::new(&registry).approve_with(move |_| {
        let clock = Arc::clone(&clock);
        async move {
            clock.advance(Duration::from_secs(60));
            Approval::Approved
        }
    });
    let report = run
        .run(&mut Script::new([vec![ToolCall::new("shell", json!(0))]]))
        .await;
    assert_eq!(report.approval_wait, Duration::from_secs(60));
    assert_eq!(report.permit_wait, Duration::ZERO);
    let stats = &registry.metrics().tools["shell"];
    assert_eq!(stats.total_latency(), Duration::from_millis(3));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_permit_is_no_part_of_the_latency() {
    let (registry, clock) = registry();
    let tool = async_tool("shell", move |call| {
        let clock = Arc::clone(&clock);
        async move {
            // The other call queues up meanwhile.
            sleep(Duration::from_millis(1)).await;
            clock.advance(Duration::from_secs(10));
            Ok(call.args)
        }
    });
    registry.register_tool(tool).unwrap();
    let calls = [0, 1].map(|n| ToolCall::new("shell", json!(n)));
    let run = AutoRun::new(&registry).concurrency(1);
    let report = run.run(&mut Script::new([calls.to_vec()])).await;
    assert_eq!(report.permit_wait, Duration::from_secs(10));
    assert_eq!(report.approval_wait, Duration::ZERO);
    let stats = &registry.metrics().tools["shell"];
    assert_eq!(stats.total_latency(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_denied_call_is_rejected_and_never_runs() {
    let registry = with_wait();
    let run = AutoRun::new(&registry)
        .max_attempts(3)
        .approve_with(|call| async move {
            match call.args().as_u64() {
                Some(1) => Approval::Denied {
                    reason: "not now".into(),
                },
                Some(2) => panic!("the approver is broken"),
                _ => Approval::Approved,
            }
        });
    let mut model = Script::new([vec![wait(1), wait(2), wait(3)]]);
    let report = run.run(&mut model).await;
    let [denied, broken, approved] = model.results(0) else {
        panic!()
    };
    let error = denied.answer.as_ref().unwrap_err();
    assert_eq!(error.to_string(), "the call was not approved: not now");
    assert_eq!((error.kind(), error.outcome()), (None, Outcome::Rejected));
    for rejected in [denied, broken] {
        assert_eq!(rejected.outcome, Outcome::Rejected);
        assert_eq!((rejected.attempt, rejected.attempts), (0, 0));
    }
    assert_eq!(answer(approved), 3);
    assert_eq!((report.calls, report.attempts, report.rejected), (3, 1, 2));
    assert_eq!((report.failures_left, report.cancelled), (0, 0));
    let metrics = registry.metrics();
    let stats = &metrics.tools["wait"];
    assert_eq!((stats.success(), stats.rejected), (1, 2));
    assert_eq!((stats.failure(), &stats.last_error), (0, &None));
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_no_attempt_that_another_could_follow() {
    let registry = with_wait();
    let handle = registry.get("wait").unwrap();
    handle.set_enabled(false);
    let asked = Arc::new(AtomicUsize::new(0));
    let first_is_denied = {
        let asked = Arc::clone(&asked);
        move |_| {
            let approval = match asked.fetch_add(1, Ordering::Relaxed) {
                0 => Approval::Denied {
                    reason: "not now".into(),
                },
                _ => Approval::Approved,
            };
            async { approval }
        }
    };
    // Denied, then disabled, then enabled.
    struct Enables(Script, toolmeter::ToolHandle);
    impl Model for Enables {
        type Error = String;
        async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, String> {
            self.1.set_enabled(self.0.told.len() == 2);
            self.0.next_turn(results).await
        }
    }
    let script = Script::new([vec![wait(1)], vec![wait(1)], vec![wait(1)]]);
    let mut model = Enables(script, handle);
    let run = AutoRun::new(&registry).max_attempts(3);
    let report = run.approve_with(first_is_denied).run(&mut model).await;
    let results: Vec<_> = (0..3).map(|turn| &model.0.results(turn)[0]).collect();
    let disabled = results[1].answer.as_ref().unwrap_err();
    assert!(matches!(
        disabled,
        CallError::Failed(InvokeError::Disabled { .. })
    ));
    let attempts: Vec<_> = results
        .iter()
        .map(|result| (result.attempt, result.attempts))
        .collect();
    assert_eq!(attempts, [(0, 0), (0, 0), (1, 1)]);
    assert_eq!((report.calls, report.attempts, report.rejected), (3, 1, 2));
    assert_eq!((report.retries, report.recovered), (0, 0));
    let metrics = registry.metrics();
    let stats = &metrics.tools["wait"];
    assert_eq!((stats.rejected, stats.retried, stats.success()), (2, 0, 1));
}

/// A tool that stops itself is cancelled, and one that refuses is rejected. Neither is retried.
#[tokio::test(start_paused = true)]
async fn a_tool_may_say_that_it_stopped_or_refused() {
    let (registry, _) = registry();
    let tool = async_tool("shell", |call| async move {
        Err(match call.args.as_bool() {
            Some(true) => ToolError::cancelled("interrupted"),
            _ => ToolError::rejected("not on a Sunday"),
        })
    });
    registry.register_tool(tool).unwrap();
    let calls = [true, false].map(|args| ToolCall::new("shell", json!(args)));
    let mut model = Script::new([calls.to_vec()]);
    let run = AutoRun::new(&registry).max_attempts(3);
    let report = run.retry_on(ErrorKind::ALL).run(&mut model).await;
    let outcomes: Vec<_> = model
        .results(0)
        .iter()
        .map(|result| (result.outcome, result.attempt))
        .collect();
    assert_eq!(outcomes, [(Outcome::Cancelled, 1), (Outcome::Rejected, 0)]);
    assert_eq!((report.cancelled, report.rejected), (1, 1));
    assert_eq!((report.attempts, report.failures_left), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_token_drops_its_call_alone() {
    let registry = with_wait();
    let token = CancellationToken::new();
    let mut model = Script::new([
        vec![wait(60_000).cancel_token(token.clone()), wait(100)],
        vec![wait(60_000)],
    ]);
    tokio::spawn(async move {
        sleep(Duration::from_millis(50)).await;
        token.cancel();
    });
    let report = AutoRun::new(&registry).run(&mut model).await;
    let [dropped, other] = model.results(0) else {
        panic!()
    };
    assert!(matches!(dropped.answer, Err(CallError::Cancelled)));
    assert_eq!((dropped.outcome, dropped.attempts), (Outcome::Cancelled, 1));
    assert_eq!(answer(other), 100);
    assert_eq!(
        model.results(1)[0].attempt,
        2,
        "a cancelled call did not succeed"
    );
    assert_eq!(
        (report.cancelled, report.attempts, report.recovered),
        (1, 3, 1)
    );
    let stats = &registry.metrics().tools["wait"];
    assert_eq!(
        (stats.success(), stats.cancelled(), stats.in_flight),
        (2, 1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_cancelled_before_it_starts_is_no_attempt() {
    let registry = with_wait();
    let token = CancellationToken::new();
    token.cancel();
    let mut model = Script::new([vec![wait(1).cancel_token(token)], vec![wait(1)]]);
    let report = AutoRun::new(&registry).run(&mut model).await;
    assert_eq!(
        (model.results(0)[0].attempt, model.results(1)[0].attempt),
        (0, 1)
    );
    assert_eq!((report.calls, report.attempts, report.cancelled), (2, 1, 1));
    assert_eq!(registry.metrics().tools["wait"].finished(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_run_cancels_its_calls() {
    let registry = with_wait();
    let run = AutoRun::new(&registry);
    let mut model = Script::new([vec![wait(60_000), wait(60_000)]]);
    let limit = Duration::from_secs(1);
    assert!(
        tokio::time::timeout(limit, run.run(&mut model))
            .await
            .is_err()
    );
    // The aborted tasks are dropped by their runtime.
    sleep(Duration::from_millis(1)).await;
    let stats = &registry.metrics().tools["wait"];
    assert_eq!((stats.cancelled(), stats.in_flight), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn the_run_stops_when_its_token_is_cancelled() {
    let registry = with_wait();
    let token = CancellationToken::new();
    let run = AutoRun::new(&registry).cancel_token(token.clone());
    tokio::spawn(async move {
        sleep(Duration::from_millis(10)).await;
        token.cancel();
    });
    let mut model = Script::new([vec![wait(5), wait(60_000)], vec![wait(1)]]);
    let report = run.run(&mut model).await;
    assert_eq!(report.stop, StopReason::Cancelled);
    assert_eq!(
        (
            report.turns,
            report.calls,
            report.attempts,
            report.cancelled
        ),
        (1, 2, 2, 1)
    );
    assert_eq!(model.told.len(), 1, "the model is not asked again");
    let stats = &registry.metrics().tools["wait"];
    assert_eq!(
        (stats.success(), stats.cancelled(), stats.in_flight),
        (1, 1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn the_run_stops_at_the_turn_limit() {
    let registry = with_wait();
    let turns = || (1..=3).map(|ms| vec![wait(ms)]);
    let report = AutoRun::new(&registry)
        .turn_limit(2)
        .run(&mut Script::new(turns()))
        .await;
    assert_eq!(
        (report.stop, report.turns, report.calls),
        (StopReason::TurnLimit, 2, 2)
    );
    // Three turns are within a limit of three: the model may still give its answer.
    let report = AutoRun::new(&registry)
        .turn_limit(3)
        .run(&mut Script::new(turns()))
        .await;
    assert_eq!(
        (report.stop, report.turns),
        (StopReason::Done(json!("done")), 3)
    );
}

/// A model that fails, or panics, at once.
struct Broken(bool);

impl Model for Broken {
    type Error = String;

    async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, String> {
        assert!(!self.0, "the model is broken");
        Err("no quota left".into())
    }
}

#[tokio::test]
async fn the_models_own_error_ends_the_run() {
    let (registry, _) = registry();
    let report = AutoRun::new(&registry).run(&mut Broken(false)).await;
    assert_eq!(report.stop, StopReason::Model("no quota left".into()));
    assert_eq!((report.turns, report.attempts), (0, 0));
}

#[tokio::test]
#[should_panic(expected = "the model is broken")]
async fn a_panic_of_the_model_goes_on() {
    let (registry, _) = registry();
    AutoRun::new(&registry).run(&mut Broken(true)).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_tool_goes_no_further() {
    let (registry, _) = registry();
    let tool = async_tool("bad", |_| async { panic!("out of cheese") });
    registry.register_tool(tool).unwrap();
    let tool = sync_tool("worse", |_| panic!("out of milk"));
    registry.register_tool(tool).unwrap();
    let calls = ["bad", "worse"].map(|name| ToolCall::new(name, json!(0)));
    let mut model = Script::new([calls.to_vec()]);
    let report = AutoRun::new(&registry).run(&mut model).await;
    for result in model.results(0) {
        assert_eq!(result.outcome, Outcome::Failure(ErrorKind::Panic));
    }
    assert_eq!(report.failures_left, 2);
}

#[tokio::test(start_paused = true)]
async fn blocking_tools_run_elsewhere_and_side_by_side() {
    let (registry, _) = registry();
    // Two calls that block until both have begun, which they never would on one thread.
    let barrier = Arc::new(std::sync::Barrier::new(2));
    let tool = sync_tool("meet", move |call| {
        barrier.wait();
        Ok(call.args)
    });
    registry.register_tool(tool).unwrap();
    let calls = [1, 2].map(|n| ToolCall::new("meet", json!(n)));
    let mut model = Script::new([calls.to_vec()]);
    AutoRun::new(&registry).run(&mut model).await;
    let answers: Vec<_> = model.results(0).iter().map(answer).collect();
    assert_eq!(answers, [1, 2]);
}

/// Returns a runtime with one thread for blocking work, and a registry with a tool that blocks
/// until it is released.
fn one_blocking_thread() -> (
    tokio::runtime::Runtime,
    Registry,
    std::sync::mpsc::Sender<()>,
) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().max_blocking_threads(1).build();
    let (registry, _) = registry();
    let (let_go, wait) = std::sync::mpsc::channel();
    let wait = Mutex::new(wait);
    let tool = sync_tool("block", move |call| {
        wait.lock().unwrap().recv_timeout(STUCK).unwrap();
        Ok(call.args)
    });
    registry.register_tool(tool).unwrap();
    (runtime.unwrap(), registry, let_go)
}

/// The thread cannot be stopped: the call is recorded at its limit, and the later answer of the
/// tool is discarded. A second call, for which no thread was free, is counted, too.
#[test]
fn a_blocking_tool_that_runs_too_long_is_a_timeout_once() {
    let (runtime, registry, let_go) = one_blocking_thread();
    let calls =
        [1, 2].map(|n| ToolCall::new("block", json!(n)).time_limit(Duration::from_millis(1)));
    let mut model = Script::new([calls.to_vec()]);
    let report = runtime.block_on(AutoRun::new(&registry).run(&mut model));
    assert_eq!(report.attempts, 2);
    for result in model.results(0) {
        assert_eq!(result.outcome, Outcome::Failure(ErrorKind::Timeout));
    }
    let_go.send(()).unwrap();
    drop(runtime);
    let metrics = registry.metrics();
    let stats = metrics.tool("block").unwrap();
    assert_eq!(
        (stats.success(), stats.failure(), stats.cancelled()),
        (0, 2, 0)
    );
    assert_eq!(stats.in_flight, 0);
}

/// Two blocking calls are dropped, one while it runs, one while it waits for the thread.
#[test]
fn a_blocking_call_that_is_dropped_is_cancelled_whether_or_not_it_began() {
    let (runtime, registry, let_go) = one_blocking_thread();
    let token = CancellationToken::new();
    let calls = [1, 2].map(|n| ToolCall::new("block", json!(n)).cancel_token(token.clone()));
    let mut model = Script::new([calls.to_vec()]);
    let run_registry = registry.clone();
    let report = runtime.block_on(async move {
        let run = AutoRun::new(&run_registry);
        let run = run.run(&mut model);
        let began = async {
            while run_registry.metrics().tool("block").unwrap().in_flight == 0 {
                tokio::task::yield_now().await;
            }
            token.cancel();
        };
        tokio::join!(run, began).0
    });
    assert_eq!((report.attempts, report.cancelled), (2, 2));
    let_go.send(()).unwrap();
    drop(runtime);
    let metrics = registry.metrics();
    let stats = metrics.tool("block").unwrap();
    assert_eq!(
        (stats.success(), stats.failure(), stats.cancelled()),
        (0, 0, 2)
    );
    assert_eq!(stats.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn every_event_names_its_session_turn_and_call() {
    let registry = with_wait();
    let events = registry.subscribe();
    let turns = [vec![wait(1)], vec![wait(2).id("call_9f3"), wait(3)]];
    AutoRun::new(&registry)
        .session("s-17")
        .parent("call_9f0")
        .run(&mut Script::new(turns))
        .await;
    registry.pump();
    let names = |event: &Event| {
        let context = event.context().unwrap();
        assert_eq!(context.parent.as_deref(), Some("call_9f0"));
        (
            context.session.to_string(),
            context.turn,
            context.call.to_string(),
        )
    };
    let mut started = Vec::new();
    let mut ended = 0;
    while let Ok(batch) = events.try_recv() {
        let starts = batch
            .iter()
            .filter(|event| event.kind() == EventKind::Started);
        started.extend(starts.map(names));
        ended += batch
            .iter()
            .filter(|event| names(event).0 == "s-17")
            .count();
    }
    started.sort();
    let expected = [(0, "0.0"), (1, "1.1"), (1, "call_9f3")];
    let expected = expected.map(|(turn, call)| ("s-17".to_owned(), turn, call.to_owned()));
    assert_eq!(started, expected);
    assert_eq!(ended, 6, "the closing events name them too");
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_free_while_a_call_waits_to_be_retried() {
    let registry = with_wait();
    with_flaky(&registry, ErrorKind::Network, 1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let tool = async_tool("note", move |call| {
        seen.lock().unwrap().push(Instant::now());
        async move { Ok(call.args) }
    });
    registry.register_tool(tool).unwrap();
    let backoff = ConstantBuilder::default().with_delay(Duration::from_secs(60));
    let run = AutoRun::new(&registry)
        .concurrency(1)
        .max_attempts(2)
        .backoff(backoff);
    let began = Instant::now();
    run.run(&mut Script::new([vec![
        flaky(),
        ToolCall::new("note", json!(0)),
    ]]))
    .await;
    assert_eq!(began.elapsed(), Duration::from_secs(60));
    assert_eq!(
        *order.lock().unwrap(),
        [began],
        "it did not wait for the retry"
    );
}

#[tokio::test(start_paused = true)]
async fn a_model_that_asks_for_nothing_does_not_keep_the_thread() {
    /// A bounded number of turns, so that it ends even if it keeps the thread.
    struct Idle(u32);
    impl Model for Idle {
        type Error = String;
        async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, String> {
            self.0 -= 1;
            Ok(match self.0 {
                0 => Turn::Done(json!("it kept the thread")),
                _ => Turn::Calls(Vec::new()),
            })
        }
    }
    let (registry, _) = registry();
    let token = CancellationToken::new();
    let run = AutoRun::new(&registry).cancel_token(token.clone());
    tokio::spawn(async move { token.cancel() });
    assert_eq!(run.run(&mut Idle(1_000)).await.stop, StopReason::Cancelled);
}

// ---------------------------------------------------------------------------------------------
// Runs that go wrong, and long ones.

/// A tool that blocks: it reports when it begins, continues when it may, and notes the most calls
/// that ran at once.
struct Blocks {
    begun: UnboundedReceiver<()>,
    go_on: std::sync::mpsc::Sender<()>,
    most: Arc<AtomicUsize>,
}

impl Blocks {
    fn register(registry: &Registry) -> Self {
        let (begins, begun) = unbounded_channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let (may_go_on, now) = (Mutex::new(may_go_on), AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let tool = sync_tool("block", move |call| {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // This fails if the test has ended.
            let _ = begins.send(());
            let _ = may_go_on.lock().unwrap().recv_timeout(STUCK);
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(call.args)
        });
        registry.register_tool(tool).unwrap();
        Self { begun, go_on, most }
    }
}

/// Registers the tool `hang`, which reports when it begins and never answers.
fn with_hang(registry: &Registry) -> UnboundedReceiver<()> {
    let (begins, begun) = unbounded_channel();
    let tool = async_tool("hang", move |_| {
        let _ = begins.send(());
        std::future::pending()
    });
    registry.register_tool(tool).unwrap();
    begun
}

fn call(name: &str) -> ToolCall {
    ToolCall::new(name, json!({}))
}

/// Drives a run, and what happens to it. Time is paused, so it takes no time to notice that they
/// hang.
async fn beside<R, O>(run: impl Future<Output = R>, happens: impl Future<Output = O>) -> (R, O) {
    let both = async { tokio::join!(run, happens) };
    let limited = tokio::time::timeout(Duration::from_secs(100_000), both);
    limited.await.expect("it hangs")
}

/// Lets every task of the runtime run until it waits.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn at_once() -> ConstantBuilder {
    let pauses = ConstantBuilder::default().with_delay(Duration::ZERO);
    pauses.without_max_times()
}

#[tokio::test(start_paused = true)]
async fn the_ten_thousand_latest_calls_that_did_not_succeed_are_known() {
    let (registry, _) = registry();
    with_flaky(&registry, ErrorKind::Other, usize::MAX);
    let numbered = |n: usize| ToolCall::new("flaky", json!(n));
    let turns = (0..10_001)
        .map(numbered)
        .collect::<Vec<_>>()
        .chunks(137)
        .map(<[_]>::to_vec)
        .collect::<Vec<_>>();
    let again = vec![numbered(0), numbered(1), numbered(10_000)];
    let mut model = Script::new(turns.into_iter().chain([again]));
    let report = AutoRun::new(&registry).run(&mut model).await;
    let last = model.told.last().unwrap();
    let attempts: Vec<_> = last.iter().map(|result| result.attempt).collect();
    assert_eq!(attempts, [1, 2, 2], "the oldest is forgotten");
    assert_eq!((report.attempts, report.retries), (10_004, 2));
}

/// Each turn fails with other arguments of 100 KB, and the model keeps nothing.
#[test]
fn a_run_keeps_no_arguments() {
    const TURNS: usize = 300;
    const BYTES: usize = 100 << 10;
    struct Forgets(usize);
    impl Model for Forgets {
        type Error = std::convert::Infallible;
        async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
            self.0 += 1;
            Ok(if self.0 > TURNS {
                Turn::Done(Value::Null)
            } else {
                let args = format!("{}{}", self.0, "x".repeat(BYTES));
                Turn::Calls(vec![ToolCall::new("fails", json!(args))])
            })
        }
    }
    let (registry, _) = registry();
    let fails = async_tool("fails", |_| async {
        Err(ToolError::new(ErrorKind::Other, "it always does"))
    });
    registry.register_tool(fails).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    let mut report = None;
    let taken = allocation_counter::measure(|| {
        let mut model = Forgets(0);
        report = Some(runtime.block_on(AutoRun::new(&registry).run(&mut model)));
    });
    assert_eq!(report.unwrap().failures_left, TURNS as u64);
    let most = taken.bytes_max;
    assert!(most < 20 * BYTES as u64, "{most} bytes at once");
}

/// The thread of an attempt that has timed out still counts towards the limit.
#[tokio::test(start_paused = true)]
async fn a_permit_is_held_until_the_thread_of_a_blocking_tool_is_free() {
    let (registry, clock) = registry();
    let mut blocks = Blocks::register(&registry);
    let limit = Duration::from_millis(30);
    let run = AutoRun::new(&registry).concurrency(1).max_attempts(4);
    let run = run.backoff(at_once()).time_limit(limit);
    let mut model = Script::new([vec![call("block")]]);
    let passes = async {
        for attempt in 1..=4 {
            blocks.begun.recv().await.unwrap();
            tokio::time::advance(limit).await;
            while registry.metrics().tools["block"].failure() < attempt {
                tokio::task::yield_now().await;
            }
            // Its call has ended, and the next attempt waits for its thread.
            settle().await;
            tokio::time::advance(Duration::from_millis(1)).await;
            settle().await;
            assert!(blocks.begun.try_recv().is_err(), "two attempts at once");
            clock.advance(Duration::from_secs(1));
            blocks.go_on.send(()).unwrap();
        }
    };
    let (report, ()) = tokio::join!(run.run(&mut model), passes);
    assert_eq!((report.attempts, report.failures_left), (4, 1));
    assert_eq!(report.permit_wait, Duration::from_secs(3));
    assert_eq!(blocks.most.load(Ordering::SeqCst), 1);
    let stats = &registry.metrics().tools["block"];
    assert_eq!(stats.failures_by_kind[&ErrorKind::Timeout], 4);
}

/// The call is cancelled and its thread continues, so the next call waits for the thread.
#[tokio::test(start_paused = true)]
async fn a_permit_is_held_by_the_thread_of_a_call_that_was_cancelled() {
    let (registry, _) = registry();
    let mut blocks = Blocks::register(&registry);
    let mut hang = with_hang(&registry);
    let (token, run_token) = (CancellationToken::new(), CancellationToken::new());
    let first = call("block").cancel_token(token.clone());
    let mut model = Script::new([vec![first, call("hang")]]);
    let run = AutoRun::new(&registry).concurrency(1);
    let run = run.cancel_token(run_token.clone());
    let passes = async {
        blocks.begun.recv().await.unwrap();
        token.cancel();
        settle().await;
        assert_eq!(registry.metrics().tools["block"].cancelled(), 1);
        assert!(hang.try_recv().is_err(), "the thread is not free yet");
        blocks.go_on.send(()).unwrap();
        hang.recv().await.unwrap();
        run_token.cancel();
    };
    let (report, ()) = beside(run.run(&mut model), passes).await;
    assert_eq!((report.attempts, report.cancelled), (2, 2));
}

/// There is one thread, and another call has it. A call that waits for it in vain does not keep its
/// permit.
#[test]
fn a_blocking_call_that_never_begins_gives_its_permit_back() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (free, is_free) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || is_free.recv());
    let (registry, _) = registry();
    let mut blocks = Blocks::register(&registry);
    let mut hang = with_hang(&registry);
    let (token, run_token) = (CancellationToken::new(), CancellationToken::new());
    let limit = Duration::from_millis(30);
    let calls = vec![
        call("block").time_limit(limit),
        call("block").cancel_token(token.clone()),
        call("hang"),
    ];
    let mut model = Script::new([calls]);
    let run = AutoRun::new(&registry).concurrency(1);
    let run = run.cancel_token(run_token.clone());
    let report = runtime.block_on(async {
        let passes = async {
            settle().await;
            tokio::time::advance(limit).await;
            settle().await;
            token.cancel();
            settle().await;
            assert!(hang.try_recv().is_ok(), "no permit was given back");
            run_token.cancel();
        };
        tokio::join!(run.run(&mut model), passes).0
    });
    assert_eq!((report.failures_left, report.cancelled), (1, 2));
    drop((free, runtime));
    assert!(
        blocks.begun.try_recv().is_err(),
        "the tool ran all the same"
    );
    let stats = &registry.metrics().tools["block"];
    assert_eq!((stats.failure(), stats.cancelled()), (1, 1));
}

/// The place where a backoff panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Breaks {
    WhenBuilt,
    AtOnce,
    AtTheSecond,
    WhenDropped,
    /// When it is dropped because it has ended, while its call goes on.
    WhenEnded,
}

struct Pauses(Breaks, usize);

impl BackoffBuilder for Breaks {
    type Backoff = Pauses;

    fn build(self) -> Pauses {
        assert_ne!(self, Self::WhenBuilt, "the backoff is broken");
        Pauses(self, 0)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.1 += 1;
        match (self.0, self.1) {
            (Breaks::AtOnce, _) | (Breaks::AtTheSecond, 2) => panic!("the backoff is broken"),
            (Breaks::WhenEnded, 2) => None,
            _ => Some(Duration::ZERO),
        }
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        let breaks = matches!(self.0, Breaks::WhenDropped | Breaks::WhenEnded);
        assert!(!breaks, "the backoff is broken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backoff_that_panics_has_ended() {
    for (breaks, attempts) in [
        (Breaks::WhenBuilt, 1),
        (Breaks::AtOnce, 1),
        (Breaks::AtTheSecond, 2),
        (Breaks::WhenDropped, 4),
        (Breaks::WhenEnded, 2),
    ] {
        let (registry, _) = registry();
        with_flaky(&registry, ErrorKind::Network, usize::MAX);
        let mut model = Script::new([vec![flaky()]]);
        let run = AutoRun::new(&registry).max_attempts(4).backoff(breaks);
        let report = run.run(&mut model).await;
        assert_eq!(report.attempts, attempts, "{breaks:?}");
        assert_eq!((report.failures_left, report.cancelled), (1, 0));
        let result = &model.results(0)[0];
        assert_eq!(result.outcome, Outcome::Failure(ErrorKind::Network));
        assert_eq!(u64::from(result.attempt), attempts);
        assert_eq!(registry.metrics().tools["flaky"].failure(), attempts);
    }
}

/// The host's backoff is dropped half way, and panics when it is dropped.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_while_it_waits_to_be_retried_keeps_its_attempts() {
    let (registry, _) = registry();
    with_flaky(&registry, ErrorKind::Network, usize::MAX);
    let token = CancellationToken::new();
    let mut model = Script::new([vec![flaky().cancel_token(token.clone())]]);
    let run = AutoRun::new(&registry).max_attempts(u16::MAX);
    let run = run.backoff(Breaks::WhenDropped);
    let cancels = async {
        while registry.metrics().tools["flaky"].failure() < 3 {
            tokio::task::yield_now().await;
        }
        token.cancel();
    };
    let (report, ()) = tokio::join!(run.run(&mut model), cancels);
    assert_eq!((report.failures_left, report.cancelled), (0, 1));
    let failed = registry.metrics().tools["flaky"].failure();
    assert!(failed >= 3);
    assert_eq!((report.attempts, report.retries), (failed, failed - 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_approver_panics_is_rejected() {
    fn when_called(_: ToolCall) -> std::future::Ready<Approval> {
        panic!("the approver is broken")
    }
    async fn when_polled(_: ToolCall) -> Approval {
        tokio::task::yield_now().await;
        panic!("the approver is broken")
    }
    for polled in [false, true] {
        let registry = with_wait();
        let run = AutoRun::new(&registry).max_attempts(3);
        let run = match polled {
            true => run.approve_with(when_polled),
            false => run.approve_with(when_called),
        };
        let mut model = Script::new([vec![wait(1)]]);
        let report = run.run(&mut model).await;
        assert_eq!(report.stop, StopReason::Done(json!("done")));
        assert_eq!((report.attempts, report.rejected), (0, 1));
        let CallError::Denied { reason } = model.results(0)[0].answer.as_ref().unwrap_err() else {
            panic!("it was not denied");
        };
        assert_eq!(reason, "the approver panicked");
        let stats = &registry.metrics().tools["wait"];
        assert_eq!((stats.rejected, stats.success()), (1, 0));
    }
}

/// An approver and a backoff panic when they are dropped, with the run or when others replace them.
/// Their payload panics, too.
#[tokio::test(start_paused = true)]
async fn an_approver_and_a_backoff_that_panic_when_they_are_dropped_change_nothing() {
    #[derive(Clone, Debug)]
    struct Bomb(Option<Arc<AtomicUsize>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if let Some(dropped) = &self.0 {
                dropped.fetch_add(1, Ordering::Relaxed);
                std::panic::panic_any(Bomb(None));
            }
            panic!("the last");
        }
    }
    impl BackoffBuilder for Bomb {
        type Backoff = Held;
        fn build(self) -> Held {
            Held(self)
        }
    }
    struct Held(#[allow(dead_code, reason = "dropped with it")] Bomb);
    impl Iterator for Held {
        type Item = Duration;
        fn next(&mut self) -> Option<Duration> {
            Some(Duration::ZERO)
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let bomb = || Bomb(Some(Arc::clone(&dropped)));
    let approver = || {
        let held = bomb();
        move |_: ToolCall| {
            let _kept = &held;
            std::future::ready(Approval::Approved)
        }
    };
    let registry = with_wait();
    let run = AutoRun::new(&registry).max_attempts(2);
    let run = run.approve_with(approver()).backoff(bomb());
    let run = run.approve_with(approver()).backoff(bomb());
    assert_eq!(dropped.load(Ordering::Relaxed), 2, "those before");
    let mut model = Script::new([vec![wait(1)]]);
    let report = run.run(&mut model).await;
    assert_eq!(report.stop, StopReason::Done(json!("done")));
    assert_eq!((report.attempts, report.rejected), (1, 0));
    drop(run);
    assert_eq!(dropped.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_while_an_approver_does_not_answer() {
    let (registry, clock) = registry();
    let mut hang = with_hang(&registry);
    let token = CancellationToken::new();
    let (asks, mut asked) = unbounded_channel();
    let run = AutoRun::new(&registry)
        .cancel_token(token.clone())
        .approve_with(move |_| {
            asks.send(()).unwrap();
            std::future::pending()
        });
    let mut model = Script::new([vec![call("hang")]]);
    let cancels = async {
        asked.recv().await.unwrap();
        clock.advance(Duration::from_secs(60));
        token.cancel();
    };
    let (report, ()) = beside(run.run(&mut model), cancels).await;
    assert_eq!(report.stop, StopReason::Cancelled);
    assert_eq!((report.turns, report.calls, report.cancelled), (1, 1, 1));
    assert_eq!((report.attempts, report.rejected), (0, 0));
    assert_eq!(report.approval_wait, Duration::from_secs(60));
    assert!(hang.try_recv().is_err());
    let stats = &registry.metrics().tools["hang"];
    assert_eq!(
        (stats.finished(), stats.rejected, stats.in_flight),
        (0, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_while_its_model_does_not_answer() {
    struct Silent(UnboundedSender<()>);
    impl Model for Silent {
        type Error = String;
        async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, String> {
            if results.is_empty() {
                return Ok(Turn::Calls(vec![wait(1)]));
            }
            self.0.send(()).unwrap();
            std::future::pending().await
        }
    }
    let registry = with_wait();
    let token = CancellationToken::new();
    let (asks, mut asked) = unbounded_channel();
    let run = AutoRun::new(&registry).cancel_token(token.clone());
    let mut model = Silent(asks);
    let cancels = async {
        asked.recv().await.unwrap();
        token.cancel();
    };
    let (report, ()) = beside(run.run(&mut model), cancels).await;
    assert_eq!(report.stop, StopReason::Cancelled);
    assert_eq!((report.turns, report.attempts, report.cancelled), (1, 1, 0));
    assert_eq!(registry.metrics().tools["wait"].success(), 1);
}

/// The tasks of the calls are dropped. The run itself is not, and another runtime drives it.
#[test]
fn a_run_whose_runtime_ends_tells_the_attempts_it_made() {
    let (registry, _) = registry();
    let (begins, mut begun) = unbounded_channel();
    let tool = async_tool("flaky", move |call| {
        let begins = begins.clone();
        async move {
            if call.attempt > 1 {
                begins.send(()).unwrap();
                std::future::pending::<()>().await;
            }
            Err(ToolError::new(ErrorKind::Network, "not yet"))
        }
    });
    registry.register_tool(tool).unwrap();
    let mut tasks = tokio::runtime::Builder::new_multi_thread();
    let tasks = tasks.worker_threads(1).enable_time().build().unwrap();
    let handle = tasks.handle().clone();
    let mut model = Script::new([vec![flaky()]]);
    let run = AutoRun::new(&registry).max_attempts(3).backoff(at_once());
    let driver = tokio::runtime::Builder::new_current_thread().build();
    let report = driver.unwrap().block_on(async {
        let mut run = std::pin::pin!(run.run(&mut model));
        let run = std::future::poll_fn(|context| {
            let _entered = handle.enter();
            run.as_mut().poll(context)
        });
        let ends = async {
            begun.recv().await.unwrap();
            tasks.shutdown_background();
        };
        tokio::join!(run, ends).0
    });
    let result = &model.results(0)[0];
    assert_eq!(result.outcome, Outcome::Cancelled);
    assert_eq!((result.attempt, result.attempts), (2, 2));
    assert_eq!((report.attempts, report.retries), (2, 1));
    assert_eq!((report.failures_left, report.cancelled), (0, 1));
    let stats = &registry.metrics().tools["flaky"];
    assert_eq!(
        (stats.failure(), stats.cancelled(), stats.in_flight),
        (1, 1, 0)
    );
}

/// Without a timer, the task of a call that needs one panics when its attempt has begun.
#[test]
fn a_call_whose_task_panics_tells_the_attempts_it_made() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (registry, _) = registry();
    let blocks = Blocks::register(&registry);
    let _hang = with_hang(&registry);
    let limit = Duration::from_secs(1);
    let turn = || ["hang", "block"].map(|name| call(name).time_limit(limit));
    let mut model = Script::new([turn().to_vec(), turn().to_vec()]);
    drop(blocks.go_on);
    let run = AutoRun::new(&registry);
    let report = runtime.unwrap().block_on(run.run(&mut model));
    assert_eq!(
        (report.attempts, report.cancelled, report.retries),
        (4, 4, 2)
    );
    for name in ["hang", "block"] {
        let stats = &registry.metrics().tools[name];
        assert_eq!((stats.finished(), stats.cancelled()), (2, 2), "{name}");
        assert_eq!((stats.retried, stats.in_flight), (1, 0), "{name}");
    }
}

/// The number of an attempt has 16 bits. A call that is repeated over turns may need more.
#[tokio::test(start_paused = true)]
async fn attempts_whose_number_cannot_be_told_are_counted() {
    let (registry, _) = registry();
    with_flaky(&registry, ErrorKind::Network, 65_538);
    let run = AutoRun::new(&registry).max_attempts(u16::MAX);
    let run = run.backoff(at_once());
    let mut model = Script::new([vec![flaky()]]);
    let report = run.run(&mut model).await;
    assert_eq!((report.attempts, report.unnumbered_attempts), (65_535, 0));
    assert_eq!(model.results(0)[0].attempt, 65_535);

    let (registry, _) = self::registry();
    with_flaky(&registry, ErrorKind::Network, 65_538);
    // The last one is denied, so it is not an attempt.
    let asked = AtomicUsize::new(0);
    let run = AutoRun::new(&registry).max_attempts(u16::MAX);
    let run = run.backoff(at_once()).approve_with(move |_| {
        let approval = match asked.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Approval::Approved,
            _ => Approval::Denied {
                reason: "enough".into(),
            },
        };
        async { approval }
    });
    let mut model = Script::new((0..3).map(|_| vec![flaky()]));
    let report = run.run(&mut model).await;
    let result = &model.results(1)[0];
    assert_eq!((result.attempt, result.attempts), (65_535, 4));
    assert_eq!((report.attempts, report.retries), (65_539, 65_538));
    assert_eq!((report.unnumbered_attempts, report.recovered), (4, 1));
    assert_eq!(report.rejected, 1);
    let stats = &registry.metrics().tools["flaky"];
    assert_eq!((stats.failure(), stats.success()), (65_538, 1));
    assert_eq!(stats.retried, 65_538);
}

/// The run is dropped half way, with a call that runs, one that blocks a thread, one that waits for
/// approval and one whose delay has not passed.
#[test]
fn a_run_that_is_dropped_leaves_nothing_behind() {
    for mut runtime in [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ] {
        let runtime = runtime.enable_time().build().unwrap();
        let (registry, _) = registry();
        let mut blocks = Blocks::register(&registry);
        let mut hang = with_hang(&registry);
        let (asks, mut asked) = unbounded_channel();
        let run = AutoRun::new(&registry)
            .concurrency(2)
            .approve_with(move |call| {
                let asks = asks.clone();
                async move {
                    if call.args().is_string() {
                        asks.send(()).unwrap();
                        std::future::pending::<()>().await;
                    }
                    Approval::Approved
                }
            });
        let unapproved = ToolCall::new("hang", json!("unapproved"));
        let calls = ["block", "hang"].map(call);
        let late = call("hang").delay(Duration::from_secs(60));
        let mut model = Script::new([[calls.to_vec(), vec![unapproved, late]].concat()]);
        let counts = |name: &str| {
            let metrics = registry.metrics();
            let stats = &metrics.tools[name];
            (stats.finished(), stats.cancelled(), stats.in_flight)
        };
        runtime.block_on(async {
            let task = tokio::spawn(async move { run.run(&mut model).await.attempts });
            blocks.begun.recv().await.unwrap();
            hang.recv().await.unwrap();
            asked.recv().await.unwrap();
            assert_eq!((counts("block").2, counts("hang").2), (1, 1));
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            // The runtime drops the calls and their values one after the other.
            assert_eq!(asked.recv().await, None);
            while counts("block").2 + counts("hang").2 > 0 {
                tokio::task::yield_now().await;
            }
        });
        // The thread of the tool that blocks still runs.
        assert_eq!((counts("block"), counts("hang")), ((1, 1, 0), (1, 1, 0)));
        blocks.go_on.send(()).unwrap();
        drop(runtime);
        assert_eq!((counts("block"), counts("hang")), ((1, 1, 0), (1, 1, 0)));
        assert_eq!(blocks.begun.try_recv(), Err(TryRecvError::Empty));
        let weak = registry.downgrade();
        drop(registry);
        assert!(weak.upgrade().is_none(), "a call still has the registry");
        assert_eq!(hang.try_recv(), Err(TryRecvError::Disconnected));
    }
}
