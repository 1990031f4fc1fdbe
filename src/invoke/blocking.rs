//! Tools that block, run on the runtime's threads for blocking work.
//!
//! Such a thread cannot be stopped. So the guard of the call lies where both sides reach it,
//! and the side that ends the call first takes it out: the tool when it is done, or the caller when
//! the time limit is over or its future is dropped. What the tool gives after that is
//! discarded. The call begins and ends when the tool does: waiting for a thread, or for its
//! caller to hear of the end, is not its latency.
//!
//! All of a call lies there, also its arguments and what it holds, a permit of the loop that makes
//! it: so of a call that is given up before a thread has begun it nothing waits for one. What a
//! call holds goes with the thread: the thread gives it back when the tool has returned, whether
//! or not the call had ended before.
//!
//! The hook is told that the call begins where its caller is, before there is a thread, and its
//! scope is entered on the thread. It is never called while the guard is locked.
//!
//! The tool runs there as any closure under `spawn_blocking` does, not within the runtime: it may
//! block on the runtime, own a runtime of its own, and receive blocking.

use super::{Given, Held, Invoked, JudgeAnswer, Limit, judge, time_out};
use crate::call::{self, CallGuard, CallOptions, Known, OwnedCall};
use crate::clock::Tick;
use crate::contain::{Contained, contained, discard};
use crate::error::InvokeError;
use crate::handle::ToolHandle;
use crate::instrument::CallScope;
use crate::tool::Invocation;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use toolmeter_core::{ErrorKind, Outcome};

/// What a tool gave, with the call that it ends and when it did.
struct Done {
    call: OwnedCall,
    given: Given,
    at: Tick,
}

/// A call that no thread has begun.
struct Waiting {
    handle: ToolHandle,
    options: CallOptions,
    invocation: Invocation,
    held: Held,
    /// What the hook keeps of it.
    scope: CallScope,
}

/// Where a call stands.
enum Stage {
    Waiting(Box<Waiting>),
    /// The tool runs.
    Running(OwnedCall),
    /// One side has ended it.
    Ended,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Stage>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the call, for the side that does so first, and returns the stage it was in.
    fn end(&self) -> Stage {
        mem::replace(&mut *self.lock(), Stage::Ended)
    }

    /// Begins the call, unless the caller has given it up. Returns what its thread needs.
    fn begin(&self) -> Option<(ToolHandle, Invocation, Held, CallScope)> {
        let mut stage = self.lock();
        let Stage::Waiting(waiting) = mem::replace(&mut *stage, Stage::Ended) else {
            return None;
        };
        let (tool, scope) = (waiting.handle.clone(), waiting.scope.clone());
        let call = CallGuard::begin_in(waiting.handle, waiting.options, waiting.scope);
        *stage = Stage::Running(call);
        Some((tool, waiting.invocation, waiting.held, scope))
    }
}

impl Waiting {
    /// The call, begun only to be ended.
    fn begun(self) -> OwnedCall {
        CallGuard::begin_in(self.handle, self.options, self.scope)
    }
}

/// A call of a tool that blocks, as its caller sees it.
pub(super) struct Running<C> {
    shared: Shared,
    name: Arc<str>,
    rule: Option<C>,
    /// Gives what the tool gave, if the tool ended the call.
    thread: JoinHandle<Option<Done>>,
    limit: Option<Limit>,
}

impl<C> Running<C> {
    /// Asks the runtime for a thread that makes the call.
    ///
    /// # Errors
    ///
    /// How the call ended, if the runtime has no thread and can have none.
    pub(super) fn start(
        runtime: &Handle,
        (handle, options): (ToolHandle, CallOptions),
        invocation: Invocation,
        rule: C,
        held: Held,
    ) -> Result<Self, Invoked> {
        // Here, where the caller is.
        let scope = call::scope(&handle, &options, Some(&invocation.args));
        let name = Arc::clone(&handle.0.slot.name);
        let shared = Shared(Arc::new(Mutex::new(Stage::Waiting(Box::new(Waiting {
            handle,
            options,
            invocation,
            held,
            scope,
        })))));
        let tool_side = shared.clone();
        // Tokio panics if there is no thread, and keeps the closure in its queue.
        let thread = contained(|| runtime.spawn_blocking(move || run(&tool_side)));
        match thread {
            Ok(thread) => Ok(Self {
                shared,
                name,
                rule: Some(rule),
                thread,
                limit: None,
            }),
            Err(_) => Err(without_thread(&shared, name)),
        }
    }

    pub(super) fn within(mut self, limit: Option<Limit>) -> Self {
        self.limit = limit;
        self
    }
}

/// Ends a call for which there is no thread.
#[cold]
fn without_thread(shared: &Shared, name: Arc<str>) -> Invoked {
    let error = InvokeError::NoThread { name };
    let call = match shared.end() {
        Stage::Waiting(waiting) => waiting.begun(),
        // A thread was there at that very moment, and has begun it.
        Stage::Running(call) => call,
        // It is done already; no caller hears of its answer, so it is cancelled.
        Stage::Ended => {
            return Invoked {
                answer: Err(error),
                outcome: Outcome::Cancelled,
            };
        }
    };
    call.fail(ErrorKind::Other, &error);
    Invoked::failed(error)
}

/// Runs the tool, unless the caller has given the call up.
fn run(shared: &Shared) -> Option<Done> {
    // What it holds is dropped when the tool has returned and what it gave is discarded, if it is.
    let (tool, invocation, _held, scope) = shared.begin()?;
    let body = tool.0.body.as_ref()?;
    let call = || pollster::block_on(Contained::new(body.tool().call(invocation)));
    let given = scope.within(call).and_then(|given| given);
    let at = tool.0.meter.clock.tick();
    match shared.end() {
        Stage::Running(call) => Some(Done { call, given, at }),
        Stage::Waiting(_) | Stage::Ended => {
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
                    let answer = invoked.answer.as_ref().ok();
                    done.call.finish_at(&verdict, answer, done.at);
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
        match self.shared.end() {
            Stage::Running(call) => Poll::Ready(time_out(call, limit)),
            // No thread was free for that long: the call counts, although the tool never ran.
            Stage::Waiting(waiting) => Poll::Ready(time_out(waiting.begun(), limit)),
            // The tool ended at that very moment; its thread is about to give the answer.
            Stage::Ended => {
                self.limit = None;
                Poll::Pending
            }
        }
    }

    /// The call was never begun, since the runtime is shutting down.
    fn stopped(&self) -> Invoked {
        let name = Arc::clone(&self.name);
        let error = InvokeError::RuntimeStopped { name };
        if let Stage::Waiting(waiting) = self.shared.end() {
            let known = Known::Begun(&waiting.scope);
            call::reject(&waiting.handle, &waiting.options, known, &error);
        }
        Invoked::failed(error)
    }
}

/// Ends the call as cancelled if the caller's future is dropped, also if no thread had begun it.
impl<C> Drop for Running<C> {
    fn drop(&mut self) {
        match self.shared.end() {
            Stage::Waiting(waiting) => {
                waiting.begun().cancel();
            }
            Stage::Running(call) => {
                call.cancel();
            }
            Stage::Ended => {}
        }
    }
}
