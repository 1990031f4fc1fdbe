//! The hook around a call: where its scope is current, what it receives at the end and when, and
//! that nothing it does changes a count or harms a call.
//!
//! The clock is manual, and tokio's time is paused.
#![cfg(not(toolmeter_loom))]

mod common;

use common::builder_on;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use toolmeter::{
    CallBegin, CallContext, CallEnd, ErrorKind, Instrument, ManualClock, Outcome, Pump, Registry,
    RegistryBuilder, Scope, Verdict, WeakRegistry, async_tool,
};

thread_local! {
    /// The scopes that are current on this thread, the innermost last.
    static CURRENT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn current() -> Option<u64> {
    CURRENT.with_borrow(|scopes| scopes.last().copied())
}

fn enter<R>(scope: u64, body: impl FnOnce() -> R) -> R {
    CURRENT.with_borrow_mut(|scopes| scopes.push(scope));
    let result = body();
    CURRENT.with_borrow_mut(|scopes| assert_eq!(scopes.pop(), Some(scope)));
    result
}

/// A call as the hook received it.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    scope: u64,
    name: String,
    has_tool: bool,
    attempt: u16,
    call: Option<String>,
    parent: Option<u64>,
    arguments: Option<Value>,
    entered: u32,
    ends: Vec<End>,
}

#[derive(Clone, Debug, PartialEq)]
struct End {
    outcome: Outcome,
    latency: Option<Duration>,
    message: Option<String>,
    result: Option<Value>,
    /// The registry's counts by then: finished, in flight, rejected, unknown.
    counted: (u64, u64, u64, u64),
}

#[derive(Default)]
struct Book {
    told: Mutex<Vec<Told>>,
    registry: OnceLock<WeakRegistry>,
}

impl Book {
    fn counted(&self, name: &str) -> (u64, u64, u64, u64) {
        let Some(registry) = self.registry.get().and_then(WeakRegistry::upgrade) else {
            return (0, 0, 0, 0);
        };
        let totals = registry.totals();
        let unknown = totals.unknown_tool_calls;
        totals.tools.get(name).map_or((0, 0, 0, unknown), |stats| {
            (stats.finished(), stats.in_flight, stats.rejected, unknown)
        })
    }

    fn all(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Returns the only call that the hook received, and its only end.
    #[track_caller]
    fn one(&self) -> (Told, End) {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].ends.len(), 1, "{told:?}");
        (told[0].clone(), told[0].ends[0].clone())
    }
}

/// A hook that records what it receives.
struct Notes {
    book: Arc<Book>,
    wants_content: bool,
}

struct Note {
    book: Arc<Book>,
    place: usize,
    scope: u64,
    name: String,
}

/// The scope of the host's own code, in which it makes calls.
struct Outer(u64);

impl Instrument for Notes {
    fn begin(&self, call: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
        let mut told = self.book.told.lock().unwrap();
        let place = told.len();
        let scope = 100 + place as u64;
        told.push(Told {
            scope,
            name: call.name.to_owned(),
            has_tool: call.tool.is_some(),
            attempt: call.attempt,
            call: call.context.map(|context| context.call.to_string()),
            parent: current(),
            arguments: call.arguments.cloned(),
            entered: 0,
            ends: Vec::new(),
        });
        Some(Arc::new(Note {
            book: Arc::clone(&self.book),
            place,
            scope,
            name: call.name.to_owned(),
        }))
    }

    fn current(&self) -> Option<Arc<dyn Scope>> {
        current().map(|scope| Arc::new(Outer(scope)) as Arc<dyn Scope>)
    }

    fn wants_content(&self) -> bool {
        self.wants_content
    }
}

impl Scope for Note {
    fn in_scope(&self, body: &mut dyn FnMut()) {
        self.book.told.lock().unwrap()[self.place].entered += 1;
        enter(self.scope, body);
    }

    fn end(&self, end: &CallEnd<'_>) {
        let counted = self.book.counted(&self.name);
        let end = End {
            outcome: end.outcome,
            latency: end.latency,
            message: end.message.map(str::to_owned),
            result: end.result.cloned(),
            counted,
        };
        self.book.told.lock().unwrap()[self.place].ends.push(end);
    }
}

impl Scope for Outer {
    fn in_scope(&self, body: &mut dyn FnMut()) {
        enter(self.0, body);
    }

    fn end(&self, _: &CallEnd<'_>) {
        panic!("it is no call");
    }
}

struct Host {
    registry: Registry,
    clock: Arc<ManualClock>,
    book: Arc<Book>,
}

impl Host {
    fn new() -> Self {
        Self::with(false, |builder| builder)
    }

