//! Sessions that an agent recorded, as turns of a plan: those of Claude Code and Codex, and lines of
//! calls in the reduced form, if they hold the arguments.
//!
//! A call is read once, however often its line is repeated, as it is where a session continues
//! another. Only calls of servers that are started are kept.

use crate::names::Names;
use crate::plan::Step;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// A session as it is read.
pub(crate) struct Recording<'a> {
    names: &'a Names,
    /// The turns with calls that are kept.
    pub(crate) turns: Vec<Vec<Step>>,
    /// The place of a turn in `turns`, by the recording's name for it.
    places: HashMap<String, usize>,
    ids: HashSet<String>,
    /// The number of Codex's outputs until here. Calls without an output between them are of one
    /// turn.
    outputs: usize,
    /// The number of calls of any tool.
    pub(crate) calls: usize,
    /// The number of calls that are kept.
    pub(crate) kept: usize,
}

/// Returns whether a file whose first line this is is a recording.
pub(crate) fn is_recorded(first: &Value) -> bool {
    match first["tool"].is_null() {
        true => first["type"].is_string() || first["timestamp"].is_string(),
        false => !first["turn"].is_null(),
    }
}

impl<'a> Recording<'a> {
    pub(crate) fn new(names: &'a Names) -> Self {
        Self {
            names,
            turns: Vec::new(),
            places: HashMap::new(),
            ids: HashSet::new(),
            outputs: 0,
            calls: 0,
            kept: 0,
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    ///
    /// A message, if it is a call that cannot be played.
    pub(crate) fn read(&mut self, line: &Value) -> Result<(), String> {
        if let Some(tool) = line["tool"].as_str() {
            let turn = format!("{} {}", line["session"], line["turn"]);
            let arguments = line.get("args");
            let arguments = arguments.ok_or("the call was recorded without its arguments")?;
            self.note(turn, &line["call_id"], tool, Some(arguments.clone()));
            return Ok(());
        }
        match line["type"].as_str() {
            Some("assistant") => self.message(line),
            // A message of a subagent.
            Some("progress") => self.message(&line["data"]["message"]),
            Some("response_item") => self.item(&line["payload"]),
            // The first versions of Codex wrote the items bare.
            _ => self.item(line),
        }
        Ok(())
    }

    /// Reads a message of Claude Code. A turn is a message; each of its blocks is a line.
    fn message(&mut self, line: &Value) {
        let message = &line["message"];
        for block in message["content"].as_array().into_iter().flatten() {
            if let ("tool_use", Some(tool)) = (text(&block["type"]), block["name"].as_str()) {
                let turn = message["id"].as_str().unwrap_or(text(&line["uuid"]));
                let arguments = Some(block["input"].clone());
                self.note(turn.to_owned(), &block["id"], tool, arguments);
            }
        }
    }

    /// Reads an item of Codex.
    fn item(&mut self, item: &Value) {
        match (text(&item["type"]), item["name"].as_str()) {
            ("function_call", Some(name)) => {
                let tool = match item["namespace"].as_str() {
                    Some(space) => format!("{space}__{}", name.trim_start_matches('_')),
                    None => name.to_owned(),
                };
                let arguments = serde_json::from_str(text(&item["arguments"])).ok();
                self.note(self.outputs.to_string(), &item["call_id"], &tool, arguments);
            }
            ("function_call_output", _) => self.outputs += 1,
            _ => {}
        }
    }

    /// Counts a call, and keeps it if it can be made.
    fn note(&mut self, turn: String, id: &Value, tool: &str, arguments: Option<Value>) {
        if id
            .as_str()
            .is_some_and(|id| !self.ids.insert(id.to_owned()))
        {
            return;
        }
        self.calls += 1;
        let (Some(tool), Some(arguments)) = (self.names.recorded(tool), arguments) else {
            return;
        };
        self.kept += 1;
        let place = *self.places.entry(turn).or_insert(self.turns.len());
        if place == self.turns.len() {
            self.turns.push(Vec::new());
        }
        self.turns[place].push(Step::new(tool, arguments));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
