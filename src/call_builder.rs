//! [`CallBuilder`]: one call with its options, run as a closure, a future or a stream.
//!
//! The methods of [`ToolHandle`] that run a tool are short forms of these. All of them hold a
//! guard (`call.rs`) while the tool runs, and never read the clock themselves.

use crate::call::{Call, CallGuard, OwnedCall, begin_scope};
use crate::call_options::CallOptions;
use crate::classify::{ByRule, ByType, Judge, Verdict};
use crate::contain::{contained, discard};
#[cfg(feature = "tokio")]
use crate::error::TimeLimitExceeded;
use crate::hook::CallScope;
use crate::judging::end_and_return;
use crate::metered::Metered;
use crate::rejection::{Reported, reject};
#[cfg(feature = "stream")]
use crate::stream::MeteredStream;
use crate::tool_state::ToolHandle;
#[cfg(feature = "stream")]
use futures_core::Stream;
use std::fmt::Display;
use std::future::Future;
#[cfg(feature = "tokio")]
use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::time::Duration;
use toolmeter_events::CallContext;

/// A call that is about to be made; see [`ToolHandle::call`].
///
/// `C` is the rule by which the call is judged: [`ByType`], or the rule that the host gave to
/// [`classify`](Self::classify).
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

impl<'a> CallBuilder<'a> {
    #[inline]
    pub(crate) fn new(handle: &'a ToolHandle) -> Self {
        Self {
            handle,
            options: CallOptions::new(),
            rule: ByType,
        }
    }
}

impl<'a, C> CallBuilder<'a, C> {
    /// Sets the number of the attempt, counted from 1; 0 is treated as 1. Every attempt above 1 is a
    /// retry.
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
        self.options.set_attempt(attempt);
        self
    }

    /// Sets the host's own names for the call, which its events carry.
    #[inline]
    pub fn context(mut self, context: impl Into<Arc<CallContext>>) -> Self {
        self.options.set_context(context);
        self
    }

    /// Sets the rule by which the call is judged. It borrows the result.
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

    /// Sets a time limit for a future, from its first poll on.
    ///
    /// A closure cannot be stopped, so a call with a time limit only runs futures. For tools that
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

    /// Starts the call; see [`ToolHandle::start`].
    ///
    /// The rule is not used: the guard sets the outcome.
    #[inline]
    pub fn start(self) -> Call<'a> {
        CallGuard::begin(self.handle, self.options)
    }

    /// Starts the call with a guard that owns a clone of the handle; see
    /// [`ToolHandle::start_owned`]. The rule is not used.
    #[inline]
    pub fn start_owned(self) -> OwnedCall {
        CallGuard::begin(self.handle.clone(), self.options)
    }

    /// Counts the call as rejected, because an approver or a policy denied it.
    ///
    /// The call never starts, is not a retry, and has no latency. Subscribers get one
    /// `tool.rejected` event.
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
        reject(
            self.handle,
            &self.options,
            Reported::Nothing(None),
            &message,
        );
        discard(message);
    }

    /// Runs a closure as the call; see [`ToolHandle::run`].
    ///
    /// # Panics
    ///
    /// If `tool` or the rule panics.
    #[inline]
    pub fn run<R, M>(self, tool: impl FnOnce() -> R) -> R
    where
        C: Judge<R, M>,
    {
        // NB: the branch is here, and not around the tool: if a scope may be entered around the
        // tool, the guard is kept in memory, which costs a call without a scope 5 ns of 40.
        let scope = begin_scope(self.handle, &self.options, None);
        if !scope.is_none() {
            return self.run_in(scope, tool);
        }
        let call = CallGuard::begin_in(self.handle, self.options, CallScope::NONE);
        end_and_return(call, self.rule, contained(tool))
    }

    /// Runs a closure as the call, within the scope of a hook.
    #[cold]
    #[inline(never)]
    fn run_in<R, M>(self, scope: CallScope, tool: impl FnOnce() -> R) -> R
    where
        C: Judge<R, M>,
    {
        let call = CallGuard::begin_in(self.handle, self.options, scope);
        let returned = call.within(tool);
        end_and_return(call, self.rule, returned)
    }

    /// Returns a future that runs `tool` as the call; see [`ToolHandle::run_async`].
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
        Metered::new(self.handle, self.options, self.rule, tool)
    }

    /// Returns a stream that meters `stream` as the call; see [`ToolHandle::run_stream`].
    ///
    /// # Panics
    ///
    /// If `stream` panics while it is polled, or the rule panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use toolmeter::{ErrorKind, Registry, Verdict};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let complete = registry.register("complete")?;
    /// let judge = |word: &&str| match *word {
    ///     "[error]" => Verdict::failure(ErrorKind::Provider),
    ///     _ => Verdict::success(),
    /// };
    /// let words = stream::iter(["to", "be", "[error]"]);
    /// let words: Vec<_> = complete.call().classify(judge).run_stream(words).collect().await;
    /// assert_eq!(words.len(), 3);
    /// assert_eq!(registry.metrics().tools["complete"].failure(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "stream")]
    pub fn run_stream<S, M>(self, stream: S) -> MeteredStream<S, C, M>
    where
        S: Stream,
        C: Judge<S::Item, M> + Clone,
    {
        MeteredStream::new(self.handle.clone(), self.options, self.rule, stream)
    }
}

/// A call of a future with a time limit; see [`CallBuilder::within`].
#[cfg(feature = "tokio")]
#[derive(Clone, Debug)]
#[must_use = "nothing is metered until the call is run"]
pub struct LimitedCall<'a, C = ByType> {
    call: CallBuilder<'a, C>,
    limit: Duration,
}

#[cfg(feature = "tokio")]
impl<'a, C> LimitedCall<'a, C> {
    /// Sets the number of the attempt; see [`CallBuilder::attempt`].
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

    /// Runs a future as the call, until the time limit at most; see [`ToolHandle::run_async`].
    ///
    /// # Errors
    ///
    /// [`TimeLimitExceeded`] if the future is not done by then. The call is counted as a failure of
    /// kind `timeout`, and then the future is dropped.
    ///
    /// # Panics
    ///
    /// If `tool` panics while it is polled, if the rule panics, and outside of a tokio runtime with
    /// its timer enabled.
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
        let CallBuilder {
            handle,
            options,
            rule,
        } = self.call;
        let mut metered = pin!(Metered::new(handle, options, rule, tool));
        match tokio::time::timeout(limit, metered.as_mut()).await {
            Ok(output) => Ok(output),
            Err(_) => Err(metered.time_out(limit)),
        }
    }
}
