//! [`TickRate`]: the scale from ticks of the processor's counter to nanoseconds.
//!
//! `quanta` calibrates the counter. The scaling is done here, since a call waits for it: one
//! multiplication. `quanta`'s scaling also divides by a power of two that it looks up, which made a
//! call 0.8 to 1.3 ns longer (of 22, Zen 4 under KVM).

use super::counter::Counter;

/// The length of a tick of the counter, in units of 2^-64 ns: scaling is the upper half of one
/// multiplication.
#[derive(Clone, Copy, Debug)]
pub(super) struct TickRate(u64);

impl TickRate {
    /// Returns the rate to which `counter` was calibrated, exact to 2^-62 ns; `None` if a tick is a
    /// nanosecond or longer, which no counter that a kernel keeps time by has.
    pub(super) fn of(counter: &Counter) -> Option<Self> {
        Self::scaled_by(|ticks| counter.delta_as_nanos(0, ticks))
    }

    /// Returns the rate by which `ns` scales a number of ticks.
    ///
    /// The result of `ns` wraps where it needs more than 64 bits, which that of a single tick does
    /// not. It is 0 if a tick is shorter than a nanosecond, and then that of 2^62 ticks fits as well.
    fn scaled_by(ns: impl Fn(u64) -> u64) -> Option<Self> {
        (ns(1) == 0).then(|| Self(ns(1 << 62) << 2))
    }

    #[inline(always)]
    pub(super) const fn ns(self, ticks: u64) -> u64 {
        ((ticks as u128 * self.0 as u128) >> 64) as u64
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
