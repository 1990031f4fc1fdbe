//! Lock-free counters and latency histograms of tool calls: `no_std`, no allocator, no `unsafe`.
//!
//! Firmware meters calls into a `static`, from interrupt handlers too, and reads the counters at any
//! time:
//!
//! ```
//! use toolmeter_core::{Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};
//!
//! // Two buckets for each power of two of nanoseconds, up to 2^20 ns (1 ms); one stripe.
//! const LAYOUT: Layout = match Layout::new(1, 20, 1) {
//!     Ok(layout) => layout,
//!     Err(_) => panic!("the layout is out of range"),
//! };
//! static WORDS: [Word; LAYOUT.words()] = [const { Word::new(0) }; LAYOUT.words()];
//! static READ_SENSOR: Slot<'static> = match Slot::new(&WORDS, LAYOUT) {
//!     Ok(slot) => slot,
//!     Err(_) => panic!("there are too few words"),
//! };
//!
//! // In an interrupt handler, with the time from a timer:
//! READ_SENSOR.start(0, 1);
//! let (started_ns, latency_ns) = (7_000, 1_500);
//! READ_SENSOR.finish(0, Finish::new(Outcome::Success, 1, started_ns, latency_ns));
//!
//! // In the main loop, while handlers go on metering:
//! let mut reading = Reading::<FixedCounts<8>>::new();
//! READ_SENSOR.read(&mut reading)?;
//! assert_eq!((reading.count(Outcome::SUCCESS), reading.in_flight()), (1, 0));
//! assert_eq!(reading.sum_ns(Outcome::SUCCESS), 1_500);
//! # Ok::<(), toolmeter_core::CountsFull>(())
//! ```
//!
//! The caller brings the memory, a clock, and the number of the stripe to write. Metering never
//! waits, allocates or makes a system call. Hosts with an operating system use the crate
//! `toolmeter`, which adds names, threads, snapshots and events to these counters.
//!
//! # Modules
//!
//! In the order in which data passes through them:
//!
//! | module | content |
//! | --- | --- |
//! | [`clock`] | nanoseconds since a fixed origin; the manual clock for tests |
//! | [`error_kind`] | the kinds of a failure |
//! | [`outcome`] | the ways in which a call ends, and the classes that have a histogram |
//! | [`slot`] | the counters of one tool: start, finish, reject, read; their table of orderings |
//! | [`buckets`] | the index of the histogram bucket that counts a latency |
//! | [`layout`] | the position of each word in a slot |
//! | `sync` | the 64-bit word: the native one or its replacement |
//! | [`reading`] | the contents of a slot as read: counts, sums, buckets, and differences of readings |
//! | [`event`] | the kind and the content of an event, in three words |
//! | [`ring`] | a bounded ring of events for firmware: offer and drain; its table of orderings |
//! | [`tickets`] | admission to a bounded ring, and the count of lost events |
//!
//! # Targets without native 64-bit atomics
//!
//! With an operating system, the words are those of portable-atomic, which may take a lock, unless
//! `critical-section` is enabled. Without one, a feature chooses the word, and the crate does not
//! compile without a choice:
//!
//! - `critical-section`: a word in a critical section of the crate of that name. The firmware
//!   provides the implementation.
//! - `unsafe-assume-single-core`: portable-atomic's word, which disables interrupts. It is unsound on
//!   more than one core and in programs that may not disable interrupts.
//!
//! Neither takes a lock that an interrupt handler could wait for. If both are enabled,
//! `critical-section` is used.
//!
//! # Other features
//!
//! - `std`: a [`Reading`] may keep its buckets in a `Vec`.
//! - `serde`: an [`ErrorKind`] is serialized and deserialized as its name, an [`EventKind`] is
//!   serialized as its name.

#![cfg_attr(not(any(test, feature = "std", toolmeter_locked_word)), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
