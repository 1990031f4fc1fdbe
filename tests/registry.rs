//! Tools that come and go: their names, limits and counts.
//!
//! For each name, the sum of what `metrics` shows and of what the resets returned is the number of
//! all calls, however often the name was registered and deregistered. The pump is manual, so tools
//! depart only when a test pumps, or while others are registered.
#![cfg(not(toolmeter_loom))]

mod common;

use common::builder;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use toolmeter::{
    BuildError, ErrorKind, EventKind, Filter, ManualClock, NameError, Pump, RegisterError,
    Registry, RegistryBuilder, StripesError, SubscribeError, ToolHandle, ToolId, ToolSpec,
    ToolStats, TryRecvError,
};

/// More rounds than a tool that no thread holds takes to depart and to free its memory.
const ROUNDS: usize = 3;

struct Host {
    registry: Registry,
    clock: Arc<ManualClock>,
}

impl Host {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(set_up: impl FnOnce(RegistryBuilder) -> RegistryBuilder) -> Self {
        let (builder, clock) = builder();
        let registry = set_up(builder).build().unwrap();
        Self { registry, clock }
    }

    fn register(&self, name: &'static str) -> ToolHandle {
        self.registry.register(ToolSpec::new(name)).unwrap()
    }

    /// Runs rounds of the pump that each publish.
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

    /// Returns all successes ever counted under the name, by `totals`.
    fn ever(&self, name: &str) -> u64 {
        self.registry.totals().tools[name].success()
    }

