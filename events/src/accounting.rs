//! What became of the events offered to the rings.
//!
//! Promise: once nothing is under way, `offered = lost + drained`, in sum and for each stripe.
//!
//! # Orderings
//!
//! None: these are copies, read by `ring.rs`.

use toolmeter_core::RingAccounting;

/// What became of the events offered to all stripes. Counts, since the rings were made.
///
/// # Examples
///
/// ```
/// use toolmeter_events::{Draft, Rings, ToolId};
///
/// let rings = Rings::new(2, 64)?;
/// // No subscription has opened the rings, so there is no room.
/// rings.offer(1, Draft::started(ToolId::new(0), 1, 500, None), None);
/// let accounting = rings.accounting();
/// assert_eq!((accounting.offered, accounting.lost, accounting.drained), (1, 1, 0));
/// assert_eq!(accounting.stripes[1].lost, 1);
/// # Ok::<(), toolmeter_events::RingsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingsAccounting {
    /// Events offered.
    pub offered: u64,
    /// Events lost: no room, offered after closing, or never put in before the last drain ended.
    pub lost: u64,
    /// Events that the drain took out.
    pub drained: u64,
    /// The same of each stripe.
    pub stripes: Vec<RingAccounting>,
}

impl FromIterator<RingAccounting> for RingsAccounting {
    fn from_iter<I: IntoIterator<Item = RingAccounting>>(stripes: I) -> Self {
        let mut sums = Self::default();
        for stripe in stripes {
            sums.offered += stripe.offered;
            sums.lost += stripe.lost;
            sums.drained += stripe.drained;
            sums.stripes.push(stripe);
        }
        sums
    }
}
