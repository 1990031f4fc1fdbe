//! Sessions of Codex: `rollout-*.jsonl`, one response item or event per line. The first versions
//! wrote the items bare, without a time.
//!
//! A script that the model writes calls tools, too. Such a call has no response item: only the event
//! of its end is written, with an id of its own. It is a call of the turn in which the script runs.

use super::form::Reader;
use super::json;
use super::ledger::{Event, Ledger};
use super::wording;
use serde_json::Value;
use std::time::Duration;
use toolmeter::{ErrorKind, Outcome, classify_mcp};

/// The kinds of lines that hold no call.
const SILENT: [&str; 9] = [
    "session_meta",
    "turn_context",
    "event_msg",
    "compacted",
    "world_state",
    "token_usage_record",
    "retained_context",
    "inter_agent_communication",
    "inter_agent_communication_metadata",
];

/// The kinds of response items that hold no call.
const SILENT_ITEMS: [&str; 10] = [
    "additional_tools",
    "configuration_update",
    "compaction_trigger",
    "message",
    "reasoning",
    "compaction",
    "compaction_summary",
    "context_compaction",
    "ghost_snapshot",
    "agent_message",
];

/// The beginning of the id of a call that a script made.
const OF_SCRIPT: &str = "exec-";

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
        let tool = full_name(&item["namespace"], name);
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
            // The header may be a text of its own, before those of the output.
            let texts = item["output"].as_array().into_iter().flatten().skip(1);
            let mut texts = texts.filter_map(json::text);
            let body = match header.rest.is_empty() {
                true if header.has_failed => texts.find_map(|text| text.strip_prefix(SCRIPT_ERROR)),
                true => texts.next(),
                false => None,
            };
            let body = body.unwrap_or(header.rest);
            outcome = match (item["output"]["success"].as_bool(), header.exit_code) {
                (_, Some(code)) if code != 0 => of_exit(code, body),
                _ if header.has_failed => Outcome::Failure(ErrorKind::ToolError),
                (Some(false), _) => wording::of_error(body),
                (Some(true), _) => Outcome::Success,
                (None, _) if header.is_known && !begins_with(body, &MCP_REFUSALS) => {
                    Outcome::Success
                }
                (None, _) => refusal(body),
            };
            error = body.to_owned();
        }
        self.ended(item, at, duration, outcome, Some(&error), ledger)
    }

    /// Notes what an event adds to the output of its call: the duration, the outcome, and the error.
    fn event(&self, event: &Value, at: Option<i128>, ledger: &mut Ledger) {
        // Newer versions write the end of each call as an item.
        let (call, name) = match event["type"] == "item_completed" {
            true => (&event["item"], &event["item"]["id"]),
            false => (event, &event["call_id"]),
        };
        let Some(end) = End::of(call) else { return };
        // A command of the user.
        if call["source"] == "user_shell" {
            return;
        }
        let Some(id) = json::id(name) else { return };
        let is_of_script = name
            .as_str()
            .is_some_and(|name| name.starts_with(OF_SCRIPT));
        if is_of_script
            && !ledger.has(self.session, id)
            && let Some((tool, args)) = tool_of(call)
        {
            let took = end.duration.map_or(0, |took| took.as_nanos() as i128);
            ledger.note(Event::Nested {
                session: self.session,
                id,
                tool: &tool,
                args: json::digest_of_args(args),
                at: json::time(&event["started_at_ms"]).or(at.map(|at| at.saturating_sub(took))),
            });
        }
        // A process that still ran when its call returned, and ended with Codex.
        if call["exit_code"] == -1 && !ledger.is_waiting(self.session, id) {
            return;
        }
        ledger.note(Event::Ended {
            session: self.session,
            id,
            at,
            duration: end.duration,
            outcome: end.outcome,
            error: end.error,
        });
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

/// The end of a call, as an event or an item describes it.
#[derive(Debug)]
struct End<'a> {
    duration: Option<Duration>,
    outcome: Outcome,
    error: Option<&'a str>,
}

impl<'a> End<'a> {
    /// Returns `None` if it is not the end of a call.
    fn of(call: &'a Value) -> Option<Self> {
        let ended = status(call).unwrap_or(Outcome::Success);
        let failed = Outcome::Failure(ErrorKind::ToolError);
        let (outcome, error) = match call["type"].as_str()? {
            "exec_command_end" | "CommandExecution" => {
                let output = json::head(&call["aggregated_output"]).unwrap_or("");
                let outcome = match (ended, call["exit_code"].as_i64()) {
                    (Outcome::Rejected, _) | (_, None) => ended,
                    // It did not start, or was stopped.
                    (_, Some(-1)) => wording::of_error(output),
                    (_, Some(code)) => of_exit(code, output),
                };
                (outcome, Some(output))
            }
            "patch_apply_end" | "FileChange" => {
                let outcome = match (ended, call["success"].as_bool()) {
                    (Outcome::Success, Some(false)) => failed,
                    (ended, _) => ended,
                };
                (outcome, json::head(&call["stderr"]))
            }
            "mcp_tool_call_end" => {
                let result = &call["result"];
                of_mcp(&result["Ok"], result["Err"].as_str())
            }
            "McpToolCall" => match of_mcp(&call["result"], call["error"]["message"].as_str()) {
                (Outcome::Success, error) => (ended, error),
                end => end,
            },
            "dynamic_tool_call_response" | "DynamicToolCall" => {
                let error = json::head(&call["error"]);
                let told = match error.map(wording::of_error) {
                    None | Some(Outcome::Failure(ErrorKind::Other)) => failed,
                    Some(outcome) => outcome,
                };
                let outcome = match (ended, call["success"].as_bool()) {
                    (Outcome::Success, Some(false)) | (Outcome::Failure(_), _) => told,
                    (ended, _) => ended,
                };
                (
                    outcome,
                    error.or_else(|| json::head(&call["content_items"])),
                )
            }
            "CollabAgentToolCall" => (ended, None),
            _ => return None,
        };
        let time = &call["duration"];
        let time = time["secs"].as_u64().zip(time["nanos"].as_u64());
        Some(Self {
            duration: time.map(|(secs, nanos)| {
                Duration::from_secs(secs).saturating_add(Duration::from_nanos(nanos))
            }),
            outcome,
            error,
        })
    }
}

