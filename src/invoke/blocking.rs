//! Tools that block, run on the runtime's threads for blocking work.
//!
//! Such a thread cannot be stopped. So the guard of the call lies where both sides reach it,
//! and whoever ends the call first takes it out: the tool when it is done, or the caller when
//! the time limit is over or its future is dropped. What the tool gives after that is
//! discarded. The call begins and ends when the tool does: waiting for a thread, or for its
//! caller to hear of the end, is not its latency.
//!
//! The tool runs there as any closure under `spawn_blocking` does, not within the runtime: it may
//! block on the runtime, own a runtime of its own, and receive blocking.

use super::{Given, Invoked, JudgeAnswer, Limit, judge, time_out};
use crate::call::{self, CallGuard, CallOptions, OwnedCall};
use crate::clock::Tick;
use crate::contain::{contained, discard};
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

/// A call of a tool that blocks, as its caller sees it.
pub(super) struct Running<C> {
    shared: Shared,
    handle: ToolHandle,
    options: CallOptions,
    rule: Option<C>,
    /// Gives what the tool gave, if the tool ended the call.
    thread: JoinHandle<Option<Done>>,
    limit: Option<Limit>,
}

impl<C> Running<C> {
    pub(super) fn new(
        runtime: &Handle,
        handle: ToolHandle,
        options: CallOptions,
        invocation: Invocation,
        rule: C,
    ) -> Self {
        let shared = Shared(Arc::new(Mutex::new(Stage::Waiting)));
        let tool_side = (shared.clone(), handle.clone(), options.clone());
        Self {
            thread: runtime.spawn_blocking(move || run(tool_side, invocation)),
            shared,
            handle,
            options,
            rule: Some(rule),
            limit: None,
        }
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
    if !shared.begin(|| CallGuard::begin(handle, options)) {
        return None;
    }
    let given = contained(|| pollster::block_on(body.tool().call(invocation)));
    let at = state.meter.clock.tick();
    match shared.replace(Stage::Ended) {
        Stage::Running(call) => Some(Done { call, given, at }),
        Stage::Waiting | Stage::Ended => {
            discard(given);
            None
        }
    }
}

impl<C: JudgeAnswer> Running<C> {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Invoked> {
        if let Poll::Ready(joined) = Pin::new(&mut self.thread).poll(context) {
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
            Stage::Waiting => {
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
            Stage::Waiting => {
                CallGuard::begin(self.handle.clone(), self.options.clone()).cancel();
            }
            Stage::Running(call) => {
                call.cancel();
            }
            Stage::Ended => {}
        }
    }
}