    /// Registers the tool, calls it `calls` times, and deregisters it. No handle is left.
    fn comes_and_goes(&self, name: &'static str, calls: u64) -> ToolId {
        let tool = self.register(name);
        for _ in 0..calls {
            tool.start().succeed();
        }
        self.registry.deregister(name).unwrap();
        tool.id()
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
    let too_long = refused("x".repeat(257));
    assert!(matches!(
        too_long,
        RegisterError::Name(NameError::TooLong { bytes: 257, .. })
    ));
    let hidden = refused("web\u{202e}search".into());
    assert!(hidden.to_string().contains("U+202E"));
    assert!(!hidden.to_string().contains('\u{202e}'));
    host.registry.register("x".repeat(256)).unwrap();
    assert_eq!(host.registry.metrics().tools.len(), 5);
}

#[test]
fn names_from_outside_are_made_valid_and_found_again() {
    let host = Host::new();
    let get = |name: &str| host.registry.get_or_register(ToolSpec::lossy(name));
    let long = "x".repeat(1_000);
    let names = ["list", "web\u{202e}search", "", "  ", &*long];
    let ids = names.map(|name| get(name).unwrap().id());
    for (name, id) in names.into_iter().zip(ids) {
        assert_eq!(get(name).unwrap().id(), id, "{name}");
    }
    assert_eq!(ids[2], ids[3], "nothing is to be seen of either");
    assert_eq!(get("list").unwrap().name(), "list");
    assert!(get(&long).unwrap().name().ends_with('…'));
    assert_eq!(host.registry.metrics().tools.len(), 4);
    let refused = host.registry.get_or_register("");
    assert_eq!(refused.unwrap_err(), NameError::Empty.into());
}

#[test]
fn a_duplicate_says_so_and_changes_nothing() {
    let host = Host::new();
    host.register("shell").start().succeed();
    let error = host.registry.register("shell").unwrap_err();
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
    let none: [&str; 0] = [];
    assert!(host.registry.register_all(none).unwrap().is_empty());
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

    // A retired tool counts until it departs; one that is registered again counts once.
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
    assert!(matches!(
        stripes,
        BuildError::Stripes(StripesError { given: 3, .. })
    ));
    refused(|builder| builder.stripes(0), "1 to 256");
    refused(|builder| builder.stripes(512), "1 to 256");
    let limit = refused(|builder| builder.tool_limit(0), "1 to 1,000,000");
    assert!(matches!(limit, BuildError::ToolLimit { given: 0 }));
    refused(|builder| builder.tool_limit(1_000_001), "1 to 1,000,000");
    let ring = refused(|builder| builder.ring_capacity(0), "1 to 1,048,576");
    assert!(matches!(ring, BuildError::RingCapacity { given: 0 }));
    refused(
        |builder| builder.ring_capacity(usize::MAX),
        "1 to 1,048,576",
    );
    let queue = refused(|builder| builder.queue_capacity(0), "1 to 65,536");
    assert!(matches!(queue, BuildError::QueueCapacity { given: 0 }));
    let batch = refused(|builder| builder.batch_size(65_537), "1 to 65,536");
    assert!(matches!(batch, BuildError::BatchSize { given: 65_537 }));
    let message = refused(|builder| builder.max_message_bytes(63), "64 to 4,096");
    assert!(matches!(message, BuildError::MessageBytes { given: 63 }));
    refused(|builder| builder.max_message_bytes(4_097), "64 to 4,096");
    for capacity in [0, 65_537] {
        let error = Host::new()
            .registry
            .subscribe_with(Filter::new(), Some(capacity))
            .unwrap_err();
        assert!(matches!(error, SubscribeError::QueueCapacity { given } if given == capacity));
        assert!(error.to_string().contains("1 to 65,536"), "{error}");
    }
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
    assert!(host.registry.metrics().tools["shell"].retired);
    assert_eq!(host.success("shell"), 2, "gone, and its counts are not");
    assert_eq!(host.registry.published().tools["shell"].success(), 2);
}

#[test]
fn a_tool_on_loan_is_the_tool_that_is_registered() {
    let host = Host::new();
    let handle = host.register("shell");
    let shell = host.registry.tool("shell").unwrap();
    assert_eq!((shell.name(), shell.id()), ("shell", handle.id()));
    shell.run(|| Ok::<_, String>(())).unwrap();
    shell.set_enabled(false);
    assert!(!handle.is_enabled());
    for unknown in ["", "shel", "shell ", "Shell"] {
        assert!(host.registry.tool(unknown).is_none(), "{unknown:?}");
    }
    assert_eq!(host.success("shell"), 1);
    assert_eq!(host.registry.metrics().unknown_tool_calls, 0);
}

/// A loan is treated like a handle: none of its counts is lost, and the tool departs after it.
#[test]
fn a_tool_on_loan_goes_on_counting_when_its_name_is_free() {
    let host = Host::new();
    drop(host.register("shell"));
    let lent = host.registry.tool("shell").unwrap();
    let call = lent.start();
    host.registry.deregister("shell").unwrap();
    assert!(host.registry.tool("shell").is_none());
    host.rounds();
    host.register("shell").start().succeed();
    call.succeed();
    let kept = lent.to_handle();
    drop(lent);
    kept.start().succeed();
    assert_eq!(host.success("shell"), 3);
    drop(kept);
    host.registry.deregister("shell").unwrap();
    host.rounds();
    assert_eq!(host.success("shell"), 3, "gone, and its counts are not");
}

/// There are more loans on one thread than it can record in its own memory.
#[test]
fn any_number_of_tools_can_be_on_loan_at_once() {
    let host = Host::new();
    let names = (0..100).map(|n| ToolSpec::new(format!("tool_{n}")));
    let handles = host.registry.register_all(names).unwrap();
    let lent: Vec<_> = handles
        .iter()
        .map(|handle| host.registry.tool(handle.name()).unwrap())
        .collect();
    for (lent, handle) in lent.iter().zip(&handles) {
        assert_eq!(lent.id(), handle.id());
        lent.start().succeed();
    }
    let metrics = host.registry.metrics();
    assert!(metrics.tools.values().all(|stats| stats.success() == 1));
}

/// All counts of a tool are the same before and after it departs.
#[test]
fn a_departed_tool_shows_all_that_it_counted() {
    let host = Host::new();
    let shell = host.register("shell");
    host.clock.advance(Duration::from_secs(1));
    for attempt in 1..=2 {
        let call = shell.call().attempt(attempt).start();
        host.clock.advance(Duration::from_millis(3));
        call.succeed();
    }
    shell.start().fail(ErrorKind::Timeout, "killed after 30 s");
    drop(shell.start());
    shell.call().reject("denied");
    let before = host.registry.metrics();
    host.registry.deregister("shell").unwrap();
    let retired = host.registry.metrics();
    drop(shell);
    host.rounds();
    let departed = host.registry.metrics();
    assert!(!before.tools["shell"].retired);
    assert!(retired.tools["shell"].retired);
    assert_eq!(departed.tools["shell"], retired.tools["shell"]);
    assert_eq!(
        departed.tools["shell"].latency,
        before.tools["shell"].latency
    );
    let stats = &departed.tools["shell"];
    assert_eq!((stats.finished(), stats.rejected), (4, 1));
    assert_eq!((stats.retried, stats.recovered), (1, 1));
    let error = stats.last_error.as_ref().unwrap();
    assert_eq!(error.message.as_deref(), Some("killed after 30 s"));
    assert_eq!(stats.registered_at, before.started_at);
    assert_eq!(host.registry.published().tools["shell"], *stats);
    assert_eq!(host.registry.totals().tools["shell"], *stats);
}

/// A departed tool is shown until a reset has handed its counts back; `totals` always shows it.
#[test]
fn a_reset_hands_back_what_a_departed_tool_counted() {
    let host = Host::new();
    host.comes_and_goes("shell", 3);
    host.comes_and_goes("unused", 0);
    host.rounds();
    assert_eq!(host.success("shell"), 3);
    assert!(!host.sees("unused"), "there is nothing to show of it");
    let cleared = host.registry.reset_metrics();
    assert_eq!(cleared.tools["shell"].success(), 3);
    assert!(cleared.tools["shell"].retired);
    assert!(!host.sees("shell"));
    assert!(host.registry.reset_metrics().tools.is_empty());
    host.rounds();
    assert!(host.registry.published().tools.is_empty());
    assert_eq!(host.ever("shell"), 3);

    // After a reset before its departure, nothing is new when it departs.
    let shell = host.register("shell");
    shell.start().succeed();
    host.registry.deregister("shell").unwrap();
    assert_eq!(host.registry.reset_metrics().tools["shell"].success(), 1);
    drop(shell);
    host.rounds();
    assert!(!host.sees("shell"));
    assert_eq!(host.ever("shell"), 4);
}

/// A call that was in flight across the reset, and the departure, is handed back by the next.
#[test]
fn what_ends_after_a_reset_is_shown_when_the_tool_has_departed() {
    let host = Host::new();
    let shell = host.register("shell");
    shell.start().succeed();
    let running = shell.start_owned();
    host.registry.deregister("shell").unwrap();
    drop(shell);
    assert_eq!(host.registry.reset_metrics().tools["shell"].success(), 1);
    host.rounds();
    let metrics = host.registry.metrics();
    let stats = &metrics.tools["shell"];
    assert_eq!(
        (stats.success(), stats.in_flight, stats.retired),
        (0, 1, true),
        "its call holds a handle"
    );
    running.fail(ErrorKind::Network, "reset");
    host.rounds();
    let cleared = host.registry.reset_metrics();
    assert_eq!(cleared.tools["shell"].failure(), 1);
    assert!(!host.sees("shell"));
    assert_eq!(host.registry.totals().tools["shell"].finished(), 2);
}

#[test]
fn a_cursor_reads_a_departed_tool_however_late_and_holds_nothing_up() {
    let host = Host::new();
    let shell = host.register("shell");
    let mut cursor = host.registry.intervals();
    let never_read = host.registry.intervals();
    shell.start().succeed();
    host.registry.deregister("shell").unwrap();
    drop(shell);
    host.rounds();
    host.comes_and_goes("shell", 2);
    host.rounds();
    host.registry.reset_metrics();
    let interval = cursor.read();
    assert_eq!(interval.tools["shell"].success(), 3);
    assert!(interval.tools["shell"].retired);
    assert!(cursor.read().tools.is_empty(), "nothing of it is new");
    host.comes_and_goes("shell", 1);
    assert_eq!(cursor.read().tools["shell"].success(), 1);
    host.rounds();
    assert!(cursor.read().tools.is_empty(), "departing is nothing new");
    drop(never_read);
}

#[test]
fn registering_again_continues_the_counts_while_the_tool_is_held() {
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
    assert_eq!((stats.success(), stats.in_flight), (1, 1));
    assert!(!stats.retired);

    running.succeed();
    first.start().succeed();
    second.start().succeed();
    assert_eq!(host.success("shell"), 4);
    let interval = cursor.read();
    assert_eq!(interval.tools["shell"].success(), 4, "cursors lose nothing");
    drop((first, second));
    host.rounds();
    assert!(!host.registry.metrics().tools["shell"].retired);
}

/// A disabled tool is deregistered and its name registered again, while a handle of the first is
/// left, and after that.
#[test]
fn a_tool_that_is_registered_again_is_enabled_whether_or_not_it_departed() {
    let host = Host::new();
    let mut held = Vec::new();
    for departs in [false, true] {
        let shell = host.register("shell");
        assert!(shell.is_enabled());
        shell.set_enabled(false);
        assert!(!shell.is_enabled());
        host.registry.deregister("shell").unwrap();
        held.push(shell);
        if departs {
            held.clear();
            host.rounds();
        }
        let again = host.register("shell");
        assert!(again.is_enabled(), "departed: {departs}");
        host.registry.deregister("shell").unwrap();
    }
}

#[test]
fn registering_again_continues_the_counts_after_the_tool_departed() {
    let host = Host::new();
    let mut cursor = host.registry.intervals();
    let mut ids = Vec::new();
    for round in 1..=4 {
        host.clock.advance(Duration::from_secs(60));
        let shell = host.register("shell");
        ids.push(shell.id());
        let other = host.register("other");
        shell.start().succeed();
        shell.start().fail(ErrorKind::Timeout, round);
        shell.call().reject("denied");
        other.start().succeed();
        let metrics = host.registry.metrics();
        let stats = &metrics.tools["shell"];
        assert!(!stats.retired && shell.is_enabled());
        assert_eq!((stats.success(), stats.failure()), (round, round));
        assert_eq!((stats.rejected, stats.in_flight), (round, 0));
        let error = stats.last_error.as_ref().unwrap();
        assert_eq!(error.message, Some(round.to_string()));
        let first_registered = metrics.started_at + Duration::from_secs(60);
        assert_eq!(stats.registered_at, first_registered);
        assert_eq!(metrics.tools["other"].success(), round);
        let interval = cursor.read();
        assert_eq!(interval.tools["shell"].finished(), 2);
        shell.set_enabled(false);
        for name in ["shell", "other"] {
            host.registry.deregister(name).unwrap();
        }
        drop((shell, other));
        host.rounds();
        assert_eq!(host.ever("shell"), round);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

/// The text of the last error before the departure is kept after it.
#[test]
fn the_last_error_outlives_a_departure_and_a_return() {
    let host = Host::new();
    let shell = host.register("shell");
    host.clock.advance(Duration::from_secs(1));
    shell.start().fail(ErrorKind::Network, "before it went");
    host.registry.deregister("shell").unwrap();
    drop(shell);
    host.rounds();
    let shell = host.register("shell");
    shell.start().succeed();
    let metrics = host.registry.metrics();
    let error = metrics.tools["shell"].last_error.as_ref().unwrap();
    assert_eq!(error.message.as_deref(), Some("before it went"));
    assert_eq!(error.at, metrics.started_at + Duration::from_secs(1));
}

#[test]
fn reused_memory_counts_from_zero_for_another_name() {
    let host = Host::with(|builder| builder.tool_limit(8));
    let mut ids = Vec::new();
    for round in 0..4 {
        let name = ["a", "b", "c", "d"][round];
        let tool = host.register(name);
        ids.push(tool.id());
        let metrics = host.registry.metrics();
        let stats = &metrics.tools[name];
        assert_eq!((stats.finished(), stats.in_flight), (0, 0), "{round}");
        assert_eq!((stats.retried, stats.recovered), (0, 0));
        assert_eq!(stats.rejected, 0);
        assert!(stats.failures_by_kind.is_empty() && stats.last_error.is_none());
        assert_eq!((stats.last_finish, stats.retired), (None, false));

        tool.start().succeed();
        tool.start().fail(ErrorKind::Timeout, "too late");
        tool.call().reject("denied");
        drop(tool.start());
        // Its end is never counted, not even for another tool.
        std::mem::forget(tool.start());
        host.registry.deregister(name).unwrap();
        drop(tool);
        host.rounds();
        let metrics = host.registry.metrics();
        let stats = &metrics.tools[name];
        assert_eq!((stats.finished(), stats.in_flight), (3, 1));
    }
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "{ids:?}");
}

/// Beyond the limit, departed names are added up to one entry without a name, and counted.
#[test]
fn departed_names_are_bounded_and_their_counts_are_not_lost() {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let host = Host::with(|builder| builder.tool_limit(2));
    let mut cursor = host.registry.intervals();
    for (calls, name) in (1..).zip(NAMES) {
        host.comes_and_goes(name, calls);
        host.rounds();
    }
    let check = |snapshot: &toolmeter::Snapshot| {
        assert_eq!(snapshot.tools.len(), 2);
        let nameless = snapshot.nameless.as_ref().unwrap();
        assert_eq!(nameless.tools, 4);
        assert_eq!(nameless.stats.success(), 3 + 4 + 5 + 6);
        assert_eq!(snapshot.totals().unwrap().success(), 21);
    };
    check(&host.registry.metrics());
    check(&host.registry.totals());
    check(&host.registry.published());
    check(&cursor.read());
    check(&host.registry.reset_metrics());
    let metrics = host.registry.metrics();
    assert!(metrics.tools.is_empty() && metrics.nameless.is_none());
    check(&host.registry.totals());
    assert!(cursor.read().nameless.is_none());

    // A name that is no longer kept is new when it is registered again.
    host.comes_and_goes("f", 10);
    host.rounds();
    let metrics = host.registry.metrics();
    let nameless = metrics.nameless.as_ref().unwrap();
    assert_eq!((nameless.tools, nameless.stats.success()), (1, 10));
    assert_eq!(host.registry.totals().totals().unwrap().success(), 31);
}

/// A tool whose name is in a baseline loses that name. The difference is not counted twice.
#[test]
fn what_loses_its_name_after_a_reset_is_handed_back_once() {
    let host = Host::with(|builder| builder.tool_limit(1));
    host.comes_and_goes("a", 5);
    host.rounds();
    let tool = host.register("b");
    tool.start().succeed();
    let cleared = host.registry.reset_metrics();
    assert_eq!(cleared.totals().unwrap().success(), 6);
    let mut cursor = host.registry.intervals();
    tool.start().succeed();
    host.registry.deregister("b").unwrap();
    drop(tool);
    host.rounds();
    for snapshot in [host.registry.metrics(), cursor.read()] {
        let nameless = snapshot.nameless.as_ref().unwrap();
        assert_eq!(nameless.stats.success(), 1);
        assert!(snapshot.tools.is_empty());
    }
    assert_eq!(host.registry.totals().totals().unwrap().success(), 7);
}

#[test]
fn totals_know_nothing_of_resets() {
    let host = Host::new();
    let shell = host.register("shell");
    for calls in 1..=3 {
        shell.start().succeed();
        host.registry.unknown_call("teleport").count();
        let cleared = host.registry.reset_metrics();
        assert_eq!(cleared.tools["shell"].success(), 1);
        let totals = host.registry.totals();
        assert_eq!(totals.tools["shell"].success(), calls);
        assert_eq!(totals.unknown_tool_calls, calls);
        assert!(totals.tools["shell"].last_finish.is_some());
    }
    assert_eq!(host.success("shell"), 0);
}

/// A name that is deregistered twice before it departs is twice in the queue of tools that wait to
/// depart. The second entry is reached long after the first has departed, when the name is retired
/// again and its handle still counts.
#[test]
fn a_tool_that_waited_twice_departs_once() {
    const HELD: [&str; 7] = ["x1", "x2", "x3", "x4", "x5", "x6", "x7"];
    let host = Host::new();
    let held = HELD.map(|name| host.register(name));
    let retire = |names: &[&str]| {
        for name in names {
            host.registry.deregister(name).unwrap();
        }
    };
    // Each registration checks four tools: first x1, x2, x3 and the tool, which departs, then x4 to
    // x7.
    let tool = host.register("tool");
    retire(&HELD[..3]);
    retire(&["tool"]);
    drop(tool);
    let tool = host.register("tool");
    tool.start().succeed();
    retire(&HELD[3..]);
    retire(&["tool"]);
    drop(tool);
    host.register("another");
    let tool = host.register("tool");
    tool.start().succeed();
    host.registry.deregister("tool").unwrap();
    host.rounds();
    assert_eq!(host.success("tool"), 2);
    tool.start().succeed();
    assert_eq!(host.success("tool"), 3, "its handle is held");
    drop(tool);
    host.rounds();
    assert_eq!(host.success("tool"), 3);
    drop(held);
}

/// Two tools are registered at once. The registration of the first must not let the second depart,
/// whose name is about to come back.
#[test]
fn of_many_that_are_registered_at_once_none_departs_meanwhile() {
    let host = Host::with(|builder| builder.tool_limit(2));
    host.comes_and_goes("old", 1);
    let handles = host.registry.register_all(["new", "old"]).unwrap();
    assert!(!host.registry.metrics().tools["old"].retired);
    assert!(host.registry.register("third").is_err(), "there are two");
    for tool in &handles {
        tool.start().succeed();
    }
    for name in ["new", "old"] {
        host.registry.deregister(name).unwrap();
    }
    drop(handles);
    host.rounds();
    assert_eq!((host.success("new"), host.success("old")), (1, 2));
    host.comes_and_goes("old", 1);
    host.rounds();
    assert_eq!(host.success("old"), 3);
    host.registry.reset_metrics();
    assert!(!host.sees("old"), "it departed again");
}

/// A retired tool that departs to make room counts as a new one among those that are registered.
#[test]
fn a_list_that_makes_its_own_names_depart_keeps_to_the_limit() {
    let host = Host::with(|builder| builder.tool_limit(2));
    host.register("stays");
    host.comes_and_goes("a", 1);
    let error = host.registry.register_all(["a", "b"]).unwrap_err();
    assert!(matches!(
        error,
        RegisterError::TooManyTools { limit: 2, .. }
    ));
    assert_eq!(host.success("a"), 1);
    host.register("a").start().succeed();
    assert!(host.registry.register("b").is_err());
    assert_eq!(host.success("a"), 2);
}

/// Servers reconnect while their tools are called and all readers read. No count decreases, and in
/// the end every call was counted once by each reader.
#[test]
fn nothing_is_lost_while_tools_come_and_go_under_load() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    const ROUNDS: u64 = 400;
    const CALLS: u64 = 3;
    let host = Host::new();
    let registry = &host.registry;
    let mut cursor = registry.intervals();
    let running = AtomicUsize::new(NAMES.len());
    let (mut resets, mut intervals) = std::thread::scope(|scope| {
        for name in NAMES {
            let running = &running;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let tool = registry.register(name).unwrap();
                    for _ in 0..CALLS - 1 {
                        tool.start().succeed();
                    }
                    let last = tool.start_owned();
                    drop(tool);
                    registry.deregister(name).unwrap();
                    last.succeed();
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let resetting = scope.spawn(|| {
            let mut sum = registry.reset_metrics();
            while running.load(Ordering::Acquire) > 0 {
                sum.merge(&registry.reset_metrics());
                registry.pump();
            }
            sum
        });
        let totals = scope.spawn(|| {
            let mut before = [0; NAMES.len()];
            while running.load(Ordering::Acquire) > 0 {
                let totals = registry.totals();
                for (before, name) in before.iter_mut().zip(NAMES) {
                    let now = totals.tool(name).map_or(0, ToolStats::success);
                    assert!(now >= *before, "{now} after {before}");
                    *before = now;
                }
            }
        });
        let mut sum = cursor.read();
        while running.load(Ordering::Acquire) > 0 {
            sum.merge(&cursor.read());
        }
        totals.join().unwrap();
        (resetting.join().unwrap(), sum)
    });
    resets.merge(&registry.metrics());
    intervals.merge(&cursor.read());
    host.rounds();
    assert_eq!(cursor.read().totals().map(|stats| stats.success()), None);
    for name in NAMES {
        assert_eq!(resets.tools[name].success(), ROUNDS * CALLS, "{name}");
        assert_eq!(intervals.tools[name].success(), ROUNDS * CALLS, "{name}");
        assert_eq!(host.ever(name), ROUNDS * CALLS, "{name}");
        assert_eq!(registry.totals().tools[name].in_flight, 0);
    }
}

/// Values inside a registry hold it weakly.
#[test]
fn a_weak_reference_keeps_nothing_alive() {
    let Host { registry, .. } = Host::new();
    let weak = registry.downgrade();
    let id = registry.instance_id().to_owned();
    assert_eq!(weak.upgrade().unwrap().instance_id(), id);
    let other = registry.clone();
    drop(registry);
    assert!(weak.upgrade().is_some());
    drop(other);
    assert!(weak.upgrade().is_none());
}

#[test]
fn look_ups_wait_for_no_thread_and_miss_nothing() {
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
            let handle = registry.register(name).unwrap();
            registered.store(n + 1, Ordering::Release);
            handle.start().succeed();
            let churn = registry.register("churn").unwrap();
            churn.start().succeed();
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
    assert_eq!(metrics.tools["churn"].success(), 300);
}

#[test]
fn what_is_left_of_a_dropped_registry_goes_on() {
    let Host { registry, .. } = Host::new();
    let shell = registry.register("shell").unwrap();
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