/// Returns the tool and the arguments of a call that only its end describes.
fn tool_of(call: &Value) -> Option<(String, &Value)> {
    Some(match call["type"].as_str()? {
        "exec_command_end" | "CommandExecution" => ("exec_command".to_owned(), &call["command"]),
        "patch_apply_end" | "FileChange" => ("apply_patch".to_owned(), &call["changes"]),
        "mcp_tool_call_end" | "McpToolCall" => {
            let of = match &call["invocation"] {
                Value::Null => call,
                of => of,
            };
            let (server, tool) = of["server"].as_str().zip(of["tool"].as_str())?;
            (format!("mcp__{server}__{tool}"), &of["arguments"])
        }
        _ => {
            let tool = full_name(&call["namespace"], call["tool"].as_str()?);
            (tool, &call["arguments"])
        }
    })
}

/// Returns the name of a tool with its namespace. That of Codex's own tools is left out.
fn full_name(space: &Value, name: &str) -> String {
    match space.as_str() {
        None | Some("" | "functions") => name.to_owned(),
        Some(space) => format!("{space}__{}", name.trim_start_matches('_')),
    }
}

/// Returns the outcome and the error of a call of an MCP tool, which has either a result or an error.
fn of_mcp<'a>(result: &'a Value, error: Option<&'a str>) -> (Outcome, Option<&'a str>) {
    if let Some(error) = error {
        return (wording::of_error(error), Some(error));
    }
    // The first versions wrote it in this way.
    let outcome = match result["is_error"] == true {
        true => Outcome::Failure(ErrorKind::ToolError),
        false => classify_mcp(result).outcome(),
    };
    (outcome, json::head(&result["content"]))
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
        "failed" | "error" => Some(Outcome::Failure(ErrorKind::ToolError)),
        "declined" => Some(Outcome::Rejected),
        "incomplete" | "in_progress" | "inProgress" | "interrupted" => Some(Outcome::Cancelled),
        _ => None,
    }
}

/// The beginnings of the texts that replace the answer of an MCP tool.
const MCP_REFUSALS: [&str; 5] = [
    "tool call error: ",
    "user rejected MCP tool call",
    "user cancelled MCP tool call",
    "MCP tool call requires approval",
    "MCP tool call blocked",
];

/// The beginning of the last text of the output of a script that failed.
const SCRIPT_ERROR: &str = "Script error:\n";

fn begins_with(text: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| text.starts_with(start))
}

/// Returns the outcome of a call whose output has no header: an answer, or the reason why Codex did
/// not run it.
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
    if begins_with(text, &REFUSALS)
        || begins_with(text, &MCP_REFUSALS)
        || text.starts_with("command timed out")
    {
        // What follows the command, which may be long, says why.
        let why = text
            .find("`: CreateProcess ")
            .map_or(text, |at| &text[at..]);
        match wording::of_error(why) {
            Outcome::Failure(ErrorKind::Other) if text.contains("exit code: ") => {
                Outcome::Failure(ErrorKind::ToolError)
            }
            outcome => outcome,
        }
    } else {
        Outcome::Success
    }
}

/// The lines before an output, in which newer versions describe a command or a script.
#[derive(Debug)]
struct Header<'a> {
    wall_time: Option<Duration>,
    exit_code: Option<i64>,
    is_known: bool,
    /// Set if a script failed.
    has_failed: bool,
    rest: &'a str,
}

impl<'a> Header<'a> {
    fn of(text: &'a str) -> Self {
        let mut header = Self {
            wall_time: None,
            exit_code: None,
            is_known: false,
            has_failed: false,
            rest: text,
        };
        let mut has_failed = false;
        for _ in 0..8 {
            let (line, rest) = header.rest.split_once('\n').unwrap_or((header.rest, ""));
            let time = line
                .strip_prefix("Wall time: ")
                .or_else(|| line.strip_prefix("Wall time "));
            if let Some(time) = time {
                let seconds = time
                    .split(' ')
                    .next()
                    .and_then(|number| number.parse().ok());
                header.has_failed = has_failed;
                header.wall_time =
                    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            } else if let Some(code) = wording::exit_code(line) {
                header.exit_code = Some(code);
            } else if line == "Output:" {
                header.rest = rest;
                break;
            } else if line == "Script failed" {
                has_failed = true;
            } else if ![
                "Chunk ID: ",
                "Original token count: ",
                "Process running with ",
                "Script completed",
                "Script running with ",
                "Script terminated",
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
