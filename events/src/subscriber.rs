//! The pump's side of the subscriptions: who there is, what each wants, and its queue.
//!
//! Owns the list of subscribers under its lock, and the account of each. Promise: under the lock,
//! for each subscriber, `drained = delivered + filtered + lost`, and each of these is told by
//! [`StatsHandle::read`] at once, never half of a round.
//!
//! A queue takes memory as it fills, and holds no more than its capacity. The channel it is made of
//! knows no capacity: this side counts the batches `sent`, the receivers count in `taken` those
//! they took (`arrivals.rs`), and a batch is put in only if `sent - taken < capacity`. A receiver
//! held up half way through taking a batch, which the channel of a fixed size would wait for, has
//! not counted it: it costs a place, and delays nothing.
//!
//! # Orderings
//!
//! None of its own: the list and the accounts are behind locks, and `taken` is in `arrivals.rs`. The
//! pump never waits there for a subscriber: no thread waits while it holds a lock. Code of the host
//! runs under none of them: a round collects what there is to announce, and the hub announces it
//! later.

use crate::{
    arrivals::Arrivals,
    batch::{Batch, Shared},
    channel::Sender,
    event::{Event, EventKind},
    filter::Filter,
    ring::Floor,
    sync::{Mutex, lock},
    waking::{Wakeups, Waking},
};
use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fmt, mem,
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
/// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
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
/// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
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

/// One subscription, as the pump sees it.
pub(crate) struct Subscriber {
    /// Its name in the list.
    pub(crate) id: u64,
    pub(crate) queue: Sender<Batch>,
    /// Batches put into the queue.
    pub(crate) sent: u64,
    /// Batches that the queue holds at most.
    pub(crate) capacity: u64,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) stats: StatsHandle,
    pub(crate) filter: Filter,
    /// For each stripe the tickets at which it began; events below belong to the time before it.
    pub(crate) floors: Box<[Floor]>,
    /// Lost since the last batch that its queue took.
    pub(crate) lost_before: u64,
}

/// One round, on its way to all subscriptions.
pub(crate) struct Delivery {
    round: Arc<Shared>,
    /// How many of its first events are late.
    late: usize,
    batch_size: usize,
    /// The lowest tickets of each stripe that has events in the round.
    lowest: Vec<(usize, Floor)>,
    /// Made for the first subscription that has a filter.
    classes: OnceCell<Option<Classes>>,
    /// Copies of parts of the round that lie together, for all subscriptions that want the same.
    cuts: BTreeMap<(usize, usize), Arc<Shared>>,
    /// What one subscription wants; kept to keep its memory.
    wanted: Vec<usize>,
}

/// Which events of a round no filter tells apart. So that a round is not gone through for each
/// subscription anew: few tools are at work in one.
struct Classes {
    /// The first event of each class.
    first: Vec<usize>,
    /// The class of each event.
    of: Vec<u8>,
}

impl Classes {
    /// How many classes there are at most.
    const MOST: usize = 64;

    /// Returns the classes of these events; `None` if there are too many.
    fn new(events: &[Event]) -> Option<Self> {
        let seen = |event: &Event| (event.tool(), event.kind(), event.is_retry());
        let mut first: Vec<usize> = Vec::new();
        let mut of = Vec::with_capacity(events.len());
        for (place, event) in events.iter().enumerate() {
            let known = first
                .iter()
                .position(|&other| seen(&events[other]) == seen(event));
            let class = known.unwrap_or_else(|| {
                first.push(place);
                first.len() - 1
            });
            if class >= Self::MOST {
                return None;
            }
            of.push(class as u8);
        }
        Some(Self { first, of })
    }

    /// Returns one bit for each class that the filter wants.
    fn wanted_by(&self, filter: &Filter, events: &[Event]) -> u64 {
        let classes = self.first.iter().rev();
        classes.fold(0, |bits, &place| {
            bits << 1 | u64::from(filter.wants(&events[place]))
        })
    }

    fn all(&self) -> u64 {
        u64::MAX >> (Self::MOST - self.first.len())
    }
}

/// Places in a round, at least one and in order.
enum Part<'a> {
    Together(Range<usize>),
    Apart(&'a [usize]),
}

