//! [`Invoke`]: a call of a tool by its name; see [`Registry::invoke`](crate::Registry::invoke).
//!
//! A guard (`call.rs`) meters the call from just before the tool's [`call`](crate::Tool::call) to the
//! end of its future. A panic of the tool, or of a value that it leaves behind, is returned as an
//! error or contained; nothing unwinds to the caller.
//!
//! The tool is borrowed from the tool map until the first poll is over. A call that is not over then
//! takes a handle, and goes on in `invoke/running.rs`. A tool that blocks runs on the runtime's
//! threads for that (`invoke/blocking.rs`). `invoke/answer.rs` judges what the tool returns.

use crate::call::CallGuard;
use crate::call_options::CallOptions;
use crate::classify::{ByRule, Verdict};
use crate::contain::Contained;
use crate::error::InvokeError;
use crate::live_registries::RegistryId;
use crate::registry_state::RegistryState;
use crate::rejection::{Reported, reject};
use crate::text::{MAX_NAME_BYTES, escaped};
use crate::tool::Invocation;
use answer::{Invoked, conclude};
#[cfg(feature = "tokio")]
use blocking::BlockingCall;
#[cfg(feature = "tokio")]
use held_permit::HeldPermit;
#[cfg(feature = "tokio")]
use limit::Limit;
use running::Running;
use serde_json::Value;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
#[cfg(feature = "tokio")]
use std::time::Duration;
#[cfg(feature = "auto_run")]
use tokio::sync::OwnedSemaphorePermit;
use toolmeter_events::CallContext;

mod answer;
#[cfg(feature = "tokio")]
mod blocking;
#[cfg(feature = "tokio")]
mod held_permit;
#[cfg(feature = "tokio")]
mod limit;
mod running;

pub use answer::{ByTool, JudgeAnswer};

/// A call by name that is about to be made; see [`Registry::invoke`](crate::Registry::invoke).
/// Await it to make the call.
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
    registry: &'a RegistryState,
    id: RegistryId,
    name: &'a str,
    args: Value,
    options: CallOptions,
    rule: C,
    #[cfg(feature = "tokio")]
    limit: Option<Duration>,
    #[cfg(feature = "tokio")]
    permit: HeldPermit,
}

impl<'a> Invoke<'a> {
    /// Creates a call by name through the registry of this state and id.
    pub(crate) fn new(
        registry: &'a RegistryState,
        id: RegistryId,
        name: &'a str,
        args: Value,
    ) -> Self {
        Self {
            registry,
            id,
            name,
            args,
            options: CallOptions::new(),
            rule: ByTool,
            #[cfg(feature = "tokio")]
            limit: None,
            #[cfg(feature = "tokio")]
            permit: HeldPermit::default(),
        }
    }
}

impl<'a, C> Invoke<'a, C> {
    /// Sets the number of the attempt; see [`CallBuilder::attempt`](crate::CallBuilder::attempt).
    pub fn attempt(mut self, attempt: u16) -> Self {
        self.options.set_attempt(attempt);
        self
    }

    /// Sets the host's own names for the call. Its events carry them, and the tool gets them.
    pub fn context(mut self, context: impl Into<Arc<CallContext>>) -> Self {
        self.options.set_context(context);
        self
    }

    /// Sets a rule that judges the answer, instead of the tool.
    pub fn classify<F>(self, rule: F) -> Invoke<'a, ByRule<F>>
    where
        F: FnOnce(&Value) -> Verdict,
    {
        Invoke {
            registry: self.registry,
            id: self.id,
            name: self.name,
            args: self.args,
            options: self.options,
            rule: ByRule::new(rule),
            #[cfg(feature = "tokio")]
            limit: self.limit,
            #[cfg(feature = "tokio")]
            permit: self.permit,
        }
    }

    /// Sets a time limit, from the first poll on. When it is over, the call is a failure of kind
    /// `timeout`.
    ///
    /// Then the tool's future is dropped. A tool that blocks cannot be stopped: its thread runs on,
    /// and what it returns is discarded.
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

    /// Does the same as [`within`](Self::within), if there is a limit.
    #[cfg(feature = "auto_run")]
    pub(crate) fn within_if(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self
    }

