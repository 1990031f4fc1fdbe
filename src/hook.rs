//! The calling of the host's hook, and of the scopes that it keeps for calls.
//!
//! `instrument.rs` has the traits, and what a hook may rely on. Promises of this file:
//!
//! - A panic of the hook, or of a scope when it is dropped, changes no count and unwinds nowhere.
//!   The tool runs exactly once, whatever a scope does with it.
//! - A call that a hook itself makes, while it is called, is counted and not reported to any hook,
//!   even if the call is of another registry. Otherwise hooks that call metered tools would never
//!   return.
//!
//! Without a hook, a call costs a few predicted branches more; everything else is in separate
//! functions.
//!
//! # Orderings
//!
//! None: the hook is set before the registry is shared, and each report is made on one thread.

use crate::contain::{Contained, Panicked, contained, discard};
use crate::instrument::{CallBegin, CallEnd, Instrument, Scope};
use pin_project_lite::pin_project;
use serde_json::Value;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use toolmeter_core::Outcome;

thread_local! {
    /// True if this thread runs code of a hook, and none of a tool within it.
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as running code of a hook, or as not doing so, while it runs `code`, which
/// does not unwind.
fn mark_in_hook<R>(in_hook: bool, code: impl FnOnce() -> R) -> R {
    // A thread whose thread-locals are destroyed calls no hook.
    let before = IN_HOOK
        .try_with(|mark| mark.replace(in_hook))
        .unwrap_or(true);
    let result = code();
    let _ = IN_HOOK.try_with(|mark| mark.set(before));
    result
}

/// Calls the hook, unless the thread runs code of a hook already. Returns `None` then, or if the
/// hook panicked.
fn call_hook<R>(code: impl FnOnce() -> R) -> Option<R> {
    let in_hook = IN_HOOK.try_with(Cell::get).unwrap_or(true);
    if in_hook {
        return None;
    }
    mark_in_hook(true, || contained(code).ok())
}

/// The hook of a registry, and the result of its `wants_content`.
pub(crate) struct Hook {
    instrument: Arc<dyn Instrument>,
    wants_content: bool,
}

/// A panic of the hook is caught wherever it is called.
impl UnwindSafe for Hook {}
impl RefUnwindSafe for Hook {}

impl Hook {
    /// Wraps the host's hook, and calls its `wants_content`.
    pub(crate) fn new(instrument: Arc<dyn Instrument>) -> Self {
        Self {
            wants_content: call_hook(|| instrument.wants_content()).unwrap_or(false),
            instrument,
        }
    }

    /// Reports that a call begins.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin(&self, begin: &CallBegin<'_>) -> CallScope {
        let begin = self.without_unwanted(begin);
        CallScope(call_hook(|| self.instrument.begin(&begin)).flatten())
    }

    /// Returns what the hook may see of the beginning.
    fn without_unwanted<'a>(&self, begin: &CallBegin<'a>) -> CallBegin<'a> {
        CallBegin {
            arguments: begin.arguments.filter(|_| self.wants_content),
            ..*begin
        }
    }

    /// Reports a call that was rejected before it began, or whose name no tool has.
    #[cold]
    #[inline(never)]
    pub(crate) fn refused(&self, begin: &CallBegin<'_>, outcome: Outcome, message: Option<&str>) {
        let end = CallEnd {
            outcome,
            latency: None,
            message,
            result: None,
        };
        let begin = self.without_unwanted(begin);
        let _ = call_hook(|| self.instrument.refused(&begin, &end));
    }

    /// Returns the scope that is current on this thread.
    pub(crate) fn current(&self) -> CallScope {
        CallScope(call_hook(|| self.instrument.current()).flatten())
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(..)")
    }
}

/// The scope that the hook keeps for one call, or none.
#[derive(Clone, Default)]
pub(crate) struct CallScope(Option<Arc<dyn Scope>>);

