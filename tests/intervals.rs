//! Readings while calls run: resets, interval cursors and the published snapshot never lose a call,
//! never count one twice, and never go back in time.
#![cfg(not(toolmeter_loom))]

mod common;

use common::{at_once, counts_in, host, stats_in};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use toolmeter::{ErrorKind, LatencyStats, ManualClock, Registry, Snapshot, ToolHandle, ToolStats};

const MS: Duration = Duration::from_millis(1);

/// Makes one call of each outcome, of 1, 2 and 4 ms, and one that is rejected.
fn one_of_each(tool: &ToolHandle, clock: &ManualClock) {
    let call = tool.call().attempt(2).start();
    clock.advance(MS);
    call.succeed();
    let call = tool.start();
    clock.advance(2 * MS);
    call.fail(ErrorKind::Timeout, "too late");
    let call = tool.start();
    clock.advance(4 * MS);
    drop(call);
    tool.call().reject("denied");
}

/// Makes a call by a name that no tool has.
fn unknown_call(registry: &Registry) {
    assert!(at_once(registry.invoke("no_such_tool", 0.into())).is_err());
}

#[test]
fn a_reset_hands_back_what_it_cleared() {
    let (registry, tool, clock) = host();
    one_of_each(&tool, &clock);
    let before = registry.metrics();
    let cleared = registry.reset_metrics();
    assert_eq!(counts_in(&cleared), (1, 1, 1, 0));
    assert_eq!(stats_in(&cleared).latency, stats_in(&before).latency);
    assert_eq!(
        stats_in(&cleared).failures_by_kind,
        stats_in(&before).failures_by_kind
    );
    assert_eq!(
        (stats_in(&cleared).recovered, stats_in(&cleared).rejected),
        (1, 1)
    );

    let after = stats_in(&registry.metrics());
    assert_eq!(
        (after.finished(), after.retried, after.recovered),
        (0, 0, 0)
    );
    assert_eq!(after.rejected, 0);
    assert_eq!(after.total_latency(), Duration::ZERO);
    assert_eq!((&after.last_error, after.last_finish), (&None, None));
    assert!(after.failures_by_kind.is_empty());
    assert!(after.latency.cancelled.buckets().is_empty());

    one_of_each(&tool, &clock);
    assert_eq!(counts_in(&registry.reset_metrics()), (1, 1, 1, 0));
    assert_eq!(counts_in(&registry.reset_metrics()), (0, 0, 0, 0));
}

#[test]
fn intervals_add_up_to_the_total() {
    let (registry, tool, clock) = host();
    let mut cursor = registry.intervals();
    let mut sum = cursor.read();
    for calls in [1, 0, 3] {
        for _ in 0..calls {
            one_of_each(&tool, &clock);
        }
        let interval = cursor.read();
        assert_eq!(counts_in(&interval), (calls, calls, calls, 0));
        sum.merge(&interval);
    }
    let total = registry.metrics();
    assert_eq!(stats_in(&sum).latency, stats_in(&total).latency);
    assert_eq!((stats_in(&sum).retried, stats_in(&sum).rejected), (4, 4));
    assert_eq!(
        stats_in(&sum).failures_by_kind,
        stats_in(&total).failures_by_kind
    );
}

#[test]
fn cursors_and_resets_do_not_disturb_each_other() {
    let (registry, tool, clock) = host();
    one_of_each(&tool, &clock);
    let mut often = registry.intervals();
    let mut once = registry.intervals();
    for _ in 0..3 {
        one_of_each(&tool, &clock);
        assert_eq!(counts_in(&often.read()), (1, 1, 1, 0));
    }
    registry.reset_metrics();
    one_of_each(&tool, &clock);
    assert_eq!(counts_in(&once.read()), (4, 4, 4, 0));
    assert_eq!(counts_in(&often.read()), (1, 1, 1, 0));
    assert_eq!(counts_in(&registry.metrics()), (1, 1, 1, 0));
}

