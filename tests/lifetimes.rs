//! Tools that come and go: no count vanishes, whatever is registered, deregistered, held and read
//! meanwhile; each of thousands costs as much as each of a few; and a registry ends with its last
//! owner.
#![cfg(not(toolmeter_loom))]

mod common;

use allocation_counter::{AllocationInfo, measure};
use common::{at_once, builder, registry};
use serde_json::json;
use std::future::IntoFuture;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use toolmeter::{
    ErrorKind, Intervals, NameError, Pump, RegisterError, Registry, Snapshot, ToolHandle, ToolSpec,
    async_tool, sync_tool,
};

/// Returns the calls of a name in a snapshot that ended or were refused.
fn calls(snapshot: &Snapshot, name: &str) -> u64 {
    snapshot
        .tool(name)
        .map_or(0, |stats| stats.finished() + stats.rejected)
}

/// Returns all calls in a snapshot.
fn all_calls(snapshot: &Snapshot) -> u64 {
    let totals = snapshot.totals();
    totals.map_or(0, |stats| stats.finished() + stats.rejected)
}

/// Makes five calls, one for each way to end.
fn five_calls(tool: &ToolHandle) {
    tool.start().succeed();
    tool.call().attempt(2).start().succeed();
    tool.start().fail(ErrorKind::Network, "reset");
    tool.start().cancel();
    tool.call().reject("denied");
}

// ---------------------------------------------------------------------------------------------
// A server that reconnects.

/// A state of the tool between the two lives of its server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Between {
    /// The old handle is held to the end.
    Held,
    /// The old handle is dropped.
    Dropped,
    /// The tool has departed.
    Departed,
}

const BETWEEN: [Between; 3] = [Between::Held, Between::Dropped, Between::Departed];

/// Makes five calls of a tool, deregisters it, registers it again, and makes five more. Returns the
/// handles that are still held.
fn two_lives(
    registry: &Registry,
    between: Between,
    first_life_is_over: impl FnOnce(),
) -> (ToolHandle, Option<ToolHandle>) {
    let first = registry.register("server__tool").unwrap();
    five_calls(&first);
    let id = first.id();
    registry.deregister("server__tool").unwrap();
    let held = (between == Between::Held).then_some(first);
    first_life_is_over();
    if between == Between::Departed {
        for _ in 0..3 {
            registry.pump();
        }
    }
    let second = registry.register("server__tool").unwrap();
    assert_eq!(second.id(), id, "{between:?}");
    five_calls(&second);
    (second, held)
}

#[test]
fn a_tool_that_comes_back_continues_its_counts() {
    for between in BETWEEN {
        let (registry, _) = registry();
        let held = two_lives(&registry, between, || {});
        let metrics = registry.metrics();
        assert!(!metrics.tools["server__tool"].retired);
        assert_eq!(metrics.tools.len(), 1);
        for snapshot in [metrics, registry.totals(), registry.reset_metrics()] {
            let stats = &snapshot.tools["server__tool"];
            assert_eq!((stats.success(), stats.failure()), (4, 2), "{between:?}");
            assert_eq!((stats.cancelled(), stats.rejected), (2, 2));
            assert_eq!((stats.retried, stats.recovered, stats.in_flight), (2, 2, 0));
            assert_eq!(stats.failures_by_kind[&ErrorKind::Network], 2);
            let error = stats.last_error.as_ref().unwrap();
            assert_eq!(error.message.as_deref(), Some("reset"));
        }
        assert_eq!(all_calls(&registry.metrics()), 0);
        drop(held);
    }
}

