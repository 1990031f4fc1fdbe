//! What one event says, and how it fits into 56 bytes.
//!
//! Owns the event itself, what it carries ([`EventKind`], [`CallContext`], [`ErrorMessage`]), and
//! [`Draft`], an event that has no ticket yet.
//!
//! Promises:
//!
//! - An [`Event`] is 56 bytes, so that with the stamp of its place in the ring it takes one
//!   cache line; the file does not compile otherwise.
//! - The time of an event is derived, never stored: start plus latency, saturating, and a
//!   `Started` has no latency. So the end of a call is never timed before its start, whatever
//!   the clock did. The drain's proof stands on that.
//! - An event never changes once it has its number.
//!
//! # Orderings
//!
//! None: nothing here is shared before it is complete.

use crate::id::{CallId, EventNumber, ToolId};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{fmt, ops::Deref, sync::Arc, time::Duration};
use toolmeter_core::{ErrorKind, Outcome};

const _: () = assert!(size_of::<Event>() == 56 && size_of::<Option<Event>>() == 56);
const _: () = assert!(size_of::<Option<ErrorMessage>>() == 8);

/// What happened to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// The call began.
    Started,
    /// The call ended with success.
    Succeeded,
    /// The call ended with a failure, [`Event::error_kind`] tells of which kind.
    Failed,
    /// The call was dropped before it ended.
    Cancelled,
}

impl EventKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 4] = [
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The event's name: `tool.started`, `tool.succeeded`, `tool.failed` or `tool.cancelled`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "tool.started",
            Self::Succeeded => "tool.succeeded",
            Self::Failed => "tool.failed",
            Self::Cancelled => "tool.cancelled",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The host's own names for where a call belongs: its session, turn and call.
///
/// toolmeter carries them and reads nothing into them.
///
/// ```
/// use toolmeter_events::CallContext;
///
/// let context = CallContext::new("session-7", 3, "toolu_01");
/// assert_eq!((context.session(), context.turn(), context.call()), ("session-7", 3, "toolu_01"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallContext {
    session: Box<str>,
    turn: u64,
    call: Box<str>,
}

impl CallContext {
    /// A context of these names.
    #[must_use]
    pub fn new(session: impl Into<Box<str>>, turn: u64, call: impl Into<Box<str>>) -> Self {
        Self {
            session: session.into(),
            turn,
            call: call.into(),
        }
    }

    /// The host's name for the session.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The host's number of the turn within the session.
    #[must_use]
    pub const fn turn(&self) -> u64 {
        self.turn
    }

    /// The host's name for the call, as a model's `tool_call_id`.
    #[must_use]
    pub fn call(&self) -> &str {
        &self.call
    }
}

impl Serialize for CallContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("CallContext", 3)?;
        fields.serialize_field("session", self.session())?;
        fields.serialize_field("turn", &self.turn())?;
        fields.serialize_field("call", self.call())?;
        fields.end()
    }
}

/// The text of a failure, behind one thin pointer.
///
/// It is kept as given. Whoever makes it bounds, escapes and redacts the text first.
///
/// ```
/// use toolmeter_events::ErrorMessage;
///
/// let message = ErrorMessage::new("connection refused");
/// assert_eq!(&*message, "connection refused");
/// assert_eq!(size_of::<Option<ErrorMessage>>(), 8);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
// The box inside is what makes the pointer thin: `Arc<str>` would be two words.
pub struct ErrorMessage(Arc<Box<str>>);

impl ErrorMessage {
    /// A message of this text. Allocates.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Arc::new(text.into()))
    }
}

impl Deref for ErrorMessage {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

/// One thing that happened to one call.
///
/// Times are nanoseconds of the registry's clock, counted from that clock's own origin;
/// [`Batch::wall_time`](crate::Batch::wall_time) turns them into wall-clock time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    context: Option<Arc<CallContext>>,
    message: Option<ErrorMessage>,
    number: EventNumber,
    call: CallId,
    started_ns: u64,
    latency_ns: u64,
    tool: ToolId,
    attempt: u16,
    kind: EventKind,
    error_kind: Option<ErrorKind>,
}

impl Event {
    /// What happened.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// The kind of the failure; `None` unless the event is [`EventKind::Failed`].
    #[must_use]
    pub const fn error_kind(&self) -> Option<ErrorKind> {
        self.error_kind
    }

    /// Which attempt this call is, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Whether the call is a retry: its attempt is above 1.
    #[must_use]
    pub const fn is_retry(&self) -> bool {
        self.attempt > 1
    }

    /// The tool that was called.
    #[must_use]
    #[inline]
    pub const fn tool(&self) -> ToolId {
        self.tool
    }

    /// The call: the same for its start and its end.
    #[must_use]
    #[inline]
    pub const fn call(&self) -> CallId {
        self.call
    }

    /// The event's own number.
    #[must_use]
    #[inline]
    pub const fn number(&self) -> EventNumber {
        self.number
    }

    /// When the event happened, in nanoseconds: the call's start, and for an end its start plus
    /// its latency (saturating).
    #[must_use]
    #[inline]
    pub const fn time_ns(&self) -> u64 {
        self.started_ns.saturating_add(self.latency_ns)
    }

    /// When the call began, in nanoseconds.
    #[must_use]
    pub const fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// How long the call took; `None` for [`EventKind::Started`].
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency_ns().map(Duration::from_nanos)
    }

    /// How long the call took, in nanoseconds; `None` for [`EventKind::Started`].
    #[must_use]
    pub const fn latency_ns(&self) -> Option<u64> {
        match self.kind {
            EventKind::Started => None,
            _ => Some(self.latency_ns),
        }
    }

    /// The host's own names for the call, if it gave any.
    #[must_use]
    pub const fn context(&self) -> Option<&Arc<CallContext>> {
        self.context.as_ref()
    }

    /// The text of the failure, if it has one and messages are not switched off.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// Kind, tool, call, number, attempt, retry, times, and what else the event carries; what is
