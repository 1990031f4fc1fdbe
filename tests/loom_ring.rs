//! Models of the ring of events in core, which is drained while interrupts of any priority offer.
//!
//! In these models an interrupt handler is a thread: loom stops a thread at any point while another one
//! runs, as an interrupt stops the program. The facts of every event depend on its tool, so a torn
//! event is detected. The tables of `core/src/ring.rs` and `core/src/tickets.rs` name the model of each
//! ordering.

mod loom_support;

use loom_support::model;
use loom_support::sync::{Arc, thread};
use toolmeter_core::{
    ErrorKind, EventFacts, EventRing, Finish, Outcome, RingAccounting, RingEvent, Word,
};

struct Words {
    words: Vec<Word>,
    places: usize,
}

impl Words {
    fn new(places: usize) -> Arc<Self> {
        let words = (0..EventRing::words(places)).map(|_| Word::new(0));
        let words = words.collect();
        Arc::new(Self { words, places })
    }

    fn ring(&self) -> EventRing<'_> {
        EventRing::new(&self.words, self.places).unwrap()
    }

    fn offer(&self, tool: u32) -> u64 {
        self.ring().offer(facts(tool))
    }

    /// Drains the ring, unless another drain is active. Each event must be whole.
    fn drain(&self) -> Option<Vec<RingEvent>> {
        let events: Vec<_> = self.ring().drain()?.collect();
        for event in &events {
            assert_eq!(event.facts, facts(event.facts.tool), "a torn event");
        }
        Some(events)
    }

    /// Returns the accounting of a ring that is drained and in which no offer is under way.
    fn balanced(&self) -> RingAccounting {
        let accounting = self.ring().accounting();
        let gone = accounting.lost + accounting.drained;
        assert_eq!(accounting.offered, gone, "{accounting:?}");
        accounting
    }
}

fn facts(tool: u32) -> EventFacts {
    let failure = Outcome::Failure(ErrorKind::Network);
    let (attempt, started_ns) = (tool as u16, u64::from(tool) * 10);
    let finish = Finish::new(failure, attempt, started_ns, started_ns + 1);
    EventFacts::closing(tool, finish)
}

/// A thread offers while another drains: the drain takes nothing, or the whole event.
#[test]
fn an_event_is_drained_whole() {
    model("an_event_is_drained_whole", || {
        let words = Words::new(1);
        let producer = {
            let words = Arc::clone(&words);
            thread::spawn(move || words.offer(1))
        };
        let mut events = words.drain().unwrap();
        producer.join().unwrap();
        events.extend(words.drain().unwrap());
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].number, events[0].facts), (0, facts(1)));
        assert_eq!(words.balanced().drained, 1);
    });
}

/// The start and the end of a call are offered while the ring is drained: the end is not drained without
/// the start.
#[test]
fn an_end_is_not_drained_before_its_start() {
    model("an_end_is_not_drained_before_its_start", || {
        let words = Words::new(2);
        let caller = {
            let words = Arc::clone(&words);
            thread::spawn(move || {
                words.offer(1);
                words.offer(2);
            })
        };
        let events = words.drain().unwrap();
        let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
        assert!([0, 1].starts_with(&numbers), "{numbers:?}");
        caller.join().unwrap();
        assert_eq!(events.len() + words.drain().unwrap().len(), 2);
        assert_eq!(words.balanced().lost, 0);
    });
}

/// Two offers and a drain on one place: no more events are drained and lost than were offered, and in
/// the end each number was drained once or counted as lost.
#[test]
fn every_number_is_drained_or_lost() {
    model("every_number_is_drained_or_lost", || {
        let words = Words::new(1);
        let producers = [1, 2].map(|tool| {
            let words = Arc::clone(&words);
            thread::spawn(move || words.offer(tool))
        });
        let mut events = words.drain().unwrap();
        let meanwhile = words.ring().accounting();
        let gone = meanwhile.lost + meanwhile.drained;
        assert!(meanwhile.offered >= gone, "{meanwhile:?}");
        let offered = producers.map(|producer| producer.join().unwrap());
        events.extend(words.drain().unwrap());

        let accounting = words.balanced();
        assert_eq!((accounting.offered, offered[0] + offered[1]), (2, 1));
        assert_eq!(accounting.drained, events.len() as u64);
        for event in &events {
            let of_tool = event.facts.tool as usize - 1;
            assert_eq!(event.number, offered[of_tool], "another event's number");
        }
        assert!(events.len() < 2 || events[0].number != events[1].number);
    });
}

/// An offer is interrupted anywhere, and overtaken by a whole lap of the ring: neither its event nor that
/// of the later lap is torn, drained twice, or lost without being counted.
#[test]
fn an_offer_that_was_overtaken_disturbs_no_event() {
    model("an_offer_that_was_overtaken_disturbs_no_event", || {
        let words = Words::new(2);
        let held_up = {
            let words = Arc::clone(&words);
            thread::spawn(move || words.offer(1))
        };
        let mut events = Vec::new();
        for tool in [2, 3] {
            words.offer(tool);
            events.extend(words.drain().unwrap());
        }
        held_up.join().unwrap();
        events.extend(words.drain().unwrap());
        let mut tools: Vec<_> = events.iter().map(|event| event.facts.tool).collect();
        tools.sort_unstable();
        tools.dedup();
        assert_eq!(tools.len(), events.len(), "an event came twice: {events:?}");
        let accounting = words.balanced();
        let drained = events.len() as u64;
        assert_eq!((accounting.offered, accounting.drained), (3, drained));
    });
}

/// Two drains, at the same time or one after the other, while an event before the complete one is held
/// up: only one drains at a time, and each event is drained once.
#[test]
fn two_drains_take_each_event_once() {
    model("two_drains_take_each_event_once", || {
        let words = Words::new(2);
        let held_up = {
            let words = Arc::clone(&words);
            thread::spawn(move || words.offer(1))
        };
        words.offer(2);
        let other = {
            let words = Arc::clone(&words);
            thread::spawn(move || words.drain().map_or(0, |events| events.len()))
        };
        let drained = words.drain().map_or(0, |events| events.len());
        held_up.join().unwrap();
        let drained = drained + other.join().unwrap();
        let rest = words.drain().expect("the others are over").len();
        assert_eq!((drained + rest, words.balanced().drained), (2, 2));
    });
}