#[test]
fn resets_and_cursors_add_up_to_all_calls_of_both_lives() {
    for between in BETWEEN {
        let (registry, _) = registry();
        let mut whole = registry.intervals();
        let mut often = registry.intervals();
        let mut read_often = 0;
        let mut late = None;
        let mut cleared = 0;
        let held = two_lives(&registry, between, || {
            read_often += calls(&often.read(), "server__tool");
            cleared += calls(&registry.reset_metrics(), "server__tool");
            late = Some(registry.intervals());
        });
        assert_eq!((read_often, cleared), (5, 5), "{between:?}");
        read_often += calls(&often.read(), "server__tool");
        cleared += calls(&registry.reset_metrics(), "server__tool");
        assert_eq!((read_often, cleared), (10, 10), "{between:?}");
        assert_eq!(calls(&late.unwrap().read(), "server__tool"), 5);
        assert_eq!(calls(&whole.read(), "server__tool"), 10);
        assert_eq!(calls(&registry.totals(), "server__tool"), 10);
        drop(held);
    }
}

#[test]
fn what_was_counted_is_there_when_the_tool_is_gone_for_good() {
    for between in BETWEEN {
        let (registry, _) = registry();
        let mut cursor = registry.intervals();
        let mut never_read_before = registry.intervals();
        let held = two_lives(&registry, between, || {});
        assert_eq!(calls(&cursor.read(), "server__tool"), 10);
        registry.deregister("server__tool").unwrap();
        drop(held);
        for _ in 0..3 {
            registry.pump();
        }
        let metrics = registry.metrics();
        assert!(metrics.tools["server__tool"].retired);
        assert_eq!(calls(&metrics, "server__tool"), 10, "{between:?}");
        assert_eq!(calls(&registry.totals(), "server__tool"), 10);
        assert_eq!(calls(&never_read_before.read(), "server__tool"), 10);
        assert_eq!(calls(&cursor.read(), "server__tool"), 0);
        assert_eq!(calls(&registry.reset_metrics(), "server__tool"), 10);

        // Its counts were handed back: it is no longer shown, but the totals have it.
        assert!(registry.metrics().tools.is_empty());
        assert_eq!(calls(&registry.totals(), "server__tool"), 10);
        registry.publish();
        assert!(registry.published().tools.is_empty());
    }
}

/// There are a handle of the first life, a call that runs in it, and a handle of the second.
#[test]
fn calls_through_an_old_handle_are_counted_in_every_life() {
    let (registry, _) = registry();
    let first = registry.register("tool").unwrap();
    let running = first.start_owned();
    registry.deregister("tool").unwrap();
    let second = registry.register("tool").unwrap();
    first.start().succeed();
    second.start().succeed();
    assert_eq!(registry.metrics().tools["tool"].in_flight, 1);
    let cleared = registry.reset_metrics();
    assert_eq!(cleared.tools["tool"].success(), 2);
    registry.deregister("tool").unwrap();
    drop((first, second));
    registry.pump();
    running.succeed();
    registry.pump();
    let metrics = registry.metrics();
    let stats = &metrics.tools["tool"];
    assert_eq!((stats.success(), stats.in_flight), (1, 0));
    assert_eq!(registry.totals().tools["tool"].success(), 3);
}

/// Many lives, with a cursor that is read at odd moments.
#[test]
fn a_hundred_lives_add_up() {
    let (registry, _) = registry();
    let (mut cursor, mut read, mut cleared) = (registry.intervals(), 0, 0);
    for life in 0..100 {
        let tool = registry.register("tool").unwrap();
        five_calls(&tool);
        registry.deregister("tool").unwrap();
        if life % 3 == 0 {
            drop(tool);
        }
        if life % 4 == 1 {
            registry.pump();
        }
        if life % 5 == 2 {
            read += calls(&cursor.read(), "tool");
        }
        if life % 7 == 3 {
            cleared += calls(&registry.reset_metrics(), "tool");
        }
        assert_eq!(cleared + calls(&registry.metrics(), "tool"), 5 * (life + 1));
        assert_eq!(calls(&registry.totals(), "tool"), 5 * (life + 1));
    }
    assert_eq!(read + calls(&cursor.read(), "tool"), 500);
}

// ---------------------------------------------------------------------------------------------
// Sessions with tools of their own.

const LIMIT: usize = 200;

