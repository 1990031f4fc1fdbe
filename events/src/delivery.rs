//! One round on its way to all subscriptions, with the events that each filter wants.
//!
//! Invariant: equal filters that want an event are evaluated once. Their batches share their events,
//! except those of a subscription that began after an event of the round was offered.
//!
//! # Orderings
//!
//! None: only the thread that hands out a round uses it.

mod slicer;

pub(crate) use self::slicer::{Selection, Slice, Slicer};

use crate::{batch::RoundData, event::Event, filter::Filter, ring::FirstTickets};
use std::{cell::OnceCell, collections::HashMap, iter};
use toolmeter_core::EventKind;

/// One round on its way to all subscriptions.
pub(crate) struct Delivery {
    pub(crate) slicer: Slicer,
    pub(crate) batch_size: usize,
    /// The lowest tickets in the round, for each stripe that has events there.
    lowest: Vec<(usize, FirstTickets)>,
    /// The indices of the events, sorted by tool. Built for the first filter that names tools.
    by_tool: OnceCell<Vec<usize>>,
    /// The matches of each filter so far. A filter that names tools and matches nothing has none
    /// here: there may be one for each of many subscriptions.
    pub(crate) matches: HashMap<Filter, Matches>,
}

/// The events of a round that a filter wants.
pub(crate) struct Matches {
    /// Their indices in the round, sorted.
    pub(crate) indices: Vec<usize>,
    /// For each batch of them the slice, once a subscription had room for it.
    pub(crate) slices: Vec<Option<Slice>>,
}

impl Delivery {
    /// Prepares a round whose first `late` events are late, for batches of at most `batch_size`.
    pub(crate) fn new(mut round: RoundData, late: usize, batch_size: usize) -> Self {
        let events = &mut round.events;
        if events.capacity() > events.len().saturating_mul(2) {
            events.shrink_to_fit();
        }
        let lowest = lowest_tickets(events);
        Self {
            slicer: Slicer::new(round, late),
            batch_size,
            lowest,
            by_tool: OnceCell::new(),
            matches: HashMap::new(),
        }
    }

    /// Returns the events of the round.
    pub(crate) fn events(&self) -> &[Event] {
        &self.slicer.round().events
    }

    /// Returns whether every event of the round was offered after a subscription with these first
    /// tickets began.
    pub(crate) fn is_after(&self, first_tickets: &[FirstTickets]) -> bool {
        self.lowest.iter().all(|(stripe, lowest)| {
            first_tickets
                .get(*stripe)
                .is_none_or(|first| lowest.starts >= first.starts && lowest.ends >= first.ends)
        })
    }

    /// Finds the events that the filter wants, unless an equal filter was evaluated before. Returns
    /// whether there are any.
    pub(crate) fn find_matches(&mut self, filter: &Filter) -> bool {
        if let Some(matches) = self.matches.get(filter) {
            return !matches.indices.is_empty();
        }
        let indices = self.matching_indices(filter);
        let any = !indices.is_empty();
        if any || filter.named_tools().is_none() {
            let batches = indices.len().div_ceil(self.batch_size);
            let slices = iter::repeat_with(|| None).take(batches).collect();
            self.matches
                .insert(filter.clone(), Matches { indices, slices });
        }
        any
    }

    /// Returns the indices of the events that the filter wants, sorted.
    fn matching_indices(&self, filter: &Filter) -> Vec<usize> {
        let events = self.events();
        let is_wanted = |index: &usize| filter.wants(&events[*index]);
        match filter.named_tools() {
            // Many subscriptions may name a tool each, so not every event is checked for each.
            Some(tools) if tools.len() < events.len() / 16 => {
                let by_tool = self.by_tool.get_or_init(|| sorted_by_tool(events));
                let mut indices = Vec::new();
                for &tool in tools {
                    let start = by_tool.partition_point(|&index| events[index].tool() < tool);
                    let of_tool = by_tool[start..].iter();
                    let of_tool = of_tool.take_while(|&&index| events[index].tool() == tool);
                    indices.extend(of_tool.copied().filter(is_wanted));
                }
                indices.sort_unstable();
                indices
            }
            _ => (0..events.len()).filter(is_wanted).collect(),
        }
    }
}

/// Returns the indices of these events, sorted by tool.
fn sorted_by_tool(events: &[Event]) -> Vec<usize> {
    let mut indices: Vec<_> = (0..events.len()).collect();
    indices.sort_by_key(|&index| events[index].tool());
    indices
}

/// Returns the lowest tickets of starts and of ends, for each stripe that has any of these events.
fn lowest_tickets(events: &[Event]) -> Vec<(usize, FirstTickets)> {
    let mut lowest: Vec<(usize, FirstTickets)> = Vec::new();
    for event in events {
        let number = event.number();
        let known = lowest
            .iter()
            .position(|(stripe, _)| *stripe == number.stripe());
        let at = known.unwrap_or_else(|| {
            let none = FirstTickets {
                ends: u64::MAX,
                starts: u64::MAX,
            };
            lowest.push((number.stripe(), none));
            lowest.len() - 1
        });
        let of_stripe = &mut lowest[at].1;
        let ticket = match event.kind() {
            EventKind::Started => &mut of_stripe.starts,
            _ => &mut of_stripe.ends,
        };
        *ticket = number.ticket().min(*ticket);
    }
    lowest
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
