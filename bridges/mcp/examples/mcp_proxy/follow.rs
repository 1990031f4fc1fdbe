//! The calls in the messages between a client and a server.
//!
//! The [`Follower`] takes the lines of both directions, and makes calls of a registry from them. It
//! does no I/O, and takes the time from the registry's clock. Guarantees:
//!
//! - Each `tools/call` request with an id is one call, and ends exactly once: with the answer of this
//!   id from the server, with the client's `notifications/cancelled`, when the client no longer waits
//!   for it, or when the server is gone.
//! - Ids are those of the client's requests. The server numbers its own requests. The client's
//!   answers to them, and the server's cancellations of them, do not end a call, even one of the same
//!   id.
//! - At most [`CALL_LIMIT`] calls are followed at a time, and at most [`LIST_LIMIT`] requests for
//!   lists of tools.
//!
//! # Names
//!
//! The answers to `tools/list` requests are the server's lists. Until it has listed its tools, a call
//! registers its tool. From then on a call of a name that is in none of its lists is counted as
//! unknown, because models invent names. A list that is continued (`nextCursor`), or that the server
//! has reported as changed, is not complete, so calls register their tools again until the last page
//! of a list has been seen.

use crate::scan::{Answer, Id, Line, LineKind, Message, Scanner};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use toolmeter::{CallContext, OwnedCall, Registry, ToolHandle, ToolSpec, Verdict};
use toolmeter_mcp::rmcp::model::{CallToolResult, ContentBlock, ErrorCode};
use toolmeter_mcp::rmcp::{ErrorData, ServiceError};
use toolmeter_mcp::verdict;

/// The limit of calls that are followed at a time. It is more than any client makes, and bounds the memory
/// that a client can take by calls that are never answered.
pub(crate) const CALL_LIMIT: usize = 1 << 16;

/// The limit of requests for lists of tools that are followed at a time.
const LIST_LIMIT: usize = 1 << 10;

/// The sender of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Server,
}

/// Counts of what was seen besides calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) client: Seen,
    pub(crate) server: Seen,
    /// Notifications of progress of calls in flight.
    pub(crate) progress: u64,
    /// Answers to calls that had been cancelled before.
    pub(crate) late: u64,
    /// Calls without an id that could be followed, or beyond [`CALL_LIMIT`], and the messages and
    /// names of tools beyond the limit of a line.
    pub(crate) not_followed: u64,
}

/// Counts of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    pub(crate) longest: u64,
    pub(crate) not_json: u64,
}

struct InFlight {
    call: OwnedCall,
    token: Option<Id>,
}

pub(crate) struct Follower {
    registry: Registry,
    /// Set if calls get a context, which only events carry.
    has_context: bool,
    calls: HashMap<Id, InFlight>,
    /// The progress tokens of calls in flight.
    tokens: HashMap<Id, Id>,
    /// The ids of cancelled calls, whose answers may still arrive; at most [`CALL_LIMIT`].
    cancelled: HashMap<Id, ()>,
    /// The ids of requests for a list of tools that were not answered; at most [`LIST_LIMIT`].
    lists: HashSet<Id>,
    is_listed: bool,
    /// The side that is gone.
    gone: Option<From>,
    tally: Tally,
}

impl Follower {
    pub(crate) fn new(registry: Registry, has_context: bool) -> Self {
        Self {
            registry,
            has_context,
            calls: HashMap::new(),
            tokens: HashMap::new(),
            cancelled: HashMap::new(),
            lists: HashSet::new(),
            is_listed: false,
            gone: None,
            tally: Tally::default(),
        }
    }

    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes a line that one side sent.
    pub(crate) fn take(&mut self, from: From, line: &mut Line<'_>) {
        let seen = match from {
            From::Client => &mut self.tally.client,
            From::Server => &mut self.tally.server,
        };
        seen.lines += 1;
        seen.bytes += line.bytes;
        seen.longest = seen.longest.max(line.bytes);
        seen.not_json += u64::from(line.what == LineKind::NotJson);
        self.tally.not_followed += line.left_out;
        for message in line.messages.drain(..) {
            match from {
                From::Client => self.client_said(message),
                From::Server => self.server_said(message),
            }
        }
    }

    /// Cancels the calls in flight, because the client does not wait for them. Later calls are
    /// followed.
    pub(crate) fn cancel_all(&mut self) {
        self.tokens.clear();
        for (id, in_flight) in self.calls.drain() {
            in_flight.call.cancel();
            if self.cancelled.len() < CALL_LIMIT {
                self.cancelled.insert(id, ());
            }
        }
    }

    /// Cancels the calls in flight, and later ones, because the client reads no more answers.
    pub(crate) fn client_gone(&mut self) {
        self.gone = Some(From::Client);
        self.cancel_all();
    }

    /// Ends the calls in flight, because the server answers no more: they have failed, unless the
    /// client had left before, and are then cancelled.
    pub(crate) fn server_gone(&mut self, client_left: bool) {
        if client_left {
            return self.client_gone();
        }
        self.gone = Some(From::Server);
        self.tokens.clear();
        for (_, in_flight) in self.calls.drain() {
            in_flight.call.finish(lost());
        }
    }

