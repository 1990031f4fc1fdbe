//! The ways to meter a call as a whole: run a closure or a future, or invoke a tool by name.
//!
//! Everything here holds a guard of `call.rs` while the tool runs and never reads the clock
//! itself. What the tool gives is given back; a panic is counted and goes on unwinding, but
//! for calls by name, which turn it into an error.
//!
//! A time limit lies inside: the call is recorded as a `timeout` first and the tool's future is
//! dropped then, so it is not counted as cancelled.

use crate::call::{CallGuard, CallOptions, OwnedCall, panic_text};
use crate::classify::{Classify, Verdict, classify_mcp};
use crate::handle::ToolHandle;
use crate::registry::Registry;
use crate::text::{MAX_NAME_BYTES, escaped};
use crate::tool::{Invocation, Tool, ToolError};
use serde_json::Value;
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use toolmeter_core::{ErrorKind, Outcome};

/// A handle with the options of one call; see [`ToolHandle::with`].
///
/// # Examples
///
/// ```
/// use toolmeter::{CallOptions, Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let shell = registry.register(ToolSpec::new("shell"))?;
/// let call = shell.with(CallOptions::new().attempt(3)).start();
/// assert_eq!(call.attempt(), 3);
/// call.succeed();
/// assert_eq!(registry.metrics().tools["shell"].retried, 1);
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is metered until the call is run or started"]
pub struct CallBuilder<'a> {
    handle: &'a ToolHandle,
    options: CallOptions,
}

impl ToolHandle {
    /// The next call, with an attempt or a context.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{CallOptions, Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
    /// shell.with(CallOptions::new().attempt(2)).run(|| Ok::<_, String>(()))?;
    /// let metrics = registry.metrics();
    /// assert_eq!((metrics.tools["shell"].retried, metrics.tools["shell"].recovered), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with(&self, options: CallOptions) -> CallBuilder<'_> {
        CallBuilder {
            handle: self,
            options,
        }
    }

    /// Runs a tool and counts how it ended, as its result tells.
    ///
    /// # Panics
    ///
    /// If `tool` panics: the call is counted as a failure of kind `panic`, and the panic goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let read = registry.register(ToolSpec::new("read_file"))?;
    /// let missing = read.run(|| std::fs::read_to_string("/no/such/file"));
    /// assert!(missing.is_err());
    /// let metrics = registry.metrics();
    /// let error = metrics.tools["read_file"].last_error.as_ref().unwrap();
    /// assert_eq!(error.kind.as_str(), "not_found");
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[inline]
    pub fn run<R: Classify>(&self, tool: impl FnOnce() -> R) -> R {
        self.with(CallOptions::new()).run(tool)
    }

    /// Runs a tool and counts how it ended, as `classify` judges its result.
    ///
    /// # Panics
    ///
    /// If `tool` or `classify` panics: the call is counted as a failure of kind `panic`, and the
    /// panic goes on.
    ///
    /// # Examples
    ///
    /// See [`Verdict`].
    #[inline]
    pub fn run_with<R>(
        &self,
        classify: impl for<'r> FnOnce(&'r R) -> Verdict<'r>,
        tool: impl FnOnce() -> R,
    ) -> R {
        self.with(CallOptions::new()).run_with(classify, tool)
    }

    /// Runs a future and counts how it ended, as its output tells.
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
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let search = registry.register(ToolSpec::new("web_search"))?;
    /// let hits = search.run_async(async { Ok::<_, String>(3) }).await?;
    /// assert_eq!(hits, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn run_async<F: Future<Output: Classify>>(&self, tool: F) -> F::Output {
        self.with(CallOptions::new()).run_async(tool).await
    }

    /// Runs a future for at most `limit`; see [`CallBuilder::run_async_within`].
    ///
    /// # Errors
    ///
    /// [`TimeLimitExceeded`] if the future was not done by then; it was dropped.
    ///
    /// # Panics
    ///
    /// As [`run_async`](Self::run_async), and outside of a tokio runtime with its timer enabled.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::pending;
    /// use std::time::Duration;
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let search = registry.register(ToolSpec::new("web_search"))?;
    /// let late = search.run_async_within(Duration::ZERO, pending::<Result<(), String>>()).await;
    /// assert_eq!(late.unwrap_err().limit, Duration::ZERO);
    /// assert_eq!(registry.metrics().tools["web_search"].failure(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "tokio")]
    pub async fn run_async_within<F: Future<Output: Classify>>(
        &self,
        limit: Duration,
        tool: F,
    ) -> Result<F::Output, TimeLimitExceeded> {
        let call = self.with(CallOptions::new());
        call.run_async_within(limit, tool).await
    }
}