    /// Holds the permit until the tool is done: a tool that blocks when its thread is free, any other
    /// when the call ends. A call that never begins drops the permit at once.
    #[cfg(feature = "auto_run")]
    pub(crate) fn holding(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permit = HeldPermit(Some(permit));
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

/// The future of a call by name, from awaiting an [`Invoke`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Invoking<'a, C = ByTool>(Stage<'a, C>);

/// Nothing in it is pinned, since the tool's future is in a box of its own.
impl<C> Unpin for Invoking<'_, C> {}

/// The stage of a call by name.
enum Stage<'a, C> {
    New(Invoke<'a, C>),
    Running(Running<C>),
    #[cfg(feature = "tokio")]
    Blocking(Box<BlockingCall<C>>),
    Ended,
}

impl<C: JudgeAnswer> Future for Invoking<'_, C> {
    type Output = Result<Value, InvokeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_invoked(context).map(|invoked| invoked.answer)
    }
}

impl<C: JudgeAnswer> Invoking<'_, C> {
    /// Polls the call. Returns the answer with the outcome that was counted.
    pub(crate) fn poll_invoked(&mut self, context: &mut Context<'_>) -> Poll<Invoked> {
        let ended = match &mut self.0 {
            Stage::New(_) => {
                let Stage::New(invoke) = mem::replace(&mut self.0, Stage::Ended) else {
                    unreachable!("the stage was matched just now");
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
            unreachable!("the stage was polled just now");
        };
        Poll::Ready(running.end(ended))
    }
}

impl<'a, C: JudgeAnswer> Invoke<'a, C> {
    /// Looks the tool up, begins the call and polls the tool for the first time.
    ///
    /// # Errors
    ///
    /// The answer, if the call ended at once or was refused. It is counted then.
    fn begin(self, context: &mut Context<'_>) -> Result<Stage<'a, C>, Invoked> {
        let Some(tool) = self.registry.tools.find(self.name) else {
            let (options, args) = (&self.options, Some(&self.args));
            self.registry.count_unknown_call(self.name, options, args);
            let name = escaped(self.name, MAX_NAME_BYTES);
            return Err(Invoked::failed(InvokeError::UnknownTool { name }));
        };
        let name = || Arc::clone(&tool.0.slot.name);
        let callable = match &tool.0.callable {
            Some(callable) if tool.0.slot.is_enabled() => Ok(callable),
            Some(_) => Err(InvokeError::Disabled { name: name() }),
            None => Err(InvokeError::NotCallable { name: name() }),
        };
        let callable = match callable {
            Ok(callable) => callable,
            Err(refusal) => {
                let reported = Reported::Nothing(Some(&self.args));
                reject(&tool, &self.options, reported, &refusal);
                return Err(Invoked::failed(refusal));
            }
        };
        let invocation = Invocation::of(
            self.args,
            self.options.attempt,
            self.options.context.clone(),
            self.id,
        );
        #[cfg(feature = "tokio")]
        if callable.is_blocking
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let call = ((*tool).clone(), self.options);
            let running = BlockingCall::start(&runtime, call, invocation, self.rule, self.permit)?;
            let mut running = running.within(self.limit.map(Limit::new));
            return match running.poll(context) {
                Poll::Pending => Ok(Stage::Blocking(Box::new(running))),
                Poll::Ready(ended) => Err(ended),
            };
        }
        // Dropped after the tool, as in `Running`.
        #[cfg(feature = "tokio")]
        let permit = self.permit;
        let call = CallGuard::begin_with(&*tool, self.options, Some(&invocation.args));
        // This panics if the runtime has no timer. The guard then counts the call as cancelled.
        #[cfg(feature = "tokio")]
        let limit = self.limit.map(Limit::new);
        let future = match call.within(|| callable.tool().call(invocation)) {
            Ok(future) => future,
            Err(panicked) => return Err(conclude(call, self.rule, Err(panicked))),
        };
        let mut future = Contained::new(future);
        // A call that ends here borrows the tool, and writes nothing that other threads write.
        if let Poll::Ready(returned) = call.poll(Pin::new(&mut future), context) {
            return Err(conclude(call, self.rule, returned));
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
            _permit: permit,
        };
        #[cfg(feature = "tokio")]
        if let Some(timed_out) = running.poll_limit(context) {
            return Err(running.end(timed_out));
        }
        Ok(Stage::Running(running))
    }
}

impl<C> fmt::Debug for Stage<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New(_) => "New",
            Self::Running(_) => "Running",
            #[cfg(feature = "tokio")]
            Self::Blocking(_) => "Blocking",
            Self::Ended => "Ended",
        })
    }
}
