//! Models of the facade, over a whole registry.
//!
//! What arc-swap publishes is behind the stand-in of `toolmeter_core::stand_in`, which opens with
//! what it leaves out: a load there is ordered with every store. `tests/registry.rs` runs the real
//! one.

mod loom_support;

use loom_support::model;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Waker};
use std::time::Duration;
use toolmeter::{
    CallOptions, ClockSource, Intervals, ManualClock, OwnedCall, Pump, RegisterError, Registry,
    Snapshot, ToolHandle,
};
use toolmeter_core::sync::thread;

fn registry() -> Registry {
    let builder = Registry::builder()
        .clock(ClockSource::Manual(StdArc::new(ManualClock::new())))
        .stripes(1)
        .publish_every(Duration::ZERO)
        .pump(Pump::manual());
    #[cfg(toolmeter_loom)]
    let builder = builder.precision(1).max_exponent(2);
    builder.build().unwrap()
}

/// Counts a call of a tool that nobody registered, which is the least that a snapshot can show.
fn count_one(registry: &Registry) {
    let call = pin!(registry.invoke("nobody", 1.into(), CallOptions::new()));
    let answer = call.poll(&mut Context::from_waker(Waker::noop()));
    assert!(answer.is_ready());
}

/// Two threads count and publish while a third reads: what it sees never goes back, and the last
/// snapshot has everything.
#[test]
fn a_published_snapshot_is_never_older() {
    model("a_published_snapshot_is_never_older", || {
        let registry = registry();
        let publishers = [(); 2].map(|()| {
            let registry = registry.clone();
            thread::spawn(move || {
                count_one(&registry);
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
            thread::spawn(move || count_one(&registry))
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

/// Calls of the tool `shell`, and those of it that are in flight; `None` if it is not visible.
fn shell(snapshot: &Snapshot) -> Option<(u64, u64)> {
    let stats = snapshot.tools.get("shell")?;
    Some((stats.finished(), stats.in_flight))
}

/// Calls of the tool that ended.
fn finished(snapshot: &Snapshot) -> u64 {
    shell(snapshot).map_or(0, |counts| counts.0)
}

fn register(registry: &Registry) -> Option<ToolHandle> {
    match registry.register("shell".into()) {
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

/// A name is deregistered, looked up and registered again at once: whoever finds it holds a
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
        assert!(gone, "it was registered, and nobody else deregisters");
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

/// A tool that is deregistered and has one call in flight, which holds its last handle.
fn retired(registry: &Registry) -> OwnedCall {
    let call = register(registry).unwrap().start_owned();
    registry.deregister("shell").unwrap();
    call
}

/// Reads until the tool is gone; what the cursor saw of it until then.
fn read_to_the_end(registry: &Registry, cursor: &mut Intervals) -> u64 {
    let mut seen = 0;
    let mut looks = 0;
    while !registry.metrics().tools.is_empty() {
        assert!(
            looks <= 3,
            "noticed, read by the cursor, and still not free"
        );
        registry.pump();
        seen += finished(&cursor.read());
        looks += 1;
    }
    seen
}

/// A call ends and its handle, the last of a deregistered tool, goes while the pump looks for
/// slots to free and a cursor reads: the slot is not free before the cursor saw the call.
#[test]
fn a_slot_is_read_to_its_end_before_it_is_free() {
    model("a_slot_is_read_to_its_end_before_it_is_free", || {
        let registry = registry();
        let mut cursor = registry.intervals();
        let call = retired(&registry);
        let calling = thread::spawn(move || drop(call));
        registry.pump();
        let mut seen = finished(&cursor.read());
        registry.pump();
        calling.join().unwrap();
        seen += read_to_the_end(&registry, &mut cursor);
        assert_eq!(seen, 1, "the slot was freed before its call was read");
    });
}

/// The same, but the cursor reads on a thread that hears of the end of the call from the pump
/// alone.
#[test]
fn a_cursor_elsewhere_reads_a_slot_to_its_end() {
    model("a_cursor_elsewhere_reads_a_slot_to_its_end", || {
        let registry = registry();
        let mut cursor = registry.intervals();
        let call = retired(&registry);
        let reading = thread::spawn(move || {
            let seen = finished(&cursor.read());
            (cursor, seen)
        });
        drop(call);
        registry.pump();
        registry.pump();
        let (mut cursor, mut seen) = reading.join().unwrap();
        seen += read_to_the_end(&registry, &mut cursor);
        assert_eq!(seen, 1, "the slot was freed before its call was read");
    });
}

/// A cursor is made while a call ends and its slot is freed: what ended after the cursor was
/// made, as its own thread saw it, the cursor shows.
#[test]
fn a_new_cursor_reads_a_slot_to_its_end() {
    model("a_new_cursor_reads_a_slot_to_its_end", || {
        let registry = registry();
        let call = retired(&registry);
        let making = {
            let registry = registry.clone();
            thread::spawn(move || {
                let cursor = registry.intervals();
                let runs_still = shell(&registry.metrics()) == Some((0, 1));
                (cursor, runs_still)
            })
        };
        drop(call);
        registry.pump();
        registry.pump();
        let (mut cursor, ran_still) = making.join().unwrap();
        let seen = read_to_the_end(&registry, &mut cursor);
        assert!(seen == 1 || !ran_still, "the slot was freed too early");
    });
}
