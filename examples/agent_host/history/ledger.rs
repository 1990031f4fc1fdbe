//! Calls joined with their results, to which all readers of transcripts write.
//!
//! A call is kept once, even if several files hold a copy of it, as those of resumed, forked and
//! saved sessions do. Of each call the ledger keeps the name of its tool, digests, times, and the
//! bounded first line of an error, and no other text.

use super::json::{Id, digest_of};
use crate::trace::{Call, Session};
use std::collections::HashMap;
use std::time::Duration;
use toolmeter::{ErrorKind, Outcome, ToolSpec};

/// The longest time that is accepted: 100 years.
const MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The number of bytes of an error's first line that are kept.
const ERROR_BYTES: usize = 160;

/// An event of a transcript.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// The session was active at this time.
    Seen { session: u64, at: i128 },
    /// The agent asked for a call.
    Asked {
        session: u64,
        id: Id,
        /// The model's answer that asked for it; without one, a call that follows a result
        /// belongs to a new answer.
        answer: Option<u64>,
        tool: &'a str,
        args: u64,
        at: Option<i128>,
    },
    /// A script that the agent asked for made a call, which belongs to the turn so far.
    Nested {
        session: u64,
        id: Id,
        tool: &'a str,
        args: u64,
        at: Option<i128>,
    },
    /// A call that was asked for begins only now.
    Begun { session: u64, id: Id, at: i128 },
    /// A call ended. A second such event adds what the first one left out, and a failure stays.
    Ended {
        session: u64,
        id: Id,
        at: Option<i128>,
        duration: Option<Duration>,
        outcome: Outcome,
        /// The text of the error.
        error: Option<&'a str>,
    },
}

/// A call while the transcript is being read.
#[derive(Debug)]
struct Entry {
    key: u64,
    tool: String,
    args: u64,
    asked: Option<i128>,
    ended: Option<i128>,
    duration: Option<Duration>,
    outcome: Option<Outcome>,
    error: Option<String>,
    is_nested: bool,
}

#[derive(Debug, Default)]
struct Log {
    began: Option<i128>,
    turns: Vec<Vec<Entry>>,
    answers: HashMap<u64, usize>,
    ended_since: bool,
}

/// The place of a call.
#[derive(Clone, Copy, Debug)]
struct Place {
    session: usize,
    turn: usize,
    index: usize,
}

/// An error that was recorded: the first line of it, escaped and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedError {
    /// The tool.
    pub(crate) tool: String,
    /// The outcome of the call.
    pub(crate) outcome: Outcome,
    /// The first line of its result.
    pub(crate) line: String,
}

/// All that was read.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sessions: Vec<Log>,
    by_name: HashMap<u64, usize>,
    places: HashMap<u64, Place>,
    /// Calls that were read again from another copy.
    pub(crate) copies: u64,
    /// Results of calls that no line asks for.
    pub(crate) orphans: u64,
}

impl Ledger {
    /// Notes an event.
    pub(crate) fn note(&mut self, event: Event<'_>) {
        match event {
            Event::Seen { session, at } => {
                let session = self.session(session);
                self.sessions[session].see(Some(at));
            }
            Event::Asked {
                session,
                id,
                answer,
                tool,
                args,
                at,
            } => self.ask(session, id, answer, tool, args, at),
            Event::Nested {
                session,
                id,
                tool,
                args,
                at,
            } => {
                let log = self.session(session);
                let ended_since = std::mem::take(&mut self.sessions[log].ended_since);
                self.ask(session, id, None, tool, args, at);
                self.sessions[log].ended_since = ended_since;
                if let Some(entry) = self.entry(session, id) {
                    entry.is_nested = true;
                }
            }
            Event::Begun { session, id, at } => {
                if let Some(entry) = self.entry(session, id) {
                    entry.asked = Some(at);
                }
            }
            Event::Ended {
                session,
                id,
                at,
                duration,
                outcome,
                error,
            } => {
                let Some(entry) = self.entry(session, id) else {
                    self.orphans += 1;
                    return;
                };
                entry.end(at, duration, outcome, error);
                if !entry.is_nested {
                    let place = self.places[&key(session, id)];
                    self.sessions[place.session].ended_since = true;
                }
            }
        }
    }

    /// Returns whether a call was requested.
    pub(crate) fn has(&self, session: u64, id: Id) -> bool {
        self.places.contains_key(&key(session, id))
    }

    /// Returns whether a call was requested and has not ended.
    pub(crate) fn is_waiting(&mut self, session: u64, id: Id) -> bool {
        self.entry(session, id)
            .is_some_and(|entry| entry.outcome.is_none())
    }

    fn session(&mut self, name: u64) -> usize {
        let next = self.sessions.len();
        let index = *self.by_name.entry(name).or_insert(next);
        if index == next {
            self.sessions.push(Log::default());
        }
        index
    }

    fn entry(&mut self, session: u64, id: Id) -> Option<&mut Entry> {
        let place = self.places.get(&key(session, id))?;
        self.sessions[place.session].turns[place.turn].get_mut(place.index)
    }

