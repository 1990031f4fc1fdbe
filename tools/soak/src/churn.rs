//! Tools that are registered and deregistered while they are called.
//!
//! Each churner owns some names; any caller may look them up at any time. The calls are treated the
//! same in all cases: a call through a handle counts, and the counts of a name continue when it is
//! registered again, whether or not a handle still holds it.

use crate::counts::Counts;
use crate::did::Did;
use crate::host::Host;
use crate::tools::{self, NAMES};
use std::ops::Range;
use std::thread;
use std::time::Duration;
use toolmeter::{ErrorKind, Outcome, ToolHandle, ToolId, ToolSpec};

/// The number of rounds without a rest: names are registered again so soon that
/// callers may still hold them.
const ROUNDS: u32 = 9;
/// The length of the rest: by its end no thread holds the tools, and they have departed.
const DEPARTED: Duration = Duration::from_millis(150);

/// Registers and deregisters these tools in turn until the load is over.
pub(crate) fn churn(host: &Host, places: Range<usize>) -> Counts {
    let mut counts = Counts::default();
    let mut last_ids: Vec<Option<ToolId>> = vec![None; places.len()];
    let mut round: u32 = 0;
    while !host.is_over() {
        for (place, last_id) in places.clone().zip(&mut last_ids) {
            let mut life = Life {
                host,
                place,
                last_id,
                counts: &mut counts,
            };
            match round % 3 {
                0 => life.short(),
                1 => life.two_in_one(),
                _ => life.with_a_call_that_outlives_it(),
            }
            thread::sleep(Duration::from_micros(300));
        }
        round += 1;
        if round.is_multiple_of(ROUNDS) {
            thread::sleep(DEPARTED);
        }
    }
    counts
}

/// The life of one tool, from its registration to its deregistration.
struct Life<'a> {
    host: &'a Host,
    place: usize,
    last_id: &'a mut Option<ToolId>,
    counts: &'a mut Counts,
}

impl Life<'_> {
    /// Registers the tool, some names with a body. It must be the tool that had the name before.
    fn register(&mut self) -> ToolHandle {
        let (registry, name) = (&self.host.registry, NAMES[self.place]);
        let handle = if self.place.is_multiple_of(2) {
            registry.register(ToolSpec::new(name))
        } else {
            registry.register_tool(tools::obedient(name))
        };
        let handle = handle.expect("no other thread registers this name");
        let id = self.last_id.get_or_insert(handle.id());
        assert_eq!(
            *id,
            handle.id(),
            "a name was registered again as another tool"
        );
        self.counts.did(Did::Registered);
        handle
    }

    fn deregister(&mut self) {
        let ended = self.host.registry.deregister(NAMES[self.place]);
        ended.expect("no other thread deregisters this name");
        self.counts.did(Did::Deregistered);
    }

    fn call(&mut self, handle: &ToolHandle) {
        handle.start().succeed();
        self.counts.whole(self.place, 1, Outcome::Success);
        handle.start().fail(ErrorKind::Provider, "short-lived");
        let outcome = Outcome::Failure(ErrorKind::Provider);
        self.counts.whole(self.place, 1, outcome);
        drop(handle.start());
        self.counts.whole(self.place, 1, Outcome::Cancelled);
        handle.call().reject("short-lived");
        self.counts.reject(self.place);
    }

    fn short(&mut self) {
        let handle = self.register();
        self.call(&handle);
        drop(handle);
        self.deregister();
    }

    /// Calls the tool after it is deregistered, and registers it again while it is held.
    fn two_in_one(&mut self) {
        let first = self.register();
        self.call(&first);
        self.deregister();
        self.call(&first);
        self.counts.did(Did::CalledRetired);
        let second = self.register();
        self.counts.did(Did::Revived);
        self.call(&first);
        self.call(&second);
        self.deregister();
        self.call(&second);
        self.counts.did(Did::CalledRetired);
    }

    fn with_a_call_that_outlives_it(&mut self) {
        let handle = self.register();
        let open = self.counts.begin(self.place, 1);
        let call = handle.start_owned();
        drop(handle);
        self.deregister();
        thread::sleep(Duration::from_micros(300));
        call.succeed();
        self.counts.end(open, Outcome::Success);
        self.counts.did(Did::CalledRetired);
    }
}
