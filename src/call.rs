//! [`CallGuard`]: one running call. A guard times its call, counts its start and its end, and
//! reports both.
//!
//! [`ToolHandle::start`] reads the clock and counts the start. Finishing or dropping the guard
//! reads the clock again and counts the end, in the stripe of the thread that does so. Unless the
//! thread has to take an index (`stripe.rs`), nothing on this path waits, locks, allocates or makes
//! a system call. The work for failures, subscriptions and hooks is in separate functions.
//!
//! Every start is followed by exactly one end. A guard that is dropped counts its call as
//! cancelled, whatever else happens on its thread. So a future that is dropped before its end is
//! counted, with the time that it took. A panic is counted where the tool is run (`judging.rs`),
//! since it is known to be the tool's only there.
//!
//! A guard counts first, then keeps the text of a failure, then offers the event, then reports to
//! the hook. So none of them shows what the counters do not.
//!
//! NB: the functions of this path, and those of the slot, are always inlined: otherwise the
//! compiler leaves them as calls, which cost 1.5 ns of 30 (Zen 4 under KVM, floor of two clock
//! reads 18.9). The stripe is found before the clock is read; `slot` of the core says why the work
//! after the second reading is expensive.

use crate::call_options::CallOptions;
use crate::classify::{Classify, Verdict};
use crate::clock::{HostClock, Tick};
use crate::contain::{Contained, Panicked, discard};
use crate::end_message::{EndMessage, keep_message};
use crate::hook::{CallScope, Hook};
use crate::instrument::CallBegin;
use crate::stripe;
use crate::tool_state::{ToolHandle, ToolState};
use serde_json::Value;
use std::borrow::Borrow;
use std::fmt::{self, Display};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use toolmeter_core::{ErrorKind, Finish, Outcome};
use toolmeter_events::{CallContext, CallId, Draft};

/// A running call that borrows its handle; see [`ToolHandle::start`].
pub type Call<'a> = CallGuard<&'a ToolHandle>;

/// A running call that owns a clone of its handle; see [`ToolHandle::start_owned`].
pub type OwnedCall = CallGuard<ToolHandle>;

/// One running call, counted as in flight until it is finished or dropped.
///
/// A guard may be finished on any thread. Dropping it counts the call as [cancelled](Self::cancel),
/// even while the thread unwinds, since the panic may not be the tool's.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, Registry};
///
/// let registry = Registry::new();
/// let shell = registry.register("shell")?;
/// let call = shell.start();
/// assert_eq!(registry.metrics().tools["shell"].in_flight, 1);
/// call.fail(ErrorKind::Timeout, "killed after 30 s");
/// drop(shell.start());
///
/// let metrics = registry.metrics();
/// let stats = &metrics.tools["shell"];
/// assert_eq!((stats.failure(), stats.cancelled(), stats.in_flight), (1, 1, 0));
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
///
/// A call cannot be finished twice:
///
/// ```compile_fail,E0382
/// # use toolmeter::{ErrorKind, Registry};
/// # let shell = Registry::new().register("shell").unwrap();
/// let call = shell.start();
/// call.succeed();
/// call.fail(ErrorKind::Timeout, "killed after 30 s");
/// ```
///
/// The compiler warns about a guard that is not kept:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # use toolmeter::Registry;
/// # let shell = Registry::new().register("shell").unwrap();
/// shell.start();
/// ```
#[must_use = "a call that is dropped is counted as cancelled"]
pub struct CallGuard<H: Borrow<ToolHandle>> {
    handle: H,
    started: Tick,
    /// The id under which the start was offered, if it was.
    id: Option<CallId>,
    context: Option<Arc<CallContext>>,
    /// The hook's scope of the call, until the call has ended.
    scope: CallScope,
    attempt: u16,
    ended: bool,
}

impl Call<'_> {
    /// Returns the same call with a clone of its handle.
    pub(crate) fn into_owned(mut self) -> OwnedCall {
        self.ended = true;
        CallGuard {
            handle: self.handle.clone(),
            started: self.started,
            id: self.id,
            context: self.context.take(),
            scope: self.scope.take(),
            attempt: self.attempt,
            ended: false,
        }
    }
}