#[test]
fn calls_in_flight_stay_so_across_resets_and_intervals() {
    let (registry, tool, clock) = host();
    let mut cursor = registry.intervals();
    let (first, second) = (tool.start(), tool.start());
    assert_eq!(counts_in(&registry.reset_metrics()), (0, 0, 0, 2));
    assert_eq!(counts_in(&registry.metrics()), (0, 0, 0, 2));
    assert_eq!(counts_in(&cursor.read()), (0, 0, 0, 2));
    assert_eq!(counts_in(&cursor.read()), (0, 0, 0, 2));
    clock.advance(MS);
    first.succeed();
    assert_eq!(counts_in(&registry.metrics()), (1, 0, 0, 1));
    assert_eq!(stats_in(&registry.metrics()).total_latency(), MS);
    assert_eq!(counts_in(&cursor.read()), (1, 0, 0, 1));
    drop(second);
    assert_eq!(counts_in(&cursor.read()), (0, 0, 1, 0));
}

#[test]
fn the_last_error_and_latency_show_only_if_they_are_new() {
    let (registry, tool, clock) = host();
    let mut cursor = registry.intervals();
    let fail = |text: &str| {
        clock.advance(MS);
        let call = tool.start();
        clock.advance(MS);
        call.fail(ErrorKind::Network, text);
    };
    let last_error = |snapshot: &Snapshot| {
        let error = stats_in(snapshot).last_error.clone()?;
        error.message
    };
    fail("first");
    let interval = cursor.read();
    assert_eq!(last_error(&interval).as_deref(), Some("first"));
    assert_eq!(stats_in(&interval).last_latency(), Some(MS));
    let interval = cursor.read();
    assert_eq!(stats_in(&interval).last_error, None);
    assert_eq!(stats_in(&interval).last_latency(), None);
    assert_eq!(last_error(&registry.metrics()).as_deref(), Some("first"));

    clock.advance(MS);
    tool.start().succeed();
    let interval = cursor.read();
    assert_eq!(stats_in(&interval).last_error, None);
    assert_eq!(stats_in(&interval).last_latency(), Some(Duration::ZERO));
    registry.reset_metrics();
    assert_eq!(stats_in(&registry.metrics()).last_error, None);
    fail("second");
    assert_eq!(last_error(&registry.metrics()).as_deref(), Some("second"));
    assert_eq!(last_error(&cursor.read()).as_deref(), Some("second"));
}

#[test]
fn unknown_calls_are_reset_and_read_in_intervals() {
    let (registry, _tool, _) = host();
    unknown_call(&registry);
    let mut cursor = registry.intervals();
    unknown_call(&registry);
    unknown_call(&registry);
    assert_eq!(cursor.read().unknown_tool_calls, 2);
    assert_eq!(cursor.read().unknown_tool_calls, 0);
    assert_eq!(registry.reset_metrics().unknown_tool_calls, 3);
    assert_eq!(registry.metrics().unknown_tool_calls, 0);
    unknown_call(&registry);
    assert_eq!(cursor.read().unknown_tool_calls, 1);
    assert_eq!(registry.metrics().unknown_tool_calls, 1);
    registry.publish();
    assert_eq!(registry.published().unknown_tool_calls, 1);
}

/// Returns everything in the stats that a call adds to, without what depends on the moment of
/// reading.
fn sums(stats: &ToolStats) -> ([LatencyStats; 3], [u64; 3], Vec<(ErrorKind, u64)>) {
    let latency = &stats.latency;
    let by_outcome = [&latency.success, &latency.failure, &latency.cancelled];
    let kinds = stats.failures_by_kind.iter();
    (
        by_outcome.map(Clone::clone),
        [stats.retried, stats.recovered, stats.rejected],
        kinds.map(|(&kind, &count)| (kind, count)).collect(),
    )
}

