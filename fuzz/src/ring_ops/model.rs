//! The plain model of the rings and their drain: a queue for each stripe.
//!
//! A place is free once the drain has counted the event that was in it, which is after it took all
//! events of that stripe. A round of the model pauses between the two, so that events can be
//! offered there.

use std::collections::VecDeque;
use toolmeter_core::{ErrorKind, Outcome};
use toolmeter_events::{CallId, Event, EventKind, EventNumber};

/// The contents of an event. The fields that determine its place in the order come first. No two
/// events have the same number, so the fields after it decide nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    time_ns: u64,
    call: CallId,
    is_end: bool,
    number: EventNumber,
    kind: EventKind,
    error_kind: Option<ErrorKind>,
    attempt: u16,
    latency_ns: Option<u64>,
    has_message: bool,
}

/// An event that is offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    pub(super) attempt: u16,
    pub(super) started_ns: u64,
    /// For the end of a call: the call, unless it never began, its latency and its outcome.
    pub(super) end: Option<(Option<CallId>, u64, Outcome)>,
}

impl Told {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            time_ns: event.time_ns(),
            call: event.call(),
            is_end: event.kind() != EventKind::Started,
            number: event.number(),
            kind: event.kind(),
            error_kind: event.error_kind(),
            attempt: event.attempt(),
            latency_ns: event.latency_ns(),
            has_message: event.message().is_some(),
        }
    }
}

impl Offered {
    fn told(self, number: EventNumber) -> Told {
        let (time_ns, call, kind, error_kind) = match self.end {
            None => (
                self.started_ns,
                CallId::from(number),
                EventKind::Started,
                None,
            ),
            Some((call, latency_ns, outcome)) => {
                let kind = match outcome {
                    Outcome::Success => EventKind::Succeeded,
                    Outcome::Failure(_) => EventKind::Failed,
                    Outcome::Cancelled => EventKind::Cancelled,
                    Outcome::Rejected => EventKind::Rejected,
                };
                let time_ns = self.started_ns.saturating_add(latency_ns);
                let call = call.unwrap_or(CallId::from(number));
                (time_ns, call, kind, outcome.error_kind())
            }
        };
        Told {
            time_ns,
            call,
            is_end: self.end.is_some(),
            number,
            kind,
            error_kind,
            attempt: self.attempt,
            latency_ns: self
                .end
                .filter(|(_, _, outcome)| *outcome != Outcome::Rejected)
                .map(|(_, latency_ns, _)| latency_ns),
            // The host gives a message with each end, and only a success does not keep it.
            has_message: !matches!(kind, EventKind::Started | EventKind::Succeeded),
        }
    }
}

#[derive(Debug, Default)]
struct Stripe {
    waiting: VecDeque<Told>,
    offered: u64,
    lost: u64,
    drained: u64,
}

/// The number of rounds after which a held event is released, and all others with it, since the
/// clock runs backwards.
const MOST_ROUNDS: u32 = 64;

/// A round under way.
#[derive(Debug)]
struct RoundState {
    now_ns: u64,
    /// `true` once the clock has turned out to run backwards, so that nothing is held any longer.
    lets_go: bool,
    /// The number of events that each stripe had when the round began.
    lengths: Vec<usize>,
    next_stripe: usize,
    /// The stripe whose events are taken and not counted yet, and their number.
    uncounted: Option<(usize, usize)>,
    delivered: Vec<Told>,
}

/// Rings, drain and the mark of a sleeping pump.
#[derive(Debug)]
pub(super) struct Model {
    stripes: Vec<Stripe>,
    capacity: u64,
    hold_back_ns: u64,
    is_built: bool,
    is_closed: bool,
    is_finished: bool,
    /// The held events, and the number of rounds for which each has been held.
    held: Vec<(Told, u32)>,
    newest_ns: u64,
    round: Option<RoundState>,
    last_offered: CallId,
    is_asleep: bool,
    woken: u64,
}

impl Model {
    pub(super) fn new(stripes: usize, capacity: usize, hold_back_ns: u64) -> Self {
        Self {
            stripes: (0..stripes).map(|_| Stripe::default()).collect(),
            capacity: capacity as u64,
            hold_back_ns,
            is_built: false,
            is_closed: false,
            is_finished: false,
            held: Vec::new(),
            newest_ns: 0,
            round: None,
            last_offered: CallId::new(0, 0),
            is_asleep: false,
            woken: 0,
        }
    }

