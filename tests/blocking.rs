//! Tools that block: they may do all that a closure under plain `spawn_blocking` may, and are
//! counted as expected when they exceed their time limit.
//!
//! Tools wait for a channel, the clock is manual, and tokio's time is advanced.
#![cfg(all(feature = "tokio", not(toolmeter_loom)))]

mod common;

use common::{counts, kinds, received, registry, stats};
use serde_json::{Value, json};
use std::future::{Future, IntoFuture};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use toolmeter::{
    ErrorKind, EventKind, Invocation, InvokeError, Registry, Subscription, ToolError, sync_tool,
};

const LIMIT: Duration = Duration::from_millis(30);

/// Far longer than a tool has to wait for a test. It passes only if the test hangs.
const STUCK: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------------------------------------
// Behaviour of tools that block.

type Gives = fn(Invocation) -> Result<Value, ToolError>;

/// Blocks on the runtime that it runs on.
fn blocks_on_the_runtime(call: Invocation) -> Result<Value, ToolError> {
    let answer = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::spawn(async { call.args }).await.unwrap()
    };
    Ok(Handle::current().block_on(answer))
}

/// Makes a runtime of its own, uses it and drops it.
fn owns_runtimes(call: Invocation) -> Result<Value, ToolError> {
    let own = Builder::new_current_thread().enable_all().build().unwrap();
    let args = own.block_on(async { tokio::spawn(async { call.args }).await.unwrap() });
    let threads = Builder::new_multi_thread().worker_threads(1).build();
    let threads: Runtime = threads.unwrap();
    Ok(threads.block_on(async { tokio::spawn(async { args }).await.unwrap() }))
}

/// Receives blocking, from channels of three kinds, what tasks of the runtime send.
fn receives_blocking(call: Invocation) -> Result<Value, ToolError> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let (once, receives_once) = tokio::sync::oneshot::channel();
    let (all, mut receives_all) = tokio::sync::broadcast::channel(1);
    Handle::current().spawn(async move {
        tokio::task::yield_now().await;
        once.send(call.args).unwrap();
        sender.send(1).await.unwrap();
        all.send(2).unwrap();
    });
    let args = receives_once.blocking_recv().unwrap();
    assert_eq!(receiver.blocking_recv(), Some(1));
    assert_eq!(receives_all.blocking_recv().unwrap(), 2);
    // The sender is gone.
    assert_eq!(receiver.blocking_recv(), None);
    Ok(args)
}

/// Waits for locks that a task of the runtime holds, and sends blocking.
fn locks_blocking(call: Invocation) -> Result<Value, ToolError> {
    let lock = Arc::new(tokio::sync::Mutex::new(Value::Null));
    let (held, is_held) = mpsc::channel();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let theirs = Arc::clone(&lock);
    Handle::current().spawn(async move {
        let mut value = theirs.lock().await;
        held.send(()).unwrap();
        assert_eq!(receiver.recv().await, Some("may go on"));
        tokio::task::yield_now().await;
        *value = call.args;
    });
    is_held.recv().unwrap();
    sender.blocking_send("may go on").unwrap();
    let value = lock.blocking_lock().clone();
    assert_eq!(
        *tokio::sync::RwLock::new(value.clone()).blocking_read(),
        value
    );
    Ok(value)
}

const TOOLS: [Gives; 4] = [
    blocks_on_the_runtime,
    owns_runtimes,
    receives_blocking,
    locks_blocking,
];

fn runtimes() -> [Runtime; 2] {
    [
        Builder::new_current_thread().enable_all().build().unwrap(),
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap(),
    ]
}

/// Runs a tool of each kind on a runtime of each kind.
fn each(run: impl Fn(&Runtime, &Registry)) {
    for runtime in runtimes() {
        for tool in TOOLS {
            let (registry, _) = registry();
            registry.register_tool(sync_tool("tool", tool)).unwrap();
            run(&runtime, &registry);
            assert_eq!(counts(&registry), (1, 0, 0, 0));
        }
    }
}

#[test]
fn a_tool_that_is_called_by_name_may_block_as_under_spawn_blocking() {
    each(|runtime, registry| {
        let answer = runtime.block_on(registry.invoke("tool", json!(7)).into_future());
        assert_eq!(answer.unwrap(), json!(7));
    });
    each(|runtime, registry| {
        let call = registry.invoke("tool", json!(7));
        let limited = async { call.within(Duration::from_secs(600)).await };
        assert_eq!(runtime.block_on(limited).unwrap(), json!(7));
    });
}

/// From a task that a worker of the runtime runs, not only from `block_on`.
#[test]
fn a_tool_that_is_called_from_a_task_may_block_as_under_spawn_blocking() {
    each(|runtime, registry| {
        let host = registry.clone();
        let task = runtime.spawn(async move { host.invoke("tool", json!(7)).await });
        assert_eq!(runtime.block_on(task).unwrap().unwrap(), json!(7));
    });
}

