//! [`EventNames`]: the names of tools that batches of events carry.
//!
//! A tool's name is here before its handle is given out, and is forgotten long after the last event
//! of the tool was delivered. A tool that departed under its name keeps it here, too.

use crate::sync;
use crate::tool_slot::ToolSlot;
use std::collections::VecDeque;
use std::sync::Arc;
use toolmeter_events::{NameTable, Rings, ToolId};

/// The number of rounds of the pump for which the name of a tool stays known after it became
/// nameless. The tool's last events are delivered by then.
const KEPT_ROUNDS: u64 = 256;

/// The names of all tools that may still have events on their way.
#[derive(Debug)]
pub(crate) struct EventNames {
    table: Arc<NameTable>,
    /// The number of rounds of the pump so far.
    rounds: u64,
    rings: sync::Arc<Rings>,
    /// Tools that became nameless, each with the round in which it did.
    nameless: VecDeque<(u64, ToolId)>,
}

impl EventNames {
    pub(crate) fn new(rings: sync::Arc<Rings>) -> Self {
        Self {
            table: Arc::default(),
            rounds: 0,
            rings,
            nameless: VecDeque::new(),
        }
    }

    /// Returns the number of departed tools that may have events on their way: none without a
    /// subscription, else twice as many as the rings have room for, in the rings and in a round.
    fn max_in_rings(&self) -> usize {
        if self.rings.is_open() {
            2 * self.rings.capacity() * self.rings.stripes()
        } else {
            0
        }
    }

    /// Returns the names as they are now. The pump calls this once in each round.
    pub(crate) fn of_round(&mut self) -> Arc<NameTable> {
        self.rounds += 1;
        Arc::clone(&self.table)
    }

    /// Returns the number of rounds so far.
    #[cfg(all(test, not(toolmeter_loom)))]
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Adds the name of a tool, before its handle is given out.
    pub(crate) fn insert(&mut self, slot: &ToolSlot) {
        Arc::make_mut(&mut self.table).insert(slot.id, Arc::clone(&slot.name));
    }

    /// Records that a tool became nameless, so that its name is forgotten later.
    pub(crate) fn forget_later(&mut self, id: ToolId) {
        self.nameless.push_back((self.rounds, id));
    }

    /// Forgets the names of tools that are gone, if their last events were delivered long ago or no
    /// event can be on its way.
    pub(crate) fn forget_old(&mut self) {
        while let Some(&(round, id)) = self.nameless.front()
            && (self.rounds >= round + KEPT_ROUNDS || self.nameless.len() > self.max_in_rings())
        {
            Arc::make_mut(&mut self.table).remove(id);
            self.nameless.pop_front();
        }
    }
}
