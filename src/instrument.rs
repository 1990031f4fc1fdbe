//! The hook around each call: [`Instrument`], for code that has to be there while a tool runs, such
//! as code that opens spans.
//!
//! Owns how the hook is called, and how its scopes are entered and told. Promises:
//!
//! - A call that began is told to the hook before its start is counted, so that the hook's time is
//!   not the tool's. Its scope is told the end exactly once, after the counters and the event, on
//!   whichever thread ends the call.
//! - The scope is current while the tool's code runs, and not between polls: it is entered around
//!   the closure or each poll, and left when that returns, also when the tool panics.
//! - A panic of the hook, or of a scope when it is dropped, changes no count and unwinds nowhere.
//!   The tool runs exactly once, whatever a scope does with it.
//! - The hook is never called under a lock of ours.
//! - A call that a hook itself makes, while it is told something, is counted and told to no hook, also
//!   if it is of another registry. Without that, hooks that call metered tools would never return.
//!
//! Without a hook a call pays for a few branches that are predicted; all else lies in functions of
//! its own.
//!
//! # Orderings
//!
//! None: the hook is set before the registry is shared, and what is told is told on one thread.

use crate::contain::{Contained, Panicked, contained, discard};
use crate::handle::ToolState;
use crate::registry::Registry;
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
use toolmeter_events::{CallContext, ToolId};

/// A hook that is there while tools run; see [`RegistryBuilder::instrument`].
///
/// It is called on the threads that make and end calls, before and after the tool, so the caller
/// waits for as long as it takes. Where hearing of calls later is enough, a
/// [`Subscription`](crate::Subscription) costs less.
///
/// It may use the registry. Calls that it makes itself are counted, and told to no hook, neither to
/// it nor to that of another registry. Its panics are contained. A hook that keeps its registry has to
/// keep a [`WeakRegistry`](crate::WeakRegistry): with a [`Registry`] in it, neither would ever be
/// dropped.
///
/// [`RegistryBuilder::instrument`]: crate::RegistryBuilder::instrument
///
/// # Examples
///
/// A hook that knows which tool runs on this thread:
///
/// ```
/// use std::cell::RefCell;
/// use std::sync::Arc;
/// use toolmeter::{CallBegin, CallEnd, Instrument, Registry, Scope};
///
/// thread_local! {
///     static RUNNING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
/// }
///
/// struct KnowsWhatRuns;
/// struct Call(String);
///
/// impl Instrument for KnowsWhatRuns {
///     fn begin(&self, call: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
///         Some(Arc::new(Call(call.name.to_owned())))
///     }
/// }
///
/// impl Scope for Call {
///     fn in_scope(&self, body: &mut dyn FnMut()) {
///         RUNNING.with_borrow_mut(|running| running.push(self.0.clone()));
///         body();
///         RUNNING.with_borrow_mut(|running| running.pop());
///     }
///
///     fn end(&self, end: &CallEnd<'_>) {
///         println!("{} ended as {:?} after {:?}", self.0, end.outcome, end.latency);
///     }
/// }
///
/// let registry = Registry::builder().instrument(KnowsWhatRuns).build()?;
/// let shell = registry.register("shell")?;
/// shell.run(|| RUNNING.with_borrow(|running| assert_eq!(**running, ["shell"])));
/// RUNNING.with_borrow(|running| assert!(running.is_empty()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Instrument: Send + Sync + 'static {
    /// Begins a call. Returns its scope, or `None` if the hook wants to know no more of it.
    ///
    /// It is called where the caller is: on its thread, within its scope. For a tool that blocks,
    /// this is before the tool gets a thread.
    fn begin(&self, call: &CallBegin<'_>) -> Option<Arc<dyn Scope>>;

    /// Tells of a call that ended before it began: it was rejected, or no tool has the name. By
    /// default, the call is begun and ended, and its scope is never entered.
    ///
    /// It is called after the call was counted, and after its event if it has one.
    fn refused(&self, call: &CallBegin<'_>, end: &CallEnd<'_>) {
        if let Some(scope) = self.begin(call) {
            scope.end(end);
        }
    }

    /// Returns the scope that is current on this thread, of a call or of any other kind; `None` if
    /// there is none.
    ///
    /// It is asked where calls are handed to another thread or task, by `AutoRun` and
    /// [`Registry::in_current_scope`], so that [`begin`](Self::begin) is called within it there.
    fn current(&self) -> Option<Arc<dyn Scope>> {
        None
    }

    /// Returns whether arguments and results of calls by name are lent to the hook, as the model and
    /// the tool wrote them: unbounded, and not redacted.
    ///
    /// It is asked once, when the registry is built.
    fn wants_content(&self) -> bool {
        false
    }
}

