//! The guard of one running call: the only place that times, counts and reports a call.
//!
//! [`ToolHandle::start`] reads the clock and counts the start; finishing or dropping the guard
//! reads the clock again and counts the end, in the stripe of the thread that does so.
//! Subscribers hear of both. Nothing on this path waits, locks, allocates or asks the operating
//! system, once a thread has made its first call; what only a failure or a subscription needs
//! lies in functions of its own.
//!
//! Every start is followed by exactly one end. A guard that is dropped is cancelled, whatever
//! else happens on its thread: so a future that is never polled to its end leaves a trace, with
//! the time it had taken. A panic is counted as one where the tool is run (`run.rs`), since only
//! there is it known to be the tool's.
//!
//! NB: the functions of this path, and those of the slot, are inlined always: the compiler by
//! itself leaves them as calls, which cost 1.5 ns of 30 (Zen 4 under KVM, floor of two clock reads
//! 18.9). And where a call is counted is found before the clock is read; `slot` of the core says
//! why what comes after it is so dear.
//!
//! The guard counts first, then keeps a failure's text, then offers the event, then tells the
//! hook. So none of them tells what the counters do not.

use crate::classify::{Classify, Verdict};
use crate::clock::{HostClock, Tick};
use crate::contain::{Contained, Panicked, discard};
use crate::handle::{ToolHandle, ToolState};
use crate::instrument::{CallBegin, CallScope};
use crate::last_error::ErrorRecord;
use crate::stripe;
use crate::text::Excerpt;
use serde_json::Value;
use std::borrow::Borrow;
use std::fmt::{self, Display};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use toolmeter_core::{ErrorKind, Finish, Outcome};
use toolmeter_events::{CallContext, CallId, Draft, ErrorMessage};

/// What the host says of a call beyond its tool.
#[derive(Clone, Debug)]
pub(crate) struct CallOptions {
    /// Counted from 1.
    pub(crate) attempt: u16,
    pub(crate) context: Option<Arc<CallContext>>,
}

impl CallOptions {
    /// A first attempt, without a context.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            attempt: 1,
            context: None,
        }
    }
}

/// What there is to say about the end of a call.
#[derive(Clone, Copy)]
enum Message<'a> {
    Shown(&'a dyn Display),
    Excerpt(&'a Excerpt),
}

/// A call that borrows its handle; see [`ToolHandle::start`].
pub type Call<'a> = CallGuard<&'a ToolHandle>;

/// A call that owns a clone of its handle; see [`ToolHandle::start_owned`].
pub type OwnedCall = CallGuard<ToolHandle>;

/// One running call, counted as in flight until it is finished or dropped.
///
/// Finish it on any thread. Dropping it counts the call as [cancelled](Self::cancel), also while
/// the thread unwinds: a guard cannot know whose panic that is.
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
/// The compiler warns of one that is not kept:
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
    /// The id under which `Started` was offered, if it was.
    id: Option<CallId>,
    context: Option<Arc<CallContext>>,
    /// What the hook keeps of the call; there is one only while the call has not ended.
    scope: CallScope,
    attempt: u16,
    ended: bool,
}

impl ToolHandle {
    /// Starts a call that lasts until the guard is finished or dropped.
    ///
    /// [`call`](Self::call) starts one with an attempt or a context.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// let call = shell.start();
    /// assert_eq!(registry.metrics().tools["shell"].in_flight, 1);
    /// call.succeed();
    /// assert_eq!(registry.metrics().tools["shell"].in_flight, 0);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub fn start(&self) -> Call<'_> {
        CallGuard::begin(self, CallOptions::new())
    }

    /// Starts a call whose guard keeps a clone of the handle, for calls that leave the scope
    /// or enter a spawned task.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let call = registry.register("index")?.start_owned();
    /// std::thread::spawn(move || call.succeed()).join().unwrap();
    /// assert_eq!(registry.metrics().tools["index"].success(), 1);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub fn start_owned(&self) -> OwnedCall {
        CallGuard::begin(self.clone(), CallOptions::new())
    }
}

