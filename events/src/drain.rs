//! The drain, which takes events out of all rings and puts them in order.
//!
//! # Invariant: no end is delivered before its start
//!
//! For one call, `Started` is never delivered after its end, although the two may lie in the rings
//! of different stripes and be taken in different rounds. The rings fill while the drain visits
//! them, so simply taking what is there would break this: the drain reads stripe 0, which is empty;
//! a call starts on stripe 0 and ends on stripe 1; the drain reads stripe 1 and finds the end.
//! Therefore a round does the following:
//!
//! 1. Read the clock: `T`.
//! 2. Read how many positions each ring gave: `A`.
//! 3. Read how many positions each ring gave again: `B`. Take what is complete below `B`.
//! 4. An event is *eligible* if it was taken in an earlier round, is a `Started`, or has a position
//!    below the `A` of its ring. The others are held, and are eligible in the next round.
//! 5. An eligible event is delivered if its time is at most `T - hold_back`. The others are held,
//!    unless the round releases (see below): then every eligible event is delivered.
//!
//! Proof. Let an end be delivered in a round. Then it is eligible. If it was taken in this round,
//! its position is below `A`, so it was given before step 3 began. If it was held, it was taken in
//! an earlier round, which is earlier still. The call's `Started` was complete in its ring before
//! the end got its position, since the call happened in that order, on whichever threads. So step 3
//! sees the start: it is taken in this round at the latest, and it is eligible. If the round
//! releases, the start is delivered in this round or was delivered before. If not, the end's time
//! is at most `T - hold_back`, and the start's time is not above it, since an end's time is its
//! start plus its latency. So the start is delivered in this round or was delivered before. Within
//! a round, events are ordered by time, then by call, `Started` first.
//!
//! An event that its producer is still putting in is skipped, and taken in a later round: no round
//! waits for a producer. A complete event is skipped too if a producer that found no room holds the
//! lock of its place at that moment (`ring/place.rs`). It may be the start of a call, so such a
//! round delivers no end.
//!
//! The proof uses no clock, only the times that a call carries, so it holds whatever the clock did.
//! (A `Started` that was lost is never delivered, so it is not delivered after its end either.)
//!
//! # The hold-back, and clocks that err
//!
//! The hold-back serves another purpose: it keeps batches in order of time. A producer reads
//! its clock some time before its event is in the ring, and a time stamp counter is not ordered
//! with memory. An event that comes even later, because its producer was preempted in between, is
//! delivered and counted as late.
//!
//! The hold-back must hold nothing for long, whatever the clock says. So a round *releases* if an
//! eligible event
//!
//! - has a time after `T + hold_back`: the clock stepped backwards, and waiting until it has caught
//!   up may take as long as the step was wide; or
//! - was held in [`MAX_ROUNDS`] rounds: the clock stands still, or began below the hold-back.
//!
//! A round releases every eligible event, not only that one: an end may have a time after that
//! limit while its start does not. (The limit is not `T` itself, since calls go on during the round:
//! an event that is offered between steps 1 and 3 has a time after `T` even if the clock is right.
//! Such an event is held for a later round.)
//!
//! So once nothing more is offered, nothing is held after `MAX_ROUNDS + 1` further rounds, and the
//! pump can fall asleep.
//!
//! # Orderings
//!
//! None of its own: the drain takes and counts through `ring.rs`. Models:
//! `a_start_never_comes_after_its_end`,
//! `a_start_never_comes_after_its_end_whatever_the_clock_says`, `closing_loses_nothing_uncounted`.

mod round;

pub use self::round::Round;

use crate::{
    event::Event,
    id::ToolId,
    ring::Rings,
    sync::{Arc, thread},
};
use toolmeter_core::EventKind;

/// The capacity for held events that is kept when fewer are held.
const KEPT_CAPACITY: usize = 1_024;
/// The number of rounds in which the hold-back may hold an event.
const MAX_ROUNDS: u32 = 64;

/// The consumer of some [`Rings`], which takes their events out in rounds, in order.
///
/// Use one at a time: a second one takes events that the first then misses.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use toolmeter_core::{Finish, Outcome};
/// use toolmeter_events::{Drain, Draft, EventKind, Rings, ToolId};
///
/// let rings = Arc::new(Rings::new(2, 64)?);
/// rings.allocate();
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
    /// The events that were taken and not delivered yet.
    held: Vec<HeldEvent>,
    /// The time of the newest event delivered.
    newest_ns: u64,
    finished: bool,
    /// For each stripe, the position below which no event is in the ring any more.
    taken: Vec<u64>,
    /// The positions given, at the first and at the second reading. Fields, to keep their memory.
    first: Vec<u64>,
    second: Vec<u64>,
}

/// An event that was taken and not delivered yet.
#[derive(Debug)]
struct HeldEvent {
    event: Event,
    /// The number of rounds, after the one that took it, in which the hold-back held it.
    rounds: u32,
}

impl From<Event> for HeldEvent {
    fn from(event: Event) -> Self {
        Self { event, rounds: 0 }
    }
}

impl Drain {
    /// Creates a drain that delivers an event once it is `hold_back_ns` nanoseconds old. Use 0 with
    /// a manual clock.
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

