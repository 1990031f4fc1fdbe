//! Takes events out of all rings and puts them in order.
//!
//! # The promise, and why it holds
//!
//! For one call, `Started` is never delivered after its end, though the two may lie in the rings
//! of different stripes and be taken in different rounds. The rings fill while the drain goes
//! over them, so taking what is there would break it: read stripe 0 (empty), then a call starts
//! on stripe 0 and ends on stripe 1, then read stripe 1 (its end). A round therefore does this:
//!
//! 1. read the clock: `T`;
//! 2. read the length of every ring: `A`;
//! 3. read the length of every ring again: `B`, and take exactly the first `B` events of each;
//! 4. deliver an event if its time is at most `T - hold_back` **and** it is a `Started` or was
//!    among the first `A` of its ring. Hold the others; in the next round they count as being
//!    within `A`.
//!
//! > Let an end be delivered in a round. If it was taken in this round, it was within `A`: it
//! > was in its ring before step 3 began. If it was held, it was taken in an earlier round,
//! > which is earlier still. The call's `Started` was put into its ring before the end was (the
//! > call happened in that order, whichever threads it crossed), so step 3 sees it: it is taken
//! > in this round at the latest. It needs no `A`. Its time is start, the end's is start plus
//! > latency, so it passes the hold-back whenever its end does. So it is delivered in this round
//! > or was in an earlier one; within a round the order is by time, call, `Started` first.
//!
//! No clock appears in the argument but as the number that a call carries: it holds whatever the
//! clock did. (A `Started` that was lost is never delivered, so not after its end either.)
//!
//! The hold-back serves another aim: that batches follow each other in time. A producer reads its
//! clock some time before its event is in the ring, and a time stamp counter is not ordered with
//! memory. What comes later still, because its producer was preempted in between, is delivered
//! and counted as late.
//!
//! # Orderings
//!
//! None of its own: it takes and counts through `ring.rs`, and step 3 relies on the channel's
//! length as `channel.rs` says. Models: `a_start_never_comes_after_its_end`,
//! `a_start_never_comes_after_its_end_whatever_the_clock_says`, `closing_loses_nothing_uncounted`.

use crate::{
    event::{Event, EventKind},
    id::ToolId,
    ring::Rings,
};
use toolmeter_core::sync::{Arc, thread};

/// Held events beyond this many do not keep their memory once they are gone.
const KEPT_CAPACITY: usize = 1_024;

/// The events of one round, in order.
#[derive(Debug, Default)]
pub struct Round {
    /// Sorted by time, call, `Started` first.
    pub events: Vec<Event>,
    /// How many of them are older than the newest event of the rounds before. They are the first
    /// ones.
    pub late: usize,
}

/// The one consumer of some [`Rings`].
///
/// There must be one at a time; another would take events that the first then misses. Nothing
/// else breaks by it.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use toolmeter_core::Outcome;
/// use toolmeter_events::{Drain, Draft, EventKind, Rings, ToolId};
///
/// let rings = Arc::new(Rings::new(2, 64)?);
/// rings.open();
/// let tool = ToolId::new(0);
/// let call = rings.offer(1, Draft::started(tool, 1, 100, None), None);
/// rings.offer(0, Draft::closing(tool, 1, 100, 50, Outcome::Success, None, None), Some(call));
///
/// let mut drain = Drain::new(&rings, 0);
/// let kinds: Vec<_> = drain.round(|| 200).events.iter().map(|event| event.kind()).collect();
/// assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
/// # Ok::<(), toolmeter_events::RingsError>(())
/// ```
#[derive(Debug)]
pub struct Drain {
    rings: Arc<Rings>,
    hold_back_ns: u64,
    /// Taken, not delivered yet.
    held: Vec<Event>,
    /// The time of the newest event delivered.
    newest_ns: u64,
    finished: bool,
    /// Lengths of the rings, first and second reading; kept to keep their memory.
    first: Vec<usize>,
    second: Vec<usize>,
}

impl Drain {
    /// A drain that delivers an event once it is `hold_back_ns` old: 0 for a manual clock.
    #[must_use]
    pub fn new(rings: &Arc<Rings>, hold_back_ns: u64) -> Self {
        Self {
            rings: Arc::clone(rings),
            hold_back_ns,
            held: Vec::new(),
            newest_ns: 0,
            finished: false,
            first: Vec::new(),
            second: Vec::new(),
        }
    }

    /// Takes what is in the rings, and delivers what is old enough.
    ///
    /// `now` reads the registry's clock, in nanoseconds. Offers go on meanwhile and wait for
    /// nothing here. A producer preempted half way into its ring makes the round wait for it.
    pub fn round(&mut self, now: impl FnOnce() -> u64) -> Round {
        self.round_with_hook(now, || {})
    }

    /// As [`round`](Self::round); `hook` runs for each stripe that gave events, between taking
    /// them and counting them. For tests of a drain that stops there.
    #[doc(hidden)]
    pub fn round_with_hook(&mut self, now: impl FnOnce() -> u64, hook: impl FnMut()) -> Round {
        self.round_with_hooks(now, || {}, hook)
    }

