//! Tests of matching the events of a round with filters, and with the beginning of subscriptions.

use super::*;
use crate::{
    event::Draft,
    id::{CallId, EventNumber, ToolId},
    moment::Moment,
    name_table::NameTable,
    timeline::Timeline,
};
use std::{sync::Arc, time::SystemTime};
use toolmeter_core::{ErrorKind, Finish, Outcome};

/// Returns a start, a failure and the start of a retry for each of this many tools.
fn events(tools: u32) -> Vec<Event> {
    let mut events = Vec::new();
    for tool in 0..tools {
        let failed = Finish::new(Outcome::Failure(ErrorKind::Other), 2, 1, 1);
        for draft in [
            Draft::started(ToolId::new(tool), 1, 1, None),
            Draft::closing(ToolId::new(tool), failed, None, None),
            Draft::started(ToolId::new(tool), 2, 1, None),
        ] {
            let ticket = events.len() as u64;
            events.push(draft.into_event(EventNumber::new(0, ticket), CallId::new(0, ticket)));
        }
    }
    events
}

fn delivery(events: &[Event]) -> Delivery {
    let now = Moment::new(SystemTime::UNIX_EPOCH, 1);
    let names = Arc::new(NameTable::default());
    let data = RoundData::new(events.to_vec(), &names, &Arc::new(Timeline::new(now)), now);
    Delivery::new(data, 0, 16)
}

#[test]
fn what_is_wanted_is_the_same_whether_or_not_tools_are_looked_up() {
    let filters = [
        Filter::new(),
        Filter::new().kinds([]),
        Filter::new().kinds([EventKind::Started, EventKind::Failed]),
        Filter::new().kinds([EventKind::Failed]),
        Filter::new().tools([]),
        Filter::new().tools([ToolId::new(0)]),
        Filter::new().tools([ToolId::new(99)]),
        Filter::new().tools([ToolId::new(20), ToolId::new(2)]),
        Filter::new().tools((0..9).map(ToolId::new)).retries_only(),
        Filter::new().retries_only(),
    ];
    // Events of two rounds of calls: those of a tool are not contiguous.
    for tools in [1, 21, 30, 200] {
        let mut events = events(tools);
        events.extend(events.clone());
        let mut delivery = delivery(&events);
        for filter in filters.iter().chain(&filters) {
            let expected: Vec<_> = (0..events.len())
                .filter(|&index| filter.wants(&events[index]))
                .collect();
            assert_eq!(delivery.find_matches(filter), !expected.is_empty());
            let matches = delivery.matches.get(filter);
            let found = matches.map_or(&[][..], |matches| &matches.indices);
            assert_eq!(found, expected, "{tools} tools, {filter:?}");
            let batches = matches.map_or(0, |matches| matches.slices.len());
            assert_eq!(batches, expected.len().div_ceil(16));
        }
        assert!(delivery.matches.len() <= filters.len());
        assert_eq!(delivery.by_tool.get().is_some(), tools > 1);
    }
}

#[test]
fn the_lowest_tickets_are_kept_by_stripe_and_kind() {
    let event = |stripe, ticket| {
        let draft = Draft::started(ToolId::new(0), 1, 1, None);
        draft.into_event(EventNumber::new(stripe, ticket), CallId::new(0, 0))
    };
    let delivery = delivery(&[event(1, 7), event(0, 3), event(1, 5)]);
    let first = |starts: [u64; 2]| starts.map(|starts| FirstTickets { ends: 9, starts });
    assert!(delivery.is_after(&first([3, 5])) && delivery.is_after(&[]));
    assert!(!delivery.is_after(&first([4, 5])) && !delivery.is_after(&first([3, 6])));
}
