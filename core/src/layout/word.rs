//! The index of each counter in the header of a stripe. The head of `layout.rs` has the table.

use crate::error_kind::ErrorKind;
use crate::outcome::OutcomeClass;

pub(crate) const STARTED: usize = 0;
pub(crate) const LAST_FINISHED_AT: usize = 1;
pub(crate) const LAST_LATENCY: usize = 2;
pub(crate) const LAST_FAILURE: usize = 3;
const SUCCESS_SUM: usize = 4;
const SUCCESS_OCCUPANCY: usize = 5;
const FAILURE_SUM: usize = 6;
const FAILURE_OCCUPANCY: usize = 7;
const CANCELLED_SUM: usize = 8;
const CANCELLED_OCCUPANCY: usize = 9;
pub(crate) const RETRIED: usize = 10;
pub(crate) const RECOVERED: usize = 11;
const FAILURES: usize = 12;

pub(crate) const REJECTED: usize = FAILURES + ErrorKind::COUNT;

/// Returns the index of the sum of the latencies of a class.
#[inline]
pub(crate) const fn sum(class: OutcomeClass) -> usize {
    match class {
        OutcomeClass::Success => SUCCESS_SUM,
        OutcomeClass::Failure => FAILURE_SUM,
        OutcomeClass::Cancelled => CANCELLED_SUM,
    }
}

/// Returns the index of the occupancy of a class: one bit for each group of buckets ever used.
#[inline]
pub(crate) const fn occupancy(class: OutcomeClass) -> usize {
    match class {
        OutcomeClass::Success => SUCCESS_OCCUPANCY,
        OutcomeClass::Failure => FAILURE_OCCUPANCY,
        OutcomeClass::Cancelled => CANCELLED_OCCUPANCY,
    }
}

/// Returns the index of the number of failures of a kind.
#[inline]
pub(crate) const fn failures(kind: ErrorKind) -> usize {
    FAILURES + kind.index()
}
