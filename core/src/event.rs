//! The kind of an event, [`EventKind`], and its content in three words, [`EventFacts`].

use crate::error_kind::ErrorKind;
use crate::outcome::Outcome;
use crate::slot::Finish;
use core::fmt;

/// The kind of an event: what happened to a call.
///
/// # Examples
///
/// ```
/// use toolmeter_core::EventKind;
///
/// assert_eq!(EventKind::Rejected.as_str(), "tool.rejected");
/// assert_eq!(EventKind::ALL.len(), 5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// The call started.
    Started,
    /// The call succeeded.
    Succeeded,
    /// The call failed. The event has the kind of the failure.
    Failed,
    /// The call was dropped before it ended.
    Cancelled,
    /// The call was rejected before the tool ran.
    Rejected,
}

impl EventKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 5] = [
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
    ];

    /// Returns the kind of the event that closes a call.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, EventKind, Outcome};
    ///
    /// let outcome = Outcome::Failure(ErrorKind::Network);
    /// assert_eq!(EventKind::closing(outcome), EventKind::Failed);
    /// ```
    #[must_use]
    #[inline]
    pub const fn closing(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Succeeded,
            Outcome::Failure(_) => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Rejected => Self::Rejected,
        }
    }

    /// Returns the name of the event: `tool.started`, `tool.succeeded`, `tool.failed`, `tool.cancelled`
    /// or `tool.rejected`.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::EventKind;
    ///
    /// assert_eq!(EventKind::Started.as_str(), "tool.started");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "tool.started",
            Self::Succeeded => "tool.succeeded",
            Self::Failed => "tool.failed",
            Self::Cancelled => "tool.cancelled",
            Self::Rejected => "tool.rejected",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Serializes the kind as its name.
#[cfg(feature = "serde")]
impl serde::Serialize for EventKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The content of an event, in numbers.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, EventFacts, EventKind, Finish, Outcome};
///
/// let finish = Finish::new(Outcome::Failure(ErrorKind::Timeout), 2, 1_000, 250);
/// let facts = EventFacts::closing(7, finish);
/// assert_eq!((facts.tool, facts.kind), (7, EventKind::Failed));
/// assert_eq!(facts.error_kind, Some(ErrorKind::Timeout));
/// assert_eq!((facts.started_ns, facts.time_ns()), (1_000, 1_250));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventFacts {
    /// The number that the program gave the tool.
    pub tool: u32,
    /// The kind of the event.
    pub kind: EventKind,
    /// The kind of the failure, or `None` if the call did not fail.
    pub error_kind: Option<ErrorKind>,
    /// The number of the attempt, counted from 1.
    pub attempt: u16,
    /// The time of the start, in nanoseconds of the clock.
    pub started_ns: u64,
    /// The duration, in nanoseconds; 0 for a start.
    pub latency_ns: u64,
}

impl EventFacts {
    /// The number of words that the facts take.
    pub(crate) const WORDS: usize = 3;

    /// Creates the facts of a start: the tool, the attempt counted from 1, and the time of the start in
    /// nanoseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventFacts, EventKind};
    ///
    /// let facts = EventFacts::started(7, 1, 500);
    /// assert_eq!((facts.kind, facts.time_ns()), (EventKind::Started, 500));
    /// ```
    #[must_use]
    #[inline]
    pub const fn started(tool: u32, attempt: u16, started_ns: u64) -> Self {
        Self {
            tool,
            kind: EventKind::Started,
            error_kind: None,
            attempt,
            started_ns,
            latency_ns: 0,
        }
    }

    /// Creates the facts of an end. The time of the start is `finish.finished_at_ns` minus the latency,
    /// saturating at 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventFacts, EventKind, Finish, Outcome};
    ///
    /// let facts = EventFacts::closing(7, Finish::new(Outcome::Success, 1, 500, 20));
    /// assert_eq!((facts.kind, facts.latency_ns), (EventKind::Succeeded, 20));
    /// ```
    #[must_use]
    #[inline]
    pub const fn closing(tool: u32, finish: Finish) -> Self {
        Self {
            tool,
            kind: EventKind::closing(finish.outcome),
            error_kind: finish.outcome.error_kind(),
            attempt: finish.attempt,
            started_ns: finish.finished_at_ns.saturating_sub(finish.latency_ns),
            latency_ns: finish.latency_ns,
        }
    }

