//! Agents that `AutoRun` drives: blocking tools on other threads, time limits, retries, and
//! calls that are cancelled while they hang.
//!
//! The expected counts come from the results of each turn. That is exact because a tool of these turns
//! can fail in one way only: all attempts of a call before the last failed in that way.

use crate::counts::Counts;
use crate::host::Host;
use crate::tools::{BLOCKING, BY_NAME, NAMES, UNKNOWN, ask, place};
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use toolmeter::auto_run::{
    AutoRun, CallResult, CancellationToken, ConstantBuilder, Model, StopReason, ToolCall, Turn,
};
use toolmeter::{ErrorKind, Outcome};

/// The time limit of a call, and about as long as the blocking tool takes: either may end first.
const LIMIT: Duration = Duration::from_millis(3);

/// The time limit of a call that is cancelled long before, even if the process was stopped for a
/// while.
const HOUR: Duration = Duration::from_secs(3_600);
/// The number of turns of an agent, unless the load is over before.
const TURNS: u64 = 50;

/// An agent that asks for the same calls turn after turn.
struct Agent {
    host: Arc<Host>,
    turn: u64,
    counts: Counts,
}

impl Model for Agent {
    type Error = Infallible;

    async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
        for result in &results {
            self.count(result);
        }
        if self.host.is_over() || self.turn == TURNS {
            return Ok(Turn::Done(Value::Null));
        }
        self.turn += 1;
        let about_the_limit = LIMIT.as_micros() as u64 + self.turn % 5 * 100 - 300;
        let token = CancellationToken::new();
        let cancel = token.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            cancel.cancel();
        });
        let hung = ToolCall::new(NAMES[BY_NAME], ask::HANG.into());
        Ok(Turn::Calls(vec![
            ToolCall::new(NAMES[BLOCKING], about_the_limit.into()),
            ToolCall::new(NAMES[BLOCKING], 100.into()),
            ToolCall::new(NAMES[BY_NAME], ask::FAIL.into()),
            hung.cancel_token(token).time_limit(HOUR),
            ToolCall::new(UNKNOWN, Value::Null),
        ]))
    }
}

impl Agent {
    fn count(&mut self, result: &CallResult) {
        let Some(tool) = place(result.call.name()) else {
            self.counts.unknown += result.attempts;
            return;
        };
        // A call that was cancelled before it began was no attempt.
        if result.attempts == 0 {
            return;
        }
        let failed_before = match tool {
            BLOCKING => ErrorKind::Timeout,
            _ => ErrorKind::Network,
        };
        let retries = (result.attempts - 1) as u16;
        for attempt in result.attempt - retries..result.attempt {
            let outcome = Outcome::Failure(failed_before);
            self.counts.whole(tool, attempt, outcome);
        }
        self.counts.whole(tool, result.attempt, result.outcome);
    }
}

/// Runs one agent after the other until the load is over.
pub(crate) async fn run(host: Arc<Host>) -> Counts {
    let backoff = ConstantBuilder::new().with_delay(Duration::from_micros(300));
    let mut all = Counts::default();
    while !host.is_over() {
        let mut agent = Agent {
            host: Arc::clone(&host),
            turn: 0,
            counts: Counts::default(),
        };
        let report = AutoRun::new(&host.registry)
            .time_limit(LIMIT)
            .max_attempts(2)
            .backoff(backoff)
            .run(&mut agent)
            .await;
        assert!(matches!(report.stop, StopReason::Done(_)));
        all.add(&agent.counts);
    }
    all
}
