//! The pump's side of the subscriptions: who there is, what each wants, and its queue.
//!
//! Owns the list of subscribers under its lock, and the account of each. Promise: under the lock,
//! for each subscriber, `drained = delivered + filtered + lost`, and each of these is told by
//! [`StatsHandle::read`] at once, never half of a round.
//!
//! # Orderings
//!
//! None of its own: the list and the accounts are behind locks. The pump never waits there for a
//! subscriber: nobody holds a lock while waiting.

use crate::{
    batch::{Batch, Moment, NameTable},
    channel::{Sender, TrySendError},
    event::Event,
    filter::Filter,
};
use std::{
    fmt,
    sync::{Arc, Weak},
};
use toolmeter_core::sync::{Mutex, lock};

/// What became of the events that were drained while a subscription lived. Counts of events.
///
/// `drained = delivered + filtered + lost`, at every moment.
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
/// use toolmeter_events::EventKind;
///
/// let failures = Filter::new().kinds([EventKind::Failed]);
/// let subscription = hub.subscribe(&rings, failures, 0, None)?;
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// hub.fan_out(drain.round(|| 1_000), &names, moment);
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
/// # use toolmeter_events::{Drain, Draft, Filter, Hub, Moment, NameTable, Rings, ToolId};
/// # let rings = Arc::new(Rings::new(1, 1_024)?);
/// # let mut drain = Drain::new(&rings, 0);
/// # let hub = Hub::new(16, 16)?;
/// # let shell = ToolId::new(1);
/// # let names = Arc::new(NameTable::new([(shell, "shell")]));
/// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
/// let subscription = hub.subscribe(&rings, Filter::new(), 0, None)?;
/// let stats = subscription.stats_handle();
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// hub.fan_out(drain.round(|| 1_000), &names, moment);
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

    /// The counts as they stand after the last round.
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

/// Tells a subscription's async receivers to try again: when batches came, and when it is
/// dropped, since none will come.
pub(crate) struct Announcer(pub(crate) Arc<event_listener::Event>);

impl Announcer {
    fn announce(&self) {
        self.0.notify(usize::MAX);
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.announce();
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
    /// Events timed before belong to the time before it.
    pub(crate) began_ns: u64,
    /// For each stripe the ticket at which it began; events below belong to the time before it.
    pub(crate) floors: Box<[u64]>,
    /// Lost since the last batch that its queue took.
    pub(crate) lost_before: u64,
}

/// What all batches of one round have in common.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) names: &'a Arc<NameTable>,
    pub(crate) moment: Moment,
    pub(crate) batch_size: usize,
}

impl Subscriber {
    fn wants(&self, event: &Event) -> bool {
        let number = event.number();
        event.time_ns() >= self.began_ns
            && self
                .floors
                .get(number.stripe())
                .is_none_or(|&floor| number.ticket() >= floor)
            && self.filter.wants(event)
    }

    /// Puts what it wants of a round into its queue, in batches, and counts all of it.
    fn deliver(&mut self, round: &Arc<Vec<Event>>, late: usize, delivery: Delivery<'_>) {
        let wanted: Vec<usize> = (0..round.len())
            .filter(|&place| self.wants(&round[place]))
            .collect();
        // The late are the first of the round, so also of what is wanted of it.
        let late = wanted.partition_point(|&place| place < late);
        let mut counts = SubscriptionStats {
            drained: round.len() as u64,
            filtered: (round.len() - wanted.len()) as u64,
            ..SubscriptionStats::default()
        };

        // What lies together is shared with the other subscribers, the rest copied.
        let first = wanted.first().copied().unwrap_or(0);
        let together = wanted
            .last()
            .is_none_or(|last| last - first + 1 == wanted.len());
        let (events, offset) = if together {
            (Arc::clone(round), first)
        } else {
            (
                Arc::new(wanted.iter().map(|&place| round[place].clone()).collect()),
                0,
            )
        };
        for start in (0..wanted.len()).step_by(delivery.batch_size) {
            let end = wanted.len().min(start.saturating_add(delivery.batch_size));
            let range = offset + start..offset + end;
            let Delivery { names, moment, .. } = delivery;
            let batch = Batch::new(&events, range, self.lost_before, names, moment);
            let size = (end - start) as u64;
            match self.queue.try_send(batch) {
                Ok(()) => {
                    counts.delivered += size;
                    counts.late += (late.min(end) - late.min(start)) as u64;
                    self.lost_before = 0;
                }
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    counts.lost += size;
                    self.lost_before += size;
                }
            }
        }
        self.count(counts);
        if counts.delivered > 0 {
            self.arrivals.announce();
        }
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
    /// Gives a round, of which the first `late` events are late, to each of them.
    pub(crate) fn fan_out(&mut self, round: &Arc<Vec<Event>>, late: usize, delivery: Delivery<'_>) {
        for subscriber in &mut self.list {
            subscriber.deliver(round, late, delivery);
        }
    }
}

/// Takes one subscriber off the list, if the hub still lives and has it.
pub(crate) fn remove(subscribers: &Weak<Mutex<Subscribers>>, id: u64) {
    if let Some(subscribers) = subscribers.upgrade() {
        let mut guard = lock(&subscribers);
        let place = guard.list.iter().position(|subscriber| subscriber.id == id);
        let removed = place.map(|place| guard.list.swap_remove(place));
        // What it still holds is freed outside the lock.
        drop(guard);
        drop(removed);
    }
}
