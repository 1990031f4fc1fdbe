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
//! 2. read how many positions every ring gave: `A`;
//! 3. read how many positions every ring gave again: `B`, and take what is complete below `B`;
//! 4. an event **may go** if it was taken in an earlier round, is a `Started`, or has a position
//!    below the `A` of its ring. The others are held; in the next round they may go;
//! 5. an event that may go is delivered if its time is at most `T - hold_back`. The others are
//!    held, unless the round lets go (see below): then all that may go is delivered.
//!
//! > Let an end be delivered in a round: it may go. If it was taken in this round, its position is
//! > below `A`: it was given before step 3 began. If it was held, it was taken in an earlier round,
//! > which is earlier still. The call's `Started` was complete in its ring before the end got its
//! > position (the call happened in that order, whichever threads it crossed), so step 3 sees it: it
//! > is taken in this round at the latest, and it may go. If the round lets go, it is delivered in
//! > this round, unless it was before. If not, the end's time is at most `T - hold_back`. The
//! > start's time is not above it, since the end's is the start plus the latency. So the start is
//! > delivered in this round, unless it was before. Within a round the order is by time, call,
//! > `Started` first.
//!
//! An event that its producer is still putting in is passed over, and taken in a later round: no
//! round waits for a producer. An event that is complete can be passed over, too, where a producer
//! that found no room looks into its place at that moment (`place.rs`). It may be the start of a
//! call; so in such a round no end may go.
//!
//! No clock appears in the argument but as the number that a call carries: it holds whatever the
//! clock did. (A `Started` that was lost is never delivered, so not after its end either.)
//!
//! # The hold-back, and clocks that err
//!
//! The hold-back serves another aim: that batches follow each other in time. A producer reads its
//! clock some time before its event is in the ring, and a time stamp counter is not ordered with
//! memory. What comes later still, because its producer was preempted in between, is delivered
//! and counted as late.
//!
//! It must hold nothing for long, whatever the clock says. So a round lets go if an event that may
//! go
//!
//! - is timed after `T + hold_back`: the clock stepped backwards, and to wait until it is there
//!   again may take as long as the step was wide; or
//! - was held in [`MOST_ROUNDS`] rounds: the clock stands still, or began below the hold-back.
//!
//! It lets go of everything that may go, not of that event alone: an end may be timed after
//! `T + hold_back` while its start is not. (The first limit is not `T` itself, since calls go on
//! while the round looks: what is offered between steps 1 and 3 is timed after `T` by a clock
//! that is right. Such an event is held until the next rounds.)
//!
//! So once nothing is offered any more, nothing is held after [`MOST_ROUNDS`] rounds more, and the
//! pump can fall asleep.
//!
//! # Orderings
//!
//! None of its own: it takes and counts through `ring.rs`. Models: `a_start_never_comes_after_its_end`,
//! `a_start_never_comes_after_its_end_whatever_the_clock_says`, `closing_loses_nothing_uncounted`.

use crate::{
    event::Event,
    id::ToolId,
    ring::Rings,
    sync::{Arc, thread},
};
use toolmeter_core::EventKind;

/// Held events beyond this many do not keep their memory once they are gone.
const KEPT_CAPACITY: usize = 1_024;
/// For how many rounds the hold-back may hold an event.
const MOST_ROUNDS: u32 = 64;