/// absent is null.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Event", 12)?;
        fields.serialize_field("event", &self.kind)?;
        fields.serialize_field("tool", &self.tool)?;
        fields.serialize_field("call", &self.call)?;
        fields.serialize_field("number", &self.number)?;
        fields.serialize_field("attempt", &self.attempt)?;
        fields.serialize_field("retry", &self.is_retry())?;
        fields.serialize_field("time_ns", &self.time_ns())?;
        fields.serialize_field("started_ns", &self.started_ns)?;
        fields.serialize_field("latency_ns", &self.latency_ns())?;
        fields.serialize_field("error_kind", &self.error_kind.map(ErrorKind::as_str))?;
        fields.serialize_field("message", &self.message())?;
        fields.serialize_field("context", &self.context.as_deref())?;
        fields.end()
    }
}

/// An event that has no number yet: what the call knows before it takes a ticket.
///
/// [`Rings::offer`](crate::Rings::offer) makes it an [`Event`].
#[derive(Clone, Debug)]
pub struct Draft(Event);

impl Draft {
    /// The start of a call: the tool, the attempt counted from 1, and when it began.
    #[must_use]
    #[inline]
    pub const fn started(
        tool: ToolId,
        attempt: u16,
        started_ns: u64,
        context: Option<Arc<CallContext>>,
    ) -> Self {
        Self(Event {
            context,
            message: None,
            number: EventNumber::new(0, 0),
            call: CallId::new(0, 0),
            started_ns,
            latency_ns: 0,
            tool,
            attempt,
            kind: EventKind::Started,
            error_kind: None,
        })
    }

    /// The end of a call. `message` is kept only with [`Outcome::Failure`].
    #[must_use]
    #[inline]
    pub fn closing(
        tool: ToolId,
        attempt: u16,
        started_ns: u64,
        latency_ns: u64,
        outcome: Outcome,
        context: Option<Arc<CallContext>>,
        message: Option<ErrorMessage>,
    ) -> Self {
        let (kind, error_kind) = match outcome {
            Outcome::Success => (EventKind::Succeeded, None),
            Outcome::Failure(error_kind) => (EventKind::Failed, Some(error_kind)),
            Outcome::Cancelled => (EventKind::Cancelled, None),
        };
        Self(Event {
            message: if error_kind.is_some() { message } else { None },
            latency_ns,
            kind,
            error_kind,
            ..Self::started(tool, attempt, started_ns, context).0
        })
    }

    /// The event, once its number is known.
    #[inline]
    pub(crate) fn into_event(mut self, number: EventNumber, call: CallId) -> Event {
        self.0.number = number;
        self.0.call = call;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(draft: Draft) -> Event {
        draft.into_event(EventNumber::new(2, 7), CallId::new(1, 5))
    }

    #[test]
    fn a_started_has_neither_latency_nor_error() {
        let started = event(Draft::started(ToolId::new(4), 1, 100, None));
        assert_eq!(started.kind(), EventKind::Started);
        assert_eq!((started.time_ns(), started.started_ns()), (100, 100));
        assert_eq!(
            (started.latency(), started.error_kind(), started.message()),
            (None, None, None)
        );
        assert!(!started.is_retry());
        assert_eq!(
            (started.number(), started.call()),
            (EventNumber::new(2, 7), CallId::new(1, 5))
        );
    }

    #[test]
    fn an_end_tells_its_start_and_its_latency() {
        let context = Arc::new(CallContext::new("s", 1, "c"));
        let outcome = Outcome::Failure(ErrorKind::Timeout);
        let message = Some(ErrorMessage::new("too slow"));
        let tool = ToolId::new(4);
        let end = event(Draft::closing(
            tool,
            2,
            100,
            23,
            outcome,
            Some(context),
            message,
        ));
        assert_eq!(
            (end.time_ns(), end.started_ns(), end.latency_ns()),
            (123, 100, Some(23))
        );
        assert_eq!(end.latency(), Some(Duration::from_nanos(23)));
        assert_eq!(
            (end.kind(), end.error_kind()),
            (EventKind::Failed, Some(ErrorKind::Timeout))
        );
        assert_eq!((end.message(), end.is_retry()), (Some("too slow"), true));
        assert_eq!(end.context().map(|context| context.turn()), Some(1));
    }

    #[test]
    fn only_a_failure_keeps_a_message() {
        for outcome in [Outcome::Success, Outcome::Cancelled] {
            let message = Some(ErrorMessage::new("odd"));
            let end = event(Draft::closing(
                ToolId::new(0),
                1,
                0,
                1,
                outcome,
                None,
                message,
            ));
            assert_eq!((end.message(), end.error_kind()), (None, None));
        }
    }

    #[test]
    fn time_saturates_and_is_never_below_the_start() {
        let end = event(Draft::closing(
            ToolId::new(0),
            1,
            u64::MAX - 1,
            5,
            Outcome::Success,
            None,
            None,
        ));
        assert_eq!(end.time_ns(), u64::MAX);
    }

    #[test]
    fn both_events_of_a_call_tell_its_attempt_and_only_a_later_one_is_a_retry() {
        let tool = ToolId::new(0);
        for attempt in [1, 2, u16::MAX] {
            let start = Draft::started(tool, attempt, 0, None);
            let end = Draft::closing(tool, attempt, 0, 1, Outcome::Success, None, None);
            for event in [start, end].map(event) {
                assert_eq!((event.attempt(), event.is_retry()), (attempt, attempt > 1));
            }
        }
    }
}
