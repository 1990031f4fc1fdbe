//! Calling a tool by name: [`Registry::invoke`].
//!
//! The call is metered by a guard of `call.rs`, from just before the tool's [`call`](Tool::call) to
//! the end of its future. A panic of the tool becomes an error, and so does one of whatever the
//! tool leaves behind; nothing unwinds to the caller. A tool that blocks runs on the runtime's
//! threads for that (`invoke/blocking.rs`).
//!
//! The answer is given back whatever its shape is. How it is judged is the tool's matter
//! ([`Tool::classify`]), unless the host brings a rule of its own.

use crate::call::{self, CallGuard, CallOptions, Known, OwnedCall};
use crate::classify::{ByRule, Verdict};
use crate::contain::{Contained, Panicked, contained};
use crate::error::{InvokeError, ToolError};
use crate::handle::ToolHandle;
use crate::registry::Registry;
use crate::text::{MAX_NAME_BYTES, escaped, shown};
use crate::tool::{Invocation, Tool, ToolFuture};
use serde_json::Value;
use std::borrow::Borrow;
use std::future::{Future, IntoFuture};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
#[cfg(feature = "tokio")]
use std::time::Duration;
#[cfg(feature = "tokio")]
use tokio::sync::OwnedSemaphorePermit;
use toolmeter_core::{ErrorKind, Outcome};
use toolmeter_events::CallContext;

#[cfg(feature = "tokio")]
mod blocking;

/// The rule of calls by name that are judged by the tool, through [`Tool::classify`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTool;

/// How an answer of a call by name is judged; see [`Invoke::classify`].
pub trait JudgeAnswer: sealed::Sealed {
    /// Judges the answer.
    fn judge(self, tool: &dyn Tool, answer: &Value) -> Verdict;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for ByTool {}
impl<F> sealed::Sealed for ByRule<F> {}

impl JudgeAnswer for ByTool {
    fn judge(self, tool: &dyn Tool, answer: &Value) -> Verdict {
        tool.classify(answer)
    }
}

impl<F: FnOnce(&Value) -> Verdict> JudgeAnswer for ByRule<F> {
    fn judge(self, _: &dyn Tool, answer: &Value) -> Verdict {
        self.into_rule()(answer)
    }
}

/// One call by name that is about to be made; see [`Registry::invoke`]. Await it to make the call.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use std::time::Duration;
/// use toolmeter::{CallContext, ErrorKind, Registry, Verdict, async_tool};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// registry.register_tool(async_tool("hits", |_| async { Ok(json!(0)) }))?;
/// let none_is_a_failure = |answer: &serde_json::Value| match answer.as_u64() {
///     Some(0) => Verdict::failure(ErrorKind::NotFound),
///     _ => Verdict::success(),
/// };
/// let answer = registry
///     .invoke("hits", json!({}))
///     .attempt(2)
///     .context(CallContext::new("session-17").call("call_9f3"))
///     .classify(none_is_a_failure)
///     .within(Duration::from_secs(30))
///     .await?;
/// assert_eq!(answer, json!(0));
/// assert_eq!(registry.metrics().tools["hits"].failures_by_kind[&ErrorKind::NotFound], 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "the call is made when this is awaited"]
pub struct Invoke<'a, C = ByTool> {
    registry: &'a Registry,
    name: &'a str,
    args: Value,
    options: CallOptions,
    rule: C,
    #[cfg(feature = "tokio")]
    limit: Option<Duration>,
    #[cfg(feature = "tokio")]
    held: Held,
}