impl<H: Borrow<ToolHandle>> CallGuard<H> {
    /// Begins a call.
    #[inline(always)]
    pub(crate) fn begin(handle: H, options: CallOptions) -> Self {
        Self::begin_with(handle, options, None)
    }

    /// Begins a call by name, with these arguments.
    #[inline(always)]
    pub(crate) fn begin_with(handle: H, options: CallOptions, arguments: Option<&Value>) -> Self {
        let scope = begin_scope(handle.borrow(), &options, arguments);
        Self::begin_in(handle, options, scope)
    }

    /// Begins a call whose beginning was reported to the hook before.
    #[inline(always)]
    pub(crate) fn begin_in(handle: H, options: CallOptions, scope: CallScope) -> Self {
        let state = &*handle.borrow().0;
        let index = stripe::current();
        let stripe = state.memory.stripe(index);
        let started = state.env.clock.tick();
        stripe.start(options.attempt);
        let id = if state.env.rings.is_open() {
            Some(offer_started(state, index, started, &options))
        } else {
            None
        };
        Self {
            handle,
            started,
            id,
            context: options.context,
            scope,
            attempt: options.attempt,
            ended: false,
        }
    }

    /// Ends the call as a success. Returns its latency.
    #[inline]
    pub fn succeed(mut self) -> Duration {
        self.end(Outcome::Success, None)
    }

    /// Ends the call as a failure. Returns its latency.
    ///
    /// The message is cut to 512 bytes (or to
    /// [`max_message_bytes`](crate::RegistryBuilder::max_message_bytes)), passed through the host's
    /// redactor, and escaped. It is not even formatted if the host
    /// [keeps no messages](crate::RegistryBuilder::without_error_text).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Registry};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().fail(ErrorKind::Timeout, format_args!("killed after {} s", 30));
    /// let metrics = registry.metrics();
    /// let error = metrics.tools["shell"].last_error.as_ref().unwrap();
    /// assert_eq!(error.kind, ErrorKind::Timeout);
    /// assert_eq!(error.message.as_deref(), Some("killed after 30 s"));
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn fail(mut self, kind: ErrorKind, message: impl Display) -> Duration {
        let latency = self.end(Outcome::Failure(kind), Some(EndMessage::Shown(&message)));
        discard(message);
        latency
    }