/// Registers and deregisters tools, 10 for each of `numbers`, and calls each once. `after` runs
/// after each ten.
fn sessions(registry: &Registry, numbers: std::ops::Range<usize>, after: impl Fn(usize)) {
    for session in numbers {
        let specs = (0..10).map(|tool| format!("session_{session}_tool_{tool}"));
        let tools = registry.register_all(specs).unwrap();
        for tool in tools {
            tool.start().succeed();
            let name = tool.name().to_owned();
            drop(tool);
            registry.deregister(&name).unwrap();
        }
        after(session);
    }
}

/// Asserts that all calls are accounted for, and that no more names than the limits allow are kept.
#[track_caller]
fn assert_all_accounted(registry: &Registry) {
    let totals = registry.totals();
    assert_eq!(all_calls(&totals), 20_000);
    assert!(totals.tools.len() <= 2 * LIMIT, "{}", totals.tools.len());
    let nameless = totals.nameless.as_ref().unwrap();
    assert_eq!(nameless.tools + totals.tools.len() as u64, 20_000);
    assert_eq!(nameless.stats.success(), nameless.tools);
    let cleared = registry.reset_metrics();
    assert_eq!(all_calls(&cleared), 20_000);
    assert_eq!(all_calls(&registry.metrics()), 0);
    assert_eq!(all_calls(&registry.totals()), 20_000);
}

/// Returns the bytes that `code` allocated on this thread and that are still in use when it ends.
fn bytes_kept(code: impl FnOnce()) -> i64 {
    measure(code).bytes_current
}

/// Asserts that only the first half of the sessions takes memory.
fn assert_sessions_are_bounded(registry: &Registry, after: impl Fn(usize)) {
    sessions(registry, 0..1_000, &after);
    let kept = bytes_kept(|| sessions(registry, 1_000..2_000, &after));
    assert!(kept < 256 << 10, "10,000 tools more keep {kept} bytes");
    assert_all_accounted(registry);
}

fn session_host() -> Registry {
    builder().0.tool_limit(LIMIT).build().unwrap()
}

#[test]
fn short_lived_tools_need_no_pump() {
    let registry = session_host();
    assert_sessions_are_bounded(&registry, |_| {});
}

#[test]
fn short_lived_tools_work_with_a_pump_that_runs_now_and_then() {
    let registry = session_host();
    assert_sessions_are_bounded(&registry, |session| {
        if session % 50 == 0 {
            registry.pump();
        }
    });
}

#[test]
fn short_lived_tools_work_after_the_pump_was_shut_down() {
    let registry = session_host();
    registry.shutdown();
    assert_sessions_are_bounded(&registry, |_| {});
}

#[test]
fn short_lived_tools_do_not_wait_for_a_cursor() {
    let registry = session_host();
    let mut unread = registry.intervals();
    let mut read_now_and_then = registry.intervals();
    let read = AtomicU64::new(0);
    let reads = |cursor: &mut Intervals| {
        let interval = all_calls(&cursor.read());
        read.fetch_add(interval, Ordering::Relaxed);
    };
    assert_sessions_are_bounded(&registry, |session| {
        if session % 50 == 0 {
            registry.pump();
        }
    });
    reads(&mut read_now_and_then);
    assert_eq!(read.load(Ordering::Relaxed), 20_000);
    assert_eq!(all_calls(&unread.read()), 20_000);
    assert_eq!(all_calls(&unread.read()), 0);
}