impl Call<'_> {
    /// The same call, with a clone of its handle.
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
    #[inline(always)]
    pub(crate) fn begin(handle: H, options: CallOptions) -> Self {
        Self::begin_with(handle, options, None)
    }

    /// Begins a call by name, with these arguments.
    #[inline(always)]
    pub(crate) fn begin_with(handle: H, options: CallOptions, arguments: Option<&Value>) -> Self {
        let scope = scope(handle.borrow(), &options, arguments);
        Self::begin_in(handle, options, scope)
    }

    /// Begins a call of which the hook was told before.
    #[inline(always)]
    pub(crate) fn begin_in(handle: H, options: CallOptions, scope: CallScope) -> Self {
        let state = &*handle.borrow().0;
        let index = stripe::current();
        let stripe = state.memory.stripe(index);
        let started = state.meter.clock.tick();
        stripe.start(options.attempt);
        let id = if state.meter.rings.is_open() {
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
    /// The message is bounded (to 512 bytes unless
    /// [`max_message_bytes`](crate::RegistryBuilder::max_message_bytes) says otherwise), passed
    /// through the host's redactor and escaped, or not even formatted if the host switched
    /// messages off.
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
        let latency = self.end(Outcome::Failure(kind), Some(Message::Shown(&message)));
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

    /// Ends the call as rejected: the tool did not run, as an approver or a policy denied the
    /// call. It is a count of its own and has no latency; the message goes to subscribers.
    ///
    /// Where the decision comes before the call is started, [`CallBuilder::reject`] counts the
    /// same without a `tool.started` event.
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
        self.end(Outcome::Rejected, Some(Message::Shown(&message)));
        discard(message);
    }

    /// Ends the call as the verdict says. Returns the time since it began, which for a rejected
    /// call is no latency of the tool.
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
        reason = "a verdict belongs to one call, and is used up"
    )]
    #[inline]
    pub fn finish(mut self, verdict: Verdict) -> Duration {
        self.end(verdict.outcome(), verdict.excerpt().map(Message::Excerpt))
    }

    /// Ends a call by name as the verdict says; the answer is for the hook.
    pub(crate) fn finish_with(mut self, verdict: &Verdict, answer: Option<&Value>) -> Duration {
        let message = verdict.excerpt().map(Message::Excerpt);
        self.end_at(verdict.outcome(), message, answer, HostClock::tick)
    }

    /// Ends the call as `result` tells by its type, through [`Classify`]. Returns its latency.
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

    /// Whether texts of errors are kept at all.
    #[inline]
    pub(crate) fn keeps_text(&self) -> bool {
        !self.handle.borrow().0.meter.text.is_off()
    }

    /// Ends the call as one in which the tool panicked.
    #[cold]
    pub(crate) fn panicked(self, panicked: &Panicked) -> Duration {
        self.fail(ErrorKind::Panic, panicked.text())
    }

    /// The handle of the tool.
    pub(crate) fn handle(&self) -> &ToolHandle {
        self.handle.borrow()
    }

    /// Returns which attempt the call is, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Returns the time since the call began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let clock = &self.handle.borrow().0.meter.clock;
        Duration::from_nanos(clock.ns_between(self.started, clock.tick()))
    }

    /// Runs `code` within the scope that the hook of the registry keeps for the call: what opens
    /// spans nests in it what `code` does. Without a hook it just runs.
    ///
    /// A guard cannot know what belongs to its call, so it enters its scope nowhere else.
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

    /// Returns a future that is polled within the scope of the call; see
    /// [`in_scope`](Self::in_scope).
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

    /// Ends a call by name as the verdict says, at a moment that was read before; the answer is
    /// for the hook.
    #[cfg(feature = "tokio")]
    pub(crate) fn finish_at(
        mut self,
        verdict: &Verdict,
        answer: Option<&Value>,
        at: Tick,
    ) -> Duration {
        let message = verdict.excerpt().map(Message::Excerpt);
        self.end_at(verdict.outcome(), message, answer, |_| at)
    }

    #[inline(always)]
    fn end(&mut self, outcome: Outcome, message: Option<Message<'_>>) -> Duration {
        self.end_at(outcome, message, None, HostClock::tick)
    }

    /// Counts the end, and returns the latency. Where it is counted is found before the clock is
    /// read, so that as little as possible waits for the clock.
    #[inline(always)]
    fn end_at(
        &mut self,
        outcome: Outcome,
        message: Option<Message<'_>>,
        answer: Option<&Value>,
        at: impl FnOnce(&HostClock) -> Tick,
    ) -> Duration {
        self.ended = true;
        let state = &*self.handle.borrow().0;
        let clock = &state.meter.clock;
        let index = stripe::current();
        let stripe = state.memory.stripe(index);
        let latency_ns = clock.ns_between(self.started, at(clock));
        let started_ns = clock.ns(self.started);
        let finish = Finish::new(outcome, self.attempt, started_ns, latency_ns);
        stripe.finish(finish);
        let is_heard = self.id.is_some() || state.meter.rings.is_open();
        if is_heard || message.is_some() || !self.scope.is_none() {
            self.tell(index, finish, is_heard, message, answer);
        }
        Duration::from_nanos(latency_ns)
    }

    /// Keeps the text of a failure, offers the event if there may be a subscriber, and tells the
    /// hook if it wants to know.
    #[inline(never)]
    fn tell(
        &mut self,
        stripe: usize,
        finish: Finish,
        is_heard: bool,
        message: Option<Message<'_>>,
        answer: Option<&Value>,
    ) {
        let state = &*self.handle.borrow().0;
        let scope = self.scope.take();
        let message = kept(state, finish, is_heard || !scope.is_none(), message);
        let text = if scope.is_none() {
            None
        } else {
            message.clone()
        };
        if is_heard {
            let draft = Draft::closing(state.slot.id, finish, self.context.take(), message);
            state.meter.rings.offer(stripe, draft, self.id);
        }
        if !scope.is_none() {
            let latency = Duration::from_nanos(finish.latency_ns);
            let hook = state.meter.hook.as_ref();
            let text = text.as_deref();
            scope.end(hook, finish.outcome, Some(latency), text, answer);
        }
    }
}

