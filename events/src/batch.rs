//! What a subscription receives: events in order, and what is needed to read them.
//!
//! Owns [`Batch`], [`NameTable`] (tool ids to names) and [`Moment`] (both clocks, read together).
//!
//! Promises:
//!
//! - A batch never changes; a clone of it shares everything.
//! - Batches cut from one round share that round's one allocation, among all subscriptions that
//!   asked for the same events. The round is freed with the last batch of it.
//!
//! # Orderings
//!
//! None: a batch is complete before it is shared.

use crate::{event::Event, id::ToolId};
use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The names of some tools, by id.
///
/// # Examples
///
/// ```
/// use toolmeter_events::{NameTable, ToolId};
///
/// let names = NameTable::new([(ToolId::new(7), "shell"), (ToolId::new(2), "web_search")]);
/// assert_eq!(names.name(ToolId::new(7)), Some("shell"));
/// assert_eq!(names.name(ToolId::new(8)), None);
/// ```
#[derive(Clone, Default)]
pub struct NameTable {
    /// Sorted by id, each id once.
    names: Box<[(ToolId, Arc<str>)]>,
}

impl NameTable {
    /// A table of these names, in any order. Of two names for one id it keeps the first.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::{NameTable, ToolId};
    ///
    /// let names = NameTable::new([(ToolId::new(1), "shell"), (ToolId::new(1), "bash")]);
    /// assert_eq!((names.name(ToolId::new(1)), names.len()), (Some("shell"), 1));
    /// ```
    #[must_use]
    pub fn new<N: Into<Arc<str>>>(names: impl IntoIterator<Item = (ToolId, N)>) -> Self {
        let mut names: Vec<_> = names
            .into_iter()
            .map(|(id, name)| (id, name.into()))
            .collect();
        names.sort_by_key(|&(id, _)| id);
        names.dedup_by_key(|&mut (id, _)| id);
        Self {
            names: names.into(),
        }
    }

    /// The name of this tool, if the table has it.
    #[must_use]
    pub fn name(&self, tool: ToolId) -> Option<&str> {
        self.shared_name(tool).map(|name| &**name)
    }

    /// The name as it is shared, for whoever keeps it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use toolmeter_events::{NameTable, ToolId};
    ///
    /// let shell: Arc<str> = "shell".into();
    /// let names = NameTable::new([(ToolId::new(1), Arc::clone(&shell))]);
    /// assert!(Arc::ptr_eq(names.shared_name(ToolId::new(1)).unwrap(), &shell));
    /// ```
    #[must_use]
    pub fn shared_name(&self, tool: ToolId) -> Option<&Arc<str>> {
        let place = self.names.binary_search_by_key(&tool, |&(id, _)| id).ok()?;
        Some(&self.names[place].1)
    }

    /// How many names the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl fmt::Debug for NameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.names.iter().map(|(id, name)| (id.get(), name)))
            .finish()
    }
}

/// The wall clock and the registry's clock, read at one moment: what turns times of the one into
/// times of the other.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use toolmeter_events::Moment;
///
/// let moment = Moment::new(SystemTime::UNIX_EPOCH, 5_000);
/// assert_eq!((moment.wall(), moment.clock_ns()), (SystemTime::UNIX_EPOCH, 5_000));
/// let later = SystemTime::UNIX_EPOCH + Duration::from_nanos(2_000);
/// assert_eq!(moment.wall_time(7_000), later);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall: SystemTime,
    clock_ns: u64,
}

impl Moment {
    /// The moment when the wall clock said `wall` and the registry's clock `clock_ns`
    /// nanoseconds.
    #[must_use]
    pub const fn new(wall: SystemTime, clock_ns: u64) -> Self {
        Self { wall, clock_ns }
    }

    /// What the wall clock said.
    #[must_use]
    pub const fn wall(&self) -> SystemTime {
        self.wall
    }

    /// What the registry's clock said, in nanoseconds.
    #[must_use]
    pub const fn clock_ns(&self) -> u64 {
        self.clock_ns
    }

    /// The wall-clock time of `time_ns` nanoseconds of the registry's clock. A time that the
    /// system cannot express becomes the moment itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use toolmeter_events::Moment;
    ///
    /// let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    /// let moment = Moment::new(wall, 5_000);
    /// assert_eq!(moment.wall_time(4_000), wall - Duration::from_micros(1));
    /// assert_eq!(moment.wall_time(6_000), wall + Duration::from_micros(1));
    /// ```
    #[must_use]
    pub fn wall_time(&self, time_ns: u64) -> SystemTime {
        let time = match time_ns.checked_sub(self.clock_ns) {
            Some(after_ns) => self.wall.checked_add(Duration::from_nanos(after_ns)),
            None => self
                .wall
                .checked_sub(Duration::from_nanos(self.clock_ns - time_ns)),
        };
        time.unwrap_or(self.wall)
    }
}

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
///         println!("{} events came while nobody read", batch.lost_before());
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Batch {
    events: Arc<Vec<Event>>,
    /// Which of them are in this batch.
    range: Range<usize>,
    lost_before: u64,
    names: Arc<NameTable>,
    moment: Moment,
}

impl Batch {
    /// A batch of the events in `range`, which lies within them.
    pub(crate) fn new(
        events: &Arc<Vec<Event>>,
        range: Range<usize>,
        lost_before: u64,
        names: &Arc<NameTable>,
        moment: Moment,
    ) -> Self {
        debug_assert!(range.start < range.end && range.end <= events.len());
        let (events, names) = (Arc::clone(events), Arc::clone(names));
        Self {
            events,
            range,
            lost_before,
            names,
            moment,
        }
    }