impl<'a> Part<'a> {
    fn new(places: &'a [usize]) -> Self {
        let (start, end) = (places[0], places[places.len() - 1] + 1);
        if end - start == places.len() {
            Self::Together(start..end)
        } else {
            Self::Apart(places)
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Together(range) => range.len(),
            Self::Apart(places) => places.len(),
        }
    }

    /// Returns how many of its places are below this one.
    fn below(&self, place: usize) -> usize {
        match self {
            Self::Together(range) => place.clamp(range.start, range.end) - range.start,
            Self::Apart(places) => places.partition_point(|&other| other < place),
        }
    }
}

impl Delivery {
    pub(crate) fn new(mut round: Shared, late: usize, batch_size: usize) -> Self {
        let events = &mut round.events;
        if events.capacity() > events.len().saturating_mul(2) {
            events.shrink_to_fit();
        }
        let lowest = lowest(events);
        Self {
            round: Arc::new(round),
            late,
            batch_size,
            lowest,
            classes: OnceCell::new(),
            cuts: BTreeMap::new(),
            wanted: Vec::new(),
        }
    }

    /// Returns how many copies of parts that lie together there are.
    #[cfg(test)]
    pub(crate) fn copies(&self) -> usize {
        self.cuts.len()
    }

    /// Returns whether no event of the round is below these floors.
    fn is_above(&self, floors: &[Floor]) -> bool {
        self.lowest.iter().all(|(stripe, lowest)| {
            floors
                .get(*stripe)
                .is_none_or(|floor| lowest.starts >= floor.starts && lowest.ends >= floor.ends)
        })
    }

    fn classes(&self) -> Option<&Classes> {
        let events = &self.round.events;
        self.classes.get_or_init(|| Classes::new(events)).as_ref()
    }

    /// Returns whether the filter is known to want every event of the round.
    fn is_wanted_whole(&self, filter: &Filter) -> bool {
        let events = &self.round.events;
        let wants_all = |classes: &Classes| classes.wanted_by(filter, events) == classes.all();
        filter.wants_all() || self.classes().is_some_and(wants_all)
    }

    /// Finds the places of the events that the filter wants.
    fn find_wanted(&self, filter: &Filter, wanted: &mut Vec<usize>) {
        wanted.clear();
        let events = &self.round.events;
        let places = 0..events.len();
        if let Some(classes) = self.classes() {
            let bits = classes.wanted_by(filter, events);
            if bits != 0 {
                wanted.extend(places.filter(|&place| bits >> classes.of[place] & 1 != 0));
            }
        } else {
            wanted.extend(places.filter(|&place| filter.wants(&events[place])));
        }
    }

    /// Returns a part's events and where they lie in what is returned: the round itself if
    /// they lie together and are at least half of it.
    fn cut(&mut self, part: &Part<'_>) -> (Arc<Shared>, Range<usize>) {
        let round = &self.round;
        let events = match part {
            Part::Together(range) => {
                if range.len() >= round.events.len() - range.len() {
                    return (Arc::clone(round), range.clone());
                }
                let copy = || Arc::new(round.with(round.events[range.clone()].to_vec()));
                let cut = self.cuts.entry((range.start, range.end));
                Arc::clone(cut.or_insert_with(copy))
            }
            Part::Apart(places) => {
                let events = places.iter().map(|&place| round.events[place].clone());
                Arc::new(round.with(events.collect()))
            }
        };
        (events, 0..part.len())
    }
}

/// Returns the lowest tickets of starts and of ends, for each stripe that has any of these events.
fn lowest(events: &[Event]) -> Vec<(usize, Floor)> {
    let mut lowest: Vec<(usize, Floor)> = Vec::new();
    for event in events {
        let number = event.number();
        let known = lowest
            .iter()
            .position(|(stripe, _)| *stripe == number.stripe());
        let at = known.unwrap_or_else(|| {
            let none = Floor {
                ends: u64::MAX,
                starts: u64::MAX,
            };
            lowest.push((number.stripe(), none));
            lowest.len() - 1
        });
        let floor = &mut lowest[at].1;
        let ticket = match event.kind() {
            EventKind::Started => &mut floor.starts,
            _ => &mut floor.ends,
        };
        *ticket = number.ticket().min(*ticket);
    }
    lowest
}