    fn with(wants_content: bool, set: impl FnOnce(RegistryBuilder) -> RegistryBuilder) -> Self {
        let clock = Arc::new(ManualClock::new());
        let book = Arc::new(Book::default());
        let notes = Notes {
            book: Arc::clone(&book),
            wants_content,
        };
        let registry = set(builder_on(&clock)).instrument(notes).build().unwrap();
        book.registry.set(registry.downgrade()).unwrap();
        Self {
            registry,
            clock,
            book,
        }
    }

    fn later(&self) {
        self.clock.advance(SECOND);
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns a future that is pending at the first poll. It records the scope of each poll.
fn two_polls(seen: &Mutex<Vec<Option<u64>>>) -> impl Future<Output = ()> {
    let mut polls = 0;
    poll_fn(move |_| {
        polls += 1;
        seen.lock().unwrap().push(current());
        if polls == 2 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

// ---------------------------------------------------------------------------------------------
// The code in which the scope is current.

#[test]
fn the_scope_is_current_while_a_closure_runs() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let seen = enter(7, || {
        tool.run(|| {
            host.later();
            Ok::<_, Infallible>(current())
        })
    });
    assert_eq!((seen, current()), (Ok(Some(100)), None));
    let (told, end) = host.book.one();
    assert_eq!(
        (told.parent, told.entered, told.has_tool),
        (Some(7), 1, true)
    );
    assert_eq!(end.outcome, Outcome::Success);
    assert_eq!((end.latency, end.message), (Some(SECOND), None));
    assert_eq!(end.counted, (1, 0, 0, 0));
}

#[test]
fn the_scope_is_current_in_each_poll_and_not_between() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let seen = Mutex::new(Vec::new());
    let mut call = pin!(tool.run_async(two_polls(&seen)));
    assert!(host.book.all().is_empty(), "a call that was not polled");
    assert!(poll(&mut call).is_pending());
    assert_eq!(current(), None);
    assert!(host.book.all()[0].ends.is_empty());
    assert!(poll(&mut call).is_ready());
    assert_eq!(*seen.lock().unwrap(), [Some(100), Some(100)]);
    assert_eq!((host.book.one().0.entered, current()), (2, None));
}

#[test]
fn a_guard_enters_its_scope_where_the_host_says() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let call = tool
        .call()
        .attempt(3)
        .context(CallContext::new("s").call("c"))
        .start_owned();
    assert_eq!(current(), None);
    let thread = std::thread::spawn(move || {
        assert_eq!(call.in_scope(current), Some(100));
        let mut inside = pin!(call.in_scope_async(async { current() }));
        assert_eq!(poll(&mut inside), Poll::Ready(Some(100)));
        assert_eq!(current(), None);
        let panics = catch_unwind(AssertUnwindSafe(|| call.in_scope(|| panic_any(5_u8))));
        assert_eq!(*panics.unwrap_err().downcast::<u8>().unwrap(), 5);
        assert_eq!(current(), None);
        call.fail(ErrorKind::Network, "no route");
    });
    thread.join().unwrap();
    let (told, end) = host.book.one();
    assert_eq!((told.attempt, told.call.as_deref()), (3, Some("c")));
    assert_eq!(end.outcome, Outcome::Failure(ErrorKind::Network));
    assert_eq!(end.message.as_deref(), Some("no route"));
    // Without a hook, the code runs without a scope.
    let plain = Registry::builder().pump(Pump::manual()).build().unwrap();
    let call = plain.register("tool").unwrap().start_owned();
    assert_eq!(call.in_scope(current), None);
    assert_eq!(
        poll(&mut pin!(call.in_scope_async(async { 3 }))),
        Poll::Ready(3)
    );
    assert_eq!(
        poll(&mut pin!(plain.in_current_scope(async { 3 }))),
        Poll::Ready(3)
    );
}

#[test]
fn a_call_by_name_is_in_its_scope_from_its_first_line() {
    let host = Host::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tool = {
        let seen = Arc::clone(&seen);
        move |_| {
            seen.lock().unwrap().push(current());
            let seen = Arc::clone(&seen);
            async move {
                two_polls(&seen).await;
                Ok(json!({ "isError": true }))
            }
        }
    };
    host.registry
        .register_tool(async_tool("tool", tool))
        .unwrap();
    let mut call = host.registry.invoke("tool", json!(1)).into_future();
    assert!(poll(&mut call).is_pending());
    assert_eq!(current(), None);
    assert!(poll(&mut call).is_ready());
    assert_eq!(*seen.lock().unwrap(), [Some(100); 3]);
    let (told, end) = host.book.one();
    assert_eq!(end.outcome, Outcome::Failure(ErrorKind::ToolError));
    // The hook does not ask for these.
    assert_eq!((told.arguments, end.result), (None, None));
}

#[test]
fn calls_within_calls_are_nested() {
    let host = Host::new();
    let [outer, inner] = ["outer", "inner"].map(|name| host.registry.register(name).unwrap());
    outer.run(|| inner.run(|| assert_eq!(current(), Some(101))));
    let told = host.book.all();
    assert_eq!((told[0].parent, told[1].parent), (None, Some(100)));
}

#[cfg(feature = "stream")]
#[test]
fn the_scope_is_current_while_a_stream_is_polled() {
    use futures_util::{StreamExt, stream};
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let words = stream::iter([1, 2]).map(|_| Ok::<_, Infallible>(current()));
    let mut words = pin!(tool.run_stream(words));
    for _ in 0..2 {
        assert_eq!(poll(&mut words.next()), Poll::Ready(Some(Ok(Some(100)))));
        assert_eq!(current(), None);
    }
    assert!(poll(&mut words.next()).is_ready());
    assert_eq!(host.book.one().1.outcome, Outcome::Success);
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::*;
    use std::sync::mpsc;
    use tokio::runtime::Builder;
    use toolmeter::{InvokeError, sync_tool};

    fn runtime() -> tokio::runtime::Runtime {
        Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    #[test]
    fn a_tool_that_blocks_is_in_its_scope_and_its_parent_is_the_caller() {
        let host = Host::new();
        let caller = std::thread::current().id();
        let body = move |_| {
            assert_ne!(std::thread::current().id(), caller);
            Ok(json!(current()))
        };
        host.registry
            .register_tool(sync_tool("tool", body))
            .unwrap();
        let answer = runtime().block_on(async {
            let mut call = host.registry.invoke("tool", json!(0)).into_future();
            poll_fn(|context| enter(7, || std::pin::Pin::new(&mut call).poll(context))).await
        });
        assert_eq!(answer.unwrap(), json!(100));
        let (told, end) = host.book.one();
        assert_eq!((told.parent, told.entered), (Some(7), 1));
        assert_eq!(end.outcome, Outcome::Success);
        // Outside of a runtime it runs where it is called.
        let body = |_| Ok(json!(current()));
        host.registry
            .register_tool(sync_tool("here", body))
            .unwrap();
        let mut call = host.registry.invoke("here", json!(0)).into_future();
        assert!(matches!(poll(&mut call), Poll::Ready(Ok(answer)) if answer == json!(100)));
    }

    #[test]
    fn a_task_that_is_spawned_within_the_current_scope_has_its_caller_as_parent() {
        let host = Host::new();
        let tool = host.registry.register("tool").unwrap();
        runtime().block_on(async {
            let (task, guard) = enter(7, || {
                let tool = tool.clone();
                let call = async move { tool.run_async(async { current() }.map_ok()).await };
                (
                    tokio::spawn(host.registry.in_current_scope(call)),
                    tool_guard(&host),
                )
            });
            assert_eq!(task.await.unwrap(), Ok(Some(101)));
            // A guard that began before has its parent too, and enters its scope in the task.
            let blocks = tokio::task::spawn_blocking(move || {
                let seen = guard.in_scope(current);
                guard.succeed();
                seen
            });
            assert_eq!(blocks.await.unwrap(), Some(100));
        });
        let told = host.book.all();
        let parents: Vec<_> = told.iter().map(|told| told.parent).collect();
        assert_eq!(parents, [Some(7), Some(7)]);
    }

    fn tool_guard(host: &Host) -> toolmeter::OwnedCall {
        host.registry.register("guarded").unwrap().start_owned()
    }

    /// A future's output as a success.
    trait MapOk: Future + Sized {
        async fn map_ok(self) -> Result<Self::Output, Infallible> {
            Ok(self.await)
        }
    }
    impl<F: Future> MapOk for F {}

    #[test]
    fn a_time_limit_ends_the_call_as_a_time_out_once() {
        let host = Host::new();
        let tool = host.registry.register("tool").unwrap();
        let late = runtime().block_on(async {
            let hangs = pending::<Result<(), Infallible>>();
            tool.call().within(SECOND).run_async(hangs).await
        });
        assert!(late.is_err());
        let (_, end) = host.book.one();
        assert_eq!(end.outcome, Outcome::Failure(ErrorKind::Timeout));
        assert_eq!(end.counted, (1, 0, 0, 0));
        assert!(end.message.unwrap().contains("1s"));

        host.registry.deregister("tool").unwrap();
        let tool = async_tool("tool", |_| pending());
        host.registry.register_tool(tool).unwrap();
        let late = runtime()
            .block_on(async { host.registry.invoke("tool", json!(0)).within(SECOND).await });
        assert!(late.is_err());
        let (_, end) = host.book.one();
        assert_eq!(end.outcome, Outcome::Failure(ErrorKind::Timeout));
        assert_eq!(end.counted, (2, 0, 0, 0));
    }

    #[test]
    fn a_tool_that_blocks_longer_than_its_time_is_told_once() {
        let host = Host::new();
        let (free, is_free) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        let is_free = Mutex::new(is_free);
        let body = move |_| {
            let _ = is_free.lock().unwrap().recv();
            done.send(current()).unwrap();
            Ok(json!(0))
        };
        host.registry
            .register_tool(sync_tool("tool", body))
            .unwrap();
        let runtime = runtime();
        runtime.block_on(async {
            let call = host.registry.invoke("tool", json!(0));
            // There may or may not have been a thread by then.
            assert!(call.within(Duration::ZERO).await.is_err());
            let (_, end) = host.book.one();
            assert_eq!(end.outcome, Outcome::Failure(ErrorKind::Timeout));
            assert_eq!(end.counted, (1, 0, 0, 0));
        });
        runtime.block_on(async {
            let mut call = host.registry.invoke("tool", json!(0)).into_future();
            assert!(
                poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut call).poll(cx).is_pending()))
                    .await
            );
            drop(call);
        });
        let (_, end) = host.book.one();
        assert_eq!(end.outcome, Outcome::Cancelled);
        drop(free);
        drop(runtime);
        assert!(host.book.all().is_empty());
        assert!(is_done.try_iter().all(|seen| seen.is_some()));
    }

