//! The clock of the host: an imported function where there is no system, otherwise that of WASI.

/// Returns the nanoseconds since a moment that the host chose.
#[cfg(target_os = "unknown")]
pub fn now_ns() -> u64 {
    #[link(wasm_import_module = "host")]
    // SAFETY: the host has a function of this name and type, which takes nothing and may be called at
    // any time.
    unsafe extern "C" {
        #[link_name = "now_ns"]
        safe fn host_now_ns() -> u64;
    }
    host_now_ns()
}

/// Returns the nanoseconds since 1970.
#[cfg(not(target_os = "unknown"))]
pub fn now_ns() -> u64 {
    use std::time::SystemTime;
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |time| time.as_nanos() as u64)
}
