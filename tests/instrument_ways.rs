//! Every way to make a call, every way it can end, and a hook that panics in each of its methods:
//! the hook receives one beginning before the call is counted, and one end after it is.
//!
//! The clock is manual, and tokio's time is paused.
#![cfg(all(feature = "auto_run", feature = "stream", not(toolmeter_loom)))]

mod common;

use common::builder_on;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::Poll;
use std::time::Duration;
use toolmeter::auto_run::{Approval, AutoRun, CallResult, Model, ToolCall, Turn};
use toolmeter::{
    CallBegin, CallEnd, ErrorKind, Instrument, ManualClock, Outcome, Registry, Scope, ToolError,
    Verdict, WeakRegistry, async_tool, sync_tool,
};

/// The place where the hook panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Nowhere,
    Begin,
    Current,
    Inside,
    End,
    Drop,
}

const ALL: [At; 6] = [
    At::Nowhere,
    At::Begin,
    At::Current,
    At::Inside,
    At::End,
    At::Drop,
];

/// The counts of a registry over all tools: in flight, ended, rejected, and unknown.
type Counted = (u64, u64, u64, u64);

#[derive(Default)]
struct Book {
    registry: OnceLock<WeakRegistry>,
    begun: Mutex<Vec<Counted>>,
    ended: Mutex<Vec<(Outcome, Option<Duration>, Counted)>>,
    entered: AtomicU32,
    dropped: AtomicU32,
}

impl Book {
    fn counted(&self) -> Counted {
        let registry = self.registry.get().unwrap().upgrade().unwrap();
        counted(&registry)
    }
}

fn counted(registry: &Registry) -> Counted {
    let totals = registry.totals();
    let sum = |count: fn(&toolmeter::ToolStats) -> u64| {
        let counts = totals.tools.values().map(|stats| count(stats));
        counts.sum::<u64>()
    };
    (
        sum(|stats| stats.in_flight),
        sum(toolmeter::ToolStats::finished),
        sum(|stats| stats.rejected),
        totals.unknown_tool_calls,
    )
}

/// A hook that takes a second of the registry's clock in each method, and panics in one of them.
#[derive(Clone)]
struct Hook(At, Arc<ManualClock>, Arc<Book>);

impl Hook {
    fn at(&self, at: At) {
        self.1.advance(Duration::from_secs(1));
        assert_ne!(self.0, at, "the hook panics");
    }
}

struct InCall(Hook);

impl Instrument for Hook {
    fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
        let counted = self.2.counted();
        self.2.begun.lock().unwrap().push(counted);
        self.at(At::Begin);
        Some(Arc::new(InCall(self.clone())))
    }

    fn current(&self) -> Option<Arc<dyn Scope>> {
        self.at(At::Current);
        None
    }
}

impl Scope for InCall {
    fn in_scope(&self, body: &mut dyn FnMut()) {
        self.0.2.entered.fetch_add(1, Ordering::Relaxed);
        body();
        assert_ne!(self.0.0, At::Inside, "the hook panics");
    }

    fn end(&self, end: &CallEnd<'_>) {
        let counted = self.0.2.counted();
        let end = (end.outcome, end.latency, counted);
        self.0.2.ended.lock().unwrap().push(end);
        self.0.at(At::End);
    }
}

impl Drop for InCall {
    fn drop(&mut self) {
        self.0.2.dropped.fetch_add(1, Ordering::Relaxed);
        self.0.at(At::Drop);
    }
}

/// The end of a call that began.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Success,
    Failure,
    Cancelled,
    Rejected,
    Panic,
    Dropped,
    TimedOut,
}

const ENDINGS: [Ending; 7] = [
    Ending::Success,
    Ending::Failure,
    Ending::Cancelled,
    Ending::Rejected,
    Ending::Panic,
    Ending::Dropped,
    Ending::TimedOut,
];