    #[test]
    fn a_call_whose_runtime_has_stopped_is_told_as_rejected() {
        let host = Host::new();
        let tool = sync_tool("tool", |_| Ok(json!(0)));
        host.registry.register_tool(tool).unwrap();
        let runtime = runtime();
        let stopped = runtime.handle().clone();
        drop(runtime);
        let _within = stopped.enter();
        let mut call = host.registry.invoke("tool", json!(0)).into_future();
        let answer = poll(&mut call);
        assert!(
            matches!(answer, Poll::Ready(Err(InvokeError::RuntimeStopped { .. }))),
            "{answer:?}"
        );
        let (told, end) = host.book.one();
        assert_eq!((told.entered, end.outcome), (0, Outcome::Rejected));
        assert_eq!((end.latency, end.counted), (None, (0, 0, 1, 0)));
    }

    #[cfg(feature = "auto_run")]
    #[test]
    fn calls_of_the_loop_have_its_caller_as_parent() {
        use toolmeter::ToolError;
        use toolmeter::auto_run::{Approval, AutoRun, CallResult, Model, ToolCall, Turn};

        struct Script(Vec<Turn>);
        impl Model for Script {
            type Error = Infallible;
            async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Infallible> {
                Ok(self.0.pop().unwrap_or(Turn::Done(Value::Null)))
            }
        }
        let host = Host::new();
        let flaky = async_tool("flaky", |call| async move {
            tokio::task::yield_now().await;
            match call.attempt {
                1 => Err(ToolError::new(ErrorKind::Network, "connection reset")),
                _ => Ok(json!(current())),
            }
        });
        host.registry.register_tool(flaky).unwrap();
        host.registry
            .register_tool(sync_tool("blocks", |_| Ok(json!(current()))))
            .unwrap();
        let names = ["flaky", "blocks", "teleport", "blocks"];
        let calls = names
            .map(|name| ToolCall::new(name, json!(0)).id(name))
            .into();
        let denied = Turn::Calls(vec![ToolCall::new("blocks", json!(1)).id("denied")]);
        let mut model = Script(vec![denied, Turn::Calls(calls)]);
        let run = AutoRun::new(&host.registry)
            .max_attempts(2)
            .approve_with(|call| async move {
                match call.args().as_u64() {
                    Some(0) => Approval::Approved,
                    _ => Approval::Denied {
                        reason: "not today".into(),
                    },
                }
            });
        let report = runtime().block_on(async {
            let mut run = pin!(run.run(&mut model));
            poll_fn(|context| enter(7, || run.as_mut().poll(context))).await
        });
        assert_eq!(
            (report.attempts, report.rejected, report.recovered),
            (5, 1, 1)
        );
        let told = host.book.all();
        assert_eq!(told.len(), 6, "{told:?}");
        for told in &told {
            assert_eq!((told.parent, told.ends.len()), (Some(7), 1), "{told:?}");
        }
        let retried = told.iter().filter(|told| told.attempt == 2);
        assert_eq!(
            retried.map(|told| told.call.as_deref()).collect::<Vec<_>>(),
            [Some("flaky")]
        );
        let denied = told
            .iter()
            .find(|told| told.call.as_deref() == Some("denied"))
            .unwrap();
        assert_eq!(denied.ends[0].outcome, Outcome::Rejected);
        assert!(
            denied.ends[0]
                .message
                .as_deref()
                .unwrap()
                .contains("not today")
        );
        assert_eq!(denied.entered, 0);
    }
}

