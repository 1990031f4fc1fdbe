//! The signals that the program was started to ignore.

/// Returns whether the program was started with this signal ignored, as `nohup` and shells do. A
/// handler would undo that. It is told on Linux only; elsewhere no signal is taken as ignored.
///
/// A signal that has a handler by now is not ignored.
pub(crate) fn is_ignored(signal: i32) -> bool {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return false;
    }
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    // The name of the program, which need not be UTF-8, is in it too.
    let status = String::from_utf8_lossy(&status);
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
