//! Calls by name of tools that block, which run on the runtime's threads for blocking work.
//!
//! Such a thread cannot be stopped. So the thread and the caller share the guard of the call, and
//! the side that ends the call first takes it out: the thread when the tool is done, or the caller
//! when the time limit is over or its future is dropped. What the tool returns after that is
//! discarded. The latency is that of the tool: the time until there is a thread, and the time until
//! the caller is polled after the end, are not part of it.
//!
//! Before a thread begins the call, both sides share all of it, also its arguments and its permit of
//! `AutoRun`. So if the caller gives the call up before that, nothing of it waits for a thread. Then
//! the permit belongs to the thread, which drops it when the tool has returned, whether or not the
//! call had ended before.
//!
//! The beginning is reported to the hook on the caller's thread, before there is a thread. The
//! hook's scope is entered on the thread of the tool. The hook is never called while the guard is
//! locked.
//!
//! As any closure under `spawn_blocking`, the tool does not run within the runtime: it may block on
//! the runtime, own a runtime, and call blocking methods of channels.

use super::answer::{Invoked, JudgeAnswer, Returned, judge, time_out};
use super::held_permit::HeldPermit;
use super::limit::Limit;
use crate::call::{CallGuard, OwnedCall, begin_scope};
use crate::call_options::CallOptions;
use crate::clock::Tick;
use crate::contain::{Contained, contained, discard};
use crate::error::InvokeError;
use crate::hook::CallScope;
use crate::rejection::{Reported, reject};
use crate::tool::Invocation;
use crate::tool_state::ToolHandle;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use toolmeter_core::{ErrorKind, Outcome};

/// The result of a tool, with the call that it ends and the time when it returned.
struct Finished {
    call: OwnedCall,
    returned: Returned,
    at: Tick,
}

/// A call that no thread has begun yet.
struct Waiting {
    handle: ToolHandle,
    options: CallOptions,
    invocation: Invocation,
    permit: HeldPermit,
    /// The hook's scope of the call.
    scope: CallScope,
}

/// The stage of a call.
enum Stage {
    Waiting(Box<Waiting>),
    /// The tool runs.
    Running(OwnedCall),
    /// One side has ended the call.
    Ended,
}

/// The state of a call, shared by its caller and its thread.
#[derive(Clone)]
struct Shared(Arc<Mutex<Stage>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the call as ended. Returns the stage before: the side that ends the call first gets its
    /// guard.
    fn end(&self) -> Stage {
        mem::replace(&mut *self.lock(), Stage::Ended)
    }

    /// Begins the call, unless the caller has given it up. Returns what the thread needs.
    fn begin(&self) -> Option<(ToolHandle, Invocation, HeldPermit, CallScope)> {
        let mut stage = self.lock();
        let Stage::Waiting(waiting) = mem::replace(&mut *stage, Stage::Ended) else {
            return None;
        };
        let (tool, scope) = (waiting.handle.clone(), waiting.scope.clone());
        let call = CallGuard::begin_in(waiting.handle, waiting.options, waiting.scope);
        *stage = Stage::Running(call);
        Some((tool, waiting.invocation, waiting.permit, scope))
    }
}

impl Waiting {
    /// Begins the call, only to end it.
    fn begun(self) -> OwnedCall {
        CallGuard::begin_in(self.handle, self.options, self.scope)
    }
}

/// A call of a tool that blocks, as its caller sees it.
pub(super) struct BlockingCall<C> {
    shared: Shared,
    name: Arc<str>,
    rule: Option<C>,
    /// Returns the result of the tool, if the tool ended the call.
    thread: JoinHandle<Option<Finished>>,
    limit: Option<Limit>,
}

impl<C> BlockingCall<C> {
    /// Makes the call on a thread of the runtime.
    ///
    /// # Errors
    ///
    /// The answer, if the runtime has no thread and cannot start one.
    pub(super) fn start(
        runtime: &Handle,
        (handle, options): (ToolHandle, CallOptions),
        invocation: Invocation,
        rule: C,
        permit: HeldPermit,
    ) -> Result<Self, Invoked> {
        // Here, on the thread of the caller.
        let scope = begin_scope(&handle, &options, Some(&invocation.args));
        let name = Arc::clone(&handle.0.slot.name);
        let shared = Shared(Arc::new(Mutex::new(Stage::Waiting(Box::new(Waiting {
            handle,
            options,
            invocation,
            permit,
            scope,
        })))));
        let tool_side = shared.clone();
        // Tokio panics if it cannot start a thread, and keeps the closure in its queue.
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

/// Ends a call for which the runtime has no thread. Returns the answer.
#[cold]
fn without_thread(shared: &Shared, name: Arc<str>) -> Invoked {
    let error = InvokeError::NoThread { name };
    let call = match shared.end() {
        Stage::Waiting(waiting) => waiting.begun(),
        // A thread became free just then, and has begun the call.
        Stage::Running(call) => call,
        // The tool is done already. No caller gets its answer, so the call is cancelled.
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
fn run(shared: &Shared) -> Option<Finished> {
    // The permit is dropped when the tool has returned, after what it returned is discarded.
    let (tool, invocation, _permit, scope) = shared.begin()?;
    let callable = tool.0.callable.as_ref()?;
    let call = || pollster::block_on(Contained::new(callable.tool().call(invocation)));
    let returned = scope.within(call).and_then(|returned| returned);
    let at = tool.0.env.clock.tick();
    match shared.end() {
        Stage::Running(call) => Some(Finished { call, returned, at }),
        Stage::Waiting(_) | Stage::Ended => {
            discard(returned);
            None
        }
    }
}

impl<C: JudgeAnswer> BlockingCall<C> {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Invoked> {
        if let Poll::Ready(joined) = Pin::new(&mut self.thread).poll(context) {
            return Poll::Ready(match (joined, self.rule.take()) {
                (Ok(Some(done)), Some(rule)) => {
                    let (verdict, invoked) = judge(&done.call, rule, done.returned);
                    let answer = invoked.answer.as_ref().ok();
                    done.call.finish_at(&verdict, answer, done.at);
                    invoked
                }
                // Only a runtime that shuts down drops a task that its caller waits for.
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
            // No thread was free until now: the call is counted, although the tool never ran.
            Stage::Waiting(waiting) => Poll::Ready(time_out(waiting.begun(), limit)),
            // The tool ended just then, and its thread is about to return the answer.
            Stage::Ended => {
                self.limit = None;
                Poll::Pending
            }
        }
    }

    /// Ends a call that no thread will begin, since the runtime shuts down. Returns the answer.
    fn stopped(&self) -> Invoked {
        let name = Arc::clone(&self.name);
        let error = InvokeError::RuntimeStopped { name };
        if let Stage::Waiting(waiting) = self.shared.end() {
            let reported = Reported::Begun(&waiting.scope);
            reject(&waiting.handle, &waiting.options, reported, &error);
        }
        Invoked::failed(error)
    }
}

/// Ends the call as cancelled if the caller's future is dropped, even if no thread has begun it.
impl<C> Drop for BlockingCall<C> {
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
