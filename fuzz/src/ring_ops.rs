//! The oracle of the rings: offers and drains of random sizes, against plain queues.
//!
//! | file | contents |
//! | --- | --- |
//! | `ring_ops/model.rs` | a queue for each stripe, and the events that a round of the drain must return |
//!
//! Everything runs on one thread, but events are also offered while a drain is half done, by the
//! hook that it runs between taking events and freeing their places. Two things are checked
//! besides the model: a call's start is never delivered after its end, and every event that is
//! neither waiting nor held has been freed.

mod model;

use crate::numbers::{Attempt, Magnitude};
use crate::sequence::Sequence;
use arbitrary::Arbitrary;
use model::{Model, Offered, Told};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use toolmeter_core::{ErrorKind, Finish, Outcome};
use toolmeter_events::{
    CallContext, CallId, Draft, Drain, ErrorMessage, EventKind, Rings, Round, ToolId,
};

/// An input of the oracle.
#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    stripes: u8,
    capacity: u8,
    hold_back: Magnitude,
    ops: Sequence<Op>,
}

/// One operation.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    Life(Life),
    Offer(Burst),
    /// A call ends. If none is under way, one is rejected before it begins.
    End {
        call: u8,
        stripe: u8,
        latency: Magnitude,
        outcome: u8,
    },
    Round {
        now: Magnitude,
        half_way: Option<Burst>,
    },
    FallAsleep,
    StayAwake,
    Wake,
}

/// The opening of the rings, their closing, or their last drain. Nearly all random bytes open them,
/// since all events after the end are lost.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Life(u8);

/// Up to 32 starts of calls at once, on one stripe and at one time.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Burst {
    calls: u8,
    attempt: Attempt,
    stripe: u8,
    at: Magnitude,
}

const TOOL: ToolId = ToolId::new(3);

/// Checks one input.
///
/// # Panics
///
/// If a check fails.
pub fn check(input: &Input) {
    let stripes = 1 << (input.stripes % 4);
    let capacity = usize::from(input.capacity % 16) + 1;
    let hold_back_ns = input.hold_back.get();
    let rings = Arc::new(Rings::new(stripes, capacity).unwrap());
    let mut drain = Drain::new(&rings, hold_back_ns);
    let mut host = Host::new(rings, Model::new(stripes, capacity, hold_back_ns));
    for op in &*input.ops {
        match *op {
            Op::Life(Life(0)) => {
                host.rings.close();
                host.model.close();
            }
            Op::Life(Life(1)) => host.finish(&mut drain),
            Op::Life(_) => host.open(),
            Op::Offer(burst) => host.start(burst),
            Op::End {
                call,
                stripe,
                latency,
                outcome,
            } => host.end(call, stripe, latency.get(), outcome),
            Op::Round { now, half_way } => host.round(&mut drain, now.get(), half_way),
            Op::FallAsleep => {
                let expected = host.model.fall_asleep();
                assert_eq!(drain.fall_asleep(), expected);
            }
            Op::StayAwake => {
                host.rings.stay_awake();
                host.model.stay_awake();
            }
            Op::Wake => {
                host.rings.wake();
                host.model.wake();
            }
        }
        host.check(&drain);
    }
    host.finish(&mut drain);
    host.check(&drain);
    assert_eq!(Arc::strong_count(&host.context), 1);
}

/// A call that began.
#[derive(Clone, Copy)]
struct Call {
    id: CallId,
    attempt: u16,
    started_ns: u64,
}

/// The rings, their model, and the calls and events seen so far.
struct Host {
    rings: Arc<Rings>,
    model: Model,
    /// The context of every event. Its reference count shows how many events still exist.
    context: Arc<CallContext>,
    woken: Arc<AtomicU64>,
    calls: Vec<Call>,
    /// `true` for each call whose start found room.
    admitted: HashMap<CallId, bool>,
    delivered: HashSet<CallId>,
}