impl<'a> CallBuilder<'a> {
    /// As [`ToolHandle::start`].
    #[inline]
    pub fn start(self) -> crate::Call<'a> {
        CallGuard::begin(self.handle, self.options)
    }

    /// As [`ToolHandle::start_owned`].
    #[inline]
    pub fn start_owned(self) -> OwnedCall {
        CallGuard::begin(self.handle.clone(), self.options)
    }

    /// As [`ToolHandle::run`].
    ///
    /// # Panics
    ///
    /// If `tool` panics.
    #[inline]
    pub fn run<R: Classify>(self, tool: impl FnOnce() -> R) -> R {
        self.run_with(R::classify, tool)
    }

    /// As [`ToolHandle::run_with`].
    ///
    /// # Panics
    ///
    /// If `tool` or `classify` panics.
    #[inline]
    pub fn run_with<R>(
        self,
        classify: impl for<'r> FnOnce(&'r R) -> Verdict<'r>,
        tool: impl FnOnce() -> R,
    ) -> R {
        let call = self.start();
        // No state of ours is seen after the panic, and the tool's own is its caller's concern,
        // as it would be without metering.
        match catch_unwind(AssertUnwindSafe(tool)) {
            Ok(result) => {
                call.conclude(&classify(&result));
                result
            }
            Err(payload) => {
                call.panicked(&*payload);
                resume_unwind(payload)
            }
        }
    }

    /// As [`ToolHandle::run_async`].
    ///
    /// # Panics
    ///
    /// If `tool` panics while it is polled.
    pub async fn run_async<F: Future<Output: Classify>>(self, tool: F) -> F::Output {
        self.run_async_with(F::Output::classify, tool).await
    }

    /// Runs a future and counts how it ended, as `classify` judges its output.
    ///
    /// # Panics
    ///
    /// If `tool` panics while it is polled, or `classify` panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{CallOptions, ErrorKind, Registry, ToolSpec, Verdict};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let shell = registry.register(ToolSpec::new("shell"))?;
    /// let call = shell.with(CallOptions::new());
    /// let status = call
    ///     .run_async_with(
    ///         |&status: &i32| match status {
    ///             0 => Verdict::success(),
    ///             _ => Verdict::failure(ErrorKind::Other),
    ///         },
    ///         async { 1 },
    ///     )
    ///     .await;
    /// assert_eq!(status, 1);
    /// assert_eq!(registry.metrics().tools["shell"].failure(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn run_async_with<F: Future>(
        self,
        classify: impl for<'r> FnOnce(&'r F::Output) -> Verdict<'r>,
        tool: F,
    ) -> F::Output {
        let call = self.start();
        match catch_panic(tool).await {
            Ok(output) => {
                call.conclude(&classify(&output));
                output
            }
            Err(payload) => {
                call.panicked(&*payload);
                resume_unwind(payload)
            }
        }
    }

    /// Runs a future for at most `limit`, from its first poll on.
    ///
    /// # Errors
    ///
    /// [`TimeLimitExceeded`] if it was not done by then: the call was counted as a failure of
    /// kind `timeout`, and then the future was dropped.
    ///
    /// # Panics
    ///
    /// If `tool` panics while it is polled, and outside of a tokio runtime with its timer
    /// enabled.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use toolmeter::{CallOptions, Registry, ToolSpec};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let search = registry.register(ToolSpec::new("web_search"))?;
    /// let retry = search.with(CallOptions::new().attempt(2));
    /// let hits = async { Ok::<_, String>(3) };
    /// assert_eq!(retry.run_async_within(Duration::from_secs(30), hits).await?, Ok(3));
    /// assert_eq!(registry.metrics().tools["web_search"].recovered, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "tokio")]
    pub async fn run_async_within<F: Future<Output: Classify>>(
        self,
        limit: Duration,
        tool: F,
    ) -> Result<F::Output, TimeLimitExceeded> {
        let call = self.start();
        let mut running = pin!(catch_panic(tool));
        match tokio::time::timeout(limit, running.as_mut()).await {
            Ok(Ok(output)) => {
                call.record(&output);
                Ok(output)
            }
            Ok(Err(payload)) => {
                call.panicked(&*payload);
                resume_unwind(payload)
            }
            Err(_) => {
                let error = TimeLimitExceeded { limit };
                call.fail(ErrorKind::Timeout, error);
                Err(error)
            }
        }
    }
}

/// A call took longer than its time limit; give it more time, or ask the tool for less.
///
/// # Examples
///
/// See [`ToolHandle::run_async_within`].
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call was not done after its time limit of {limit:?}")]
#[non_exhaustive]
pub struct TimeLimitExceeded {
    /// The limit.
    pub limit: Duration,
}

type Panic = Box<dyn Any + Send>;

/// The output of `future`, or what it panicked with.
async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(future);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await
}

