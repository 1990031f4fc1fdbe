//! Sessions of Copilot: `events.jsonl` of a session's folder, one event per line.

use super::form::Reader;
use super::json::{self, digest_of};
use super::ledger::{Event, Ledger};
use super::wording;
use serde_json::Value;
use toolmeter::{ErrorKind, Outcome};

/// The prefixes of the names of events.
const GROUPS: [&str; 27] = [
    "abort",
    "assistant.",
    "auto_mode_switch.",
    "capabilities.",
    "command.",
    "commands.",
    "elicitation.",
    "exit_plan_mode.",
    "external_tool.",
    "factory.",
    "hook.",
    "mcp.",
    "mcp_app.",
    "model.",
    "permission.",
    "pending_messages.",
    "sampling.",
    "session.",
    "session_limits_exhausted.",
    "skill.",
    "subagent.",
    "system.",
    "tool.",
    "tool_search.",
    "ui.",
    "user.",
    "user_input.",
];

/// Returns whether this is the name of an event.
pub(crate) fn is_event(name: &str) -> bool {
    GROUPS.iter().any(|group| name.starts_with(group))
}

/// A reader of one file, which is one session.
#[derive(Debug)]
pub(crate) struct Copilot {
    session: u64,
}

impl Copilot {
    /// Creates a reader whose session has this digest until a line names the session.
    pub(crate) fn new(session: u64) -> Self {
        Self { session }
    }

    /// Returns the session of a call. The calls of a subagent are a session of their own, which older
    /// versions name by the call that started it.
    fn session_of(&self, line: &Value) -> u64 {
        let agent = line["agentId"].as_str();
        match agent.or(line["data"]["parentToolCallId"].as_str()) {
            Some(agent) => digest_of((self.session, agent)),
            None => self.session,
        }
    }

    fn asked(
        session: u64,
        call: (&Value, &Value),
        answer: Option<u64>,
        at: Option<i128>,
        ledger: &mut Ledger,
    ) {
        let (call, tool) = call;
        if let Some((id, tool)) = json::id(&call["toolCallId"]).zip(tool.as_str()) {
            ledger.note(Event::Asked {
                session,
                id,
                answer,
                tool,
                args: json::digest_of_args(&call["arguments"]),
                at,
            });
        }
    }
}

impl Reader for Copilot {
    fn read(&mut self, line: &Value, ledger: &mut Ledger) -> bool {
        let kind = line["type"].as_str().unwrap_or("");
        let data = &line["data"];
        let at = json::time(&line["timestamp"]);
        match kind {
            "session.start" | "session.resume" => {
                if let Some(id) = json::id(&data["sessionId"]) {
                    self.session = id.digest;
                }
                if let Some(at) = at {
                    ledger.note(Event::Seen {
                        session: self.session,
                        at,
                    });
                }
            }
            "assistant.message" => {
                let answer = json::id(&data["messageId"]).map(|id| id.digest);
                let session = self.session_of(line);
                for call in data["toolRequests"].as_array().into_iter().flatten() {
                    Self::asked(session, (call, &call["name"]), answer, at, ledger);
                }
            }
            "tool.execution_start" => {
                let id = json::id(&data["toolCallId"]);
                let session = self.session_of(line);
                if let Some((id, at)) = id.zip(at)
                    && ledger.is_waiting(session, id)
                {
                    ledger.note(Event::Begun { session, id, at });
                } else {
                    Self::asked(session, (data, &data["toolName"]), None, at, ledger);
                }
            }
            "tool.execution_complete" => {
                let Some(id) = json::id(&data["toolCallId"]) else {
                    return false;
                };
                let error = json::head(&data["error"]).unwrap_or("");
                let is_success = data["success"] == true;
                ledger.note(Event::Ended {
                    session: self.session_of(line),
                    id,
                    at,
                    duration: None,
                    outcome: match data["error"]["code"].as_str() {
                        _ if is_success => Outcome::Success,
                        Some("denied" | "rejected") => Outcome::Rejected,
                        Some("timeout") => Outcome::Failure(ErrorKind::Timeout),
                        _ => wording::of_error(error),
                    },
                    error: Some(error),
                });
            }
            other => return is_event(other),
        }
        true
    }
}
