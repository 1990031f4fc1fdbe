//! Recorded sessions in JSON lines: one object for each call, checked as a whole.
//!
//! [`parse`] accepts any bytes and never panics. It returns either every session or the first line
//! that is wrong, with its number. No error quotes the file.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;
use toolmeter::{ErrorKind, Outcome, ToolSpec};

/// The longest time that a recording may hold: 100 years, in milliseconds.
const MAX_MS: f64 = 100.0 * 365.0 * 86_400_000.0;

/// One recorded call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The recording's name for it, unique in its file.
    pub(crate) id: String,
    /// The tool.
    pub(crate) tool: String,
    /// Equal for equal arguments within the session.
    pub(crate) args_hash: String,
    /// The time from the start of the session to the start of the call.
    pub(crate) start: Duration,
    /// The duration, if it was recorded.
    pub(crate) duration: Option<Duration>,
    /// The outcome.
    pub(crate) outcome: Outcome,
}

/// One recorded agent: its turns in order, each with its calls in the order of their starts.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The recording's name for it.
    pub(crate) name: String,
    /// The calls of each turn.
    pub(crate) turns: Vec<Vec<Call>>,
}

/// The reason why a recording cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceError {
    /// The line, counted from 1; `None` if it is about the file as a whole.
    pub(crate) line: Option<usize>,
    /// The problem.
    pub(crate) message: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for TraceError {}

#[derive(Deserialize)]
struct Row {
    session: String,
    turn: u64,
    call_id: String,
    tool: String,
    start_ms: f64,
    duration_ms: Option<f64>,
    ok: bool,
    error_class: Option<String>,
    args_hash: String,
}

/// Returns the sessions of a file, in the order in which they first appear.
///
/// # Errors
///
/// The first line that is wrong.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Session>, TraceError> {
    let mut order = Vec::new();
    let mut sessions: HashMap<String, BTreeMap<u64, Vec<Call>>> = HashMap::new();
    let mut ids = HashSet::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let fail = |message: String| TraceError {
            line: Some(index + 1),
            message,
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row: Row = serde_json::from_slice(line).map_err(|error| fail(plain(&error)))?;
        let (session, turn, call) = check(row).map_err(fail)?;
        if !ids.insert(call.id.clone()) {
            return Err(fail("call_id is on an earlier line, too".into()));
        }
        let turns = sessions.entry(session.clone()).or_insert_with(|| {
            order.push(session);
            BTreeMap::new()
        });
        turns.entry(turn).or_default().push(call);
    }
    if order.is_empty() {
        return Err(TraceError {
            line: None,
            message: "the file holds no call".into(),
        });
    }
    let session = |name: String| {
        let turns = sessions.remove(&name).unwrap_or_default();
        let mut turns: Vec<Vec<Call>> = turns.into_values().collect();
        for turn in &mut turns {
            turn.sort_by_key(|call| call.start);
        }
        Session { name, turns }
    };
    Ok(order.into_iter().map(session).collect())
}

/// Returns the parser's message without its own line number, which is always 1, and without the
/// value that is of another type than expected.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = &text[..text.rfind(" at line ").unwrap_or(text.len())];
    let expected = text.rfind(", expected ").filter(|_| error.is_data());
    let text = match (expected, text.find(": ")) {
        (Some(expected), Some(value)) => format!("{}{}", &text[..value], &text[expected..]),
        _ => text.to_owned(),
    };
    format!("{text} at column {}", error.column())
}

fn check(row: Row) -> Result<(String, u64, Call), String> {
    let spec = ToolSpec::new(row.tool.clone());
    if spec.check().is_err() {
        return Err("tool is empty, too long, or not visible text".into());
    }
    let call = Call {
        outcome: outcome(row.ok, row.error_class.as_deref())?,
        start: time("start_ms", row.start_ms)?,
        duration: row
            .duration_ms
            .map(|ms| time("duration_ms", ms))
            .transpose()?,
        id: row.call_id,
        tool: row.tool,
        args_hash: row.args_hash,
    };
    Ok((row.session, row.turn, call))
}

fn time(field: &str, ms: f64) -> Result<Duration, String> {
    if (0.0..=MAX_MS).contains(&ms) {
        Ok(Duration::from_secs_f64(ms / 1e3))
    } else {
        Err(format!("{field} is not from 0 to {MAX_MS:e}"))
    }
}

fn outcome(ok: bool, class: Option<&str>) -> Result<Outcome, String> {
    let kind = match (ok, class) {
        (true, None) => return Ok(Outcome::Success),
        (true, Some(_)) => return Err("ok is true, but there is an error_class".into()),
        (false, Some("cancelled")) => return Ok(Outcome::Cancelled),
        (false, Some("denied")) => return Ok(Outcome::Rejected),
        (false, Some("timeout")) => ErrorKind::Timeout,
        (false, Some("not_found")) => ErrorKind::NotFound,
        (false, Some("invalid_args")) => ErrorKind::InvalidArgs,
        (false, Some("exit_code")) => ErrorKind::ToolError,
        (false, None | Some("other")) => ErrorKind::Other,
        (false, Some(_)) => return Err("error_class is not known".into()),
    };
    Ok(Outcome::Failure(kind))
}
