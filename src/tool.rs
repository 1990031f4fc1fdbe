//! What a tool is to toolmeter: its [`ToolSpec`], and for hosts that call tools by name the
//! [`Tool`] trait with its input and its error.
//!
//! A host that runs its tools itself needs only a spec. One that wants
//! [`Registry::invoke`](crate::Registry::invoke) or [`AutoRun`](crate::AutoRun) hands the tool
//! over as a [`Tool`]; [`sync_tool`] and [`async_tool`] make one of a closure.

use crate::text::{NameError, check_name};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use toolmeter_core::ErrorKind;
use toolmeter_events::CallContext;

/// What to register: so far, a name.
///
/// # Examples
///
/// ```
/// use toolmeter::{Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let search = registry.register(ToolSpec::new("web_search"))?;
/// assert_eq!(search.name(), "web_search");
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSpec {
    name: Cow<'static, str>,
}

impl ToolSpec {
    /// A tool of this name: 1 to 128 bytes of visible text, checked when it is registered.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into() }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the name can be registered.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is empty, longer than 128 bytes, or not visible text.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::ToolSpec;
    ///
    /// assert!(ToolSpec::new("web_search").check().is_ok());
    /// assert!(ToolSpec::new("\u{1b}[2J").check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), NameError> {
        check_name(&self.name)
    }
}

impl<N: Into<Cow<'static, str>>> From<N> for ToolSpec {
    fn from(name: N) -> Self {
        Self::new(name)
    }
}

/// What a [`Tool`] is given for one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Invocation {
    /// The arguments, as the model gave them.
    pub args: Value,
    /// Which attempt this is, counted from 1.
    pub attempt: u16,
    /// The host's own names for the call, if it gave any.
    pub context: Option<Arc<CallContext>>,
}

impl Invocation {
    /// A first attempt with these arguments: what a tool's own tests call it with.
    #[must_use]
    pub fn new(args: Value) -> Self {
        Self {
            args,
            attempt: 1,
            context: None,
        }
    }
}

/// What a [`Tool`] gives back: its output, some time later.
pub type ToolFuture<'a> = Pin<Box<dyn Future<Output = Result<Value, ToolError>> + Send + 'a>>;

/// A tool that can be called by name.
///
/// # Examples
///
/// ```
/// use serde_json::{Value, json};
/// use toolmeter::{CallOptions, Invocation, Registry, Tool, ToolFuture, ToolSpec};
///
/// struct WebSearch;
///
/// impl Tool for WebSearch {
///     fn spec(&self) -> ToolSpec {
///         ToolSpec::new("web_search")
///     }
///
///     fn call(&self, invocation: Invocation) -> ToolFuture<'_> {
///         Box::pin(async move { Ok(json!({ "query": invocation.args, "hits": 3 })) })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// registry.register_tool(WebSearch)?;
/// let output = registry.invoke("web_search", json!("loom"), CallOptions::new()).await?;
/// assert_eq!(output["hits"], 3);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait Tool: Send + Sync + 'static {
    /// The name under which it is registered.
    fn spec(&self) -> ToolSpec;

    /// Runs the tool once.
    ///
    /// The call is counted from the first poll of the future to its end. If the future is
    /// dropped before, the call is cancelled; if it panics, the call fails as `panic` and the
    /// panic goes no further.
    fn call(&self, invocation: Invocation) -> ToolFuture<'_>;

    /// Whether [`call`](Self::call) blocks its thread. [`AutoRun`](crate::AutoRun) then runs it on
    /// the runtime's threads for blocking work; `invoke` runs it where it is.
    fn is_blocking(&self) -> bool {
        false
    }
}

/// Why a tool could not do what it was asked.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, ToolError};
///
/// let error = ToolError::new(ErrorKind::RateLimited, "try again in 30 s");
/// assert_eq!(error.to_string(), "rate_limited: try again in 30 s");
/// let error = ToolError::from(std::io::Error::from(std::io::ErrorKind::NotFound));
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct ToolError {
    kind: ErrorKind,
    message: String,
}

impl ToolError {
    /// A failure of this kind. The text may be long; what is kept of it is bounded and escaped.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text, as the tool gave it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<std::io::Error> for ToolError {
    fn from(error: std::io::Error) -> Self {
        Self::new(io_error_kind(&error), error.to_string())
    }
}

