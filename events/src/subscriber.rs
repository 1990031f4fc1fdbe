//! The pump's side of the subscriptions: who there is, what each wants, and its queue.
//!
//! Owns the list of subscribers under its lock, and the account of each. Promise: under the lock,
//! for each subscriber, `drained = delivered + filtered + lost`, and each of these is told by
//! [`StatsHandle::read`] at once, never half of a round.
//!
//! A queue takes memory as it fills, and holds no more than its capacity. The channel it is made of
//! knows no capacity: this side counts the batches `sent`, the receivers count in `taken` those
//! they took (`async_receivers.rs`), and a batch is put in only if `sent - taken < capacity`. A receiver
//! held up half way through taking a batch, which the channel of a fixed size would wait for, has
//! not counted it: it costs a place, and delays nothing.
//!
//! # Orderings
//!
//! None of its own: the list and the accounts are behind locks, and `taken` is in `async_receivers.rs`. The
//! pump never waits there for a subscriber: no thread waits while it holds a lock. Code of the host
//! runs under none of them: a round collects what there is to announce, and the hub announces it
//! later.

use crate::{
    async_receivers::AsyncReceivers,
    batch::{Batch, Shared},
    channel::Sender,
    event::Event,
    filter::Filter,
    ring::Floor,
    sync::{Mutex, lock},
    waker_threads::{WakerThreads, Wakeups},
};
use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap},
    fmt, iter, mem,
    ops::Range,
    sync::{Arc, Weak},
};
use toolmeter_core::EventKind;

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
    pub(crate) receivers: Arc<AsyncReceivers>,
    pub(crate) stats: StatsHandle,
    pub(crate) filter: Filter,
    /// For each stripe the tickets at which it began; events below belong to the time before it.
    pub(crate) floors: Box<[Floor]>,
    /// Lost since the last batch that its queue took.
    pub(crate) lost_before: u64,
}

/// One round, on its way to all subscriptions.
pub(crate) struct Delivery {
    round: Cutter,
    batch_size: usize,
    /// The lowest tickets of each stripe that has events in the round.
    lowest: Vec<(usize, Floor)>,
    /// The places of the events, by their tools. Made for the first filter that names tools.
    by_tool: OnceCell<Vec<usize>>,
    /// What each filter so far wants, so that equal filters are asked once, and share what they
    /// want. Of those that name tools, only the filters that want something.
    wanted: HashMap<Filter, Wanted>,
}

/// A round's events, and the parts that were copied out of it.
struct Cutter {
    round: Arc<Shared>,
    /// How many of its first events are late.
    late: usize,
    /// Copies of parts that lie together, for all subscriptions that want the same.
    cuts: BTreeMap<(usize, usize), Arc<Shared>>,
}

/// Events, and where in them a batch lies.
type Cut = (Arc<Shared>, Range<usize>);

/// What a filter wants of a round.
struct Wanted {
    /// In order.
    places: Vec<usize>,
    /// For each batch of them its events, once a subscription had room for it.
    cuts: Vec<Option<Cut>>,
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
            round: Cutter {
                round: Arc::new(round),
                late,
                cuts: BTreeMap::new(),
            },
            batch_size,
            lowest,
            by_tool: OnceCell::new(),
            wanted: HashMap::new(),
        }
    }

    /// Returns how many copies of parts that lie together there are.
    #[cfg(test)]
    pub(crate) fn copies(&self) -> usize {
        self.round.cuts.len()
    }

    /// Returns whether no event of the round is below these floors.
    fn is_above(&self, floors: &[Floor]) -> bool {
        self.lowest.iter().all(|(stripe, lowest)| {
            floors
                .get(*stripe)
                .is_none_or(|floor| lowest.starts >= floor.starts && lowest.ends >= floor.ends)
        })
    }

    /// Finds what the filter wants, unless an equal one was asked before. Returns whether it wants
    /// anything.
    fn find_wanted(&mut self, filter: &Filter) -> bool {
        if let Some(wanted) = self.wanted.get(filter) {
            return !wanted.places.is_empty();
        }
        let places = self.places_wanted(filter);
        let is_wanted = !places.is_empty();
        if is_wanted || filter.named_tools().is_none() {
            let batches = places.len().div_ceil(self.batch_size);
            let cuts = iter::repeat_with(|| None).take(batches).collect();
            self.wanted.insert(filter.clone(), Wanted { places, cuts });
        }
        is_wanted
    }

    /// Returns the places of the events that the filter wants, in order.
    fn places_wanted(&self, filter: &Filter) -> Vec<usize> {
        let events = &self.round.round.events;
        let is_wanted = |place: &usize| filter.wants(&events[*place]);
        match filter.named_tools() {
            // Many subscriptions name a tool each: none of them looks at every event.
            Some(tools) if tools.len() < events.len() / 16 => {
                let by_tool = self.by_tool.get_or_init(|| by_tool(events));
                let mut places = Vec::new();
                for &tool in tools {
                    let start = by_tool.partition_point(|&place| events[place].tool() < tool);
                    let of_tool = by_tool[start..].iter();
                    let of_tool = of_tool.take_while(|&&place| events[place].tool() == tool);
                    places.extend(of_tool.copied().filter(is_wanted));
                }
                places.sort_unstable();
                places
            }
            _ => (0..events.len()).filter(is_wanted).collect(),
        }
    }
}

/// Returns the places of these events, sorted by their tools.
fn by_tool(events: &[Event]) -> Vec<usize> {
    let mut places: Vec<_> = (0..events.len()).collect();
    places.sort_by_key(|&place| events[place].tool());
    places
}

