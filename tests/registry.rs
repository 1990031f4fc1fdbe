//! Tools come and go: names, limits, retirement, revival, and the reuse of memory.
//!
//! A retired tool is freed only after everybody who reads has read it to its end; the tests
//! turn the pump by hand to see each step.
#![cfg(not(toolmeter_loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use toolmeter::{
    BuildError, ClockSource, ErrorKind, EventKind, Filter, HubError, ManualClock, NameError, Pump,
    RegisterError, Registry, RegistryBuilder, ToolHandle, ToolSpec, TryRecvError,
};

/// More rounds than it takes to free a tool that nobody holds.
const ROUNDS: usize = 6;

struct Host {
    registry: Registry,
    clock: Arc<ManualClock>,
}

impl Host {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(set_up: impl FnOnce(RegistryBuilder) -> RegistryBuilder) -> Self {
        let clock = Arc::new(ManualClock::new());
        let builder = Registry::builder()
            .clock(ClockSource::Manual(Arc::clone(&clock)))
            .pump(Pump::manual())
            .stripes(2);
        let registry = set_up(builder).build().unwrap();
        Self { registry, clock }
    }

    fn register(&self, name: &'static str) -> ToolHandle {
        self.registry.register(ToolSpec::new(name)).unwrap()
    }

    /// Rounds of the pump that each publish.
    fn rounds(&self) {
        for _ in 0..ROUNDS {
            self.clock.advance(Duration::from_secs(1));
            self.registry.pump();
        }
    }

    fn sees(&self, name: &str) -> bool {
        self.registry.metrics().tool(name).is_some()
    }

    fn success(&self, name: &str) -> u64 {
        self.registry.metrics().tools[name].success()
    }
}

#[test]
fn names_are_short_and_visible() {
    let host = Host::new();
    for name in ["a", "mcp__linear-server__create", "Suche im Netz", "検索"] {
        assert_eq!(host.register(name).name(), name);
        assert_eq!(host.registry.get(name).unwrap().name(), name);
    }
    let refused = |name: String| host.registry.register(ToolSpec::new(name)).unwrap_err();
    assert_eq!(refused(String::new()), NameError::Empty.into());
    let too_long = refused("x".repeat(129));
    assert!(matches!(
        too_long,
        RegisterError::Name(NameError::TooLong { bytes: 129, .. })
    ));
    let hidden = refused("web\u{202e}search".into());
    assert!(hidden.to_string().contains("U+202E"));
    assert!(!hidden.to_string().contains('\u{202e}'));
    host.registry
        .register(ToolSpec::new("x".repeat(128)))
        .unwrap();
    assert_eq!(host.registry.metrics().tools.len(), 5);
}

#[test]
fn a_duplicate_says_so_and_changes_nothing() {
    let host = Host::new();
    host.register("shell").start().succeed();
    let error = host.registry.register(ToolSpec::new("shell")).unwrap_err();
    assert!(matches!(&error, RegisterError::Duplicate { name } if name == "shell"));
    assert!(error.to_string().contains("`shell`"));
    assert_eq!(host.success("shell"), 1);
}

#[test]
fn register_all_is_all_or_nothing() {
    let host = Host::new();
    host.register("taken");
    let register = |names: [&'static str; 3]| {
        let handles = host.registry.register_all(names.map(ToolSpec::new));
        handles.map(|handles| handles.iter().map(|h| h.id().get()).collect::<Vec<_>>())
    };
    let errors = [
        register(["a", "b", "taken"]),
        register(["a", "b", "a"]),
        register(["a", "", "b"]),
    ];
    assert!(matches!(&errors[0], Err(RegisterError::Duplicate { name }) if name == "taken"));
    assert!(matches!(&errors[1], Err(RegisterError::Duplicate { name }) if name == "a"));
    assert!(matches!(&errors[2], Err(RegisterError::Name(_))));
    assert_eq!(host.registry.metrics().tools.len(), 1);
    assert!(host.registry.get("a").is_none());
    let ids = register(["a", "b", "c"]).unwrap();
    let mut distinct = ids.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "in the order of the specs: {ids:?}");
    assert!(host.registry.register_all([]).unwrap().is_empty());
}

#[test]
fn ten_thousand_tools_work_and_one_more_is_an_error() {
    let host = Host::new();
    let tool = |n: usize| ToolSpec::new(format!("tool_{n}"));
    let handles = host.registry.register_all((0..10_000).map(tool)).unwrap();
    for n in [0, 64, 9_999] {
        handles[n].start().succeed();
        let found = host.registry.get(&format!("tool_{n}")).unwrap();
        assert_eq!(found.id(), handles[n].id());
    }
    let error = host.registry.register(tool(10_000)).unwrap_err();
    assert!(matches!(
        &error,
        RegisterError::TooManyTools { name, limit: 10_000 } if name == "tool_10000"
    ));
    assert!(error.to_string().contains("10000"));
    assert!(host.registry.get("tool_10000").is_none());
    let metrics = host.registry.metrics();
    assert_eq!(metrics.tools.len(), 10_000);
    assert_eq!(metrics.totals().unwrap().success(), 3);
}

