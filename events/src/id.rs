//! What tools, calls and events are called.
//!
//! Owns [`ToolId`], [`CallId`] and [`EventNumber`]. Promise: a call's id and an event's number are
//! a stripe and a ticket of that stripe, so they are unique without a counter that all share.
//!
//! # Orderings
//!
//! None.

use std::fmt;

/// Bits of a [`CallId`] or an [`EventNumber`] below the stripe.
const TICKET_BITS: u32 = 56;
/// The ticket's share of a [`CallId`] or an [`EventNumber`].
pub(crate) const TICKET_MASK: u64 = (1 << TICKET_BITS) - 1;

/// Which tool an event is about: a number that its registry gave it and never gives again.
///
/// A [`Batch`](crate::Batch) resolves it to the tool's name.
///
/// # Examples
///
/// ```
/// use toolmeter_events::ToolId;
///
/// assert_eq!(ToolId::new(7).get(), 7);
/// assert_eq!(ToolId::new(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolId(u32);

impl ToolId {
    /// Makes the id with this number.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ToolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stripe and ticket in one word; the two public names differ in what they name.
macro_rules! stripe_and_ticket {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Makes the number of this ticket in this stripe; bits of `ticket` above the 56th are
            /// dropped.
            #[must_use]
            #[inline]
            pub const fn new(stripe: u8, ticket: u64) -> Self {
                Self(((stripe as u64) << TICKET_BITS) | (ticket & TICKET_MASK))
            }

            /// Returns the stripe whose ring gave the ticket.
            #[must_use]
            #[inline]
            pub const fn stripe(self) -> usize {
                (self.0 >> TICKET_BITS) as usize
            }

            /// Returns the ticket: how many were offered to that stripe before.
            #[must_use]
            #[inline]
            pub const fn ticket(self) -> u64 {
                self.0 & TICKET_MASK
            }
        }

        /// `stripe-ticket`, as in `3-1042`.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", self.stripe(), self.ticket())
            }
        }
    };
}

stripe_and_ticket! {
    /// Which call an event belongs to: the number of the first event that the call offered.
    ///
    /// Unique within one registry for its lifetime, taken from no shared counter. It orders by
    /// stripe, then ticket: by age only within a stripe.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::CallId;
    ///
    /// let call = CallId::new(3, 1_042);
    /// assert_eq!((call.stripe(), call.ticket()), (3, 1_042));
    /// assert_eq!(call.to_string(), "3-1042");
    /// ```
    CallId
}

stripe_and_ticket! {
    /// Which event of its stripe this is.
    ///
    /// Numbers are given to every event that is offered, also to those that are then lost: once
    /// nothing is under way, a number of a stripe that never came is a lost event.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::{CallId, EventNumber};
    ///
    /// let number = EventNumber::new(3, 1_042);
    /// assert_eq!((number.stripe(), number.ticket()), (3, 1_042));
    /// // A call is named after the first event that it offered.
    /// assert_eq!(CallId::from(number), CallId::new(3, 1_042));
    /// ```
    EventNumber
}

impl From<EventNumber> for CallId {
    #[inline]
    fn from(number: EventNumber) -> Self {
        Self(number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripe_and_ticket_keep_apart() {
        let call = CallId::new(255, u64::MAX);
        assert_eq!((call.stripe(), call.ticket()), (255, TICKET_MASK));
        assert!(CallId::new(0, 9) < CallId::new(1, 0));
        assert_eq!(EventNumber::new(3, 8).to_string(), "3-8");
        assert_eq!(CallId::from(EventNumber::new(3, 8)), CallId::new(3, 8));
    }
}
