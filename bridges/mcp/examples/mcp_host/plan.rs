//! A plan: the turns of calls that a model would ask for.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::path::Path;
use toolmeter::auto_run::{CallResult, Model, ToolCall, Turn};

#[derive(Deserialize)]
struct Step {
    tool: String,
    #[serde(default)]
    arguments: Value,
}

/// One line: a call, or some at once.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    One(Step),
    Some(Vec<Step>),
}

/// The turns that are still to come.
#[derive(Default)]
pub(crate) struct Plan(VecDeque<Vec<Step>>);

impl Plan {
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {shown}: {error}"))?;
        let mut turns = VecDeque::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(line)
                .map_err(|error| format!("line {} of {shown}: {error}", number + 1))?;
            turns.push_back(match line {
                Line::One(step) => vec![step],
                Line::Some(steps) => steps,
            });
        }
        Ok(Self(turns))
    }
}

impl Model for Plan {
    type Error = Infallible;

    async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
        for result in results {
            if let Err(error) = result.answer {
                eprintln!("{error}");
            }
        }
        let Some(steps) = self.0.pop_front() else {
            return Ok(Turn::Done(json!(null)));
        };
        let calls = steps
            .into_iter()
            .map(|step| ToolCall::new(step.tool, step.arguments));
        Ok(Turn::Calls(calls.collect()))
    }
}
