//! [`Counter`]: the processor's time-stamp counter, on the target where a kernel keeps time by it.
//!
//! Elsewhere the type has no value, and `quanta` is not a dependency. In WebAssembly `quanta` would
//! import functions that only a browser's glue code has.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod imp {
    pub(in crate::clock) use quanta::Clock as Counter;

    /// Returns the counter, calibrated, if the kernel keeps its own time by it.
    pub(in crate::clock) fn trusted() -> Option<Counter> {
        const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        std::fs::read_to_string(CURRENT)
            .is_ok_and(|source| source.trim() == "tsc")
            .then(Counter::new)
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod imp {
    /// The counter of a target without one.
    #[derive(Clone, Debug)]
    pub(in crate::clock) enum Counter {}

    impl Counter {
        pub(in crate::clock) fn raw(&self) -> u64 {
            match *self {}
        }

        pub(in crate::clock) fn delta_as_nanos(&self, _: u64, _: u64) -> u64 {
            match *self {}
        }
    }

    /// Returns no counter.
    pub(in crate::clock) fn trusted() -> Option<Counter> {
        None
    }
}

pub(super) use imp::{Counter, trusted};