// ---------------------------------------------------------------------------------------------
// Reports of the end.

#[test]
fn each_way_to_end_is_told_once_and_after_the_counters() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    type Ends = fn(&toolmeter::ToolHandle);
    let ways: [(Ends, Outcome, Option<&str>); 8] = [
        (
            |tool| {
                tool.start().succeed();
            },
            Outcome::Success,
            None,
        ),
        (
            |tool| {
                tool.start().fail(ErrorKind::Provider, "busy\u{1b}");
            },
            Outcome::Failure(ErrorKind::Provider),
            Some("busy\\u{1b}"),
        ),
        (
            |tool| {
                tool.start().cancel();
            },
            Outcome::Cancelled,
            None,
        ),
        (|tool| drop(tool.start()), Outcome::Cancelled, None),
        (
            |tool| {
                tool.start().finish(Verdict::cancelled().because("no use"));
            },
            Outcome::Cancelled,
            Some("no use"),
        ),
        (
            |tool| {
                tool.start().record(&Err::<(), _>("no such command"));
            },
            Outcome::Failure(ErrorKind::Other),
            Some("no such command"),
        ),
        (
            |tool| {
                let panics = AssertUnwindSafe(|| tool.run(|| -> () { panic!("at the disco") }));
                assert!(catch_unwind(panics).is_err());
            },
            Outcome::Failure(ErrorKind::Panic),
            Some("at the disco"),
        ),
        (
            |tool| {
                let mut hangs = Box::pin(tool.run_async(pending::<()>()));
                assert!(poll(&mut hangs).is_pending());
                drop(hangs);
            },
            Outcome::Cancelled,
            None,
        ),
    ];
    for (finished, (ends, outcome, message)) in (1..).zip(ways) {
        ends(&tool);
        let (told, end) = host.book.one();
        assert_eq!(current(), None);
        assert_eq!(
            (told.name.as_str(), told.attempt, told.call),
            ("tool", 1, None)
        );
        assert_eq!((end.outcome, end.message.as_deref()), (outcome, message));
        assert_eq!(end.counted, (finished, 0, 0, 0), "{outcome:?}");
        assert_eq!(end.latency, Some(Duration::ZERO));
    }
}

