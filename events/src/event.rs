//! One event, its [`ErrorMessage`], and [`Draft`], an event that has no number yet.
//!
//! # Invariants
//!
//! - On a target with 64-bit pointers an [`Event`] has 56 bytes, even in an `Option`; otherwise the
//!   file does not compile. With 32-bit pointers it is smaller.
//! - The time of an event is computed, not stored: start plus latency, saturating, where a
//!   `Started` has no latency. So the end of a call never has a time before its start, whatever the
//!   clock did. The drain's proof relies on that. (The start that an end stores is the end of the
//!   call minus the latency: the start of the call, or lower if the sum saturated.)
//! - An event does not change once it has its number.
//!
//! # Orderings
//!
//! None: nothing here is shared before it is complete.

use crate::{
    context::CallContext,
    id::{CallId, EventNumber, ToolId},
};
use std::{fmt, ops::Deref, sync::Arc, time::Duration};
use toolmeter_core::{ErrorKind, EventFacts, EventKind, Finish};

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Event>() == 56 && size_of::<Option<Event>>() == 56);
#[cfg(not(target_pointer_width = "64"))]
const _: () = assert!(size_of::<Event>() <= 48 && size_of::<Option<Event>>() <= 48);
const _: () = assert!(size_of::<Option<ErrorMessage>>() == size_of::<usize>());

/// The text of a failure, or the reason why a call was rejected or cancelled, behind one thin
/// pointer.
///
/// The text is kept as given: bound, escape and redact it first.
///
/// # Examples
///
/// ```
/// use toolmeter_events::ErrorMessage;
///
/// let message = ErrorMessage::new("connection refused");
/// assert_eq!(&*message, "connection refused");
/// assert_eq!(size_of::<Option<ErrorMessage>>(), size_of::<usize>());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
// The box inside makes the pointer thin: an `Arc<str>` has two words.
pub struct ErrorMessage(Arc<Box<str>>);

impl ErrorMessage {
    /// Creates a message of this text. Allocates.
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

/// An event: the start, the end or the rejection of one call.
///
/// Times are in nanoseconds of the registry's clock, from the origin of that clock.
/// [`Batch::wall_time`](crate::Batch::wall_time) converts them to the wall clock.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use toolmeter_core::{ErrorKind, Finish, Outcome};
/// use toolmeter_events::{Drain, Draft, ErrorMessage, EventKind, Rings, ToolId};
///
/// let rings = Arc::new(Rings::new(1, 64)?);
/// rings.allocate();
/// let (tool, message) = (ToolId::new(7), ErrorMessage::new("too slow"));
/// let call = rings.offer(0, Draft::started(tool, 1, 100, None), None);
/// let finish = Finish::new(Outcome::Failure(ErrorKind::Timeout), 1, 100, 50);
/// rings.offer(0, Draft::closing(tool, finish, None, Some(message)), Some(call));
///
/// let events = Drain::new(&rings, 0).round(|| 1_000).events;
/// let end = &events[1];
/// assert_eq!((end.kind(), end.tool(), end.call()), (EventKind::Failed, tool, call));
/// assert_eq!((end.started_ns(), end.latency_ns(), end.time_ns()), (100, Some(50), 150));
/// assert_eq!((end.error_kind(), end.message()), (Some(ErrorKind::Timeout), Some("too slow")));
/// # Ok::<(), toolmeter_events::RingsError>(())
/// ```
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
    /// Returns the kind of the event.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// Returns the kind of the failure; `None` unless the event is [`EventKind::Failed`].
    #[must_use]
    pub const fn error_kind(&self) -> Option<ErrorKind> {
        self.error_kind
    }

    /// Returns the attempt number of the call, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Returns whether the call is a retry, that is whether its attempt is above 1.
    #[must_use]
    pub const fn is_retry(&self) -> bool {
        self.attempt > 1
    }

    /// Returns the id of the tool that was called.
    #[must_use]
    #[inline]
    pub const fn tool(&self) -> ToolId {
        self.tool
    }

    /// Returns the id of the call, which its start and its end share.
    #[must_use]
    #[inline]
    pub const fn call(&self) -> CallId {
        self.call
    }

    /// Returns the event's own number.
    #[must_use]
    #[inline]
    pub const fn number(&self) -> EventNumber {
        self.number
    }

    /// Returns the time of the event, in nanoseconds: the time at which the call began, plus the
    /// latency if the event is an end (saturating).
    #[must_use]
    #[inline]
    pub const fn time_ns(&self) -> u64 {
        self.started_ns.saturating_add(self.latency_ns)
    }

    /// Returns the time at which the call began, in nanoseconds.
    #[must_use]
    pub const fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// Returns the time that the tool took. `None` for [`EventKind::Started`], and for
    /// [`EventKind::Rejected`], whose tool did not run.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency_ns().map(Duration::from_nanos)
    }

    /// Returns the time that the tool took, in nanoseconds. `None` for [`EventKind::Started`], and
    /// for [`EventKind::Rejected`], whose tool did not run.
    #[must_use]
    pub const fn latency_ns(&self) -> Option<u64> {
        match self.kind {
            EventKind::Started | EventKind::Rejected => None,
            EventKind::Succeeded | EventKind::Failed | EventKind::Cancelled => {
                Some(self.latency_ns)
            }
        }
    }

    /// Returns the host's own names for the call, if it gave any.
    #[must_use]
    pub const fn context(&self) -> Option<&Arc<CallContext>> {
        self.context.as_ref()
    }

    /// Returns the text of the failure, or the reason why the call was rejected or cancelled.
    ///
    /// `None` if there is none, or if messages are disabled.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// An event that has no number yet.