impl Subscriber {
    /// Returns whether the event belongs to the time since it began.
    fn began(&self, event: &Event) -> bool {
        let number = event.number();
        self.floors.get(number.stripe()).is_none_or(|floor| {
            let first = match event.kind() {
                EventKind::Started => floor.starts,
                _ => floor.ends,
            };
            number.ticket() >= first
        })
    }

    /// Puts what it wants of a round into its queue, in batches, and counts all of it. Returns
    /// whether it put something in.
    fn deliver(&mut self, delivery: &mut Delivery) -> bool {
        let drained = delivery.round.events.len();
        let mut counts = SubscriptionStats {
            drained: drained as u64,
            ..SubscriptionStats::default()
        };
        let began = delivery.is_above(&self.floors);
        if began && delivery.is_wanted_whole(&self.filter) {
            for start in (0..drained).step_by(delivery.batch_size) {
                let end = drained.min(start + delivery.batch_size);
                self.put(delivery, &Part::Together(start..end), &mut counts);
            }
        } else {
            let mut wanted = mem::take(&mut delivery.wanted);
            delivery.find_wanted(&self.filter, &mut wanted);
            if !began {
                let events = &delivery.round.events;
                wanted.retain(|&place| self.began(&events[place]));
            }
            for places in wanted.chunks(delivery.batch_size) {
                self.put(delivery, &Part::new(places), &mut counts);
            }
            delivery.wanted = wanted;
        }
        counts.filtered = counts.drained - counts.delivered - counts.lost;
        self.count(counts);
        counts.delivered > 0
    }

