//! Tools that come and go with bodies that call back: while they are called, and when they are
//! dropped, on whichever thread drops them.

use crate::calls::count_answer;
use crate::counts::Counts;
use crate::crossing::poll_once;
use crate::did::Did;
use crate::foreign::{Deed, Foreign, Whose};
use crate::host::Host;
use crate::tools::{NAMES, ask};
use serde_json::Value;
use std::future::IntoFuture;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{Invocation, Outcome, RegisterError, Tool, ToolFuture, ToolHandle, ToolSpec};

/// The longest time until a body that no handle holds is dropped.
const PATIENCE: Duration = Duration::from_secs(20);

/// The numbers of bodies that were made and dropped.
#[derive(Debug, Default)]
pub(crate) struct Census {
    made: AtomicU64,
    dropped: AtomicU64,
}

impl Census {
    /// Waits until no body is left. Returns how many were made and how many dropped.
    pub(crate) fn at_rest(&self) -> [u64; 2] {
        let count = || [&self.made, &self.dropped].map(|count| count.load(Ordering::Acquire));
        let began = Instant::now();
        while count()[0] != count()[1] && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        count()
    }
}

/// A tool with a body.
struct Body {
    name: &'static str,
    on_call: Deed,
    on_drop: Deed,
    foreign: Arc<Foreign>,
    census: Arc<Census>,
}

impl Tool for Body {
    fn spec(&self) -> ToolSpec {
        self.name.into()
    }

    fn call(&self, _: Invocation) -> ToolFuture {
        let (foreign, deed) = (Arc::clone(&self.foreign), self.on_call);
        Box::pin(async move {
            foreign.act(Whose::Body, deed);
            Ok(Value::Null)
        })
    }
}

/// A guard that counts a body as dropped, however its destructor ends.
struct Dropped<'a>(&'a Census);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let _dropped = Dropped(&self.census);
        self.foreign.act(Whose::Body, self.on_drop);
    }
}

/// Registers and deregisters these tools in turn until the load is over.
pub(crate) fn come_and_go(
    host: &Host,
    foreign: &Arc<Foreign>,
    census: &Arc<Census>,
    places: Range<usize>,
) -> Counts {
    let mut counts = Counts::default();
    let mut step = places.start as u64;
    while !host.is_over() {
        for place in places.clone() {
            let body = || {
                census.made.fetch_add(1, Ordering::AcqRel);
                Body {
                    name: NAMES[place],
                    on_call: Deed::of(step / 3),
                    on_drop: Deed::of(step),
                    foreign: Arc::clone(foreign),
                    census: Arc::clone(census),
                }
            };
            let handle = host.registry.register_tool(body());
            let handle = handle.expect("no other thread registers this name");
            counts.did(Did::Registered);
            call(host, &handle, place, &mut counts);
            if step.is_multiple_of(3) {
                // A refused tool is dropped at once.
                let refused = host.registry.register_tool(body());
                assert!(matches!(refused, Err(RegisterError::Duplicate { .. })));
            }
            if step.is_multiple_of(2) {
                drop(handle);
                deregister(host, place, &mut counts);
            } else {
                deregister(host, place, &mut counts);
                handle.start().succeed();
                counts.whole(place, 1, Outcome::Success);
            }
            step += 1;
            host.rest(Duration::from_micros(500));
            host.wait_for_receivers();
        }
    }
    counts
}

fn call(host: &Host, handle: &ToolHandle, place: usize, counts: &mut Counts) {
    handle.start().succeed();
    counts.whole(place, 1, Outcome::Success);
    let call = host.registry.invoke(NAMES[place], ask::ANSWER.into());
    let Poll::Ready(answer) = poll_once(pin!(call.into_future())) else {
        panic!("`{}` did not answer at once", NAMES[place]);
    };
    count_answer(counts, place, 1, &answer);
}

fn deregister(host: &Host, place: usize, counts: &mut Counts) {
    let ended = host.registry.deregister(NAMES[place]);
    ended.expect("no other thread deregisters this name");
    counts.did(Did::Deregistered);
}
