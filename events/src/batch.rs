//! What a subscription receives: events in order, and what is needed to read them.
//!
//! Owns [`Batch`]. Promises:
//!
//! - A batch never changes; a clone of it shares everything.
//! - A batch keeps at most twice as many events alive as it has: it shares the round's one
//!   allocation with the other subscriptions if it lies together there and is at least half of the
//!   round; else its events have an allocation of their own, which those share whose filters are
//!   equal, or that want the same events if these lie together.
//!
//! # Orderings
//!
//! None: a batch is complete before it is shared.

use crate::{
    event::Event,
    id::ToolId,
    names::NameTable,
    timeline::{Moment, Timeline},
};
use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
    time::SystemTime,
};

/// Events in order, as one subscription receives them. Derefs to `[Event]`; never empty.
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
    shared: Arc<Shared>,
    /// Which of the events are in this batch.
    range: Range<usize>,
    lost_before: u64,
}

/// What batches of one round share: its events, or a part of them, and how they are read.
pub(crate) struct Shared {
    pub(crate) events: Vec<Event>,
    names: Arc<NameTable>,
    timeline: Arc<Timeline>,
    taken_at: SystemTime,
}

impl Shared {
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

    /// Returns the same with other events of the round.
    pub(crate) fn with(&self, events: Vec<Event>) -> Self {
        Self {
            events,
            names: Arc::clone(&self.names),
            timeline: Arc::clone(&self.timeline),
            taken_at: self.taken_at,
        }
    }
}

impl Batch {
    /// Makes a batch of the events in `range`, which lies within them.
    pub(crate) fn new(shared: Arc<Shared>, range: Range<usize>, lost_before: u64) -> Self {
        debug_assert!(range.start < range.end && range.end <= shared.events.len());
        Self {
            shared,
            range,
            lost_before,
        }
    }

    /// Returns for how many events its allocation has room.
    #[cfg(test)]
    pub(crate) fn kept_capacity(&self) -> usize {
        self.shared.events.capacity()
    }

    /// Returns the events.
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
    /// // It derefs to them as well.
    /// assert_eq!(batch[0].tool(), shell);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.shared.events[self.range.clone()]
    }

    /// Returns how many events this subscription lost between the batch before and this one,
    /// because its queue was full.
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
    /// // Room for one batch, which is not received.
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

    /// Returns the name of this tool, as it was when the batch was made.
    #[must_use]
    pub fn name(&self, tool: ToolId) -> Option<&str> {
        self.shared.names.name(tool)
    }

    /// Returns the names of all tools, as they were when the batch was made.
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
        &self.shared.names
    }

    /// Returns when the batch was made, by the wall clock.
    #[must_use]
    pub fn taken_at(&self) -> SystemTime {
        self.shared.taken_at
    }

    /// Returns when the event happened, by the wall clock as it stood at that time.
    ///
    /// The times that batches tell do not move when the wall clock is set: see [`Timeline`].
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
    /// // The clock says 1,000 when the batch is made.
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
    /// let batch = subscription.recv()?;
    /// assert_eq!(batch.wall_time(&batch[0]), batch.taken_at() - Duration::from_nanos(500));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wall_time(&self, event: &Event) -> SystemTime {
        self.shared.timeline.wall_time(event.time_ns())
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

    fn shared(events: Vec<Event>) -> Arc<Shared> {
        let names = Arc::new(NameTable::new([(ToolId::new(1), "shell")]));
        let timeline = Arc::new(Timeline::new(Moment::new(SystemTime::UNIX_EPOCH, 10)));
        let now = Moment::new(SystemTime::UNIX_EPOCH + Duration::from_nanos(90), 100);
        Arc::new(Shared::new(events, &names, &timeline, now))
    }

    #[test]
    fn a_batch_shows_its_range_and_shares_the_rest() {
        let shared = shared(vec![event(1), event(2), event(13)]);
        let batch = Batch::new(Arc::clone(&shared), 1..3, 4);
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
        assert_eq!(Arc::strong_count(&shared), 3);
    }

    #[cfg(debug_assertions)]
    fn batch_of_two(range: Range<usize>) -> Batch {
        Batch::new(shared(vec![event(1), event(2)]), range, 0)
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "range.start < range.end")]
    fn a_batch_is_never_empty() {
        let _ = batch_of_two(1..1);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "range.end <= shared.events.len()")]
    fn a_batch_lies_within_its_round() {
        let _ = batch_of_two(1..3);
    }
}
