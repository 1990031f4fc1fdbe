//! What the model asks for and what it is told: [`ToolCall`], [`CallResult`], [`CallError`].
//!
//! Owns what makes two calls identical: the same tool and the same key, which is the arguments
//! unless the host says otherwise. Of both a digest is kept, whose size does not depend on
//! theirs. The order of an object's keys does not count in it: it means nothing in JSON, and
//! `serde_json` keeps it or not, depending on how it was built.

use super::attempts::{Driven, Ended};
use crate::error::CallError;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use toolmeter_core::Outcome;

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
    /// A call of this tool with these arguments.
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

    /// The host's name for the call, as a model's `tool_call_id`; its events carry it. Without
    /// one, the call is named after its turn and its place there, as in `4.0`.
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

    /// What tells calls of the same tool apart, instead of the arguments, when it is asked whether
    /// a call is a retry of an earlier one; see [`AutoRun`](super::AutoRun#retries).
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

    /// The call starts no earlier than this after its turn began, as when a model streams its
    /// calls.
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

    /// Cancelling this token drops the call, and no other.
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

    /// The time limit of each attempt, instead of the run's.
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

    /// The tool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments.
    #[must_use]
    pub fn args(&self) -> &Value {
        &self.args
    }

    /// The host's name for the call, if it gave one.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

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

/// What two identical calls have in common: a digest of the tool and of the host's key, or of the
/// arguments if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity(u128);

/// Hashes a value, so that two that are equal hash alike whatever the order of the keys of objects.
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

/// How a call of the last turn ended, as the model is told.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use std::convert::Infallible;
/// use toolmeter::auto_run::{AutoRun, CallResult, Model, StopReason, ToolCall, Turn};
/// use toolmeter::{ErrorKind, Outcome, Registry};
///
/// /// Calls a tool that is not there, and tells what came of it.
/// struct Guess;
///
/// impl Model for Guess {
///     type Error = Infallible;
///
///     async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
///         let Some(result) = results.first() else {
///             return Ok(Turn::Calls(vec![ToolCall::new("teleport", json!({}))]));
///         };
///         assert!(result.answer.is_err());
///         assert_eq!(result.outcome, Outcome::Failure(ErrorKind::NotFound));
///         Ok(Turn::Done(json!(result.attempt)))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let report = AutoRun::new(&Registry::new()).run(&mut Guess).await;
/// assert_eq!(report.stop, StopReason::Done(json!(1)));
/// # });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallResult {
    /// The call, as the model asked for it.
    pub call: ToolCall,
    /// What the last attempt gave.
    pub answer: Result<Value, CallError>,
    /// How the last attempt was counted. An answer that carries an error flag is a failure.
    pub outcome: Outcome,
    /// The number of the last attempt, counted from 1; 0 if none was made, because the call was
    /// rejected, or cancelled while it waited to start.
    ///
    /// It goes on from the latest identical call of an earlier turn if that did not succeed. A
    /// number above 65,535 cannot be told: it is given as 65,535, here, to the tool and in events,
    /// and counted in [`Report::unnumbered_attempts`](super::Report::unnumbered_attempts).
    pub attempt: u16,
    /// How many attempts were made in this turn.
    pub attempts: u64,
}

impl CallResult {
    /// What came of a call, from how it ended and what driving it told.
    pub(super) fn new(call: ToolCall, (answer, outcome): Ended, driven: &Driven) -> Self {
        Self {
            call,
            answer,
            outcome,
            attempt: driven.attempt,
            attempts: driven.attempts,
        }
    }
}

/// Whether a call may run.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use toolmeter::auto_run::{Approval, AutoRun, ToolCall, Turn};
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
/// let run = AutoRun::new(&registry)
///     .approve_with(|_| async { Approval::Denied { reason: "not today".into() } });
/// // A model that asks for these turns, then is done.
/// let mut model = Script(vec![Turn::Calls(vec![ToolCall::new("echo", json!({}))])]);
/// let report = run.run(&mut model).await;
/// assert_eq!((report.rejected, report.attempts), (1, 0));
/// assert_eq!(registry.metrics().tools["echo"].rejected, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// It may.
    Approved,
    /// It may not.
    Denied {
        /// Why: the model is told.
        reason: String,
    },
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_arguments_are_one_identity_whatever_the_order_of_their_keys() {
        let of = |text: &str| ToolCall::new("read", serde_json::from_str(text).unwrap()).identity();
        let one = of(r#"{ "path": "a", "range": { "from": 1, "to": [2, 3] } }"#);
        assert_eq!(
            one,
            of(r#"{ "range": { "to": [2, 3], "from": 1 }, "path": "a" }"#)
        );
        for other in [
            r#"{ "path": "b", "range": { "from": 1, "to": [2, 3] } }"#,
            r#"{ "path": "a", "range": { "from": 1, "to": [3, 2] } }"#,
            r#"{ "path": "a", "range": { "from": 1, "to": [2, 3, null] } }"#,
            r#"{ "path": "a", "range": { "from": "1", "to": [2, 3] } }"#,
        ] {
            assert_ne!(one, of(other), "{other}");
        }
        let args = json!({ "path": "a" });
        let mine = ToolCall::new("read", args.clone()).key("k").identity();
        assert_ne!(mine, ToolCall::new("read", args).identity());
        assert_eq!(mine, ToolCall::new("read", json!(2)).key("k").identity());
        assert_ne!(mine, ToolCall::new("write", json!(2)).key("k").identity());
        // A key is not the arguments that read like it.
        let args = ToolCall::new("read", json!("k")).identity();
        assert_ne!(mine, args);
        assert_ne!(args, ToolCall::new("write", json!("k")).identity());
    }
}