impl From<serde_json::Error> for ToolError {
    /// Arguments that do not parse, or an output that is no JSON: `invalid_args`.
    fn from(error: serde_json::Error) -> Self {
        Self::new(ErrorKind::InvalidArgs, error.to_string())
    }
}

/// The kind of failure that an input or output error is.
pub(crate) fn io_error_kind(error: &std::io::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied => ErrorKind::PermissionDenied,
        Io::TimedOut => ErrorKind::Timeout,
        Io::InvalidInput => ErrorKind::InvalidArgs,
        Io::ConnectionRefused
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::NotConnected
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::NetworkDown
        | Io::BrokenPipe => ErrorKind::Network,
        _ => ErrorKind::Other,
    }
}

/// A [`Tool`] made of a closure that blocks its thread until it is done.
///
/// # Examples
///
/// ```
/// use toolmeter::{Registry, sync_tool};
///
/// let registry = Registry::new();
/// registry.register_tool(sync_tool("read_file", |call| {
///     let path = call.args["path"].as_str().unwrap_or_default();
///     Ok(std::fs::read_to_string(path)?.into())
/// }))?;
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
pub fn sync_tool<F>(name: impl Into<Cow<'static, str>>, run: F) -> impl Tool
where
    F: Fn(Invocation) -> Result<Value, ToolError> + Send + Sync + 'static,
{
    SyncTool {
        spec: ToolSpec::new(name),
        run,
    }
}

/// A [`Tool`] made of a closure that gives a future.
///
/// # Examples
///
/// ```
/// use toolmeter::{Registry, async_tool};
///
/// let registry = Registry::new();
/// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
pub fn async_tool<F, Fut>(name: impl Into<Cow<'static, str>>, run: F) -> impl Tool
where
    F: Fn(Invocation) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, ToolError>> + Send + 'static,
{
    AsyncTool {
        spec: ToolSpec::new(name),
        run,
    }
}

struct SyncTool<F> {
    spec: ToolSpec,
    run: F,
}

impl<F> Tool for SyncTool<F>
where
    F: Fn(Invocation) -> Result<Value, ToolError> + Send + Sync + 'static,
{
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&self, invocation: Invocation) -> ToolFuture<'_> {
        Box::pin(ready((self.run)(invocation)))
    }

    fn is_blocking(&self) -> bool {
        true
    }
}

struct AsyncTool<F> {
    spec: ToolSpec,
    run: F,
}

impl<F, Fut> Tool for AsyncTool<F>
where
    F: Fn(Invocation) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, ToolError>> + Send + 'static,
{
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&self, invocation: Invocation) -> ToolFuture<'_> {
        Box::pin((self.run)(invocation))
    }
}

impl fmt::Debug for dyn Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tool").field(&self.spec().name()).finish()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn input_and_output_errors_keep_their_meaning() {
        let kind = |kind: io::ErrorKind| ToolError::from(io::Error::from(kind)).kind();
        assert_eq!(kind(io::ErrorKind::NotFound), ErrorKind::NotFound);
        assert_eq!(
            kind(io::ErrorKind::PermissionDenied),
            ErrorKind::PermissionDenied
        );
        assert_eq!(kind(io::ErrorKind::TimedOut), ErrorKind::Timeout);
        assert_eq!(kind(io::ErrorKind::InvalidInput), ErrorKind::InvalidArgs);
        assert_eq!(kind(io::ErrorKind::ConnectionRefused), ErrorKind::Network);
        assert_eq!(kind(io::ErrorKind::InvalidData), ErrorKind::Other);
        let error = serde_json::from_str::<u8>("x").unwrap_err();
        assert_eq!(ToolError::from(error).kind(), ErrorKind::InvalidArgs);
    }

    #[test]
    fn closures_become_tools() {
        let blocking = sync_tool("a", |call| Ok(call.args));
        let waiting = async_tool("b", |call| async move { Ok(call.args) });
        assert!(blocking.is_blocking() && !waiting.is_blocking());
        assert_eq!(blocking.spec(), ToolSpec::from("a"));
        assert_eq!(format!("{:?}", &waiting as &dyn Tool), "Tool(\"b\")");
    }
}
