//! The result of one round of the drain.
//!
//! # Orderings
//!
//! None.

use crate::event::Event;

/// The events of one round of a [`Drain`](crate::Drain), in order.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use toolmeter_events::{Drain, Draft, Rings, ToolId};
///
/// let rings = Arc::new(Rings::new(1, 64)?);
/// rings.allocate();
/// let mut drain = Drain::new(&rings, 0);
/// for time_ns in [200, 100] {
///     rings.offer(0, Draft::started(ToolId::new(0), 1, time_ns, None), None);
/// }
/// let round = drain.round(|| 1_000);
/// let times: Vec<_> = round.events.iter().map(|event| event.time_ns()).collect();
/// assert_eq!((times, round.late), (vec![100, 200], 0));
/// # Ok::<(), toolmeter_events::RingsError>(())
/// ```
#[derive(Debug, Default)]
pub struct Round {
    /// The events, sorted by time, then by call, the `Started` of a call first.
    pub events: Vec<Event>,
    /// The number of events that are older than the newest event of the rounds before. They are at
    /// the front of `events`. After the clock stepped backwards, this counts every event until the
    /// clock has caught up.
    pub late: usize,
}