/// What a call holds until its tool is done: a permit of the loop that makes the call, or nothing.
///
/// Of a tool that blocks that is when its thread is free, also if the call has ended before.
#[cfg(feature = "tokio")]
#[derive(Debug, Default)]
struct Held(#[allow(dead_code, reason = "held, then dropped")] Option<OwnedSemaphorePermit>);

/// A clone is another call, which holds nothing.
#[cfg(feature = "tokio")]
impl Clone for Held {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl Registry {
    /// Calls a tool by name.
    ///
    /// The answer is the tool's, also if it carries an error flag, which is counted as the tool
    /// says ([`Tool::classify`]). Dropping the future cancels the call. Within a tokio runtime a
    /// tool that blocks runs on the runtime's threads for that, elsewhere where it is called.
    ///
    /// # Errors
    ///
    /// [`InvokeError`]: an unknown or disabled tool, one without a body, a panic, a time limit
    /// that is over, or the tool's own error. Each is counted as its
    /// [`outcome`](InvokeError::outcome), an unknown name in `unknown_tool_calls`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::{Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// assert_eq!(registry.invoke("echo", json!([1, 2])).await?, json!([1, 2]));
    /// assert!(registry.invoke("eccho", json!(0)).await.is_err());
    /// assert_eq!(registry.metrics().unknown_tool_calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn invoke<'a>(&'a self, name: &'a str, args: Value) -> Invoke<'a> {
        Invoke {
            registry: self,
            name,
            args,
            options: CallOptions::new(),
            rule: ByTool,
            #[cfg(feature = "tokio")]
            limit: None,
            #[cfg(feature = "tokio")]
            held: Held::default(),
        }
    }
}

impl<'a, C> Invoke<'a, C> {
    /// Sets which attempt the call is; see [`CallBuilder::attempt`](crate::CallBuilder::attempt).
    pub fn attempt(mut self, attempt: u16) -> Self {
        self.options.attempt = attempt.max(1);
        self
    }

    /// Sets the host's own names for the call; its events carry them, and the tool gets them.
    pub fn context(mut self, context: impl Into<Arc<CallContext>>) -> Self {
        self.options.context = Some(context.into());
        self
    }

    /// Judges the answer by a rule of the host's own, instead of the tool's.
    pub fn classify<F>(self, rule: F) -> Invoke<'a, ByRule<F>>
    where
        F: FnOnce(&Value) -> Verdict,
    {
        Invoke {
            registry: self.registry,
            name: self.name,
            args: self.args,
            options: self.options,
            rule: ByRule::new(rule),
            #[cfg(feature = "tokio")]
            limit: self.limit,
            #[cfg(feature = "tokio")]
            held: self.held,
        }
    }

    /// Limits how long the call may take, from its first poll on. When it is over, the call is a
    /// failure of kind `timeout`.
    ///
    /// The tool's future is dropped then. A tool that blocks cannot be stopped: its thread runs
    /// on, and what it gives is discarded.
    ///
    /// # Panics
    ///
    /// Awaiting it panics outside of a tokio runtime with its timer enabled.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use std::time::Duration;
    /// use toolmeter::{ErrorKind, Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("hang", |_| std::future::pending()))?;
    /// let call = registry.invoke("hang", json!(0)).within(Duration::ZERO);
    /// assert_eq!(call.await.unwrap_err().kind(), Some(ErrorKind::Timeout));
    /// assert_eq!(registry.metrics().tools["hang"].failure(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "tokio")]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// As [`within`](Self::within), if there is a limit.
    #[cfg(feature = "auto_run")]
    pub(crate) fn within_if(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self
    }

    /// Holds the permit until the tool is done: one that blocks until its thread is free, any other
    /// until the call ends. A call that never begins gives it back at once.
    #[cfg(feature = "auto_run")]
    pub(crate) fn holding(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.held = Held(Some(permit));
        self
    }
}

impl<'a, C: JudgeAnswer> IntoFuture for Invoke<'a, C> {
    type Output = Result<Value, InvokeError>;
    type IntoFuture = Invoking<'a, C>;

    fn into_future(self) -> Invoking<'a, C> {
        Invoking(Stage::New(self))
    }
}

/// A call by name that is being made; from awaiting an [`Invoke`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Invoking<'a, C = ByTool>(Stage<'a, C>);

/// Nothing in it is pinned: the tool's future is in a box of its own.
impl<C> Unpin for Invoking<'_, C> {}

enum Stage<'a, C> {
    New(Invoke<'a, C>),
    Running(Running<C>),
    #[cfg(feature = "tokio")]
    Blocking(Box<blocking::Running<C>>),
    Ended,
}

/// A tool that runs.
struct Running<C> {
    // In front of the tool, so that a call that is dropped is counted before its future is dropped.
    call: OwnedCall,
    rule: C,
    tool: Contained<ToolFuture>,
    #[cfg(feature = "tokio")]
    limit: Option<Limit>,
    // Behind the tool: the call that gets the permit next finds this one over.
    #[cfg(feature = "tokio")]
    _held: Held,
}

/// A time limit that runs.
#[cfg(feature = "tokio")]
struct Limit {
    limit: Duration,
    over: Pin<Box<tokio::time::Sleep>>,
}

