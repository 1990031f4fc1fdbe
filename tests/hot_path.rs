//! The path of a metered call allocates nothing. This is counted over a million calls, for each way
//! to run them and each end.
#![cfg(not(toolmeter_loom))]

mod common;

use allocation_counter::measure;
use common::at_once;
use serde_json::Value;
use std::future::{Future, ready};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use toolmeter::{
    CallContext, ErrorKind, Pump, Registry, RegistryBuilder, ToolHandle, Verdict, async_tool,
};

const CALLS: u64 = 1_000_000;

fn host(builder: RegistryBuilder) -> (Registry, ToolHandle) {
    let registry = builder.pump(Pump::manual()).build().unwrap();
    let tool = registry.register("web_search").unwrap();
    // The first call of a thread and the first failure may allocate.
    tool.start().succeed();
    tool.start().fail(ErrorKind::Other, "warm-up");
    (registry, tool)
}

/// Returns the number of allocations of `calls` on this thread.
fn allocations(calls: impl FnOnce()) -> u64 {
    measure(calls).count_total
}

#[test]
fn a_success_allocates_nothing() {
    let (_registry, tool) = host(Registry::builder());
    let counted = allocations(|| {
        for n in 0..CALLS / 2 {
            assert_eq!(tool.run(|| Ok::<_, String>(n)), Ok(n));
            tool.start().succeed();
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn neither_options_nor_a_rule_nor_a_future_allocate() {
    let (registry, tool) = host(Registry::builder());
    let context = Arc::new(
        CallContext::new("s")
            .call("c")
            .label("mcp.server", "github"),
    );
    let by_number = |n: &u64| match n {
        0 => Verdict::success(),
        _ => Verdict::failure(ErrorKind::ToolError),
    };
    let counted = allocations(|| {
        for n in 0..CALLS / 10 {
            let call = tool.call().attempt(2).context(Arc::clone(&context));
            assert_eq!(call.classify(by_number).run(|| n % 2), n % 2);
            let _ = at_once(tool.run_async(ready(Ok::<_, String>(n))));
            let _ = at_once(tool.call().classify(by_number).run_async(ready(0)));
            tool.start_owned().succeed();
        }
    });
    assert_eq!(counted, 0);
    let stats = &registry.metrics().tools["web_search"];
    assert_eq!(stats.recovered, CALLS / 20);
    assert_eq!(stats.failures_by_kind[&ErrorKind::ToolError], CALLS / 20);
}

/// The tool boxes its future, and nothing else allocates.
#[test]
fn a_call_by_name_allocates_the_future_of_the_tool() {
    let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
    let ready = async_tool("ready", |call| async move { Ok(call.args) });
    registry.register_tool(ready).unwrap();
    let call = || assert!(at_once(registry.invoke("ready", Value::Null)).is_ok());
    // The first call of a thread may allocate.
    call();
    let counted = allocations(|| (0..CALLS / 10).for_each(|_| call()));
    assert_eq!(counted, CALLS / 10);
}

/// A call is cancelled by dropping the guard or the future, or by a verdict.
#[test]
fn a_cancelled_call_allocates_nothing() {
    let (registry, tool) = host(Registry::builder());
    let counted = allocations(|| {
        for _ in 0..CALLS / 10 {
            drop(tool.start());
            tool.start().cancel();
            let mut future = pin!(tool.run_async(std::future::pending::<()>()));
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
    });
    assert_eq!(counted, 0);
    let stats = &registry.metrics().tools["web_search"];
    assert_eq!(stats.cancelled(), 3 * CALLS / 10);
}

/// A call is rejected before it starts or by its guard, with a text that is not kept.
#[test]
fn a_rejected_call_allocates_nothing() {
    let (registry, tool) = host(Registry::builder());
    let counted = allocations(|| {
        for n in 0..CALLS / 2 {
            tool.call().reject(format_args!("denied: {n}"));
            tool.start().reject(format_args!("denied: {n}"));
        }
    });
    assert_eq!(counted, 0);
    assert_eq!(registry.metrics().tools["web_search"].rejected, CALLS);
}

#[test]
fn a_success_that_somebody_hears_of_allocates_nothing() {
    let (registry, tool) = host(Registry::builder());
    let events = registry.subscribe();
    let mut heard = 0;
    for _ in 0..CALLS / 1_000 {
        let counted = allocations(|| {
            for _ in 0..1_000 {
                tool.start().succeed();
            }
        });
        assert_eq!(counted, 0);
        registry.pump();
        // Events younger than the hold-back come with a later round.
        while let Ok(batch) = events.try_recv() {
            heard += batch.len();
        }
    }
    assert!(heard > CALLS as usize, "{heard} events were heard of");
    assert_eq!(registry.event_accounting().lost_in_rings, 0);
}

#[test]
fn a_failure_without_text_allocates_nothing() {
    let (registry, tool) = host(Registry::builder().without_error_text());
    let counted = allocations(|| {
        for _ in 0..CALLS {
            tool.start().fail(ErrorKind::Timeout, "after 30 s");
        }
    });
    assert_eq!(counted, 0);
    assert_eq!(registry.metrics().tools["web_search"].failure(), CALLS + 1);
}

/// The error is judged by reference, whatever its type.
#[test]
fn an_error_that_is_judged_without_its_text_allocates_nothing() {
    let (registry, tool) = host(Registry::builder().without_error_text());
    let counted = allocations(|| {
        for _ in 0..CALLS / 10 {
            let missing = tool.run(|| Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)));
            assert!(missing.is_err());
            assert!(tool.run(|| "x".parse::<u8>()).is_err());
            assert!(tool.run(|| Err::<(), _>("text")).is_err());
            let _ = at_once(tool.run_async(ready("x".parse::<f64>())));
            let call = tool.start();
            call.record(&Err::<(), _>(io::Error::from(io::ErrorKind::TimedOut)));
            tool.start().finish(Verdict::failure(ErrorKind::Provider));
        }
    });
    assert_eq!(counted, 0);
    let stats = &registry.metrics().tools["web_search"];
    let calls = |kind| stats.failures_by_kind[&kind];
    assert_eq!(calls(ErrorKind::NotFound), CALLS / 10);
    assert_eq!(calls(ErrorKind::InvalidArgs), CALLS / 5);
    assert_eq!(calls(ErrorKind::Other), CALLS / 10 + 1, "with the warm-up");
    assert_eq!(calls(ErrorKind::Timeout), CALLS / 10);
    assert_eq!(calls(ErrorKind::Provider), CALLS / 10);
    assert_eq!(stats.last_error.as_ref().unwrap().message, None);
}

/// The same for boxed errors, of which only the box is allocated, by the tool.
#[test]
fn a_boxed_error_costs_its_own_box_only() {
    let (_registry, tool) = host(Registry::builder().without_error_text());
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let mut given: Vec<Boxed> = (0..1_000)
        .map(|_| io::Error::from(io::ErrorKind::NotFound).into())
        .collect();
    let counted = allocations(|| {
        while let Some(error) = given.pop() {
            let back = tool.run(|| Err::<(), Boxed>(error)).unwrap_err();
            std::mem::forget(back);
        }
    });
    assert_eq!(counted, 0);
}

/// A look-up by name allocates nothing either.
#[test]
fn a_call_that_is_looked_up_allocates_nothing() {
    let (registry, _tool) = host(Registry::builder());
    // The first look-up of a thread may allocate.
    assert!(registry.get("web_search").is_some());
    let counted = allocations(|| {
        for _ in 0..CALLS / 10 {
            let tool = registry.get("web_search").unwrap();
            assert_eq!(tool.run(|| Ok::<_, String>(())), Ok(()));
            assert!(registry.get("no_such_tool").is_none());
            let lent = registry.tool("web_search").unwrap();
            assert_eq!(lent.run(|| Ok::<_, String>(())), Ok(()));
            assert!(registry.tool("no_such_tool").is_none());
            registry.unknown_call("no_such_tool").count();
        }
    });
    assert_eq!(counted, 0);
}

/// The counter works: a failure with text does allocate.
#[test]
fn a_failure_with_text_allocates() {
    let (_registry, tool) = host(Registry::builder());
    let counted = allocations(|| {
        tool.start().fail(ErrorKind::Timeout, "after 30 s");
    });
    assert!(counted > 0);
}
