//! The list of running calls, the parents of calls that a tool makes, and the labels that a host
//! gives.
#![cfg(not(toolmeter_loom))]

mod common;

use common::at_once;
use serde_json::{Value, json};
use std::future::{IntoFuture, pending};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};
use toolmeter::{
    CallContext, Event, EventKind, ManualClock, Registry, RegistryBuilder, RunningCalls,
    Subscription, ToolError, async_tool,
};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> (RegistryBuilder, Arc<ManualClock>) {
    let (builder, clock) = common::builder();
    (builder.stripes(1), clock)
}

fn registry() -> (Registry, Arc<ManualClock>) {
    let (builder, clock) = builder();
    (builder.build().unwrap(), clock)
}

// ---------------------------------------------------------------------------------------------
// The list of running calls.

#[test]
fn the_calls_that_run_are_listed_oldest_first() {
    let started = SystemTime::UNIX_EPOCH + 1_000 * SECOND;
    let (builder, clock) = builder();
    let ticks = Arc::clone(&clock);
    let now = move || started + Duration::from_nanos(toolmeter::Clock::now_ns(&*ticks));
    let registry = builder.wall_clock(now).build().unwrap();
    let running = registry.running_calls();
    assert!(running.list().calls.is_empty());
    let shell = registry.register("shell").unwrap();
    let search = registry.register("web_search").unwrap();

    clock.advance(SECOND);
    let context = CallContext::new("session-17").turn(4).call("call_9f");
    let hangs = shell.call().attempt(3).context(context).start();
    for _ in 0..100 {
        clock.advance(72 * SECOND);
        shell.start().succeed();
    }
    let fresh = search.start();

    let now = running.list();
    assert_eq!((now.missed_starts, now.missed_ends), (0, 0));
    let [oldest, youngest] = &now.calls[..] else {
        panic!("{now:?}");
    };
    assert_eq!((&*oldest.tool, oldest.attempt), ("shell", 3));
    assert_eq!(oldest.age, 7_200 * SECOND);
    assert_eq!(oldest.started_at, started + SECOND);
    let context = oldest.context.as_ref().unwrap();
    assert_eq!((&*context.session, context.turn), ("session-17", 4));
    assert_eq!(&*context.call, "call_9f");
    assert_eq!((&*youngest.tool, youngest.attempt), ("web_search", 1));
    assert_eq!((youngest.age, &youngest.context), (Duration::ZERO, &None));

    // A call that has ended is not listed, however it ended.
    hangs.cancel();
    let now = running.list();
    assert_eq!(now.calls.len(), 1);
    assert_eq!(&*now.calls[0].tool, "web_search");
    fresh.reject("denied");
    let now = running.list();
    assert!(now.calls.is_empty());
    assert_eq!((now.missed_starts, now.missed_ends), (0, 0));
}

#[test]
fn calls_of_every_kind_are_listed_and_go() {
    let (registry, clock) = registry();
    let running = registry.running_calls();
    let tool = registry
        .register_tool(async_tool("tool", |_| pending()))
        .unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut by_name = registry.invoke("tool", json!({})).into_future();
    let mut future = Box::pin(tool.run_async(pending::<()>()));
    assert!(pin!(&mut by_name).poll(&mut context).is_pending());
    clock.advance(SECOND);
    assert!(future.as_mut().poll(&mut context).is_pending());
    clock.advance(SECOND);
    tool.run(|| {
        let ages: Vec<_> = running.list().calls.iter().map(|call| call.age).collect();
        assert_eq!(ages, [2 * SECOND, SECOND, Duration::ZERO]);
    });
    assert_eq!(running.list().calls.len(), 2);
    drop(future);
    assert_eq!(running.list().calls.len(), 1);
    drop(by_name);
    assert_eq!(running.list().calls.len(), 0);
}