    /// Takes the events out of the rings, and returns those that are old enough.
    ///
    /// `now` reads the registry's clock, in nanoseconds. An event that is younger than the
    /// hold-back by that clock is held for a later round, but for no more than 64 rounds, and not
    /// if the clock stepped backwards by more than the hold-back. Other threads may offer events
    /// meanwhile. They do not wait for the round, and the round does not wait for them: an event
    /// that is not yet complete in its ring comes in a later round.
    pub fn round(&mut self, now: impl FnOnce() -> u64) -> Round {
        self.round_with_hook(now, || {})
    }

    /// Does the same as [`round`](Self::round), and calls `hook` for each stripe that gave events,
    /// between taking them and counting them. For tests of a drain that stops there.
    #[doc(hidden)]
    pub fn round_with_hook(&mut self, now: impl FnOnce() -> u64, hook: impl FnMut()) -> Round {
        self.round_with_hooks(now, || {}, hook)
    }

    /// Does a round, calling `between` between the two readings of the positions, and
    /// `taken_uncounted` between taking the events of a stripe and counting them.
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
        let mut release = false;

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
            release |= !old && (held.rounds >= MAX_ROUNDS || is_ahead(&held.event));
            old
        });
        events.extend(old.map(|held| held.event));
        // Ends with a position at or above the first reading.
        let mut ineligible = Vec::new();
        let mut any_locked = false;
        for stripe in 0..self.second.len() {
            let first = self.first[stripe];
            let mut taken = 0;
            let positions = self.taken[stripe]..self.second[stripe];
            let skipped = self.rings.take(stripe, positions, |position, event| {
                taken += 1;
                if position >= first && event.kind() != EventKind::Started {
                    ineligible.push(HeldEvent::from(event));
                } else if is_old(&event) {
                    events.push(event);
                } else {
                    release |= is_ahead(&event);
                    self.held.push(HeldEvent::from(event));
                }
            });
            any_locked |= skipped.any_locked;
            if taken > 0 {
                taken_uncounted();
                self.rings.count_drained(stripe, taken);
            }
            self.taken[stripe] = self.rings.settled(stripe).unwrap_or(skipped.first);
        }
        if release {
            events.extend(self.held.drain(..).map(|held| held.event));
        }
        if any_locked {
            let ends = events.extract_if(.., |event| event.kind() != EventKind::Started);
            ineligible.extend(ends.map(HeldEvent::from));
        }
        self.held.append(&mut ineligible);
        if self.held.len() <= KEPT_CAPACITY {
            self.held.shrink_to(KEPT_CAPACITY);
        }
        self.in_order(events)
    }

    /// Returns the number of events that were taken and are held for a later round.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns whether an event of this tool was taken and is held for a later round.
    #[must_use]
    pub fn holds(&self, tool: ToolId) -> bool {
        self.held.iter().any(|held| held.event.tool() == tool)
    }

    /// Marks the pump asleep, unless an event is under way or held. Returns whether it did.
    ///
    /// If `true`, every event so far is delivered or lost, and the next event that enters a ring
    /// calls the [waker](Rings::set_waker): sleep, then call [`Rings::stay_awake`]. If `false`, do
    /// another round first.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use toolmeter_events::{Drain, Draft, Rings, ToolId};
    ///
    /// let rings = Arc::new(Rings::new(1, 64)?);
    /// rings.allocate();
    /// let pump = std::thread::current();
    /// rings.set_waker(move || pump.unpark());
    /// let mut drain = Drain::new(&rings, 0);
    ///
    /// assert!(drain.fall_asleep());
    /// rings.offer(0, Draft::started(ToolId::new(0), 1, 500, None), None);
    /// std::thread::park(); // the offer unparked it
    /// rings.stay_awake();
    /// assert!(!drain.fall_asleep());
    /// assert_eq!(drain.round(|| 1_000).events.len(), 1);
    /// # Ok::<(), toolmeter_events::RingsError>(())
    /// ```
    #[must_use]
    pub fn fall_asleep(&self) -> bool {
        self.held.is_empty() && self.rings.fall_asleep()
    }

    /// Closes the rings, does the last round and returns the remaining events.
    ///
    /// Events that were admitted may still be on their way into a ring. The drain passes over the
    /// rings, yielding in between, until none is. It calls `expired` after each pass that leaves
    /// one, and stops once that returns `true`. Events that are not in by then are counted as lost.
    /// No pass waits. Every later round is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use toolmeter_events::{Drain, Draft, Rings, ToolId};
    ///
    /// let rings = Arc::new(Rings::new(1, 64)?);
    /// rings.allocate();
    /// let started = || Draft::started(ToolId::new(0), 1, 500, None);
    /// rings.offer(0, started(), None);
    ///
    /// let mut drain = Drain::new(&rings, 0);
    /// assert_eq!(drain.finish(|| false).events.len(), 1);
    /// rings.offer(0, started(), None);
    /// let accounting = rings.accounting();
    /// assert_eq!((accounting.offered, accounting.drained, accounting.lost), (2, 1, 1));
    /// # Ok::<(), toolmeter_events::RingsError>(())
    /// ```
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
                let skipped = self
                    .rings
                    .take(stripe, positions, |_, event| events.push(event));
                self.taken[stripe] = skipped.first;
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

    /// Sorts the events, and counts the late ones.
    fn in_order(&mut self, mut events: Vec<Event>) -> Round {
        // Each ring gives its events nearly in order, which a stable sort exploits.
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
mod tests;
