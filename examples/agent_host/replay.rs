//! The replay of recorded sessions: a model that asks for the recorded calls, and tools that take
//! as long and end as recorded.
//!
//! The model pauses between turns as the recorded one did, at most 10 s, and asks for the calls of
//! a turn at their recorded intervals. A call that was cancelled cancels its own token at the end
//! of its duration and never ends by itself, so it is dropped while it runs. A call that was denied
//! waits for its approver as long as recorded and is denied; its tool never runs.

use crate::trace::{Call, Session};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use toolmeter::auto_run::{Approval, CallResult, CancellationToken, Model, ToolCall, Turn};
use toolmeter::{ErrorKind, Invocation, Outcome, RegisterError, Registry, ToolError, async_tool};

/// The longest pause of the model, in recorded time.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The tokens of the calls that will be dropped, by a number that their arguments carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<Mutex<DropTable>>);

#[derive(Debug, Default)]
struct DropTable {
    next: u64,
    tokens: HashMap<u64, CancellationToken>,
}

impl Drops {
    fn with<T>(&self, use_it: impl FnOnce(&mut DropTable) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, token: CancellationToken) -> u64 {
        self.with(|table| {
            table.next += 1;
            table.tokens.insert(table.next, token);
            table.next
        })
    }

    fn take(&self, number: u64) -> Option<CancellationToken> {
        self.with(|table| table.tokens.remove(&number))
    }
}

/// Registers every tool that the sessions call.
///
/// # Errors
///
/// [`RegisterError`] if there are more tools than a registry holds.
pub(crate) fn register(
    registry: &Registry,
    sessions: &[Session],
    drops: &Drops,
) -> Result<(), RegisterError> {
    let calls = sessions
        .iter()
        .flat_map(|session| session.turns.iter().flatten());
    let names: BTreeSet<&str> = calls.map(|call| call.tool.as_str()).collect();
    for name in names {
        let drops = drops.clone();
        let tool = async_tool(name.to_owned(), move |call| play(drops.clone(), call));
        registry.register_tool(tool)?;
    }
    Ok(())
}

/// Denies the calls that were denied, after the recorded time.
pub(crate) async fn approve(call: ToolCall) -> Approval {
    if call.args()["denied"] != true {
        return Approval::Approved;
    }
    take_as_long(call.args()).await;
    Approval::Denied {
        reason: "denied in the recording".into(),
    }
}

async fn take_as_long(args: &Value) {
    let duration_ns = args["duration_ns"].as_u64().unwrap_or(0);
    if duration_ns > 0 {
        tokio::time::sleep(Duration::from_nanos(duration_ns)).await;
    }
}

async fn play(drops: Drops, call: Invocation) -> Result<Value, ToolError> {
    take_as_long(&call.args).await;
    if let Some(token) = call.args["drop"]
        .as_u64()
        .and_then(|number| drops.take(number))
    {
        token.cancel();
        return pending().await;
    }
    match call.args["kind"].as_str().map(str::parse::<ErrorKind>) {
        Some(Ok(kind)) => Err(ToolError::new(kind, "failed in the recording")),
        Some(Err(error)) => Err(ToolError::new(ErrorKind::InvalidArgs, error.to_string())),
        None => Ok(Value::Null),
    }
}

/// One recorded agent.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    session: &'a Session,
    speed: f64,
    drops: Drops,
    next_turn: usize,
    /// The recorded end of the last call so far.
    ended: Duration,
}

impl<'a> Replay<'a> {
    /// Creates a model that plays a session `speed` times as fast as it was recorded.
    pub(crate) fn new(session: &'a Session, speed: f64, drops: Drops) -> Self {
        Self {
            session,
            speed,
            drops,
            next_turn: 0,
            ended: Duration::ZERO,
        }
    }

    fn scaled(&self, recorded: Duration) -> Duration {
        let seconds = recorded.as_secs_f64() / self.speed;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    fn tool_call(&self, call: &Call, turn_start: Duration) -> ToolCall {
        let duration_ns = self.scaled(call.duration.unwrap_or_default()).as_nanos();
        let mut args = json!({ "duration_ns": u64::try_from(duration_ns).unwrap_or(u64::MAX) });
        let mut token = None;
        match call.outcome {
            Outcome::Success => {}
            Outcome::Failure(kind) => args["kind"] = kind.as_str().into(),
            Outcome::Rejected => args["denied"] = true.into(),
            Outcome::Cancelled => {
                let own = CancellationToken::new();
                args["drop"] = self.drops.add(own.clone()).into();
                token = Some(own);
            }
        }
        let tool_call = ToolCall::new(call.tool.as_str(), args)
            .id(call.id.as_str())
            .key(call.args_hash.as_str())
            .delay(self.scaled(call.start.saturating_sub(turn_start)));
        match token {
            Some(token) => tool_call.cancel_token(token),
            None => tool_call,
        }
    }
}

impl Model for Replay<'_> {
    type Error = Infallible;

    async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Infallible> {
        let Some(calls) = self.session.turns.get(self.next_turn) else {
            return Ok(Turn::Done(Value::Null));
        };
        self.next_turn += 1;
        let start = calls.first().map_or(self.ended, |call| call.start);
        let pause = self.scaled(start.saturating_sub(self.ended).min(MAX_PAUSE));
        let ends = calls
            .iter()
            .map(|call| call.start.saturating_add(call.duration.unwrap_or_default()));
        self.ended = ends.fold(self.ended, Duration::max);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let calls = calls.iter().map(|call| self.tool_call(call, start));
        Ok(Turn::Calls(calls.collect()))
    }
}
