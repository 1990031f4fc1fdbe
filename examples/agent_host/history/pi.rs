//! Sessions of pi: a header, and then one entry per line. Entries name their parents, since a
//! session is a tree; each call was made, whatever its branch, so parents are not followed.

use super::form::Reader;
use super::json;
use super::ledger::{Event, Ledger};
use super::wording;
use serde_json::Value;
use toolmeter::Outcome;

/// The kinds of entries that hold no call.
const SILENT: [&str; 11] = [
    "branch_summary",
    "compaction",
    "context_edit",
    "custom",
    "custom_message",
    "label",
    "leaf",
    "model_change",
    "session_info",
    "thinking_level_change",
    "usage",
];

/// A reader of one file, which is one session.
#[derive(Debug)]
pub(crate) struct Pi {
    session: u64,
}

impl Pi {
    /// Creates a reader whose session has this digest until a line names the session.
    pub(crate) fn new(session: u64) -> Self {
        Self { session }
    }

    fn message(&self, entry: &Value, ledger: &mut Ledger) {
        let session = self.session;
        let message = &entry["message"];
        let at = json::time(&entry["timestamp"]).or(json::time(&message["timestamp"]));
        match message["role"].as_str().unwrap_or("") {
            "assistant" => {
                let answer = json::id(&entry["id"]).map(|id| id.digest);
                for block in message["content"].as_array().into_iter().flatten() {
                    let asked = json::id(&block["id"]).zip(block["name"].as_str());
                    if let (Some("toolCall"), Some((id, tool))) = (block["type"].as_str(), asked) {
                        ledger.note(Event::Asked {
                            session,
                            id,
                            answer,
                            tool,
                            args: json::digest_of_args(&block["arguments"]),
                            at,
                        });
                    }
                }
            }
            "toolResult" => {
                if let Some(id) = json::id(&message["toolCallId"]) {
                    let text = json::head(&message["content"]).unwrap_or("");
                    ledger.note(Event::Ended {
                        session,
                        id,
                        at,
                        duration: None,
                        outcome: outcome(message, text),
                        error: Some(text),
                    });
                }
            }
            _ => {}
        }
    }
}

/// Returns the outcome of a call. The last line of the output of a command says if it failed.
fn outcome(message: &Value, text: &str) -> Outcome {
    if message["isError"] != true {
        return Outcome::Success;
    }
    let whole = json::text(&message["content"]).unwrap_or(text);
    let last = whole.trim_end().lines().next_back().unwrap_or("");
    if last.starts_with("Command exited with code ") {
        Outcome::Failure(toolmeter::ErrorKind::ToolError)
    } else if last.starts_with("Command timed out") {
        Outcome::Failure(toolmeter::ErrorKind::Timeout)
    } else if last.starts_with("Command aborted") {
        Outcome::Cancelled
    } else {
        wording::of_error(text)
    }
}

impl Reader for Pi {
    fn read(&mut self, entry: &Value, ledger: &mut Ledger) -> bool {
        match entry["type"].as_str().unwrap_or("") {
            "session" => {
                if let Some(id) = json::id(&entry["id"]) {
                    self.session = id.digest;
                }
                if let Some(at) = json::time(&entry["timestamp"]) {
                    ledger.note(Event::Seen {
                        session: self.session,
                        at,
                    });
                }
            }
            "message" => self.message(entry, ledger),
            other => return SILENT.contains(&other),
        }
        true
    }
}