    /// Puts one batch into the queue, if there is room.
    fn put(&mut self, delivery: &mut Delivery, part: &Part<'_>, counts: &mut SubscriptionStats) {
        let size = part.len() as u64;
        // Asked first, to copy nothing for a queue that is full.
        let queued = self.sent - self.arrivals.taken() < self.capacity && {
            let (events, range) = delivery.cut(part);
            let batch = Batch::new(events, range, self.lost_before);
            self.queue.send(batch).is_ok()
        };
        if queued {
            self.sent += 1;
            if cfg!(any(debug_assertions, toolmeter_loom)) {
                assert!(self.queue.len() as u64 <= self.capacity, "too many batches");
            }
            counts.delivered += size;
            // The late are the first of the round, so also of what is wanted of it.
            counts.late += part.below(delivery.late) as u64;
            self.lost_before = 0;
        } else {
            counts.lost += size;
            self.lost_before += size;
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

    /// Ends the queue. Returns what is to be announced.
    fn end(self) -> Option<Arc<Arrivals>> {
        let Self {
            queue, arrivals, ..
        } = self;
        // Before the announcement: who hears of the end finds the queue disconnected.
        drop(queue);
        arrivals.is_awaited().then_some(arrivals)
    }
}

/// The subscribers of one hub.
pub(crate) struct Subscribers {
    pub(crate) list: Vec<Subscriber>,
    pub(crate) next_id: u64,
    pub(crate) closed: bool,
    waking: Arc<Waking>,
}

impl Subscribers {
    pub(crate) const fn new(waking: Arc<Waking>) -> Self {
        Self {
            list: Vec::new(),
            next_id: 0,
            closed: false,
            waking,
        }
    }

    /// Gives a round to each of them. Returns what is to be announced, once the lock is released.
    pub(crate) fn fan_out(&mut self, delivery: &mut Delivery) -> Vec<Arc<Arrivals>> {
        let mut arrived = Vec::new();
        for subscriber in &mut self.list {
            if subscriber.deliver(delivery) && subscriber.arrivals.is_awaited() {
                arrived.push(Arc::clone(&subscriber.arrivals));
            }
        }
        arrived
    }
}

/// Ends all of these. For whom holds no lock.
pub(crate) fn end(subscribers: Vec<Subscriber>, waking: &Arc<Waking>) -> Wakeups {
    let ended = subscribers
        .into_iter()
        .filter_map(Subscriber::end)
        .collect();
    Wakeups::last(ended, Arc::clone(waking))
}

/// When the last hub goes, it is as if it were closed.
impl Drop for Subscribers {
    fn drop(&mut self) {
        end(mem::take(&mut self.list), &self.waking).wake();
    }
}

/// Takes one subscriber off the list, if the hub still lives and has it.
pub(crate) fn remove(subscribers: &Weak<Mutex<Subscribers>>, id: u64) {
    if let Some(subscribers) = subscribers.upgrade() {
        let mut guard = lock(&subscribers);
        let place = guard.list.iter().position(|subscriber| subscriber.id == id);
        let removed = place.map(|place| guard.list.swap_remove(place));
        // What it still holds is freed outside the lock. Nobody waits for it any more.
        drop(guard);
        drop(removed);
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use crate::{
        event::Draft,
        id::{CallId, EventNumber, ToolId},
        names::NameTable,
        timeline::{Moment, Timeline},
    };
    use std::time::SystemTime;
    use toolmeter_core::{ErrorKind, Finish, Outcome};

    /// Events of so many tools: starts, failures, and one retry of each.
    fn events(tools: u32) -> Vec<Event> {
        let mut events = Vec::new();
        for tool in 0..tools {
            let failed = Finish::new(Outcome::Failure(ErrorKind::Other), 2, 1, 1);
            for draft in [
                Draft::started(ToolId::new(tool), 1, 1, None),
                Draft::closing(ToolId::new(tool), failed, None, None),
                Draft::started(ToolId::new(tool), 2, 1, None),
            ] {
                let ticket = events.len() as u64;
                events.push(draft.into_event(EventNumber::new(0, ticket), CallId::new(0, ticket)));
            }
        }
        events
    }

    fn delivery(events: &[Event]) -> Delivery {
        let now = Moment::new(SystemTime::UNIX_EPOCH, 1);
        let names = Arc::new(NameTable::default());
        let shared = Shared::new(events.to_vec(), &names, &Arc::new(Timeline::new(now)), now);
        Delivery::new(shared, 0, 16)
    }

    #[test]
    fn what_is_wanted_is_the_same_whether_or_not_the_classes_are_few() {
        let filters = [
            Filter::new(),
            Filter::new().kinds([]),
            Filter::new().kinds([EventKind::Started, EventKind::Failed]),
            Filter::new().kinds([EventKind::Failed]),
            Filter::new().tools([ToolId::new(0)]),
            Filter::new().tools([ToolId::new(2), ToolId::new(20)]),
            Filter::new().retries_only(),
        ];
        // 3, 63, 66 and 90 classes.
        for tools in [1, 21, 22, 30] {
            let events = events(tools);
            let delivery = delivery(&events);
            assert_eq!(delivery.classes().is_some(), tools <= 21);
            for filter in &filters {
                let expected: Vec<_> = (0..events.len())
                    .filter(|&place| filter.wants(&events[place]))
                    .collect();
                let mut wanted = vec![9];
                delivery.find_wanted(filter, &mut wanted);
                assert_eq!(wanted, expected, "{tools} tools, {filter:?}");
                if delivery.is_wanted_whole(filter) {
                    assert_eq!(wanted.len(), events.len());
                }
            }
            let two = &filters[2];
            assert_eq!(delivery.is_wanted_whole(two), tools <= 21);
        }
    }

    #[test]
    fn the_lowest_tickets_are_told_apart_by_stripe_and_kind() {
        let event = |stripe, ticket| {
            let draft = Draft::started(ToolId::new(0), 1, 1, None);
            draft.into_event(EventNumber::new(stripe, ticket), CallId::new(0, 0))
        };
        let delivery = delivery(&[event(1, 7), event(0, 3), event(1, 5)]);
        let floors = |starts: [u64; 2]| starts.map(|starts| Floor { ends: 9, starts });
        assert!(delivery.is_above(&floors([3, 5])) && delivery.is_above(&[]));
        assert!(!delivery.is_above(&floors([4, 5])) && !delivery.is_above(&floors([3, 6])));
    }
}