/// A cursor is read while names are forgotten, with resets in between. Each counts every call once.
#[test]
fn cursors_and_resets_count_each_short_lived_tool_once() {
    let registry = session_host();
    let mut cursor = registry.intervals();
    let (mut read, mut cleared) = (0, 0);
    for part in 0..100 {
        sessions(&registry, 20 * part..20 * (part + 1), |_| {});
        if part % 3 == 0 {
            read += all_calls(&cursor.read());
        }
        if part % 7 == 0 {
            cleared += all_calls(&registry.reset_metrics());
        }
        if part % 10 == 0 {
            registry.pump();
        }
        let counted = 200 * (part as u64 + 1);
        assert_eq!(cleared + all_calls(&registry.metrics()), counted);
        assert_eq!(all_calls(&registry.totals()), counted);
    }
    read += all_calls(&cursor.read());
    cleared += all_calls(&registry.reset_metrics());
    assert_eq!((read, cleared), (20_000, 20_000));
    // And the pump publishes the same.
    registry.publish();
    assert_eq!(all_calls(&registry.published()), 0);
}

#[test]
fn short_lived_tools_work_with_a_background_pump_and_a_subscriber() {
    let registry = Registry::builder().tool_limit(LIMIT).build().unwrap();
    let _unread = registry.intervals();
    let events = registry.subscribe();
    let listener = thread::spawn(move || {
        let mut unnamed = 0;
        for batch in events.iter() {
            let named = |id| batch.name(id).is_some();
            unnamed += batch.iter().filter(|event| !named(event.tool())).count();
        }
        unnamed
    });
    sessions(&registry, 0..2_000, |_| {});
    assert_all_accounted(&registry);
    registry.shutdown();
    assert_eq!(listener.join().unwrap(), 0, "events without a name");
}

// ---------------------------------------------------------------------------------------------
// Thousands of tools.

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|tool| format!("tool_{tool}"))
}

/// Returns the cost of registering `count` tools one by one, and then of freeing them all, so that
/// as many others can be registered.
fn come_and_go(registry: &Registry, count: usize) -> (AllocationInfo, Duration) {
    let began = Instant::now();
    let taken = measure(|| {
        let tools: Vec<_> = names(count)
            .map(|name| registry.register(name).unwrap())
            .collect();
        for name in names(count) {
            registry.deregister(&name).unwrap();
        }
        drop(tools);
        // There is room for only as many tools, so these must be freed first.
        for name in names(count) {
            registry.register(format!("other_{name}")).unwrap();
        }
        for name in names(count) {
            registry.deregister(&format!("other_{name}")).unwrap();
        }
    });
    (taken, began.elapsed())
}

/// The least cost of several runs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    allocations: u64,
    bytes: u64,
    time: Duration,
}

impl Cost {
    const MOST: Self = Self {
        allocations: u64::MAX,
        bytes: u64::MAX,
        time: Duration::MAX,
    };

    fn least(self, (allocated, time): (AllocationInfo, Duration)) -> Self {
        Self {
            allocations: self.allocations.min(allocated.count_total),
            bytes: self.bytes.min(allocated.bytes_total),
            time: self.time.min(time),
        }
    }
}

/// Asserts that ten times as many tools take at most 20 times the memory, the allocations and the
/// time.
fn assert_linear(host: impl Fn(usize) -> Registry) {
    // One test at a time, so that they do not slow each other down; and few and many in turn, so
    // that a busy machine slows both.
    static TIMED: Mutex<()> = Mutex::new(());
    let _timed = TIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut few = Cost::MOST;
    let mut many = Cost::MOST;
    for _ in 0..3 {
        for _ in 0..3 {
            few = few.least(come_and_go(&host(1_000), 1_000));
        }
        many = many.least(come_and_go(&host(10_000), 10_000));
    }
    println!("1,000: {few:?}; 10,000: {many:?}");
    assert!(many.allocations < 20 * few.allocations, "{few:?}, {many:?}");
    assert!(many.bytes < 20 * few.bytes, "{few:?}, {many:?}");
    assert!(many.time < 20 * few.time, "{few:?}, {many:?}");
}

#[test]
fn ten_thousand_tools_come_and_go_at_ten_times_the_cost_of_a_thousand() {
    assert_linear(|limit| builder().0.tool_limit(limit).build().unwrap());
}

#[test]
fn tools_come_and_go_where_the_pump_never_publishes() {
    assert_linear(|limit| {
        let builder = Registry::builder().pump(Pump::manual()).tool_limit(limit);
        let never = builder.publish_every(Duration::MAX).build().unwrap();
        never.pump();
        never
    });
}

