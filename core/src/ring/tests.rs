use super::drain::DRAINING;
use super::place::HELD;
use super::*;
use crate::error_kind::ErrorKind;
use crate::event::EventKind;
use crate::outcome::Outcome;
use crate::slot::Finish;
use crate::sync::Ordering::Relaxed;

struct Words(Vec<Word>);

impl Words {
    fn new(places: usize) -> Self {
        Self(
            (0..EventRing::words(places))
                .map(|_| Word::new(0))
                .collect(),
        )
    }

    fn ring(&self) -> EventRing<'_> {
        EventRing::new(&self.0, (self.0.len() - HEADER) / PLACE).unwrap()
    }
}

/// Facts that differ in every word.
fn facts(of: u64) -> EventFacts {
    let failure = Outcome::Failure(ErrorKind::Network);
    EventFacts::closing(of as u32, Finish::new(failure, 1, of * 10, of + 3))
}

fn offer(ring: EventRing<'_>, times: u64) {
    for _ in 0..times {
        ring.offer(facts(ring.accounting().offered));
    }
}

/// The numbers of the drained events, each with the facts that were offered under it.
#[track_caller]
fn drained(ring: EventRing<'_>) -> Vec<u64> {
    let events = ring.drain().expect("there is no other drain");
    let mut numbers = Vec::new();
    for event in events {
        assert_eq!(event.facts, facts(event.number));
        numbers.push(event.number);
    }
    numbers
}

fn counts(ring: EventRing<'_>) -> [u64; 3] {
    let accounting = ring.accounting();
    [accounting.offered, accounting.lost, accounting.drained]
}

/// An offer that is interrupted in the middle.
struct HalfPut<'a> {
    ring: EventRing<'a>,
    position: u64,
    number: u64,
}

impl<'a> HalfPut<'a> {
    /// Stops before it tries to hold its place.
    fn before_its_place(ring: EventRing<'a>) -> Self {
        let tickets = ring.header().tickets;
        let ticket = tickets.take(ring.capacity() as u64);
        assert!(ticket.is_admitted);
        let position = tickets.enter();
        let number = ticket.number;
        Self {
            ring,
            position,
            number,
        }
    }

    fn place(&self) -> Place<'a> {
        self.ring.place(self.position)
    }

    /// Goes on to where it has written some of its words.
    fn write_half(&self) {
        assert!(self.place().hold());
        self.place().number.store(self.number, Relaxed);
        self.place().facts[0].store(u64::MAX, Relaxed);
    }

    /// Goes on from there to the end.
    fn write_rest(&self) {
        self.place().write(self.number, facts(self.number));
        self.place().fill(self.position);
    }

    /// Goes on from before its place.
    fn go_on(&self) {
        if !self
            .ring
            .put(self.position, self.number, facts(self.number))
        {
            self.ring.header().tickets.lose();
        }
    }
}