impl Ending {
    fn outcome(self) -> Outcome {
        match self {
            Self::Success => Outcome::Success,
            Self::Failure => Outcome::Failure(ErrorKind::Network),
            Self::Cancelled | Self::Dropped => Outcome::Cancelled,
            Self::Rejected => Outcome::Rejected,
            Self::Panic => Outcome::Failure(ErrorKind::Panic),
            Self::TimedOut => Outcome::Failure(ErrorKind::Timeout),
        }
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::Failure => Verdict::failure(ErrorKind::Network).because("no route"),
            Self::Cancelled => Verdict::cancelled(),
            Self::Rejected => Verdict::rejected().because("no"),
            _ => Verdict::success(),
        }
    }

    /// Returns whether the tool never ends by itself.
    fn hangs(self) -> bool {
        matches!(self, Self::Dropped | Self::TimedOut)
    }

    fn tool(self) -> Self {
        assert_ne!(self, Self::Panic, "the tool panics");
        self
    }

    /// Returns the answer of a tool that is called by name.
    fn answer(self) -> Result<Value, ToolError> {
        match self.tool() {
            Self::Failure => Err(ToolError::new(ErrorKind::Network, "no route")),
            Self::Cancelled => Err(ToolError::cancelled("not now")),
            Self::Rejected => Err(ToolError::rejected("no")),
            _ => Ok(json!(0)),
        }
    }
}

/// The way in which a call that began is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Closure,
    Future,
    Stream,
    Guard,
    OwnedGuard,
    ByName,
    Blocking,
    Loop,
    BlockingLoop,
}

const WAYS: [Way; 9] = [
    Way::Closure,
    Way::Future,
    Way::Stream,
    Way::Guard,
    Way::OwnedGuard,
    Way::ByName,
    Way::Blocking,
    Way::Loop,
    Way::BlockingLoop,
];

/// Returns whether a call of this way can have this end.
fn can_be(way: Way, ending: Ending) -> bool {
    match way {
        Way::Closure => !ending.hangs(),
        Way::Stream => ending != Ending::TimedOut,
        // A guard cannot distinguish a panic from other reasons for its drop.
        Way::Guard | Way::OwnedGuard => !matches!(ending, Ending::TimedOut | Ending::Panic),
        _ => true,
    }
}

/// A registry with a hook, and one tool of each kind.
struct Host {
    registry: Registry,
    book: Arc<Book>,
    /// Frees the threads of tools that hang when it is dropped.
    _free: mpsc::Sender<()>,
}

impl Host {
    fn new(at: At, ending: Ending) -> Self {
        let clock = Arc::new(ManualClock::new());
        let book = Arc::new(Book::default());
        let registry = builder_on(&clock)
            .instrument(Hook(at, clock, Arc::clone(&book)))
            .build()
            .unwrap();
        book.registry.set(registry.downgrade()).unwrap();
        let waits = move |_| async move {
            if ending.hangs() {
                pending::<()>().await;
            }
            tokio::task::yield_now().await;
            ending.answer()
        };
        registry.register_tool(async_tool("waits", waits)).unwrap();
        let (free, is_free) = mpsc::channel::<()>();
        let is_free = Mutex::new(is_free);
        let blocks = move |_| {
            if ending.hangs() {
                let _ = is_free.lock().unwrap().recv();
            }
            ending.answer()
        };
        registry.register_tool(sync_tool("blocks", blocks)).unwrap();
        Self {
            registry,
            book,
            _free: free,
        }
    }

