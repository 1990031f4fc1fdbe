//! [`ToolCall`]: a call that the model asks for, and what makes two calls identical.
//!
//! Two calls are identical if they are of the same tool with the same key. The key is the arguments
//! unless the host sets one. A digest of both is kept, so its size does not depend on theirs. The
//! order of an object's keys does not change the digest: it means nothing in JSON, and `serde_json`
//! keeps it or not, depending on its features.

use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A call that the model asks for.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use std::time::Duration;
/// use toolmeter::auto_run::ToolCall;
///
/// let call = ToolCall::new("web_search", json!({ "query": "loom" }))
///     .id("call_9f3")
///     .time_limit(Duration::from_secs(5));
/// assert_eq!((call.name(), call.call_id()), ("web_search", Some("call_9f3")));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a call runs only as a part of a turn"]
pub struct ToolCall {
    pub(super) name: Arc<str>,
    pub(super) args: Value,
    pub(super) id: Option<Arc<str>>,
    pub(super) key: Option<Arc<str>>,
    pub(super) delay: Duration,
    pub(super) cancel_token: Option<CancellationToken>,
    pub(super) time_limit: Option<Duration>,
}

impl ToolCall {
    /// Creates a call of this tool with these arguments.
    pub fn new(name: impl Into<Arc<str>>, args: Value) -> Self {
        Self {
            name: name.into(),
            args,
            id: None,
            key: None,
            delay: Duration::ZERO,
            cancel_token: None,
            time_limit: None,
        }
    }

    /// Sets the host's name for the call, such as a model's `tool_call_id`; its events carry it.
    /// Without one, the call is named after its turn and its place there, both counted from 0, as
    /// in `4.0`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::ToolCall;
    ///
    /// let call = ToolCall::new("shell", json!({}));
    /// assert_eq!(call.call_id(), None);
    /// assert_eq!(call.id("call_9f3").call_id(), Some("call_9f3"));
    /// ```
    pub fn id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the key by which a retry of an earlier call is recognised, instead of the arguments;
    /// see [`AutoRun`](super::AutoRun#retries).
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::{AutoRun, ToolCall, Turn};
    /// use toolmeter::{ErrorKind, Registry, ToolError, async_tool};
    /// # use toolmeter::auto_run::{CallResult, Model};
    /// # struct Script(Vec<Turn>);
    /// # impl Model for Script {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
    /// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("flaky", |call| async move {
    ///     match call.attempt {
    ///         1 => Err(ToolError::new(ErrorKind::Network, "connection reset")),
    ///         _ => Ok(call.args),
    ///     }
    /// }))?;
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![
    ///     Turn::Calls(vec![ToolCall::new("flaky", json!(1)).key("a")]),
    ///     Turn::Calls(vec![ToolCall::new("flaky", json!(2)).key("a")]),
    /// ]);
    /// let report = AutoRun::new(&registry).run(&mut model).await;
    /// // The second call has other arguments, but is a retry of the first.
    /// assert_eq!((report.retries, report.recovered), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Delays the start of the call until this long after the beginning of the turn, as when a
    /// model streams its calls.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use std::time::Duration;
    /// use toolmeter::auto_run::{AutoRun, ToolCall, Turn};
    /// use toolmeter::{Registry, async_tool};
    /// # use toolmeter::auto_run::{CallResult, Model};
    /// # struct Script(Vec<Turn>);
    /// # impl Model for Script {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
    /// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time().start_paused(true).build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// let began = tokio::time::Instant::now();
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![
    ///     Turn::Calls(vec![ToolCall::new("echo", json!({})).delay(Duration::from_secs(2))]),
    /// ]);
    /// AutoRun::new(&registry).run(&mut model).await;
    /// assert!(began.elapsed() >= Duration::from_secs(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets a token that cancels this call alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use toolmeter::auto_run::{AutoRun, CancellationToken, ToolCall, Turn};
    /// use toolmeter::{Registry, async_tool};
    /// # use toolmeter::auto_run::{CallResult, Model};
    /// # struct Script(Vec<Turn>);
    /// # impl Model for Script {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
    /// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("echo", |call| async move { Ok(call.args) }))?;
    /// let token = CancellationToken::new();
    /// token.cancel();
    /// let dropped = ToolCall::new("echo", json!(1)).cancel_token(token);
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![Turn::Calls(vec![dropped, ToolCall::new("echo", json!(2))])]);
    /// let report = AutoRun::new(&registry).run(&mut model).await;
    /// assert_eq!((report.cancelled, report.attempts), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_token(mut self, token: CancellationToken) -> Self {
        self.cancel_token = Some(token);
        self
    }

    /// Sets the time limit of each attempt, instead of the run's.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use std::time::Duration;
    /// use toolmeter::auto_run::{AutoRun, ToolCall, Turn};
    /// use toolmeter::{Registry, async_tool};
    /// # use toolmeter::auto_run::{CallResult, Model};
    /// # struct Script(Vec<Turn>);
    /// # impl Model for Script {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Self::Error> {
    /// #         Ok(if self.0.is_empty() { Turn::Done(json!("done")) } else { self.0.remove(0) })
    /// #     }
    /// # }
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time().start_paused(true).build()?.block_on(async {
    /// let registry = Registry::new();
    /// registry.register_tool(async_tool("slow", |_| std::future::pending()))?;
    /// let call = ToolCall::new("slow", json!({})).time_limit(Duration::from_secs(5));
    /// // A model that asks for these turns, then is done.
    /// let mut model = Script(vec![Turn::Calls(vec![call])]);
    /// let report = AutoRun::new(&registry).run(&mut model).await;
    /// assert_eq!(report.failures_left, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Returns the name of the tool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the arguments.
    #[must_use]
    pub fn args(&self) -> &Value {
        &self.args
    }

    /// Returns the host's name for the call, if it has one.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the digest that identical calls share.
    pub(super) fn identity(&self) -> Identity {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(salt);
            self.name.hash(&mut hasher);
            match &self.key {
                Some(key) => (true, key).hash(&mut hasher),
                None => {
                    false.hash(&mut hasher);
                    hash(&self.args, &mut hasher);
                }
            }
            u128::from(hasher.finish())
        };
        Identity(half(0) << 64 | half(1))
    }
}

/// A digest that identical calls share: of the tool, and of the host's key or else the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity(u128);

/// Hashes a value so that equal values hash alike, whatever the order of the keys of their objects.
fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => hasher.write_u8(0),
        Value::Bool(value) => (1_u8, value).hash(hasher),
        // As it is written: what it is kept as depends on how serde_json was built.
        Value::Number(number) => (2_u8, number.to_string()).hash(hasher),
        Value::String(text) => (3_u8, text).hash(hasher),
        Value::Array(values) => {
            (4_u8, values.len()).hash(hasher);
            for value in values {
                hash(value, hasher);
            }
        }
        Value::Object(fields) => {
            (5_u8, fields.len()).hash(hasher);
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|&(name, _)| name);
            for (name, value) in fields {
                name.hash(hasher);
                hash(value, hasher);
            }
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