    /// The events.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// let subscription = hub.subscribe(&rings, Filter::new(), 0, None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, moment);
    /// let batch = subscription.recv()?;
    /// assert_eq!(batch.events().len(), 1);
    /// // It derefs to them as well.
    /// assert_eq!(batch[0].tool(), shell);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events[self.range.clone()]
    }

    /// How many events this subscription lost between the batch before and this one, because its
    /// queue was full.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// // Room for one batch, and nobody receives.
    /// let subscription = hub.subscribe(&rings, Filter::new(), 0, Some(1))?;
    /// for time_ns in [100, 200, 300] {
    ///     rings.offer(0, Draft::started(shell, 1, time_ns, None), None);
    ///     hub.fan_out(drain.round(|| 1_000), &names, moment);
    /// }
    /// assert_eq!(subscription.recv()?.lost_before(), 0);
    /// rings.offer(0, Draft::started(shell, 1, 400, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, moment);
    /// assert_eq!(subscription.recv()?.lost_before(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn lost_before(&self) -> u64 {
        self.lost_before
    }

    /// The name of this tool, as it was when the batch was made.
    #[must_use]
    pub fn name(&self, tool: ToolId) -> Option<&str> {
        self.names.name(tool)
    }

    /// The names of all tools, as they were when the batch was made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// let subscription = hub.subscribe(&rings, Filter::new(), 0, None)?;
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, moment);
    /// let batch = subscription.recv()?;
    /// assert_eq!(batch.names().name(shell), batch.name(shell));
    /// assert_eq!(batch.name(shell), Some("shell"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn names(&self) -> &Arc<NameTable> {
        &self.names
    }

    /// When the batch was made.
    #[must_use]
    pub const fn taken_at(&self) -> SystemTime {
        self.moment.wall()
    }

    /// When the event happened, by the wall clock as it stood when the batch was made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
    /// # let rings = Arc::new(Rings::new(1, 1_024)?);
    /// # let mut drain = Drain::new(&rings, 0);
    /// # let hub = Hub::new(16, 16)?;
    /// # let shell = ToolId::new(1);
    /// # let names = Arc::new(NameTable::new([(shell, "shell")]));
    /// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    /// use std::time::Duration;
    ///
    /// let subscription = hub.subscribe(&rings, Filter::new(), 0, None)?;
    /// // The clock says 1,000 when the batch is made.
    /// rings.offer(0, Draft::started(shell, 1, 500, None), None);
    /// hub.fan_out(drain.round(|| 1_000), &names, moment);
    /// let batch = subscription.recv()?;
    /// assert_eq!(batch.wall_time(&batch[0]), batch.taken_at() - Duration::from_nanos(500));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wall_time(&self, event: &Event) -> SystemTime {
        self.moment.wall_time(event.time_ns())
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

    fn event(time_ns: u64) -> Event {
        Draft::started(ToolId::new(1), 1, time_ns, None)
            .into_event(EventNumber::new(0, time_ns), CallId::new(0, time_ns))
    }

    #[test]
    fn a_batch_shows_its_range_and_shares_the_rest() {
        let events = Arc::new(vec![event(1), event(2), event(3)]);
        let names = Arc::new(NameTable::new([(ToolId::new(1), "shell")]));
        let moment = Moment::new(SystemTime::UNIX_EPOCH, 10);
        let batch = Batch::new(&events, 1..3, 4, &names, moment);
        assert_eq!(batch.iter().map(Event::time_ns).collect::<Vec<_>>(), [2, 3]);
        assert!((&batch).into_iter().eq(batch.events()));
        assert_eq!(
            (batch.lost_before(), batch.name(ToolId::new(1))),
            (4, Some("shell"))
        );
        assert_eq!(batch.taken_at(), SystemTime::UNIX_EPOCH);
        let clone = batch.clone();
        assert!(std::ptr::eq(clone.events(), batch.events()));
        assert_eq!(Arc::strong_count(&events), 3);
    }

    fn batch_of_two(range: Range<usize>) -> Batch {
        let names = Arc::new(NameTable::default());
        let moment = Moment::new(SystemTime::UNIX_EPOCH, 10);
        Batch::new(
            &Arc::new(vec![event(1), event(2)]),
            range,
            0,
            &names,
            moment,
        )
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "range.start < range.end")]
    fn a_batch_is_never_empty() {
        let _ = batch_of_two(1..1);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "range.end <= events.len()")]
    fn a_batch_lies_within_its_round() {
        let _ = batch_of_two(1..3);
    }

    #[test]
    fn wall_time_runs_both_ways_and_stays_within_the_system() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let moment = Moment::new(wall, 5_000);
        assert_eq!(moment.wall_time(4_000), wall - Duration::from_micros(1));
        assert_eq!(moment.wall_time(6_000), wall + Duration::from_micros(1));
        assert_eq!(moment.wall_time(5_000), wall);
        // Neither panics; on a system that can express them they are far away.
        let _ = Moment::new(SystemTime::UNIX_EPOCH, u64::MAX).wall_time(0);
        let _ = moment.wall_time(u64::MAX);
    }

    #[test]
    fn of_two_names_the_first_counts() {
        let one = ToolId::new(1);
        let names = NameTable::new([(ToolId::new(3), "c"), (one, "a"), (one, "b")]);
        assert_eq!(
            (names.len(), names.name(one), names.is_empty()),
            (2, Some("a"), false)
        );
        assert!(NameTable::default().is_empty());
    }
}
