//! Models of the facade, over a whole registry.
//!
//! arc-swap is replaced by `src/swap/model.rs`, whose head lists what it leaves out.
//! `tests/registry.rs` runs the real one.

mod loom_support;

use loom_support::{model, sync::thread};
use std::sync::Arc as StdArc;
use toolmeter::{
    ClockSource, Intervals, ManualClock, OwnedCall, Pump, RegisterError, Registry, Snapshot,
    ToolHandle,
};

/// Returns a registry whose clock stands still, so it publishes in its first round and then only on
/// request.
fn registry() -> Registry {
    let builder = Registry::builder()
        .clock(ClockSource::Manual(StdArc::new(ManualClock::new())))
        .stripes(1)
        .pump(Pump::manual());
    #[cfg(toolmeter_loom)]
    let builder = builder.precision(1).max_exponent(2);
    builder.build().unwrap()
}

/// Two threads count and publish while a third reads: what it reads never decreases, and the last
/// snapshot has everything.
#[test]
fn a_published_snapshot_is_never_older() {
    model("a_published_snapshot_is_never_older", || {
        let registry = registry();
        let publishers = [(); 2].map(|()| {
            let registry = registry.clone();
            thread::spawn(move || {
                // The smallest change that a snapshot can show.
                registry.unknown_call("teleport").count();
                registry.publish();
            })
        });
        let seen = || registry.published().unknown_tool_calls;
        let (first, second) = (seen(), seen());
        assert!(first <= second, "{first} after {second}");
        for publisher in publishers {
            publisher.join().unwrap();
        }
        assert_eq!(seen(), 2);
    });
}

/// Two cursors read and a third thread resets while a call is counted: each cursor's intervals,
/// and what was reset with what is left, add up to the one call.
#[test]
fn two_cursors_and_a_reset_do_not_disturb_each_other() {
    model("two_cursors_and_a_reset_do_not_disturb_each_other", || {
        let registry = registry();
        let (mut one, mut other) = (registry.intervals(), registry.intervals());
        let counter = {
            let registry = registry.clone();
            thread::spawn(move || registry.unknown_call("teleport").count())
        };
        let resetter = {
            let registry = registry.clone();
            thread::spawn(move || registry.reset_metrics().unknown_tool_calls)
        };
        let new = |cursor: &mut Intervals| cursor.read().unknown_tool_calls;
        let meanwhile = (new(&mut one), new(&mut other));
        counter.join().unwrap();
        let cleared = resetter.join().unwrap();
        assert_eq!(meanwhile.0 + new(&mut one), 1);
        assert_eq!(meanwhile.1 + new(&mut other), 1);
        assert_eq!(cleared + registry.metrics().unknown_tool_calls, 1);
    });
}

/// A thread counts and resets while another reads. From a snapshot an earlier reset is subtracted,
/// never one that counted more than the snapshot has.
#[test]
fn a_snapshot_is_never_less_than_nothing() {
    model("a_snapshot_is_never_less_than_nothing", || {
        let registry = registry();
        let resetter = {
            let registry = registry.clone();
            thread::spawn(move || {
                registry.unknown_call("teleport").count();
                registry.reset_metrics().unknown_tool_calls
            })
        };
        let seen = registry.metrics().unknown_tool_calls;
        assert!(seen <= 1, "{seen}");
        assert_eq!(resetter.join().unwrap(), 1);
        assert_eq!(registry.metrics().unknown_tool_calls, 0);
    });
}

/// Returns the calls of the tool `shell` that finished and those in flight, or `None` if it is not
/// visible.
fn shell(snapshot: &Snapshot) -> Option<(u64, u64)> {
    let stats = snapshot.tools.get("shell")?;
    Some((stats.finished(), stats.in_flight))
}

/// Returns the calls of the tool that ended.
fn finished(snapshot: &Snapshot) -> u64 {
    shell(snapshot).map_or(0, |counts| counts.0)
}

