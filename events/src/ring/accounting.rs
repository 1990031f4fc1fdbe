//! The counts of the events offered to the rings.
//!
//! Invariant: while no event is under way, `offered = lost + drained`, in sum and for each stripe.
//!
//! # Orderings
//!
//! None: these are copies, read by `ring.rs`.

use toolmeter_core::RingAccounting;

/// The counts of the events offered to the rings of all stripes.
///
/// Counted in events, since the rings were created. While no event is under way,
/// `offered = lost + drained`.
///
/// # Examples
///
/// ```
/// use toolmeter_events::{Draft, Rings, ToolId};
///
/// let rings = Rings::new(2, 64)?;
/// // No subscription has allocated the places, so there is no room.
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
    /// Events lost: no room was left, the rings were closed, or the last drain ended before the
    /// event was in its ring.
    pub lost: u64,
    /// Events that the drain took out.
    pub drained: u64,
    /// The counts of each stripe, in the order of the stripes.
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