#[cfg(feature = "tokio")]
impl Limit {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            over: Box::pin(tokio::time::sleep(limit)),
        }
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.over.as_mut().poll(context).is_ready()
    }
}

/// An answer, and how the call was counted: an answer that carries an error is a failure too.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub(crate) answer: Result<Value, InvokeError>,
    #[cfg_attr(
        not(feature = "auto_run"),
        allow(dead_code, reason = "read by the loop alone")
    )]
    pub(crate) outcome: Outcome,
}

impl Invoked {
    fn failed(error: InvokeError) -> Self {
        Self {
            outcome: error.outcome(),
            answer: Err(error),
        }
    }
}

impl<C: JudgeAnswer> Future for Invoking<'_, C> {
    type Output = Result<Value, InvokeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_invoked(context).map(|invoked| invoked.answer)
    }
}

impl<C: JudgeAnswer> Invoking<'_, C> {
    pub(crate) fn poll_invoked(&mut self, context: &mut Context<'_>) -> Poll<Invoked> {
        let ended = match &mut self.0 {
            Stage::New(_) => {
                let Stage::New(invoke) = mem::replace(&mut self.0, Stage::Ended) else {
                    unreachable!("it is the stage that was looked at");
                };
                return match invoke.begin(context) {
                    Ok(stage) => {
                        self.0 = stage;
                        Poll::Pending
                    }
                    Err(ended) => Poll::Ready(ended),
                };
            }
            Stage::Running(running) => match running.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ended) => ended,
            },
            #[cfg(feature = "tokio")]
            Stage::Blocking(running) => match running.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(invoked) => {
                    self.0 = Stage::Ended;
                    return Poll::Ready(invoked);
                }
            },
            Stage::Ended => panic!("a call was polled after it had ended"),
        };
        let Stage::Running(running) = mem::replace(&mut self.0, Stage::Ended) else {
            unreachable!("it is the stage that was polled");
        };
        Poll::Ready(running.end(ended))
    }
}

/// How a tool that runs ended.
enum Ended {
    Done(Given),
    #[cfg(feature = "tokio")]
    Late(Duration),
}

impl<C: JudgeAnswer> Running<C> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        if let Poll::Ready(done) = self.call.poll(Pin::new(&mut self.tool), context) {
            return Poll::Ready(Ended::Done(done));
        }
        #[cfg(feature = "tokio")]
        if let Some(late) = self.late(context) {
            return Poll::Ready(late);
        }
        Poll::Pending
    }

    /// Looks whether the time limit is over.
    #[cfg(feature = "tokio")]
    fn late(&mut self, context: &mut Context<'_>) -> Option<Ended> {
        let limit = self.limit.as_mut()?;
        limit.is_over(context).then_some(Ended::Late(limit.limit))
    }

    fn end(self, ended: Ended) -> Invoked {
        match ended {
            Ended::Done(done) => conclude(self.call, self.rule, done),
            // The future is dropped after that.
            #[cfg(feature = "tokio")]
            Ended::Late(limit) => time_out(self.call, limit),
        }
    }
}

