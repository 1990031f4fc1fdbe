//! [`ToolSpec`], the description of a tool to register, and [`Tool`], a tool that can be called by
//! name.
//!
//! A host that runs its tools itself only needs a spec. A host that uses
//! [`Registry::invoke`](crate::Registry::invoke) or `AutoRun` implements [`Tool`], or makes a tool
//! from a closure with [`sync_tool`] or [`async_tool`].
//!
//! [`Invocation::registry`] is in `registry.rs`, since it returns a registry.

use crate::classify::{Verdict, classify_mcp};
use crate::error::ToolError;
use crate::live_registries::RegistryId;
use crate::text::{NameError, check_name, lossy_name};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use toolmeter_events::CallContext;

/// The description of a tool to register: its name. Any text converts into one.
///
/// # Examples
///
/// ```
/// use toolmeter::{Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let search = registry.register(ToolSpec::new("web_search"))?;
/// assert_eq!(search.name(), "web_search");
/// let shell = registry.register("shell")?;
/// assert_eq!(shell.name(), "shell");
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSpec {
    name: Cow<'static, str>,
}

impl ToolSpec {
    /// Creates the spec of a tool of this name.
    ///
    /// A name is 1 to 256 bytes of visible text, which is checked when the tool is registered.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into() }
    }

    /// Creates the spec of a tool whose name comes from outside, for example from an MCP server.
    ///
    /// A valid name stays as it is. In any other name, invisible characters are escaped. A name
    /// that is too long is cut, and one that shows nothing becomes `(unnamed)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Registry, ToolSpec};
    ///
    /// let registry = Registry::new();
    /// let tool = registry.register(ToolSpec::lossy("list\u{200b}files"))?;
    /// assert_eq!(tool.name(), "list\\u{200b}files");
    /// assert!(registry.register(ToolSpec::lossy(&"x".repeat(10_000))).is_ok());
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use]
    pub fn lossy(name: &str) -> Self {
        Self::new(lossy_name(name))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checks whether the name is valid.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is empty, longer than 256 bytes, or not visible text.
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

/// The input of a [`Tool`] for one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Invocation {
    /// The arguments, as the model gave them.
    pub args: Value,
    /// The number of the attempt, counted from 1.
    pub attempt: u16,
    /// The host's own names for the call, if it gave any.
    pub context: Option<Arc<CallContext>>,
    pub(crate) registry: Option<RegistryId>,
}

impl Invocation {
    /// Creates a first attempt with these arguments, without a context or a registry.
    ///
    /// Tests of a tool can call it with this.
    #[must_use]
    pub fn new(args: Value) -> Self {
        Self {
            args,
            attempt: 1,
            context: None,
            registry: None,
        }
    }

    pub(crate) fn of(
        args: Value,
        attempt: u16,
        context: Option<Arc<CallContext>>,
        registry: RegistryId,
    ) -> Self {
        Self {
            args,
            attempt,
            context,
            registry: Some(registry),
        }
    }

    /// Returns the context for a call made by this one: the same session and turn, with this call
    /// as its parent.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{CallContext, Invocation};
    ///
    /// let mut invocation = Invocation::new(serde_json::json!({}));
    /// invocation.context = Some(CallContext::new("session-17").turn(4).call("call_9e").into());
    /// let child = invocation.child_context("call_9f");
    /// assert_eq!((&*child.session, child.turn, &*child.call), ("session-17", 4, "call_9f"));
    /// assert_eq!(child.parent.as_deref(), Some("call_9e"));
    /// ```
    #[must_use]
    pub fn child_context(&self, call: impl Into<Box<str>>) -> CallContext {
        match &self.context {
            None => CallContext::new("").call(call),
            Some(parent) => CallContext::new(parent.session.clone())
                .turn(parent.turn)
                .call(call)
                .parent(parent.call.clone()),
        }
    }
}

/// The future of a [`Tool`]'s answer.
///
/// It borrows nothing from the tool: clone what it needs into it.
pub type ToolFuture = Pin<Box<dyn Future<Output = Result<Value, ToolError>> + Send>>;