#[test]
fn a_list_that_goes_over_the_limit_registers_none_of_it() {
    let host = Host::with(|builder| builder.tool_limit(3));
    let first = host.register("first");
    let tools = ["a", "b", "c"].map(ToolSpec::new);
    let error = host.registry.register_all(tools.clone()).unwrap_err();
    assert!(matches!(error, RegisterError::TooManyTools { name, limit: 3 } if name == "c"));
    assert_eq!(host.registry.metrics().tools.len(), 1);

    // A retired tool counts until it is freed; one that is revived counts once.
    host.registry.deregister("first").unwrap();
    assert!(host.registry.register_all(tools.clone()).is_err());
    let revived = ["a", "b", "first"].map(ToolSpec::new);
    host.registry.register_all(revived).unwrap();
    for name in ["a", "b", "first"] {
        host.registry.deregister(name).unwrap();
    }
    drop(first);
    host.rounds();
    host.registry.register_all(tools).unwrap();
}

#[test]
fn what_is_out_of_range_names_the_range() {
    let refused = |set: fn(RegistryBuilder) -> RegistryBuilder, range: &str| {
        let builder = Registry::builder().pump(Pump::manual());
        let error = set(builder).build().unwrap_err();
        assert!(error.to_string().contains(range), "{error}");
        error
    };
    let precision = refused(|builder| builder.precision(2), "3 to 7");
    assert!(matches!(precision, BuildError::Precision { given: 2 }));
    refused(|builder| builder.precision(8), "3 to 7");
    let stripes = refused(|builder| builder.stripes(3), "1 to 256");
    assert!(matches!(stripes, BuildError::Stripes { given: 3 }));
    refused(|builder| builder.stripes(0), "1 to 256");
    refused(|builder| builder.stripes(512), "1 to 256");
    let limit = refused(|builder| builder.tool_limit(0), "1 to 1,000,000");
    assert!(matches!(limit, BuildError::ToolLimit { given: 0 }));
    refused(|builder| builder.tool_limit(1_000_001), "1 to 1,000,000");
    refused(|builder| builder.ring_capacity(0), "1 to 1,048,576");
    refused(
        |builder| builder.ring_capacity(usize::MAX),
        "1 to 1,048,576",
    );
    refused(|builder| builder.queue_capacity(0), "1 to 65,536");
    refused(|builder| builder.batch_size(65_537), "1 to 65,536");
    let error = Host::new().registry.subscribe_with(Filter::new(), Some(0));
    assert_eq!(error.unwrap_err(), HubError::QueueCapacity { given: 0 });
}

#[test]
fn deregistering_frees_the_name_and_a_held_handle_goes_on_counting() {
    let host = Host::new();
    let shell = host.register("shell");
    let running = shell.start();
    host.registry.deregister("shell").unwrap();
    assert!(host.registry.get("shell").is_none());
    let error = host.registry.deregister("shell").unwrap_err();
    assert_eq!(error.name, "shell");
    let error = host.registry.deregister("\u{1b}[2J").unwrap_err();
    assert_eq!(error.name, "\\u{1b}[2J");

    running.succeed();
    host.rounds();
    shell.start().succeed();
    let metrics = host.registry.metrics();
    assert!(metrics.tools["shell"].retired);
    assert_eq!(metrics.tools["shell"].success(), 2);
    drop(shell);
    host.rounds();
    assert!(!host.sees("shell"));
    assert!(host.registry.published().tool("shell").is_none());
}

#[test]
fn a_retired_tool_stays_until_the_cursor_has_read_it() {
    let host = Host::new();
    let shell = host.register("shell");
    let mut cursor = host.registry.intervals();
    let dropped = host.registry.intervals();
    shell.start().succeed();
    host.registry.deregister("shell").unwrap();
    drop(shell);
    host.rounds();
    assert!(host.sees("shell"), "no cursor has read it");
    assert_eq!(cursor.read().tools["shell"].success(), 1);
    host.rounds();
    assert!(host.sees("shell"), "the other cursor has not read it");
    drop(dropped);
    assert_eq!(cursor.read().tools["shell"].success(), 0);
    host.rounds();
    assert!(!host.sees("shell"));
    assert!(cursor.read().tool("shell").is_none());
}

#[test]
fn a_retired_tool_stays_until_its_last_calls_were_published() {
    let host = Host::new();
    let shell = host.register("shell");
    host.registry.pump();
    shell.start().succeed();
    host.registry.deregister("shell").unwrap();
    drop(shell);
    for _ in 0..ROUNDS {
        // The clock stands still, so no snapshot is due.
        host.registry.pump();
    }
    assert!(host.sees("shell"), "nothing was published");
    assert_eq!(host.registry.published().tools["shell"].success(), 0);
    host.registry.publish();
    let published = host.registry.published().into_arc();
    assert_eq!(published.tools["shell"].success(), 1);
    assert!(published.tools["shell"].retired);
    host.rounds();
    assert!(!host.sees("shell"));
}

