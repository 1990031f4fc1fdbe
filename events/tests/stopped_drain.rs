//! A producer does not wait for the drain, not even if the ring is full and the drain lost its core
//! between taking an event and counting it as drained.

#![cfg(not(toolmeter_loom))]

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use toolmeter_core::{Finish, Outcome};
use toolmeter_events::{Draft, Drain, Event, EventKind, Rings, ToolId};

/// Far longer than a thousand calls take. It passes only if a call waits for the drain.
const STUCK: Duration = Duration::from_secs(30);
const CAPACITY: u64 = 8;
const CALLS: u64 = 1_000;

fn call(rings: &Rings) {
    let tool = ToolId::new(0);
    let call = rings.offer(0, Draft::started(tool, 1, 1, None), None);
    let end = Draft::closing(tool, Finish::new(Outcome::Success, 1, 1, 1), None, None);
    rings.offer(0, end, Some(call));
}

#[test]
fn a_thousand_calls_finish_while_the_drain_stands_still() {
    let rings = Arc::new(Rings::new(1, usize::try_from(CAPACITY).unwrap()).unwrap());
    rings.allocate();
    for _ in 0..CAPACITY / 2 {
        call(&rings);
    }
    let (stopped, is_stopped) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let mut drain = Drain::new(&rings, 0);
    let drainer = thread::spawn(move || {
        let hook = || {
            stopped.send(()).unwrap();
            may_go_on.recv().unwrap();
        };
        let round = drain.round_with_hook(|| 10, hook);
        (drain, round)
    });
    is_stopped.recv_timeout(STUCK).unwrap();

    let (finished, have_finished) = mpsc::channel();
    let producer = {
        let rings = Arc::clone(&rings);
        thread::spawn(move || {
            for _ in 0..CALLS {
                call(&rings);
            }
            finished.send(()).unwrap();
        })
    };
    have_finished
        .recv_timeout(STUCK)
        .expect("a call waited for the drain");
    producer.join().unwrap();
    // The places are empty, but the drain has not counted them yet: each of the events was lost.
    let meanwhile = rings.accounting();
    assert_eq!(meanwhile.offered, CAPACITY + 2 * CALLS);
    assert_eq!((meanwhile.lost, meanwhile.drained), (2 * CALLS, 0));

    go_on.send(()).unwrap();
    let (mut drain, round) = drainer.join().unwrap();
    assert_eq!(round.events.len() as u64, CAPACITY);
    call(&rings);
    let kinds: Vec<_> = drain.round(|| 10).events.iter().map(Event::kind).collect();
    assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
    let at_rest = rings.accounting();
    assert_eq!(at_rest.offered, at_rest.lost + at_rest.drained);
    assert_eq!(at_rest.lost, 2 * CALLS);
}
