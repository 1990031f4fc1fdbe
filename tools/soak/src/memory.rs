//! The number of bytes that this process has in use.
//!
//! All allocations are counted as they are made and freed. Much of the memory in use at any moment
//! of the load is temporary: reading thousands of tools takes megabytes. So the number is the
//! minimum of many samples over a period in which every such use ended at some time. Resident
//! memory is not measured: it depends on what all threads happened to need at the same time, and it
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

/// Bytes in use in two periods of the load.
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

/// Samples the bytes in use for this time, and returns the minimum.
pub(crate) fn least_bytes_in_use(within: Duration) -> u64 {
    let began = Instant::now();
    let mut least = usize::MAX;
    while began.elapsed() < within {
        least = least.min(ALLOCATOR.current_usage());
        thread::sleep(LOOK_EVERY);
    }
    least as u64
}