#[test]
fn registering_again_revives_the_slot_with_a_fresh_baseline() {
    let host = Host::new();
    let first = host.register("shell");
    let mut cursor = host.registry.intervals();
    first.start().succeed();
    let running = first.start();
    host.registry.deregister("shell").unwrap();
    let second = host.register("shell");
    assert_eq!(second.id(), first.id());
    let metrics = host.registry.metrics();
    let stats = &metrics.tools["shell"];
    assert_eq!((stats.success(), stats.in_flight), (0, 1));
    assert!(!stats.retired);

    running.succeed();
    first.start().succeed();
    second.start().succeed();
    assert_eq!(host.success("shell"), 3);
    let interval = cursor.read();
    assert_eq!(interval.tools["shell"].success(), 4, "cursors lose nothing");
    drop((first, second));
    host.rounds();
    assert!(host.sees("shell"), "it is registered");
}

#[test]
fn ids_are_never_reused_and_reused_memory_counts_from_zero() {
    let host = Host::new();
    let mut ids = Vec::new();
    for round in 0..4 {
        let shell = host.register("shell");
        ids.push(shell.id());
        let stats = Arc::clone(&host.registry.metrics().tools["shell"]);
        assert_eq!((stats.finished(), stats.in_flight), (0, 0), "{round}");
        assert_eq!((stats.retried, stats.recovered), (0, 0));
        assert!(stats.failures_by_kind.is_empty() && stats.last_error.is_none());
        assert_eq!((stats.last_finish, stats.retired), (None, false));

        shell.start().succeed();
        shell.start().fail(ErrorKind::Timeout, "too late");
        drop(shell.start());
        // Its end is never counted, not even as another tool's.
        std::mem::forget(shell.start());
        let stats = Arc::clone(&host.registry.metrics().tools["shell"]);
        assert_eq!((stats.finished(), stats.in_flight), (3, 1));
        host.registry.deregister("shell").unwrap();
        drop(shell);
        host.rounds();
        assert!(!host.sees("shell"));
    }
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "{ids:?}");
}

#[test]
fn look_ups_wait_for_nobody_and_miss_nothing() {
    const TOOLS: usize = 300;
    let host = Host::new();
    let registry = &host.registry;
    let stable = host.register("stable");
    let registered = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let looked_up = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    assert_eq!(registry.get("stable").unwrap().id(), stable.id());
                    let registered = registered.load(Ordering::Acquire);
                    if let Some(last) = registered.checked_sub(1) {
                        assert!(registry.get(&format!("tool_{last}")).is_some());
                    }
                    looked_up.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in 0..TOOLS {
            let name = format!("tool_{n}");
            let handle = registry.register(ToolSpec::new(name.clone())).unwrap();
            registered.store(n + 1, Ordering::Release);
            handle.start().succeed();
            let churn = registry.register(ToolSpec::new("churn")).unwrap();
            registry.deregister("churn").unwrap();
            drop(churn);
            registry.pump();
        }
        while looked_up.load(Ordering::Relaxed) < 100 {
            std::hint::spin_loop();
        }
        done.store(true, Ordering::Release);
    });
    let metrics = registry.metrics();
    let tools = metrics.tools.iter();
    let counted = tools.filter(|(name, _)| name.starts_with("tool_"));
    assert_eq!(counted.map(|(_, stats)| stats.success()).sum::<u64>(), 300);
}

#[test]
fn what_is_left_of_a_dropped_registry_goes_on() {
    let Host { registry, .. } = Host::new();
    let shell = registry.register(ToolSpec::new("shell")).unwrap();
    let events = registry.subscribe();
    let mut cursor = registry.intervals();
    shell.start().succeed();
    let running = shell.start_owned();

    let owner = registry.clone();
    drop(registry);
    assert_eq!(events.try_recv().unwrap_err(), TryRecvError::Empty);
    drop(owner);
    let kinds: Vec<_> = events
        .iter()
        .flat_map(|batch| batch.iter().map(toolmeter::Event::kind).collect::<Vec<_>>())
        .collect();
    use EventKind::{Started, Succeeded};
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == Started).count(), 2);
    assert_eq!(kinds.iter().filter(|kind| **kind == Succeeded).count(), 1);
    assert_eq!(events.try_recv().unwrap_err(), TryRecvError::Disconnected);

    let interval = cursor.read();
    let stats = &interval.tools["shell"];
    assert_eq!((stats.success(), stats.in_flight), (1, 1));
    running.succeed();
    shell.start().succeed();
    let interval = cursor.read();
    let stats = &interval.tools["shell"];
    assert_eq!((stats.success(), stats.in_flight), (2, 0));
}