#[test]
fn tools_come_and_go_where_the_pump_was_shut_down() {
    assert_linear(|limit| {
        let registry = builder().0.tool_limit(limit).build().unwrap();
        registry.shutdown();
        registry
    });
}

#[test]
fn tools_come_and_go_at_the_same_cost_with_a_background_pump() {
    assert_linear(|limit| {
        let builder = Registry::builder().tool_limit(limit);
        builder.publish_every(Duration::MAX).build().unwrap()
    });
}

/// One tool is called all the time while ten thousand others are freed.
#[test]
fn a_subscriber_loses_no_event_while_ten_thousand_tools_are_freed() {
    const CALLS: u64 = 60_000;
    let registry = Registry::builder()
        .ring_capacity(1 << 16)
        .tool_limit(10_001)
        // Reading ten thousand tools takes long in a build without optimisation.
        .publish_every(Duration::MAX)
        .build()
        .unwrap();
    let busy = registry.register("busy").unwrap();
    let others = registry.register_all(names(10_000)).unwrap();
    for tool in &others {
        tool.start().fail(ErrorKind::Other, "once");
    }
    let events = registry.subscribe();
    let stats = events.stats_handle();
    let id = busy.id();
    let listener = thread::spawn(move || {
        let of_busy = |event: &&toolmeter::Event| event.tool() == id;
        let batches = events.iter();
        batches
            .map(|batch| batch.iter().filter(of_busy).count() as u64)
            .sum::<u64>()
    });
    drop(others);
    let names: Vec<_> = names(10_000).collect();
    let (gone, are_gone) = mpsc::channel();
    let frees = {
        let registry = registry.clone();
        thread::spawn(move || {
            for name in &names {
                registry.deregister(name).unwrap();
            }
            gone.send(()).unwrap();
        })
    };
    let began = Instant::now();
    for call in 0..CALLS {
        busy.start().succeed();
        // 100 calls each millisecond, so that a pump that stops for a third of a second loses
        // events, and one that does not stop loses none.
        let due = Duration::from_micros(10 * call);
        while call % 100 == 0 && began.elapsed() < due {
            thread::yield_now();
        }
    }
    are_gone.recv().unwrap();
    frees.join().unwrap();
    registry.shutdown();
    assert_eq!(listener.join().unwrap(), 2 * CALLS);
    assert_eq!(registry.event_accounting().lost_in_rings, 0);
    let stats = stats.read();
    assert_eq!(stats.lost, 0, "{stats:?}");
}

// ---------------------------------------------------------------------------------------------
// The end of a registry.

/// Calls a tool by name, which must be ready at the first poll.
fn invoke(registry: &Registry, name: &str) -> serde_json::Value {
    at_once(registry.invoke(name, json!({}))).unwrap()
}

#[test]
fn a_registry_ends_with_its_last_owner_whatever_its_tools_hold() {
    for pump in [Pump::background(), Pump::manual()] {
        let registry = Registry::builder().pump(pump).build().unwrap();
        let events = registry.subscribe();
        let weak = registry.downgrade();
        let in_tool = weak.clone();
        let by_weak = sync_tool("weak", move |_| {
            let registry = in_tool.upgrade().unwrap();
            Ok(registry.metrics().tools.len().into())
        });
        let by_call = sync_tool("call", |call| {
            let registry = call.registry().unwrap();
            Ok(registry.metrics().tools.len().into())
        });
        let handle = registry.register_tool(by_weak).unwrap();
        registry.register_tool(by_call).unwrap();
        assert_eq!(invoke(&registry, "weak"), json!(2));
        assert_eq!(invoke(&registry, "call"), json!(2));
        let other = registry.clone();
        drop(registry);
        assert!(weak.upgrade().is_some());
        drop(other);
        assert!(weak.upgrade().is_none());
        // The remaining handle still counts. The subscription receives its events and ends.
        handle.start().succeed();
        let heard: usize = events.iter().map(|batch| batch.len()).sum();
        assert_eq!(heard, 4);
        assert!(events.recv().is_err());
    }
}