fn register(registry: &Registry) -> Option<ToolHandle> {
    match registry.register("shell") {
        Ok(handle) => Some(handle),
        Err(RegisterError::Duplicate { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Two threads register the same name while a third looks it up, and each calls what it finds
/// under that name: one of them wins, and all calls are counted in one tool.
#[test]
fn of_two_that_register_a_name_one_wins() {
    model("of_two_that_register_a_name_one_wins", || {
        let registry = registry();
        let registering = [(); 2].map(|()| {
            let registry = registry.clone();
            thread::spawn(move || {
                let won = register(&registry).is_some();
                let found = registry.get("shell").expect("somebody registered it");
                (won, found.start_owned())
            })
        });
        let found_early = registry.get("shell").map(|handle| handle.start_owned());
        let [(one, first), (other, second)] = registering.map(|thread| thread.join().unwrap());
        assert!(one != other, "both or neither won");
        let calls = 2 + u64::from(found_early.is_some());
        assert_eq!(shell(&registry.metrics()), Some((0, calls)));
        for call in [Some(first), Some(second), found_early]
            .into_iter()
            .flatten()
        {
            call.succeed();
        }
        assert_eq!(shell(&registry.metrics()), Some((calls, 0)));
    });
}

/// A name is deregistered, looked up and registered again at once: a thread that finds it holds a
/// handle whose call is counted, and a cursor misses no call.
#[test]
fn a_handle_that_is_found_counts() {
    model("a_handle_that_is_found_counts", || {
        let registry = registry();
        let mut cursor = registry.intervals();
        drop(register(&registry));
        let deregistering = {
            let registry = registry.clone();
            thread::spawn(move || registry.deregister("shell").is_ok())
        };
        let calling = {
            let registry = registry.clone();
            thread::spawn(move || registry.get("shell").map(|handle| handle.start_owned()))
        };
        let again = register(&registry);
        let gone = deregistering.join().unwrap();
        assert!(gone, "it was registered, and no other thread deregisters");
        let call = calling.join().unwrap();
        let in_flight = u64::from(call.is_some());
        let visible = shell(&registry.metrics()).map(|counts| counts.1);
        assert_eq!(visible, Some(in_flight), "retired, or registered again");
        assert_eq!(again.is_some(), registry.get("shell").is_some());
        if let Some(call) = call {
            call.succeed();
        }
        assert_eq!(shell(&cursor.read()), Some((in_flight, 0)));
    });
}

/// Returns a registry with a tool that is deregistered and has one call in flight, which holds its
/// last handle. The pump has nothing left to publish.
fn with_a_retired_tool() -> (Registry, OwnedCall) {
    let registry = registry();
    let call = register(&registry).unwrap().start_owned();
    registry.deregister("shell").unwrap();
    registry.publish();
    (registry, call)
}

/// Runs enough rounds of the pump for a tool that no thread holds to depart.
fn depart(registry: &Registry) {
    for _ in 0..2 {
        registry.pump();
    }
}

/// A call ends and drops the last handle of a deregistered tool while the pump lets tools depart.
/// Its counts are there after the departure.
#[test]
fn a_departed_tool_keeps_its_counts() {
    model("a_departed_tool_keeps_its_counts", || {
        let (registry, call) = with_a_retired_tool();
        let calling = thread::spawn(move || drop(call));
        registry.pump();
        calling.join().unwrap();
        depart(&registry);
        assert_eq!(shell(&registry.metrics()), Some((1, 0)));
        assert_eq!(shell(&registry.totals()), Some((1, 0)));
    });
}

/// Another thread reads while the tool departs and its memory becomes free: it sees the call that
/// ended, or that it has not ended yet, and never less than before.
#[test]
fn a_reader_sees_a_departing_tool_whole() {
    model("a_reader_sees_a_departing_tool_whole", || {
        let (registry, call) = with_a_retired_tool();
        let reading = {
            let registry = registry.clone();
            thread::spawn(move || {
                let first = shell(&registry.totals()).expect("something was counted of it");
                let second = shell(&registry.metrics()).expect("something was counted of it");
                for (finished, in_flight) in [first, second] {
                    assert_eq!(finished + in_flight, 1, "{finished} and {in_flight}");
                }
                assert!(first.0 <= second.0, "{} after {}", second.0, first.0);
            })
        };
        drop(call);
        registry.pump();
        reading.join().unwrap();
        depart(&registry);
        assert_eq!(shell(&registry.metrics()), Some((1, 0)));
    });
}

/// The same with a reader, a caller and the pump, each on a thread of its own.
#[test]
fn a_departure_is_between_two_readings_or_in_one() {
    model("a_departure_is_between_two_readings_or_in_one", || {
        let (registry, call) = with_a_retired_tool();
        let calling = thread::spawn(move || drop(call));
        let pumping = {
            let registry = registry.clone();
            thread::spawn(move || registry.pump())
        };
        let seen = shell(&registry.totals()).expect("something was counted of it");
        assert_eq!(seen.0 + seen.1, 1, "{} and {}", seen.0, seen.1);
        calling.join().unwrap();
        pumping.join().unwrap();
        depart(&registry);
        assert_eq!(shell(&registry.totals()), Some((1, 0)));
    });
}

/// A cursor reads while the tool departs: its intervals add up to the one call.
#[test]
fn a_cursor_sees_a_departed_call_once() {
    model("a_cursor_sees_a_departed_call_once", || {
        let (registry, call) = with_a_retired_tool();
        let mut cursor = registry.intervals();
        let reading = thread::spawn(move || {
            let seen = finished(&cursor.read());
            (cursor, seen)
        });
        drop(call);
        registry.pump();
        let (mut cursor, mut seen) = reading.join().unwrap();
        seen += finished(&cursor.read());
        depart(&registry);
        seen += finished(&cursor.read());
        assert_eq!(seen, 1);
    });
}

/// A reset on another thread while the tool departs: what it hands back and what is left add up
/// to the one call.
#[test]
fn a_reset_hands_a_departed_call_back_once() {
    model("a_reset_hands_a_departed_call_back_once", || {
        let (registry, call) = with_a_retired_tool();
        let resetting = {
            let registry = registry.clone();
            thread::spawn(move || finished(&registry.reset_metrics()))
        };
        drop(call);
        registry.pump();
        let cleared = resetting.join().unwrap();
        depart(&registry);
        assert_eq!(cleared + finished(&registry.reset_metrics()), 1);
        assert_eq!(shell(&registry.metrics()), None, "it was handed back");
        assert_eq!(shell(&registry.totals()), Some((1, 0)));
    });
}

/// A tool departs and is registered again while another thread reads: the name's total never
/// decreases, and ends at the number of calls.
#[test]
fn a_name_that_comes_back_continues_its_total() {
    model("a_name_that_comes_back_continues_its_total", || {
        let (registry, call) = with_a_retired_tool();
        drop(call);
        let reading = {
            let registry = registry.clone();
            thread::spawn(move || {
                let (first, second) = (registry.totals(), registry.totals());
                let (first, second) = (finished(&first), finished(&second));
                assert!(1 <= first && first <= second, "{second} after {first}");
            })
        };
        // It departs, and its memory is given to the next registration.
        registry.pump();
        drop(register(&registry).unwrap().start());
        reading.join().unwrap();
        assert_eq!(shell(&registry.totals()), Some((2, 0)));
    });
}

/// The same, but the pump runs on a third thread, so the tool may or may not have departed when it
/// comes back.
#[test]
fn a_name_may_come_back_while_it_departs() {
    model("a_name_may_come_back_while_it_departs", || {
        let (registry, call) = with_a_retired_tool();
        let calling = thread::spawn(move || drop(call));
        let pumping = {
            let registry = registry.clone();
            thread::spawn(move || registry.pump())
        };
        let handle = register(&registry).unwrap();
        drop(handle.start());
        calling.join().unwrap();
        pumping.join().unwrap();
        assert_eq!(shell(&registry.totals()), Some((2, 0)));
        registry.deregister("shell").unwrap();
        drop(handle);
        depart(&registry);
        assert_eq!(shell(&registry.metrics()), Some((2, 0)));
    });
}
