//! The pump's side of the subscriptions: who there is, what each wants, and its queue.
//!
//! Owns the list of subscribers under its lock, and the account of each. Promise: under the lock,
//! for each subscriber, `drained = delivered + filtered + lost`, and each of these is told by
//! [`StatsHandle::read`] at once, never half of a round.
//!
//! # Orderings
//!
//! None of its own: the list and the accounts are behind locks. The pump never waits there for a
//! subscriber: no thread waits while it holds a lock. Code of the host runs under none of them: a
//! round collects what there is to announce, and the hub announces it later.

use crate::{
    arrivals::Arrivals,
    batch::{Batch, Common},
    channel::{Sender, TrySendError},
    event::{Event, EventKind},
    filter::Filter,
    ring::Floor,
    sync::{Mutex, lock},
};
use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Weak},
};

/// What became of the events that were drained while a subscription lived. Counts of events.
///
/// `drained = delivered + filtered + lost`, at every moment.
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
/// use toolmeter_events::EventKind;
///
/// let failures = Filter::new().kinds([EventKind::Failed]);
/// let subscription = hub.subscribe(&rings, failures, None)?;
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment);
/// let stats = subscription.stats();
/// assert_eq!((stats.drained, stats.filtered), (1, 1));
/// assert_eq!(stats.drained, stats.delivered + stats.filtered + stats.lost);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionStats {
    /// Events that were drained from the rings while it lived.
    pub drained: u64,
    /// Of these, the events put into its queue, whether or not they were received from there.
    pub delivered: u64,
    /// Of these, the events that its filter did not want, or that belong to the time before it.
    pub filtered: u64,
    /// Of these, the events lost because its queue was full.
    pub lost: u64,
    /// Of the delivered, the events older than the newest of an earlier round.
    pub late: u64,
}

/// Reads the [`SubscriptionStats`] of a subscription, also after it was dropped.
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
/// let stats = subscription.stats_handle();
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment);
/// drop(subscription);
/// assert_eq!(stats.read().delivered, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StatsHandle(Arc<Mutex<SubscriptionStats>>);

impl StatsHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(SubscriptionStats::default())))
    }

    /// Returns the counts as they stand after the last round.
    #[must_use]
    pub fn read(&self) -> SubscriptionStats {
        *lock(&self.0)
    }
}

impl fmt::Debug for StatsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatsHandle").field(&self.read()).finish()
    }
}

/// Wakes a subscription's async receivers when it is dropped, since nothing more will come.
pub(crate) struct Announcer(pub(crate) Arc<Arrivals>);

impl Drop for Announcer {
    fn drop(&mut self) {
        self.0.announce();
    }
}

/// One subscription, as the pump sees it.
pub(crate) struct Subscriber {
    /// Its name in the list.
    pub(crate) id: u64,
    pub(crate) queue: Sender<Batch>,
    /// After the queue, because fields are dropped in this order: who hears of the end finds the
    /// queue disconnected.
    pub(crate) arrivals: Announcer,
    pub(crate) stats: StatsHandle,
    pub(crate) filter: Filter,
    /// For each stripe the tickets at which it began; events below belong to the time before it.
    pub(crate) floors: Box<[Floor]>,
    /// Lost since the last batch that its queue took.
    pub(crate) lost_before: u64,
}