/// A tool that holds the registry while its call runs is an owner for that long.
#[test]
fn a_call_that_holds_its_registry_holds_it_no_longer_than_it_runs() {
    let (registry, _) = registry();
    let events = registry.subscribe();
    let weak = registry.downgrade();
    let hangs = async_tool("hangs", |call| async move {
        let _owned = call.registry();
        std::future::pending().await
    });
    registry.register_tool(hangs).unwrap();
    let other = registry.clone();
    let mut call = Box::pin(async move { other.invoke("hangs", json!({})).await });
    let mut context = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    drop(registry);
    assert!(weak.upgrade().is_some());
    drop(call);
    assert!(weak.upgrade().is_none());
    let heard: usize = events.iter().map(|batch| batch.len()).sum();
    assert_eq!(heard, 2);
}

/// A tool owns its registry, which ends when the tool is gone.
#[test]
fn a_tool_that_owns_its_registry_keeps_it_until_it_is_gone() {
    let registry = Registry::new();
    let events = registry.subscribe();
    let weak = registry.downgrade();
    let owned = registry.clone();
    let tool = sync_tool("tool", move |_| Ok(owned.instance_id().into()));
    let handle = registry.register_tool(tool).unwrap();
    let call = handle.start_owned();
    registry.deregister("tool").unwrap();
    drop((registry, handle));
    assert!(weak.upgrade().is_some(), "the tool owns it");
    call.succeed();
    while events.recv().is_ok() {}
    assert!(weak.upgrade().is_none());
}

// ---------------------------------------------------------------------------------------------
// Events about tools and registries.

/// With nothing to do, the pump sleeps for up to a second.
#[test]
fn a_shutdown_wakes_a_pump_that_sleeps() {
    let mut waited = Duration::ZERO;
    for _ in 0..8 {
        let registry = Registry::new();
        // It sleeps once it has published for the first time.
        while registry.published().uptime.is_zero() {
            thread::yield_now();
        }
        let began = Instant::now();
        registry.shutdown();
        waited += began.elapsed();
    }
    assert!(waited < Duration::from_secs(4), "{waited:?}");
}

#[test]
fn threads_that_register_a_tool_at_once_get_the_same() {
    let (registry, _) = registry();
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for name in names(100) {
                    barrier.wait();
                    let tool = registry.get_or_register(name).unwrap();
                    tool.start().succeed();
                }
            });
        }
    });
    let metrics = registry.metrics();
    assert_eq!(metrics.tools.len(), 100);
    assert!(metrics.tools.values().all(|stats| stats.success() == 4));
}

#[test]
fn get_or_register_continues_what_is_gone_and_refuses_what_is_no_name() {
    let (registry, _) = registry();
    let first = registry.get_or_register("tool").unwrap();
    assert_eq!(registry.get_or_register("tool").unwrap().id(), first.id());
    first.start().succeed();
    let id = first.id();
    registry.deregister("tool").unwrap();
    drop(first);
    registry.pump();
    let again = registry.get_or_register("tool").unwrap();
    assert_eq!(again.id(), id);
    assert_eq!(registry.metrics().tools["tool"].success(), 1);
    let refused = registry.get_or_register("");
    assert!(matches!(
        refused,
        Err(RegisterError::Name(NameError::Empty))
    ));
}

#[test]
fn names_have_up_to_256_bytes() {
    let (registry, _) = registry();
    // The longest name that MCP allows, after a server's name.
    let tool = "t".repeat(128);
    let name = format!("mcp__{}__{tool}", "s".repeat(128 - 7));
    assert_eq!(name.len(), 256);
    registry.register(name.clone()).unwrap().start().succeed();
    assert_eq!(registry.metrics().tools[&*name].success(), 1);
    let too_long = registry.register(format!("{name}x"));
    let Err(RegisterError::Name(NameError::TooLong { bytes, .. })) = too_long else {
        panic!("{too_long:?}");
    };
    assert_eq!(bytes, 257);
    let multi_byte = "検".repeat(85);
    assert!(registry.register(multi_byte).is_ok());
    assert!(registry.register("検".repeat(86)).is_err());
}