impl<'a, C: JudgeAnswer> Invoke<'a, C> {
    /// Looks the tool up, begins the call and polls the tool for the first time.
    ///
    /// # Errors
    ///
    /// How the call ended, if it did at once, or may not be made, which is counted.
    fn begin(self, context: &mut Context<'_>) -> Result<Stage<'a, C>, Invoked> {
        let Some(tool) = self.registry.tool(self.name) else {
            let name = escaped(self.name, MAX_NAME_BYTES);
            let (options, args) = (&self.options, Some(&self.args));
            self.registry.count_unknown_call_of(&name, options, args);
            return Err(Invoked::failed(InvokeError::UnknownTool { name }));
        };
        let name = || Arc::clone(&tool.0.slot.name);
        let body = match &tool.0.body {
            Some(body) if tool.is_enabled() => Ok(body),
            Some(_) => Err(InvokeError::Disabled { name: name() }),
            None => Err(InvokeError::NotCallable { name: name() }),
        };
        let body = match body {
            Ok(body) => body,
            Err(refusal) => {
                let known = Known::Nothing(Some(&self.args));
                call::reject(&tool, &self.options, known, &refusal);
                return Err(Invoked::failed(refusal));
            }
        };
        let invocation = Invocation::of(
            self.args,
            self.options.attempt,
            self.options.context.clone(),
            self.registry.id(),
        );
        #[cfg(feature = "tokio")]
        if body.is_blocking
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let call = (tool.to_handle(), self.options);
            let running =
                blocking::Running::start(&runtime, call, invocation, self.rule, self.held)?;
            let mut running = running.within(self.limit.map(Limit::new));
            return match running.poll(context) {
                Poll::Pending => Ok(Stage::Blocking(Box::new(running))),
                Poll::Ready(ended) => Err(ended),
            };
        }
        // Dropped after the tool, as in `Running`.
        #[cfg(feature = "tokio")]
        let held = self.held;
        let call = CallGuard::begin_with(&*tool, self.options, Some(&invocation.args));
        // Panics where the runtime has no timer; the call is counted then.
        #[cfg(feature = "tokio")]
        let limit = self.limit.map(Limit::new);
        let future = match call.within(|| body.tool().call(invocation)) {
            Ok(future) => future,
            Err(panicked) => return Err(conclude(call, self.rule, Err(panicked))),
        };
        let mut future = Contained::new(future);
        // A call that ends here writes nothing that other threads write: it borrows the tool.
        if let Poll::Ready(given) = call.poll(Pin::new(&mut future), context) {
            return Err(conclude(call, self.rule, given));
        }
        #[cfg_attr(
            not(feature = "tokio"),
            allow(unused_mut, reason = "only a time limit changes it")
        )]
        let mut running = Running {
            call: call.into_owned(),
            rule: self.rule,
            tool: future,
            #[cfg(feature = "tokio")]
            limit,
            #[cfg(feature = "tokio")]
            _held: held,
        };
        #[cfg(feature = "tokio")]
        if let Some(late) = running.late(context) {
            return Err(running.end(late));
        }
        Ok(Stage::Running(running))
    }
}

/// What a tool gave, or how it panicked.
type Given = Result<Result<Value, ToolError>, Panicked>;

/// Judges what the tool gave, and makes that an answer: the verdict to count, and the answer.
fn judge<H, C>(call: &CallGuard<H>, rule: C, given: Given) -> (Verdict, Invoked)
where
    H: Borrow<ToolHandle>,
    C: JudgeAnswer,
{
    let judged = match given {
        Ok(Ok(answer)) => match &call.handle().0.body {
            Some(body) => contained(|| rule.judge(body.tool(), &answer)),
            None => Ok(Verdict::success()),
        }
        .map(|verdict| (verdict, answer)),
        Ok(Err(error)) => {
            let verdict = if call.keeps_text() {
                Verdict::from_error(&error)
            } else {
                Verdict::of(error.outcome())
            };
            return (verdict, Invoked::failed(error.into()));
        }
        Err(panicked) => Err(panicked),
    };
    match judged {
        Ok((verdict, answer)) => {
            let invoked = Invoked {
                answer: Ok(answer),
                outcome: verdict.outcome(),
            };
            (verdict, invoked)
        }
        Err(panicked) => {
            let message = panicked.text();
            let error = InvokeError::Panicked {
                name: Arc::clone(&call.handle().0.slot.name),
                message: shown(&message),
            };
            let verdict = Verdict::failure(ErrorKind::Panic).because(message);
            (verdict, Invoked::failed(error))
        }
    }
}

/// Counts a call by what the tool gave, and makes that an answer.
fn conclude<H, C>(call: CallGuard<H>, rule: C, given: Given) -> Invoked
where
    H: Borrow<ToolHandle>,
    C: JudgeAnswer,
{
    let (verdict, invoked) = judge(&call, rule, given);
    call.finish_with(&verdict, invoked.answer.as_ref().ok());
    invoked
}

#[cfg(feature = "tokio")]
#[cold]
fn time_out(call: OwnedCall, limit: Duration) -> Invoked {
    let name = Arc::clone(&call.handle().0.slot.name);
    let error = crate::error::TimeLimitExceeded { limit };
    call.fail(ErrorKind::Timeout, error);
    Invoked::failed(InvokeError::TimedOut { name, limit })
}

impl<C> std::fmt::Debug for Stage<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::New(_) => "New",
            Self::Running(_) => "Running",
            #[cfg(feature = "tokio")]
            Self::Blocking(_) => "Blocking",
            Self::Ended => "Ended",
        })
    }
}