    fn ask(
        &mut self,
        session: u64,
        id: Id,
        answer: Option<u64>,
        tool: &str,
        args: u64,
        at: Option<i128>,
    ) {
        let tool = shown_name(tool);
        if let Some(before) = self.entry(session, id) {
            // A short id may be used again by the next call of the session.
            let is_same = before.tool == tool && before.args == args;
            if is_same && (id.is_unique || before.asked == at) {
                self.copies += 1;
                return;
            }
        }
        let key = key(session, id);
        let session = self.session(session);
        let log = &mut self.sessions[session];
        log.see(at);
        let turn = log.turn(answer);
        let entry = Entry {
            key,
            tool,
            args,
            asked: at,
            ended: None,
            duration: None,
            outcome: None,
            error: None,
            is_nested: false,
        };
        let index = log.turns[turn].len();
        log.turns[turn].push(entry);
        self.places.insert(
            key,
            Place {
                session,
                turn,
                index,
            },
        );
    }

    /// Returns the sessions that hold calls, in the order in which they were read, and the errors.
    pub(crate) fn close(self) -> (Vec<Session>, Vec<RecordedError>) {
        let mut errors = Vec::new();
        let mut sessions = Vec::new();
        let mut names: Vec<(u64, usize)> = self.by_name.into_iter().collect();
        names.sort_by_key(|&(_, index)| index);
        for (log, (name, _)) in self.sessions.into_iter().zip(names) {
            let turns = log.close(&mut errors);
            if !turns.is_empty() {
                let name = format!("{name:016x}");
                sessions.push(Session { name, turns });
            }
        }
        (sessions, errors)
    }
}

/// Returns the identity of a call, which is that of its id alone if the id is unique.
fn key(session: u64, id: Id) -> u64 {
    digest_of((id.digest, if id.is_unique { 0 } else { session }))
}

/// Returns a name that can be registered and printed.
fn shown_name(name: &str) -> String {
    let is_fine = ToolSpec::new(name.to_owned()).check().is_ok();
    if is_fine {
        return name.to_owned();
    }
    let escaped: String = name
        .chars()
        .take(200)
        .flat_map(char::escape_default)
        .collect();
    match &escaped[..escaped.len().min(200)] {
        "" => "(no name)".to_owned(),
        escaped => escaped.to_owned(),
    }
}

/// Returns the first line that is not blank, escaped and bounded.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or("");
    let mut shown = String::new();
    for char in line.chars() {
        let is_plain = !char.is_control() && (char.is_ascii() || char.is_alphanumeric());
        let length = shown.len();
        if is_plain {
            shown.push(char);
        } else {
            shown.extend(char.escape_default());
        }
        if shown.len() > ERROR_BYTES {
            shown.truncate(length);
            shown.push('…');
            break;
        }
    }
    shown
}

impl Entry {
    fn end(
        &mut self,
        at: Option<i128>,
        duration: Option<Duration>,
        outcome: Outcome,
        error: Option<&str>,
    ) {
        let is_vague = matches!(
            self.outcome,
            None | Some(Outcome::Success | Outcome::Failure(ErrorKind::Other))
        );
        if is_vague && (self.outcome.is_none() || outcome != Outcome::Success) {
            self.outcome = Some(outcome);
        }
        self.ended = self.ended.or(at);
        self.duration = self.duration.or(duration);
        let has_error = self.error.as_ref().is_some_and(|line| !line.is_empty());
        if !has_error && self.outcome != Some(Outcome::Success) {
            self.error = error.map(first_line).or(self.error.take());
        }
    }

    fn close(self, start: Duration) -> Call {
        let measured = self
            .asked
            .zip(self.ended)
            .map(|(asked, ended)| span(asked, ended));
        Call {
            id: format!("{:016x}", self.key),
            tool: self.tool,
            args_hash: format!("{:016x}", self.args),
            start,
            duration: self.duration.map(|told| told.min(MAX)).or(measured),
            // A call without a result was abandoned.
            outcome: self.outcome.unwrap_or(Outcome::Cancelled),
        }
    }
}

impl Log {
    fn see(&mut self, at: Option<i128>) {
        self.began = self.began.or(at);
    }

    /// Returns the turn of a call that this answer asks for.
    fn turn(&mut self, answer: Option<u64>) -> usize {
        let next = self.turns.len();
        let turn = match answer {
            Some(answer) => *self.answers.entry(answer).or_insert(next),
            None if self.ended_since => next,
            None => next.saturating_sub(1),
        };
        self.ended_since = false;
        if turn == self.turns.len() {
            self.turns.push(Vec::new());
        }
        turn
    }

    fn close(self, errors: &mut Vec<RecordedError>) -> Vec<Vec<Call>> {
        // Of calls without a time, each begins where the one before ended.
        let mut clock = Duration::ZERO;
        let mut turns = Vec::with_capacity(self.turns.len());
        for entries in self.turns {
            let mut calls: Vec<Call> = Vec::with_capacity(entries.len());
            for mut entry in entries {
                if let Some((outcome, line)) = entry.outcome.zip(entry.error.take()) {
                    errors.push(RecordedError {
                        tool: entry.tool.clone(),
                        outcome,
                        line,
                    });
                }
                let told = self.began.zip(entry.asked);
                let start = told.map_or(clock, |(began, asked)| span(began, asked));
                let call = entry.close(start);
                let end = call.start.saturating_add(call.duration.unwrap_or_default());
                clock = clock.max(end);
                calls.push(call);
            }
            calls.sort_by_key(|call| call.start);
            turns.push(calls);
        }
        turns
    }
}

/// Returns the time between two moments, or zero if `to` is before `from`.
fn span(from: i128, to: i128) -> Duration {
    let nanos = u64::try_from(to.saturating_sub(from).max(0));
    nanos.map_or(MAX, |nanos| Duration::from_nanos(nanos).min(MAX))
}