    /// Returns the time of the event in nanoseconds: the start plus the latency, saturating.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{EventFacts, Finish, Outcome};
    ///
    /// let facts = EventFacts::closing(7, Finish::new(Outcome::Success, 1, 500, 20));
    /// assert_eq!(facts.time_ns(), 520);
    /// ```
    #[must_use]
    #[inline]
    pub const fn time_ns(&self) -> u64 {
        self.started_ns.saturating_add(self.latency_ns)
    }

    /// Encodes the facts for [`from_words`](Self::from_words).
    #[inline]
    pub(crate) const fn to_words(self) -> [u64; Self::WORDS] {
        // 0 encodes that there is none.
        let error_kind = match self.error_kind {
            Some(kind) => kind as u64 + 1,
            None => 0,
        };
        let about = (self.tool as u64) << 32
            | (self.attempt as u64) << 16
            | (self.kind as u64) << 8
            | error_kind;
        [about, self.started_ns, self.latency_ns]
    }

    /// Decodes what [`to_words`](Self::to_words) returned. Any other words decode to valid facts.
    #[inline]
    pub(crate) fn from_words([about, started_ns, latency_ns]: [u64; Self::WORDS]) -> Self {
        let kind = EventKind::ALL.get((about >> 8) as usize & 0xff);
        let error_kind = (about as usize & 0xff).checked_sub(1);
        Self {
            tool: (about >> 32) as u32,
            kind: kind.copied().unwrap_or(EventKind::Started),
            error_kind: error_kind.and_then(|index| ErrorKind::ALL.get(index).copied()),
            attempt: (about >> 16) as u16,
            started_ns,
            latency_ns,
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_from_their_words() {
        let kinds = ErrorKind::ALL.map(Some).into_iter().chain([None]);
        for error_kind in kinds {
            for kind in EventKind::ALL {
                for [tool, attempt, started_ns, latency_ns] in
                    [[0, 1, 2, 3], [u64::MAX; 4], [1 << 31, 1 << 15, 1 << 63, 0]]
                {
                    let facts = EventFacts {
                        tool: tool as u32,
                        kind,
                        error_kind,
                        attempt: attempt as u16,
                        started_ns,
                        latency_ns,
                    };
                    assert_eq!(EventFacts::from_words(facts.to_words()), facts);
                }
            }
        }
    }

    #[test]
    fn words_that_no_facts_made_are_read_as_some() {
        let facts = EventFacts::from_words([u64::MAX; EventFacts::WORDS]);
        assert_eq!((facts.kind, facts.error_kind), (EventKind::Started, None));
    }

    #[test]
    fn an_end_has_the_kind_of_its_outcome() {
        let failed = Outcome::Failure(ErrorKind::Panic);
        for (outcome, kind, error_kind) in [
            (Outcome::Success, EventKind::Succeeded, None),
            (failed, EventKind::Failed, Some(ErrorKind::Panic)),
            (Outcome::Cancelled, EventKind::Cancelled, None),
            (Outcome::Rejected, EventKind::Rejected, None),
        ] {
            let facts = EventFacts::closing(4, Finish::new(outcome, 3, 100, 23));
            assert_eq!((facts.kind, facts.error_kind), (kind, error_kind));
            assert_eq!((facts.tool, facts.attempt), (4, 3));
            assert_eq!((facts.started_ns, facts.time_ns()), (100, 123));
        }
    }

    #[test]
    fn time_saturates_and_is_never_below_the_start() {
        let end = |finish| EventFacts::closing(0, finish);
        let saturated = end(Finish::new(Outcome::Success, 1, u64::MAX - 1, 5));
        assert_eq!(saturated.time_ns(), u64::MAX);
        let finish = Finish {
            finished_at_ns: 5,
            latency_ns: 9,
            ..Finish::new(Outcome::Success, 1, 0, 0)
        };
        assert_eq!((end(finish).started_ns, end(finish).time_ns()), (0, 9));
    }

    #[test]
    fn a_kind_is_displayed_by_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(kind.to_string(), kind.as_str());
        }
        assert_eq!(format!("{:<13}|", EventKind::Failed), "tool.failed  |");
    }

    #[test]
    #[cfg(feature = "serde")]
    fn a_kind_is_serialised_as_its_name() {
        for kind in EventKind::ALL {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
    }
}
