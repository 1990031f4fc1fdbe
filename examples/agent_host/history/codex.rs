//! Sessions of Codex: `rollout-*.jsonl`, one response item or event per line. The first versions
//! wrote the items bare, without a time.

use super::form::Reader;
use super::json;
use super::ledger::{Event, Ledger};
use super::wording;
use serde_json::Value;
use std::time::Duration;
use toolmeter::{ErrorKind, Outcome};

/// The kinds of lines that hold no call.
const SILENT: [&str; 6] = [
    "session_meta",
    "turn_context",
    "event_msg",
    "compacted",
    "world_state",
    "inter_agent_communication",
];

/// The kinds of response items that hold no call.
const SILENT_ITEMS: [&str; 7] = [
    "message",
    "reasoning",
    "compaction",
    "compaction_summary",
    "context_compaction",
    "ghost_snapshot",
    "agent_message",
];

/// A reader of one file, which is one session.
#[derive(Debug)]
pub(crate) struct Codex {
    session: u64,
    is_named: bool,
}

impl Codex {
    /// Creates a reader whose session has this digest until a line names the session.
    pub(crate) fn new(session: u64) -> Self {
        Self {
            session,
            is_named: false,
        }
    }

    fn item(&self, item: &Value, at: Option<i128>, ledger: &mut Ledger) -> bool {
        let kind = item["type"].as_str().unwrap_or("");
        let (name, args) = match kind {
            "function_call" => (item["name"].as_str(), &item["arguments"]),
            "custom_tool_call" => (item["name"].as_str(), &item["input"]),
            "local_shell_call" => (Some("local_shell"), &item["action"]),
            "tool_search_call" => (Some("tool_search"), &item["arguments"]),
            "web_search_call" => (Some("web_search"), &item["action"]),
            "image_generation_call" => (Some("image_generation"), &item["prompt"]),
            "function_call_output" | "custom_tool_call_output" => {
                return self.output(item, at, ledger);
            }
            "tool_search_output" => {
                let outcome = status(item).unwrap_or(Outcome::Success);
                return self.ended(item, at, None, outcome, None, ledger);
            }
            other => return SILENT_ITEMS.contains(&other),
        };
        let Some(name) = name else { return false };
        let has_output = !matches!(kind, "web_search_call" | "image_generation_call");
        let args_digest = json::digest_of_args(args);
        // In some versions, a call that the provider runs has no id of its own.
        let id = json::id(&item["call_id"]).or_else(|| json::id(&item["id"]));
        let id = match id {
            Some(id) => id,
            None if has_output => return false,
            None => json::Id {
                digest: json::digest_of((at, args_digest)),
                is_unique: false,
            },
        };
        let tool = match item["namespace"].as_str() {
            Some(space) => format!("{space}__{}", name.trim_start_matches('_')),
            None => name.to_owned(),
        };
        ledger.note(Event::Asked {
            session: self.session,
            id,
            answer: None,
            tool: &tool,
            args: args_digest,
            at,
        });
        if !has_output {
            ledger.note(Event::Ended {
                session: self.session,
                id,
                at: None,
                duration: None,
                outcome: status(item).unwrap_or(Outcome::Success),
                error: None,
            });
        }
        true
    }

    fn output(&self, item: &Value, at: Option<i128>, ledger: &mut Ledger) -> bool {
        let text = json::text(&item["output"]).unwrap_or("");
        // Older versions wrap output and status in JSON.
        let wrapped = text
            .starts_with('{')
            .then(|| json::parse(text.as_bytes()))
            .flatten()
            .filter(|wrapped| wrapped["metadata"].is_object());
        let (duration, outcome, error);
        if let Some(wrapped) = &wrapped {
            let metadata = &wrapped["metadata"];
            duration = seconds(&metadata["duration_seconds"]);
            error = wrapped["output"].as_str().unwrap_or("").to_owned();
            outcome = of_exit(metadata["exit_code"].as_i64().unwrap_or(0), &error);
        } else {
            let header = Header::of(text);
            duration = header.wall_time;
            outcome = match (item["output"]["success"].as_bool(), header.exit_code) {
                (_, Some(code)) if code != 0 => of_exit(code, header.rest),
                (Some(false), _) => wording::of_error(text),
                (Some(true), _) => Outcome::Success,
                (None, _) if header.is_known => Outcome::Success,
                (None, _) => refusal(text),
            };
            error = header.rest.to_owned();
        }
        self.ended(item, at, duration, outcome, Some(&error), ledger)
    }