    fn client_said(&mut self, message: Message) {
        match message.method.as_deref() {
            Some("tools/call") => self.begin(message),
            Some("notifications/cancelled") => {
                let call = message.request.and_then(|id| self.end(&id, true));
                if let Some(call) = call {
                    call.cancel();
                }
            }
            Some("tools/list") => {
                if let Some(id) = message.id
                    && self.lists.len() < LIST_LIMIT
                {
                    self.lists.insert(id);
                }
            }
            // Answers of the client are answers to requests of the server.
            _ => {}
        }
    }

    fn begin(&mut self, message: Message) {
        let name = message.name.as_deref().unwrap_or_default();
        let Some(handle) = self.handle(name) else {
            self.registry.unknown_call(name).count();
            return;
        };
        let Some(id) = message.id else {
            self.tally.not_followed += 1;
            return;
        };
        if !self.lists.is_empty() {
            self.lists.remove(&id);
        }
        // The id is used again while its call is in flight, so its answer could not be assigned.
        if let Some(call) = self.end(&id, false) {
            call.cancel();
        }
        if self.calls.len() == CALL_LIMIT {
            self.tally.not_followed += 1;
            return;
        }
        self.cancelled.remove(&id);
        let mut builder = handle.call();
        if self.has_context {
            let context = CallContext::new(self.registry.instance_id());
            builder = builder.context(context.call(id.to_string()));
        }
        let call = builder.start_owned();
        if let Some(gone) = self.gone {
            match gone {
                From::Client => call.cancel(),
                From::Server => call.finish(lost()),
            };
            return;
        }
        if let Some(token) = &message.token {
            self.tokens.insert(token.clone(), id.clone());
        }
        let token = message.token;
        self.calls.insert(id, InFlight { call, token });
    }

    fn handle(&self, name: &str) -> Option<ToolHandle> {
        let spec = ToolSpec::lossy(name);
        match self.registry.get(spec.name()) {
            Some(handle) => Some(handle),
            None if self.is_listed => None,
            None => self.registry.get_or_register(spec).ok(),
        }
    }

    /// Takes the call of this id, if there is one in flight.
    fn end(&mut self, id: &Id, is_cancelled: bool) -> Option<OwnedCall> {
        let (id, in_flight) = self.calls.remove_entry(id)?;
        if let Some(token) = &in_flight.token
            && self.tokens.get(token) == Some(&id)
        {
            self.tokens.remove(token);
        }
        if is_cancelled && self.cancelled.len() < CALL_LIMIT {
            self.cancelled.insert(id, ());
        }
        Some(in_flight.call)
    }

    fn server_said(&mut self, message: Message) {
        match (message.method.as_deref(), message.answer) {
            (Some("notifications/progress"), _) => {
                let is_known = message
                    .progress
                    .is_some_and(|id| self.tokens.contains_key(&id));
                self.tally.progress += u64::from(is_known);
            }
            (Some("notifications/tools/list_changed"), _) => self.is_listed = false,
            // A request of the server, or another notification.
            (Some(_), _) | (None, None) => {}
            (None, Some(answer)) => {
                let Some(id) = message.id else { return };
                // Mostly there are none. What a tool answers may have such a field, too.
                if !self.lists.is_empty()
                    && self.lists.remove(&id)
                    && let Some(names) = message.tools
                {
                    let specs = names.iter().map(|name| ToolSpec::lossy(name));
                    for spec in specs {
                        // Beyond the limit of tools, its calls are unknown.
                        let _registered = self.registry.get_or_register(spec);
                    }
                    self.is_listed = !message.is_continued;
                }
                if self.cancelled.remove(&id).is_some() {
                    self.tally.late += 1;
                } else if let Some(call) = self.end(&id, false) {
                    call.finish(judge(answer));
                }
            }
        }
    }
}

/// Judges an answer by the same rules as metered servers and clients do.
fn judge(answer: Answer) -> Verdict {
    match answer {
        Answer::Result {
            is_error: false, ..
        } => Verdict::success(),
        Answer::Result {
            is_error: true,
            text,
        } => verdict(&CallToolResult::error(vec![ContentBlock::text(text)])),
        Answer::Error { code, message } => {
            let code = i32::try_from(code).map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
            verdict(&ErrorData::new(code, message, None))
        }
    }
}

/// The error of a call that the server can no longer answer.
fn lost() -> Verdict {
    verdict(&ServiceError::TransportClosed)
}

/// A follower that both directions share.
///
/// # Invariant
///
/// Its lock is held for one line at a time and never while anything is read or written, so that
/// neither direction waits for the other side of the proxy.
pub(crate) struct Session(Mutex<Follower>);

impl Session {
    pub(crate) const fn new(follower: Follower) -> Self {
        Self(Mutex::new(follower))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Follower> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a reader of one direction.
    pub(crate) fn direction(&self, from: From) -> Direction<'_> {
        Direction {
            session: self,
            from,
            scanner: Scanner::new(),
        }
    }
}

/// A reader of one direction of a session.
pub(crate) struct Direction<'a> {
    session: &'a Session,
    from: From,
    scanner: Scanner,
}

impl Direction<'_> {
    /// Takes the next bytes.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        let Self {
            session,
            from,
            scanner,
        } = self;
        scanner.feed(bytes, |mut line| session.lock().take(*from, &mut line));
    }

    /// Takes the line behind the last newline, after the last bytes.
    pub(crate) fn finish(&mut self) {
        let Self {
            session,
            from,
            scanner,
        } = self;
        scanner.finish(|mut line| session.lock().take(*from, &mut line));
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
