//! The lock-free counters of toolmeter: what a metered tool call writes, and how it is read.
//!
//! This crate is `no_std`, never allocates and contains no `unsafe`, so firmware can meter
//! into a `static` with the same code that a server meters into chunks of memory. It knows
//! nothing of registries or threads: the caller brings the memory, the number of the stripe it
//! writes, and a clock.
//!
//! The files, in the order in which a call travels:
//!
//! | file | what it owns |
//! | --- | --- |
//! | `sync` | the 64-bit word: the real one, loom's, or one in a critical section |
//! | [`clock`] | nanoseconds from a fixed origin, and a clock that tests turn by hand |
//! | [`outcome`] | how a call can end: success, failure of a kind, cancelled, rejected |
//! | [`event`] | what an event says of a call, in three words |
//! | [`buckets`] | from a latency to the index of its histogram bucket and back |
//! | [`layout`] | where each word of a slot lies |
//! | [`slot`] | one tool's counters: start, finish, reject, read; the table of orderings |
//! | [`reading`] | what was read: counts, sums, differences |
//! | [`tickets`] | how an event gets into a ring, and how losses are counted |
//! | [`ring`] | a ring of events for firmware: offer, drain; the table of orderings |
//!
//! On a target without an operating system and without native 64-bit atomics, one of two features
//! chooses the word: `critical-section`, over the crate of that name, or
//! `unsafe-assume-single-core`, portable-atomic's. Neither takes a lock that an interrupt could wait for.
//! Without a choice the crate does not compile there.
//!
//! With the feature `serde`, an [`ErrorKind`] is serialised as its name; with `std`, a reading
//! may keep its buckets in a `Vec`.
//!
//! # Example
//!
//! ```
//! use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
//!
//! const LAYOUT: Layout = match Layout::new(5, 48, 2) {
//!     Ok(layout) => layout,
//!     Err(_) => panic!("the layout is out of range"),
//! };
//! static WORDS: [Word; LAYOUT.words()] = [const { Word::new(0) }; LAYOUT.words()];
//!
//! let slot = Slot::new(&WORDS, LAYOUT)?;
//! slot.start(0, 1);
//! slot.finish(0, Finish::new(Outcome::Success, 1, 0, 1_500));
//!
//! let mut reading = Reading::<FixedCounts<8>>::default();
//! slot.read(&mut reading)?;
//! assert_eq!(reading.count(Outcome::SUCCESS), 1);
//! assert_eq!(reading.in_flight(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(any(test, feature = "std", toolmeter_locked_word)), no_std)]

mod sync;

pub mod buckets;
pub mod clock;
pub mod error_kind;
pub mod event;
pub mod layout;
pub mod outcome;
pub mod reading;
pub mod ring;
pub mod slot;
pub mod tickets;

pub use buckets::Buckets;
pub use clock::{Clock, ManualClock};
pub use error_kind::{ErrorKind, UnknownErrorKind};
pub use event::{EventFacts, EventKind};
pub use layout::{Layout, LayoutError, StripesError, check_stripes};
pub use outcome::{Outcome, OutcomeClass};
pub use reading::{
    BucketCounts, CountOnly, CountsFull, FixedCounts, LastFailure, LastFinish, Reading, Tally,
};
pub use ring::{EventRing, EventRingDrain, EventRingError, RingEvent};
pub use slot::{Finish, Slot, SlotTooSmall, Stripe};
pub use sync::Word;
pub use tickets::RingAccounting;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
