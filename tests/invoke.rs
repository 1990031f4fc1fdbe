//! Metering of calls by name: the answers and the counts of `invoke`, whatever a model asks for and
//! whatever a tool does.
#![cfg(not(toolmeter_loom))]

mod common;

use common::{Counts, at_once, counts, invoke, registry, stats};
use serde_json::{Value, json};
use std::future::{Future, IntoFuture, pending};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use toolmeter::{
    CallContext, ErrorKind, Invocation, InvokeError, Outcome, Registry, Tool, ToolError,
    ToolFuture, ToolSpec, Verdict, async_tool, sync_tool,
};

const MS: Duration = Duration::from_millis(1);

/// Asserts that the tool failed once and in this way.
fn assert_failed_once(registry: &Registry, kind: ErrorKind) {
    assert_eq!(counts(registry), (0, 1, 0, 0));
    let kinds = &stats(registry).failures_by_kind;
    assert_eq!(kinds.iter().collect::<Vec<_>>(), [(&kind, &1)]);
}

/// Asserts that a call was refused, which is a count and nothing else.
fn assert_rejected_once(registry: &Registry) {
    assert_eq!(counts(registry), (0, 0, 0, 0));
    let stats = stats(registry);
    assert_eq!((stats.rejected, &stats.last_error), (1, &None));
    assert_eq!(stats.last_latency(), None, "it has no latency");
    assert!(stats.failures_by_kind.is_empty());
}

#[test]
fn a_call_reaches_the_tool_with_attempt_and_context() {
    let (registry, clock) = registry();
    let tool = sync_tool("tool", move |call: Invocation| {
        clock.advance(3 * MS);
        let session = call.context.as_ref().map(|context| &*context.session);
        Ok(json!([call.args, call.attempt, session]))
    });
    registry.register_tool(tool).unwrap();
    assert_eq!(
        invoke(&registry, json!("a")).unwrap(),
        json!(["a", 1, null])
    );
    let context = CallContext::new("s-1").turn(4).call("call-7");
    let call = registry.invoke("tool", json!("b")).attempt(2);
    assert_eq!(
        at_once(call.context(context)).unwrap(),
        json!(["b", 2, "s-1"])
    );
    assert_eq!(counts(&registry), (2, 0, 0, 0));
    let stats = stats(&registry);
    assert_eq!((stats.retried, stats.recovered), (1, 1));
    assert_eq!(stats.total_latency(), 6 * MS);
}

