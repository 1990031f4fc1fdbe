//! A plan: the turns of calls that a model would ask for.

use crate::common::stderr::say_line;
use crate::names::Names;
use crate::recording::{self, Recording};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use toolmeter::auto_run::{CallResult, Model, ToolCall, Turn};

/// A call of the plan.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    tool: String,
    #[serde(default)]
    arguments: Value,
    #[serde(default, deserialize_with = "seconds")]
    limit: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    cancel_after: Option<Duration>,
}

/// Reads a number of seconds.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let time = Duration::try_from_secs_f64(seconds).map_err(D::Error::custom)?;
    Ok(Some(time))
}

impl Step {
    /// Makes a call without limits of its own.
    pub(crate) fn new(tool: String, arguments: Value) -> Self {
        Self {
            tool,
            arguments,
            limit: None,
            cancel_after: None,
        }
    }
}

impl From<Step> for ToolCall {
    /// Makes the call. The time until it is cancelled begins now.
    fn from(step: Step) -> Self {
        let mut call = Self::new(step.tool, step.arguments);
        if let Some(limit) = step.limit {
            call = call.time_limit(limit);
        }
        if let Some(time) = step.cancel_after {
            let token = CancellationToken::new();
            call = call.cancel_token(token.clone());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                token.cancel();
            });
        }
        call
    }
}

/// The turns that are still to be made.
#[derive(Default)]
pub(crate) struct Plan(VecDeque<Vec<Step>>);

impl Plan {
    /// Reads a plan or a recording. A tool's name is replaced by the registered one.
    ///
    /// # Errors
    ///
    /// A message of one line, if it cannot be read.
    pub(crate) fn read(path: &Path, names: &Names) -> Result<Self, Box<dyn Error>> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.enumerate().filter(|(_, line)| !line.is_empty());
        let mut lines = lines.map(|(number, line)| (number + 1, line)).peekable();
        let first = lines.peek().map(|(_, line)| serde_json::from_slice(line));
        if let Some(Ok(first)) = first
            && recording::is_recorded(&first)
        {
            return recorded(lines, &shown, names);
        }
        let mut turns = VecDeque::new();
        for (number, line) in lines {
            let mut steps = steps(line).map_err(|error| {
                let column = error.column();
                let text = error.to_string();
                let why = text.rsplit_once(" at line ").map_or(&*text, |(why, _)| why);
                format!("line {number} of {shown}, column {column}: {why}")
            })?;
            for step in &mut steps {
                if let Some(tool) = names.given(&step.tool) {
                    step.tool = tool;
                }
            }
            turns.push_back(steps);
        }
        Ok(Self(turns))
    }
}

/// Reads a line: a call, or several at once.
fn steps(line: &[u8]) -> serde_json::Result<Vec<Step>> {
    match line.first() {
        Some(b'[') => serde_json::from_slice(line),
        _ => serde_json::from_slice(line).map(|step| vec![step]),
    }
}

/// Reads the lines of a recording, and says how many of its calls are played.
fn recorded<'a>(
    lines: impl Iterator<Item = (usize, &'a [u8])>,
    shown: &impl Display,
    names: &Names,
) -> Result<Plan, Box<dyn Error>> {
    let mut recording = Recording::new(names);
    let mut unread = 0;
    for (number, line) in lines {
        match serde_json::from_slice(line) {
            Ok(line) => recording
                .read(&line)
                .map_err(|error| format!("line {number} of {shown}: {error}"))?,
            Err(_) => unread += 1,
        }
    }
    let (kept, calls) = (recording.kept, recording.calls);
    let unread = match unread {
        0 => String::new(),
        1 => "; 1 line is not JSON".to_owned(),
        _ => format!("; {unread} lines are not JSON"),
    };
    if kept == 0 {
        let none = "no call of a server that is started";
        return Err(format!("{shown} holds {none}, and {calls} others{unread}").into());
    }
    say_line(format_args!(
        "{shown}: {kept} of {calls} recorded calls are played, those of the servers that are \
         started{unread}"
    ));
    Ok(Plan(recording.turns.into()))
}

impl Model for Plan {
    type Error = Infallible;

    async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
        for result in results {
            if let Err(error) = result.answer {
                say_line(error);
            }
        }
        let Some(steps) = self.0.pop_front() else {
            return Ok(Turn::Done(json!(null)));
        };
        Ok(Turn::Calls(steps.into_iter().map(ToolCall::from).collect()))
    }
}