#[test]
fn rejected_and_unknown_calls_are_told() {
    let host = Host::new();
    let tool = host
        .registry
        .register_tool(async_tool("tool", |_| async { Ok(json!(0)) }))
        .unwrap();
    let rejected = |(told, end): (Told, End), times: u64, message: &str| {
        assert_eq!((end.outcome, end.latency), (Outcome::Rejected, None));
        assert_eq!(end.counted.2, times);
        assert_eq!(
            (told.name.as_str(), told.entered, told.has_tool),
            ("tool", 0, true)
        );
        assert!(end.message.as_deref().unwrap().contains(message), "{end:?}");
        // The hook does not ask for these.
        assert_eq!(told.arguments, None);
        told
    };
    tool.call().attempt(2).reject("after midnight");
    assert_eq!(rejected(host.book.one(), 1, "after midnight").attempt, 2);
    tool.start().reject("no");
    rejected(host.book.one(), 2, "no");
    tool.set_enabled(false);
    let context = CallContext::new("s").call("c");
    let mut call = host
        .registry
        .invoke("tool", json!(0))
        .context(context)
        .into_future();
    assert!(poll(&mut call).is_ready());
    assert_eq!(
        rejected(host.book.one(), 3, "tool").call.as_deref(),
        Some("c")
    );

    let mut call = host
        .registry
        .invoke("tele\u{1b}port", json!(0))
        .attempt(2)
        .into_future();
    assert!(poll(&mut call).is_ready());
    let asked = host.registry.unknown_call("tele\u{1b}port").attempt(3);
    asked.context(CallContext::new("s").call("d")).count();
    // A host may pass on whatever a model sent.
    host.registry.unknown_call(&"x".repeat(300)).count();
    let told = host.book.all();
    let cut = "x".repeat(256);
    let expected = [
        ("tele\\u{1b}port", 2, None, 1),
        ("tele\\u{1b}port", 3, Some("d"), 2),
        (&cut, 1, None, 3),
    ];
    for (told, (name, attempt, call, unknown)) in told.iter().zip(expected) {
        assert_eq!(
            (told.name.as_str(), told.attempt, told.has_tool),
            (name, attempt, false)
        );
        assert_eq!(told.call.as_deref(), call);
        let [end] = &told.ends[..] else {
            panic!("{told:?}")
        };
        assert_eq!(end.outcome, Outcome::Failure(ErrorKind::NotFound));
        assert_eq!((end.latency, end.counted.3), (None, unknown));
        assert_eq!(told.arguments, None);
    }
    assert_eq!(told.len(), 3);
}

