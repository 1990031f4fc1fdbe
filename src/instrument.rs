//! The hook around each call: [`Instrument`] and [`Scope`], for code that must run around a tool,
//! such as code that opens spans.
//!
//! Promises, which `hook.rs` and `call.rs` keep:
//!
//! - The beginning of a call is reported to the hook before the start is counted, so the hook's
//!   time is not part of the tool's. The end is reported to its scope exactly once, after the
//!   counters and the event, on the thread that ends the call.
//! - The scope is current while the tool's code runs, and not between polls. It is entered around
//!   the closure or each poll, and left when that returns, even when the tool panics.
//! - The hook is never called under a lock of ours.

use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use toolmeter_core::Outcome;
use toolmeter_events::{CallContext, ToolId};

/// A hook that is called around each call; see [`RegistryBuilder::instrument`].
///
/// It is called on the threads that make and end calls, before and after the tool, so the caller
/// waits for it. If calls need to be known only later, a [`Subscription`](crate::Subscription)
/// costs less.
///
/// A hook may use the registry. Calls that it makes itself are counted, but not reported to a hook,
/// neither to this one nor to that of another registry. Its panics are contained. A hook that keeps
/// its registry has to keep a [`WeakRegistry`](crate::WeakRegistry): if it kept a [`Registry`],
/// neither would ever be dropped.
///
/// [`RegistryBuilder::instrument`]: crate::RegistryBuilder::instrument
/// [`Registry`]: crate::Registry
///
/// # Examples
///
/// A hook that records which tool runs on this thread:
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
    /// Begins a call. Returns its scope, or `None` if the hook wants no more reports of this call.
    ///
    /// This is called on the caller's thread, within the caller's scope. For a tool that blocks,
    /// it is called before the tool gets a thread.
    fn begin(&self, call: &CallBegin<'_>) -> Option<Arc<dyn Scope>>;

    /// Reports a call that ended before it began: it was rejected, or no tool has the name. The
    /// default implementation begins and ends the call, and never enters its scope.
    ///
    /// This is called after the call was counted, and after its event if it has one.
    fn refused(&self, call: &CallBegin<'_>, end: &CallEnd<'_>) {
        if let Some(scope) = self.begin(call) {
            scope.end(end);
        }
    }

    /// Returns the scope that is current on this thread, of a call or of any other kind; `None` if
    /// there is none.
    ///
    /// `AutoRun` and [`Registry::in_current_scope`](crate::Registry::in_current_scope) call this
    /// before they hand calls to another thread or task. There, [`begin`](Self::begin) is called
    /// within the scope.
    fn current(&self) -> Option<Arc<dyn Scope>> {
        None
    }

    /// Returns whether arguments and results of calls by name are passed to the hook, as the model
    /// and the tool wrote them: unbounded, and not redacted.
    ///
    /// This is called once, when the registry is built.
    fn wants_content(&self) -> bool {
        false
    }
}

/// The part of an [`Instrument`] that belongs to one call.
///
/// A scope is shared: a tool that blocks may still be within it after its call has ended, because
/// of a time limit or because its caller is gone.
///
/// A future that is dropped before its end is dropped outside of its scope, since its call has
/// ended by then. A guard enters its scope only in
/// [`CallGuard::in_scope`](crate::CallGuard::in_scope) and
/// [`in_scope_async`](crate::CallGuard::in_scope_async).
pub trait Scope: Send + Sync + 'static {
    /// Makes the scope current, calls `body`, and makes the scope before it current again.
    ///
    /// `body` runs the tool's code the first time it is called. It does not unwind, even if the tool
    /// panics. If this never calls `body`, the tool's code runs outside of the scope.
    fn in_scope(&self, body: &mut dyn FnMut());

    /// Reports the end of the call. This is called once, and never for a scope that
    /// [`current`](Instrument::current) returned.
    fn end(&self, end: &CallEnd<'_>) {
        let _ = end;
    }
}

/// The beginning of a call, as reported to an [`Instrument`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallBegin<'a> {
    /// The name of the tool. If no tool has the name, this is the name that was asked for, escaped
    /// and cut to 256 bytes.
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

/// The end of a call, as reported to an [`Instrument`].
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
