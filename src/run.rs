//! Metering a call as a whole: running a closure or a future.
//!
//! [`CallBuilder`] says everything about one call; [`ToolHandle::run`] and
//! [`run_async`](ToolHandle::run_async) are its short forms. All of it holds a guard of `call.rs`
//! while the tool runs, and never reads the clock itself. What the tool gives is given back, and a
//! panic of the tool is counted and goes on unwinding.
//!
//! A time limit lies inside: the call is recorded as a `timeout` first and the tool's future is
//! dropped then, so it is not counted as cancelled.

use crate::call::{self, Call, CallGuard, CallOptions, Known, OwnedCall};
use crate::classify::{ByRule, ByType, Judge, Verdict};
use crate::contain::{Contained, Panicked, contained, discard};
#[cfg(feature = "tokio")]
use crate::error::TimeLimitExceeded;
use crate::handle::ToolHandle;
use crate::instrument::CallScope;
use pin_project_lite::pin_project;
use std::borrow::Borrow;
use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
#[cfg(feature = "tokio")]
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
#[cfg(feature = "tokio")]
use std::time::Duration;
#[cfg(feature = "tokio")]
use toolmeter_core::ErrorKind;
use toolmeter_events::CallContext;

/// One call that is about to be made; see [`ToolHandle::call`].
///
/// `C` is the rule by which the call is judged: [`ByType`], or the host's own
/// ([`classify`](Self::classify)).
///
/// # Examples
///
/// ```
/// use toolmeter::{CallContext, Registry};
///
/// let registry = Registry::new();
/// let shell = registry.register("shell")?;
/// let context = CallContext::new("session-17").turn(4).call("call_9f3");
/// let call = shell.call().attempt(3).context(context).start();
/// assert_eq!(call.attempt(), 3);
/// call.succeed();
/// assert_eq!(registry.metrics().tools["shell"].retried, 1);
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is metered until the call is run or started"]
pub struct CallBuilder<'a, C = ByType> {
    handle: &'a ToolHandle,
    options: CallOptions,
    rule: C,
}

impl ToolHandle {
    /// Returns a builder of the next call, for one with an attempt, a context, a time limit or a
    /// rule of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.call().attempt(2).run(|| Ok::<_, String>(()))?;
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["shell"].retried, metrics.tools["shell"].recovered), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn call(&self) -> CallBuilder<'_> {
        CallBuilder {
            handle: self,
            options: CallOptions::new(),
            rule: ByType,
        }
    }

    /// Runs a tool and counts how it ended, as its result tells.
    ///
    /// `Ok` is a success whatever it holds. Where it may hold an error, say so: judge a result
    /// within a result by [`nested`](crate::nested), an answer of MCP by
    /// [`classify_mcp`](crate::classify_mcp), and everything else by a rule of your own, with
    /// [`CallBuilder::classify`]. See [`Classify`](crate::Classify) for how errors are judged.
    ///
    /// # Panics
    ///
    /// If `tool` panics: the call is counted as a failure of kind `panic`, and the panic goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let read = registry.register("read_file")?;
    /// let missing = read.run(|| std::fs::read_to_string("/no/such/file"));
    /// assert!(missing.is_err());
    /// let metrics = registry.metrics();
    /// let error = metrics.tools["read_file"].last_error.as_ref().unwrap();
    /// assert_eq!(error.kind.as_str(), "not_found");
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub fn run<R, M>(&self, tool: impl FnOnce() -> R) -> R
    where
        ByType: Judge<R, M>,
    {
        self.call().run(tool)
    }

    /// Runs a future and counts how it ended, as its output tells; see [`run`](Self::run).
    ///
    /// The call begins at the first poll, so a future that is never polled is no call. One that
    /// is dropped after that is cancelled.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run), while it is polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let search = registry.register("web_search")?;
    /// let hits = search.run_async(async { Ok::<_, String>(3) }).await?;
    /// assert_eq!(hits, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[inline]
    pub fn run_async<F, M>(&self, tool: F) -> impl Future<Output = F::Output>
    where
        F: Future,
        ByType: Judge<F::Output, M>,
    {
        self.call().run_async(tool)
    }
}

