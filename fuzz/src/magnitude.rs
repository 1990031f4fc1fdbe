//! Numbers of any magnitude, for the inputs of several oracles.

use arbitrary::Arbitrary;

/// A number of any magnitude: random bits alone would nearly all be huge.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Magnitude {
    bits: u64,
    shift: u8,
}

impl Magnitude {
    /// The number.
    pub(crate) fn get(self) -> u64 {
        self.bits >> (self.shift % 64)
    }
}
