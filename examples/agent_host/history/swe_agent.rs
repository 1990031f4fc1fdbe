//! Trajectories of SWE-agent: `*.traj`, one document with the steps of one session. A step has a
//! duration but no time, so each begins where the one before ended.

use super::json::{self, digest_of};
use super::ledger::{Event, Ledger};
use super::wording;
use serde_json::Value;
use std::time::Duration;

/// The commands of SWE-agent itself, each of which is a tool. All others go to the shell.
const COMMANDS: [&str; 23] = [
    "append",
    "create",
    "edit",
    "exit_cost",
    "exit_forfeit",
    "filemap",
    "find_file",
    "goto",
    "insert",
    "open",
    "scroll_down",
    "scroll_up",
    "search_dir",
    "search_file",
    "set_cursors",
    "skip",
    "str_replace_editor",
    "submit",
    "think",
    "undo_edit",
    "view",
    "view_image",
    "web_search",
];

/// Returns whether a document is a trajectory.
pub(crate) fn is_trajectory(document: &Value) -> bool {
    document["trajectory"].is_array() || messages(document).any(|message| action(message).is_some())
}

/// Reads one document. Returns the number of its steps that have no action.
pub(crate) fn read(document: &Value, session: u64, ledger: &mut Ledger) -> u64 {
    let mut log = Log {
        session,
        steps: 0,
        ledger,
    };
    let Some(steps) = document["trajectory"].as_array() else {
        // A demonstration: messages, without times.
        let mut messages = messages(document).peekable();
        while let Some(message) = messages.next() {
            if let Some(action) = action(message) {
                let answer = messages.next_if(|next| next["role"] != "assistant");
                let observation = answer.and_then(|answer| json::text(&answer["content"]));
                log.step(action, observation, None);
            }
        }
        return 0;
    };
    let mut unknown = 0;
    for step in steps {
        match action(step) {
            Some(action) => log.step(
                action,
                step["observation"].as_str(),
                step["execution_time"].as_f64(),
            ),
            None => unknown += 1,
        }
    }
    unknown
}

/// Returns the messages of a demonstration, without the examples that it began with.
fn messages(document: &Value) -> impl Iterator<Item = &Value> {
    let messages = document["history"].as_array().into_iter().flatten();
    messages.filter(|message| message["is_demo"] != true)
}

fn action(step: &Value) -> Option<&str> {
    step["action"].as_str().map(str::trim)
}

struct Log<'a> {
    session: u64,
    steps: u64,
    ledger: &'a mut Ledger,
}

impl Log<'_> {
    fn step(&mut self, action: &str, observation: Option<&str>, seconds: Option<f64>) {
        // The agent answered without an action, as at the end.
        if action.is_empty() {
            return;
        }
        let session = self.session;
        let id = json::Id {
            digest: digest_of((session, self.steps)),
            is_unique: true,
        };
        let word = action.split_whitespace().next().unwrap_or("");
        self.ledger.note(Event::Asked {
            session,
            id,
            answer: Some(self.steps),
            tool: if COMMANDS.contains(&word) {
                word
            } else {
                "bash"
            },
            args: digest_of(action),
            at: None,
        });
        self.steps += 1;
        if let Some(observation) = observation {
            self.ledger.note(Event::Ended {
                session,
                id,
                at: None,
                duration: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
                // Only the text of the observation shows how a step ended.
                outcome: wording::of_output(observation),
                error: Some(observation),
            });
        }
    }
}