/// Why a call by name gave no output.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use toolmeter::{CallOptions, InvokeError, Registry, ToolSpec};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// registry.register(ToolSpec::new("shell"))?;
/// let error = registry.invoke("shell", json!({}), CallOptions::new()).await.unwrap_err();
/// assert!(matches!(error, InvokeError::NotCallable { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// No tool of that name is registered. Counted in `unknown_tool_calls`.
    #[error("there is no tool `{name}`: register it, or tell the model which tools there are")]
    UnknownTool {
        /// The name that was asked for, escaped and cut to 128 bytes.
        name: String,
    },
    /// The tool is disabled.
    #[error("the tool `{name}` is disabled: enable it through its handle")]
    Disabled {
        /// The tool.
        name: Arc<str>,
    },
    /// The tool was registered by a spec alone, so there is nothing to call.
    #[error("the tool `{name}` cannot be called by name: register it with `register_tool`")]
    NotCallable {
        /// The tool.
        name: Arc<str>,
    },
    /// The call was not done in time, and was dropped.
    #[error("the tool `{name}` was not done after its time limit of {limit:?}")]
    TimedOut {
        /// The tool.
        name: Arc<str>,
        /// The limit.
        limit: Duration,
    },
    /// The tool panicked.
    #[error("the tool `{name}` panicked: {message}")]
    Panicked {
        /// The tool.
        name: Arc<str>,
        /// What the panic said.
        message: String,
    },
    /// The tool's answer does not have the shape that was agreed on.
    #[error("the tool `{name}` answered with an unexpected shape: `isError` is not a boolean")]
    UnexpectedShape {
        /// The tool.
        name: Arc<str>,
    },
    /// The runtime shut down before a tool that blocks could run.
    #[error("the tool `{name}` did not run: the runtime is shutting down")]
    RuntimeStopped {
        /// The tool.
        name: Arc<str>,
    },
    /// The tool's own error.
    #[error(transparent)]
    Failed(#[from] ToolError),
}

impl InvokeError {
    /// The kind of failure that was counted, or for an unknown tool the kind that it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::{CallOptions, ErrorKind, Registry};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let error = registry.invoke("eccho", json!(0), CallOptions::new()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # });
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownTool { .. } => ErrorKind::NotFound,
            Self::Disabled { .. } | Self::NotCallable { .. } | Self::RuntimeStopped { .. } => {
                ErrorKind::Rejected
            }
            Self::TimedOut { .. } => ErrorKind::Timeout,
            Self::Panicked { .. } => ErrorKind::Panic,
            Self::UnexpectedShape { .. } => ErrorKind::InvalidArgs,
            Self::Failed(error) => error.kind(),
        }
    }
}

/// An answer, and how the call was counted: an answer that carries an error is a failure too.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub(crate) answer: Result<Value, InvokeError>,
    #[cfg_attr(
        not(feature = "tokio"),
        allow(dead_code, reason = "read by the loop alone")
    )]
    pub(crate) outcome: Outcome,
}

impl Invoked {
    fn refused(error: InvokeError) -> Self {
        Self {
            outcome: Outcome::Failure(error.kind()),
            answer: Err(error),
        }
    }
}

/// A tool that may be called now.
struct Callable {
    handle: ToolHandle,
    body: Arc<dyn Tool>,
}

