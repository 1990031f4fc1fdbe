//! Code of the host that runs where toolmeter calls or drops it: the bodies of tools, redactors,
//! clocks, and the wakers of async receivers.
//!
//! Such code calls back into the registry, or panics. This never hangs, unwinds to a caller, or
//! changes a count. Each scenario runs on a thread of its own, so that a hang is a failure.
#![cfg(not(toolmeter_loom))]

mod common;

use common::poll_once;
use serde_json::json;
use std::fmt::{self, Display};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, SystemTime};
use toolmeter::{
    BuildError, ClockSource, ErrorKind, Invocation, Pump, RegisterError, Registry, Tool,
    ToolFuture, ToolSpec, Verdict, WeakRegistry,
};

/// Far longer than any scenario takes. It passes only if one hangs.
const STUCK: Duration = Duration::from_secs(60);

/// Runs a scenario, and fails if it does not end or panics.
#[track_caller]
fn ends(scenario: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let scenario = thread::spawn(move || {
        scenario();
        let _ = done.send(());
    });
    let waited = is_done.recv_timeout(STUCK);
    assert_ne!(
        waited,
        Err(mpsc::RecvTimeoutError::Timeout),
        "the scenario hangs"
    );
    if let Err(panic) = scenario.join() {
        if panic.is::<&str>() || panic.is::<String>() {
            resume_unwind(panic);
        }
        // Such a payload panics again when it is dropped.
        std::mem::forget(panic);
        panic!("a panic of the host's code came out");
    }
}

/// A payload that panics when it is dropped, with a payload that does so, too.
struct Bomb(u8);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

type OnDrop = Box<dyn Fn() + Send + Sync>;

/// A tool whose destructor runs code of the host.
struct Body {
    name: &'static str,
    on_drop: OnDrop,
}

impl Tool for Body {
    fn spec(&self) -> ToolSpec {
        self.name.into()
    }

    fn call(&self, invocation: Invocation) -> ToolFuture {
        Box::pin(async move { Ok(invocation.args) })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        (self.on_drop)();
    }
}

