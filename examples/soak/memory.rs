//! How much memory of this process is resident.

use serde::Serialize;
use std::fs;

/// How much resident memory may grow from a third of the load to its end.
const MAX_GROWTH_BYTES: u64 = 1 << 20;

/// Resident memory at two moments of the load, in bytes; `None` where it is not known how to ask.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    /// After a third of it.
    pub(crate) after_a_third: Option<u64>,
    /// Just before its end.
    pub(crate) at_the_end: Option<u64>,
}

impl Memory {
    /// Whether it grew by more than it may.
    pub(crate) fn grew(&self) -> bool {
        match (self.after_a_third, self.at_the_end) {
            (Some(before), Some(after)) => after > before + MAX_GROWTH_BYTES,
            _ => false,
        }
    }
}

/// Resident memory now.
///
/// It reads `smaps_rollup`, for which the kernel walks the page tables. `statm` is cheaper, but
/// newer kernels keep its number in counters of each core, which are some hundred kilobytes off.
pub(crate) fn resident_bytes() -> Option<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}
