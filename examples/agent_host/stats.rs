//! The table of what was recorded for each tool, without playing it: `--stats`.
//!
//! A call repeats one of an earlier turn of its session with the same tool and arguments. It is a
//! retry if the latest of those that was not denied did not succeed, as `AutoRun` counts retries.
//! Times are those of calls that ran to an end, a success or a failure, where they were recorded;
//! quantiles are exact, by the nearest rank.

use crate::args::Args;
use crate::history::{History, RecordedError};
use crate::trace::{Call, Session};
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use toolmeter::{ErrorKind, Outcome};

/// The number of errors of a tool that are shown: those that occurred most often.
const MAX_ERRORS: usize = 5;

const HEADER: [&str; 14] = [
    "tool",
    "calls",
    "failed",
    "share",
    "cancelled",
    "denied",
    "p50",
    "p90",
    "p99",
    "max",
    "repeated",
    "retried",
    "recovered",
    "failures by kind",
];

/// The recorded calls of one tool, or of all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolStats {
    /// Calls that the model asked for.
    pub(crate) calls: u64,
    /// Failures by kind.
    pub(crate) failures: BTreeMap<ErrorKind, u64>,
    /// Calls that were cancelled, or have no result.
    pub(crate) cancelled: u64,
    /// Calls that were denied.
    pub(crate) denied: u64,
    /// Calls that repeat an earlier one.
    pub(crate) repeated: u64,
    /// Calls that repeat one that did not succeed.
    pub(crate) retried: u64,
    /// Successes among them.
    pub(crate) recovered: u64,
    times: Vec<Duration>,
}

impl ToolStats {
    /// Returns the number of failures.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns the time that this share of the timed calls did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.times.len() as f64).ceil() as usize;
        self.times.get(rank.saturating_sub(1)).copied()
    }

    /// Returns the failed share in percent.
    fn share(&self) -> f64 {
        100.0 * self.failed() as f64 / self.calls.max(1) as f64
    }

    fn count(&mut self, call: &Call, before: Before) {
        self.calls += 1;
        let is_retry = before == Before::NoSuccess && call.outcome != Outcome::Rejected;
        self.repeated += u64::from(before != Before::Nothing);
        self.retried += u64::from(is_retry);
        match call.outcome {
            Outcome::Success => self.recovered += u64::from(is_retry),
            Outcome::Failure(kind) => *self.failures.entry(kind).or_default() += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Rejected => self.denied += 1,
        }
        if matches!(call.outcome, Outcome::Success | Outcome::Failure(_)) {
            self.times.extend(call.duration);
        }
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        for (kind, count) in &other.failures {
            *self.failures.entry(*kind).or_default() += count;
        }
        self.cancelled += other.cancelled;
        self.denied += other.denied;
        self.repeated += other.repeated;
        self.retried += other.retried;
        self.recovered += other.recovered;
        self.times.extend(&other.times);
    }

    fn row(&self, name: &str) -> [String; HEADER.len()] {
        let time = |share| self.quantile(share).map_or_else(|| "-".to_owned(), shown);
        let kinds = self.failures.iter();
        let kinds: Vec<String> = kinds
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        [
            name.to_owned(),
            self.calls.to_string(),
            self.failed().to_string(),
            format!("{:.1}%", self.share()),
            self.cancelled.to_string(),
            self.denied.to_string(),
            time(0.5),
            time(0.9),
            time(0.99),
            time(1.0),
            self.repeated.to_string(),
            self.retried.to_string(),
            self.recovered.to_string(),
            kinds.join(", "),
        ]
    }

    fn to_json(&self) -> Value {
        let ms = |share| self.quantile(share).map(|time| time.as_secs_f64() * 1e3);
        let kinds = self.failures.iter();
        let kinds: BTreeMap<&str, u64> = kinds.map(|(kind, n)| (kind.as_str(), *n)).collect();
        json!({
            "calls": self.calls,
            "failed": self.failed(),
            "failures_by_kind": kinds,
            "cancelled": self.cancelled,
            "denied": self.denied,
            "timed": self.times.len(),
            "p50_ms": ms(0.5),
            "p90_ms": ms(0.9),
            "p99_ms": ms(0.99),
            "max_ms": ms(1.0),
            "repeated": self.repeated,
            "retried": self.retried,
            "recovered": self.recovered,
        })
    }
}

/// The outcomes of the earlier calls that a call repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// All of them were denied, or the latest other one succeeded.
    NoFailure,
    /// The latest one that was not denied failed or was cancelled.
    NoSuccess,
}