/// A tool calls others through the registry that it is lent, and names its own call as their
/// parent.
#[test]
fn a_tool_may_call_others_and_does_not_keep_the_registry() {
    let (registry, _) = registry();
    let events = registry.subscribe();
    let outer = async_tool("outer", |call| async move {
        let registry = call.registry().unwrap();
        let context = call.child_context("call-8");
        let inner = registry.invoke("tool", call.args).context(context);
        inner.await.map_err(|error| ToolError::from_error(&error))
    });
    registry.register_tool(outer).unwrap();
    let inner = async_tool("tool", |call| async move { Ok(call.args) });
    registry.register_tool(inner).unwrap();
    let context = CallContext::new("s-1").turn(4).call("call-7");
    let call = registry.invoke("outer", json!(1)).context(context);
    assert_eq!(at_once(call).unwrap(), json!(1));
    assert_eq!(counts(&registry), (1, 0, 0, 0));
    registry.pump();
    let batch = events.try_recv().unwrap();
    let of_inner = batch
        .iter()
        .find(|event| batch.name(event.tool()) == Some("tool"));
    let context = of_inner.unwrap().context().unwrap();
    assert_eq!((&*context.session, context.turn), ("s-1", 4));
    assert_eq!(&*context.call, "call-8");
    assert_eq!(context.parent.as_deref(), Some("call-7"));

    let weak = registry.downgrade();
    drop(registry);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_tools_own_error_keeps_kind_and_text() {
    let (registry, _) = registry();
    let error = ToolError::new(ErrorKind::PermissionDenied, "not yours");
    let answer = error.clone();
    let tool = async_tool("tool", move |_| std::future::ready(Err(answer.clone())));
    registry.register_tool(tool).unwrap();
    let refused = invoke(&registry, json!(null)).unwrap_err();
    assert!(matches!(&refused, InvokeError::Failed(failed) if *failed == error));
    assert_eq!(refused.kind(), Some(ErrorKind::PermissionDenied));
    assert_failed_once(&registry, ErrorKind::PermissionDenied);
    let last = stats(&registry).last_error.clone().unwrap();
    assert_eq!(last.message.as_deref(), Some("not yours"));
}

#[test]
fn a_tool_may_say_that_it_stopped_or_refused() {
    let (registry, clock) = registry();
    let tool = {
        let clock = Arc::clone(&clock);
        async_tool("tool", move |call| {
            clock.advance(MS);
            let error = match call.args.as_bool() {
                Some(true) => ToolError::cancelled("interrupted"),
                _ => ToolError::rejected("not on a Sunday"),
            };
            async { Err(error) }
        })
    };
    registry.register_tool(tool).unwrap();
    let refused = invoke(&registry, json!(false)).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.outcome()),
        (None, Outcome::Rejected)
    );
    assert_rejected_once(&registry);
    let stopped = invoke(&registry, json!(true)).unwrap_err();
    assert_eq!(
        (stopped.kind(), stopped.outcome()),
        (None, Outcome::Cancelled)
    );
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    assert_eq!(stats(&registry).latency.cancelled.sum(), MS);
}

#[test]
fn an_answer_with_an_error_flag_is_given_back_and_counted_as_failure() {
    let (registry, _) = registry();
    let echo = async_tool("tool", |call| async move { Ok(call.args) });
    registry.register_tool(echo).unwrap();
    let flagged = json!({ "isError": true, "content": [{ "type": "text", "text": "no repo" }] });
    assert_eq!(invoke(&registry, flagged.clone()).unwrap(), flagged);
    assert_failed_once(&registry, ErrorKind::ToolError);
    let last = stats(&registry).last_error.clone().unwrap();
    assert_eq!(last.message.as_deref(), Some("no repo"));
}

/// Any answer is returned.
#[test]
fn an_answer_is_never_withheld_for_its_shape() {
    let (registry, _) = registry();
    let echo = async_tool("tool", |call| async move { Ok(call.args) });
    registry.register_tool(echo).unwrap();
    let successes = [
        json!({ "isError": "yes" }),
        json!({ "isError": null }),
        json!({ "isError": 1, "content": "none" }),
        json!([true, { "isError": true }]),
        json!(null),
        json!("isError"),
    ];
    for answer in &successes {
        assert_eq!(invoke(&registry, answer.clone()).unwrap(), *answer);
    }
    assert_eq!(counts(&registry), (6, 0, 0, 0));
    let failures = [
        json!({ "isError": true }),
        json!({ "isError": true, "content": { "text": "no list" } }),
        json!({ "isError": true, "content": [{ "type": "image" }, { "text": 3 }] }),
    ];
    for answer in &failures {
        assert_eq!(invoke(&registry, answer.clone()).unwrap(), *answer);
    }
    assert_eq!(counts(&registry), (6, 3, 0, 0));
    let text = "MCP error -32602: Invalid arguments for tool read";
    let answer = json!({ "isError": true, "content": [{ "type": "text", "text": text }] });
    assert_eq!(invoke(&registry, answer.clone()).unwrap(), answer);
    let kinds = &stats(&registry).failures_by_kind;
    assert_eq!(kinds[&ErrorKind::ToolError], 3);
    assert_eq!(kinds[&ErrorKind::InvalidArgs], 1);
}

/// A tool that answers with a number, and judges that itself.
struct CountsHits;

