//! The batches that a subscription receives: events in order, and the data to interpret them.
//!
//! Invariant: a batch never changes, and a clone of it shares everything. `delivery/slicer.rs` says
//! what memory batches share and keep alive.
//!
//! # Orderings
//!
//! None: a batch is complete before it is shared.

use crate::{event::Event, id::ToolId, moment::Moment, name_table::NameTable, timeline::Timeline};
use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
    time::SystemTime,
};

/// A batch of events in order, as one subscription receives them.
///
/// Dereferences to `[Event]`, and is never empty. A clone shares the events.
///
/// # Examples
///
/// ```
/// use toolmeter_events::{Batch, EventKind};
///
/// fn report(batch: &Batch) {
///     for event in batch {
///         let tool = batch.name(event.tool()).unwrap_or("?");
///         println!("{:?} {} {tool}", batch.wall_time(event), event.kind());
///     }
///     if batch.lost_before() > 0 {
///         println!("{} events were lost before it", batch.lost_before());
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Batch {
    data: Arc<RoundData>,
    /// The range of the events that belongs to this batch.
    range: Range<usize>,
    lost_before: u64,
}

/// The events of a round, or a part of them, and the data to interpret them. Batches share it.
pub(crate) struct RoundData {
    pub(crate) events: Vec<Event>,
    names: Arc<NameTable>,
    timeline: Arc<Timeline>,
    taken_at: SystemTime,
}

impl RoundData {
    pub(crate) fn new(
        events: Vec<Event>,
        names: &Arc<NameTable>,
        timeline: &Arc<Timeline>,
        now: Moment,
    ) -> Self {
        Self {
            events,
            names: Arc::clone(names),
            timeline: Arc::clone(timeline),
            taken_at: now.wall(),
        }
    }

    /// Returns the same data with other events of the round.
    pub(crate) fn with_events(&self, events: Vec<Event>) -> Self {
        Self {
            events,
            names: Arc::clone(&self.names),
            timeline: Arc::clone(&self.timeline),
            taken_at: self.taken_at,
        }
    }
}

impl Batch {
    /// Creates a batch of the events in `range`, which is not empty and lies within them.
    pub(crate) fn new(data: Arc<RoundData>, range: Range<usize>, lost_before: u64) -> Self {
        debug_assert!(range.start < range.end && range.end <= data.events.len());
        Self {
            data,
            range,
            lost_before,
        }
    }

    /// Returns the number of events that its allocation has room for.
    #[cfg(test)]
    pub(crate) fn kept_capacity(&self) -> usize {
        self.data.events.capacity()
    }

    /// Returns the events of the batch, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{
    /// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
    /// # };
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// # let timeline = Arc::new(Timeline::new(moment));
    /// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// let batch = subscription.recv()?;
    /// assert_eq!(batch.events().len(), 1);
    /// // The batch dereferences to them.
    /// assert_eq!(batch[0].tool(), shell);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.data.events[self.range.clone()]
    }

    /// Returns the number of events that this subscription lost between the previous batch and this
    /// one, because its queue was full.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{
    /// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
    /// # };
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// # let timeline = Arc::new(Timeline::new(moment));
    /// // Room for one batch, which is not received at first.
    /// let subscription = hub.subscribe(&rings, Filter::new(), Some(1))?;
    /// for time_ns in [100, 200, 300] {
    ///     rings.offer(0, Draft::started(shell, 1, time_ns, None), None);
    ///     hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// }
    /// assert_eq!(subscription.recv()?.lost_before(), 0);
    /// rings.offer(0, Draft::started(shell, 1, 400, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// assert_eq!(subscription.recv()?.lost_before(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn lost_before(&self) -> u64 {
        self.lost_before
    }

    /// Returns the name of this tool as of the batch's round, if it has one.
    #[must_use]
    pub fn name(&self, tool: ToolId) -> Option<&str> {
        self.data.names.name(tool)
    }

    /// Returns the names of all tools as of the batch's round.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{
    /// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
    /// # };
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// # let timeline = Arc::new(Timeline::new(moment));
    /// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// let batch = subscription.recv()?;
    /// assert_eq!(batch.names().name(shell), batch.name(shell));
    /// assert_eq!(batch.name(shell), Some("shell"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn names(&self) -> &Arc<NameTable> {
        &self.data.names
    }

    /// Returns the wall-clock time of the batch's round.
    #[must_use]
    pub fn taken_at(&self) -> SystemTime {
        self.data.taken_at
    }

    /// Returns the wall-clock time at which the event happened.
    ///
    /// That time does not move when the wall clock is set later: see [`Timeline`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{
    /// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
    /// # };
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// # let timeline = Arc::new(Timeline::new(moment));
    /// use std::time::Duration;
    ///
    /// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
    /// // The clock reads 1,000 in the batch's round.
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// let batch = subscription.recv()?;
    /// assert_eq!(batch.wall_time(&batch[0]), batch.taken_at() - Duration::from_nanos(500));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wall_time(&self, event: &Event) -> SystemTime {
        self.data.timeline.wall_time(event.time_ns())
    }
}

impl Deref for Batch {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        self.events()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.events().iter()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("events", &self.events())
            .field("lost_before", &self.lost_before)
            .field("taken_at", &self.taken_at())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Draft,
        id::{CallId, EventNumber},
    };
    use std::time::Duration;

    fn event(time_ns: u64) -> Event {
        Draft::started(ToolId::new(1), 1, time_ns, None)
            .into_event(EventNumber::new(0, time_ns), CallId::new(0, time_ns))
    }

    fn data(events: Vec<Event>) -> Arc<RoundData> {
        let names = Arc::new(NameTable::new([(ToolId::new(1), "shell")]));
        let timeline = Arc::new(Timeline::new(Moment::new(SystemTime::UNIX_EPOCH, 10)));
        let now = Moment::new(SystemTime::UNIX_EPOCH + Duration::from_nanos(90), 100);
        Arc::new(RoundData::new(events, &names, &timeline, now))
    }

    #[test]
    fn a_batch_shows_its_range_and_shares_the_rest() {
        let data = data(vec![event(1), event(2), event(13)]);
        let batch = Batch::new(Arc::clone(&data), 1..3, 4);
        assert_eq!(
            batch.iter().map(Event::time_ns).collect::<Vec<_>>(),
            [2, 13]
        );
        assert!((&batch).into_iter().eq(batch.events()));
        assert_eq!(
            (batch.lost_before(), batch.name(ToolId::new(1))),
            (4, Some("shell"))
        );
        let nanos = Duration::from_nanos;
        assert_eq!(batch.taken_at(), SystemTime::UNIX_EPOCH + nanos(90));
        assert_eq!(
            batch.wall_time(&batch[1]),
            SystemTime::UNIX_EPOCH + nanos(3)
        );
        let clone = batch.clone();
        assert!(std::ptr::eq(clone.events(), batch.events()));
        assert_eq!(Arc::strong_count(&data), 3);
    }

    #[cfg(debug_assertions)]
    fn batch_of_two(range: Range<usize>) -> Batch {
        Batch::new(data(vec![event(1), event(2)]), range, 0)
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "range.start < range.end")]
    fn a_batch_is_never_empty() {
        let _ = batch_of_two(1..1);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "range.end <= data.events.len()")]
    fn a_batch_lies_within_its_round() {
        let _ = batch_of_two(1..3);
    }
}