/// Tells the hook, if there is one, that a call begins.
#[inline(always)]
pub(crate) fn scope(
    handle: &ToolHandle,
    options: &CallOptions,
    arguments: Option<&Value>,
) -> CallScope {
    let state = &*handle.0;
    match &state.meter.hook {
        None => CallScope::NONE,
        Some(hook) => hook.begin(
            state,
            options.attempt,
            options.context.as_deref(),
            arguments,
        ),
    }
}

/// Keeps the text of a failure, and returns what is said of the end.
fn kept(
    state: &ToolState,
    finish: Finish,
    is_heard: bool,
    message: Option<Message<'_>>,
) -> Option<ErrorMessage> {
    let kind = finish.outcome.error_kind();
    if finish.outcome == Outcome::Success || (kind.is_none() && !is_heard) {
        return None;
    }
    let text = &state.meter.text;
    let message = match message? {
        Message::Shown(shown) => text.message_of(shown),
        Message::Excerpt(excerpt) => text.message(excerpt),
    }?;
    if let Some(kind) = kind {
        state.slot.errors.keep(ErrorRecord {
            kind,
            attempt: finish.attempt,
            at_ns: finish.finished_at_ns,
            message: message.clone(),
        });
    }
    Some(message)
}

#[inline(never)]
fn offer_started(state: &ToolState, stripe: usize, started: Tick, options: &CallOptions) -> CallId {
    let context = options.context.clone();
    let started_ns = state.meter.clock.ns(started);
    let draft = Draft::started(state.slot.id, options.attempt, started_ns, context);
    state.meter.rings.offer(stripe, draft, None)
}

/// What the hook knows of a call that is refused.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// Nothing. With the arguments, of a call by name.
    Nothing(Option<&'a Value>),
    /// It was told that the call begins.
    #[cfg(feature = "tokio")]
    Begun(&'a CallScope),
}

/// Counts a call that is refused before it starts.
pub(crate) fn reject(
    handle: &ToolHandle,
    options: &CallOptions,
    known: Known<'_>,
    message: &dyn Display,
) {
    let state = &*handle.0;
    let stripe = stripe::current();
    state.memory.stripe(stripe).reject();
    let hook = state.meter.hook.as_ref();
    let is_heard = state.meter.rings.is_open();
    if !is_heard && hook.is_none() {
        return;
    }
    let clock: &HostClock = &state.meter.clock;
    let now_ns = clock.ns(clock.tick());
    let finish = Finish::new(Outcome::Rejected, options.attempt, now_ns, 0);
    let message = kept(state, finish, true, Some(Message::Shown(message)));
    if is_heard {
        let (context, message) = (options.context.clone(), message.clone());
        let draft = Draft::closing(state.slot.id, finish, context, message);
        state.meter.rings.offer(stripe, draft, None);
    }
    let Some(hook) = hook else {
        return;
    };
    let (outcome, message) = (Outcome::Rejected, message.as_deref());
    match known {
        #[cfg(feature = "tokio")]
        Known::Begun(scope) => scope.end(Some(hook), outcome, None, message, None),
        Known::Nothing(arguments) => {
            let context = options.context.as_deref();
            let begin = CallBegin {
                name: &state.slot.name,
                tool: Some(state.slot.id),
                attempt: options.attempt,
                context,
                arguments,
            };
            hook.refused(&begin, outcome, message);
        }
    }
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
            .field("tool", &self.handle.borrow().name())
            .field("attempt", &self.attempt)
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}