/// The part of an [`Instrument`] that belongs to one call.
///
/// It is shared: a tool that blocks may still be within the scope when its call has ended, by a
/// time limit or because its caller is gone.
///
/// A future that is dropped before its end is dropped outside of its scope, since its call has
/// ended by then. A guard enters its scope where the host says
/// ([`CallGuard::in_scope`](crate::CallGuard::in_scope)).
pub trait Scope: Send + Sync + 'static {
    /// Makes the scope current, calls `body` and makes it not current any more.
    ///
    /// `body` runs the tool's code the first time it is called. It does not unwind, even if the tool
    /// panics. If it is not called, the tool's code is run without the scope.
    fn in_scope(&self, body: &mut dyn FnMut());

    /// Tells that the call has ended. It is called once, and never for a scope that
    /// [`current`](Instrument::current) returned.
    fn end(&self, end: &CallEnd<'_>) {
        let _ = end;
    }
}

/// The beginning of a call, as an [`Instrument`] is told of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallBegin<'a> {
    /// The name of the tool. If no tool has the name, it is the one that was asked for, escaped and
    /// cut to 256 bytes, or empty if the host did not say it.
    pub name: &'a str,
    /// The tool's id; `None` if no tool has the name.
    pub tool: Option<ToolId>,
    /// The number of the attempt, counted from 1.
    pub attempt: u16,
    /// The host's own names for the call, if it gave any.
    pub context: Option<&'a CallContext>,
    /// The arguments of a call by name, if the hook [wants](Instrument::wants_content) them.
    pub arguments: Option<&'a Value>,
}

/// The end of a call, as an [`Instrument`] is told of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallEnd<'a> {
    /// The outcome, as it was counted. A call by a name that no tool has is a failure of kind
    /// `not_found`.
    pub outcome: Outcome,
    /// The latency that was counted; `None` if the call was rejected or no tool has the name.
    pub latency: Option<Duration>,
    /// The message of the end: bounded, redacted and escaped as
    /// [`LastError::message`](crate::LastError::message) is.
    pub message: Option<&'a str>,
    /// The answer of a call by name, if the hook [wants](Instrument::wants_content) it.
    pub result: Option<&'a Value>,
}

thread_local! {
    /// Whether the hook is being told something on this thread.
    static IS_TOLD: Cell<bool> = const { Cell::new(false) };
}

/// Sets what the thread knows of the hook for the time of `code`, which does not unwind.
fn while_told<R>(is_told: bool, code: impl FnOnce() -> R) -> R {
    // Where the thread ends, nothing is told any more.
    let before = IS_TOLD
        .try_with(|told| told.replace(is_told))
        .unwrap_or(true);
    let result = code();
    let _ = IS_TOLD.try_with(|told| told.set(before));
    result
}

/// Tells the hook of a call, unless the hook makes the call; `None` if so, or if it panicked.
fn told<R>(hook: impl FnOnce() -> R) -> Option<R> {
    let is_told = IS_TOLD.try_with(Cell::get).unwrap_or(true);
    if is_told {
        return None;
    }
    while_told(true, || contained(hook).ok())
}

/// The hook of a registry.
pub(crate) struct Hook {
    instrument: Arc<dyn Instrument>,
    wants_content: bool,
}