impl Registry {
    /// Calls a tool by name.
    ///
    /// The answer is the tool's, also if it carries an error flag, which is counted as
    /// [`classify_mcp`] judges it. A tool that blocks does so here; see
    /// [`AutoRun`](crate::AutoRun) for calls that block elsewhere. Dropping the future cancels
    /// the call.
    ///
    /// # Errors
    ///
    /// [`InvokeError`]: an unknown or disabled tool, one without a body, a panic, an answer of
    /// unexpected shape, or the tool's own error. Each is counted as its
    /// [`kind`](InvokeError::kind), an unknown name in `unknown_tool_calls`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::{CallOptions, Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// let answer = registry.invoke("echo", json!([1, 2]), CallOptions::new()).await?;
    /// assert_eq!(answer, json!([1, 2]));
    /// assert!(registry.invoke("eccho", json!(0), CallOptions::new()).await.is_err());
    /// assert_eq!(registry.metrics().unknown_tool_calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn invoke(
        &self,
        name: &str,
        args: Value,
        options: CallOptions,
    ) -> Result<Value, InvokeError> {
        let callable = match self.callable(name, &options) {
            Ok(callable) => callable,
            Err(refused) => return refused.answer,
        };
        let invocation = invocation(args, &options);
        let call = CallGuard::begin(&callable.handle, options);
        let ended = catch_panic(call_body(&*callable.body, invocation)).await;
        conclude(call, ended).answer
    }

    /// Calls a tool by name, for at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`invoke`](Self::invoke), and [`InvokeError::TimedOut`] if the tool was not done by
    /// then: the call was counted as a failure of kind `timeout`, and its future was dropped.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer enabled.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use std::time::Duration;
    /// use toolmeter::{CallOptions, ErrorKind, Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("hang", |_| std::future::pending()))?;
    /// let call = registry.invoke_within(Duration::ZERO, "hang", json!(0), CallOptions::new());
    /// assert_eq!(call.await.unwrap_err().kind(), ErrorKind::Timeout);
    /// assert_eq!(registry.metrics().tools["hang"].failure(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "tokio")]
    pub async fn invoke_within(
        &self,
        limit: Duration,
        name: &str,
        args: Value,
        options: CallOptions,
    ) -> Result<Value, InvokeError> {
        let callable = match self.callable(name, &options) {
            Ok(callable) => callable,
            Err(refused) => return refused.answer,
        };
        callable.run(Some(limit), args, options).await.answer
    }

    /// Calls a tool by name, a blocking one on the runtime's threads for that.
    #[cfg(feature = "tokio")]
    pub(crate) async fn dispatch(
        &self,
        limit: Option<Duration>,
        name: &str,
        args: Value,
        options: CallOptions,
    ) -> Invoked {
        match self.callable(name, &options) {
            Err(refused) => refused,
            Ok(callable) if callable.body.is_blocking() => {
                blocking::run(callable, limit, args, options).await
            }
            Ok(callable) => callable.run(limit, args, options).await,
        }
    }

    /// Looks the tool up; if it may not be called, counts that.
    fn callable(&self, name: &str, options: &CallOptions) -> Result<Callable, Invoked> {
        let Some(handle) = self.get(name) else {
            self.count_unknown();
            return Err(Invoked::refused(InvokeError::UnknownTool {
                name: escaped(name, MAX_NAME_BYTES),
            }));
        };
        let name = || Arc::clone(&handle.0.slot.name);
        let refusal = match &handle.0.body {
            Some(body) if handle.is_enabled() => {
                let body = Arc::clone(body);
                return Ok(Callable { handle, body });
            }
            Some(_) => InvokeError::Disabled { name: name() },
            None => InvokeError::NotCallable { name: name() },
        };
        handle.with(options.clone()).start().reject(&refusal);
        Err(Invoked::refused(refusal))
    }
}

impl Callable {
    #[cfg(feature = "tokio")]
    async fn run(self, limit: Option<Duration>, args: Value, options: CallOptions) -> Invoked {
        let invocation = invocation(args, &options);
        let call = CallGuard::begin(&self.handle, options);
        let mut running = pin!(catch_panic(call_body(&*self.body, invocation)));
        let ended = match limit {
            None => running.await,
            Some(limit) => match tokio::time::timeout(limit, running.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => return time_out(call, limit),
            },
        };
        conclude(call, ended)
    }
}

fn invocation(args: Value, options: &CallOptions) -> Invocation {
    Invocation {
        attempt: options.attempt,
        context: options.context.clone(),
        ..Invocation::new(args)
    }
}

/// The tool's future, made at the first poll, so that a panic of `call` itself is caught too.
async fn call_body(body: &dyn Tool, invocation: Invocation) -> Result<Value, ToolError> {
    body.call(invocation).await
}

/// Counts a call by what the tool gave, and makes that an answer.
fn conclude<H: std::borrow::Borrow<ToolHandle>>(
    call: CallGuard<H>,
    ended: Result<Result<Value, ToolError>, Panic>,
) -> Invoked {
    let name = Arc::clone(&call.handle().0.slot.name);
    match ended {
        Ok(Ok(answer)) => {
            let verdict = classify_mcp(&answer);
            let outcome = verdict.outcome();
            call.conclude(&verdict);
            let answer = match outcome {
                Outcome::Failure(ErrorKind::InvalidArgs) => {
                    Err(InvokeError::UnexpectedShape { name })
                }
                _ => Ok(answer),
            };
            Invoked { answer, outcome }
        }
        Ok(Err(error)) => {
            call.fail(error.kind(), error.message());
            Invoked::refused(error.into())
        }
        Err(payload) => {
            call.panicked(&*payload);
            let message = escaped(panic_text(&*payload), crate::text::MAX_MESSAGE_BYTES);
            Invoked::refused(InvokeError::Panicked { name, message })
        }
    }
}

#[cfg(feature = "tokio")]
fn time_out<H: std::borrow::Borrow<ToolHandle>>(call: CallGuard<H>, limit: Duration) -> Invoked {
    let name = Arc::clone(&call.handle().0.slot.name);
    call.fail(ErrorKind::Timeout, TimeLimitExceeded { limit });
    Invoked::refused(InvokeError::TimedOut { name, limit })
}

#[cfg(feature = "tokio")]
mod blocking;
