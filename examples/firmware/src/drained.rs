//! The events that the main loop drained: their counts and sums, and the comparison with what was
//! offered.

use crate::tools::{self, NAMES, Sums};
use toolmeter_core::{EventKind, OutcomeClass, RingAccounting, RingEvent};

/// The events drained so far.
#[derive(Clone, Copy)]
pub struct Drained {
    /// Their number.
    count: u64,
    /// The sum of the numbers that they carry.
    numbers: u64,
    starts: [u64; NAMES.len()],
    ends: [Sums; NAMES.len()],
    /// Events that are not as they were offered.
    broken: u32,
    /// Ends that came before their start. This can be checked only while no event is lost.
    early: u32,
}

impl Drained {
    pub const fn new() -> Self {
        const NO_SUMS: Sums = Sums {
            counts: [0; OutcomeClass::COUNT],
            sums_ns: [0; OutcomeClass::COUNT],
        };
        Self {
            count: 0,
            numbers: 0,
            starts: [0; NAMES.len()],
            ends: [NO_SUMS; NAMES.len()],
            broken: 0,
            early: 0,
        }
    }

    /// Adds an event, and checks that it is as it was offered.
    pub fn add(&mut self, event: RingEvent) {
        self.count += 1;
        self.numbers += event.number;
        let facts = event.facts;
        let tool = facts.tool as usize;
        if tool >= NAMES.len() {
            self.broken += 1;
            return;
        }
        let n = tools::number(facts.started_ns);
        let (offered, class) = match facts.kind {
            EventKind::Started => (tools::start_event(tool, n), None),
            EventKind::Failed => (tools::end_event(tool, n), Some(OutcomeClass::Failure)),
            _ => (tools::end_event(tool, n), Some(OutcomeClass::Success)),
        };
        self.broken += u32::from(facts != offered);
        match class {
            None => self.starts[tool] += 1,
            Some(class) => self.ends[tool].add(class, facts.latency_ns),
        }
        let ended: u64 = self.ends[tool].counts.iter().sum();
        self.early += u32::from(ended > self.starts[tool]);
    }

    /// Returns whether each event of the first `calls` rounds of calls was drained once.
    pub fn is_all_of(&self, calls: u32, accounting: RingAccounting) -> bool {
        // A round has four calls, with two events each: of the sensor by both, of the valve, and of
        // the light.
        let events = u64::from(calls) * 4 * 2;
        let per_tool = (0..NAMES.len()).all(|tool| {
            let expected = Sums::expected(tool, calls);
            self.ends[tool] == expected && self.starts[tool] == expected.counts.iter().sum()
        });
        per_tool
            && self.early == 0
            && accounting.lost == 0
            && self.count == events
            && self.numbers == events * (events - 1) / 2
            && self.is_sound(accounting)
    }

    /// Returns whether each offered event was drained unchanged or counted as lost.
    pub fn is_sound(&self, accounting: RingAccounting) -> bool {
        self.broken == 0
            && accounting.drained == self.count
            && accounting.offered == accounting.drained + accounting.lost
    }
}
