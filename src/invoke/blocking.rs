//! Tools that block, run on the runtime's threads for blocking work.
//!
//! Such a thread cannot be stopped. So the guard of the call lies where both sides reach it,
//! and whoever ends the call first takes it out: the tool when it is done, or the caller when
//! the time limit is over or its future is dropped. What the tool gives after that is
//! discarded. The call begins and ends when the tool does: waiting for a thread, or for its
//! caller to hear of the end, is not its latency.
//!
//! What the call holds, a permit of the loop that makes it, goes with the thread: the thread gives
//! it back when the tool has returned, whether or not the call had ended before. A call that is
//! given up before a thread has begun it gives it back at once.
//!
//! The tool runs there as any closure under `spawn_blocking` does, not within the runtime: it may
//! block on the runtime, own a runtime of its own, and receive blocking.

use super::{Given, Held, Invoked, JudgeAnswer, Limit, judge, time_out};
use crate::call::{self, CallGuard, CallOptions, OwnedCall};
use crate::clock::Tick;
use crate::contain::{Contained, contained, discard};
use crate::error::InvokeError;
use crate::handle::ToolHandle;
use crate::tool::Invocation;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// What a tool gave, with the call that it ends and when it did.
struct Done {
    call: OwnedCall,
    given: Given,
    at: Tick,
}

/// Where a call stands.
enum Stage {
    /// No thread has begun it; with what it holds.
    Waiting(Held),
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

    /// Begins the call and returns what it holds, unless the caller has given it up.
    fn begin(&self, start: impl FnOnce() -> OwnedCall) -> Option<Held> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Stage::Waiting(held) = &mut *current else {
            return None;
        };
        let held = std::mem::take(held);
        *current = Stage::Running(start());
        Some(held)
    }
}

/// A call of a tool that blocks, as its caller sees it.
pub(super) struct Running<C> {
    shared: Shared,
    handle: ToolHandle,
    options: CallOptions,
    rule: Option<C>,
    /// Gives what the tool gave, if the tool ended the call. There is one once it is asked for.
    thread: Option<JoinHandle<Option<Done>>>,
    limit: Option<Limit>,
}

impl<C> Running<C> {
    pub(super) fn new(
        runtime: &Handle,
        (handle, options): (ToolHandle, CallOptions),
        invocation: Invocation,
        rule: C,
        held: Held,
    ) -> Self {
        let shared = Shared(Arc::new(Mutex::new(Stage::Waiting(held))));
        let tool_side = (shared.clone(), handle.clone(), options.clone());
        let mut running = Self {
            shared,
            handle,
            options,
            rule: Some(rule),
            thread: None,
            limit: None,
        };
        // It panics if there is no thread and none can be had: the call is counted then, too.
        running.thread = Some(runtime.spawn_blocking(move || run(tool_side, invocation)));
        running
    }

    pub(super) fn within(mut self, limit: Option<Limit>) -> Self {
        self.limit = limit;
        self
    }
}

/// Runs the tool, unless the caller has given the call up.
fn run(
    (shared, handle, options): (Shared, ToolHandle, CallOptions),
    invocation: Invocation,
) -> Option<Done> {
    let state = Arc::clone(&handle.0);
    let body = state.body.as_ref()?;
    // Dropped when the tool has returned and what it gave is discarded, if it is.
    let _held = shared.begin(|| CallGuard::begin(handle, options))?;
    let future = contained(|| body.tool().call(invocation));
    let given = future.and_then(|future| pollster::block_on(Contained::new(future)));
    let at = state.meter.clock.tick();
    match shared.replace(Stage::Ended) {
        Stage::Running(call) => Some(Done { call, given, at }),
        Stage::Waiting(_) | Stage::Ended => {
            discard(given);
            None
        }
    }
}

impl<C: JudgeAnswer> Running<C> {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Invoked> {
        if let Some(thread) = &mut self.thread
            && let Poll::Ready(joined) = Pin::new(thread).poll(context)
        {
            return Poll::Ready(match (joined, self.rule.take()) {
                (Ok(Some(done)), Some(rule)) => {
                    let (verdict, invoked) = judge(&done.call, rule, done.given);
                    done.call.finish_at(&verdict, done.at);
                    invoked
                }
                // Only a runtime that shuts down forgets a task that its caller waits for.
                _ => self.stopped(),
            });
        }
        let Some(limit) = &mut self.limit else {
            return Poll::Pending;
        };
        if !limit.is_over(context) {
            return Poll::Pending;
        }
        let limit = limit.limit;
        match self.shared.replace(Stage::Ended) {
            Stage::Running(call) => Poll::Ready(time_out(call, limit)),
            // No thread was free for that long: the call counts, although the tool never ran.
            Stage::Waiting(_) => {
                let call = CallGuard::begin(self.handle.clone(), self.options.clone());
                Poll::Ready(time_out(call, limit))
            }
            // The tool ended at that very moment; its thread is about to give the answer.
            Stage::Ended => {
                self.limit = None;
                Poll::Pending
            }
        }
    }

    /// The call was never begun, since the runtime is shutting down.
    fn stopped(&self) -> Invoked {
        drop(self.shared.replace(Stage::Ended));
        let name = Arc::clone(&self.handle.0.slot.name);
        let error = InvokeError::RuntimeStopped { name };
        call::reject(&self.handle, self.options.clone(), &error);
        Invoked::failed(error)
    }
}

/// Ends the call as cancelled if the caller's future is dropped, also if no thread had begun it.
impl<C> Drop for Running<C> {
    fn drop(&mut self) {
        // Dropping a guard counts its call as cancelled; here that is outside of the lock.
        match self.shared.replace(Stage::Ended) {
            Stage::Waiting(_) => {
                CallGuard::begin(self.handle.clone(), self.options.clone()).cancel();
            }
            Stage::Running(call) => {
                call.cancel();
            }
            Stage::Ended => {}
        }
    }
}