/// Four recorders, one reader of intervals, one that resets: all sums are exact.
#[test]
fn under_load_every_call_is_counted_once_on_each_side() {
    const RECORDERS: u64 = 4;
    const ROUNDS: u64 = 4_000;
    let (registry, tool, clock) = host();
    let mut cursor = registry.intervals();
    let running = AtomicUsize::new(RECORDERS as usize);
    let (intervals, resets) = std::thread::scope(|scope| {
        for _ in 0..RECORDERS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    one_of_each(&tool, &clock);
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let reset = scope.spawn(|| {
            let mut sum = registry.reset_metrics();
            while running.load(Ordering::Acquire) > 0 {
                let cleared = registry.reset_metrics();
                sum.merge(&cleared);
                // A snapshot beside a reset is never negative.
                assert!(stats_in(&registry.metrics()).success() <= RECORDERS * ROUNDS);
            }
            sum
        });
        let mut sum = cursor.read();
        while running.load(Ordering::Acquire) > 0 {
            let interval = cursor.read();
            sum.merge(&interval);
        }
        (sum, reset.join().unwrap())
    });
    let mut intervals = intervals;
    intervals.merge(&cursor.read());
    let mut resets = resets;
    resets.merge(&registry.metrics());

    let all = RECORDERS * ROUNDS;
    let sum = stats_in(&intervals);
    assert_eq!(
        (sum.success(), sum.failure(), sum.cancelled()),
        (all, all, all)
    );
    assert_eq!((sum.retried, sum.recovered), (all, all));
    assert_eq!(sum.rejected, all);
    assert_eq!(sum.failures_by_kind[&ErrorKind::Timeout], all);
    assert!(sum.latency.success.sum() >= MS * u32::try_from(all).unwrap());
    assert_eq!(sums(&sum), sums(&stats_in(&resets)));
    assert_eq!(stats_in(&cursor.read()).finished(), 0);
    assert_eq!(stats_in(&registry.metrics()).in_flight, 0);
}

/// A cursor keeps its own baseline, which is dropped with it.
#[test]
fn cursors_that_are_made_and_dropped_leave_nothing() {
    let (registry, tool, _) = host();
    tool.start().succeed();
    let make = || {
        for _ in 0..1_000 {
            let mut cursor = registry.intervals();
            assert_eq!(cursor.read().tools.len(), 1);
        }
    };
    make();
    let kept = allocation_counter::measure(make).bytes_current;
    assert_eq!(kept, 0);
    // Neither do those that are never read, while their tools come and go.
    let come_and_go = || {
        for _ in 0..100 {
            let _unread = registry.intervals();
            registry.register("short").unwrap().start().succeed();
            registry.deregister("short").unwrap();
            registry.pump();
        }
    };
    come_and_go();
    let kept = allocation_counter::measure(come_and_go).bytes_current;
    assert!(kept.abs() < 16 << 10, "{kept}");
    // The registry is dropped with the last of them.
    let host_and_cursor = || {
        let (registry, tool, _) = host();
        tool.start().succeed();
        let mut cursor = registry.intervals();
        drop((registry, tool));
        assert_eq!(cursor.read().tools.len(), 1);
    };
    host_and_cursor();
    let kept = allocation_counter::measure(host_and_cursor).bytes_current;
    assert!(kept.abs() < 1 << 10, "{kept}");
}

#[test]
fn the_published_snapshot_shares_the_stats_of_tools_that_did_nothing() {
    let (registry, tool, _) = host();
    let idle = registry.register("idle").unwrap();
    let publish = || {
        registry.publish();
        registry.published().into_arc()
    };
    idle.start().succeed();
    let first = publish();
    tool.start().succeed();
    let second = publish();
    let shares =
        |a: &Snapshot, b: &Snapshot, name: &str| Arc::ptr_eq(&a.tools[name], &b.tools[name]);
    assert!(shares(&first, &second, "idle"));
    assert!(!shares(&first, &second, "tool"));
    assert_eq!((counts_in(&first).0, counts_in(&second).0), (0, 1));

    // A call in flight may end without a start, so the number in flight is read anew each time.
    let call = idle.start();
    let third = publish();
    assert_eq!(third.tools["idle"].in_flight, 1);
    call.succeed();
    let fourth = publish();
    assert_eq!(fourth.tools["idle"].success(), 2);
    assert_eq!(fourth.tools["idle"].in_flight, 0);
    // A rejected call never starts, and is still published.
    idle.call().reject("denied");
    assert_eq!(publish().tools["idle"].rejected, 1);
    // A reset and a retirement change the published stats of a tool that did nothing.
    registry.reset_metrics();
    let fifth = publish();
    assert_eq!(fifth.tools["idle"].success(), 0);
    idle.start().succeed();
    registry.deregister("idle").unwrap();
    let retired = publish();
    assert!(retired.tools["idle"].retired);
    // A departed tool shares its stats until it is registered again.
    drop(idle);
    registry.pump();
    registry.pump();
    let departed = publish();
    assert_eq!(departed.tools["idle"], retired.tools["idle"]);
    assert!(shares(&departed, &publish(), "idle"));
    registry.register("idle").unwrap();
    assert!(!publish().tools["idle"].retired);
    assert_eq!(publish().tools["idle"].success(), 1);
    assert_eq!(first.tools["idle"].success(), 1, "what is held stays");
}