impl Tool for CountsHits {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new("tool")
    }

    fn call(&self, invocation: Invocation) -> ToolFuture {
        Box::pin(async move { Ok(invocation.args) })
    }

    fn classify(&self, answer: &Value) -> Verdict {
        match answer.as_u64() {
            Some(0) => Verdict::failure(ErrorKind::NotFound).because("no hits"),
            Some(_) => Verdict::success(),
            None => panic!("no number"),
        }
    }
}

#[test]
fn an_answer_is_judged_by_the_call_or_else_by_the_tool() {
    let (registry, _) = registry();
    registry.register_tool(CountsHits).unwrap();
    assert_eq!(invoke(&registry, json!(3)).unwrap(), json!(3));
    assert_eq!(invoke(&registry, json!(0)).unwrap(), json!(0));
    let last = stats(&registry).last_error.clone().unwrap();
    assert_eq!(
        (last.kind, last.message.as_deref()),
        (ErrorKind::NotFound, Some("no hits"))
    );

    let any_will_do = |_: &Value| Verdict::success();
    let call = registry.invoke("tool", json!(0)).classify(any_will_do);
    assert_eq!(at_once(call.attempt(2)).unwrap(), json!(0));
    assert_eq!(counts(&registry), (2, 1, 0, 0));
    assert_eq!(stats(&registry).recovered, 1);

    // A rule that panics is a panic of the call, and nothing unwinds.
    let error = invoke(&registry, json!("x")).unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::Panic));
    let panics = |_: &Value| panic!("the rule");
    let error = at_once(registry.invoke("tool", json!(0)).classify(panics)).unwrap_err();
    assert!(matches!(&error, InvokeError::Panicked { message, .. } if message == "the rule"));
    assert_eq!(stats(&registry).failures_by_kind[&ErrorKind::Panic], 2);
    assert_eq!(stats(&registry).in_flight, 0);
}

/// A tool that panics before it returns a future.
struct PanicsAtOnce;

impl Tool for PanicsAtOnce {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new("tool")
    }

    fn call(&self, _: Invocation) -> ToolFuture {
        panic!("no\u{1b}[2J future")
    }
}

#[test]
fn a_panic_becomes_an_error_wherever_it_happens() {
    let registries = [registry().0, registry().0];
    registries[0].register_tool(PanicsAtOnce).unwrap();
    let later = async_tool("tool", |_| async { panic!("no\u{1b}[2J future") });
    registries[1].register_tool(later).unwrap();
    for registry in registries {
        let error = invoke(&registry, json!(1)).unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::Panic));
        let InvokeError::Panicked { name, message } = error else {
            panic!("another error: {error}");
        };
        assert_eq!((&*name, &*message), ("tool", "no\\u{1b}[2J future"));
        assert_failed_once(&registry, ErrorKind::Panic);
        let last = stats(&registry).last_error.clone().unwrap();
        assert_eq!(last.message, Some(message));
    }
}

#[test]
fn an_invented_name_makes_no_slot() {
    let (registry, _) = registry();
    registry.register("tool").unwrap();
    let invented = [
        "too".to_owned(),
        String::new(),
        "x\0\u{1b}[31m".into(),
        "é".repeat(2 << 20),
    ];
    for name in &invented {
        let error = at_once(registry.invoke(name, json!(0))).unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::NotFound));
        assert!(error.to_string().len() < 400);
        let InvokeError::UnknownTool { name } = error else {
            panic!("another error: {error}");
        };
        assert!(name.len() <= 256 && !name.contains(['\0', '\u{1b}']));
    }
    let metrics = registry.metrics();
    assert_eq!(metrics.unknown_tool_calls, 4);
    assert_eq!(metrics.tools.len(), 1);
    assert_eq!(counts(&registry), (0, 0, 0, 0));
}