    /// Ends the call as cancelled, as dropping the guard does. Returns its latency.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().cancel();
    /// assert_eq!(registry.metrics().tools["shell"].cancelled(), 1);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn cancel(mut self) -> Duration {
        self.end(Outcome::Cancelled, None)
    }

    /// Ends the call as rejected: an approver or a policy denied the call, so the tool did not run.
    ///
    /// Rejected calls have a count of their own and no latency. Subscribers get the message. If the
    /// call is denied before it is started, [`CallBuilder::reject`] counts the same without a
    /// `tool.started` event.
    ///
    /// [`CallBuilder::reject`]: crate::CallBuilder::reject
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().reject("no shell after midnight");
    /// let metrics = registry.metrics();
    /// let stats = &metrics.tools["shell"];
    /// assert_eq!((stats.rejected, stats.failure(), stats.in_flight), (1, 0, 0));
    /// assert_eq!(stats.latency.failure.max(), None);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn reject(mut self, message: impl Display) {
        self.end(Outcome::Rejected, Some(EndMessage::Shown(&message)));
        discard(message);
    }

    /// Ends the call as the verdict says. Returns the time since the call began; for a rejected
    /// call, that is not a latency of the tool.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let fetch = registry.register("fetch")?;
    /// let answer = serde_json::json!({ "isError": true, "content": [{ "text": "no such repo" }] });
    /// fetch.start().finish(toolmeter::classify_mcp(&answer));
    /// fetch.start().finish(Verdict::cancelled());
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["fetch"].failure(), metrics.tools["fetch"].cancelled()), (1, 1));
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a verdict belongs to one call"
    )]
    #[inline]
    pub fn finish(mut self, verdict: Verdict) -> Duration {
        self.end(
            verdict.outcome(),
            verdict.excerpt().map(EndMessage::Excerpt),
        )
    }

    /// Ends a call by name as the verdict says. The hook gets the answer.
    pub(crate) fn finish_with(mut self, verdict: &Verdict, answer: Option<&Value>) -> Duration {
        let message = verdict.excerpt().map(EndMessage::Excerpt);
        self.end_at(verdict.outcome(), message, answer, HostClock::tick)
    }

    /// Ends the call, judged by the type of `result` through [`Classify`]. Returns its latency.
    ///
    /// # Panics
    ///
    /// If the implementation of [`Classify`] panics. The call is then counted as cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().record(&Ok::<_, String>(()));
    /// shell.start().record(&Err::<(), _>("no such command".to_string()));
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["shell"].success(), metrics.tools["shell"].failure()), (1, 1));
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub fn record<M>(mut self, result: &impl Classify<M>) -> Duration {
        if self.keeps_text() {
            self.finish(result.classify())
        } else {
            self.end(result.outcome(), None)
        }
    }

    /// Returns whether texts of errors are kept at all.
    #[inline]
    pub(crate) fn keeps_text(&self) -> bool {
        !self.handle.borrow().0.env.text.is_off()
    }

    /// Ends the call as one in which the tool panicked.
    #[cold]
    pub(crate) fn panicked(self, panicked: &Panicked) -> Duration {
        self.fail(ErrorKind::Panic, panicked.text())
    }

    /// Returns the handle of the tool.
    pub(crate) fn handle(&self) -> &ToolHandle {
        self.handle.borrow()
    }

    /// Returns the number of the attempt, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Returns the time since the call began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let clock = &self.handle.borrow().0.env.clock;
        Duration::from_nanos(clock.ns_between(self.started, clock.tick()))
    }

    /// Runs `code` within the scope that the registry's hook keeps for the call, so that spans which
    /// `code` opens are nested in the span of the call. Without a hook, only runs `code`.
    ///
    /// A guard is not tied to any code, so it enters its scope only here and in
    /// [`in_scope_async`](Self::in_scope_async).
    ///
    /// # Panics
    ///
    /// If `code` panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let call = registry.register("index")?.start_owned();
    /// let indexing = std::thread::spawn(move || {
    ///     let files = call.in_scope(|| 3);
    ///     call.succeed();
    ///     files
    /// });
    /// assert_eq!(indexing.join().unwrap(), 3);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn in_scope<R>(&self, code: impl FnOnce() -> R) -> R {
        if self.scope.is_none() {
            return code();
        }
        match self.scope.within(code) {
            Ok(result) => result,
            Err(panicked) => panicked.resume(),
        }
    }

    /// Returns a future that polls `future` within the scope of the call; see
    /// [`in_scope`](Self::in_scope).
    ///
    /// # Panics
    ///
    /// If `future` panics while it is polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let registry = Registry::new();
    /// let call = registry.register("index")?.start_owned();
    /// let indexing = tokio::spawn(call.in_scope_async(async { Ok::<_, String>(3) }));
    /// call.record(&indexing.await?);
    /// assert_eq!(registry.metrics().tools["index"].success(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_scope_async<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = F::Output> + use<H, F> {
        self.scope.around(future)
    }

    /// Runs the tool within the scope of the call.
    ///
    /// # Errors
    ///
    /// [`Panicked`] if it panicked.
    #[inline(always)]
    pub(crate) fn within<R>(&self, tool: impl FnOnce() -> R) -> Result<R, Panicked> {
        self.scope.within(tool)
    }

    /// Polls the tool within the scope of the call.
    #[inline(always)]
    pub(crate) fn poll<F: Future>(
        &self,
        tool: Pin<&mut Contained<F>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Panicked>> {
        self.scope.poll(tool, context)
    }

    /// Ends a call by name as the verdict says, at a time that was read before. The hook gets the
    /// answer.
    #[cfg(feature = "tokio")]
    pub(crate) fn finish_at(
        mut self,
        verdict: &Verdict,
        answer: Option<&Value>,
        at: Tick,
    ) -> Duration {
        let message = verdict.excerpt().map(EndMessage::Excerpt);
        self.end_at(verdict.outcome(), message, answer, |_| at)
    }

    #[inline(always)]
    fn end(&mut self, outcome: Outcome, message: Option<EndMessage<'_>>) -> Duration {
        self.end_at(outcome, message, None, HostClock::tick)
    }

    /// Counts the end, and returns the latency.
    ///
    /// The stripe is found before the clock is read, so that as little as possible waits for the
    /// clock.
    #[inline(always)]
    fn end_at(
        &mut self,
        outcome: Outcome,
        message: Option<EndMessage<'_>>,
        answer: Option<&Value>,
        at: impl FnOnce(&HostClock) -> Tick,
    ) -> Duration {
        self.ended = true;
        let state = &*self.handle.borrow().0;
        let clock = &state.env.clock;
        let index = stripe::current();
        let stripe = state.memory.stripe(index);
        let latency_ns = clock.ns_between(self.started, at(clock));
        let started_ns = clock.ns(self.started);
        let finish = Finish::new(outcome, self.attempt, started_ns, latency_ns);
        stripe.finish(finish);
        let is_offered = self.id.is_some() || state.env.rings.is_open();
        if is_offered || message.is_some() || !self.scope.is_none() {
            self.report(index, finish, is_offered, message, answer);
        }
        Duration::from_nanos(latency_ns)
    }

    /// Keeps the text of a failure, offers the event if there may be a subscription, and reports the
    /// end to the scope of the hook, if there is one.
    #[inline(never)]
    fn report(
        &mut self,
        stripe: usize,
        finish: Finish,
        is_offered: bool,
        message: Option<EndMessage<'_>>,
        answer: Option<&Value>,
    ) {
        let state = &*self.handle.borrow().0;
        let scope = self.scope.take();
        let message = keep_message(state, finish, is_offered || !scope.is_none(), message);
        let text = if scope.is_none() {
            None
        } else {
            message.clone()
        };
        if is_offered {
            let draft = Draft::closing(state.slot.id, finish, self.context.take(), message);
            state.env.rings.offer(stripe, draft, self.id);
        }
        if !scope.is_none() {
            let latency = Duration::from_nanos(finish.latency_ns);
            let hook = state.env.hook.as_ref();
            let text = text.as_deref();
            scope.end(hook, finish.outcome, Some(latency), text, answer);
        }
    }
}

