//! A third registry, where more names come and go than it remembers.
//!
//! Its limit is small. Some names recur, each registered and deregistered by one thread again and
//! again; all others are used once. Meanwhile other threads hold handles and calls of them, and
//! there are readers of all kinds, among them cursors that are never read.
//!
//! # What must hold
//!
//! * Each reader that missed nothing has all calls, summed over the names and the nameless tools:
//!   the totals, what resets returned together with the metrics since the last of them, a cursor
//!   that was read often, and one that was made at the start and read at the end.
//! * A name that was used once has exactly its own calls, or is forgotten. The calls of such a name
//!   are computed from its number.
//! * A name that recurs has at most its own calls: what it counted before it was forgotten is
//!   counted for nameless tools.
//! * The number of tools, with names and without, equals the number of ids that were given out.
//! * The totals over everything never decrease.

mod calls;
mod counts;
mod names;
mod readers;
mod stage;

use calls::Moved;
use counts::{Own, Read};
use names::{MOVERS, other_counts};
use readers::{Heard, Watched};
use stage::Stage;

use crate::counts::Tally;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use toolmeter::{EventAccounting, Intervals, Registry, RunningCalls};

/// The number of threads that hold handles and calls of recurring names.
const HOLDERS: usize = 2;
/// The limit of visible tools and of remembered names.
const TOOL_LIMIT: usize = 256;
/// Room for more events than may wait.
const RING_CAPACITY: usize = 1_024;
/// The longest queue there is, in batches.
const QUEUE: usize = 65_536;
/// The longest time until everything is delivered.
const REST: Duration = Duration::from_secs(20);

/// The registry at work.
pub(crate) struct Crowd {
    stage: Arc<Stage>,
    from_start: Intervals,
    running: RunningCalls,
    movers: Vec<JoinHandle<Moved>>,
    holders: Vec<JoinHandle<Own>>,
    resetter: JoinHandle<Read>,
    often: JoinHandle<(Read, Intervals)>,
    watcher: JoinHandle<Watched>,
    listener: JoinHandle<Heard>,
}

/// The counts of this registry, at rest.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The calls of the load, over all names.
    pub(crate) counts: Tally,
    /// The counts of each reader, over all names and nameless tools.
    pub(crate) readers: [(&'static str, Tally); 4],
    /// Ids that were given out.
    pub(crate) ids: u64,
    /// Tools in the totals, with names and without.
    pub(crate) tools: u64,
    /// Tools without a name.
    pub(crate) nameless: u64,
    /// Unique names with wrong counts in the totals.
    pub(crate) other_counts: u64,
    /// The excess of the counts of recurring names over the calls made, summed over readers and
    /// fields.
    pub(crate) excess: u64,
    /// The sum of all decreases of the totals.
    pub(crate) went_back: u64,
    /// The registry's account of its events.
    pub(crate) events: EventAccounting,
    /// Events that the subscriber received.
    pub(crate) received: u64,
    /// Events that the subscriber lost.
    pub(crate) lost: u64,
    /// Events whose batch had no name for their tool.
    pub(crate) unnamed: u64,
    /// Calls that are listed as running, or as missed, when none runs.
    pub(crate) still_running: u64,
    /// Calls through handles that were held while names came and went.
    pub(crate) through_handles: u64,
    /// Running calls that were listed.
    pub(crate) listed: u64,
    /// Cursors that were made and never read.
    pub(crate) unread: u64,
}

impl Crowd {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// If the registry cannot be built.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let registry = Registry::builder()
            .instance("crowd")
            .tool_limit(TOOL_LIMIT)
            .ring_capacity(RING_CAPACITY)
            .queue_capacity(QUEUE)
            .stripes(4)
            .precision(3)
            .publish_every(Duration::from_millis(20))
            .build()?;
        let from_start = registry.intervals();
        let often = registry.intervals();
        let running = registry.running_calls();
        let subscription = registry.subscribe();
        let stage = Arc::new(Stage {
            registry,
            over: AtomicBool::new(false),
        });
        Ok(Self {
            from_start,
            running,
            movers: (0..MOVERS)
                .map(|mover| stage.spawn(move |stage| stage.move_names(mover)))
                .collect(),
            holders: (0..HOLDERS)
                .map(|holder| stage.spawn(move |stage| stage.hold(holder)))
                .collect(),
            resetter: stage.spawn(Stage::reset),
            often: stage.spawn(move |stage| stage.read(often)),
            watcher: stage.spawn(Stage::watch),
            listener: thread::spawn(move || Heard::listen(&subscription)),
            stage,
        })
    }

    /// Ends the threads and collects the counts.
    ///
    /// # Errors
    ///
    /// If one of its threads panicked.
    pub(crate) fn end(mut self) -> Result<Counted, Box<dyn Error>> {
        self.stage.over.store(true, Ordering::Relaxed);
        let (mut own, mut ids, mut unique) = (Own::default(), 0, Vec::new());
        for mover in self.movers {
            let moved = joined(mover)?;
            own.add(&moved.own);
            ids += moved.ids;
            unique.push(moved.unique);
        }
        let mut held = Tally::default();
        for holder in self.holders {
            let holder = joined(holder)?;
            own.add(&holder);
            held.add(&holder.sum());
        }
        let mut resets = joined(self.resetter)?;
        let (mut often, mut cursor) = joined(self.often)?;
        let watched = joined(self.watcher)?;

        let registry = &self.stage.registry;
        come_to_rest(registry);
        let still_running = self.running.list();
        registry.shutdown();
        let heard = joined(self.listener)?;
        resets.add(&registry.metrics());
        often.add(&cursor.read());
        let mut at_once = Read::default();
        at_once.add(&self.from_start.read());
        let snapshot = registry.totals();
        let mut totals = Read::default();
        totals.add(&snapshot);

        let nameless = snapshot
            .nameless
            .as_ref()
            .map_or(0, |nameless| nameless.tools);
        let readers = [
            ("totals", totals),
            ("resets and metrics", resets),
            ("a cursor read often", often),
            ("a cursor read at the end", at_once),
        ];
        Ok(Counted {
            counts: own.sum(),
            readers: readers.map(|(reader, read)| (reader, read.sum())),
            ids,
            tools: snapshot.tools.len() as u64 + nameless,
            nameless,
            other_counts: other_counts(&snapshot, &unique),
            excess: readers.iter().map(|(_, read)| read.own.excess(&own)).sum(),
            went_back: watched.went_back,
            events: registry.event_accounting(),
            received: heard.received,
            lost: heard.lost,
            unnamed: heard.unnamed,
            still_running: still_running.calls.len() as u64
                + still_running.missed_starts
                + still_running.missed_ends,
            through_handles: held.calls(),
            listed: watched.listed,
            unread: watched.unread,
        })
    }
}

/// Waits until every event was handed to the subscribers, at most for [`REST`].
fn come_to_rest(registry: &Registry) {
    let began = Instant::now();
    loop {
        registry.pump();
        let events = registry.event_accounting();
        if events.offered == events.lost_in_rings + events.drained || began.elapsed() > REST {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn joined<T>(thread: JoinHandle<T>) -> Result<T, &'static str> {
    thread.join().map_err(|_| "a thread of the crowd panicked")
}
