//! Sessions of Claude Code: `*.jsonl` of a project, one message per line. The calls of a subagent
//! are in lines of the same file, in progress lines of its parent, or in a file of its own. In each
//! case they are a session of their own.

use super::form::Reader;
use super::json::{self, digest_of};
use super::ledger::{Event, Ledger};
use super::wording;
use serde_json::Value;
use toolmeter::{ErrorKind, Outcome};

/// The kinds of lines that hold no call.
const SILENT: [&str; 38] = [
    "agent-color",
    "agent-name",
    "agent-setting",
    "ai-title",
    "artifact-autoreact-ledger",
    "artifact-comment-monitor",
    "atis-latch",
    "attachment",
    "attribution-snapshot",
    "bridge-session",
    "content-replacement",
    "continued-in",
    "cost-state",
    "custom-title",
    "ended-by-model",
    "file-history-delta",
    "file-history-snapshot",
    "fork-context-ref",
    "frame-link",
    "history-suppression",
    "isolation-latch",
    "last-prompt",
    "marble-origami-commit",
    "marble-origami-reset",
    "marble-origami-snapshot",
    "mode",
    "observer-ref",
    "permission-mode",
    "pr-link",
    "queue-operation",
    "relocated",
    "speculation-accept",
    "summary",
    "system",
    "tag",
    "task-summary",
    "turn_end",
    "worktree-state",
];

/// A reader of one file.
#[derive(Debug)]
pub(crate) struct Claude {
    file: u64,
}

impl Claude {
    /// Creates a reader. The lines that name no session belong to the session `file`.
    pub(crate) fn new(file: u64) -> Self {
        Self { file }
    }

    fn session(&self, line: &Value) -> u64 {
        let session = json::id(&line["sessionId"]).map_or(self.file, |id| id.digest);
        let agent = line["agentId"]
            .as_str()
            .or(line["data"]["agentId"].as_str());
        match (agent, line["isSidechain"] == true) {
            (Some(agent), _) => digest_of((session, agent)),
            (None, true) => digest_of((session, "sidechain")),
            (None, false) => session,
        }
    }
}

impl Reader for Claude {
    fn read(&mut self, line: &Value, ledger: &mut Ledger) -> bool {
        let session = self.session(line);
        match line["type"].as_str().unwrap_or("") {
            "assistant" | "user" => message(session, line, ledger),
            "progress" => {
                let nested = &line["data"]["message"];
                if nested.is_object() {
                    message(session, nested, ledger);
                }
            }
            other => return SILENT.contains(&other),
        }
        true
    }
}

/// Notes the calls and results of a message, and its time.
fn message(session: u64, line: &Value, ledger: &mut Ledger) {
    let at = json::time(&line["timestamp"]);
    if let Some(at) = at {
        ledger.note(Event::Seen { session, at });
    }
    let message = &line["message"];
    let answer = json::id(&message["id"]).map(|id| id.digest);
    let blocks = message["content"].as_array();
    for block in blocks.into_iter().flatten() {
        match block["type"].as_str().unwrap_or("") {
            kind if kind.ends_with("tool_use") => {
                let asked = json::id(&block["id"]).zip(block["name"].as_str());
                if let Some((id, tool)) = asked {
                    ledger.note(Event::Asked {
                        session,
                        id,
                        answer,
                        tool,
                        args: json::digest_of_args(&block["input"]),
                        at,
                    });
                }
            }
            kind if kind.ends_with("tool_result") => {
                if let Some(id) = json::id(&block["tool_use_id"]) {
                    let text = json::head(&block["content"]).unwrap_or("");
                    ledger.note(Event::Ended {
                        session,
                        id,
                        at,
                        duration: None,
                        outcome: outcome(block, line, text),
                        error: Some(inner(text)),
                    });
                }
            }
            _ => {}
        }
    }
}

fn outcome(block: &Value, line: &Value, text: &str) -> Outcome {
    if line["toolUseResult"]["interrupted"] == true {
        return Outcome::Cancelled;
    }
    let text = inner(text);
    match block["is_error"] == true {
        true => match wording::of_error(text) {
            // A hook that blocks a call denies it, whatever its text says.
            Outcome::Failure(_) if text.starts_with("PreToolUse:") => Outcome::Rejected,
            Outcome::Failure(ErrorKind::Other) if text.contains("hook blocking error") => {
                Outcome::Rejected
            }
            outcome => outcome,
        },
        false if text.starts_with("[Request interrupted by user") => Outcome::Cancelled,
        false => Outcome::Success,
    }
}

/// Returns the text of an error without the tag around it.
fn inner(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("<tool_use_error>").unwrap_or(text);
    text.strip_suffix("</tool_use_error>").unwrap_or(text)
}
