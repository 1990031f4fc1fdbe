//! Metering of calls by name: what `invoke` answers, and what it counts, whatever a model asks
//! for and whatever a tool does.
#![cfg(not(toolmeter_loom))]

use serde_json::{Value, json};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use toolmeter::{
    CallContext, CallOptions, ClockSource, ErrorKind, Invocation, InvokeError, ManualClock, Pump,
    Registry, Tool, ToolError, ToolFuture, ToolSpec, ToolStats, async_tool, sync_tool,
};

const MS: Duration = Duration::from_millis(1);

fn host() -> (Registry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .pump(Pump::manual())
        .stripes(2)
        .build()
        .unwrap();
    (registry, clock)
}

fn stats(registry: &Registry) -> Arc<ToolStats> {
    Arc::clone(&registry.metrics().tools["tool"])
}

/// Successes, failures, cancelled calls and calls in flight.
type Counts = (u64, u64, u64, u64);

fn counts(registry: &Registry) -> Counts {
    let stats = stats(registry);
    let (success, failure) = (stats.success(), stats.failure());
    (success, failure, stats.cancelled(), stats.in_flight)
}

/// That the tool failed once and in this way.
fn assert_failed_once(registry: &Registry, kind: ErrorKind) {
    assert_eq!(counts(registry), (0, 1, 0, 0));
    let kinds = &stats(registry).failures_by_kind;
    assert_eq!(kinds.iter().collect::<Vec<_>>(), [(&kind, &1)]);
}

/// A call whose tool is done at the first poll.
fn invoke(registry: &Registry, args: Value) -> Result<Value, InvokeError> {
    invoke_as(registry, "tool", args, CallOptions::new())
}

fn invoke_as(
    registry: &Registry,
    name: &str,
    args: Value,
    options: CallOptions,
) -> Result<Value, InvokeError> {
    let call = pin!(registry.invoke(name, args, options));
    match call.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the tool was not done at once"),
    }
}

#[test]
fn a_call_reaches_the_tool_with_its_options() {
    let (registry, clock) = host();
    let tool = sync_tool("tool", move |call: Invocation| {
        clock.advance(3 * MS);
        let session = call.context.as_ref().map(|context| context.session());
        Ok(json!([call.args, call.attempt, session]))
    });
    registry.register_tool(tool).unwrap();
    assert_eq!(
        invoke(&registry, json!("a")).unwrap(),
        json!(["a", 1, null])
    );
    let context = Arc::new(CallContext::new("s-1", 4, "call-7"));
    let options = CallOptions::new().attempt(2).context(context);
    assert_eq!(
        invoke_as(&registry, "tool", json!("b"), options).unwrap(),
        json!(["b", 2, "s-1"])
    );
    assert_eq!(counts(&registry), (2, 0, 0, 0));
    let stats = stats(&registry);
    assert_eq!((stats.retried, stats.recovered), (1, 1));
    assert_eq!(stats.total_latency(), 6 * MS);
}

#[test]
fn a_tools_own_error_keeps_kind_and_text() {
    let (registry, _) = host();
    let error = ToolError::new(ErrorKind::PermissionDenied, "not yours");
    let answer = error.clone();
    let tool = async_tool("tool", move |_| std::future::ready(Err(answer.clone())));
    registry.register_tool(tool).unwrap();
    let refused = invoke(&registry, json!(null)).unwrap_err();
    assert!(matches!(&refused, InvokeError::Failed(failed) if *failed == error));
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert_failed_once(&registry, ErrorKind::PermissionDenied);
    let last = stats(&registry).last_error.clone().unwrap();
    assert_eq!(last.message.as_deref(), Some("not yours"));
}

#[test]
fn an_answer_with_an_error_flag_is_given_back_and_counted_as_failure() {
    let (registry, _) = host();
    let echo = async_tool("tool", |call| async move { Ok(call.args) });
    registry.register_tool(echo).unwrap();
    let flagged = json!({ "isError": true, "content": [{ "type": "text", "text": "no repo" }] });
    assert_eq!(invoke(&registry, flagged.clone()).unwrap(), flagged);
    assert_failed_once(&registry, ErrorKind::Provider);
    let last = stats(&registry).last_error.clone().unwrap();
    assert_eq!(last.message.as_deref(), Some("no repo"));
}

#[test]
fn an_answer_of_unexpected_shape_is_an_error() {
    let (registry, _) = host();
    let echo = async_tool("tool", |call| async move { Ok(call.args) });
    registry.register_tool(echo).unwrap();
    let error = invoke(&registry, json!({ "isError": "yes" })).unwrap_err();
    assert!(matches!(&error, InvokeError::UnexpectedShape { name } if **name == *"tool"));
    assert_eq!(error.kind(), ErrorKind::InvalidArgs);
    assert_failed_once(&registry, ErrorKind::InvalidArgs);
}

