//! The oracle of a tool's counters: a random sequence of starts, finishes, rejections, readings,
//! intervals and resets, against a plain list of what happened.
//!
//! | file | contents |
//! | --- | --- |
//! | `slot_ops/model.rs` | the list, and the counts that a reading must have |
//! | `slot_ops/bare.rs` | a slot over plain words: any layout, any stripe |
//! | `slot_ops/facade.rs` | the same operations through a registry: intervals, resets, snapshots |
//!
//! Everything runs on one thread, so each reading is exact. The loom models and the stress tests
//! check concurrent readings.

mod bare;
mod facade;
mod model;

use crate::numbers::{Attempt, Magnitude};
use crate::sequence::Sequence;
use arbitrary::Arbitrary;
use toolmeter_core::{ErrorKind, Outcome};

/// An input of the oracle.
#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    precision: u8,
    max_exponent: u8,
    stripes: u8,
    /// The first reading of the clock.
    origin: Magnitude,
    subject: Subject,
    ops: Sequence<Op>,
}

/// The object of the operations.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Subject {
    Slot,
    Registry,
}

/// One operation.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    Start {
        stripe: u8,
        attempt: Attempt,
    },
    /// Ends a call. If none is under way, one is rejected before it starts.
    Finish {
        call: u8,
        stripe: u8,
        end: End,
    },
    Clock {
        by: Magnitude,
    },
    Read,
    Publish,
    NewCursor,
    ReadCursor {
        cursor: u8,
    },
    DropCursor {
        cursor: u8,
    },
    Reset,
    /// Deregister and register again, which changes no count; a bare slot is cleared, if no call
    /// is under way.
    Revive,
}

/// The end of a call. The failure after the last kind is a rejection.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum End {
    Success,
    Failure(u8),
    Cancelled,
}

impl End {
    fn outcome(self) -> Outcome {
        match self {
            Self::Success => Outcome::Success,
            Self::Failure(kind) => {
                let kind = usize::from(kind) % (ErrorKind::COUNT + 1);
                let kind = ErrorKind::ALL.get(kind);
                kind.map_or(Outcome::Rejected, |kind| Outcome::Failure(*kind))
            }
            Self::Cancelled => Outcome::Cancelled,
        }
    }
}

/// A clock that only moves forward, by less than [`MAX_NS`] in all.
#[derive(Clone, Copy, Debug)]
struct Time {
    now_ns: u64,
    left_ns: u64,
}

/// 2^55 ns less one unit. A slot keeps the times of failures in units of 2^16 ns, modulo 2^56 ns,
/// and can order two of them while they are less than half of that apart. One unit is subtracted
/// because a time is rounded down to its unit, so two times may seem up to one unit farther apart
/// than they are.
const MAX_NS: u64 = (1 << 55) - (1 << 16);

impl Time {
    fn new(origin_ns: u64) -> Self {
        Self {
            now_ns: origin_ns,
            left_ns: MAX_NS - 1,
        }
    }

    fn advance(&mut self, by_ns: u64) {
        let by_ns = by_ns.min(self.left_ns).min(u64::MAX - self.now_ns);
        self.left_ns -= by_ns;
        self.now_ns += by_ns;
    }
}

/// Checks one input.
///
/// # Panics
///
/// If a check fails.
pub fn check(input: &Input) {
    let origin_ns = input.origin.get();
    match input.subject {
        Subject::Slot => bare::check(
            input.precision,
            input.max_exponent,
            input.stripes,
            origin_ns,
            &input.ops,
        ),
        Subject::Registry => facade::check(input.precision, origin_ns, &input.ops),
    }
}