/// The events of one round, in order.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use toolmeter_events::{Drain, Draft, Rings, ToolId};
///
/// let rings = Arc::new(Rings::new(1, 64)?);
/// rings.open();
/// let mut drain = Drain::new(&rings, 0);
/// for time_ns in [200, 100] {
///     rings.offer(0, Draft::started(ToolId::new(0), 1, time_ns, None), None);
/// }
/// let round = drain.round(|| 1_000);
/// let times: Vec<_> = round.events.iter().map(|event| event.time_ns()).collect();
/// assert_eq!((times, round.late), (vec![100, 200], 0));
/// # Ok::<(), toolmeter_events::RingsError>(())
/// ```
#[derive(Debug, Default)]
pub struct Round {
    /// Sorted by time, call, `Started` first.
    pub events: Vec<Event>,
    /// How many of them are older than the newest event of the rounds before. They are the first
    /// ones. After a clock stepped backwards that is every event, until the clock is there again.
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
/// use toolmeter_core::{Finish, Outcome};
/// use toolmeter_events::{Drain, Draft, EventKind, Rings, ToolId};
///
/// let rings = Arc::new(Rings::new(2, 64)?);
/// rings.open();
/// let tool = ToolId::new(0);
/// let call = rings.offer(1, Draft::started(tool, 1, 100, None), None);
/// let finish = Finish::new(Outcome::Success, 1, 100, 50);
/// rings.offer(0, Draft::closing(tool, finish, None, None), Some(call));
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
    held: Vec<Held>,
    /// The time of the newest event delivered.
    newest_ns: u64,
    finished: bool,
    /// For each stripe, the position below which no event is in the ring any more.
    taken: Vec<u64>,
    /// Positions given, first and second reading; kept to keep their memory.
    first: Vec<u64>,
    second: Vec<u64>,
}

/// An event that was taken and not delivered.
#[derive(Debug)]
struct Held {
    event: Event,
    /// In how many rounds since the one that took it it could have been delivered.
    rounds: u32,
}

impl From<Event> for Held {
    fn from(event: Event) -> Self {
        Self { event, rounds: 0 }
    }
}

impl Drain {
    /// Makes a drain that delivers an event once it is `hold_back_ns` old: 0 for a manual clock.
    #[must_use]
    pub fn new(rings: &Arc<Rings>, hold_back_ns: u64) -> Self {
        Self {
            rings: Arc::clone(rings),
            hold_back_ns,
            held: Vec::new(),
            newest_ns: 0,
            finished: false,
            taken: vec![0; rings.stripes()],
            first: Vec::new(),
            second: Vec::new(),
        }
    }

    /// Takes what is in the rings, and delivers what is old enough.
    ///
    /// `now` reads the registry's clock, in nanoseconds. What is younger than the hold-back by that
    /// clock is held for a later round, but for no more than 64 rounds, and not if the clock stepped
    /// backwards by more than the hold-back. Offers go on meanwhile and wait for nothing here, and a
    /// round waits for no offer: an event that is half way into its ring comes in a later round.
    pub fn round(&mut self, now: impl FnOnce() -> u64) -> Round {
        self.round_with_hook(now, || {})
    }

    /// As [`round`](Self::round); `hook` runs for each stripe that gave events, between taking
    /// them and counting them. For tests of a drain that stops there.
    #[doc(hidden)]
    pub fn round_with_hook(&mut self, now: impl FnOnce() -> u64, hook: impl FnMut()) -> Round {
        self.round_with_hooks(now, || {}, hook)
    }

    /// A round, with what a test does between the two readings of the positions, and between
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
        let now_ns = now();
        let newest_old = now_ns.checked_sub(self.hold_back_ns);
        let newest_credible = now_ns.saturating_add(self.hold_back_ns);
        let is_old = |event: &Event| newest_old.is_some_and(|t| event.time_ns() <= t);
        let is_ahead = |event: &Event| event.time_ns() > newest_credible;
        let mut let_go = false;