/// A panic of the hook is caught wherever it is called.
impl UnwindSafe for Hook {}
impl RefUnwindSafe for Hook {}

impl Hook {
    /// Takes a hook over, and asks what it wants.
    pub(crate) fn new(instrument: Arc<dyn Instrument>) -> Self {
        Self {
            wants_content: told(|| instrument.wants_content()).unwrap_or(false),
            instrument,
        }
    }

    /// Tells that a call begins.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin(
        &self,
        state: &ToolState,
        attempt: u16,
        context: Option<&CallContext>,
        arguments: Option<&Value>,
    ) -> CallScope {
        let begin = CallBegin {
            name: &state.slot.name,
            tool: Some(state.slot.id),
            attempt,
            context,
            arguments: arguments.filter(|_| self.wants_content),
        };
        CallScope(told(|| self.instrument.begin(&begin)).flatten())
    }

    /// Tells of a call that was rejected before it began, or by the name of no tool.
    #[cold]
    #[inline(never)]
    pub(crate) fn refused(&self, begin: &CallBegin<'_>, outcome: Outcome, message: Option<&str>) {
        let end = CallEnd {
            outcome,
            latency: None,
            message,
            result: None,
        };
        let begin = CallBegin {
            arguments: begin.arguments.filter(|_| self.wants_content),
            ..*begin
        };
        let _ = told(|| self.instrument.refused(&begin, &end));
    }

    fn current(&self) -> CallScope {
        CallScope(told(|| self.instrument.current()).flatten())
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(..)")
    }
}

/// The scope of one call, or none.
#[derive(Clone, Default)]
pub(crate) struct CallScope(Option<Arc<dyn Scope>>);

/// A panic of the scope is caught wherever it is called.
impl UnwindSafe for CallScope {}
impl RefUnwindSafe for CallScope {}

impl CallScope {
    /// No scope: there is no hook, or it did not want one.
    pub(crate) const NONE: Self = Self(None);

    #[inline(always)]
    pub(crate) const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Leaves no scope behind.
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

    /// Tells the end of the call.
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
            // Always: what the hook ends may have begun elsewhere, and each call ends once.
            drop(while_told(true, || contained(|| scope.end(&end))));
        }
    }

    #[cold]
    #[inline(never)]
    fn drop_scope(&mut self) {
        while_told(true, || discard(self.0.take()));
    }
}

/// Runs `code` within a scope, exactly once, also if the hook panics or does not call it.
///
/// # Errors
///
/// [`Panicked`] if `code` panicked.
#[cold]
#[inline(never)]
fn within<R>(scope: &dyn Scope, code: impl FnOnce() -> R) -> Result<R, Panicked> {
    let mut code = Some(code);
    let mut result = None;
    let mut body = || {
        if let Some(code) = code.take() {
            result = Some(while_told(false, || contained(code)));
        }
    };
    let entered = while_told(true, || contained(|| scope.in_scope(&mut body)));
    drop(entered);
    body();
    match result {
        Some(result) => result,
        None => unreachable!("it was run just now, if not before"),
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
    /// A future that is polled within the scope.
    pub(crate) fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        InScope {
            scope: self.clone(),
            future,
        }
    }
}

impl Registry {
    /// Returns a future that is polled within the scope that is current here and now, as the hook
    /// of the registry knows it. Without a hook it is just the future.
    ///
    /// A task that is spawned begins with no scope. With this, the calls that it makes have the
    /// one that spawned it as their parent; `AutoRun` does so by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let registry = Registry::new();
    /// let search = registry.register("web_search")?;
    /// let call = async move { search.run_async(async { Ok::<_, String>(3) }).await };
    /// let task = tokio::spawn(registry.in_current_scope(call));
    /// assert_eq!(task.await?, Ok(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_current_scope<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let hook = self.shared().meter.hook.as_ref();
        hook.map_or(CallScope::NONE, Hook::current).around(future)
    }
}