/// One round, on its way to all subscriptions.
pub(crate) struct Delivery<'a> {
    pub(crate) round: Arc<Vec<Event>>,
    /// How many of its first events are late.
    pub(crate) late: usize,
    pub(crate) batch_size: usize,
    pub(crate) common: Common<'a>,
    /// Copies of parts of the round that lie together, for all subscriptions that want the same.
    cuts: BTreeMap<(usize, usize), Arc<Vec<Event>>>,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(
        mut events: Vec<Event>,
        late: usize,
        batch_size: usize,
        common: Common<'a>,
    ) -> Self {
        if events.capacity() > events.len().saturating_mul(2) {
            events.shrink_to_fit();
        }
        Self {
            round: Arc::new(events),
            late,
            batch_size,
            common,
            cuts: BTreeMap::new(),
        }
    }

    /// Returns how many copies of parts that lie together there are.
    #[cfg(test)]
    pub(crate) fn copies(&self) -> usize {
        self.cuts.len()
    }

    /// Returns the events at these places, at least one and in order, and where they lie in what
    /// is returned: the round itself if they lie together and are at least half of it.
    fn cut(&mut self, places: &[usize]) -> (Arc<Vec<Event>>, Range<usize>) {
        let (start, end) = (places[0], places[places.len() - 1] + 1);
        let together = end - start == places.len();
        if together && places.len() >= self.round.len() - places.len() {
            return (Arc::clone(&self.round), start..end);
        }
        let copy = || {
            let events = places.iter().map(|&place| self.round[place].clone());
            Arc::new(events.collect::<Vec<_>>())
        };
        let events = if together {
            Arc::clone(self.cuts.entry((start, end)).or_insert_with(copy))
        } else {
            copy()
        };
        (events, 0..places.len())
    }
}

impl Subscriber {
    fn wants(&self, event: &Event) -> bool {
        let number = event.number();
        let began = self.floors.get(number.stripe()).is_none_or(|floor| {
            let first = match event.kind() {
                EventKind::Started => floor.starts,
                _ => floor.ends,
            };
            number.ticket() >= first
        });
        began && self.filter.wants(event)
    }

    /// Puts what it wants of a round into its queue, in batches, and counts all of it. Returns
    /// whether it put something in.
    fn deliver(&mut self, delivery: &mut Delivery<'_>) -> bool {
        let round = &delivery.round;
        let wanted: Vec<usize> = (0..round.len())
            .filter(|&place| self.wants(&round[place]))
            .collect();
        let mut counts = SubscriptionStats {
            drained: round.len() as u64,
            filtered: (round.len() - wanted.len()) as u64,
            ..SubscriptionStats::default()
        };
        for places in wanted.chunks(delivery.batch_size) {
            let size = places.len() as u64;
            // Asked first, to copy nothing for a queue that is full. Only receivers are at work on
            // it meanwhile.
            let queued = !self.queue.is_full() && {
                let (events, range) = delivery.cut(places);
                let batch = Batch::new(events, range, self.lost_before, delivery.common);
                match self.queue.try_send(batch) {
                    Ok(()) => true,
                    Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
                }
            };
            if queued {
                counts.delivered += size;
                // The late are the first of the round, so also of what is wanted of it.
                counts.late += places.partition_point(|&place| place < delivery.late) as u64;
                self.lost_before = 0;
            } else {
                counts.lost += size;
                self.lost_before += size;
            }
        }
        self.count(counts);
        counts.delivered > 0
    }

    fn count(&self, counts: SubscriptionStats) {
        let mut stats = lock(&self.stats.0);
        stats.drained += counts.drained;
        stats.delivered += counts.delivered;
        stats.filtered += counts.filtered;
        stats.lost += counts.lost;
        stats.late += counts.late;
    }
}

/// The subscribers of one hub.
#[derive(Default)]
pub(crate) struct Subscribers {
    pub(crate) list: Vec<Subscriber>,
    pub(crate) next_id: u64,
    pub(crate) closed: bool,
}

impl Subscribers {
    /// Gives a round to each of them. Returns what is to be announced, once the lock is released.
    pub(crate) fn fan_out(&mut self, delivery: &mut Delivery<'_>) -> Vec<Arc<Arrivals>> {
        let mut arrived = Vec::new();
        for subscriber in &mut self.list {
            if subscriber.deliver(delivery) {
                arrived.push(Arc::clone(&subscriber.arrivals.0));
            }
        }
        arrived
    }
}

/// Takes one subscriber off the list, if the hub still lives and has it.
pub(crate) fn remove(subscribers: &Weak<Mutex<Subscribers>>, id: u64) {
    if let Some(subscribers) = subscribers.upgrade() {
        let mut guard = lock(&subscribers);
        let place = guard.list.iter().position(|subscriber| subscriber.id == id);
        let removed = place.map(|place| guard.list.swap_remove(place));
        // What it still holds is freed, and its end announced, outside the lock.
        drop(guard);
        drop(removed);
    }
}