/// Returns the recorded calls of each tool.
pub(crate) fn of(sessions: &[Session]) -> BTreeMap<&str, ToolStats> {
    let mut tools: BTreeMap<&str, ToolStats> = BTreeMap::new();
    for session in sessions {
        let mut last: HashMap<(&str, &str), Before> = HashMap::new();
        for turn in &session.turns {
            for call in turn {
                let before = last.get(&(&*call.tool, &*call.args_hash));
                let before = before.copied().unwrap_or(Before::Nothing);
                tools.entry(&call.tool).or_default().count(call, before);
            }
            // This comes last, since calls of one turn do not repeat each other.
            for call in turn {
                let state = last
                    .entry((&call.tool, &call.args_hash))
                    .or_insert(Before::NoFailure);
                match call.outcome {
                    Outcome::Success => *state = Before::NoFailure,
                    Outcome::Failure(_) | Outcome::Cancelled => *state = Before::NoSuccess,
                    Outcome::Rejected => {}
                }
            }
        }
    }
    for stats in tools.values_mut() {
        stats.times.sort_unstable();
    }
    tools
}

/// Returns all of it, in the form that the command line selects.
pub(crate) fn show(args: &Args, history: &History) -> String {
    let tools = of(&history.sessions);
    let mut all = ToolStats::default();
    for stats in tools.values() {
        all.add(stats);
    }
    all.times.sort_unstable();
    let errors = match args.errors {
        true => most_frequent(&history.errors),
        false => BTreeMap::new(),
    };
    match args.json {
        true => in_json(history, &tools, &all, args.errors.then_some(&errors)).to_string(),
        false => in_text(history, &tools, &all, &errors),
    }
}

/// The errors of each tool with their counts, the most frequent first.
type Errors<'a> = BTreeMap<&'a str, Vec<(&'a RecordedError, u64)>>;

fn most_frequent(errors: &[RecordedError]) -> Errors<'_> {
    let mut counts: BTreeMap<(&str, &str), (&RecordedError, u64)> = BTreeMap::new();
    for error in errors {
        let key = (error.tool.as_str(), error.line.as_str());
        counts.entry(key).or_insert((error, 0)).1 += 1;
    }
    let mut tools = Errors::new();
    for ((tool, _), counted) in counts {
        tools.entry(tool).or_default().push(counted);
    }
    for errors in tools.values_mut() {
        errors.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        errors.truncate(MAX_ERRORS);
    }
    tools
}

fn how(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Failure(kind) => kind.as_str(),
        Outcome::Cancelled => "cancelled",
        Outcome::Rejected => "denied",
    }
}

fn in_json(
    history: &History,
    tools: &BTreeMap<&str, ToolStats>,
    all: &ToolStats,
    errors: Option<&Errors<'_>>,
) -> Value {
    let rows = tools.iter();
    let rows: BTreeMap<&str, Value> = rows.map(|(name, stats)| (*name, stats.to_json())).collect();
    let mut object = json!({
        "sessions": history.sessions.len(),
        "turns": turns(history),
        "all": all.to_json(),
        "tools": rows,
        "read": history.account.to_json(),
    });
    if let Some(errors) = errors {
        let line = |(error, count): &(&RecordedError, u64)| json!({ "outcome": how(error.outcome), "count": count, "line": error.line });
        let errors = errors.iter();
        let errors: BTreeMap<&str, Vec<Value>> = errors
            .map(|(tool, errors)| (*tool, errors.iter().map(line).collect()))
            .collect();
        object["errors"] = json!(errors);
    }
    object
}

fn turns(history: &History) -> usize {
    let turns = history.sessions.iter().map(|session| session.turns.len());
    turns.sum()
}

fn in_text(
    history: &History,
    tools: &BTreeMap<&str, ToolStats>,
    all: &ToolStats,
    errors: &Errors<'_>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::ASCII_MARKDOWN)
        .set_header(HEADER);
    for (name, stats) in tools {
        table.add_row(stats.row(name));
    }
    table.add_row(all.row("all of them"));
    for index in 1..HEADER.len() - 1 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!(
        "{} calls in {} turns of {} sessions\n{table}\n{}\n{}",
        all.calls,
        turns(history),
        history.sessions.len(),
        retries(all),
        history.account,
    );
    for (tool, errors) in errors {
        text += &format!("\nerrors of {tool}:");
        for (error, count) in errors {
            let how = how(error.outcome);
            text += &format!("\n  {count} x {how}: {}", error.line);
        }
    }
    text
}

/// Returns the line on retries: their number, and how many of them succeeded.
fn retries(all: &ToolStats) -> String {
    if all.retried == 0 {
        return "retries: none".to_owned();
    }
    let share = 100.0 * all.recovered as f64 / all.retried as f64;
    format!(
        "retries: {} with the same arguments after a call that did not succeed, of which {} \
         succeeded ({share:.0}%)",
        all.retried, all.recovered
    )
}

/// Formats a time with about three digits.
fn shown(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.1} ms"),
        10.0..1e3 => format!("{ms:.0} ms"),
        1e3..1e5 => format!("{:.1} s", ms / 1e3),
        _ => format!("{:.0} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests;