impl Cutter {
    /// Returns a part's events and where they lie in what is returned: the round itself if
    /// they lie together and are at least half of it.
    fn cut(&mut self, part: &Part<'_>) -> Cut {
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
        let drained = delivery.round.round.events.len();
        let batch_size = delivery.batch_size;
        let mut counts = SubscriptionStats {
            drained: drained as u64,
            ..SubscriptionStats::default()
        };
        let began = delivery.is_above(&self.floors);
        if began && self.filter.wants_all() {
            for start in (0..drained).step_by(batch_size) {
                let part = Part::Together(start..drained.min(start + batch_size));
                self.put(&mut delivery.round, &part, &mut None, &mut counts);
            }
        } else if delivery.find_wanted(&self.filter)
            && let Some(wanted) = delivery.wanted.get_mut(&self.filter)
        {
            let round = &mut delivery.round;
            if began {
                let batches = wanted.places.chunks(batch_size);
                for (places, cut) in batches.zip(&mut wanted.cuts) {
                    self.put(round, &Part::new(places), cut, &mut counts);
                }
            } else {
                let events = &round.round.events;
                let places = wanted.places.iter().copied();
                let places: Vec<_> = places.filter(|&place| self.began(&events[place])).collect();
                for places in places.chunks(batch_size) {
                    self.put(round, &Part::new(places), &mut None, &mut counts);
                }
            }
        }
        counts.filtered = counts.drained - counts.delivered - counts.lost;
        self.count(counts);
        counts.delivered > 0
    }

    /// Puts one batch into the queue, if there is room. `cut` is the part, once it was cut.
    fn put(
        &mut self,
        round: &mut Cutter,
        part: &Part<'_>,
        cut: &mut Option<Cut>,
        counts: &mut SubscriptionStats,
    ) {
        let size = part.len() as u64;
        // Asked first, to copy nothing for a queue that is full.
        let queued = self.sent - self.receivers.taken() < self.capacity && {
            let (events, range) = cut.get_or_insert_with(|| round.cut(part)).clone();
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
            counts.late += part.below(round.late) as u64;
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
    fn end(self) -> Option<Arc<AsyncReceivers>> {
        let Self {
            queue, receivers, ..
        } = self;
        // Before the announcement: who hears of the end finds the queue disconnected.
        drop(queue);
        receivers.is_awaited().then_some(receivers)
    }
}

/// The subscribers of one hub.
pub(crate) struct Subscribers {
    pub(crate) list: Vec<Subscriber>,
    pub(crate) next_id: u64,
    pub(crate) closed: bool,
    waker_threads: Arc<WakerThreads>,
}

impl Subscribers {
    pub(crate) const fn new(waker_threads: Arc<WakerThreads>) -> Self {
        Self {
            list: Vec::new(),
            next_id: 0,
            closed: false,
            waker_threads,
        }
    }

    /// Gives a round to each of them. Returns what is to be announced, once the lock is released.
    pub(crate) fn fan_out(&mut self, delivery: &mut Delivery) -> Vec<Arc<AsyncReceivers>> {
        let mut arrived = Vec::new();
        for subscriber in &mut self.list {
            if subscriber.deliver(delivery) && subscriber.receivers.is_awaited() {
                arrived.push(Arc::clone(&subscriber.receivers));
            }
        }
        arrived
    }
}

/// Ends all of these. For whom holds no lock.
pub(crate) fn end(subscribers: Vec<Subscriber>, waker_threads: &Arc<WakerThreads>) -> Wakeups {
    let ended = subscribers
        .into_iter()
        .filter_map(Subscriber::end)
        .collect();
    Wakeups::last(ended, Arc::clone(waker_threads))
}

/// When the last hub goes, it is as if it were closed.
impl Drop for Subscribers {
    fn drop(&mut self) {
        end(mem::take(&mut self.list), &self.waker_threads).wake();
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
    fn what_is_wanted_is_the_same_whether_or_not_tools_are_looked_up() {
        let filters = [
            Filter::new(),
            Filter::new().kinds([]),
            Filter::new().kinds([EventKind::Started, EventKind::Failed]),
            Filter::new().kinds([EventKind::Failed]),
            Filter::new().tools([]),
            Filter::new().tools([ToolId::new(0)]),
            Filter::new().tools([ToolId::new(99)]),
            Filter::new().tools([ToolId::new(20), ToolId::new(2)]),
            Filter::new().tools((0..9).map(ToolId::new)).retries_only(),
            Filter::new().retries_only(),
        ];
        // Events of two rounds of calls: those of a tool do not lie together.
        for tools in [1, 21, 30, 200] {
            let mut events = events(tools);
            events.extend(events.clone());
            let mut delivery = delivery(&events);
            for filter in filters.iter().chain(&filters) {
                let expected: Vec<_> = (0..events.len())
                    .filter(|&place| filter.wants(&events[place]))
                    .collect();
                assert_eq!(delivery.find_wanted(filter), !expected.is_empty());
                let wanted = delivery.wanted.get(filter);
                let found = wanted.map_or(&[][..], |wanted| &wanted.places);
                assert_eq!(found, expected, "{tools} tools, {filter:?}");
                let batches = wanted.map_or(0, |wanted| wanted.cuts.len());
                assert_eq!(batches, expected.len().div_ceil(16));
            }
            assert!(delivery.wanted.len() <= filters.len());
            assert_eq!(delivery.by_tool.get().is_some(), tools > 1);
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