    pub(super) fn open(&mut self) {
        self.is_built = true;
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Takes the event if there is room for it, and returns whether there was.
    pub(super) fn offer(&mut self, stripe: u8, offered: Offered) -> bool {
        let index = usize::from(stripe) % self.stripes.len();
        let stripe = &mut self.stripes[index];
        let number = EventNumber::new(index as u8, stripe.offered);
        let told = offered.told(number);
        self.last_offered = told.call;
        let in_use = stripe.offered - stripe.drained - stripe.lost;
        let is_admitted = self.is_built && !self.is_closed && in_use < self.capacity;
        stripe.offered += 1;
        if is_admitted {
            stripe.waiting.push_back(told);
            self.wake();
        } else {
            stripe.lost += 1;
        }
        is_admitted
    }

    /// Returns the id of the call of the event offered last.
    pub(super) fn last_offered(&self) -> CallId {
        self.last_offered
    }

    pub(super) fn begin_round(&mut self, now_ns: u64) {
        let lengths = self.stripes.iter().map(|stripe| stripe.waiting.len());
        let mut round = RoundState {
            now_ns,
            lets_go: false,
            lengths: lengths.collect(),
            next_stripe: 0,
            uncounted: None,
            delivered: Vec::new(),
        };
        if !self.is_finished {
            for (told, rounds) in std::mem::take(&mut self.held) {
                self.deliver_or_hold(&mut round, told, rounds + 1);
            }
        }
        self.round = Some(round);
    }

    /// Takes the events of the next stripe that had any; their places are not free yet.
    pub(super) fn take_next(&mut self) {
        let mut round = self.round.take().unwrap();
        self.count(&mut round);
        while round.lengths[round.next_stripe] == 0 {
            round.next_stripe += 1;
        }
        let (stripe, length) = (round.next_stripe, round.lengths[round.next_stripe]);
        round.next_stripe += 1;
        round.uncounted = Some((stripe, length));
        for _ in 0..length {
            let told = self.stripes[stripe].waiting.pop_front().unwrap();
            self.deliver_or_hold(&mut round, told, 0);
        }
        self.round = Some(round);
    }

    /// Returns what the round must have returned: the events in order, and the number of late ones.
    pub(super) fn end_round(&mut self) -> (Vec<Told>, usize) {
        let mut round = self.round.take().unwrap();
        self.count(&mut round);
        let left = &round.lengths[round.next_stripe..];
        assert!(self.is_finished || left.iter().all(|&length| length == 0));
        if round.lets_go {
            let held = std::mem::take(&mut self.held);
            round
                .delivered
                .extend(held.into_iter().map(|(told, _)| told));
        }
        self.in_order(round.delivered)
    }

    fn deliver_or_hold(&mut self, round: &mut RoundState, told: Told, rounds: u32) {
        let newest_ns = round.now_ns.checked_sub(self.hold_back_ns);
        if newest_ns.is_some_and(|newest_ns| told.time_ns <= newest_ns) {
            round.delivered.push(told);
        } else {
            let is_ahead = told.time_ns > round.now_ns.saturating_add(self.hold_back_ns);
            round.lets_go |= is_ahead || rounds >= MOST_ROUNDS;
            self.held.push((told, rounds));
        }
    }

    fn count(&mut self, round: &mut RoundState) {
        if let Some((stripe, length)) = round.uncounted.take() {
            self.stripes[stripe].drained += length as u64;
        }
    }

    fn in_order(&mut self, mut events: Vec<Told>) -> (Vec<Told>, usize) {
        events.sort();
        let is_late = |told: &&Told| told.time_ns < self.newest_ns;
        let late = events.iter().filter(is_late).count();
        let times = events.iter().map(|told| told.time_ns);
        self.newest_ns = times.fold(self.newest_ns, u64::max);
        (events, late)
    }

    /// Returns what the last round must return: everything, whatever its age.
    pub(super) fn finish(&mut self) -> (Vec<Told>, usize) {
        if self.is_finished {
            return (Vec::new(), 0);
        }
        (self.is_closed, self.is_finished) = (true, true);
        let held = std::mem::take(&mut self.held);
        let mut events: Vec<_> = held.into_iter().map(|(told, _)| told).collect();
        for stripe in &mut self.stripes {
            stripe.drained += stripe.waiting.len() as u64;
            events.extend(stripe.waiting.drain(..));
        }
        self.in_order(events)
    }

    pub(super) fn fall_asleep(&mut self) -> bool {
        if !self.held.is_empty() {
            return false;
        }
        self.is_asleep = self.waiting() == 0;
        self.is_asleep
    }

    pub(super) fn stay_awake(&mut self) {
        self.is_asleep = false;
    }

    pub(super) fn wake(&mut self) {
        self.woken += u64::from(self.is_asleep);
        self.is_asleep = false;
    }

    pub(super) fn woken(&self) -> u64 {
        self.woken
    }

    pub(super) fn waiting(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.waiting.len()).sum()
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns the offered, lost and drained events of each stripe.
    pub(super) fn accounting(&self) -> impl ExactSizeIterator<Item = (u64, u64, u64)> {
        let stripes = self.stripes.iter();
        stripes.map(|stripe| (stripe.offered, stripe.lost, stripe.drained))
    }
}
