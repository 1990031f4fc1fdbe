//! The guard of one running call: the only place that times, counts and reports a call.
//!
//! [`ToolHandle::start`] reads the clock and counts the start; finishing or dropping the guard
//! reads the clock again and counts the end, in the stripe of the thread that does so. Whoever
//! subscribes hears of both. Nothing on this path waits, locks, allocates or asks the
//! operating system, once a thread has made its first call; what only a failure, a panic or a
//! subscription needs lies in functions of its own.
//!
//! Every start is followed by exactly one end. A guard that is dropped is cancelled: so a
//! future that nobody polls to its end leaves a trace, with the time it had taken. A guard
//! dropped because its thread unwinds has panicked, unless the thread was unwinding already
//! when the call began.
//!
//! NB: the functions of this path, and those of the slot, are inlined always: the compiler by
//! itself leaves them as calls, which cost 1.5 ns of 30 (Zen 4 under KVM, floor of two clock reads
//! 18.9). And where a call is counted is found before the clock is read; `slot` of the core says
//! why what comes after it is so dear.
//!
//! The guard counts first, then keeps a failure's text, then offers the event. So text and
//! event of a call never tell what its counters do not.

use crate::classify::{Classify, Verdict};
use crate::clock::{HostClock, Tick};
use crate::handle::{ErrorRecord, ToolHandle, ToolState};
use crate::stripe;
use std::any::Any;
use std::borrow::Borrow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::thread::panicking;
use std::time::Duration;
use toolmeter_core::{ErrorKind, Finish, Outcome};
use toolmeter_events::{CallContext, CallId, Draft};

/// What the host knows of a call beyond its tool.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use toolmeter::{CallContext, CallOptions, Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let shell = registry.register(ToolSpec::new("shell"))?;
/// let context = Arc::new(CallContext::new("session-17", 4, "call_9f3"));
/// let options = CallOptions::new().attempt(2).context(context);
/// let call = shell.with(options).start();
/// assert_eq!(call.attempt(), 2);
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CallOptions {
    pub(crate) attempt: u16,
    pub(crate) context: Option<Arc<CallContext>>,
}

impl CallOptions {
    /// A first attempt, without a context.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            attempt: 1,
            context: None,
        }
    }

    /// Which attempt the call is, counted from 1 (0 is taken for 1). Every attempt above 1 is a
    /// retry.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{CallOptions, Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
    /// let call = shell.with(CallOptions::new().attempt(0)).start();
    /// assert_eq!(call.attempt(), 1);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use]
    pub const fn attempt(mut self, attempt: u16) -> Self {
        self.attempt = if attempt == 0 { 1 } else { attempt };
        self
    }

    /// The host's own names for the call; its events carry them.
    #[must_use]
    pub fn context(mut self, context: Arc<CallContext>) -> Self {
        self.context = Some(context);
        self
    }
}

impl Default for CallOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A call that borrows its handle; see [`ToolHandle::start`].
pub type Call<'a> = CallGuard<&'a ToolHandle>;

/// A call that owns a clone of its handle; see [`ToolHandle::start_owned`].
pub type OwnedCall = CallGuard<ToolHandle>;

/// One running call, counted as in flight until it is finished or dropped.
///
/// Finish it with [`succeed`](Self::succeed), [`fail`](Self::fail) or
/// [`record`](Self::record), on any thread. Dropping it counts the call as cancelled, or as a
/// failure of kind `panic` if the thread began to unwind since the call began.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let shell = registry.register(ToolSpec::new("shell"))?;
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
/// # use toolmeter::{ErrorKind, Registry, ToolSpec};
/// # let shell = Registry::new().register(ToolSpec::new("shell")).unwrap();
/// let call = shell.start();
/// call.succeed();
/// call.fail(ErrorKind::Timeout, "killed after 30 s");
/// ```
///
/// The compiler warns of one that is not kept:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # use toolmeter::{Registry, ToolSpec};
/// # let shell = Registry::new().register(ToolSpec::new("shell")).unwrap();
/// shell.start();
/// ```
#[must_use = "a call that is dropped is counted as cancelled"]
pub struct CallGuard<H: Borrow<ToolHandle>> {
    handle: H,
    started: Tick,
    /// The id under which `Started` was offered, if it was.
    id: Option<CallId>,
    context: Option<Arc<CallContext>>,
    attempt: u16,
    /// Whether the thread was unwinding when the call began.
    began_unwinding: bool,
    ended: bool,
}

impl ToolHandle {
    /// Starts a call that lasts until the guard is finished or dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
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
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let call = registry.register(ToolSpec::new("index"))?.start_owned();
    /// std::thread::spawn(move || call.succeed()).join().unwrap();
    /// assert_eq!(registry.metrics().tools["index"].success(), 1);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub fn start_owned(&self) -> OwnedCall {
        CallGuard::begin(self.clone(), CallOptions::new())
    }
}