#[test]
fn calls_that_began_before_the_listener_are_told_as_missed() {
    let (registry, _) = registry();
    let tool = registry.register("tool").unwrap();
    let before = [tool.start(), tool.start()];
    let running = registry.running_calls();
    let after = tool.start();
    let now = running.list();
    assert_eq!(
        (now.calls.len(), now.missed_starts, now.missed_ends),
        (1, 2, 0)
    );
    drop(before);
    let now = running.list();
    assert_eq!(
        (now.calls.len(), now.missed_starts, now.missed_ends),
        (1, 0, 0)
    );
    drop(after);
}

/// A ring of 4 events has no room for 20 starts, and then for as many ends.
#[test]
fn calls_whose_events_were_lost_are_told_as_missed() {
    let (builder, _) = builder();
    let registry = builder.ring_capacity(4).build().unwrap();
    let running = registry.running_calls();
    let tool = registry.register("tool").unwrap();
    let calls: Vec<_> = (0..20).map(|_| tool.start()).collect();
    let now = running.list();
    let listed = now.calls.len() as u64;
    assert!(listed < 20, "nothing was lost");
    assert_eq!((now.missed_starts, now.missed_ends), (20 - listed, 0));

    // One still runs when the ends of the others are lost.
    let mut calls = calls;
    let last = calls.pop().unwrap();
    for call in (0..8).map(|_| tool.start()).collect::<Vec<_>>() {
        call.succeed();
    }
    drop(calls);
    let now = running.list();
    let listed = now.calls.len() as u64;
    assert_eq!(listed + now.missed_starts - now.missed_ends, 1, "{now:?}");
    assert!(registry.event_accounting().lost_in_rings > 0);

    // Nothing is in flight, so what is left of lost ends is removed.
    drop(last);
    let now = running.list();
    assert!(now.calls.is_empty(), "{now:?}");
    assert_eq!((now.missed_starts, now.missed_ends), (0, 0));
}

/// The queue has room for one batch, and only the list itself reads it.
#[test]
fn a_listener_hears_of_more_than_its_queue_holds() {
    let (builder, _) = builder();
    let builder = builder.ring_capacity(64).queue_capacity(1).batch_size(1);
    let registry = builder.build().unwrap();
    let running = registry.running_calls();
    let tool = registry.register("tool").unwrap();
    let hangs = tool.start();
    for _ in 0..200 {
        tool.start().succeed();
        registry.pump();
    }
    let now = running.list();
    let (calls, missed) = (now.calls.len() as u64, now.missed_starts);
    assert_eq!(calls + missed - now.missed_ends, 1, "{now:?}");
    drop(hangs);
    assert!(running.list().calls.is_empty());
}

/// The ends of four calls are lost in each round, and the list is not read meanwhile.
#[test]
fn a_listener_keeps_no_more_than_the_calls_that_run_when_ends_are_lost() {
    let (builder, _) = builder();
    let registry = builder.ring_capacity(4).build().unwrap();
    let running = registry.running_calls();
    let tool = registry.register("tool").unwrap();
    let rounds = |rounds: usize| {
        for _ in 0..rounds {
            let calls = [tool.start(), tool.start(), tool.start(), tool.start()];
            drop(calls);
            registry.pump();
        }
    };
    rounds(1_000);
    let kept = allocation_counter::measure(|| rounds(10_000)).bytes_current;
    assert!(kept < 64 << 10, "10,000 calls that ended keep {kept} bytes");
    assert!(running.list().calls.is_empty());
}

/// Waits until the list is as expected. A background pump and real clocks take milliseconds.
#[track_caller]
fn wait_for(running: &RunningCalls, expected: &[&str]) {
    let began = Instant::now();
    loop {
        let now = running.list();
        let tools: Vec<_> = now.calls.iter().map(|call| &*call.tool).collect();
        if tools == expected && (now.missed_starts, now.missed_ends) == (0, 0) {
            return;
        }
        assert!(began.elapsed() < 30 * SECOND, "{now:?}");
        std::thread::yield_now();
    }
}