#[test]
fn the_pump_publishes_when_it_is_time() {
    let (registry, tool, clock) = host();
    assert!(registry.published().tools.is_empty());
    registry.pump();
    tool.start().succeed();
    clock.advance(Duration::from_millis(999));
    registry.pump();
    assert_eq!(counts_in(&registry.published()).0, 0);
    clock.advance(MS);
    registry.pump();
    assert_eq!(counts_in(&registry.published()).0, 1);
}

#[test]
fn what_was_counted_before_a_shutdown_is_published_by_it() {
    let (registry, tool, _) = host();
    registry.pump();
    tool.start().succeed();
    registry.pump();
    assert_eq!(counts_in(&registry.published()).0, 0, "it is not due");
    registry.shutdown();
    assert_eq!(counts_in(&registry.published()).0, 1);
}

/// This tests the real arc-swap with readers that hold more loans than it has fast slots for.
#[test]
fn readers_never_see_an_older_snapshot_after_a_newer_one() {
    const SNAPSHOTS: u64 = 3_000;
    let (registry, tool, _) = host();
    registry.publish();
    let done = AtomicBool::new(false);
    let reading = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut newest, mut reads) = (0, 0_u64);
                    reading.fetch_add(1, Ordering::Relaxed);
                    loop {
                        let is_last = done.load(Ordering::Acquire);
                        let loans: Vec<_> = (0..12).map(|_| registry.published()).collect();
                        for loan in loans {
                            let seen = counts_in(&loan).0;
                            assert!(seen >= newest, "{seen} after {newest}");
                            newest = seen;
                            // A lent snapshot does not change while newer ones are published.
                            assert_eq!(counts_in(&loan.into_arc()).0, seen);
                            reads += 1;
                        }
                        if is_last {
                            return (newest, reads);
                        }
                    }
                })
            })
            .collect();
        while reading.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        for snapshot in 1..=SNAPSHOTS {
            tool.start().succeed();
            registry.publish();
            assert_eq!(counts_in(&registry.published()).0, snapshot);
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            let (newest, reads) = reader.join().unwrap();
            assert_eq!(newest, SNAPSHOTS);
            assert!(reads >= 12);
        }
    });
}

/// The clock stands still, so it does not show which failure came later.
#[test]
fn an_interval_tells_its_own_error_after_the_tool_came_back() {
    let (registry, ..) = host();
    let fail = |kind, text| {
        let shell = registry.register("shell").unwrap();
        let mut intervals = registry.intervals();
        shell.start().fail(kind, text);
        drop(shell);
        registry.deregister("shell").unwrap();
        registry.pump();
        let interval = intervals.read();
        let error = interval.tools["shell"].last_error.clone().unwrap();
        (error.kind, error.message.unwrap())
    };
    let first = fail(ErrorKind::Network, "first");
    assert_eq!(first, (ErrorKind::Network, "first".to_owned()));
    let second = fail(ErrorKind::Timeout, "second");
    assert_eq!(second, (ErrorKind::Timeout, "second".to_owned()));
}