#[test]
fn ranges_are_checked_and_named() {
    let words = Words::new(4);
    for given in [0, 3, 6, 1 << 21, usize::MAX] {
        let error = EventRing::new(&words.0, given).unwrap_err();
        assert_eq!(error, EventRingError::Capacity { given });
        let text =
            format!("capacity {given} is out of range: use a power of two from 1 to 1,048,576");
        assert_eq!(error.to_string(), text);
    }
    for missing in [1, words.0.len()] {
        let error = EventRing::new(&words.0[missing..], 4).unwrap_err();
        let (words, needed) = (words.0.len() - missing, 25);
        assert_eq!(error, EventRingError::TooSmall { words, needed });
        let text = format!("this ring needs 25 words, but there are {words}");
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(EventRing::new(&words.0, 2).unwrap().capacity(), 2);
    assert_eq!(EventRing::words(usize::MAX), usize::MAX);
}

#[test]
fn events_come_whole_and_in_order() {
    let words = Words::new(4);
    let ring = words.ring();
    for turn in 0..5 {
        offer(ring, 3);
        let first = turn * 3;
        assert_eq!(drained(ring), [first, first + 1, first + 2]);
    }
    assert!(drained(ring).is_empty());
    assert_eq!(counts(ring), [15, 0, 15]);
}

#[test]
fn what_finds_no_room_is_lost_and_counted() {
    let words = Words::new(2);
    let ring = words.ring();
    offer(ring, 5);
    assert_eq!(counts(ring), [5, 3, 0]);
    assert_eq!(drained(ring), [0, 1]);
    // Lost events took no place.
    offer(ring, 3);
    assert_eq!(drained(ring), [5, 6]);
    assert_eq!(counts(ring), [8, 4, 4]);
}

#[test]
fn an_event_makes_room_when_it_is_taken() {
    let words = Words::new(1);
    let ring = words.ring();
    offer(ring, 1);
    let mut events = ring.drain().unwrap();
    assert_eq!(events.next().unwrap().number, 0);
    offer(ring, 1);
    assert_eq!(counts(ring), [2, 0, 1]);
    // It was offered after the drain began.
    assert_eq!(events.next(), None);
    drop(events);
    assert_eq!(drained(ring), [1]);
}

#[test]
fn there_is_one_drain() {
    let words = Words::new(4);
    let ring = words.ring();
    offer(ring, 3);
    let mut events = ring.drain().unwrap();
    assert_eq!(events.size_hint(), (0, Some(3)));
    assert_eq!(events.next().unwrap().number, 0);
    for _ in 0..2 {
        assert!(ring.drain().is_none());
    }
    drop(events);
    assert_eq!(drained(ring), [1, 2]);
    assert_eq!(counts(ring), [3, 0, 3]);
}

/// The drain, or an offer of a higher priority, interrupts an offer that has not reached its place:
/// neither waits, the other events are drained, and its own event is drained when it goes on.
#[test]
fn an_event_that_is_held_up_is_drained_when_its_offer_goes_on() {
    let words = Words::new(4);
    let ring = words.ring();
    offer(ring, 1);
    let held_up = HalfPut::before_its_place(ring);
    offer(ring, 1);
    assert_eq!(drained(ring), [0, 2]);
    held_up.go_on();
    assert_eq!(drained(ring), [1]);
    assert_eq!(counts(ring), [3, 0, 3]);
    offer(ring, 4);
    assert_eq!(drained(ring), [3, 4, 5, 6]);
}

/// The same for an offer that has written half of its event. Each lap of the ring loses only the event
/// of its place.
#[test]
fn an_event_that_is_half_written_costs_its_place_alone() {
    let words = Words::new(4);
    let ring = words.ring();
    offer(ring, 1);
    let held_up = HalfPut::before_its_place(ring);
    held_up.write_half();
    offer(ring, 1);
    assert_eq!(drained(ring), [0, 2]);
    offer(ring, 3);
    assert_eq!(drained(ring), [3, 4]);
    assert_eq!(counts(ring), [6, 1, 4]);
    held_up.write_rest();
    assert_eq!(drained(ring), [1]);
    assert_eq!(counts(ring), [6, 1, 5]);
    offer(ring, 4);
    assert_eq!(drained(ring), [6, 7, 8, 9]);
}

/// A start is held up for more than a lap of the ring, and put before its end is offered. Its place
/// comes after that of its end in the last lap, yet it is drained first.
#[test]
fn a_start_from_before_the_last_lap_is_drained_before_its_end() {
    let words = Words::new(4);
    let ring = words.ring();
    let start = HalfPut::before_its_place(ring);
    for number in 1..=6 {
        offer(ring, 1);
        assert_eq!(drained(ring), [number]);
    }
    start.go_on();
    let end = ring.offer(facts(7));
    // This one finds the place of the start, and is lost. The drain visits its position.
    offer(ring, 1);
    assert_eq!(drained(ring), [start.number, end]);
    assert_eq!(counts(ring), [9, 1, 8]);
}

/// Events from before the last lap are drained in the order of their positions, in whichever order
/// they were put, and the next drain goes on where one was dropped.
#[test]
fn events_from_before_the_last_lap_are_drained_by_position() {
    let words = Words::new(8);
    let ring = words.ring();
    offer(ring, 6);
    assert_eq!(drained(ring).len(), 6);
    // At the last two places, and at the first.
    let held_up: [_; 3] = std::array::from_fn(|_| HalfPut::before_its_place(ring));
    for _ in 0..3 {
        offer(ring, 4);
        assert_eq!(drained(ring).len(), 4);
    }
    for offer in held_up.iter().rev() {
        offer.go_on();
    }
    // The second of these finds the place of the first that was held up, and is lost.
    offer(ring, 2);
    assert_eq!(ring.drain().unwrap().next().unwrap().number, 6);
    assert_eq!(drained(ring), [7, 8, 21]);
    assert_eq!(counts(ring), [23, 1, 22]);
}

/// An offer goes on after a later lap has filled its place. It loses its event and leaves the other.
#[test]
fn an_offer_that_was_overtaken_leaves_the_later_event() {
    let words = Words::new(2);
    let ring = words.ring();
    let held_up = HalfPut::before_its_place(ring);
    offer(ring, 1);
    assert_eq!(drained(ring), [1]);
    offer(ring, 1);
    held_up.go_on();
    assert_eq!(counts(ring), [3, 1, 1]);
    assert_eq!(drained(ring), [2]);
    assert_eq!(counts(ring), [3, 1, 2]);
    // And the place is not held.
    offer(ring, 2);
    assert_eq!(drained(ring), [3, 4]);
}

/// The drain interrupts an offer that has set the bit of a full place. The event is drained.
#[test]
fn the_drain_takes_an_event_at_which_an_offer_looks() {
    let words = Words::new(2);
    let ring = words.ring();
    offer(ring, 1);
    let place = ring.place(0);
    place.state.fetch_or(HELD, Relaxed);
    assert_eq!(drained(ring), [0]);
    place.state.fetch_add(HELD.wrapping_neg(), Relaxed);
    assert_eq!(place.state.load(Relaxed), 0);
    offer(ring, 2);
    assert_eq!(drained(ring), [1, 2]);
}

/// A drain takes no event of a later position from the same place.
#[test]
fn what_entered_after_the_look_stays() {
    let words = Words::new(2);
    let ring = words.ring();
    let held_up = HalfPut::before_its_place(ring);
    offer(ring, 1);
    let mut events = ring.drain().unwrap();
    events.at = 1;
    assert_eq!(events.next().unwrap().number, 1);
    offer(ring, 1);
    events.at = 0;
    assert_eq!(events.next(), None);
    drop(events);
    assert_eq!(drained(ring), [2]);
    held_up.go_on();
    assert_eq!(drained(ring), [0]);
}

/// The next drain begins at the first position that was passed over, or at the end if nothing is
/// under way.
#[test]
fn a_drain_looks_at_no_more_than_it_must() {
    let words = Words::new(8);
    let ring = words.ring();
    let to_look_at = || ring.drain().unwrap().size_hint().1;
    offer(ring, 4);
    assert_eq!(to_look_at(), Some(4));
    drained(ring);
    assert_eq!(to_look_at(), Some(0));
    let held_up = HalfPut::before_its_place(ring);
    offer(ring, 2);
    drained(ring);
    assert_eq!(to_look_at(), Some(3));
    for _ in 0..9 {
        offer(ring, 7);
        drained(ring);
    }
    assert_eq!(to_look_at(), Some(8));
    held_up.go_on();
    drained(ring);
    assert_eq!(counts(ring), [70, 0, 70]);
    assert_eq!(to_look_at(), Some(0));
}

#[test]
fn positions_reach_as_far_as_they_are_said_to() {
    let words = Words::new(4);
    let ring = words.ring();
    let far = (1 << 62) - 8;
    for at in [0, 1, 3, 4] {
        ring.header[at].store(far, Relaxed);
    }
    for turn in 0..2 {
        ring.offer(facts(0));
        ring.offer(facts(0));
        let numbers: Vec<_> = ring.drain().unwrap().map(|event| event.number).collect();
        assert_eq!(numbers, [far + turn * 2, far + turn * 2 + 1]);
    }
}

#[test]
fn a_panic_while_draining_leaves_the_rest() {
    let words = Words::new(4);
    let ring = words.ring();
    offer(ring, 3);
    let caught = std::panic::catch_unwind(|| {
        for event in ring.drain().into_iter().flatten() {
            assert_ne!(event.number, 0, "at the first event");
        }
    });
    assert!(caught.is_err());
    assert_eq!(drained(ring), [1, 2]);
    assert_eq!(counts(ring), [3, 0, 3]);
}

#[test]
fn words_that_were_not_zero_are_no_reason_to_panic() {
    for value in [1, 2, 7, u64::MAX, u64::MAX >> 1, DRAINING - 1] {
        let words = Words(
            vec![(); EventRing::words(4)]
                .iter()
                .map(|()| Word::new(value))
                .collect(),
        );
        let ring = words.ring();
        ring.offer(EventFacts::started(0, 1, 0));
        assert!(ring.drain().into_iter().flatten().count() <= 4);
    }
}

#[test]
fn debug_shows_the_accounting() {
    let words = Words::new(2);
    offer(words.ring(), 1);
    assert_eq!(
        format!("{:?}", words.ring()),
        "EventRing { capacity: 2, accounting: RingAccounting { offered: 1, lost: 0, drained: 0 }, .. }"
    );
    assert_eq!(
        words.ring().drain().unwrap().next().unwrap().facts.kind,
        EventKind::Failed
    );
}