#[test]
fn arguments_and_answers_are_lent_to_a_hook_that_wants_them() {
    for wants_content in [true, false] {
        let lent = |value| wants_content.then_some(value);
        let host = Host::with(wants_content, |builder| builder);
        let tool = async_tool("tool", |call| async move { Ok(call.args) });
        let tool = host.registry.register_tool(tool).unwrap();
        let call_by_name = |name, args| {
            let mut call = host.registry.invoke(name, args).into_future();
            assert!(poll(&mut call).is_ready());
            host.book.one()
        };
        let (told, end) = call_by_name("tool", json!({ "q": 1 }));
        assert_eq!(told.arguments, lent(json!({ "q": 1 })));
        assert_eq!(end.result, lent(json!({ "q": 1 })));
        for name in ["tool", "teleport"] {
            tool.set_enabled(false);
            let (told, end) = call_by_name(name, json!(2));
            assert_eq!((told.arguments, end.result), (lent(json!(2)), None));
        }
        // A call through a handle has none.
        tool.run(|| ());
        assert_eq!(host.book.one().0.arguments, None);
    }
}

#[test]
fn messages_are_redacted_bounded_or_off() {
    let host = Host::with(false, |builder| {
        builder
            .redact_errors(|text| text.replace("hunter2", "[password]").into())
            .max_message_bytes(64)
    });
    let tool = host.registry.register("tool").unwrap();
    tool.start().fail(
        ErrorKind::Other,
        format_args!("hunter2 {}", "x".repeat(1_000)),
    );
    let (_, end) = host.book.one();
    let message = end.message.unwrap();
    assert!(
        message.starts_with("[password] ") && message.len() <= 64,
        "{message}"
    );
    tool.call().reject("hunter2");
    assert_eq!(host.book.one().1.message.as_deref(), Some("[password]"));

    let host = Host::with(false, RegistryBuilder::without_error_text);
    let tool = host.registry.register("tool").unwrap();
    tool.start().fail(ErrorKind::Other, "hunter2");
    assert_eq!(host.book.one().1.message, None);
}

#[test]
fn the_end_is_told_after_the_event() {
    /// Records how many events were offered by then.
    struct Looks {
        registry: OnceLock<WeakRegistry>,
        offered: Mutex<Vec<u64>>,
    }
    struct Hook(Arc<Looks>);
    struct LooksAtTheEnd(Arc<Looks>);
    impl Instrument for Hook {
        fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
            Some(Arc::new(LooksAtTheEnd(Arc::clone(&self.0))))
        }
    }
    impl Scope for LooksAtTheEnd {
        fn in_scope(&self, body: &mut dyn FnMut()) {
            body();
        }
        fn end(&self, _: &CallEnd<'_>) {
            let registry = self.0.registry.get().unwrap().upgrade().unwrap();
            let offered = registry.event_accounting().offered;
            self.0.offered.lock().unwrap().push(offered);
        }
    }
    let looks = Arc::new(Looks {
        registry: OnceLock::new(),
        offered: Mutex::default(),
    });
    let clock = Arc::new(ManualClock::new());
    let hook = Hook(Arc::clone(&looks));
    let registry = builder_on(&clock).instrument(hook).build().unwrap();
    looks.registry.set(registry.downgrade()).unwrap();
    let tool = registry.register("tool").unwrap();
    let _events = registry.subscribe();
    tool.start().fail(ErrorKind::Other, "x");
    tool.call().reject("x");
    tool.start().succeed();
    assert_eq!(*looks.offered.lock().unwrap(), [2, 3, 5]);
}

// ---------------------------------------------------------------------------------------------
// Behaviour of hooks.

/// A payload that panics when it is dropped, with a payload that does so, too.
struct Bomb(u8);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

/// The place where a hook panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Wants,
    Begin,
    Refused,
    Current,
    BeforeBody,
    AfterBody,
    InsteadOfBody,
    BodyTwice,
    End,
    Drop,
}

struct Panics(At);

struct PanicsLater(At);

impl Panics {
    fn at(&self, at: At) {
        if self.0 == at {
            panic_any(Bomb(2));
        }
    }
}

impl Instrument for Panics {
    fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
        self.at(At::Begin);
        Some(Arc::new(PanicsLater(self.0)))
    }

    fn refused(&self, _: &CallBegin<'_>, _: &CallEnd<'_>) {
        self.at(At::Refused);
    }

    fn current(&self) -> Option<Arc<dyn Scope>> {
        self.at(At::Current);
        Some(Arc::new(PanicsLater(self.0)))
    }

    fn wants_content(&self) -> bool {
        self.at(At::Wants);
        true
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        self.at(At::Drop);
    }
}

impl Scope for PanicsLater {
    fn in_scope(&self, body: &mut dyn FnMut()) {
        match self.0 {
            At::BeforeBody => panic_any(Bomb(2)),
            At::AfterBody => {
                body();
                panic_any(Bomb(2));
            }
            At::InsteadOfBody => {}
            At::BodyTwice => {
                body();
                body();
            }
            _ => body(),
        }
    }