    /// A round, with what a test does between the two readings of the lengths, and between
    /// taking and counting.
    #[inline]
    fn round_with_hooks(
        &mut self,
        now: impl FnOnce() -> u64,
        between: impl FnOnce(),
        mut taken_uncounted: impl FnMut(),
    ) -> Round {
        if self.finished {
            return Round::default();
        }
        let newest_to_deliver = now().checked_sub(self.hold_back_ns);
        let old_enough = |event: &Event| newest_to_deliver.is_some_and(|t| event.time_ns() <= t);

        self.rings.lengths(&mut self.first);
        between();
        self.rings.lengths(&mut self.second);
        let most = self.second.iter().sum::<usize>() + self.held.len();
        let mut events = Vec::with_capacity(most);
        events.extend(self.held.extract_if(.., |event| old_enough(event)));
        for stripe in 0..self.second.len() {
            let (first, second) = (self.first[stripe], self.second[stripe]);
            let mut taken = 0;
            while taken < second
                && let Some(event) = self.rings.take(stripe)
            {
                let in_order = taken < first || event.kind() == EventKind::Started;
                if in_order && old_enough(&event) {
                    events.push(event);
                } else {
                    self.held.push(event);
                }
                taken += 1;
            }
            if taken > 0 {
                taken_uncounted();
                self.rings.count_drained(stripe, taken as u64);
            }
        }
        if self.held.len() <= KEPT_CAPACITY {
            self.held.shrink_to(KEPT_CAPACITY);
        }
        self.in_order(events)
    }

    /// How many events were taken and wait for a later round.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether an event of this tool was taken and waits for a later round.
    #[must_use]
    pub fn holds(&self, tool: ToolId) -> bool {
        self.held.iter().any(|event| event.tool() == tool)
    }

    /// The pump is about to sleep: marks it asleep, unless an event is under way or held.
    ///
    /// True: every event so far is drained and delivered, or lost, and the first offer from now on
    /// calls the [waker](Rings::set_waker). Sleep, then call [`Rings::stay_awake`]. False: there
    /// is work for another round first.
    #[must_use]
    pub fn fall_asleep(&self) -> bool {
        self.held.is_empty() && self.rings.fall_asleep()
    }

    /// The last round: closes the rings and delivers all that was admitted.
    ///
    /// Offers that were admitted may still be on their way into a ring. They are awaited,
    /// yielding, until `expired` says true, which is asked once after each pass; what is not in
    /// by then is counted as lost. Every later round is empty.
    pub fn finish(&mut self, mut expired: impl FnMut() -> bool) -> Round {
        if self.finished {
            return Round::default();
        }
        self.rings.close();
        let mut events = std::mem::take(&mut self.held);
        loop {
            self.rings.lengths(&mut self.second);
            for stripe in 0..self.second.len() {
                let before = events.len();
                let waiting = self.second[stripe];
                events.extend((0..waiting).map_while(|_| self.rings.take(stripe)));
                if events.len() > before {
                    self.rings
                        .count_drained(stripe, (events.len() - before) as u64);
                }
            }
            if self.rings.is_settled() || expired() {
                break;
            }
            thread::yield_now();
        }
        self.rings.seal();
        self.finished = true;
        self.in_order(events)
    }

