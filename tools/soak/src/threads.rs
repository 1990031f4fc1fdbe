//! Threads that come and go by the thousand.
//!
//! They come in groups larger than the number of stripes. Each makes a few calls of every kind
//! and one more while its thread-locals are being destroyed; one of each group hangs in a call
//! until it is cancelled.

use crate::calls::{Caller, KINDS_OF_CALLS};
use crate::counts::Counts;
use crate::crossing::Finisher;
use crate::did::Did;
use crate::host::{Host, STRIPES};
use crate::tools::{HANGING, SHORT_LIVED};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use toolmeter::{Outcome, ToolHandle};

/// The number of threads that live at once.
const GROUP: usize = 2 * STRIPES;
/// The number of calls that each makes.
const CALLS: u64 = 6;

/// A handle whose tool is called when it is dropped.
struct LastCall(ToolHandle);

impl Drop for LastCall {
    fn drop(&mut self) {
        self.0.start().succeed();
    }
}

thread_local! {
    static LAST: Cell<Option<LastCall>> = const { Cell::new(None) };
}

/// Makes threads until the load is over. Their counts are complete: each is joined, which also
/// waits for its thread-locals.
pub(crate) fn come_and_go(host: &Arc<Host>, finisher: &Finisher) -> Counts {
    let mut counts = Counts::default();
    let mut step = 0;
    while !host.is_over() {
        let (cancel, cancelled) = channel::<()>();
        let hung = hang(host, cancelled);
        let group: Vec<JoinHandle<Counts>> = (1..GROUP)
            .map(|_| {
                let caller = Caller::new(host, finisher, step);
                step += CALLS % KINDS_OF_CALLS;
                let last = LastCall(host.tool(SHORT_LIVED).clone());
                thread::spawn(move || short_life(caller, last))
            })
            .collect();
        for thread in group {
            counts.add(&thread.join().expect("a short-lived thread panicked"));
            counts.whole(SHORT_LIVED, 1, Outcome::Success);
            counts.did(Did::Thread);
        }
        drop(cancel);
        counts.add(&hung.join().expect("a hung thread panicked"));
        counts.did(Did::Thread);
        host.rest(Duration::from_millis(1));
        host.wait_for_receivers();
    }
    counts
}

fn short_life(mut caller: Caller, last: LastCall) -> Counts {
    LAST.set(Some(last));
    for _ in 0..CALLS {
        caller.call();
    }
    caller.counts
}

/// Spawns a thread in a call that ends only when another thread cancels it.
fn hang(host: &Arc<Host>, cancelled: Receiver<()>) -> JoinHandle<Counts> {
    let host = Arc::clone(host);
    thread::spawn(move || {
        let mut counts = Counts::default();
        let open = counts.begin(HANGING, 1);
        let call = host.tool(HANGING).start();
        // It returns only when the sender is dropped.
        let _ = cancelled.recv();
        drop(call);
        counts.end(open, Outcome::Cancelled);
        counts
    })
}