    fn end(&self, _: &CallEnd<'_>) {
        if self.0 == At::End {
            panic_any(Bomb(2));
        }
    }
}

impl Drop for PanicsLater {
    fn drop(&mut self) {
        if self.0 == At::Drop {
            panic_any(Bomb(2));
        }
    }
}

#[test]
fn a_hook_that_panics_changes_no_count_and_harms_no_call() {
    use At::{
        AfterBody, BeforeBody, Begin, BodyTwice, Current, Drop, End, InsteadOfBody, Refused, Wants,
    };
    let all = [
        Wants,
        Begin,
        Refused,
        Current,
        BeforeBody,
        AfterBody,
        InsteadOfBody,
        BodyTwice,
        End,
        Drop,
    ];
    for at in all {
        let clock = Arc::new(ManualClock::new());
        let registry = builder_on(&clock).instrument(Panics(at)).build().unwrap();
        let echo = async_tool("echo", |call| async move { Ok(call.args) });
        let echo = registry.register_tool(echo).unwrap();
        let mut runs = 0;
        let ran = echo.run(|| {
            runs += 1;
            Ok::<_, Infallible>(runs)
        });
        assert_eq!((ran, runs), (Ok(1), 1), "{at:?}");
        assert_eq!(
            poll(&mut pin!(echo.run_async(async { Ok::<_, Infallible>(2) }))),
            Poll::Ready(Ok(2))
        );
        let mut by_name = registry.invoke("echo", json!(3)).into_future();
        assert!(matches!(poll(&mut by_name), Poll::Ready(Ok(answer)) if answer == json!(3)));
        let mut unknown = registry.invoke("teleport", json!(3)).into_future();
        assert!(matches!(poll(&mut unknown), Poll::Ready(Err(_))));
        let panics = catch_unwind(AssertUnwindSafe(|| echo.run(|| -> () { panic_any(4_u8) })));
        assert_eq!(*panics.unwrap_err().downcast::<u8>().unwrap(), 4, "{at:?}");
        let call = echo.start();
        assert_eq!(call.in_scope(|| 5), 5);
        call.fail(ErrorKind::Network, "no route");
        drop(echo.start());
        echo.call().reject("no");
        assert_eq!(
            poll(&mut pin!(registry.in_current_scope(async { 6 }))),
            Poll::Ready(6)
        );

        let metrics = registry.metrics();
        let stats = &metrics.tools["echo"];
        assert_eq!(
            (stats.finished(), stats.in_flight, stats.rejected),
            (6, 0, 1),
            "{at:?}"
        );
        assert_eq!(
            (stats.success(), stats.failure(), stats.cancelled()),
            (3, 2, 1),
            "{at:?}"
        );
        assert_eq!(metrics.unknown_tool_calls, 1);
        drop((by_name, unknown));
        drop(echo);
        drop(registry);
    }
}

#[test]
fn a_hook_may_use_the_registry_and_its_own_calls_are_not_told() {
    struct Calls(OnceLock<WeakRegistry>, Mutex<Vec<String>>);
    impl Calls {
        fn call(&self, of: &str) {
            let registry = self.0.get().unwrap().upgrade().unwrap();
            registry.get("log").unwrap().run(|| ());
            registry.unknown_call("teleport").count();
            let _ = registry.metrics();
            registry.pump();
            self.1.lock().unwrap().push(of.to_owned());
        }
    }
    struct InCall(Arc<Calls>);
    struct Hook(Arc<Calls>);
    impl Instrument for Hook {
        fn begin(&self, call: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
            self.0.call(call.name);
            Some(Arc::new(InCall(Arc::clone(&self.0))))
        }
    }
    impl Scope for InCall {
        fn in_scope(&self, body: &mut dyn FnMut()) {
            self.0.call("in");
            body();
            self.0.call("out");
        }
        fn end(&self, _: &CallEnd<'_>) {
            self.0.call("end");
        }
    }
    impl Drop for InCall {
        fn drop(&mut self) {
            self.0.call("drop");
        }
    }
    let calls = Arc::new(Calls(OnceLock::new(), Mutex::default()));
    let clock = Arc::new(ManualClock::new());
    let registry = builder_on(&clock)
        .instrument(Hook(Arc::clone(&calls)))
        .build()
        .unwrap();
    calls.0.set(registry.downgrade()).unwrap();
    let [tool, _] = ["tool", "log"].map(|name| registry.register(name).unwrap());
    // The hook receives a call that the tool makes.
    tool.run(|| registry.get("log").unwrap().run(|| ()));
    let told = [
        "tool", "in", "log", "in", "out", "end", "drop", "out", "end", "drop",
    ];
    assert_eq!(*calls.1.lock().unwrap(), told);
    let metrics = registry.metrics();
    assert_eq!(
        (metrics.tools["log"].success(), metrics.unknown_tool_calls),
        (11, 10)
    );
    assert_eq!(metrics.tools["tool"].success(), 1);
}