    /// Sorts, and counts the late.
    fn in_order(&mut self, mut events: Vec<Event>) -> Round {
        // Each ring gives its events nearly in order, which the stable sort makes use of.
        events.sort_by_key(|event| {
            let end = event.kind() != EventKind::Started;
            (event.time_ns(), event.call(), end, event.number())
        });
        let late = events.partition_point(|event| event.time_ns() < self.newest_ns);
        if let Some(newest) = events.last() {
            self.newest_ns = self.newest_ns.max(newest.time_ns());
        }
        Round { events, late }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use crate::{event::Draft, id::CallId};
    use toolmeter_core::Outcome;

    const TOOL: ToolId = ToolId::new(3);

    fn drain(stripes: usize, hold_back_ns: u64) -> (Arc<Rings>, Drain) {
        let rings = Arc::new(Rings::new(stripes, 8).unwrap());
        rings.open();
        let drain = Drain::new(&rings, hold_back_ns);
        (rings, drain)
    }

    fn start(rings: &Rings, stripe: usize, at_ns: u64) -> CallId {
        rings.offer(stripe, Draft::started(TOOL, 1, at_ns, None), None)
    }

    fn end(rings: &Rings, stripe: usize, began_ns: u64, latency_ns: u64, call: CallId) {
        let draft = Draft::closing(TOOL, 1, began_ns, latency_ns, Outcome::Success, None, None);
        rings.offer(stripe, draft, Some(call));
    }

    fn times(round: &Round) -> Vec<u64> {
        round.events.iter().map(Event::time_ns).collect()
    }

    #[test]
    fn stripes_merge_by_time() {
        let (rings, mut drain) = drain(2, 0);
        start(&rings, 1, 30);
        start(&rings, 0, 20);
        start(&rings, 1, 40);
        start(&rings, 0, 10);
        let round = drain.round(|| 100);
        assert_eq!((times(&round), round.late), (vec![10, 20, 30, 40], 0));
        assert_eq!(rings.accounting().drained, 4);
        assert!(drain.round(|| 100).events.is_empty());
    }

    #[test]
    fn at_the_same_time_a_start_comes_before_its_end() {
        let (rings, mut drain) = drain(2, 0);
        let call = start(&rings, 1, 10);
        end(&rings, 0, 10, 0, call);
        let round = drain.round(|| 10);
        assert_eq!(round.events[0].kind(), EventKind::Started);
        assert_eq!(round.events[1].kind(), EventKind::Succeeded);
    }

    #[test]
    fn the_young_are_held_and_told() {
        let (rings, mut drain) = drain(1, 50);
        assert!(
            drain.round(|| 10).events.is_empty(),
            "the clock is younger than the hold-back"
        );
        start(&rings, 0, 100);
        start(&rings, 0, 151);
        assert_eq!(times(&drain.round(|| 200)), [100]);
        assert_eq!(
            (drain.held(), drain.holds(TOOL), drain.holds(ToolId::new(9))),
            (1, true, false)
        );
        assert_eq!(
            rings.accounting().drained,
            2,
            "held events no longer take places"
        );
        assert_eq!(times(&drain.round(|| 201)), [151]);
        assert_eq!((drain.held(), drain.holds(TOOL)), (0, false));
    }

    #[test]
    fn an_end_that_came_between_the_two_readings_waits_for_its_start() {
        let (rings, mut drain) = drain(2, 0);
        let call_between = || {
            let call = start(&rings, 0, 5);
            end(&rings, 1, 5, 5, call);
        };
        let first = drain.round_with_hooks(|| 100, call_between, || {});
        assert_eq!(first.events[0].kind(), EventKind::Started);
        assert_eq!((first.events.len(), drain.held()), (1, 1));
        let second = drain.round(|| 100);
        assert_eq!(second.events[0].kind(), EventKind::Succeeded);
        assert_eq!((second.events.len(), second.late, drain.held()), (1, 0, 0));
    }

    #[test]
    fn it_does_not_fall_asleep_over_what_it_holds() {
        let (rings, mut drain) = drain(1, 50);
        assert!(drain.fall_asleep());
        rings.stay_awake();
        start(&rings, 0, 100);
        assert!(!drain.fall_asleep(), "an event is in the ring");
        assert!(drain.round(|| 120).events.is_empty());
        assert!(!drain.fall_asleep(), "an event is held");
        assert_eq!(drain.round(|| 150).events.len(), 1);
        assert!(drain.fall_asleep());
    }

    #[test]
    fn late_events_are_delivered_and_counted() {
        let (rings, mut drain) = drain(1, 0);
        start(&rings, 0, 100);
        drain.round(|| 100);
        start(&rings, 0, 90);
        start(&rings, 0, 100);
        start(&rings, 0, 110);
        let round = drain.round(|| 200);
        assert_eq!((times(&round), round.late), (vec![90, 100, 110], 1));
    }

    #[test]
    fn the_hook_runs_between_taking_and_counting() {
        let (rings, mut drain) = drain(2, 0);
        start(&rings, 0, 1);
        let mut seen = Vec::new();
        drain.round_with_hook(
            || 10,
            || seen.push((rings.waiting(), rings.accounting().drained)),
        );
        assert_eq!(seen, [(0, 0)]);
    }

    #[test]
    fn the_last_round_delivers_all_and_then_nothing() {
        let (rings, mut drain) = drain(2, 50);
        start(&rings, 0, 1_000);
        start(&rings, 1, 900);
        assert!(drain.round(|| 10).events.is_empty());
        start(&rings, 1, 950);
        let round = drain.finish(|| panic!("nothing is on its way"));
        assert_eq!(times(&round), [900, 950, 1_000]);
        start(&rings, 1, 960);
        assert!(drain.round(|| 10_000).events.is_empty());
        assert!(drain.finish(|| true).events.is_empty());
        let accounting = rings.accounting();
        assert_eq!(
            (accounting.offered, accounting.lost, accounting.drained),
            (4, 1, 3)
        );
    }

    #[test]
    fn a_burst_of_held_events_does_not_keep_its_memory() {
        let rings = Arc::new(Rings::new(1, 1 << 14).unwrap());
        rings.open();
        let mut drain = Drain::new(&rings, 0);
        for _ in 0..1 << 14 {
            start(&rings, 0, 100);
        }
        assert!(drain.round(|| 1).events.is_empty());
        assert_eq!(drain.round(|| 100).events.len(), 1 << 14);
        assert!(drain.held.capacity() <= KEPT_CAPACITY);
    }

    #[test]
    fn what_comes_after_the_second_reading_waits_for_the_next_round() {
        let (rings, mut drain) = drain(2, 0);
        start(&rings, 0, 1);
        start(&rings, 1, 2);
        let first = drain.round_with_hook(
            || 10,
            || {
                start(&rings, 1, 3);
            },
        );
        assert_eq!((times(&first), rings.waiting()), (vec![1, 2], 2));
        assert_eq!(times(&drain.round(|| 10)), [3, 3]);
    }
}