    /// Notes what an event adds to the output of its call: the duration and the outcome.
    fn event(&self, event: &Value, at: Option<i128>, ledger: &mut Ledger) {
        let outcome = match event["type"].as_str().unwrap_or("") {
            "exec_command_end" => match (status(event), event["exit_code"].as_i64()) {
                (Some(Outcome::Rejected), _) => Outcome::Rejected,
                (_, Some(code)) => {
                    of_exit(code, json::head(&event["aggregated_output"]).unwrap_or(""))
                }
                (status, None) => status.unwrap_or(Outcome::Success),
            },
            "patch_apply_end" => match event["success"].as_bool() {
                Some(false) => status(event).unwrap_or(Outcome::Failure(ErrorKind::ToolError)),
                _ => Outcome::Success,
            },
            "mcp_tool_call_end" => {
                let result = &event["result"];
                if let Some(error) = result["Err"].as_str() {
                    wording::of_error(error)
                } else if result["Ok"]["isError"] == true || result["Ok"]["is_error"] == true {
                    Outcome::Failure(ErrorKind::ToolError)
                } else {
                    Outcome::Success
                }
            }
            _ => return,
        };
        let duration = &event["duration"];
        let duration = duration["secs"].as_u64().zip(duration["nanos"].as_u64());
        let duration = duration.map(|(secs, nanos)| {
            Duration::from_secs(secs).saturating_add(Duration::from_nanos(nanos))
        });
        self.ended(event, at, duration, outcome, None, ledger);
    }

    fn ended(
        &self,
        item: &Value,
        at: Option<i128>,
        duration: Option<Duration>,
        outcome: Outcome,
        error: Option<&str>,
        ledger: &mut Ledger,
    ) -> bool {
        let Some(id) = json::id(&item["call_id"]) else {
            return false;
        };
        ledger.note(Event::Ended {
            session: self.session,
            id,
            at,
            duration,
            outcome,
            error,
        });
        true
    }
}

impl Reader for Codex {
    fn read(&mut self, line: &Value, ledger: &mut Ledger) -> bool {
        let at = json::time(&line["timestamp"]);
        let payload = &line["payload"];
        match line["type"].as_str() {
            Some("session_meta") if !self.is_named => {
                // A session that continues another one repeats its lines.
                if let Some(id) = json::id(&payload["id"]) {
                    self.session = id.digest;
                    self.is_named = true;
                }
                if let Some(at) = at {
                    ledger.note(Event::Seen {
                        session: self.session,
                        at,
                    });
                }
                true
            }
            Some("response_item") => self.item(payload, at, ledger),
            Some("event_msg") => {
                self.event(payload, at, ledger);
                true
            }
            Some(kind) if SILENT.contains(&kind) => true,
            Some(_) => self.item(line, at, ledger),
            // The first line of the first versions, and a mark between their answers.
            None => line["record_type"].is_string() || line.get("instructions").is_some(),
        }
    }
}

/// Returns the outcome of a command. If a command takes too long, Codex stops it and says so in its
/// output.
fn of_exit(code: i64, output: &str) -> Outcome {
    match code {
        0 => Outcome::Success,
        124 if output.starts_with("command timed out") => Outcome::Failure(ErrorKind::Timeout),
        _ => Outcome::Failure(ErrorKind::ToolError),
    }
}

/// Returns the outcome for a status that is not a success.
fn status(item: &Value) -> Option<Outcome> {
    match item["status"].as_str()? {
        "failed" => Some(Outcome::Failure(ErrorKind::ToolError)),
        "declined" => Some(Outcome::Rejected),
        "incomplete" | "in_progress" => Some(Outcome::Cancelled),
        _ => None,
    }
}

/// Returns the outcome of a call whose output has no header: an answer, or the reason why Codex did not run it.
fn refusal(text: &str) -> Outcome {
    const REFUSALS: [&str; 12] = [
        "failed in sandbox",
        "failed to parse function arguments",
        "failed to ",
        "patch rejected",
        "exec command rejected",
        "rejected",
        "aborted",
        "apply_patch verification failed",
        "write_stdin failed",
        "exec_command failed",
        "unsupported c",
        "execution error",
    ];
    if REFUSALS.iter().any(|start| text.starts_with(start)) || text.starts_with("command timed out")
    {
        match wording::of_error(text) {
            Outcome::Failure(ErrorKind::Other) if text.contains("exit code: ") => {
                Outcome::Failure(ErrorKind::ToolError)
            }
            outcome => outcome,
        }
    } else {
        Outcome::Success
    }
}

/// The lines before an output, in which newer versions describe a command.
#[derive(Debug)]
struct Header<'a> {
    wall_time: Option<Duration>,
    exit_code: Option<i64>,
    is_known: bool,
    rest: &'a str,
}

impl<'a> Header<'a> {
    fn of(text: &'a str) -> Self {
        let mut header = Self {
            wall_time: None,
            exit_code: None,
            is_known: false,
            rest: text,
        };
        for _ in 0..8 {
            let (line, rest) = header.rest.split_once('\n').unwrap_or((header.rest, ""));
            if let Some(time) = line.strip_prefix("Wall time: ") {
                let seconds = time
                    .split(' ')
                    .next()
                    .and_then(|number| number.parse().ok());
                header.wall_time =
                    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            } else if let Some(code) = wording::exit_code(line) {
                header.exit_code = Some(code);
            } else if line == "Output:" {
                header.rest = rest;
                break;
            } else if ![
                "Chunk ID: ",
                "Original token count: ",
                "Process running with ",
            ]
            .iter()
            .any(|start| line.starts_with(start))
            {
                break;
            }
            header.is_known = true;
            header.rest = rest;
        }
        header
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}