#[test]
fn a_disabled_tool_is_rejected_by_name_only() {
    let (registry, clock) = registry();
    let tool = {
        let clock = Arc::clone(&clock);
        sync_tool("tool", move |call| {
            clock.advance(MS);
            Ok(call.args)
        })
    };
    let handle = registry.register_tool(tool).unwrap();
    assert!(handle.is_enabled());
    handle.set_enabled(false);
    let error = invoke(&registry, json!(0)).unwrap_err();
    assert!(matches!(&error, InvokeError::Disabled { name } if **name == *"tool"));
    assert_eq!((error.kind(), error.outcome()), (None, Outcome::Rejected));
    assert_rejected_once(&registry);
    assert!(at_once(registry.invoke("tool", json!(0)).attempt(2)).is_err());
    assert_eq!(stats(&registry).retried, 0, "it never started");

    handle.start().succeed();
    handle.set_enabled(true);
    assert_eq!(invoke(&registry, json!(5)).unwrap(), json!(5));
    assert_eq!(counts(&registry), (2, 0, 0, 0));
    assert_eq!(stats(&registry).rejected, 2);
}

#[test]
fn a_tool_without_a_body_cannot_be_called_by_name() {
    let (registry, _) = registry();
    registry.register("tool").unwrap();
    let error = invoke(&registry, json!(0)).unwrap_err();
    assert!(matches!(&error, InvokeError::NotCallable { name } if **name == *"tool"));
    assert_rejected_once(&registry);
    assert_eq!(registry.metrics().unknown_tool_calls, 0);
}

/// The first poll borrows the tool from the registry. A call that continues has a handle of its
/// own.
#[test]
fn a_call_outlives_the_registration_of_its_tool() {
    let (registry, clock) = registry();
    let (answers, answer) = tokio::sync::oneshot::channel::<Value>();
    let answer = std::sync::Mutex::new(Some(answer));
    let waits = async_tool("tool", move |_| {
        let answer = answer.lock().unwrap().take();
        async move {
            match answer {
                Some(answer) => Ok(answer.await.unwrap_or_default()),
                None => Ok(json!("at once")),
            }
        }
    });
    drop(registry.register_tool(waits).unwrap());
    let mut call = pin!(registry.invoke("tool", json!(0)).into_future());
    let mut context = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    assert_eq!(invoke(&registry, json!(0)).unwrap(), json!("at once"));
    registry.deregister("tool").unwrap();
    for _ in 0..3 {
        registry.pump();
    }
    assert_eq!(counts(&registry), (1, 0, 0, 1));
    clock.advance(MS);
    answers.send(json!("late")).unwrap();
    let Poll::Ready(answer) = call.as_mut().poll(&mut context) else {
        panic!("the tool is done");
    };
    assert_eq!(answer.unwrap(), json!("late"));
    assert_eq!(counts(&registry), (2, 0, 0, 0));
}

/// The registry that a tool is lent is the same on every thread, and none once it has ended.
#[test]
fn a_tool_finds_its_registry_from_any_thread() {
    let (registry, _) = registry();
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let tool = async_tool("tool", move |call| {
        tell.lock().unwrap().send(call).unwrap();
        async { Ok(Value::Null) }
    });
    registry.register_tool(tool).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| invoke(&registry, json!(0)).unwrap());
        }
    });
    let calls: Vec<Invocation> = (0..4).map(|_| told.recv().unwrap()).collect();
    for call in &calls {
        let found = call.registry().unwrap();
        assert_eq!(found.metrics().tools["tool"].success(), 4);
    }
    drop(registry);
    assert!(calls.iter().all(|call| call.registry().is_none()));
}

#[test]
fn dropping_the_future_cancels_a_call_that_began() {
    let (registry, clock) = registry();
    let hangs = async_tool("tool", |_| pending());
    registry.register_tool(hangs).unwrap();
    drop(registry.invoke("tool", json!(0)));
    assert_eq!(counts(&registry), (0, 0, 0, 0));
    let mut call = Box::pin(registry.invoke("tool", json!(0)).into_future());
    let polled = call
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending();
    assert!(polled);
    clock.advance(4 * MS);
    assert_eq!(counts(&registry), (0, 0, 0, 1));
    drop(call);
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    assert_eq!(stats(&registry).latency.cancelled.sum(), 4 * MS);
}

