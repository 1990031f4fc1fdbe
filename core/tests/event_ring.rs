//! The ring of events with real threads on a `static`: producers, a drain, and drains that are
//! refused, under load.
//!
//! The amount of work is set, not the time. A busy machine makes it slower and never less thorough.
#![cfg(not(toolmeter_loom))]

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use toolmeter_core::{
    ErrorKind, EventFacts, EventRing, Finish, Outcome, RingAccounting, RingEvent, Word,
};

const PRODUCERS: u64 = 3;
const EVENTS: u64 = 20_000;

/// What a producer offers as its event of this index: each word follows from both.
fn facts(producer: u64, index: u64) -> EventFacts {
    let kind = ErrorKind::ALL[index as usize % ErrorKind::COUNT];
    let latency_ns = index ^ producer << 40;
    let finish = Finish::new(Outcome::Failure(kind), index as u16, index, latency_ns);
    EventFacts::closing(producer as u32, finish)
}

/// What came out of a ring.
#[derive(Default)]
struct Books {
    /// The number of the event before and its index, by producer.
    last: [Option<(u64, u64)>; PRODUCERS as usize],
    drained: u64,
    /// The sum of the numbers, which is known beforehand if none was lost.
    numbers: u64,
}

impl Books {
    fn see(&mut self, event: RingEvent) {
        let producer = u64::from(event.facts.tool);
        let index = event.facts.started_ns;
        assert_eq!(event.facts, facts(producer, index), "a torn event");
        // What one producer offers comes in its order, and so never twice.
        let before = self.last[producer as usize].replace((event.number, index));
        assert!(before.is_none_or(|(number, at)| number < event.number && at < index));
        self.drained += 1;
        self.numbers = self.numbers.wrapping_add(event.number);
    }
}

/// Lets all producers offer while one thread drains and another asks for drains, too.
fn run(ring: EventRing<'_>, pause: impl Fn(u64) + Sync) -> (Books, RingAccounting) {
    let running = Word::new(PRODUCERS);
    let mut books = Books::default();
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
                // At once given back: it takes nothing.
                drop(ring.drain());
                thread::yield_now();
            }
        });
        while running.load(Relaxed) > 0 {
            for event in ring.drain().into_iter().flatten() {
                books.see(event);
                let accounting = ring.accounting();
                assert!(accounting.offered >= accounting.lost + accounting.drained);
            }
            thread::yield_now();
        }
    });
    for event in ring.drain().into_iter().flatten() {
        books.see(event);
    }
    let accounting = ring.accounting();
    assert_eq!(accounting.offered, PRODUCERS * EVENTS);
    assert_eq!(accounting.offered, accounting.drained + accounting.lost);
    assert_eq!(accounting.drained, books.drained);
    (books, accounting)
}

#[test]
fn a_small_ring_loses_nothing_uncounted() {
    const PLACES: usize = 4;
    static WORDS: [Word; EventRing::words(PLACES)] =
        [const { Word::new(0) }; EventRing::words(PLACES)];
    static RING: EventRing<'static> = match EventRing::new(&WORDS, PLACES) {
        Ok(ring) => ring,
        Err(_) => panic!("the ring is out of range"),
    };
    let (books, accounting) = run(RING, |index| {
        if index % 8 == 0 {
            thread::yield_now();
        }
    });
    assert!(books.drained >= PLACES as u64);
    assert!(accounting.lost > 0, "it was never full");
}

#[test]
fn a_ring_with_room_loses_nothing() {
    let places = (PRODUCERS * EVENTS).next_power_of_two() as usize;
    let words: Vec<Word> = (0..EventRing::words(places))
        .map(|_| Word::new(0))
        .collect();
    let (books, accounting) = run(EventRing::new(&words, places).unwrap(), |_| {});
    assert_eq!(accounting.lost, 0);
    let offered = PRODUCERS * EVENTS;
    assert_eq!(books.numbers, offered * (offered - 1) / 2);
}