        self.rings.entered(&mut self.first);
        between();
        self.rings.entered(&mut self.second);
        let most = self.rings.capacity() as u64;
        let new = self.second.iter().zip(&self.taken);
        let new: u64 = new.map(|(given, taken)| (given - taken).min(most)).sum();
        let most = new as usize + self.held.len();
        let mut events = Vec::with_capacity(most);
        let old = self.held.extract_if(.., |held| {
            let old = is_old(&held.event);
            held.rounds += 1;
            let_go |= !old && (held.rounds >= MOST_ROUNDS || is_ahead(&held.event));
            old
        });
        events.extend(old.map(|held| held.event));
        // Ends that were not below the first reading.
        let mut may_not_go = Vec::new();
        let mut is_hidden = false;
        for stripe in 0..self.second.len() {
            let first = self.first[stripe];
            let mut taken = 0;
            let positions = self.taken[stripe]..self.second[stripe];
            let passed = self.rings.take(stripe, positions, |position, event| {
                taken += 1;
                if position >= first && event.kind() != EventKind::Started {
                    may_not_go.push(Held::from(event));
                } else if is_old(&event) {
                    events.push(event);
                } else {
                    let_go |= is_ahead(&event);
                    self.held.push(Held::from(event));
                }
            });
            is_hidden |= passed.is_hidden;
            if taken > 0 {
                taken_uncounted();
                self.rings.count_drained(stripe, taken);
            }
            self.taken[stripe] = self.rings.settled(stripe).unwrap_or(passed.none_at);
        }
        if let_go {
            events.extend(self.held.drain(..).map(|held| held.event));
        }
        if is_hidden {
            let ends = events.extract_if(.., |event| event.kind() != EventKind::Started);
            may_not_go.extend(ends.map(Held::from));
        }
        self.held.append(&mut may_not_go);
        if self.held.len() <= KEPT_CAPACITY {
            self.held.shrink_to(KEPT_CAPACITY);
        }
        self.in_order(events)
    }

    /// Returns how many events were taken and wait for a later round.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns whether an event of this tool was taken and waits for a later round.
    #[must_use]
    pub fn holds(&self, tool: ToolId) -> bool {
        self.held.iter().any(|held| held.event.tool() == tool)
    }

    /// Marks the pump asleep, which is about to sleep, unless an event is under way or held.
    ///
    /// True: every event so far is drained and delivered, or lost, and the first offer from now on
    /// calls the [waker](Rings::set_waker). Sleep, then call [`Rings::stay_awake`]. False: there
    /// is work for another round first.
    #[must_use]
    pub fn fall_asleep(&self) -> bool {
        self.held.is_empty() && self.rings.fall_asleep()
    }

    /// Closes the rings and delivers all that was admitted: the last round.
    ///
    /// Offers that were admitted may still be on their way into a ring. They are awaited,
    /// yielding, until `expired` says true, which is asked once after each pass; what is not in
    /// by then is counted as lost. No pass waits. Every later round is empty.
    pub fn finish(&mut self, mut expired: impl FnMut() -> bool) -> Round {
        if self.finished {
            return Round::default();
        }
        self.rings.close();
        let held = std::mem::take(&mut self.held);
        let mut events: Vec<_> = held.into_iter().map(|held| held.event).collect();
        loop {
            self.rings.entered(&mut self.second);
            for stripe in 0..self.second.len() {
                let before = events.len();
                let positions = self.taken[stripe]..self.second[stripe];
                let passed = self
                    .rings
                    .take(stripe, positions, |_, event| events.push(event));
                self.taken[stripe] = passed.none_at;
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
    use toolmeter_core::{Finish, Outcome};

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
        let finish = Finish::new(Outcome::Success, 1, began_ns, latency_ns);
        rings.offer(stripe, Draft::closing(TOOL, finish, None, None), Some(call));
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

    /// A producer that found no room looks into the place of a start, just as the drain comes to it.
    #[test]
    fn while_a_start_is_hidden_no_end_goes() {
        let (rings, mut drain) = drain(2, 0);
        let earlier = start(&rings, 1, 3);
        assert_eq!(times(&drain.round(|| 100)), [3]);
        let call = start(&rings, 0, 5);
        end(&rings, 1, 5, 5, call);
        end(&rings, 1, 3, 4, earlier);
        start(&rings, 1, 6);
        let looks = rings.look(0, 0);
        for _ in 0..2 * MOST_ROUNDS {
            let kinds: Vec<_> = drain.round(|| 100).events.iter().map(Event::kind).collect();
            assert!(
                kinds.iter().all(|kind| *kind == EventKind::Started),
                "{kinds:?}"
            );
        }
        assert!(!drain.fall_asleep());
        drop(looks);
        let round = drain.round(|| 100);
        assert_eq!(times(&round), [5, 7, 10]);
        assert!(drain.fall_asleep());
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
        start(&rings, 0, 980);
        start(&rings, 1, 900);
        assert!(drain.round(|| 940).events.is_empty());
        start(&rings, 1, 950);
        let round = drain.finish(|| panic!("nothing is on its way"));
        assert_eq!(times(&round), [900, 950, 980]);
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
    fn a_round_passes_over_what_is_half_put() {
        let (rings, mut drain) = drain(2, 0);
        start(&rings, 0, 10);
        let (held_up, go_on) = rings.half_put(0, Draft::started(TOOL, 1, 20, None));
        let call = start(&rings, 0, 30);
        end(&rings, 1, 30, 10, call);
        assert_eq!(times(&drain.round(|| 100)), [10, 30, 40]);
        assert!(drain.round(|| 100).events.is_empty());
        assert!(!drain.fall_asleep(), "an event is under way");
        // More than there are places, in several rounds.
        for _ in 0..5 {
            for _ in 0..4 {
                start(&rings, 0, 50);
            }
            drain.round(|| 100);
        }
        drop(held_up);
        assert!(go_on());
        let round = drain.round(|| 100);
        assert_eq!((times(&round), round.late), (vec![20], 1));
        assert!(drain.fall_asleep());
        let accounting = rings.accounting();
        assert_eq!(
            accounting.offered,
            accounting.lost + accounting.drained,
            "{accounting:?}"
        );
        // It had a place of eight: of the 20 later events two came to it.
        assert_eq!(accounting.lost, 2);
    }

    #[test]
    fn the_last_round_ends_over_what_is_half_put() {
        let (rings, mut drain) = drain(2, 0);
        let (held_up, go_on) = rings.half_put(0, Draft::started(TOOL, 1, 10, None));
        start(&rings, 0, 20);
        start(&rings, 1, 30);
        let mut passes = 0;
        let round = drain.finish(|| {
            passes += 1;
            passes == 3
        });
        assert_eq!((times(&round), passes), (vec![20, 30], 3));
        for _ in 0..2 {
            let accounting = rings.accounting();
            assert_eq!(
                (accounting.offered, accounting.lost, accounting.drained),
                (3, 1, 2)
            );
        }
        drop(held_up);
        assert!(go_on(), "it goes on, however late");
        assert!(drain.round(|| 100).events.is_empty());
        assert_eq!(rings.accounting().lost, 1);
    }

    #[test]
    fn the_last_round_waits_for_what_is_half_put_while_it_may() {
        let (rings, mut drain) = drain(1, 0);
        let (held_up, go_on) = rings.half_put(0, Draft::started(TOOL, 1, 10, None));
        let mut going_on = Some((held_up, go_on));
        let round = drain.finish(|| {
            if let Some((held_up, go_on)) = going_on.take() {
                drop(held_up);
                assert!(go_on());
            }
            false
        });
        assert_eq!((times(&round), rings.accounting().lost), (vec![10], 0));
    }

    #[test]
    fn a_burst_of_held_events_does_not_keep_its_memory() {
        let rings = Arc::new(Rings::new(1, 1 << 14).unwrap());
        rings.open();
        let mut drain = Drain::new(&rings, 1_000);
        for _ in 0..1 << 14 {
            start(&rings, 0, 100);
        }
        assert!(drain.round(|| 1).events.is_empty());
        assert_eq!(drain.round(|| 1_100).events.len(), 1 << 14);
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

    /// Rounds at these times, until one delivers something or there is no time more; what each
    /// delivered.
    fn delivered(drain: &mut Drain, times_ns: impl IntoIterator<Item = u64>) -> Vec<usize> {
        let round = |now_ns| drain.round(|| now_ns).events.len();
        times_ns.into_iter().map(round).collect()
    }

    #[test]
    fn a_clock_that_steps_backwards_holds_nothing() {
        const SECOND: u64 = 1_000_000_000;
        let rings = Arc::new(Rings::new(2, 256).unwrap());
        rings.open();
        let mut drain = Drain::new(&rings, 50_000);
        for time in 0..100 {
            let call = start(&rings, 0, 100 * SECOND + time);
            end(&rings, 1, 100 * SECOND + time, 1_000, call);
        }
        // Young by the clock as it was, in the future as it is.
        assert_eq!(delivered(&mut drain, [100 * SECOND]), [0]);
        assert_eq!(drain.held(), 200);
        let round = drain.round(|| SECOND);
        assert_eq!((round.events.len(), drain.held()), (200, 0));
        assert!(round.events.is_sorted_by_key(Event::time_ns));
        assert!(drain.fall_asleep());
        rings.stay_awake();
        // What comes by the new clock is late, and is held and delivered as ever.
        start(&rings, 0, SECOND);
        assert_eq!(delivered(&mut drain, [SECOND, SECOND + 50_000]), [0, 1]);
        let accounting = rings.accounting();
        assert_eq!((accounting.drained, accounting.lost), (201, 0));
        assert!(drain.fall_asleep());
    }

    #[test]
    fn an_end_in_the_future_does_not_overtake_its_start() {
        for end_first in [false, true] {
            let (rings, mut drain) = drain(2, 50);
            let stripes = if end_first { [1, 0] } else { [0, 1] };
            let call = start(&rings, stripes[0], 100);
            end(&rings, stripes[1], 100, 900, call);
            // By this clock the start is young and the end far ahead.
            let kinds: Vec<_> = drain.round(|| 120).events.iter().map(Event::kind).collect();
            assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
        }
    }

    #[test]
    fn an_end_that_may_not_go_yet_neither_goes_nor_lets_others_go() {
        let (rings, mut drain) = drain(2, 50);
        let call_between = || {
            let call = start(&rings, 0, 100);
            end(&rings, 1, 100, 900, call);
        };
        let first = drain.round_with_hooks(|| 120, call_between, || {});
        assert_eq!((first.events.len(), drain.held()), (0, 2));
        let kinds: Vec<_> = drain.round(|| 120).events.iter().map(Event::kind).collect();
        assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
    }

    #[test]
    fn what_is_offered_while_the_round_looks_is_held() {
        let (rings, mut drain) = drain(1, 50);
        start(&rings, 0, 90);
        start(&rings, 0, 101);
        start(&rings, 0, 150);
        assert_eq!(delivered(&mut drain, [100]), [0], "a right clock");
        start(&rings, 0, 151);
        assert_eq!(
            delivered(&mut drain, [100]),
            [4],
            "ahead by more than the hold-back"
        );
    }

    /// In the round that takes it and 63 more; then it goes.
    fn assert_held_for_64_rounds(drain: &mut Drain, times_ns: impl Fn(u64) -> u64) {
        let rounds = u64::from(MOST_ROUNDS);
        let mut expected = vec![0; MOST_ROUNDS as usize];
        expected.push(1);
        assert_eq!(delivered(drain, (0..=rounds).map(times_ns)), expected);
        assert!(drain.fall_asleep());
    }

    #[test]
    fn a_clock_that_stands_still_holds_nothing_for_ever() {
        let (rings, mut drain) = drain(1, 50);
        start(&rings, 0, 100);
        assert_held_for_64_rounds(&mut drain, |_| 100);
        rings.stay_awake();
        start(&rings, 0, 100);
        assert_held_for_64_rounds(&mut drain, |_| 100);
    }

    #[test]
    fn a_clock_that_begins_below_the_hold_back_holds_nothing_for_ever() {
        let (rings, mut drain) = drain(1, 1_000_000);
        start(&rings, 0, 0);
        assert_held_for_64_rounds(&mut drain, |round| round);
    }

    #[test]
    fn a_round_that_lets_go_lets_go_of_the_young_too() {
        let (rings, mut drain) = drain(1, 50);
        start(&rings, 0, 100);
        assert_eq!(delivered(&mut drain, [100; 64]), [0; 64]);
        let call = start(&rings, 0, 100);
        end(&rings, 0, 100, 20, call);
        let round = drain.round(|| 100);
        assert_eq!((times(&round), drain.held()), (vec![100, 100, 120], 0));
    }

    #[test]
    fn the_old_do_not_count_as_held() {
        // Each event is held for two rounds of a clock that goes on: none is ever let go early.
        let (rings, mut drain) = drain(1, 2);
        for now_ns in 10..200 {
            start(&rings, 0, now_ns);
            let round = drain.round(|| now_ns);
            assert!(times(&round).iter().all(|&time| time + 2 == now_ns));
            assert!(drain.held() <= 2);
        }
    }
}