/// Reports the beginning of a call to the hook, if there is one.
#[inline(always)]
pub(crate) fn begin_scope(
    handle: &ToolHandle,
    options: &CallOptions,
    arguments: Option<&Value>,
) -> CallScope {
    let state = &*handle.0;
    match &state.env.hook {
        None => CallScope::NONE,
        Some(hook) => {
            let context = options.context.as_deref();
            report_begin(hook, state, options.attempt, context, arguments)
        }
    }
}

#[cold]
#[inline(never)]
fn report_begin(
    hook: &Hook,
    state: &ToolState,
    attempt: u16,
    context: Option<&CallContext>,
    arguments: Option<&Value>,
) -> CallScope {
    hook.begin(&CallBegin {
        name: &state.slot.name,
        tool: Some(state.slot.id),
        attempt,
        context,
        arguments,
    })
}

/// Offers the event of a start.
#[inline(never)]
fn offer_started(state: &ToolState, stripe: usize, started: Tick, options: &CallOptions) -> CallId {
    let context = options.context.clone();
    let started_ns = state.env.clock.ns(started);
    let draft = Draft::started(state.slot.id, options.attempt, started_ns, context);
    state.env.rings.offer(stripe, draft, None)
}

impl<H: Borrow<ToolHandle>> Drop for CallGuard<H> {
    #[inline]
    fn drop(&mut self) {
        if !self.ended {
            self.abandon();
        }
    }
}

impl<H: Borrow<ToolHandle>> CallGuard<H> {
    #[cold]
    fn abandon(&mut self) {
        self.end(Outcome::Cancelled, None);
    }
}

impl<H: Borrow<ToolHandle>> fmt::Debug for CallGuard<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("tool", &self.handle.borrow().0.slot.name)
            .field("attempt", &self.attempt)
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}
