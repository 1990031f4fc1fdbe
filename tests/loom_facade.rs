//! Models of the facade, over a whole registry.
//!
//! The published pointer is the stand-in of `toolmeter_core::stand_in`, which opens with what it
//! leaves out: a load there is ordered with every store. `tests/registry.rs` runs the real one.

mod loom_support;

use loom_support::model;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Waker};
use toolmeter::{CallOptions, ClockSource, ManualClock, Pump, Registry};
use toolmeter_core::sync::thread;

fn registry() -> Registry {
    let builder = Registry::builder()
        .clock(ClockSource::Manual(StdArc::new(ManualClock::new())))
        .stripes(1)
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