#[test]
fn calls_that_a_hook_makes_are_told_to_no_other_hook() {
    struct Calls(toolmeter::ToolHandle);
    struct InCall(toolmeter::ToolHandle);
    impl Instrument for Calls {
        fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
            self.0.run(|| ());
            Some(Arc::new(InCall(self.0.clone())))
        }
    }
    impl Scope for InCall {
        fn in_scope(&self, body: &mut dyn FnMut()) {
            self.0.run(|| ());
            body();
        }
        fn end(&self, _: &CallEnd<'_>) {
            self.0.run(|| ());
        }
    }
    let other = Host::new();
    let log = other.registry.register("log").unwrap();
    let clock = Arc::new(ManualClock::new());
    let registry = builder_on(&clock)
        .instrument(Calls(log.clone()))
        .build()
        .unwrap();
    // The hook receives a call that the tool makes.
    registry
        .register("tool")
        .unwrap()
        .run(|| log.call().attempt(2).run(|| ()));
    assert_eq!(other.book.one().0.attempt, 2);
    assert_eq!(other.registry.metrics().tools["log"].success(), 4);
}

/// A hook that keeps a weak registry is dropped with the registry, and so are its scopes.
#[test]
fn a_hook_goes_with_the_last_owner_of_its_registry() {
    struct Goes(#[allow(dead_code, reason = "counted")] Arc<()>);
    impl Instrument for Goes {
        fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
            Some(Arc::new(Self(Arc::clone(&self.0))))
        }
    }
    impl Scope for Goes {
        fn in_scope(&self, body: &mut dyn FnMut()) {
            body();
        }
    }
    let here = Arc::new(());
    let clock = Arc::new(ManualClock::new());
    let hook = Goes(Arc::clone(&here));
    let registry = builder_on(&clock).instrument(hook).build().unwrap();
    let tool = registry.register("tool").unwrap();
    tool.run(|| assert_eq!(Arc::strong_count(&here), 3));
    let call = tool.start_owned();
    registry.shutdown();
    drop((tool, registry));
    // The hook receives the end of a guard whose registry is gone.
    assert_eq!(Arc::strong_count(&here), 3);
    drop(call);
    assert_eq!(Arc::strong_count(&here), 1);
}

#[test]
fn a_hook_that_wants_no_scope_is_not_told_the_end() {
    struct Nothing;
    impl Instrument for Nothing {
        fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
            None
        }
    }
    let clock = Arc::new(ManualClock::new());
    let registry = builder_on(&clock).instrument(Nothing).build().unwrap();
    let tool = registry.register("tool").unwrap();
    assert_eq!(tool.run(|| Ok::<_, Infallible>(current())), Ok(None));
    tool.call().reject("no");
    registry.unknown_call("teleport").count();
    let metrics = registry.metrics();
    assert_eq!(
        (
            metrics.tools["tool"].success(),
            metrics.tools["tool"].rejected
        ),
        (1, 1)
    );
    assert!(
        format!("{:?}", Registry::builder().instrument(Nothing)).contains("HostInstrument(..)")
    );
}

/// The hook also receives the end of a call that was begun elsewhere and that the hook itself ends.
#[test]
fn a_call_that_the_hook_ends_is_told_its_end() {
    struct Ends(Mutex<Option<toolmeter::OwnedCall>>, Mutex<Vec<Outcome>>);
    struct Tells(Arc<Ends>);
    struct Hook(Arc<Ends>);
    impl Instrument for Hook {
        fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
            let ended = self.0.0.lock().unwrap().take();
            drop(ended);
            Some(Arc::new(Tells(Arc::clone(&self.0))))
        }
    }
    impl Scope for Tells {
        fn in_scope(&self, body: &mut dyn FnMut()) {
            body();
        }
        fn end(&self, end: &CallEnd<'_>) {
            self.0.1.lock().unwrap().push(end.outcome);
        }
    }
    let ends = Arc::new(Ends(Mutex::default(), Mutex::default()));
    let clock = Arc::new(ManualClock::new());
    let registry = builder_on(&clock)
        .instrument(Hook(Arc::clone(&ends)))
        .build()
        .unwrap();
    let tool = registry.register("tool").unwrap();
    let call = tool.start_owned();
    *ends.0.lock().unwrap() = Some(call);
    tool.start().succeed();
    assert_eq!(
        *ends.1.lock().unwrap(),
        [Outcome::Cancelled, Outcome::Success]
    );
}
