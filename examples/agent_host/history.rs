//! Transcripts that agents keep on disk, as sessions of calls.
//!
//! ```text
//! files -> lines -> form -> reader of that form -> events -> ledger -> sessions
//! ```
//!
//! Any bytes are read within bounded memory, except for what the ledger keeps of each call. None
//! are fatal; what is not understood is counted. Of the text of a transcript, only the names of
//! tools and the first lines of errors are kept. Recordings of this project's own form are checked
//! as a whole instead.

mod claude;
mod codex;
mod copilot;
mod files;
mod form;
mod json;
mod ledger;
mod pi;
mod swe_agent;
mod wording;

#[cfg(test)]
mod tests;

pub(crate) use files::load;
pub(crate) use form::Form;
pub(crate) use ledger::RecordedError;

use crate::trace::Session;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// All that was read.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The sessions that hold calls.
    pub(crate) sessions: Vec<Session>,
    /// The errors that were recorded with their texts.
    pub(crate) errors: Vec<RecordedError>,
    /// Counts of what was read and what was left out.
    pub(crate) account: Account,
}

/// Counts of what was read and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Files of each form.
    pub(crate) files: BTreeMap<Form, u64>,
    /// Files in folders that are not transcripts.
    pub(crate) other_files: u64,
    /// Files and folders in folders that cannot be read.
    pub(crate) unreadable_files: u64,
    /// Symbolic links in folders, which are not followed.
    pub(crate) links: u64,
    /// Lines of transcripts that were understood.
    pub(crate) lines: u64,
    /// Lines that are JSON of a kind that is not known.
    pub(crate) unknown_lines: u64,
    /// Lines that are not JSON, too deep, or of too many values.
    pub(crate) broken_lines: u64,
    /// Lines that are too long.
    pub(crate) long_lines: u64,
    /// Copies of calls that were read already.
    pub(crate) copies: u64,
    /// Results of calls that no line asks for.
    pub(crate) orphans: u64,
}

impl Account {
    /// Returns whether something was left out.
    pub(crate) fn has_gaps(&self) -> bool {
        let left_out = [
            self.other_files,
            self.unreadable_files,
            self.links,
            self.unknown_lines,
            self.broken_lines,
            self.long_lines,
            self.orphans,
        ];
        left_out.iter().any(|&count| count > 0)
    }

    /// Returns all counts as one object.
    pub(crate) fn to_json(&self) -> Value {
        let files = self.files.iter();
        let files: BTreeMap<String, u64> = files.map(|(form, n)| (form.to_string(), *n)).collect();
        json!({
            "files": files,
            "other_files": self.other_files,
            "unreadable_files": self.unreadable_files,
            "links_not_followed": self.links,
            "lines": self.lines,
            "unknown_lines": self.unknown_lines,
            "broken_lines": self.broken_lines,
            "long_lines": self.long_lines,
            "copies_of_calls": self.copies,
            "results_without_call": self.orphans,
        })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut files = String::new();
        for (form, count) in &self.files {
            let comma = if files.is_empty() { "" } else { ", " };
            write!(files, "{comma}{count} of {form}")?;
        }
        let files = if files.is_empty() { "none" } else { &files };
        write!(f, "files: {files}")?;
        let also = [
            (self.other_files, "other than transcripts"),
            (self.unreadable_files, "unreadable"),
            (self.links, "links not followed"),
        ];
        write_counts(f, &also)?;
        write!(f, "\nlines: {} read", self.lines)?;
        let left_out = [
            (self.unknown_lines, "of an unknown kind"),
            (self.broken_lines, "not JSON, or beyond its bounds"),
            (self.long_lines, "too long"),
        ];
        write_counts(f, &left_out)?;
        let calls = [
            (self.copies, "copies of calls"),
            (self.orphans, "results without a call"),
        ];
        write_counts(f, &calls)
    }
}

fn write_counts(f: &mut fmt::Formatter<'_>, counts: &[(u64, &str)]) -> fmt::Result {
    let some = counts.iter().filter(|(count, _)| *count > 0);
    some.into_iter()
        .try_for_each(|(count, what)| write!(f, ", {count} {what}"))
}
