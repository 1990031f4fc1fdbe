//! The methods of [`ToolHandle`]: everything that a host does with one tool.

use crate::call::{Call, CallGuard, OwnedCall};
use crate::call_builder::CallBuilder;
use crate::call_options::CallOptions;
use crate::classify::{ByType, Judge};
#[cfg(feature = "stream")]
use crate::stream::MeteredStream;
use crate::tool_state::ToolHandle;
#[cfg(feature = "stream")]
use futures_core::Stream;
use std::future::Future;
use toolmeter_events::ToolId;

impl ToolHandle {
    /// Returns the name under which the tool was registered.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.slot.name
    }

    /// Returns the id of the tool in events.
    ///
    /// A name that is deregistered and registered again keeps its id, unless the registry has
    /// [forgotten](crate::Snapshot::nameless) the name. No other name gets it.
    #[must_use]
    pub fn id(&self) -> ToolId {
        self.0.slot.id
    }

    /// Enables or disables calls by name.
    ///
    /// While a tool is disabled, [`Registry::invoke`](crate::Registry::invoke) returns an error and
    /// counts a rejected call. Calls through handles and calls that began before are not affected.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{InvokeError, Registry, async_tool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let tool = registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// tool.set_enabled(false);
    /// let answer = registry.invoke("echo", 1.into()).await;
    /// assert!(matches!(answer, Err(InvokeError::Disabled { .. })));
    /// # Ok::<(), toolmeter::RegisterError>(()) }).unwrap();
    /// ```
    pub fn set_enabled(&self, enabled: bool) {
        self.0.slot.set_enabled(enabled);
    }

    /// Returns whether calls by name are enabled, as they are after registration.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.slot.is_enabled()
    }

    /// Starts a call that lasts until the guard is finished or dropped.
    ///
    /// To give the call an attempt or a context, use [`call`](Self::call).
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

    /// Starts a call whose guard owns a clone of the handle, so it can be returned or moved into a
    /// spawned task.
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

    /// Returns a builder for a call with an attempt, a context, a time limit or a rule of its own.
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
        CallBuilder::new(self)
    }

    /// Runs a closure as a call, and judges the call by the type of its result.
    ///
    /// `Ok` is a success whatever it holds. If it may hold an error, give a rule to
    /// [`CallBuilder::classify`]: [`nested`](crate::nested) for a result within a result,
    /// [`classify_mcp`](crate::classify_mcp) for an answer of MCP, or one of your own. See
    /// [`Classify`](crate::Classify) for how errors are judged.
    ///
    /// # Panics
    ///
    /// If `tool` panics. The call is counted as a failure of kind `panic` before the panic goes on.
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

    /// Returns a future that runs `tool` as a call, which is judged as by [`run`](Self::run).
    ///
    /// The call begins at the first poll, so a future that is never polled is not counted. If it is
    /// dropped between its first poll and its end, the call is cancelled.
    ///
    /// # Panics
    ///
    /// If `tool` panics while it is polled; see [`run`](Self::run).
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

    /// Returns a stream that passes the items of `stream` on and meters it as a call.
    ///
    /// The call begins at the first poll. It ends with the first item that is not judged as a
    /// success, or as a success with the end of the stream. If the stream is dropped before that,
    /// the call is cancelled. Items are judged by their type, as the results of [`run`](Self::run)
    /// are; with [`CallBuilder::run_stream`], they are judged by a rule.
    ///
    /// # Panics
    ///
    /// If `stream` panics while it is polled; see [`run`](Self::run).
    ///
    /// # Examples
    ///
    /// The time to the first item, and the time of the whole answer:
    ///
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use toolmeter::{ClockSource, ManualClock, Pump, Registry};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let clock = Arc::new(ManualClock::new());
    /// let source = ClockSource::Manual(Arc::clone(&clock));
    /// let registry = Registry::builder().clock(source).pump(Pump::manual()).build()?;
    /// let complete = registry.register("complete")?;
    ///
    /// let words = stream::iter(["to", "be"]).map(|word| {
    ///     clock.advance(Duration::from_millis(200));
    ///     Ok::<_, String>(word)
    /// });
    /// let mut words = std::pin::pin!(complete.run_stream(words));
    /// assert_eq!(words.next().await, Some(Ok("to")));
    /// assert_eq!(words.time_to_first_item(), Some(Duration::from_millis(200)));
    /// assert_eq!(words.next().await, Some(Ok("be")));
    /// assert_eq!(words.next().await, None);
    /// let metrics = registry.metrics();
    /// assert_eq!(metrics.tools["complete"].last_latency(), Some(Duration::from_millis(400)));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "stream")]
    pub fn run_stream<S, M>(&self, stream: S) -> MeteredStream<S, ByType, M>
    where
        S: Stream,
        ByType: Judge<S::Item, M>,
    {
        self.call().run_stream(stream)
    }
}