/// Calls everything that a host can call on a registry.
fn asks_for_everything(weak: &WeakRegistry, asked: &AtomicU32) {
    let Some(registry) = weak.upgrade() else {
        return;
    };
    let _ = registry.metrics();
    let _ = registry.totals();
    registry.reset_metrics();
    let _ = registry.intervals().read();
    let _ = registry.event_accounting();
    registry.pump();
    registry.publish();
    let _ = registry.running_calls().list();
    // Two threads may ask at once.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("asks_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let handle = registry.register(name.clone()).unwrap();
    handle.start().succeed();
    registry.deregister(&name).unwrap();
    drop(registry.subscribe());
    asked.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_body_that_asks_the_registry_when_it_is_dropped_finds_no_lock_held() {
    for pump in [Pump::manual(), Pump::background()] {
        ends(move || {
            let asked = Arc::new(AtomicU32::new(0));
            let registry = Registry::builder().pump(pump).build().unwrap();
            let body = |name| {
                let (weak, asked) = (registry.downgrade(), Arc::clone(&asked));
                let on_drop = Box::new(move || asks_for_everything(&weak, &asked));
                Body { name, on_drop }
            };
            // The last handle is dropped before or after the name is deregistered.
            let first = registry.register_tool(body("first")).unwrap();
            registry.deregister("first").unwrap();
            drop(first);
            drop(registry.register_tool(body("second")).unwrap());
            registry.deregister("second").unwrap();
            assert_eq!(asked.load(Ordering::Relaxed), 2);
            // A tool that is not registered is dropped, too.
            let _third = registry.register("third").unwrap();
            let refused = registry.register_tool(body("third"));
            assert!(matches!(refused, Err(RegisterError::Duplicate { .. })));
            assert_eq!(asked.load(Ordering::Relaxed), 3);
            let refused = registry.register_tool(body(""));
            assert!(matches!(refused, Err(RegisterError::Name(_))));
            assert_eq!(asked.load(Ordering::Relaxed), 4);
            registry.pump();
            assert!(registry.get("third").is_some());
        });
    }
}

/// The operating system has no memory for the counters of another tool.
///
/// This runs in a process of its own, whose memory is limited to less than a chunk of slots takes.
#[cfg(unix)]
#[test]
fn a_body_that_finds_no_memory_is_dropped_where_no_lock_is_held() {
    const LIMITED: &str = "TOOLMETER_TEST_WITHOUT_MEMORY";
    let name = "a_body_that_finds_no_memory_is_dropped_where_no_lock_is_held";
    if std::env::var_os(LIMITED).is_none() {
        let mut limited = std::process::Command::new("sh");
        limited
            .args(["-c", "ulimit -v 1500000 && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(LIMITED, "");
        assert!(limited.status().unwrap().success());
        return;
    }
    ends(|| {
        let builder = Registry::builder().pump(Pump::manual());
        let registry = builder.precision(7).stripes(256).build().unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        for number in 1..4 {
            let (weak, count) = (registry.downgrade(), Arc::clone(&asked));
            let on_drop = move || {
                let registry = weak.upgrade().unwrap();
                assert_eq!(registry.metrics().tools.len(), 0);
                registry.reset_metrics();
                registry.pump();
                registry.publish();
                let one_more = registry.register("one_more");
                assert!(matches!(one_more, Err(RegisterError::OutOfMemory)));
                count.fetch_add(1, Ordering::Relaxed);
                panic_any(Bomb(2));
            };
            let on_drop = Box::new(on_drop);
            let refused = registry.register_tool(Body {
                name: "tool",
                on_drop,
            });
            assert!(matches!(refused, Err(RegisterError::OutOfMemory)));
            assert_eq!(asked.load(Ordering::Relaxed), number);
        }
        let refused = registry.register_all(["one", "two"]);
        assert!(matches!(refused, Err(RegisterError::OutOfMemory)));
        assert!(registry.get("tool").is_none());
    });
}

/// Readers hold what they read while tools come and go. None of them ever drops a body.
#[test]
fn a_body_is_dropped_by_none_that_only_reads() {
    ends(|| {
        let registry = Registry::builder()
            .pump(Pump::background())
            .build()
            .unwrap();
        let stop = Arc::new(AtomicU32::new(0));
        let dropped_by_readers = Arc::new(AtomicU32::new(0));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (registry, stop) = (registry.clone(), Arc::clone(&stop));
                let read = move || {
                    while stop.load(Ordering::Relaxed) == 0 {
                        let _ = registry.metrics();
                        registry.reset_metrics();
                        registry.publish();
                    }
                };
                thread::Builder::new().name("reader".into()).spawn(read)
            })
            .collect();
        for _ in 0..500 {
            let counter = Arc::clone(&dropped_by_readers);
            let on_drop = Box::new(move || {
                let by = thread::current();
                let by = by.name().unwrap_or_default();
                if by == "reader" || by == "toolmeter-pump" {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
            let name = "comes_and_goes";
            drop(registry.register_tool(Body { name, on_drop }).unwrap());
            registry.deregister(name).unwrap();
        }
        stop.store(1, Ordering::Relaxed);
        for reader in readers {
            reader.unwrap().join().unwrap();
        }
        assert_eq!(dropped_by_readers.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_body_that_panics_when_it_is_dropped_unwinds_nowhere() {
    ends(|| {
        let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
        let body = |name| Body {
            name,
            on_drop: Box::new(|| panic_any(Bomb(2))),
        };
        let tool = registry.register_tool(body("tool")).unwrap();
        tool.start().succeed();
        registry.deregister("tool").unwrap();
        drop(tool);
        let _kept = registry.register_tool(body("kept")).unwrap();
        assert!(registry.register_tool(body("kept")).is_err());
        assert_eq!(registry.metrics().tools["tool"].success(), 1);
        drop(_kept);
        drop(registry);
    });
}

/// The methods of a tool that are called at its registration are the host's code, too.
#[test]
fn a_tool_that_panics_while_it_is_registered_is_not_registered_at_all() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum At {
        Spec,
        IsBlocking,
    }
    struct Panics(
        At,
        Arc<AtomicU32>,
        #[allow(dead_code, reason = "dropped with it")] Bomb,
    );
    impl Tool for Panics {
        fn spec(&self) -> ToolSpec {
            if self.0 == At::Spec {
                panic!("no name\u{7}");
            }
            "tool".into()
        }
        fn call(&self, _: Invocation) -> ToolFuture {
            Box::pin(never())
        }
        fn is_blocking(&self) -> bool {
            if self.0 == At::IsBlocking {
                panic_any(Bomb(2));
            }
            false
        }
    }
    impl Drop for Panics {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let places: &[At] = match cfg!(feature = "tokio") {
        true => &[At::Spec, At::IsBlocking],
        // `is_blocking` is not called.
        false => &[At::Spec],
    };
    for &at in places {
        ends(move || {
            let registry = Registry::builder().tool_limit(1).pump(Pump::manual());
            let registry = registry.build().unwrap();
            let dropped = Arc::new(AtomicU32::new(0));
            for times in 1..=100 {
                let refused = registry.register_tool(Panics(at, Arc::clone(&dropped), Bomb(2)));
                let RegisterError::Panicked { message } = refused.unwrap_err() else {
                    panic!("the tool panicked");
                };
                match at {
                    At::Spec => assert_eq!(message, "no name\\u{7}"),
                    At::IsBlocking => assert!(message.contains("other than text")),
                }
                assert_eq!(dropped.load(Ordering::Relaxed), times);
            }
            assert!(registry.get("tool").is_none());
            assert_eq!(registry.metrics().tools.len(), 0);
            assert!(registry.deregister("tool").is_err());
            // Neither its name nor its place is taken.
            registry.register("tool").unwrap().start().succeed();
            assert_eq!(registry.metrics().tools["tool"].success(), 1);
        });
    }
}

#[test]
fn a_redactor_and_a_clock_that_panic_however_they_can_cost_a_text_and_nothing_else() {
    ends(|| {
        let (redactor, clock) = (Bomb(3), Bomb(3));
        let registry = Registry::builder()
            .pump(Pump::manual())
            .redact_errors(move |_| {
                let _kept = &redactor;
                panic_any(Bomb(2))
            })
            .wall_clock(move || -> SystemTime {
                let _kept = &clock;
                panic_any(Bomb(2))
            })
            .build()
            .unwrap();
        let tool = registry.register("tool").unwrap();
        tool.start().fail(ErrorKind::Other, "hunter2");
        registry.pump();
        let metrics = registry.metrics();
        assert_eq!(metrics.tools["tool"].failure(), 1);
        let error = metrics.tools["tool"].last_error.as_ref().unwrap();
        assert!(!error.message.as_ref().unwrap().contains("hunter2"));
        drop(tool);
        drop(registry);
    });
}

/// The wall clock reads the metrics of its registry, which read the clock.
#[test]
fn a_wall_clock_that_asks_the_registry_finds_no_lock_held() {
    for pump in [Pump::manual(), Pump::background()] {
        ends(move || {
            let asked = Arc::new(AtomicU32::new(0));
            let of_clock: Arc<OnceLock<WeakRegistry>> = Arc::default();
            let (host, count) = (Arc::clone(&of_clock), Arc::clone(&asked));
            let registry = Registry::builder()
                .pump(pump)
                .publish_every(Duration::ZERO)
                .wall_clock(move || {
                    if let Some(weak) = host.get() {
                        asks_for_everything(weak, &count);
                    }
                    SystemTime::now()
                })
                .build()
                .unwrap();
            of_clock.set(registry.downgrade()).unwrap();
            let events = registry.subscribe();
            let all: [&dyn Fn(); 9] = [
                &|| drop(registry.register("tool").unwrap()),
                &|| drop(registry.get("tool").unwrap().start()),
                &|| drop(registry.metrics()),
                &|| drop(registry.reset_metrics()),
                &|| drop(registry.running_calls().list()),
                &|| registry.publish(),
                &|| assert!(registry.pump() < 100),
                &|| registry.deregister("tool").unwrap(),
                &|| drop(registry.intervals().read()),
            ];
            for ask in all {
                ask();
            }
            assert!(asked.load(Ordering::Relaxed) > 0);
            registry.shutdown();
            // The calls of the clock are among them.
            assert!(events.iter().map(|batch| batch.len()).sum::<usize>() >= 2);
            assert!(registry.get("tool").is_none());
        });
    }
}

/// The wall clock shuts its registry down, on the pump's thread or in a call of the host.
#[test]
fn a_wall_clock_may_shut_the_registry_down() {
    for pump in [Pump::manual(), Pump::background()] {
        ends(move || {
            let of_clock: Arc<Mutex<Option<Registry>>> = Arc::default();
            let host = Arc::clone(&of_clock);
            let registry = Registry::builder()
                .pump(pump)
                .wall_clock(move || {
                    // The last owner, once the host has dropped its own.
                    let taken = host.lock().unwrap().take();
                    if let Some(registry) = taken {
                        registry.shutdown();
                    }
                    SystemTime::now()
                })
                .build()
                .unwrap();
            let events = registry.subscribe();
            let tool = registry.register("tool").unwrap();
            tool.start().succeed();
            *of_clock.lock().unwrap() = Some(registry.clone());
            registry.pump();
            assert_eq!(events.iter().map(|batch| batch.len()).sum::<usize>(), 2);
        });
    }
}

/// The pump reads the clock, too. Meanwhile the host continues and can end.
#[test]
fn a_wall_clock_that_does_not_return_keeps_neither_the_host_nor_the_end() {
    ends(|| {
        let (stuck, is_stuck) = mpsc::channel();
        let (never, blocks) = mpsc::channel::<()>();
        let (stuck, blocks) = (Mutex::new(stuck), Mutex::new(blocks));
        let registry = Registry::builder()
            .clock(ClockSource::Manual(Arc::default()))
            .pump(Pump::background())
            .wall_clock(move || {
                if thread::current().name() == Some("toolmeter-pump") {
                    let _ = stuck.lock().unwrap().send(());
                    let _ = blocks.lock().unwrap().recv();
                }
                SystemTime::now()
            })
            .build()
            .unwrap();
        is_stuck.recv_timeout(STUCK).unwrap();
        let events = registry.subscribe();
        let tool = registry.register("tool").unwrap();
        tool.start().succeed();
        assert_eq!(registry.pump(), 2, "by hand");
        tool.start().succeed();
        registry.publish();
        assert_eq!(registry.published().tools["tool"].success(), 2);
        assert_eq!(registry.running_calls().list().calls.len(), 0);
        registry.deregister("tool").unwrap();
        drop(tool);
        registry.shutdown();
        assert_eq!(events.iter().map(|batch| batch.len()).sum::<usize>(), 4);
        drop(registry);
        drop(never);
    });
}

/// Returns a rule that panics when it is dropped without having been called.
fn rule<R>(verdict: fn() -> Verdict) -> impl FnOnce(&R) -> Verdict {
    let held = Bomb(2);
    move |_| {
        std::mem::forget(held);
        verdict()
    }
}

/// Never returns.
async fn never<R>() -> R {
    std::future::pending().await
}

/// Returns the successes, failures, cancelled and rejected calls.
fn outcomes(registry: &Registry) -> [u64; 4] {
    let metrics = registry.metrics();
    let tool = &metrics.tools["tool"];
    [
        tool.success(),
        tool.failure(),
        tool.cancelled(),
        tool.rejected,
    ]
}

/// If a call ends without calling its rule, the rule is dropped, and this panics.
#[test]
fn a_rule_that_panics_when_it_is_dropped_changes_nothing() {
    ends(|| {
        let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
        let tool = registry.register("tool").unwrap();
        // Never run.
        drop(tool.call().classify::<(), _>(rule(Verdict::success)));
        let call = tool.call().classify(rule(Verdict::success));
        drop(call.run_async(async {}));
        // Run to an end, or not.
        tool.call().classify(rule(Verdict::success)).run(|| ());
        let call = tool.call().classify(rule(Verdict::success));
        let mut running = Box::pin(call.run_async(never::<()>()));
        assert!(poll_once(running.as_mut()).is_pending());
        drop(running);
        assert_eq!(outcomes(&registry), [1, 0, 1, 0]);
        // The tool panics: its panic continues, and no other panic occurs.
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let call = tool.call().classify(rule::<()>(Verdict::success));
            call.run(|| panic!("the tool's own"));
        }));
        assert_eq!(
            panicked.unwrap_err().downcast_ref(),
            Some(&"the tool's own")
        );
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let call = tool.call().classify(rule::<()>(Verdict::success));
            let mut running = Box::pin(call.run_async(async { panic!("the tool's own") }));
            let _ = poll_once(running.as_mut());
        }));
        assert_eq!(
            panicked.unwrap_err().downcast_ref(),
            Some(&"the tool's own")
        );
        assert_eq!(outcomes(&registry), [1, 2, 1, 0]);
    });
}

/// The rule of a stream is cloned for each item.
#[cfg(feature = "stream")]
#[test]
fn a_rule_of_a_stream_that_panics_when_it_is_cloned_or_dropped_is_a_panic_once() {
    use futures_util::{StreamExt, stream};
    struct Held(bool);
    impl Clone for Held {
        fn clone(&self) -> Self {
            if self.0 {
                panic_any(Bomb(2));
            }
            Self(false)
        }
    }
    impl Drop for Held {
        fn drop(&mut self) {
            if self.0 {
                panic_any(Bomb(2));
            }
        }
    }
    ends(|| {
        let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
        let tool = registry.register("tool").unwrap();
        for panics in [false, true] {
            let held = Held(panics);
            let rule = move |_: &u8| {
                let _kept = &held;
                Verdict::success()
            };
            let call = tool.call().classify(rule);
            let mut items =
                Box::pin(call.run_stream(stream::iter([1_u8, 2]).chain(stream::empty())));
            let mut next = || {
                let item = AssertUnwindSafe(|| poll_once(pin!(items.next())));
                catch_unwind(item)
            };
            let first = next();
            if panics {
                std::mem::forget(first.unwrap_err());
            } else {
                assert_eq!(first.unwrap(), Poll::Ready(Some(1)));
                assert_eq!(next().unwrap(), Poll::Ready(Some(2)));
                assert_eq!(next().unwrap(), Poll::Ready(None));
            }
            drop(items);
        }
        assert_eq!(outcomes(&registry), [1, 1, 0, 0]);
    });
}

/// The error of a failure is the host's. It is formatted, and dropped.
#[test]
fn an_error_that_panics_when_it_is_dropped_is_counted_and_shown() {
    struct Told(#[allow(dead_code, reason = "dropped with it")] Bomb);
    impl Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no route to host")
        }
    }
    let told = || Told(Bomb(2));
    ends(move || {
        let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
        let silent = Registry::builder().without_error_text();
        let silent = silent.pump(Pump::manual()).build().unwrap();
        for registry in [registry, silent] {
            let tool = registry.register("tool").unwrap();
            tool.start().fail(ErrorKind::Network, told());
            let why = Verdict::failure(ErrorKind::Network).because(told());
            tool.start().finish(why);
            tool.start().finish(Verdict::mcp(true, told()));
            tool.start()
                .finish(Verdict::json_rpc_error(-32_000, told()));
            let _ = Verdict::mcp(false, told());
            let _ = Verdict::success().because(told());
            assert_eq!(outcomes(&registry), [0, 4, 0, 0]);
            tool.start().reject(told());
            tool.call().reject(told());
            assert_eq!(outcomes(&registry), [0, 4, 0, 2]);
            if let Some(message) = &registry.metrics().tools["tool"]
                .last_error
                .as_ref()
                .unwrap()
                .message
            {
                assert_eq!(&**message, "no route to host");
            }
        }
    });
}

/// The rules of a tool are the host's code, too.
#[test]
fn a_tool_that_panics_while_it_judges_an_answer_has_panicked() {
    struct Judges;
    impl Tool for Judges {
        fn spec(&self) -> ToolSpec {
            "judges".into()
        }
        fn call(&self, _: Invocation) -> ToolFuture {
            Box::pin(async { Ok(json!(1)) })
        }
        fn classify(&self, _: &serde_json::Value) -> toolmeter::Verdict {
            panic_any(Bomb(2))
        }
    }
    ends(|| {
        let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
        registry.register_tool(Judges).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let call = async { registry.invoke("judges", json!({})).await };
        let error = runtime.unwrap().block_on(call).unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::Panic));
        assert_eq!(registry.metrics().tools["judges"].failure(), 1);
    });
}

