//! Numbers for the inputs of several oracles: of any magnitude, and attempts.

use arbitrary::Arbitrary;

/// A number of any magnitude, and often 0. Nearly all numbers of random bits alone would be huge.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Magnitude {
    bits: u64,
    shift: u8,
}

impl Magnitude {
    /// Returns the number.
    pub(crate) fn get(self) -> u64 {
        self.bits
            .checked_shr(u32::from(self.shift % 72))
            .unwrap_or(0)
    }
}

/// An attempt, mostly one of the first. Nearly all attempts of random bits alone would be late
/// retries.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Attempt(u8);

impl Attempt {
    /// Returns the number.
    pub(crate) fn get(self) -> u16 {
        match self.0 {
            0..=239 => u16::from(self.0 % 4),
            240..=247 => u16::from(self.0),
            248..=255 => u16::MAX - u16::from(u8::MAX - self.0),
        }
    }
}