impl<H: Borrow<ToolHandle>> CallGuard<H> {
    #[inline(always)]
    pub(crate) fn begin(handle: H, options: CallOptions) -> Self {
        let state = &*handle.borrow().0;
        let index = stripe::current();
        let stripe = state.memory.stripe(index);
        let began_unwinding = panicking();
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
            attempt: options.attempt,
            began_unwinding,
            ended: false,
        }
    }

    /// The call gave what was asked of it. Returns its latency.
    #[inline]
    pub fn succeed(mut self) -> Duration {
        self.end(Outcome::Success, None)
    }

    /// The call failed. Returns its latency.
    ///
    /// The message is bounded to 256 bytes, escaped and passed through the host's redactor, or
    /// not even formatted if the host switched messages off.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
    /// shell.start().fail(ErrorKind::Timeout, format_args!("killed after {} s", 30));
    /// let metrics = registry.metrics();
    /// let error = metrics.tools["shell"].last_error.as_ref().unwrap();
    /// assert_eq!(error.kind, ErrorKind::Timeout);
    /// assert_eq!(error.message.as_deref(), Some("killed after 30 s"));
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn fail(mut self, kind: ErrorKind, message: impl Display) -> Duration {
        self.end(Outcome::Failure(kind), Some(&message))
    }

    /// The call gave `result`, which tells by itself how the call ended. Returns its latency.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
    /// shell.start().record(&Ok::<_, String>(()));
    /// shell.start().record(&Err::<(), _>("no such command".to_string()));
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["shell"].success(), metrics.tools["shell"].failure()), (1, 1));
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub fn record(self, result: &impl Classify) -> Duration {
        self.conclude(&result.classify())
    }

    /// The call ended as the verdict says.
    #[inline]
    pub(crate) fn conclude(mut self, verdict: &Verdict<'_>) -> Duration {
        self.end(verdict.outcome, verdict.message())
    }

    /// The tool panicked with `payload`.
    #[cold]
    pub(crate) fn panicked(mut self, payload: &(dyn Any + Send)) -> Duration {
        self.end(
            Outcome::Failure(ErrorKind::Panic),
            Some(&panic_text(payload)),
        )
    }

    /// The host refused to run the tool: a failure without a latency.
    pub(crate) fn reject(mut self, message: &dyn Display) {
        self.finish(Outcome::Failure(ErrorKind::Rejected), |_| 0, Some(message));
    }

    /// The handle of the tool.
    pub(crate) fn handle(&self) -> &ToolHandle {
        self.handle.borrow()
    }

    /// Which attempt the call is, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u16 {
        self.attempt
    }

    /// The time since the call began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let clock = &self.handle.borrow().0.meter.clock;
        Duration::from_nanos(clock.ns_between(self.started, clock.tick()))
    }

    #[inline(always)]
    fn end(&mut self, outcome: Outcome, message: Option<&dyn Display>) -> Duration {
        let started = self.started;
        let since_start = |clock: &HostClock| clock.ns_between(started, clock.tick());
        Duration::from_nanos(self.finish(outcome, since_start, message))
    }

    /// Counts the end, and returns the latency. Where it is counted is found before the clock is
    /// read, so that as little as possible waits for the clock.
    #[inline(always)]
    fn finish(
        &mut self,
        outcome: Outcome,
        latency_ns: impl FnOnce(&HostClock) -> u64,
        message: Option<&dyn Display>,
    ) -> u64 {
        self.ended = true;
        let state = &*self.handle.borrow().0;
        let clock = &state.meter.clock;
        let index = stripe::current();
        let stripe = state.memory.stripe(index);
        let latency_ns = latency_ns(clock);
        let started_ns = clock.ns(self.started);
        let finish = Finish::new(outcome, self.attempt, started_ns, latency_ns);
        stripe.finish(finish);
        let is_heard = self.id.is_some() || state.meter.rings.is_open();
        if is_heard || message.is_some() {
            self.tell(index, started_ns, finish, is_heard, message);
        }
        latency_ns
    }

    /// Keeps the text of a failure, and offers the event if anybody may listen.
    #[inline(never)]
    fn tell(
        &mut self,
        stripe: usize,
        started_ns: u64,
        finish: Finish,
        is_heard: bool,
        message: Option<&dyn Display>,
    ) {
        let state = &*self.handle.borrow().0;
        let message = match (finish.outcome.error_kind(), message) {
            (Some(kind), Some(message)) => state.meter.text.message(message).inspect(|message| {
                state.slot.keep_error(ErrorRecord {
                    kind,
                    attempt: self.attempt,
                    at_ns: finish.finished_at_ns,
                    message: message.clone(),
                });
            }),
            _ => None,
        };
        if is_heard {
            let draft = Draft::closing(
                state.slot.id,
                self.attempt,
                started_ns,
                finish.latency_ns,
                finish.outcome,
                self.context.take(),
                message,
            );
            state.meter.rings.offer(stripe, draft, self.id);
        }
    }
}

#[inline(never)]
fn offer_started(state: &ToolState, stripe: usize, started: Tick, options: &CallOptions) -> CallId {
    let context = options.context.clone();
    let started_ns = state.meter.clock.ns(started);
    let draft = Draft::started(state.slot.id, options.attempt, started_ns, context);
    state.meter.rings.offer(stripe, draft, None)
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
        let outcome = if panicking() && !self.began_unwinding {
            Outcome::Failure(ErrorKind::Panic)
        } else {
            Outcome::Cancelled
        };
        self.end(outcome, None);
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

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "the tool panicked with something other than text"
    }
}