/// A tool that can be called by name.
///
/// # Examples
///
/// ```
/// use serde_json::{Value, json};
/// use toolmeter::{Invocation, Registry, Tool, ToolFuture, ToolSpec};
///
/// struct WebSearch;
///
/// impl Tool for WebSearch {
///     fn spec(&self) -> ToolSpec {
///         ToolSpec::new("web_search")
///     }
///
///     fn call(&self, invocation: Invocation) -> ToolFuture {
///         Box::pin(async move { Ok(json!({ "query": invocation.args, "hits": 3 })) })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// registry.register_tool(WebSearch)?;
/// let output = registry.invoke("web_search", json!("loom")).await?;
/// assert_eq!(output["hits"], 3);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait Tool: Send + Sync + 'static {
    /// Returns the spec by which the tool is registered.
    ///
    /// The registry calls this once, when the tool is registered. If it panics, or
    /// [`is_blocking`](Self::is_blocking) does, nothing is registered, and registering returns
    /// [`RegisterError::Panicked`](crate::RegisterError::Panicked).
    fn spec(&self) -> ToolSpec;

    /// Runs the tool once.
    ///
    /// The call lasts from just before this is called to the end of the future. If the future is
    /// dropped before its end, the call is cancelled. If this or the future panics, the call is a
    /// failure of kind `panic`, and the panic goes no further.
    fn call(&self, invocation: Invocation) -> ToolFuture;

    /// Judges an answer. The default is MCP's rule for answers in JSON, [`classify_mcp`].
    ///
    /// The caller gets the answer whatever the verdict is. If this panics, the call is a failure of
    /// kind `panic`, and the caller gets [`InvokeError::Panicked`](crate::InvokeError::Panicked).
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::{Value, json};
    /// use toolmeter::{ErrorKind, Invocation, Registry, Tool, ToolFuture, ToolSpec, Verdict};
    ///
    /// /// Answers with an HTTP status.
    /// struct Fetch;
    ///
    /// impl Tool for Fetch {
    ///     fn spec(&self) -> ToolSpec {
    ///         "fetch".into()
    ///     }
    ///
    ///     fn call(&self, _: Invocation) -> ToolFuture {
    ///         Box::pin(async { Ok(json!({ "status": 429 })) })
    ///     }
    ///
    ///     fn classify(&self, answer: &Value) -> Verdict {
    ///         match answer["status"].as_u64() {
    ///             Some(429) => Verdict::failure(ErrorKind::RateLimited),
    ///             _ => Verdict::success(),
    ///         }
    ///     }
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(Fetch)?;
    /// assert_eq!(registry.invoke("fetch", json!("/")).await?, json!({ "status": 429 }));
    /// assert_eq!(registry.metrics().tools["fetch"].failure(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    fn classify(&self, answer: &Value) -> Verdict {
        classify_mcp(answer)
    }

    /// Returns whether [`call`](Self::call) blocks its thread.
    ///
    /// Within a tokio runtime, such a tool runs on the runtime's threads for blocking work, as
    /// under `spawn_blocking`: it may block on the runtime, own a runtime, and call blocking
    /// methods of channels. Elsewhere it runs on the caller's thread. The registry calls this once,
    /// when the tool is registered.
    fn is_blocking(&self) -> bool {
        false
    }
}

/// Creates a [`Tool`] from a closure that blocks its thread until it is done.
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

/// Creates a [`Tool`] from a closure that returns a future.
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

    fn call(&self, invocation: Invocation) -> ToolFuture {
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

    fn call(&self, invocation: Invocation) -> ToolFuture {
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

    #[test]
    fn closures_become_tools() {
        let blocking = sync_tool("a", |call| Ok(call.args));
        let waiting = async_tool("b", |call| async move { Ok(call.args) });
        assert!(blocking.is_blocking() && !waiting.is_blocking());
        assert_eq!(blocking.spec(), ToolSpec::from("a"));
        assert_eq!(format!("{:?}", &waiting as &dyn Tool), "Tool(\"b\")");
    }
}