impl Host {
    fn new(rings: Arc<Rings>, model: Model) -> Self {
        let woken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&woken);
        assert!(rings.set_waker(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        Self {
            rings,
            model,
            context: Arc::new(CallContext::new("session").turn(1).call("call")),
            woken,
            calls: Vec::new(),
            admitted: HashMap::new(),
            delivered: HashSet::new(),
        }
    }

    fn open(&mut self) {
        self.rings.allocate();
        self.model.open();
    }

    fn start(&mut self, burst: Burst) {
        let (attempt, started_ns) = (burst.attempt.get(), burst.at.get());
        let offered = Offered {
            attempt,
            started_ns,
            end: None,
        };
        for _ in 0..=burst.calls % 32 {
            let context = Some(Arc::clone(&self.context));
            let draft = Draft::started(TOOL, attempt, started_ns, context);
            let id = self.rings.offer(burst.stripe.into(), draft, None);
            let is_admitted = self.model.offer(burst.stripe, offered);
            assert_eq!(id, self.model.last_offered());
            assert_eq!(self.admitted.insert(id, is_admitted), None);
            self.calls.push(Call {
                id,
                attempt,
                started_ns,
            });
        }
    }

    /// Ends a call, or rejects one if no call is under way.
    fn end(&mut self, call: u8, stripe: u8, latency_ns: u64, outcome: u8) {
        if self.calls.is_empty() {
            return self.reject(stripe, latency_ns);
        }
        let call = self.calls.swap_remove(usize::from(call) % self.calls.len());
        let outcome = match usize::from(outcome) % (ErrorKind::COUNT + 3) {
            0 => Outcome::Success,
            1 => Outcome::Cancelled,
            2 => Outcome::Rejected,
            kind => Outcome::Failure(ErrorKind::ALL[kind - 3]),
        };
        let context = Some(Arc::clone(&self.context));
        let Call {
            id,
            attempt,
            started_ns,
        } = call;
        let message = Some(ErrorMessage::new("message"));
        let finish = Finish::new(outcome, attempt, started_ns, latency_ns);
        let draft = Draft::closing(TOOL, finish, context, message);
        assert_eq!(self.rings.offer(stripe.into(), draft, Some(id)), id);
        let end = Some((Some(id), latency_ns, outcome));
        self.model.offer(
            stripe,
            Offered {
                attempt,
                started_ns,
                end,
            },
        );
    }

    /// Rejects a call before it begins, which is its only event.
    fn reject(&mut self, stripe: u8, at_ns: u64) {
        let finish = Finish::new(Outcome::Rejected, 1, at_ns, 0);
        let (context, message) = (Arc::clone(&self.context), ErrorMessage::new("message"));
        let draft = Draft::closing(TOOL, finish, Some(context), Some(message));
        let id = self.rings.offer(stripe.into(), draft, None);
        self.model.offer(
            stripe,
            Offered {
                attempt: 1,
                started_ns: at_ns,
                end: Some((None, 0, Outcome::Rejected)),
            },
        );
        assert_eq!(id, self.model.last_offered());
    }

    fn round(&mut self, drain: &mut Drain, now_ns: u64, half_way: Option<Burst>) {
        self.model.begin_round(now_ns);
        let round = drain.round_with_hook(
            || now_ns,
            || {
                self.model.take_next();
                if let Some(burst) = half_way {
                    self.start(burst);
                }
            },
        );
        let expected = self.model.end_round();
        self.check_round(&round, &expected);
    }

    fn finish(&mut self, drain: &mut Drain) {
        let round = drain.finish(|| panic!("nothing is on its way"));
        let expected = self.model.finish();
        self.check_round(&round, &expected);
    }

    fn check_round(&mut self, round: &Round, (events, late): &(Vec<Told>, usize)) {
        let told: Vec<Told> = round.events.iter().map(Told::of).collect();
        assert_eq!((&told, round.late), (events, *late));
        for event in &round.events {
            assert_eq!(event.tool(), TOOL);
            assert!(Arc::ptr_eq(event.context().unwrap(), &self.context));
            if event.kind() == EventKind::Started {
                assert!(self.delivered.insert(event.call()), "a start came twice");
            } else if self.admitted.get(&event.call()) == Some(&true) {
                assert!(self.delivered.contains(&event.call()), "an end came first");
            }
        }
    }

    /// Checks everything that can be seen at rest.
    fn check(&self, drain: &Drain) {
        let accounting = self.rings.accounting();
        let expected = self.model.accounting();
        assert_eq!(accounting.stripes.len(), expected.len());
        for (stripe, (offered, lost, drained)) in accounting.stripes.iter().zip(expected) {
            assert_eq!(
                (stripe.offered, stripe.lost, stripe.drained),
                (offered, lost, drained)
            );
        }
        let waiting = self.rings.waiting();
        assert_eq!(waiting, self.model.waiting());
        assert_eq!(
            accounting.offered,
            accounting.lost + accounting.drained + waiting as u64
        );
        assert_eq!(drain.held(), self.model.held());
        assert_eq!(drain.holds(TOOL), self.model.held() > 0);
        assert_eq!(Arc::strong_count(&self.context), 1 + waiting + drain.held());
        assert_eq!(self.woken.load(Ordering::Relaxed), self.model.woken());
    }
}