///
/// [`Rings::offer`](crate::Rings::offer) gives it one and makes it an [`Event`].
///
/// # Examples
///
/// ```
/// use toolmeter_core::{Finish, Outcome};
/// use toolmeter_events::{Draft, Rings, ToolId};
///
/// let rings = Rings::new(1, 64)?;
/// let call = rings.offer(0, Draft::started(ToolId::new(7), 1, 100, None), None);
/// let finish = Finish::new(Outcome::Success, 1, 100, 50);
/// rings.offer(0, Draft::closing(ToolId::new(7), finish, None, None), Some(call));
/// # Ok::<(), toolmeter_events::RingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Draft(Event);

impl Draft {
    /// Creates the start of a call.
    ///
    /// `attempt` counts from 1. `started_ns` is when the call began, in nanoseconds of the
    /// registry's clock.
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

    /// Creates the end of a call. If it is a success, `message` is dropped.
    ///
    /// The call started at `finish.finished_at_ns` minus the latency, or at 0 if that is negative.
    #[must_use]
    #[inline]
    pub fn closing(
        tool: ToolId,
        finish: Finish,
        context: Option<Arc<CallContext>>,
        message: Option<ErrorMessage>,
    ) -> Self {
        let facts = EventFacts::closing(tool.get(), finish);
        Self(Event {
            message: message.filter(|_| facts.kind != EventKind::Succeeded),
            latency_ns: facts.latency_ns,
            kind: facts.kind,
            error_kind: facts.error_kind,
            ..Self::started(tool, facts.attempt, facts.started_ns, context).0
        })
    }

    /// Returns the event with this number, of this call.
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
    use toolmeter_core::Outcome;

    const TOOL: ToolId = ToolId::new(4);

    fn event(draft: Draft) -> Event {
        draft.into_event(EventNumber::new(2, 7), CallId::new(1, 5))
    }

    fn end(finish: Finish, message: Option<ErrorMessage>) -> Event {
        event(Draft::closing(TOOL, finish, None, message))
    }

    #[test]
    fn a_started_has_neither_latency_nor_error() {
        let started = event(Draft::started(TOOL, 1, 100, None));
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
    fn an_end_has_its_start_and_its_latency() {
        let context = Arc::new(CallContext::new("s").turn(1));
        let finish = Finish::new(Outcome::Failure(ErrorKind::Timeout), 2, 100, 23);
        let message = Some(ErrorMessage::new("too slow"));
        let end = event(Draft::closing(TOOL, finish, Some(context), message));
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
        assert_eq!(end.context().map(|context| context.turn), Some(1));
    }

    #[test]
    fn a_success_alone_keeps_no_message_and_a_refusal_has_no_latency() {
        let failed = ErrorKind::Other;
        for (outcome, kind, kept, error_kind) in [
            (Outcome::Success, EventKind::Succeeded, false, None),
            (
                Outcome::Failure(failed),
                EventKind::Failed,
                true,
                Some(failed),
            ),
            (Outcome::Cancelled, EventKind::Cancelled, true, None),
            (Outcome::Rejected, EventKind::Rejected, true, None),
        ] {
            let message = Some(ErrorMessage::new("odd"));
            let end = end(Finish::new(outcome, 1, 10, 1), message);
            assert_eq!((end.kind(), end.error_kind()), (kind, error_kind));
            assert_eq!(end.message(), kept.then_some("odd"));
            let latency_ns = (kind != EventKind::Rejected).then_some(1);
            assert_eq!(end.latency_ns(), latency_ns);
            assert_eq!(end.latency(), latency_ns.map(Duration::from_nanos));
            assert_eq!(end.time_ns(), 11);
        }
    }

    #[test]
    fn time_saturates_and_is_never_below_the_start() {
        let saturated = end(Finish::new(Outcome::Success, 1, u64::MAX - 1, 5), None);
        assert_eq!(saturated.time_ns(), u64::MAX);
        assert!(saturated.started_ns() < u64::MAX);
        // A latency longer than the clock has run.
        let finish = Finish {
            finished_at_ns: 5,
            latency_ns: 9,
            ..Finish::new(Outcome::Success, 1, 0, 0)
        };
        let end = end(finish, None);
        assert_eq!((end.started_ns(), end.time_ns()), (0, 9));
    }

    #[test]
    fn both_events_of_a_call_have_its_attempt_and_only_a_later_one_is_a_retry() {
        for attempt in [1, 2, u16::MAX] {
            let start = Draft::started(TOOL, attempt, 0, None);
            let finish = Finish::new(Outcome::Success, attempt, 0, 1);
            let end = Draft::closing(TOOL, finish, None, None);
            for event in [start, end].map(event) {
                assert_eq!((event.attempt(), event.is_retry()), (attempt, attempt > 1));
            }
        }
    }
}
