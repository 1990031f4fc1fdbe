//! The forms of transcripts, recognized by the content of their lines and not by the names of their
//! files.

use super::claude::Claude;
use super::codex::Codex;
use super::copilot::{self, Copilot};
use super::ledger::Ledger;
use super::pi::Pi;
use super::swe_agent;
use serde_json::Value;
use std::fmt;

/// The form of a transcript, by the program that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Codex.
    Codex,
    /// Claude Code.
    Claude,
    /// Copilot's command line.
    Copilot,
    /// pi.
    Pi,
    /// SWE-agent, one document per file.
    SweAgent,
    /// The form of this project: one call per line.
    Reduced,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Codex => "Codex",
            Self::Claude => "Claude Code",
            Self::Copilot => "Copilot",
            Self::Pi => "pi",
            Self::SweAgent => "SWE-agent",
            Self::Reduced => "reduced",
        })
    }
}

/// A reader of the lines of one file.
pub(crate) trait Reader {
    /// Notes the content of a line. Returns whether its kind is known.
    fn read(&mut self, line: &Value, ledger: &mut Ledger) -> bool;
}

impl Form {
    /// Returns the form that a line shows, if it shows one.
    pub(crate) fn of(line: &Value) -> Option<Self> {
        let has = |key: &str| line.get(key).is_some();
        let kind = line["type"].as_str();
        if swe_agent::is_trajectory(line) {
            return Some(Self::SweAgent);
        }
        if has("session") && has("turn") && has("call_id") && has("tool") {
            return Some(Self::Reduced);
        }
        match kind? {
            "session_meta" | "response_item" | "event_msg" | "turn_context" | "compacted"
                if line["payload"].is_object() =>
            {
                Some(Self::Codex)
            }
            "function_call" | "function_call_output" | "local_shell_call"
                if line["call_id"].is_string() =>
            {
                Some(Self::Codex)
            }
            "session" if has("cwd") || has("version") => Some(Self::Pi),
            "message" if has("id") && line["message"]["role"].is_string() => Some(Self::Pi),
            kind if line["data"].is_object() && has("id") && copilot::is_event(kind) => {
                Some(Self::Copilot)
            }
            "assistant" | "user" | "progress" | "system" if has("sessionId") || has("uuid") => {
                Some(Self::Claude)
            }
            _ => None,
        }
    }

    /// Returns a reader of the lines of a file, or `None` if the form is not read line by line.
    pub(crate) fn reader(self, file: u64) -> Option<Box<dyn Reader>> {
        match self {
            Self::Codex => Some(Box::new(Codex::new(file))),
            Self::Claude => Some(Box::new(Claude::new(file))),
            Self::Copilot => Some(Box::new(Copilot::new(file))),
            Self::Pi => Some(Box::new(Pi::new(file))),
            Self::SweAgent | Self::Reduced => None,
        }
    }
}