/// A waker that runs a closure.
struct Runs<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Runs<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Leaves a waker that runs `woken` with a receiver, makes an event, and waits until it has run.
fn wakes(registry: &Registry, woken: impl Fn() + Send + Sync + 'static) {
    let tool = registry.get_or_register("tool").unwrap();
    let events = registry.subscribe();
    let (ran, has_run) = mpsc::channel();
    let waker = Waker::from(Arc::new(Runs(move || {
        woken();
        let _ = ran.send(());
    })));
    let mut batch = pin!(events.recv_async());
    assert!(
        batch
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    tool.start().succeed();
    // An event may be too young for the first round.
    while has_run.recv_timeout(Duration::from_millis(1)).is_err() {
        registry.pump();
    }
    assert_eq!(registry.event_accounting().waker_panics, 0);
}

/// A call that a waker makes on its registry.
type Asks = fn(&Registry);

/// Each call on a registry, by itself.
const ASKS: [(&str, Asks); 12] = [
    ("metrics", |registry| drop(registry.metrics())),
    ("published", |registry| drop(registry.published())),
    ("reset_metrics", |registry| drop(registry.reset_metrics())),
    ("intervals", |registry| drop(registry.intervals().read())),
    ("event_accounting", |registry| {
        let _ = registry.event_accounting();
    }),
    ("publish", Registry::publish),
    ("pump", |registry| {
        let _ = registry.pump();
    }),
    ("subscribe", |registry| drop(registry.subscribe())),
    ("running_calls", |registry| {
        drop(registry.running_calls().list());
    }),
    ("register", |registry| {
        let body = Body {
            name: "of the waker",
            on_drop: Box::new(|| {}),
        };
        drop(registry.register_tool(body).unwrap());
        registry.deregister("of the waker").unwrap();
    }),
    ("a call", |registry| {
        registry.get("tool").unwrap().start().succeed();
    }),
    ("shutdown", Registry::shutdown),
];

/// Runs wakers that call back, with one of the calls each. `host` returns a registry for each.
fn wakers_may_ask(host: impl Fn() -> Registry) {
    for (what, ask) in ASKS {
        println!("{what}");
        let registry = host();
        let weak = registry.downgrade();
        wakes(&registry, move || ask(&weak.upgrade().unwrap()));
        if what == "shutdown" {
            assert!(registry.subscribe().recv().is_err());
            let account = registry.event_accounting();
            assert_eq!(account.offered, account.drained + account.lost_in_rings);
            continue;
        }
        // After the others the registry still works until its end, which calls one more waker.
        let events = registry.subscribe();
        let last = registry.subscribe();
        registry.get("tool").unwrap().start().succeed();
        while last.stats().delivered < 2 {
            registry.pump();
        }
        while last.try_recv().is_ok() {}
        let (ran, has_run) = mpsc::channel();
        let weak = registry.downgrade();
        let waker = Waker::from(Arc::new(Runs(move || {
            ask(&weak.upgrade().unwrap());
            let _ = ran.send(());
        })));
        let mut ended = pin!(last.recv_async());
        let mut context = Context::from_waker(&waker);
        while ended.as_mut().poll(&mut context).is_ready() {
            ended.set(last.recv_async());
        }
        registry.shutdown();
        has_run.recv_timeout(STUCK).unwrap();
        assert_eq!(events.iter().map(|batch| batch.len()).sum::<usize>(), 2);
        assert_eq!(registry.event_accounting().waker_panics, 0);
    }
}

/// Runs wakers that drop a subscription: another one, or the last of all.
fn wakers_may_drop_subscriptions(host: impl Fn() -> Registry) {
    let registry = host();
    let other = Mutex::new(Some(registry.subscribe()));
    let stats = other.lock().unwrap().as_ref().unwrap().stats_handle();
    let taken = Arc::new(other);
    let dropped = Arc::clone(&taken);
    wakes(&registry, move || drop(taken.lock().unwrap().take()));
    assert!(dropped.lock().unwrap().is_none());
    assert!(stats.read().drained > 0);
    registry.shutdown();
}

/// Runs a waker that drops the last registry. The pump is manual, or a thread that the shutdown
/// joins.
fn a_waker_may_drop_the_last_of(registry: Registry) {
    let weak = registry.downgrade();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    let others = registry.subscribe();
    let last = Mutex::new(Some(registry.clone()));
    let (dropped, is_dropped) = mpsc::channel();
    let waker = Waker::from(Arc::new(Runs(move || {
        drop(last.lock().unwrap().take());
        let _ = dropped.send(());
    })));
    let mut batch = pin!(events.recv_async());
    let mut context = Context::from_waker(&waker);
    assert!(batch.as_mut().poll(&mut context).is_pending());
    tool.start().succeed();
    // A manual pump needs a call of the host, so the shutdown pumps and ends the events.
    registry.shutdown();
    drop(registry);
    is_dropped.recv_timeout(STUCK).unwrap();
    while weak.upgrade().is_some() {
        thread::yield_now();
    }
    assert_eq!(others.iter().map(|batch| batch.len()).sum::<usize>(), 2);
}

/// As above, for a background pump that continues when its last owner drops the registry. Only the
/// waker ends it.
fn a_waker_may_end_the_pump_of(registry: Registry) {
    let weak = registry.downgrade();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    let others = registry.subscribe();
    let last = Arc::new(Mutex::new(None));
    let (dropped, is_dropped) = mpsc::channel();
    let taken = Arc::clone(&last);
    let waker = Waker::from(Arc::new(Runs(move || {
        let registry: Option<Registry> = taken.lock().unwrap().take();
        drop(registry);
        let _ = dropped.send(());
    })));
    let mut batch = pin!(events.recv_async());
    let mut context = Context::from_waker(&waker);
    assert!(batch.as_mut().poll(&mut context).is_pending());
    *last.lock().unwrap() = Some(registry);
    tool.start().succeed();
    is_dropped.recv_timeout(STUCK).unwrap();
    while weak.upgrade().is_some() {
        thread::yield_now();
    }
    // The end of the call may come after the end of the registry.
    assert!((1..=2).contains(&others.iter().map(|batch| batch.len()).sum::<usize>()));
}

#[test]
fn a_waker_that_asks_the_registry_finds_no_lock_held() {
    for pump in [Pump::manual(), Pump::background()] {
        ends(move || {
            let host = || Registry::builder().pump(pump).build().unwrap();
            wakers_may_ask(host);
            wakers_may_drop_subscriptions(host);
            let registry = host();
            let asked = Arc::new(AtomicU32::new(0));
            let (weak, count) = (registry.downgrade(), Arc::clone(&asked));
            wakes(&registry, move || asks_for_everything(&weak, &count));
            assert!(asked.load(Ordering::Relaxed) > 0);
        });
    }
}

/// The shutdown joins the pump's thread, and the waker is on another.
#[test]
fn a_waker_may_drop_the_last_registry() {
    for pump in [Pump::manual(), Pump::background()] {
        ends(move || {
            a_waker_may_drop_the_last_of(Registry::builder().pump(pump).build().unwrap());
        });
    }
    ends(|| a_waker_may_end_the_pump_of(Registry::builder().build().unwrap()));
}

/// Runs this test in a process of its own, where only two threads can be started, since the stack
/// of each takes half of the memory. Returns whether this is that process.
#[cfg(unix)]
fn is_without_threads(test: &str) -> bool {
    const LIMITED: &str = "TOOLMETER_TEST_WITHOUT_THREADS";
    if std::env::var_os(LIMITED).is_some() {
        return true;
    }
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -v 12000000 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("RUST_MIN_STACK", (5_u64 << 30).to_string())
        .env(LIMITED, "");
    assert!(limited.status().unwrap().success());
    false
}

/// Runs a scenario on the first of the two threads.
#[cfg(unix)]
fn ends_on_the_first(scenario: fn()) {
    let (done, is_done) = mpsc::channel();
    let small = thread::Builder::new().stack_size(1 << 20);
    let scenario = move || {
        scenario();
        done.send(()).unwrap();
    };
    let scenario = small.spawn(scenario).unwrap();
    if is_done.recv_timeout(STUCK) == Err(mpsc::RecvTimeoutError::Timeout) {
        // Only the end of the process can end a thread that hangs.
        eprintln!("the scenario hangs");
        std::process::exit(1);
    }
    scenario.join().unwrap();
}

#[cfg(unix)]
fn assert_without_threads() {
    assert!(thread::Builder::new().spawn(|| ()).is_err());
}

/// Runs a scenario while the second thread is taken.
#[cfg(unix)]
fn with_the_second(scenario: impl FnOnce()) {
    let (over, is_over) = mpsc::channel::<()>();
    let second = thread::Builder::new().spawn(move || is_over.recv());
    assert_without_threads();
    scenario();
    drop(over);
    let _ = second.unwrap().join();
}

/// If no thread can be started for wakers, the pump itself or the thread that ends the registry
/// calls them.
#[cfg(unix)]
#[test]
fn a_waker_that_finds_no_thread_of_its_own_finds_no_lock_held() {
    if !is_without_threads("a_waker_that_finds_no_thread_of_its_own_finds_no_lock_held") {
        return;
    }
    ends_on_the_first(|| {
        with_the_second(|| {
            let host = || Registry::builder().pump(Pump::manual()).build().unwrap();
            wakers_may_ask(host);
            wakers_may_drop_subscriptions(host);
            a_waker_may_drop_the_last_of(host());
        });
    });
    fn with_pump() -> Registry {
        loop {
            // The thread of the last pump may be about to end.
            match Registry::builder().pump(Pump::background()).build() {
                Err(BuildError::PumpThread(_)) => thread::yield_now(),
                registry => {
                    assert_without_threads();
                    break registry.unwrap();
                }
            }
        }
    }
    ends_on_the_first(|| wakers_may_ask(with_pump));
    ends_on_the_first(|| wakers_may_drop_subscriptions(with_pump));
    ends_on_the_first(|| a_waker_may_drop_the_last_of(with_pump()));
    ends_on_the_first(|| a_waker_may_end_the_pump_of(with_pump()));
}

/// The waker is that of an executor that has ended, or that waits for the thread that calls the
/// waker.
#[test]
fn a_waker_that_does_not_return_keeps_neither_others_nor_the_end() {
    ends(|| {
        let registry = Registry::builder()
            .pump(Pump::background())
            .build()
            .unwrap();
        let tool = registry.register("tool").unwrap();
        let events = registry.subscribe();
        let others = registry.subscribe();
        let (never, blocks) = mpsc::channel::<()>();
        let blocks = Mutex::new(blocks);
        let waker = Waker::from(Arc::new(Runs(move || {
            let _ = blocks.lock().unwrap().recv();
        })));
        let mut batch = pin!(events.recv_async());
        assert!(
            batch
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        for _ in 0..100 {
            tool.start().succeed();
        }
        let mut heard = 0;
        while heard < 200 {
            heard += others.recv().unwrap().len();
        }
        registry.shutdown();
        assert!(others.recv().is_err());
        drop(never);
    });
}

#[test]
fn a_waker_that_panics_is_counted_and_harms_no_one() {
    ends(|| {
        let registry = Registry::builder()
            .pump(Pump::background())
            .build()
            .unwrap();
        let others = registry.subscribe();
        let (called, was_called) = mpsc::channel();
        let called = Mutex::new(called);
        let tool = registry.register("tool").unwrap();
        let events = registry.subscribe();
        let waker = Waker::from(Arc::new(Runs(move || {
            called.lock().unwrap().send(()).unwrap();
            panic_any(Bomb(2));
        })));
        let mut batch = pin!(events.recv_async());
        assert!(
            batch
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        tool.start().succeed();
        was_called.recv_timeout(STUCK).unwrap();
        tool.start().succeed();
        let mut heard = 0;
        while heard < 4 {
            heard += others.recv().unwrap().len();
        }
        registry.shutdown();
        let account = registry.event_accounting();
        assert_eq!((account.offered, account.drained), (4, 4));
        while registry.event_accounting().waker_panics == 0 {
            thread::yield_now();
        }
    });
}

#[cfg(feature = "tokio")]
mod with_tokio {
    use super::*;
    use serde_json::Value;
    use std::future::IntoFuture;
    use toolmeter::{InvokeError, ToolError, async_tool, sync_tool};

    #[test]
    fn a_rule_of_a_call_by_name_that_panics_when_it_is_dropped_changes_nothing() {
        ends(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            for is_blocking in [false, true] {
                let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
                let gives = |call: Invocation| match call.args.as_str() {
                    Some("error") => Err(ToolError::new(ErrorKind::Network, "no route")),
                    Some("panic") => panic!("the tool's own"),
                    _ => Ok(call.args),
                };
                if is_blocking {
                    registry.register_tool(sync_tool("tool", gives)).unwrap();
                } else {
                    let later = async_tool("tool", move |call| async move {
                        if call.args == "never" {
                            never::<()>().await;
                        }
                        gives(call)
                    });
                    registry.register_tool(later).unwrap();
                }
                let invoke = |args: Value| {
                    registry
                        .invoke("tool", args)
                        .classify(rule(Verdict::success))
                };
                let answer = runtime.block_on(async { invoke(json!("error")).await });
                assert_eq!(answer.unwrap_err().kind(), Some(ErrorKind::Network));
                let answer = runtime.block_on(async { invoke(json!("panic")).await });
                assert_eq!(answer.unwrap_err().kind(), Some(ErrorKind::Panic));
                assert_eq!(outcomes(&registry), [0, 2, 0, 0]);
                // Not even begun.
                drop(invoke(json!(1)));
                drop(invoke(json!(1)).into_future());
                registry.get("tool").unwrap().set_enabled(false);
                let answer = runtime.block_on(async { invoke(json!(1)).await });
                assert!(matches!(answer, Err(InvokeError::Disabled { .. })));
                registry.get("tool").unwrap().set_enabled(true);
                assert_eq!(outcomes(&registry), [0, 2, 0, 1]);
                if !is_blocking {
                    let mut running = Box::pin(invoke(json!("never")).into_future());
                    let _entered = runtime.enter();
                    assert!(poll_once(running.as_mut()).is_pending());
                    drop(running);
                    let late = invoke(json!("never")).within(Duration::from_secs(1));
                    let answer = runtime.block_on(async { late.await });
                    assert_eq!(answer.unwrap_err().kind(), Some(ErrorKind::Timeout));
                    assert_eq!(outcomes(&registry), [0, 3, 1, 1]);
                }
            }
        });
    }

    /// The rule is dropped at the time limit of the host.
    #[test]
    fn a_rule_that_panics_when_it_is_dropped_does_not_hide_a_time_out() {
        ends(|| {
            let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
            let tool = registry.register("tool").unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let call = tool.call().classify(rule(Verdict::success));
            let limited = call.within(Duration::from_secs(1));
            let late = runtime.block_on(limited.run_async(never::<()>()));
            assert!(late.is_err());
            assert_eq!(outcomes(&registry), [0, 1, 0, 0]);
        });
    }

    /// Calls of a tool that blocks fail; neither they nor the runtime keep their arguments.
    #[cfg(unix)]
    #[test]
    fn a_tool_that_finds_no_thread_of_its_own_is_a_failure_and_no_panic() {
        const CALLS: u64 = 100;
        const BYTES: usize = 100 << 10;
        if !is_without_threads(
            "with_tokio::a_tool_that_finds_no_thread_of_its_own_is_a_failure_and_no_panic",
        ) {
            return;
        }
        ends_on_the_first(|| {
            with_the_second(|| {
                let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
                let events = registry.subscribe();
                let ran = Arc::new(AtomicU32::new(0));
                let runs = Arc::clone(&ran);
                let tool = sync_tool("tool", move |call| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    Ok(call.args)
                });
                registry.register_tool(tool).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let runtime = runtime.unwrap();
                let calls = |calls| {
                    for _ in 0..calls {
                        let args = json!("x".repeat(BYTES));
                        let call = registry.invoke("tool", args);
                        let call = call.classify(rule(Verdict::success));
                        let error = runtime.block_on(async { call.await }).unwrap_err();
                        assert!(matches!(error, InvokeError::NoThread { .. }), "{error}");
                        assert_eq!(error.kind(), Some(ErrorKind::Other));
                    }
                };
                // The first one may read the symbols of a backtrace.
                calls(1);
                let kept = allocation_counter::measure(|| calls(CALLS - 1)).bytes_current;
                assert!(kept < 10 * BYTES as i64, "{kept} bytes are kept");
                assert_eq!(outcomes(&registry), [0, CALLS, 0, 0]);
                let last = registry.metrics().tools["tool"].last_error.clone().unwrap();
                let said = "the tool `tool` did not run: no thread could be started for it";
                assert_eq!(last.message.as_deref(), Some(said));
                registry.shutdown();
                let heard = events.iter().map(|batch| batch.len() as u64).sum::<u64>();
                assert_eq!(heard, 2 * CALLS);
                drop(runtime);
                assert_eq!(ran.load(Ordering::Relaxed), 0);
            });
        });
    }

    /// A call for which the runtime has a thread only later does not run any more.
    #[cfg(unix)]
    #[test]
    fn a_call_that_finds_no_thread_of_its_own_does_not_run_later() {
        if !is_without_threads(
            "with_tokio::a_call_that_finds_no_thread_of_its_own_does_not_run_later",
        ) {
            return;
        }
        ends_on_the_first(|| {
            let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
            registry
                .register_tool(sync_tool("tool", |call| Ok(call.args)))
                .unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.unwrap();
            let call = || runtime.block_on(async { registry.invoke("tool", json!(1)).await });
            with_the_second(|| {
                assert!(call().is_err());
                assert_eq!(outcomes(&registry), [0, 1, 0, 0]);
            });
            assert_eq!(call().unwrap(), json!(1));
            drop(runtime);
            assert_eq!(outcomes(&registry), [1, 1, 0, 0]);
        });
    }

    /// The future of a tool is dropped when it has given its answer, wherever the tool runs.
    #[test]
    fn a_future_that_panics_when_it_is_dropped_is_what_it_was_on_a_blocking_thread_too() {
        struct Gives(Bomb);
        impl Future for Gives {
            type Output = Result<Value, ToolError>;
            fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
                Poll::Ready(Ok(json!(self.0.0)))
            }
        }
        struct Leaves(bool);
        impl Tool for Leaves {
            fn spec(&self) -> ToolSpec {
                "tool".into()
            }
            fn call(&self, _: Invocation) -> ToolFuture {
                Box::pin(Gives(Bomb(2)))
            }
            fn is_blocking(&self) -> bool {
                self.0
            }
        }
        for is_blocking in [false, true] {
            ends(move || {
                let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
                registry.register_tool(Leaves(is_blocking)).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let call = async { registry.invoke("tool", json!({})).await };
                assert_eq!(runtime.unwrap().block_on(call).unwrap(), json!(2));
                assert_eq!(outcomes(&registry), [1, 0, 0, 0]);
            });
        }
    }
}