impl<'a, C> CallBuilder<'a, C> {
    /// Sets which attempt the call is, counted from 1 (0 is treated as 1). Every attempt above 1
    /// is a retry.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// assert_eq!(shell.call().attempt(0).start().attempt(), 1);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub fn attempt(mut self, attempt: u16) -> Self {
        self.options.attempt = attempt.max(1);
        self
    }

    /// Sets the host's own names for the call; its events carry them.
    #[inline]
    pub fn context(mut self, context: impl Into<Arc<CallContext>>) -> Self {
        self.options.context = Some(context.into());
        self
    }

    /// Judges the call by a rule of the host's own, which borrows the result.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Registry, Verdict};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// let by_status = |status: &i32| match status {
    ///     0 => Verdict::success(),
    ///     _ => Verdict::failure(ErrorKind::ToolError).because(status),
    /// };
    /// assert_eq!(shell.call().classify(by_status).run(|| 0), 0);
    /// assert_eq!(shell.call().classify(by_status).run_async(async { 1 }).await, 1);
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["shell"].success(), metrics.tools["shell"].failure()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[inline]
    pub fn classify<R, F>(self, rule: F) -> CallBuilder<'a, ByRule<F>>
    where
        F: FnOnce(&R) -> Verdict,
    {
        CallBuilder {
            handle: self.handle,
            options: self.options,
            rule: ByRule::new(rule),
        }
    }

    /// Limits how long a future may run, from its first poll on.
    ///
    /// A closure cannot be stopped, so a call with a limit runs futures only. For tools that
    /// block, see [`Registry::invoke`](crate::Registry::invoke).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::pending;
    /// use std::time::Duration;
    /// use toolmeter::Registry;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let search = registry.register("web_search")?;
    /// let hangs = pending::<Result<(), String>>();
    /// let late = search.call().within(Duration::ZERO).run_async(hangs).await;
    /// assert_eq!(late.unwrap_err().limit, Duration::ZERO);
    /// assert_eq!(registry.metrics().tools["web_search"].failure(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "tokio")]
    #[inline]
    pub fn within(self, limit: Duration) -> LimitedCall<'a, C> {
        LimitedCall { call: self, limit }
    }

    /// Starts the call; see [`ToolHandle::start`]. The code that finishes the guard judges the call.
    #[inline]
    pub fn start(self) -> Call<'a> {
        CallGuard::begin(self.handle, self.options)
    }

    /// Starts the call with a guard that keeps a clone of the handle; see
    /// [`ToolHandle::start_owned`].
    #[inline]
    pub fn start_owned(self) -> OwnedCall {
        CallGuard::begin(self.handle.clone(), self.options)
    }

    /// Counts the call as rejected, because an approver or a policy denied it: it never starts,
    /// is no retry, and has no latency. Subscribers get one `tool.rejected` event.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.call().reject("no shell after midnight");
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["shell"].rejected, metrics.tools["shell"].finished()), (1, 0));
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    pub fn reject(self, message: impl Display) {
        call::reject(self.handle, &self.options, Known::Nothing(None), &message);
        discard(message);
    }

    /// Runs a tool; see [`ToolHandle::run`].
    ///
    /// # Panics
    ///
    /// If `tool` or the rule panics.
    #[inline]
    pub fn run<R, M>(self, tool: impl FnOnce() -> R) -> R
    where
        C: Judge<R, M>,
    {
        // NB: a branch here, and not one around the tool: where a scope may be entered the guard
        // lies in memory, which costs a call without a scope 5 ns of 40.
        let scope = call::scope(self.handle, &self.options, None);
        if !scope.is_none() {
            return self.run_in(scope, tool);
        }
        let call = CallGuard::begin_in(self.handle, self.options, CallScope::NONE);
        end(call, self.rule, contained(tool))
    }

    /// Runs a tool within the scope of a hook.
    #[cold]
    #[inline(never)]
    fn run_in<R, M>(self, scope: CallScope, tool: impl FnOnce() -> R) -> R
    where
        C: Judge<R, M>,
    {
        let call = CallGuard::begin_in(self.handle, self.options, scope);
        let given = call.within(tool);
        end(call, self.rule, given)
    }

    #[cfg(feature = "stream")]
    pub(crate) fn into_parts(self) -> (&'a ToolHandle, CallOptions, C) {
        (self.handle, self.options, self.rule)
    }

    /// Runs a future; see [`ToolHandle::run_async`].
    ///
    /// # Panics
    ///
    /// If `tool` panics while it is polled, or the rule panics.
    #[inline]
    pub fn run_async<F, M>(self, tool: F) -> impl Future<Output = F::Output>
    where
        F: Future,
        C: Judge<F::Output, M>,
    {
        Metered::new(self, tool)
    }
}

