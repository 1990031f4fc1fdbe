//! The tools of the soak: their names and their bodies.
//!
//! A tool's place in [`NAMES`] is its place in the counts. The first [`FIXED`] are registered
//! once and stay; the rest come and go.

use serde_json::{Value, json};
use std::future::pending;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;
use toolmeter::{ErrorKind, Invocation, Tool, ToolError, async_tool, sync_tool};

/// Called only through guards, which return each latency. So the sums of its latencies are
/// compared, too.
pub(crate) const TIMED: usize = 0;
/// Runs to its end where it is called.
pub(crate) const PLAIN: usize = 1;
/// Fails in every way.
pub(crate) const FAILING: usize = 2;
/// Panics, or is called while its thread unwinds.
pub(crate) const PANICKING: usize = 3;
/// Called through futures that wait once.
pub(crate) const WAITING: usize = 4;
/// Never ends by itself.
pub(crate) const HANGING: usize = 5;
/// Begins on one thread and ends on another.
pub(crate) const CROSSING: usize = 6;
/// Called by its name; [`ask`] lists what it can be asked for.
pub(crate) const BY_NAME: usize = 7;
/// Called by its name, and blocks its thread.
pub(crate) const BLOCKING: usize = 8;
/// Called by its name, and disabled now and then.
pub(crate) const REFUSED: usize = 9;
/// Called by threads that end soon.
pub(crate) const SHORT_LIVED: usize = 10;
/// Called, on the host under load, only by the thread that makes cursors and drops them.
pub(crate) const ALONE: usize = 11;
/// Called by subscribers that join for a moment.
pub(crate) const JOINED: usize = 12;
/// Called when all else is at rest: its events tell subscribers what they lost before.
pub(crate) const BELL: usize = 13;
/// The number of tools that stay registered.
pub(crate) const FIXED: usize = 14;
/// The number of tools.
pub(crate) const TOOLS: usize = NAMES.len();

/// The names of the tools.
pub(crate) const NAMES: [&str; FIXED + 12] = [
    "timed",
    "plain",
    "failing",
    "panicking",
    "waiting",
    "hanging",
    "crossing",
    "by_name",
    "blocking",
    "refused",
    "short_lived",
    "alone",
    "joined",
    "bell",
    "churned_0",
    "churned_1",
    "churned_2",
    "churned_3",
    "churned_4",
    "churned_5",
    "churned_6",
    "churned_7",
    "churned_8",
    "churned_9",
    "churned_10",
    "churned_11",
];

/// A name that is never registered.
pub(crate) const UNKNOWN: &str = "never_registered";

/// Returns the place of the tool of this name.
pub(crate) fn place(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// The arguments of a tool with a body, which choose what it does.
pub(crate) mod ask {
    /// To answer.
    pub(crate) const ANSWER: u64 = 0;
    /// To answer after it yielded once.
    pub(crate) const YIELD: u64 = 1;
    /// To fail with an error of kind `network`.
    pub(crate) const FAIL: u64 = 2;
    /// To answer with an error flag.
    pub(crate) const FLAG: u64 = 3;
    /// To answer with an error flag that is not a boolean.
    pub(crate) const NO_FLAG: u64 = 4;
    /// To panic.
    pub(crate) const PANIC: u64 = 5;
    /// To end as cancelled.
    pub(crate) const STOP: u64 = 6;
    /// To refuse.
    pub(crate) const REFUSE: u64 = 7;
    /// To hang.
    pub(crate) const HANG: u64 = 8;
    /// The number of requests before the one that hangs.
    pub(crate) const ENDING: u64 = 8;
}

/// Returns a tool that does as it is [asked](ask).
pub(crate) fn obedient(name: &'static str) -> impl Tool {
    async_tool(name, obey)
}

async fn obey(call: Invocation) -> Result<Value, ToolError> {
    match call.args.as_u64() {
        Some(ask::ANSWER) => Ok(Value::Null),
        Some(ask::YIELD) => {
            tokio::task::yield_now().await;
            Ok(Value::Null)
        }
        Some(ask::FAIL) => Err(ToolError::new(ErrorKind::Network, "as asked")),
        Some(ask::FLAG) => Ok(json!({ "isError": true })),
        Some(ask::NO_FLAG) => Ok(json!({ "isError": "yes" })),
        Some(ask::PANIC) => unwind(),
        Some(ask::STOP) => Err(ToolError::cancelled("as asked")),
        Some(ask::REFUSE) => Err(ToolError::rejected("as asked")),
        Some(ask::HANG) => pending().await,
        _ => Err(ToolError::new(ErrorKind::InvalidArgs, "not to be asked")),
    }
}

/// Returns a tool that blocks for as many microseconds as its arguments say, then answers.
pub(crate) fn blocking(name: &'static str) -> impl Tool {
    sync_tool(name, |call| {
        let micros = call.args.as_u64().unwrap_or(0);
        thread::sleep(Duration::from_micros(micros));
        Ok(Value::Null)
    })
}

/// Panics, but prints nothing, since there are thousands of panics.
pub(crate) fn unwind() -> ! {
    resume_unwind(Box::new("as asked"))
}
