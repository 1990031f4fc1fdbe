//! The traits of the public types, checked when this file is compiled: all of them can be sent to
//! other threads, shared between them, and used after a caught panic.
#![cfg(not(toolmeter_loom))]

use std::error::Error;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};
use toolmeter_core::{
    BucketCounts, Buckets, Clock, CountOnly, CountsFull, ErrorKind, EventFacts, EventKind,
    EventRing, EventRingDrain, EventRingError, Finish, FixedCounts, LastFailure, LastFinish,
    Layout, LayoutError, ManualClock, Outcome, OutcomeClass, Reading, RingAccounting, RingEvent,
    Slot, SlotTooSmall, StripesError, UnknownErrorKind, Word,
    tickets::{Ticket, Tickets},
};

const fn shared<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug>() {}
const fn copied<T: Copy + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug>() {}
const fn an_error<T: Error + Copy + Send + Sync + UnwindSafe + RefUnwindSafe + 'static>() {}
const fn a_clock<T: Clock>() {}
const fn counts<T: BucketCounts>() {}

const _: () = {
    copied::<Buckets>();
    copied::<ErrorKind>();
    copied::<EventFacts>();
    copied::<EventKind>();
    copied::<EventRing<'static>>();
    copied::<Finish>();
    copied::<FixedCounts<8>>();
    copied::<LastFailure>();
    copied::<LastFinish>();
    copied::<Layout>();
    copied::<Outcome>();
    copied::<OutcomeClass>();
    copied::<RingAccounting>();
    copied::<RingEvent>();
    copied::<Slot<'static>>();
    copied::<Ticket>();
    copied::<Tickets<'static>>();
    shared::<EventRingDrain<'static>>();
    shared::<ManualClock>();
    copied::<CountOnly>();
    shared::<Reading<FixedCounts<8>>>();
    shared::<Reading<CountOnly>>();
    shared::<Word>();
    an_error::<CountsFull>();
    an_error::<EventRingError>();
    an_error::<LayoutError>();
    an_error::<SlotTooSmall>();
    an_error::<StripesError>();
    an_error::<UnknownErrorKind>();
    a_clock::<ManualClock>();
    counts::<FixedCounts<8>>();
};

/// With an allocator, readings grow as needed.
#[cfg(feature = "std")]
const _: () = {
    counts::<Vec<toolmeter_core::reading::BucketCount>>();
    shared::<Reading<Vec<toolmeter_core::reading::BucketCount>>>();
};

/// With serde, a kind can be serialised and deserialised.
#[cfg(feature = "serde")]
const _: () = {
    const fn serialised<T: serde::Serialize + serde::de::DeserializeOwned>() {}
    serialised::<ErrorKind>();
};

/// A panic between a start and its finish leaves the call in flight and the slot in order.
#[test]
fn a_slot_is_used_after_a_panic_that_was_caught() {
    let layout = Layout::new(3, 20, 1).unwrap();
    let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    let slot = Slot::new(&words, layout).unwrap();
    let caught = std::panic::catch_unwind(|| {
        slot.start(0, 1);
        panic!("between start and finish");
    });
    assert!(caught.is_err());
    let mut reading = Reading::<FixedCounts<8>>::default();
    slot.read(&mut reading).unwrap();
    assert_eq!((reading.in_flight(), reading.finished()), (1, 0));
    slot.finish(0, Finish::new(Outcome::Cancelled, 1, 0, 5));
    slot.read(&mut reading).unwrap();
    assert_eq!((reading.in_flight(), reading.finished()), (0, 1));
}
