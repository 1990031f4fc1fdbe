//! Rings and drain against a plain model, on one thread: which events are admitted, lost and
//! delivered, and when the pump is woken.

#![cfg(not(toolmeter_loom))]

use proptest::prelude::*;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};
use toolmeter_events::{CallId, Draft, Drain, Event, Rings, ToolId};

fn started(at_ns: u64) -> Draft {
    Draft::started(ToolId::new(1), 1, at_ns, None)
}

/// Time, stripe and ticket of an event.
type Pending = (u64, usize, u64);

/// The counts of one stripe so far.
#[derive(Clone, Default)]
struct Model {
    offered: u64,
    lost: u64,
    drained: u64,
}

impl Model {
    fn waiting(&self) -> u64 {
        self.offered - self.lost - self.drained
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// An event with this time is offered to this stripe.
    Offer(usize, u64),
    /// This many rounds are done at this time.
    Round(u64, u8),
    Close,
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        20 => (0_usize..8, 0_u64..100).prop_map(|(stripe, at_ns)| Operation::Offer(stripe, at_ns)),
        4 => (0_u64..150).prop_map(|now_ns| Operation::Round(now_ns, 1)),
        1 => (0_u64..150, 60_u8..70).prop_map(|(now_ns, times)| Operation::Round(now_ns, times)),
        1 => Just(Operation::Close),
    ]
}

/// Returns time and number of each event, by which starts are ordered: their call and number agree.
fn order(events: &[Event]) -> Vec<Pending> {
    let place = |event: &Event| (event.number().stripe(), event.number().ticket());
    events
        .iter()
        .map(|event| {
            let (stripe, ticket) = place(event);
            (event.time_ns(), stripe, ticket)
        })
        .collect()
}

proptest! {
    #[test]
    fn rings_and_drain_do_what_lists_would(
        stripes in prop::sample::select(vec![1_usize, 2, 4]),
        capacity in 1_usize..5,
        hold_back_ns in 0_u64..40,
        operations in prop::collection::vec(any_operation(), 0..80),
    ) {
        let rings = Arc::new(Rings::new(stripes, capacity).unwrap());
        rings.allocate();
        prop_assert_eq!((rings.stripes(), rings.capacity()), (stripes, capacity));
        let mut drain = Drain::new(&rings, hold_back_ns);
        let mut model = vec![Model::default(); stripes];
        let mut closed = false;
        // In the rings, or taken and held.
        let mut pending: Vec<Pending> = Vec::new();
        // The number of rounds that saw each of them.
        let mut rounds = HashMap::new();
        let mut newest_ns = 0;

        for operation in operations {
            match operation {
                Operation::Offer(stripe, at_ns) => {
                    let call = rings.offer(stripe, started(at_ns), None);
                    let stripe = stripe % stripes;
                    let counts = &mut model[stripe];
                    prop_assert_eq!(call, CallId::new(stripe as u8, counts.offered));
                    if closed || counts.waiting() == capacity as u64 {
                        counts.lost += 1;
                    } else {
                        pending.push((at_ns, stripe, counts.offered));
                    }
                    counts.offered += 1;
                }
                Operation::Round(now_ns, times) => for _ in 0..times {
                    let round = drain.round(|| now_ns);
                    for counts in &mut model {
                        counts.drained = counts.offered - counts.lost;
                    }
                    pending.sort_unstable();
                    for event in &pending {
                        *rounds.entry((event.1, event.2)).or_insert(0) += 1;
                    }
                    let due = |event: &Pending| event.0 + hold_back_ns <= now_ns;
                    // One that was held too long, or is ahead of the clock, releases all others.
                    let releases = |event: &Pending| {
                        let held = rounds[&(event.1, event.2)] - 1;
                        !due(event) && (held >= 64 || event.0 > now_ns + hold_back_ns)
                    };
                    let all = pending.iter().any(releases);
                    let expected: Vec<_> =
                        pending.extract_if(.., |event| all || due(event)).collect();
                    prop_assert_eq!(order(&round.events), &*expected);
                    let late = expected.iter().filter(|event| event.0 < newest_ns).count();
                    prop_assert_eq!(round.late, late);
                    newest_ns = expected.last().map_or(newest_ns, |last| last.0.max(newest_ns));
                    prop_assert_eq!(drain.held(), pending.len());
                }
                Operation::Close => {
                    rings.close();
                    closed = true;
                }
            }
            let waiting: u64 = model.iter().map(Model::waiting).sum();
            prop_assert_eq!(rings.waiting() as u64, waiting);
            prop_assert_eq!(pending.len() as u64, waiting + drain.held() as u64);
            prop_assert_eq!(drain.fall_asleep(), pending.is_empty());
            rings.stay_awake();

            let accounting = rings.accounting();
            for (stripe, counts) in accounting.stripes.iter().zip(&model) {
                prop_assert_eq!(
                    (stripe.offered, stripe.lost, stripe.drained),
                    (counts.offered, counts.lost, counts.drained)
                );
            }
            prop_assert_eq!(
                (accounting.offered, accounting.lost, accounting.drained),
                (
                    model.iter().map(|counts| counts.offered).sum(),
                    model.iter().map(|counts| counts.lost).sum(),
                    model.iter().map(|counts| counts.drained).sum()
                )
            );
        }

        let last = drain.finish(|| panic!("nothing is on its way"));
        pending.sort_unstable();
        prop_assert_eq!(order(&last.events), pending);
        prop_assert_eq!((rings.waiting(), drain.held()), (0, 0));
        let accounting = rings.accounting();
        prop_assert_eq!(accounting.offered, accounting.lost + accounting.drained);
    }
}

#[test]
fn wake_wakes_a_sleeping_pump_once() {
    let rings = Arc::new(Rings::new(1, 4).unwrap());
    rings.allocate();
    let woken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&woken);
    assert!(rings.set_waker(move || {
        counter.fetch_add(1, Relaxed);
    }));
    rings.wake();
    assert_eq!(woken.load(Relaxed), 0, "it is awake");
    assert!(Drain::new(&rings, 0).fall_asleep());
    rings.wake();
    rings.wake();
    assert_eq!(woken.load(Relaxed), 1);
}