/// A panic of the scope is caught wherever it is called.
impl UnwindSafe for CallScope {}
impl RefUnwindSafe for CallScope {}

impl CallScope {
    /// No scope: there is no hook, or it returned none.
    pub(crate) const NONE: Self = Self(None);

    #[inline(always)]
    pub(crate) const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Takes the scope out.
    #[inline(always)]
    pub(crate) const fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Runs `code` within the scope, if there is one.
    ///
    /// # Errors
    ///
    /// [`Panicked`] if `code` panicked.
    #[inline(always)]
    pub(crate) fn within<R>(&self, code: impl FnOnce() -> R) -> Result<R, Panicked> {
        match self.0.as_deref() {
            None => contained(code),
            Some(scope) => within(scope, code),
        }
    }

    /// Polls a future within the scope, if there is one.
    #[inline(always)]
    pub(crate) fn poll<F: Future>(
        &self,
        future: Pin<&mut Contained<F>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Panicked>> {
        match self.0.as_deref() {
            None => future.poll(context),
            Some(scope) => poll_within(scope, future, context),
        }
    }

    /// Reports the end of the call.
    #[cold]
    #[inline(never)]
    pub(crate) fn end(
        &self,
        hook: Option<&Hook>,
        outcome: Outcome,
        latency: Option<Duration>,
        message: Option<&str>,
        result: Option<&Value>,
    ) {
        let end = CallEnd {
            outcome,
            latency: latency.filter(|_| outcome != Outcome::Rejected),
            message,
            result: result.filter(|_| hook.is_some_and(|hook| hook.wants_content)),
        };
        if let Some(scope) = &self.0 {
            // Also if a hook ends the call: it may have begun elsewhere, and ends only once.
            drop(mark_in_hook(true, || contained(|| scope.end(&end))));
        }
    }

    #[cold]
    #[inline(never)]
    fn drop_scope(&mut self) {
        mark_in_hook(true, || discard(self.0.take()));
    }
}

/// Runs `code` within a scope: exactly once, even if the scope panics or does not call it.
///
/// # Errors
///
/// [`Panicked`] if `code` panicked.
#[cold]
#[inline(never)]
fn within<R>(scope: &dyn Scope, code: impl FnOnce() -> R) -> Result<R, Panicked> {
    let mut code = Some(code);
    let mut result = None;
    let mut run_once = || {
        if let Some(code) = code.take() {
            result = Some(mark_in_hook(false, || contained(code)));
        }
    };
    let entered = mark_in_hook(true, || contained(|| scope.in_scope(&mut run_once)));
    drop(entered);
    run_once();
    match result {
        Some(result) => result,
        None => unreachable!("the code was run just now, if not before"),
    }
}

/// Polls a future within a scope.
#[cold]
#[inline(never)]
fn poll_within<F: Future>(
    scope: &dyn Scope,
    future: Pin<&mut Contained<F>>,
    context: &mut Context<'_>,
) -> Poll<Result<F::Output, Panicked>> {
    match within(scope, || future.poll(context)) {
        Ok(polled) => polled,
        Err(panicked) => Poll::Ready(Err(panicked)),
    }
}

/// Dropping a scope runs the hook's code.
impl Drop for CallScope {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_some() {
            self.drop_scope();
        }
    }
}

impl fmt::Debug for CallScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() {
            "None"
        } else {
            "CallScope(..)"
        })
    }
}

pin_project! {
    /// A future that is polled within a scope.
    struct InScope<F> {
        scope: CallScope,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for InScope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.scope.is_none() {
            return this.future.poll(context);
        }
        match this.scope.within(|| this.future.poll(context)) {
            Ok(polled) => polled,
            Err(panicked) => panicked.resume(),
        }
    }
}

impl CallScope {
    /// Wraps a future so that it is polled within the scope.
    pub(crate) fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        InScope {
            scope: self.clone(),
            future,
        }
    }
}
