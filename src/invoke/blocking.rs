//! Tools that block, run on the runtime's threads for blocking work.
//!
//! Such a thread cannot be stopped. So the guard of the call lies where both sides reach it,
//! and whoever ends the call first takes it out: the tool when it is done, or the caller when
//! the time limit is over or its future is dropped. What the tool gives after that is
//! discarded. The call begins when the tool does: waiting for a thread is not its latency.

use super::{
    Callable, InvokeError, Invoked, call_body, catch_panic, conclude, invocation, time_out,
};
use crate::call::{CallGuard, CallOptions, OwnedCall};
use crate::handle::ToolHandle;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

/// Where a call stands.
enum Stage {
    /// No thread has begun it.
    Waiting,
    /// The tool runs.
    Running(OwnedCall),
    /// One side has ended it.
    Ended,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Stage>>);

impl Shared {
    /// Puts the call into the next stage and returns the stage it was in.
    fn replace(&self, stage: Stage) -> Stage {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, stage)
    }

    /// Begins the call, unless the caller has given it up.
    fn begin(&self, start: impl FnOnce() -> OwnedCall) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = matches!(*current, Stage::Waiting);
        if waits {
            *current = Stage::Running(start());
        }
        waits
    }
}

/// Ends the call as cancelled if the caller's future is dropped, also if no thread had begun it.
struct CancelOnDrop {
    shared: Shared,
    handle: ToolHandle,
    options: CallOptions,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // Dropping a guard counts its call as cancelled; here that is outside of the lock.
        match self.shared.replace(Stage::Ended) {
            Stage::Waiting => drop(self.handle.with(self.options.clone()).start()),
            Stage::Running(call) => drop(call),
            Stage::Ended => {}
        }
    }
}

pub(super) async fn run(
    callable: Callable,
    limit: Option<Duration>,
    args: Value,
    options: CallOptions,
) -> Invoked {
    let shared = Shared(Arc::new(Mutex::new(Stage::Waiting)));
    let _cancel = CancelOnDrop {
        shared: shared.clone(),
        handle: callable.handle.clone(),
        options: options.clone(),
    };
    let invocation = invocation(args, &options);
    let (handle, body) = (callable.handle.clone(), callable.body);
    let (tool_side, tool_options) = (shared.clone(), options.clone());
    let runtime = Handle::current();
    let mut running = spawn_blocking(move || {
        if !tool_side.begin(|| handle.with(tool_options).start_owned()) {
            return None;
        }
        let ended = runtime.block_on(catch_panic(call_body(&*body, invocation)));
        match tool_side.replace(Stage::Ended) {
            Stage::Running(call) => Some(conclude(call, ended)),
            Stage::Waiting | Stage::Ended => None,
        }
    });
    let joined = match limit {
        None => running.await,
        Some(limit) => match tokio::time::timeout(limit, &mut running).await {
            Ok(joined) => joined,
            Err(_) => match shared.replace(Stage::Ended) {
                Stage::Running(call) => return time_out(call, limit),
                // No thread was free for that long: the call counts, although the tool never ran.
                Stage::Waiting => {
                    return time_out(CallGuard::begin(callable.handle, options), limit);
                }
                // The tool ended at that very moment, and counted the call.
                Stage::Ended => running.await,
            },
        },
    };
    match joined {
        Ok(Some(invoked)) => invoked,
        // Only a runtime that shuts down forgets a task that nobody gave up.
        Ok(None) | Err(_) => {
            drop(shared.replace(Stage::Ended));
            let name = Arc::clone(&callable.handle.0.slot.name);
            let error = InvokeError::RuntimeStopped { name };
            CallGuard::begin(callable.handle, options).reject(&error);
            Invoked::refused(error)
        }
    }
}