/// Panics before it gives a future.
struct PanicsAtOnce;

impl Tool for PanicsAtOnce {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new("tool")
    }

    fn call(&self, _: Invocation) -> ToolFuture<'_> {
        panic!("no\u{1b}[2J future")
    }
}

#[test]
fn a_panic_becomes_an_error_wherever_it_happens() {
    let registries = [host().0, host().0];
    registries[0].register_tool(PanicsAtOnce).unwrap();
    let later = async_tool("tool", |_| async { panic!("no\u{1b}[2J future") });
    registries[1].register_tool(later).unwrap();
    for registry in registries {
        let error = invoke(&registry, json!(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panic);
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
    let (registry, _) = host();
    registry.register(ToolSpec::new("tool")).unwrap();
    let invented = [
        "too".to_owned(),
        String::new(),
        "x\0\u{1b}[31m".into(),
        "é".repeat(2 << 20),
    ];
    for name in &invented {
        let error = invoke_as(&registry, name, json!(0), CallOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().len() < 300);
        let InvokeError::UnknownTool { name } = error else {
            panic!("another error: {error}");
        };
        assert!(name.len() <= 128 && !name.contains(['\0', '\u{1b}']));
    }
    let metrics = registry.metrics();
    assert_eq!(metrics.unknown_tool_calls, 4);
    assert_eq!(metrics.tools.len(), 1);
    assert_eq!(counts(&registry), (0, 0, 0, 0));
}

#[test]
fn a_disabled_tool_is_rejected_by_name_only() {
    let (registry, clock) = host();
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
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_failed_once(&registry, ErrorKind::Rejected);
    assert_eq!(stats(&registry).total_latency(), Duration::ZERO);
    assert_eq!(stats(&registry).last_latency(), None, "it has no latency");

    handle.start().succeed();
    handle.set_enabled(true);
    assert_eq!(invoke(&registry, json!(5)).unwrap(), json!(5));
    assert_eq!(counts(&registry), (2, 1, 0, 0));
}

#[test]
fn a_tool_without_a_body_cannot_be_called_by_name() {
    let (registry, _) = host();
    registry.register(ToolSpec::new("tool")).unwrap();
    let error = invoke(&registry, json!(0)).unwrap_err();
    assert!(matches!(&error, InvokeError::NotCallable { name } if **name == *"tool"));
    assert_failed_once(&registry, ErrorKind::Rejected);
    assert_eq!(registry.metrics().unknown_tool_calls, 0);
}

#[test]
fn dropping_the_future_cancels_a_call_that_began() {
    let (registry, clock) = host();
    let hangs = async_tool("tool", |_| pending());
    registry.register_tool(hangs).unwrap();
    drop(registry.invoke("tool", json!(0), CallOptions::new()));
    assert_eq!(counts(&registry), (0, 0, 0, 0));
    let mut call = Box::pin(registry.invoke("tool", json!(0), CallOptions::new()));
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

    /// Writes down what the registry had counted when it was dropped.
    struct ReadsWhenDropped(Registry, Arc<Mutex<Vec<Counts>>>);

    impl Drop for ReadsWhenDropped {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(counts(&self.0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_is_recorded_before_the_tool_is_dropped() {
        let (registry, clock) = host();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let tool = {
            // The tool must not own its registry, which owns the tool: only the running call does.
            let (calls, seen) = (Arc::new(Mutex::new(None)), Arc::clone(&seen));
            *calls.lock().unwrap() = Some(registry.clone());
            async_tool("tool", move |call| {
                let registry = calls.lock().unwrap().take();
                let reads = registry.map(|registry| ReadsWhenDropped(registry, Arc::clone(&seen)));
                let clock = Arc::clone(&clock);
                async move {
                    let _reads = reads;
                    clock.advance(2 * MS);
                    if call.args.is_null() {
                        pending::<()>().await;
                    }
                    Ok(call.args)
                }
            })
        };
        registry.register_tool(tool).unwrap();
        let limit = Duration::from_secs(20);
        let error = registry
            .invoke_within(limit, "tool", json!(null), CallOptions::new())
            .await
            .unwrap_err();
        assert!(matches!(error, InvokeError::TimedOut { limit: l, .. } if l == limit));
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(*seen.lock().unwrap(), [(0, 1, 0, 0)]);
        assert_failed_once(&registry, ErrorKind::Timeout);
        assert_eq!(stats(&registry).total_latency(), 2 * MS);

        let answer = registry
            .invoke_within(limit, "tool", json!(1), CallOptions::new())
            .await;
        assert_eq!(answer.unwrap(), json!(1));
        let unknown = registry.invoke_within(limit, "tol", json!(1), CallOptions::new());
        assert!(unknown.await.is_err());
        assert_eq!(counts(&registry), (1, 1, 0, 0));
        assert_eq!(registry.metrics().unknown_tool_calls, 1);
    }
}