#[cfg(feature = "tokio")]
mod time_limits {
    use super::*;
    use std::sync::Mutex;

    /// Records the counts of the registry when it is dropped.
    struct ReadsWhenDropped(Registry, Arc<Mutex<Vec<Counts>>>);

    impl Drop for ReadsWhenDropped {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(counts(&self.0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_is_recorded_before_the_tool_is_dropped() {
        let (registry, clock) = registry();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let tool = {
            let seen = Arc::clone(&seen);
            async_tool("tool", move |call| {
                let hangs = call.args.is_null();
                let registry = call.registry().filter(|_| hangs);
                let reads = registry.map(|registry| ReadsWhenDropped(registry, Arc::clone(&seen)));
                let clock = Arc::clone(&clock);
                async move {
                    let _reads = reads;
                    clock.advance(2 * MS);
                    if hangs {
                        pending::<()>().await;
                    }
                    Ok(call.args)
                }
            })
        };
        registry.register_tool(tool).unwrap();
        let limit = Duration::from_secs(20);
        let invoke = |args| registry.invoke("tool", args).within(limit);
        let error = invoke(json!(null)).await.unwrap_err();
        assert!(matches!(error, InvokeError::TimedOut { limit: l, .. } if l == limit));
        assert_eq!(error.kind(), Some(ErrorKind::Timeout));
        assert_eq!(*seen.lock().unwrap(), [(0, 1, 0, 0)]);
        assert_failed_once(&registry, ErrorKind::Timeout);
        assert_eq!(stats(&registry).total_latency(), 2 * MS);

        assert_eq!(invoke(json!(1)).await.unwrap(), json!(1));
        let unknown = registry.invoke("tol", json!(1)).within(limit);
        assert!(unknown.await.is_err());
        assert_eq!(counts(&registry), (1, 1, 0, 0));
        assert_eq!(registry.metrics().unknown_tool_calls, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_context_rule_and_limit_go_together() {
        let (registry, _) = registry();
        let echo = async_tool("tool", |call| async move { Ok(call.args) });
        registry.register_tool(echo).unwrap();
        let by_number = |answer: &Value| match answer.as_u64() {
            Some(0) => Verdict::failure(ErrorKind::NotFound),
            _ => Verdict::success(),
        };
        let call = |args| {
            registry
                .invoke("tool", args)
                .within(Duration::from_secs(1))
                .classify(by_number)
                .context(CallContext::new("s-1"))
                .attempt(2)
        };
        assert_eq!(call(json!(0)).await.unwrap(), json!(0));
        assert_failed_once(&registry, ErrorKind::NotFound);
        assert_eq!(call(json!(1)).await.unwrap(), json!(1));
        let stats = stats(&registry);
        assert_eq!((stats.retried, stats.recovered), (2, 1));
    }

    /// The tool runs on another thread, which may block on the runtime, and the limit holds.
    #[tokio::test]
    async fn a_tool_that_blocks_has_a_limit_and_may_block_on_the_runtime() {
        let (registry, _) = registry();
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let tool = sync_tool("tool", move |call| {
            if call.args.is_null() {
                let _ = wait.lock().unwrap().recv();
            }
            let answer = tokio::runtime::Handle::current().block_on(async { 3 });
            Ok(json!(answer))
        });
        registry.register_tool(tool).unwrap();
        let invoke = |args, limit| registry.invoke("tool", args).within(limit);
        let generous = Duration::from_secs(60);
        assert_eq!(invoke(json!(1), generous).await.unwrap(), json!(3));
        let late = invoke(json!(null), MS).await.unwrap_err();
        assert_eq!(late.kind(), Some(ErrorKind::Timeout));
        assert_eq!(counts(&registry), (1, 1, 0, 0));
        let_go.send(()).unwrap();
        // Its answer after its limit is discarded.
        assert_eq!(invoke(json!(1), generous).await.unwrap(), json!(3));
        assert_eq!(counts(&registry), (2, 1, 0, 0));
    }
}
