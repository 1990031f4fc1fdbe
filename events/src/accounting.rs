//! What became of the events offered to the rings.
//!
//! Promise: once nothing is under way, `offered = lost + drained`, in sum and for each stripe.
//!
//! # Orderings
//!
//! None: these are copies, read by `ring.rs`.

/// What became of the events offered to all stripes. Counts, since the rings were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingsAccounting {
    /// Events offered.
    pub offered: u64,
    /// Events lost: no room, offered after closing, or never put in before the last drain ended.
    pub lost: u64,
    /// Events that the drain took out.
    pub drained: u64,
    /// Events that found the channel full though they were admitted. Always 0; anything else is
    /// an error in toolmeter, please report it. They are in `lost` too.
    pub found_full: u64,
    /// The same of each stripe.
    pub stripes: Vec<StripeAccounting>,
}

/// What became of the events offered to one stripe. Each field as in [`RingsAccounting`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StripeAccounting {
    /// Events offered.
    pub offered: u64,
    /// Events lost.
    pub lost: u64,
    /// Events that the drain took out.
    pub drained: u64,
    /// Events that found the channel full though they were admitted: always 0.
    pub found_full: u64,
}

impl FromIterator<StripeAccounting> for RingsAccounting {
    fn from_iter<I: IntoIterator<Item = StripeAccounting>>(stripes: I) -> Self {
        let mut sums = Self::default();
        for stripe in stripes {
            sums.offered += stripe.offered;
            sums.lost += stripe.lost;
            sums.drained += stripe.drained;
            sums.found_full += stripe.found_full;
            sums.stripes.push(stripe);
        }
        sums
    }
}