#[test]
fn the_calls_that_run_are_listed_with_a_background_pump_too() {
    let registry = Registry::new();
    let running = registry.running_calls();
    let shell = registry.register("shell").unwrap();
    let search = registry.register("web_search").unwrap();
    let hangs = shell.start_owned();
    // As many calls as a ring has room for, so that nothing is lost however late the pump runs.
    for _ in 0..1_000 {
        shell.start().succeed();
    }
    let fresh = search.start();
    wait_for(&running, &["shell", "web_search"]);
    std::thread::spawn(move || hangs.succeed()).join().unwrap();
    wait_for(&running, &["web_search"]);
    fresh.succeed();
    wait_for(&running, &[]);
    // A list that is dropped changes nothing any more.
    drop(running);
    shell.start().succeed();
    registry.shutdown();
}

/// A tool departs while its call runs, and one comes back.
#[test]
fn calls_of_a_tool_that_is_gone_are_listed() {
    let (registry, _) = registry();
    let running = registry.running_calls();
    let tool = registry.register("tool").unwrap();
    let call = tool.start_owned();
    registry.deregister("tool").unwrap();
    drop(tool);
    registry.pump();
    assert_eq!(&*running.list().calls[0].tool, "tool");
    let again = registry.register("tool").unwrap();
    let second = again.start();
    let now = running.list();
    assert_eq!(
        (now.calls.len(), now.missed_starts, now.missed_ends),
        (2, 0, 0)
    );
    call.succeed();
    second.succeed();
    assert!(running.list().calls.is_empty());
}

// ---------------------------------------------------------------------------------------------
// Tools that call tools.

/// Returns all events that were delivered, each with the name of its tool.
fn heard(registry: &Registry, events: &Subscription) -> Vec<(String, Event)> {
    registry.pump();
    let mut heard = Vec::new();
    while let Ok(batch) = events.try_recv() {
        let named = |event: &Event| (batch.name(event.tool()).unwrap().into(), event.clone());
        heard.extend(batch.iter().map(named));
    }
    heard
}

fn once(registry: &Registry, name: &str, context: CallContext) -> Result<Value, String> {
    let call = registry.invoke(name, json!({})).context(context);
    at_once(call).map_err(|error| error.to_string())
}

#[test]
fn calls_that_a_tool_makes_name_the_call_in_whose_course_they_are_made() {
    let (registry, clock) = registry();
    let events = registry.subscribe();
    let tap = async_tool("tap", move |_| {
        clock.advance(SECOND);
        async { Ok(json!("ok")) }
    });
    registry.register_tool(tap).unwrap();
    let sequence = async_tool("run_sequence", |call| async move {
        let registry = call.registry().unwrap();
        for n in 0..3 {
            let context = call.child_context(format!("tap-{n}"));
            let tap = registry.invoke("tap", json!({})).context(context);
            tap.await.map_err(|error| ToolError::from_error(&error))?;
        }
        Ok(json!("done"))
    });
    registry.register_tool(sequence).unwrap();
    let context = CallContext::new("session-1").turn(2).call("call_1");
    assert_eq!(once(&registry, "run_sequence", context), Ok(json!("done")));

    let heard = heard(&registry, &events);
    assert_eq!(heard.len(), 8);
    let mut taps = Vec::new();
    for (tool, event) in &heard {
        let context = event.context().unwrap();
        assert_eq!((&*context.session, context.turn), ("session-1", 2));
        if tool == "tap" {
            assert_eq!(context.parent.as_deref(), Some("call_1"));
            taps.push(&*context.call);
        } else {
            assert_eq!((&*context.call, &context.parent), ("call_1", &None));
        }
    }
    assert_eq!(taps, ["tap-0", "tap-0", "tap-1", "tap-1", "tap-2", "tap-2"]);
    assert_eq!(registry.metrics().tools["tap"].success(), 3);
}