    async fn call(&self, way: Way, ending: Ending) {
        let tool = self.registry.get("waits").unwrap();
        let judged = || tool.call().classify(|ending: &Ending| ending.verdict());
        let body = async {
            if ending.hangs() {
                pending::<()>().await;
            }
            tokio::task::yield_now().await;
            ending.tool()
        };
        match way {
            Way::Closure => {
                let call = AssertUnwindSafe(|| judged().run(|| ending.tool()));
                let _ = catch_unwind(call);
            }
            Way::Future if ending == Ending::TimedOut => {
                let late = judged().within(Duration::ZERO).run_async(body).await;
                assert!(late.is_err());
            }
            Way::Future => polled(ending, judged().run_async(body)).await,
            Way::Stream => {
                let mut items = pin!(judged().run_stream(stream::once(body)));
                polled(ending, async { while items.next().await.is_some() {} }).await;
            }
            Way::Guard => {
                let call = tool.start();
                call.in_scope(|| ());
                if !ending.hangs() {
                    call.finish(ending.verdict());
                }
            }
            Way::OwnedGuard => {
                let call = tool.start_owned();
                call.in_scope_async(async {}).await;
                let end = move || match ending {
                    Ending::Dropped => drop(call),
                    _ => drop(call.finish(ending.verdict())),
                };
                std::thread::spawn(end).join().unwrap();
            }
            Way::ByName | Way::Blocking => {
                let name = if way == Way::Blocking {
                    "blocks"
                } else {
                    "waits"
                };
                let call = self.registry.invoke(name, json!(0));
                if ending == Ending::TimedOut {
                    assert!(call.within(Duration::ZERO).await.is_err());
                } else {
                    polled(ending, call.into_future()).await;
                }
            }
            Way::Loop | Way::BlockingLoop => {
                let name = if way == Way::Loop { "waits" } else { "blocks" };
                let mut run = AutoRun::new(&self.registry);
                if ending == Ending::TimedOut {
                    run = run.time_limit(Duration::ZERO);
                }
                let mut model = Once(Some(ToolCall::new(name, json!(0))));
                polled(ending, async { drop(run.run(&mut model).await) }).await;
            }
        }
        // The tasks of a loop that was dropped end here.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

/// Polls a call until it ends or panics, or a few times if it is to be dropped.
async fn polled(ending: Ending, call: impl Future) {
    let mut call = pin!(call);
    let ended = poll_fn(|context| {
        let poll = AssertUnwindSafe(|| call.as_mut().poll(context).is_pending());
        match catch_unwind(poll) {
            Ok(true) => Poll::Pending,
            Ok(false) | Err(_) => Poll::Ready(()),
        }
    });
    let is_dropped = async {
        if ending != Ending::Dropped {
            pending::<()>().await;
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = ended => {}
        () = is_dropped => {}
    }
}

/// A model that asks for one call, and is done.
struct Once(Option<ToolCall>);

impl Model for Once {
    type Error = Infallible;

    async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Infallible> {
        Ok(match self.0.take() {
            Some(call) => Turn::Calls(vec![call]),
            None => Turn::Done(Value::Null),
        })
    }
}

fn block_on(call: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(call);
    // The tasks and threads that are left end with it, or the test would hang.
    runtime.shutdown_background();
}

#[test]
fn every_way_and_every_end_is_told_once_whatever_the_hook_does() {
    for at in ALL {
        for way in WAYS {
            for ending in ENDINGS.into_iter().filter(|&ending| can_be(way, ending)) {
                let host = Host::new(at, ending);
                block_on(host.call(way, ending));
                let case = format!("{way:?} {ending:?}, panics at {at:?}");
                let is_rejected = ending == Ending::Rejected;
                let once = (0, u64::from(!is_rejected), u64::from(is_rejected), 0);
                assert_eq!(counted(&host.registry), once, "{case}");
                let stats = host.registry.totals();
                let stats = stats.tools.values().find(|stats| stats.finished() > 0);
                if let Some(stats) = stats {
                    let counts = (stats.success(), stats.failure(), stats.cancelled());
                    let expected = match ending.outcome() {
                        Outcome::Success => (1, 0, 0),
                        Outcome::Failure(_) => (0, 1, 0),
                        _ => (0, 0, 1),
                    };
                    assert_eq!(counts, expected, "{case}");
                    // The time of the hook is not counted for the tool.
                    let latency = &stats.latency;
                    for latency in [&latency.success, &latency.failure, &latency.cancelled] {
                        assert_eq!(latency.sum(), Duration::ZERO, "{case}");
                    }
                }

                let book = &host.book;
                assert_eq!(*book.begun.lock().unwrap(), [(0, 0, 0, 0)], "{case}");
                let latency = (!is_rejected).then_some(Duration::ZERO);
                let end = (ending.outcome(), latency, once);
                let ends = book.ended.lock().unwrap();
                let expected = if at == At::Begin { &[][..] } else { &[end] };
                assert_eq!(*ends, expected, "{case}");
            }
        }
    }
}

/// A call that ends before it begins.
type Refused = for<'a> fn(&'a Host) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

#[test]
fn every_refusal_is_told_once_whatever_the_hook_does() {
    let rejected = (0, 0, 1, 0);
    let unknown = (0, 0, 0, 1);
    let not_found = Outcome::Failure(ErrorKind::NotFound);
    let ways: [(&str, Refused, Outcome, Counted); 9] = [
        (
            "through a handle",
            |host| {
                host.registry.get("waits").unwrap().call().reject("no");
                Box::pin(async {})
            },
            Outcome::Rejected,
            rejected,
        ),
        (
            "disabled",
            |host| disabled(host, "waits"),
            Outcome::Rejected,
            rejected,
        ),
        (
            "disabled and blocking",
            |host| disabled(host, "blocks"),
            Outcome::Rejected,
            rejected,
        ),
        (
            "without a body",
            |host| {
                let _handle = host.registry.register("bare").unwrap();
                by_name(host, "bare")
            },
            Outcome::Rejected,
            rejected,
        ),
        (
            "denied",
            |host| {
                let deny = |_| async {
                    Approval::Denied {
                        reason: "no".into(),
                    }
                };
                let run = AutoRun::new(&host.registry).approve_with(deny);
                in_loop(run, "blocks")
            },
            Outcome::Rejected,
            rejected,
        ),
        (
            "disabled in a loop",
            |host| {
                host.registry.get("waits").unwrap().set_enabled(false);
                in_loop(AutoRun::new(&host.registry), "waits")
            },
            Outcome::Rejected,
            rejected,
        ),
        (
            "unknown",
            |host| by_name(host, "teleport"),
            not_found,
            unknown,
        ),
        (
            "unknown in a loop",
            |host| in_loop(AutoRun::new(&host.registry), "teleport"),
            not_found,
            unknown,
        ),
        (
            "unknown, as the host says",
            |host| {
                host.registry.unknown_call("teleport").count();
                Box::pin(async {})
            },
            not_found,
            unknown,
        ),
    ];
    for at in ALL {
        for (way, refuse, outcome, once) in ways {
            let host = Host::new(at, Ending::Success);
            block_on(refuse(&host));
            let case = format!("{way}, panics at {at:?}");
            assert_eq!(counted(&host.registry), once, "{case}");
            let book = &host.book;
            let ends = book.ended.lock().unwrap();
            let end = [(outcome, None, once)];
            let expected = if at == At::Begin { &[][..] } else { &end };
            assert_eq!(*ends, expected, "{case}");
            // It was already counted by then, since it has no latency.
            assert_eq!(*book.begun.lock().unwrap(), [once], "{case}");
            assert_eq!(book.entered.load(Ordering::Relaxed), 0, "{case}");
            let dropped = u32::from(at != At::Begin);
            assert_eq!(book.dropped.load(Ordering::Relaxed), dropped, "{case}");
        }
    }
}

fn by_name<'a>(host: &'a Host, name: &'a str) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move { assert!(host.registry.invoke(name, json!(0)).await.is_err()) })
}

fn disabled<'a>(host: &'a Host, name: &'a str) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    host.registry.get(name).unwrap().set_enabled(false);
    by_name(host, name)
}

fn in_loop(run: AutoRun, name: &'static str) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let mut model = Once(Some(ToolCall::new(name, json!(0))));
        drop(run.run(&mut model).await);
    })
}
