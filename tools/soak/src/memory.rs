//! The number of bytes that this process has in use.
//!
//! All allocations are counted as they are made and freed. At any moment of the load much is in use
//! for that moment alone: a reading of thousands of tools takes megabytes. So the number is the
//! least of many within a while, in which every such use was over at some time. Resident
//! memory is not used: it is what all threads once needed at the same time, which is chance, and it
//! rises for minutes.

use peak_alloc::PeakAlloc;
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most by which the bytes in use may grow from a third of the load to its end.
const MAX_GROWTH_BYTES: u64 = 1 << 19;
/// The time between two samples of the bytes in use.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// Bytes in use in two whiles of the load.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    /// After a third of it.
    pub(crate) after_a_third: u64,
    /// Before its end.
    pub(crate) at_the_end: u64,
}

impl Memory {
    /// Returns whether it grew by more than it may.
    pub(crate) fn grew(&self) -> bool {
        self.at_the_end > self.after_a_third + MAX_GROWTH_BYTES
    }
}

/// The least bytes in use within this while, which is waited for.
pub(crate) fn least_bytes_in_use(within: Duration) -> u64 {
    let began = Instant::now();
    let mut least = usize::MAX;
    while began.elapsed() < within {
        least = least.min(ALLOCATOR.current_usage());
        thread::sleep(LOOK_EVERY);
    }
    least as u64
}