#[cfg(feature = "auto_run")]
#[tokio::test(start_paused = true)]
async fn the_calls_of_a_subagent_name_the_call_in_whose_course_it_runs() {
    use std::convert::Infallible;
    use toolmeter::auto_run::{AutoRun, CallResult, Model, ToolCall, Turn};

    /// A model that asks for one call.
    struct Asks(Option<ToolCall>);

    impl Model for Asks {
        type Error = Infallible;

        async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Infallible> {
            Ok(match self.0.take() {
                Some(call) => Turn::Calls(vec![call]),
                None => Turn::Done(json!("done")),
            })
        }
    }

    let (registry, _) = registry();
    let events = registry.subscribe();
    let read = async_tool("read", |call| async move { Ok(call.args) });
    registry.register_tool(read).unwrap();
    let agent = async_tool("agent", |call| async move {
        let registry = call.registry().unwrap();
        let id = call.context.as_ref().unwrap().call.clone();
        let run = AutoRun::new(&registry).session("subagent-1").parent(id);
        let mut model = Asks(Some(ToolCall::new("read", json!(1)).id("inner")));
        let report = run.run(&mut model).await;
        Ok(json!(report.attempts))
    });
    registry.register_tool(agent).unwrap();
    let run = AutoRun::new(&registry).session("main");
    let mut model = Asks(Some(ToolCall::new("agent", json!(1)).id("outer")));
    assert_eq!(run.run(&mut model).await.attempts, 1);

    let heard = heard(&registry, &events);
    assert_eq!(heard.len(), 4);
    for (tool, event) in &heard {
        let context = event.context().unwrap();
        let expected = match &**tool {
            "agent" => ("main", "outer", None),
            _ => ("subagent-1", "inner", Some("outer")),
        };
        let parent = context.parent.as_deref();
        assert_eq!((&*context.session, &*context.call, parent), expected);
    }
}

/// The calls that a tool makes in a call without a context have no parent, but do not fail.
#[test]
fn a_tool_that_was_called_without_a_context_may_call_tools() {
    let (registry, _) = registry();
    let events = registry.subscribe();
    let inner = async_tool("inner", |call| async move { Ok(call.args) });
    registry.register_tool(inner).unwrap();
    let outer = async_tool("outer", |call| async move {
        let registry = call.registry().unwrap();
        let context = call.child_context("child");
        let inner = registry.invoke("inner", json!(3)).context(context);
        inner.await.map_err(|error| ToolError::from_error(&error))
    });
    registry.register_tool(outer).unwrap();
    let call = pin!(registry.invoke("outer", json!({})).into_future());
    let polled = call.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(Value::Number(_)))));
    let heard = heard(&registry, &events);
    let inner = heard.iter().find(|(tool, _)| tool == "inner").unwrap();
    let context = inner.1.context().unwrap();
    assert_eq!((&*context.call, &context.parent), ("child", &None));
}

#[test]
fn labels_come_with_events_and_are_bounded() {
    let (registry, _) = registry();
    let events = registry.subscribe();
    let tool = registry.register("tool").unwrap();
    let mut context = CallContext::new("s").label("mcp.server", "github");
    for label in 0..100 {
        context = context.label(format!("label_{label}"), "é".repeat(10_000));
    }
    context = context.label("mcp.server", "gitlab");
    let call = tool.call().context(context);
    call.start().succeed();
    let heard = heard(&registry, &events);
    assert_eq!(heard.len(), 2);
    for (_, event) in &heard {
        let context = event.context().unwrap();
        assert_eq!(context.label_value("mcp.server"), Some("gitlab"));
        assert_eq!(context.labels().count(), CallContext::MAX_LABELS);
        for (name, value) in context.labels() {
            assert!(name.len() <= 256 && value.len() <= 256);
        }
        assert_eq!(context.label_value("label_14").unwrap().len(), 256);
        assert_eq!(context.label_value("label_15"), None);
    }
    assert_eq!(heard[1].1.kind(), EventKind::Succeeded);
}

/// Labels and parents are in the JSON of events.
#[cfg(feature = "serde")]
#[test]
fn the_json_of_an_event_names_parent_and_labels() {
    let (registry, _) = registry();
    let events = registry.subscribe();
    let tool = registry.register("tool").unwrap();
    let context = CallContext::new("s").call("b").parent("a");
    let call = tool.call().context(context.label("mcp.server", "github"));
    call.start().succeed();
    for (_, event) in heard(&registry, &events) {
        let text = serde_json::to_value(&event).unwrap().to_string();
        assert!(text.contains(r#""parent":"a""#), "{text}");
        assert!(text.contains(r#""mcp.server":"github""#), "{text}");
    }
}
