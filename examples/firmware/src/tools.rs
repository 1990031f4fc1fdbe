//! The three tools of the device, and the counts and events of their calls.

use toolmeter_core::{
    ErrorKind, EventFacts, EventRing, Finish, Layout, Outcome, OutcomeClass, Slot, Word,
};

pub const LAYOUT: Layout = match Layout::new(1, 20, 1) {
    Ok(layout) => layout,
    Err(_) => panic!("the layout is out of range"),
};
/// The words of one tool.
type SlotWords = [Word; LAYOUT.words()];

pub const NAMES: [&str; 3] = ["read_sensor", "set_valve", "blink"];
pub const SENSOR: usize = 0;
pub const VALVE: usize = 1;
pub const BLINK: usize = 2;

static WORDS: [SlotWords; NAMES.len()] =
    [const { [const { Word::new(0) }; LAYOUT.words()] }; NAMES.len()];

const PLACES: usize = 64;
static EVENT_WORDS: [Word; EventRing::words(PLACES)] =
    [const { Word::new(0) }; EventRing::words(PLACES)];
/// The events of all calls, until the main loop drains them.
pub static EVENTS: EventRing<'static> = match EventRing::new(&EVENT_WORDS, PLACES) {
    Ok(ring) => ring,
    Err(_) => panic!("the ring is out of range"),
};

/// Returns the counters of a tool.
pub fn slot(tool: usize) -> Slot<'static> {
    match Slot::new(&WORDS[tool], LAYOUT) {
        Ok(slot) => slot,
        Err(_) => unreachable!("the words are as many as the layout asks for"),
    }
}

/// Meters the `n`th call of a tool, which began at [`started_ns`] and ended as [`end`] says.
pub fn call(tool: usize, n: u32) {
    let slot = slot(tool);
    slot.start(0, 1);
    EVENTS.offer(start_event(tool, n));
    let finish = end(tool, n);
    slot.finish(0, finish);
    EVENTS.offer(end_event(tool, n));
}

/// Returns the start of the `n`th call: one call begins every 1,024 ns.
pub fn started_ns(n: u32) -> u64 {
    u64::from(n) << 10
}

/// Returns the number of the call that began at this time.
pub fn number(started_ns: u64) -> u32 {
    (started_ns >> 10) as u32
}

/// Returns the end of the `n`th call of a tool: every fourth call fails.
pub fn end(tool: usize, n: u32) -> Finish {
    let outcome = if n % 4 == 3 {
        Outcome::Failure(ErrorKind::ToolError)
    } else {
        Outcome::Success
    };
    Finish::new(outcome, 1, started_ns(n), latency_ns(tool, n))
}

/// The shortest latency of all tools.
pub const LEAST_NS: u64 = 1_000;

/// Returns the latency of the `n`th call of a tool. All calls of the tool that is read while it is
/// called take equally long, so that a count determines the least sum.
fn latency_ns(tool: usize, n: u32) -> u64 {
    if tool == SENSOR {
        LEAST_NS
    } else {
        LEAST_NS + u64::from(n % 1_000)
    }
}

/// Returns the event of the start of a call.
pub fn start_event(tool: usize, n: u32) -> EventFacts {
    EventFacts::started(tool as u32, 1, started_ns(n))
}

/// Returns the event of the end of a call.
pub fn end_event(tool: usize, n: u32) -> EventFacts {
    EventFacts::closing(tool as u32, end(tool, n))
}

/// The counts and the sums of the first calls of a tool, by outcome.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub counts: [u64; OutcomeClass::COUNT],
    pub sums_ns: [u64; OutcomeClass::COUNT],
}

impl Sums {
    /// Adds the end of a call.
    pub fn add(&mut self, class: OutcomeClass, latency_ns: u64) {
        self.counts[class.index()] += 1;
        self.sums_ns[class.index()] += latency_ns;
    }

    /// Returns the counts and the sums of the first `calls` calls of the main loop, the interrupt
    /// or both.
    pub fn expected(tool: usize, calls: u32) -> Self {
        let mut sums = Self::default();
        for n in 0..calls {
            let finish = end(tool, n);
            // The sensor is called by the interrupt and by the main loop.
            for _ in 0..if tool == SENSOR { 2 } else { 1 } {
                if let Some(class) = finish.outcome.class() {
                    sums.add(class, finish.latency_ns);
                }
            }
        }
        sums
    }
}
