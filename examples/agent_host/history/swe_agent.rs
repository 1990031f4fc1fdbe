//! Trajectories of SWE-agent: `*.traj`, one document with the steps of one session. A step tells
//! how long it took and not when; so each begins where the one before ended.

use super::json::{self, digest_of};
use super::ledger::{Event, Ledger};
use super::wording;
use serde_json::Value;
use std::time::Duration;
use toolmeter::Outcome;

/// The commands that SWE-agent brings: each is a tool. All else is given to the shell.
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

/// Reads one document. Returns how many of its steps are none, or `None` if it has no steps.
pub(crate) fn read(document: &Value, session: u64, ledger: &mut Ledger) -> Option<u64> {
    let mut unknown = 0;
    for (number, step) in document["trajectory"].as_array()?.iter().enumerate() {
        let Some(action) = step["action"].as_str() else {
            unknown += 1;
            continue;
        };
        let action = action.trim();
        // The agent answered without an action, as at the end.
        if action.is_empty() {
            continue;
        }
        let id = json::Id {
            digest: digest_of((session, number)),
            is_unique: true,
        };
        let word = action.split_whitespace().next().unwrap_or("");
        let tool = if COMMANDS.contains(&word) {
            word
        } else {
            "bash"
        };
        ledger.note(Event::Asked {
            session,
            id,
            answer: Some(number as u64),
            tool,
            args: digest_of(action),
            at: None,
        });
        if let Some(observation) = step["observation"].as_str() {
            let duration = step["execution_time"].as_f64();
            ledger.note(Event::Ended {
                session,
                id,
                at: None,
                duration: duration.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
                outcome: outcome(observation),
                error: Some(observation),
            });
        }
    }
    Some(unknown)
}

/// Nothing but what was said tells how a step ended.
fn outcome(observation: &str) -> Outcome {
    wording::of_output(observation)
}
