//! The ring of events under load: producers, a drain, and drains that find another one, on threads.
//!
//! The amount of work is fixed, not the time, so a busy machine makes a test slower and not less
//! thorough.
#![cfg(not(toolmeter_loom))]

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use toolmeter_core::{
    ErrorKind, EventFacts, EventRing, Finish, Outcome, RingAccounting, RingEvent, Word,
};

const PRODUCERS: u64 = 3;
const EVENTS: u64 = 20_000;

/// The event of this index of a producer. Each word depends on both.
fn facts(producer: u64, index: u64) -> EventFacts {
    let kind = ErrorKind::ALL[index as usize % ErrorKind::COUNT];
    let latency_ns = index ^ producer << 40;
    let finish = Finish::new(Outcome::Failure(kind), index as u16, index, latency_ns);
    EventFacts::closing(producer as u32, finish)
}

/// The events that were drained from a ring.
#[derive(Default)]
struct Drained {
    /// The number and the index of the last event, by producer.
    last: [Option<(u64, u64)>; PRODUCERS as usize],
    count: u64,
    /// The sum of the numbers. Without losses it is known in advance.
    numbers: u64,
}

impl Drained {
    fn see(&mut self, event: RingEvent) {
        let producer = u64::from(event.facts.tool);
        let index = event.facts.started_ns;
        assert_eq!(event.facts, facts(producer, index), "a torn event");
        // The events of one producer are drained in order, so none is drained twice.
        let before = self.last[producer as usize].replace((event.number, index));
        assert!(before.is_none_or(|(number, at)| number < event.number && at < index));
        self.count += 1;
        self.numbers = self.numbers.wrapping_add(event.number);
    }
}

/// Lets all producers offer while one thread drains, and another one begins drains, too.
fn run(ring: EventRing<'_>, pause: impl Fn(u64) + Sync) -> (Drained, RingAccounting) {
    let running = Word::new(PRODUCERS);
    let mut drained = Drained::default();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (running, pause) = (&running, &pause);
            scope.spawn(move || {
                for index in 0..EVENTS {
                    ring.offer(facts(producer, index));
                    pause(index);
                }
                running.fetch_sub(1, Relaxed);
            });
        }
        scope.spawn(|| {
            while running.load(Relaxed) > 0 {
                // It drains nothing.
                drop(ring.drain());
                thread::yield_now();
            }
        });
        while running.load(Relaxed) > 0 {
            for event in ring.drain().into_iter().flatten() {
                drained.see(event);
                let accounting = ring.accounting();
                assert!(accounting.offered >= accounting.lost + accounting.drained);
            }
            thread::yield_now();
        }
    });
    for event in ring.drain().into_iter().flatten() {
        drained.see(event);
    }
    let accounting = ring.accounting();
    assert_eq!(accounting.offered, PRODUCERS * EVENTS);
    assert_eq!(accounting.offered, accounting.drained + accounting.lost);
    assert_eq!(accounting.drained, drained.count);
    (drained, accounting)
}

#[test]
fn a_small_ring_loses_nothing_uncounted() {
    const CAPACITY: usize = 4;
    static WORDS: [Word; EventRing::words(CAPACITY)] =
        [const { Word::new(0) }; EventRing::words(CAPACITY)];
    static RING: EventRing<'static> = match EventRing::new(&WORDS, CAPACITY) {
        Ok(ring) => ring,
        Err(_) => panic!("the ring is out of range"),
    };
    let (drained, accounting) = run(RING, |index| {
        if index % 8 == 0 {
            thread::yield_now();
        }
    });
    assert!(drained.count >= CAPACITY as u64);
    assert!(accounting.lost > 0, "the ring was never full");
}

#[test]
fn a_ring_with_room_loses_nothing() {
    let capacity = (PRODUCERS * EVENTS).next_power_of_two() as usize;
    let words: Vec<Word> = (0..EventRing::words(capacity))
        .map(|_| Word::new(0))
        .collect();
    let (drained, accounting) = run(EventRing::new(&words, capacity).unwrap(), |_| {});
    assert_eq!(accounting.lost, 0);
    let offered = PRODUCERS * EVENTS;
    assert_eq!(drained.numbers, offered * (offered - 1) / 2);
}
