//! The filter of a subscription.
//!
//! A [`Filter`] is data, not code: it is evaluated on the pump's thread, where a host's closure
//! could wait or panic.
//!
//! # Orderings
//!
//! None.

use crate::{event::Event, id::ToolId};
use toolmeter_core::EventKind;

/// A filter for the events that a subscription wants: all of them, unless conditions are set.
///
/// An event has to meet every condition that is set.
///
/// # Examples
///
/// ```
/// use toolmeter_events::{EventKind, Filter, ToolId};
///
/// let failed_retries_of_two_tools = Filter::new()
///     .kinds([EventKind::Failed])
///     .tools([ToolId::new(3), ToolId::new(5)])
///     .retries_only();
/// # let _ = failed_retries_of_two_tools;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// One bit for each kind that is wanted. `None` stands for all kinds.
    kinds: Option<u8>,
    /// Sorted. `None` stands for all tools.
    tools: Option<Box<[ToolId]>>,
    retries_only: bool,
}

impl Filter {
    /// Creates a filter that wants every event.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Restricts the filter to events of these kinds, and replaces the kinds set before.
    ///
    /// With an empty list it wants no event.
    #[must_use]
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.kinds = Some(kinds.into_iter().fold(0, |bits, kind| bits | bit(kind)));
        self
    }

    /// Restricts the filter to events of these tools, and replaces the tools set before.
    ///
    /// With an empty list it wants no event.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = ToolId>) -> Self {
        let mut tools: Vec<_> = tools.into_iter().collect();
        tools.sort_unstable();
        tools.dedup();
        self.tools = Some(tools.into());
        self
    }

    /// Restricts the filter to events of retries, that is of calls whose attempt is above 1.
    #[must_use]
    pub fn retries_only(mut self) -> Self {
        self.retries_only = true;
        self
    }

    /// Returns whether the filter wants every event.
    pub(crate) const fn wants_all(&self) -> bool {
        self.kinds.is_none() && self.tools.is_none() && !self.retries_only
    }

    /// Returns the tools that the filter is restricted to, sorted, if it is.
    pub(crate) fn named_tools(&self) -> Option<&[ToolId]> {
        self.tools.as_deref()
    }

    /// Returns whether the filter wants this event.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        self.kinds
            .is_none_or(|kinds| kinds & bit(event.kind()) != 0)
            && (!self.retries_only || event.is_retry())
            && self
                .tools
                .as_ref()
                .is_none_or(|tools| tools.binary_search(&event.tool()).is_ok())
    }
}

const fn bit(kind: EventKind) -> u8 {
    1 << kind as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Draft,
        id::{CallId, EventNumber},
    };
    use toolmeter_core::{ErrorKind, Finish, Outcome};

    fn event(kind: EventKind, tool: u32, attempt: u16) -> Event {
        let closing = |outcome| {
            let finish = Finish::new(outcome, attempt, 0, 1);
            Draft::closing(ToolId::new(tool), finish, None, None)
        };
        let draft = match kind {
            EventKind::Started => Draft::started(ToolId::new(tool), attempt, 0, None),
            EventKind::Succeeded => closing(Outcome::Success),
            EventKind::Failed => closing(Outcome::Failure(ErrorKind::Other)),
            EventKind::Cancelled => closing(Outcome::Cancelled),
            EventKind::Rejected => closing(Outcome::Rejected),
        };
        draft.into_event(EventNumber::new(0, 0), CallId::new(0, 0))
    }

    /// Every combination of what a filter looks at, against the plain conditions.
    #[test]
    fn an_event_has_to_meet_every_condition() {
        for kind in EventKind::ALL {
            for (tool, attempt) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
                let event = event(kind, tool, attempt);
                assert!(Filter::new().wants(&event) && Filter::new().wants_all());
                assert!(!Filter::new().kinds([]).wants(&event));
                assert!(!Filter::new().tools([]).wants(&event));
                assert_eq!(
                    Filter::new().kinds([kind]).wants(&event),
                    event.kind() == kind
                );
                assert!(
                    Filter::new().kinds([kind, kind]).wants(&event),
                    "named twice"
                );
                assert_eq!(Filter::new().retries_only().wants(&event), attempt > 1);
                let narrow = Filter::new()
                    .kinds([EventKind::Failed, EventKind::Cancelled])
                    .tools([ToolId::new(9), ToolId::new(2)])
                    .retries_only();
                for part in [
                    &narrow,
                    &Filter::new().kinds([kind]),
                    &Filter::new().tools([ToolId::new(1)]),
                    &Filter::new().retries_only(),
                ] {
                    assert!(!part.wants_all());
                }
                let ended_badly = matches!(kind, EventKind::Failed | EventKind::Cancelled);
                assert_eq!(
                    narrow.wants(&event),
                    ended_badly && tool == 2 && attempt == 2
                );
            }
        }
    }
}