#[cfg(feature = "auto_run")]
mod loops {
    use super::*;
    use std::convert::Infallible;
    use toolmeter::auto_run::{AutoRun, CallResult, Model, ToolCall, Turn};

    /// A model that asks for one call, and keeps its result.
    #[derive(Default)]
    struct Once(Option<CallResult>);

    impl Model for Once {
        type Error = Infallible;

        async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
            let asked = !results.is_empty();
            self.0 = results.into_iter().next();
            Ok(if asked {
                Turn::Done(json!("done"))
            } else {
                Turn::Calls(vec![ToolCall::new("tool", json!(7))])
            })
        }
    }

    #[test]
    fn a_tool_that_a_loop_calls_may_block_as_under_spawn_blocking() {
        each(|runtime, registry| {
            let mut model = Once::default();
            let run = AutoRun::new(registry).session("s");
            let report = runtime.block_on(run.run(&mut model));
            assert_eq!((report.attempts, report.failures_left), (1, 0));
            assert_eq!(model.0.unwrap().answer.unwrap(), json!(7));
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_does_not_wait_for_a_tool_beyond_its_time_limit() {
        let (registry, clock) = registry();
        let mut waits = Waits::register(&registry, Ok(json!("late")));
        let mut model = Once::default();
        let run = AutoRun::new(&registry).time_limit(LIMIT);
        let passes = async {
            waits.begun.recv().await.unwrap();
            clock.advance(LIMIT);
            tokio::time::advance(LIMIT).await;
        };
        let (report, ()) = tokio::join!(run.run(&mut model), passes);
        assert_eq!((report.attempts, report.failures_left), (1, 1));
        assert_eq!(
            model.0.unwrap().outcome.error_kind(),
            Some(ErrorKind::Timeout)
        );
        assert_eq!(counts(&registry), (0, 1, 0, 0));
        waits.go_on.send(()).unwrap();
    }
}

// ---------------------------------------------------------------------------------------------
// Time limits.

/// A tool that reports when it begins and continues when it may.
struct Waits {
    begun: tokio::sync::mpsc::UnboundedReceiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Waits {
    fn register(registry: &Registry, gives: Result<Value, ToolError>) -> Self {
        Self::register_with(registry, move || gives.clone())
    }

    fn register_with(
        registry: &Registry,
        gives: impl Fn() -> Result<Value, ToolError> + Send + Sync + 'static,
    ) -> Self {
        let (begins, begun) = tokio::sync::mpsc::unbounded_channel();
        let (go_on, may_go_on) = mpsc::channel();
        let may_go_on = Mutex::new(may_go_on);
        let tool = sync_tool("tool", move |_| {
            begins.send(()).unwrap();
            // This fails if the test has ended.
            let _ = may_go_on.lock().unwrap().recv_timeout(STUCK);
            gives()
        });
        registry.register_tool(tool).unwrap();
        Self { begun, go_on }
    }
}

fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Returns the kinds of the events that were delivered.
fn heard(registry: &Registry, events: &Subscription) -> Vec<EventKind> {
    registry.pump();
    kinds(&received(events))
}

/// Whatever a tool does after its time limit, the call is counted as one time-out.
#[test]
fn a_tool_that_blocks_beyond_its_time_limit_is_a_time_out_once() {
    let late: [fn() -> Result<Value, ToolError>; 4] = [
        || Ok(json!("late")),
        || Err(ToolError::new(ErrorKind::Network, "late")),
        || Err(ToolError::cancelled("late")),
        || panic_any("late"),
    ];
    for gives in late {
        let (registry, clock) = registry();
        let events = registry.subscribe();
        let mut waits = Waits::register_with(&registry, gives);
        let runtime = paused();
        let answer = runtime.block_on(async {
            let call = registry
                .invoke("tool", json!({}))
                .within(LIMIT)
                .into_future();
            let passes = async {
                waits.begun.recv().await.unwrap();
                assert_eq!(counts(&registry), (0, 0, 0, 1));
                clock.advance(LIMIT);
                tokio::time::advance(LIMIT).await;
            };
            tokio::join!(call, passes).0
        });
        let Err(InvokeError::TimedOut { name, limit }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!((&*name, limit), ("tool", LIMIT));
        let is_counted_once = || {
            assert_eq!(counts(&registry), (0, 1, 0, 0));
            let stats = stats(&registry);
            assert_eq!(stats.failures_by_kind[&ErrorKind::Timeout], 1);
            assert_eq!(stats.latency.failure.sum(), LIMIT);
            let message = stats.last_error.as_ref().unwrap().message.clone();
            assert!(message.unwrap().contains("30ms"));
        };
        is_counted_once();

        // The tool continues, and the runtime ends after it.
        clock.advance(10 * LIMIT);
        waits.go_on.send(()).unwrap();
        drop(runtime);
        is_counted_once();
        let heard = heard(&registry, &events);
        assert_eq!(heard, [EventKind::Started, EventKind::Failed]);
    }
}

#[test]
fn a_call_of_a_tool_that_blocks_is_cancelled_with_its_future() {
    let (registry, clock) = registry();
    let events = registry.subscribe();
    let mut waits = Waits::register(&registry, Ok(json!("late")));
    let runtime = paused();
    runtime.block_on(async {
        let call = registry
            .invoke("tool", json!({}))
            .within(LIMIT)
            .into_future();
        tokio::select! {
            biased;
            answer = call => panic!("{answer:?}"),
            _ = waits.begun.recv() => {}
        }
    });
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    clock.advance(LIMIT);
    waits.go_on.send(()).unwrap();
    drop(runtime);
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    let heard = heard(&registry, &events);
    assert_eq!(heard, [EventKind::Started, EventKind::Cancelled]);
}

/// There is one thread, and another tool has it. The second call ends before its tool begins, by
/// its time limit or with its future, and the tool never runs.
#[test]
fn a_call_that_waits_for_a_thread_is_counted_as_it_ends() {
    for is_dropped in [false, true] {
        let (registry, clock) = registry();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (has_it, thread_is_taken) = mpsc::channel();
        let (free, is_free) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || {
            has_it.send(()).unwrap();
            let _ = is_free.recv();
        });
        thread_is_taken.recv().unwrap();
        let mut waits = Waits::register(&registry, Ok(json!("never")));
        runtime.block_on(async {
            let call = registry
                .invoke("tool", json!({}))
                .within(LIMIT)
                .into_future();
            let passes = async {
                tokio::task::yield_now().await;
                clock.advance(LIMIT);
                if !is_dropped {
                    tokio::time::advance(LIMIT).await;
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                answer = call => assert!(matches!(answer, Err(InvokeError::TimedOut { .. }))),
                () = passes => assert!(is_dropped),
            }
        });
        let expected = match is_dropped {
            true => (0, 0, 1, 0),
            false => (0, 1, 0, 0),
        };
        assert_eq!(counts(&registry), expected);
        drop(free);
        drop(runtime);
        assert_eq!(counts(&registry), expected);
        assert!(waits.begun.try_recv().is_err(), "the tool ran all the same");
    }
}

/// The runtime keeps neither the arguments nor the tool of such calls.
#[test]
fn calls_that_were_given_up_keep_nothing_waiting_for_a_thread() {
    const CALLS: u64 = 100;
    const BYTES: usize = 100 << 10;
    let (registry, _) = registry();
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (free, is_free) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || is_free.recv());
    let held = Arc::new(());
    let of_tool = Arc::clone(&held);
    let tool = sync_tool("tool", move |call| {
        let _kept = &of_tool;
        Ok(call.args)
    });
    registry.register_tool(tool).unwrap();
    let calls = || {
        for _ in 0..CALLS {
            let args = json!("x".repeat(BYTES));
            let mut call = registry.invoke("tool", args).into_future();
            let _entered = runtime.enter();
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut call).poll(&mut context).is_pending());
        }
    };
    let kept = allocation_counter::measure(calls).bytes_current;
    assert!(kept < 10 * BYTES as i64, "{kept} bytes are kept");
    assert_eq!(counts(&registry), (0, 0, CALLS, 0));
    registry.deregister("tool").unwrap();
    assert_eq!(Arc::strong_count(&held), 1, "the tool is gone");
    drop(free);
}

/// The wait for a thread is not part of the latency.
#[test]
fn a_tool_that_blocks_is_timed_from_when_it_begins() {
    let (registry, clock) = registry();
    let ticks = Arc::clone(&clock);
    let tool = sync_tool("tool", move |_| {
        ticks.advance(Duration::from_millis(7));
        Ok(json!("in time"))
    });
    registry.register_tool(tool).unwrap();
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (free, is_free) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || is_free.recv());
    runtime.block_on(async {
        let waits = async {
            tokio::task::yield_now().await;
            assert_eq!(counts(&registry), (0, 0, 0, 0));
            clock.advance(Duration::from_secs(60));
            drop(free);
        };
        let call = registry.invoke("tool", json!({})).into_future();
        let (answer, ()) = tokio::join!(call, waits);
        assert_eq!(answer.unwrap(), json!("in time"));
    });
    assert_eq!(counts(&registry), (1, 0, 0, 0));
    let latency = stats(&registry).latency.success.sum();
    assert_eq!(latency, Duration::from_millis(7));
}
