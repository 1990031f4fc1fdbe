//! How much memory of this process is resident, and how to make that a number that tells.
//!
//! glibc's allocator gives threads arenas, eight for each core, and each keeps what it once needed.
//! Which threads need memory in one arena at the same moment is chance. So under an even load all
//! of them together rise for minutes, ever slower, while the bytes in use stand still: by 0.4 to
//! 1.5 MiB in 20 s (2 cores, Zen 4 under KVM). With one arena it was 0.01 to 0.5 MiB.

use serde::Serialize;
use std::{fs, io};

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

/// Starts this program anew with one arena, unless whoever started it has set a number.
/// Returns if there is nothing to do, or with the error if it could not be started.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for_one_arena() -> io::Result<()> {
    use std::env;
    use std::os::unix::process::CommandExt;
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if env::var_os(ARENAS).is_some() {
        return Ok(());
    }
    let mut anew = std::process::Command::new(env::current_exe()?);
    Err(anew.args(env::args_os().skip(1)).env(ARENAS, "1").exec())
}

/// Elsewhere nothing is known to be needed.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for_one_arena() -> io::Result<()> {
    Ok(())
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