/// Ends the call by what the tool gave, and gives it back. A panic is counted and goes on.
#[inline(always)]
fn end<C, R, M>(call: Call<'_>, rule: C, given: Result<R, Panicked>) -> R
where
    C: Judge<R, M>,
{
    match given {
        Ok(result) => {
            conclude(call, rule, &result);
            result
        }
        Err(panicked) => {
            call.panicked(&panicked);
            panicked.resume()
        }
    }
}

/// Judges what the tool gave, and ends the call.
#[inline]
fn conclude<H, C, R, M>(call: CallGuard<H>, rule: C, result: &R)
where
    H: Borrow<ToolHandle>,
    C: Judge<R, M>,
{
    if rule.is_plain_success(result) {
        call.succeed();
    } else {
        judge(call, rule, result);
    }
}

/// Ends the call as the rule judges it. A panic of the rule is counted and goes on. A function of
/// its own, since nearly all calls do not need it.
#[inline(never)]
fn judge<H, C, R, M>(call: CallGuard<H>, rule: C, result: &R)
where
    H: Borrow<ToolHandle>,
    C: Judge<R, M>,
{
    match judged(&call, rule, result) {
        Ok(verdict) => {
            call.finish(verdict);
        }
        Err(panicked) => {
            call.panicked(&panicked);
            panicked.resume();
        }
    }
}

/// What the rule says; only the outcome if no text would be kept.
#[inline]
pub(crate) fn judged<H, C, R, M>(
    call: &CallGuard<H>,
    rule: C,
    result: &R,
) -> Result<Verdict, Panicked>
where
    H: Borrow<ToolHandle>,
    C: Judge<R, M>,
{
    let keeps_text = call.keeps_text();
    contained(|| {
        if keeps_text {
            rule.judge(result)
        } else {
            Verdict::of(rule.outcome(result))
        }
    })
}

/// Where a metered future stands.
enum Stage<'a, C> {
    /// It was not polled yet.
    New(CallBuilder<'a, C>),
    Running(Call<'a>, C),
    Ended,
}

pin_project! {
    /// A future that is metered from its first poll to its end.
    struct Metered<'a, F, C, M> {
        // In front of the tool, so that a call that is dropped is counted before the tool's future
        // is dropped.
        stage: Stage<'a, C>,
        #[pin]
        tool: Contained<F>,
        marker: PhantomData<fn() -> M>,
    }
}

impl<'a, F, C, M> Metered<'a, F, C, M> {
    #[inline]
    fn new(call: CallBuilder<'a, C>, tool: F) -> Self {
        Self {
            stage: Stage::New(call),
            tool: Contained::new(tool),
            marker: PhantomData,
        }
    }

    /// Ends the call as a time-out, and then drops the tool's future.
    #[cfg(feature = "tokio")]
    fn time_out(self: Pin<&mut Self>, limit: Duration) -> TimeLimitExceeded {
        let error = TimeLimitExceeded { limit };
        let this = self.project();
        if let Stage::Running(call, _) = mem::replace(this.stage, Stage::Ended) {
            call.fail(ErrorKind::Timeout, error);
        }
        this.tool.discard();
        error
    }
}

impl<F, C, M> Future for Metered<'_, F, C, M>
where
    F: Future,
    C: Judge<F::Output, M>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // A call that ends in this poll never lies in the future.
        let (call, rule) = match mem::replace(this.stage, Stage::Ended) {
            Stage::New(call) => (CallGuard::begin(call.handle, call.options), call.rule),
            Stage::Running(call, rule) => (call, rule),
            Stage::Ended => panic!("a call was polled after it had ended"),
        };
        match call.poll(this.tool, context) {
            Poll::Pending => {
                *this.stage = Stage::Running(call, rule);
                Poll::Pending
            }
            Poll::Ready(Ok(output)) => {
                conclude(call, rule, &output);
                Poll::Ready(output)
            }
            Poll::Ready(Err(panicked)) => {
                call.panicked(&panicked);
                panicked.resume()
            }
        }
    }
}

/// One call of a future with a time limit; see [`CallBuilder::within`].
#[cfg(feature = "tokio")]
#[derive(Clone, Debug)]
#[must_use = "nothing is metered until the call is run"]
pub struct LimitedCall<'a, C = ByType> {
    call: CallBuilder<'a, C>,
    limit: Duration,
}

#[cfg(feature = "tokio")]
impl<'a, C> LimitedCall<'a, C> {
    /// Sets the attempt; see [`CallBuilder::attempt`].
    pub fn attempt(mut self, attempt: u16) -> Self {
        self.call = self.call.attempt(attempt);
        self
    }

    /// Sets the context; see [`CallBuilder::context`].
    pub fn context(mut self, context: impl Into<Arc<CallContext>>) -> Self {
        self.call = self.call.context(context);
        self
    }

    /// Sets the rule; see [`CallBuilder::classify`].
    pub fn classify<R, F>(self, rule: F) -> LimitedCall<'a, ByRule<F>>
    where
        F: FnOnce(&R) -> Verdict,
    {
        LimitedCall {
            call: self.call.classify(rule),
            limit: self.limit,
        }
    }

    /// Runs a future for at most the limit; see [`ToolHandle::run_async`].
    ///
    /// # Errors
    ///
    /// [`TimeLimitExceeded`] if it was not done by then: the call was counted as a failure of
    /// kind `timeout`, and then the future was dropped.
    ///
    /// # Panics
    ///
    /// If `tool` panics while it is polled, or the rule panics, and outside of a tokio runtime
    /// with its timer enabled.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use toolmeter::Registry;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let search = registry.register("web_search")?;
    /// let retry = search.call().attempt(2).within(Duration::from_secs(30));
    /// assert_eq!(retry.run_async(async { Ok::<_, String>(3) }).await?, Ok(3));
    /// assert_eq!(registry.metrics().tools["web_search"].recovered, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn run_async<F, M>(self, tool: F) -> Result<F::Output, TimeLimitExceeded>
    where
        F: Future,
        C: Judge<F::Output, M>,
    {
        let limit = self.limit;
        let mut metered = pin!(Metered::new(self.call, tool));
        match tokio::time::timeout(limit, metered.as_mut()).await {
            Ok(output) => Ok(output),
            Err(_) => Err(metered.time_out(limit)),
        }
    }
}
