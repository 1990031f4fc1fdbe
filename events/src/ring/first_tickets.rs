//! The tickets at which a subscription begins.
//!
//! A subscription gets the ends of a stripe from one ticket on, and the starts from another.
//! [`read`] loads every `offered` word once, for the ends. Then it passes over every word again
//! with a read-modify-write that changes nothing, for the starts.
//!
//! # Invariant: a subscription that gets the start of a call gets its end
//!
//! Let a start have a ticket that is not below the first one of starts. Its `fetch_add` comes after
//! the second pass over its word, and reads from that write, or from a chain of offers that began
//! there. So the whole first pass happened before the start was offered, hence before the end of
//! the call was. A load never reads from a write that it happened before. So in the stripe of the
//! end, whichever that is, the first ticket of ends is not above the ticket of that end.
//!
//! # Orderings
//!
//! None of its own: they are those of `given` and `pass_over` in [`toolmeter_core::tickets`]. The
//! `Release` of the second pass keeps the first before it. loom does not explore a load that moves
//! behind a later read-modify-write, so for this use the text above is the only proof. That two
//! passes are needed is shown by `a_call_across_stripes_never_comes_without_its_end`.

use super::stripe::StripeRing;
use crate::id::TICKET_MASK;

/// The tickets of one stripe from which a subscription gets events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstTickets {
    pub(crate) ends: u64,
    pub(crate) starts: u64,
}

/// Reads the first tickets of each stripe for a subscription that begins now.
pub(super) fn read(stripes: &[StripeRing]) -> Box<[FirstTickets]> {
    let ends = |stripe: &StripeRing| FirstTickets {
        ends: stripe.tickets().given() & TICKET_MASK,
        starts: 0,
    };
    let mut first: Box<[_]> = stripes.iter().map(ends).collect();
    for (first, stripe) in first.iter_mut().zip(stripes) {
        first.starts = stripe.tickets().pass_over() & TICKET_MASK;
    }
    first
}