#[test]
fn a_name_from_outside_becomes_a_valid_one() {
    let (registry, _) = registry();
    for name in [
        "",
        "   ",
        "\u{7}",
        "a\nb",
        "\u{200b}",
        "\u{202e}reversed",
        "\0",
        "e\u{301}",
        &"x".repeat(10_000),
        &"検".repeat(1_000),
        &"\u{7}".repeat(1_000),
    ] {
        let spec = ToolSpec::lossy(name);
        assert_eq!(spec.check(), Ok(()), "{name:?}");
        assert!(spec.name().len() <= 256);
        // A valid name stays as it is.
        assert_eq!(ToolSpec::lossy(spec.name()), spec);
        registry.get_or_register(spec).unwrap().start().succeed();
    }
    assert_eq!(ToolSpec::lossy("web_search").name(), "web_search");
    assert_eq!(all_calls(&registry.metrics()), 11);
}

#[test]
fn calls_of_unknown_tools_are_counted_by_hosts_and_by_invoke() {
    let (registry, _) = registry();
    registry.unknown_call("teleport").count();
    let call = pin!(registry.invoke("nothing", json!({})).into_future());
    let polled = call.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(_))));
    let mut cursor = registry.intervals();
    assert_eq!(registry.metrics().unknown_tool_calls, 2);
    assert_eq!(registry.reset_metrics().unknown_tool_calls, 2);
    registry.unknown_call("teleport").count();
    assert_eq!(registry.metrics().unknown_tool_calls, 1);
    assert_eq!(registry.totals().unknown_tool_calls, 3);
    assert_eq!(cursor.read().unknown_tool_calls, 1);
    registry.publish();
    assert_eq!(registry.published().unknown_tool_calls, 1);
}

#[test]
fn each_start_of_a_registry_has_an_id_of_its_own() {
    let ((one, _), (other, _)) = (registry(), registry());
    assert_ne!(one.instance_id(), other.instance_id());
    assert_eq!(one.instance_id(), one.clone().instance_id());
    assert_eq!(one.instance_id().len(), 32);
    assert!(
        one.instance_id()
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
    );
}

#[test]
fn a_registry_tells_when_it_started_and_a_tool_when_it_was_first_registered() {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let (builder, clock) = builder();
    let ticks = Arc::clone(&clock);
    let now = move || started + Duration::from_nanos(toolmeter::Clock::now_ns(&*ticks));
    let registry = builder.wall_clock(now).build().unwrap();
    let second = Duration::from_secs(1);
    clock.advance(second);
    let tool = registry.register("tool").unwrap();
    tool.start().succeed();
    clock.advance(second);
    registry.register("later").unwrap();
    let at = |snapshot: &Snapshot, name: &str| snapshot.tools[name].registered_at;
    for snapshot in [
        registry.metrics(),
        registry.totals(),
        registry.reset_metrics(),
    ] {
        assert_eq!(snapshot.started_at, started);
        assert_eq!(snapshot.taken_at, started + 2 * second);
        assert_eq!(at(&snapshot, "tool"), started + second);
        assert_eq!(at(&snapshot, "later"), started + 2 * second);
    }
    assert_eq!(registry.started_at(), started);

    // It is the same tool when it comes back, as its counts are.
    registry.deregister("tool").unwrap();
    drop(tool);
    registry.pump();
    clock.advance(second);
    registry.register("tool").unwrap();
    assert_eq!(at(&registry.totals(), "tool"), started + second);
    registry.publish();
    assert_eq!(at(&registry.published(), "tool"), started + second);
}
