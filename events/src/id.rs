//! The ids of tools and calls, and the numbers of events.
//!
//! Invariant: a call's id and an event's number consist of a stripe and a ticket of that stripe. So
//! they are unique, although no counter is shared by all threads.
//!
//! # Orderings
//!
//! None.

use std::fmt;

/// The number of bits of a [`CallId`] or an [`EventNumber`] that hold the ticket.
const TICKET_BITS: u32 = 56;
/// The bits of a [`CallId`] or an [`EventNumber`] that hold the ticket.
pub(crate) const TICKET_MASK: u64 = (1 << TICKET_BITS) - 1;

/// The id of a tool: a number that its registry gives to no other name.
///
/// [`Batch::name`](crate::Batch::name) returns the tool's name.
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
    /// Creates the id with this number.
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

/// A type that holds a stripe and a ticket in one word.
macro_rules! stripe_and_ticket {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Creates the value for this ticket of this stripe. Only the low 56 bits of `ticket`
            /// are kept.
            #[must_use]
            #[inline]
            pub const fn new(stripe: u8, ticket: u64) -> Self {
                Self(((stripe as u64) << TICKET_BITS) | (ticket & TICKET_MASK))
            }

            /// Returns the index of the stripe whose ring gave the ticket.
            #[must_use]
            #[inline]
            pub const fn stripe(self) -> usize {
                (self.0 >> TICKET_BITS) as usize
            }

            /// Returns the ticket: the number of events offered to that stripe before.
            #[must_use]
            #[inline]
            pub const fn ticket(self) -> u64 {
                self.0 & TICKET_MASK
            }
        }

        /// Formats it as `stripe-ticket`, for example `3-1042`.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", self.stripe(), self.ticket())
            }
        }
    };
}

stripe_and_ticket! {
    /// The id of a call: the number of the first event that the call offered.
    ///
    /// Unique within one registry for its lifetime. Ids are ordered by stripe, then by ticket, so
    /// by age only within a stripe.
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
    /// The number of an event within its stripe.
    ///
    /// Every event that is offered gets a number, including those that are then lost. So while no
    /// event is under way, each number of a stripe that was never drained is a lost event.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::{CallId, EventNumber};
    ///
    /// let number = EventNumber::new(3, 1_042);
    /// assert_eq!((number.stripe(), number.ticket()), (3, 1_042));
    /// // The id of a call is the number of the first event that it offered.
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
    fn stripe_and_ticket_do_not_overlap() {
        let call = CallId::new(255, u64::MAX);
        assert_eq!((call.stripe(), call.ticket()), (255, TICKET_MASK));
        assert!(CallId::new(0, 9) < CallId::new(1, 0));
        assert_eq!(EventNumber::new(3, 8).to_string(), "3-8");
        assert_eq!(CallId::from(EventNumber::new(3, 8)), CallId::new(3, 8));
    }
}
