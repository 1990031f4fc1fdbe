//! The pump: drains the rings, hands batches to subscribers, publishes snapshots, and frees
//! the slots of tools that are gone.
//!
//! One background thread does this, or the host calls [`Registry::pump`](crate::Registry::pump)
//! itself. Each *round* does everything once, under one lock.
//!
//! # How it rests
//!
//! A drain that never rests fights the producers for their cache lines, so between rounds the
//! thread rests 1 ms, or 0.2 ms when a round found a quarter of a ring's capacity. When no event
//! came for 100 ms it marks itself asleep and sleeps in steps of at most 100 ms; the next offer
//! sees the mark and wakes it. That no wake-up is lost is shown in `toolmeter_events`' ring.
//!
//! # When a slot is free
//!
//! A retired tool whose last handle is gone is first *noticed* in some epoch. Its memory and its
//! name go only after a round that began in a later epoch has drained its last events, a snapshot
//! begun in a later epoch was published, and each living cursor has begun a reading in a later
//! epoch.

use crate::publish::Publisher;
use crate::shared::{CursorMark, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use toolmeter_core::Clock;
use toolmeter_core::sync::{AtomicBool, Mutex, Ordering, lock};
use toolmeter_events::{Drain, NameTable, Round, ToolId};

/// The rest between rounds.
const REST: Duration = Duration::from_millis(1);
/// The rest after a round that found much.
const SHORT_REST: Duration = Duration::from_micros(200);
/// For how long no event must have come before the pump falls asleep.
const AWAKE: Duration = Duration::from_millis(100);
/// The longest sleep.
const SLEEP: Duration = Duration::from_millis(100);
/// How long the last drain waits for events that are still on their way.
const LAST_DRAIN: Duration = Duration::from_millis(100);

/// Who drains the events and publishes snapshots.
///
/// # Examples
///
/// ```
/// use toolmeter::Pump;
///
/// assert_eq!(Pump::default(), Pump::background());
/// assert_ne!(Pump::background(), Pump::manual());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pump {
    pub(crate) is_background: bool,
}

impl Pump {
    /// A thread of the registry's own: events are delivered within some milliseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry, ToolSpec};
    ///
    /// let registry = Registry::builder().pump(Pump::background()).build()?;
    /// let events = registry.subscribe();
    /// registry.register(ToolSpec::new("shell"))?.start().succeed();
    /// assert!(!events.recv()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn background() -> Self {
        Self {
            is_background: true,
        }
    }

    /// The host, by calling [`Registry::pump`](crate::Registry::pump) now and then: events
    /// are delivered, snapshots published and the slots of tools that are gone freed only then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Weak};
    /// use toolmeter::{ClockSource, ManualClock, Pump, Registry, ToolSpec};
    ///
    /// let clock = ClockSource::Manual(Arc::new(ManualClock::new()));
    /// let registry = Registry::builder().clock(clock).pump(Pump::manual()).build()?;
    /// let events = registry.subscribe();
    /// registry.register(ToolSpec::new("shell"))?.start().succeed();
    /// assert!(events.try_recv().is_err());
    /// assert_eq!(registry.pump(), 2);
    /// assert_eq!(events.try_recv()?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn manual() -> Self {
        Self {
            is_background: false,
        }
    }
}

impl Default for Pump {
    fn default() -> Self {
        Self::background()
    }
}

/// What a round needs from the round before, behind the pump's lock.
#[derive(Debug)]
struct State {
    drain: Drain,
    publisher: Publisher,
    published_ns: Option<u64>,
    names: (u64, Arc<NameTable>),
    late: u64,
    /// Released slots: the epoch in which each was noticed, and how often it had been
    /// registered by then.
    released: HashMap<ToolId, (u64, usize)>,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Pumping {
    shared: Arc<Shared>,
    publish_every_ns: u64,
    stopping: AtomicBool,
    state: Mutex<State>,
}

impl Pumping {
    pub(crate) fn new(shared: Arc<Shared>, publish_every: Duration) -> Self {
        let hold_back_ns = shared.meter.clock.hold_back_ns();
        let drain = Drain::new(&shared.meter.rings, hold_back_ns);
        Self {
            shared,
            publish_every_ns: u64::try_from(publish_every.as_nanos()).unwrap_or(u64::MAX),
            stopping: AtomicBool::new(false),
            state: Mutex::new(State {
                drain,
                publisher: Publisher::default(),
                published_ns: None,
                names: (0, Arc::new(NameTable::default())),
                late: 0,
                released: HashMap::new(),
                closed: false,
            }),
        }
    }

    /// One round. Returns how many events were delivered to the hub.
    pub(crate) fn round(&self) -> usize {
        self.round_with_hook(|| {})
    }

    /// A round with what a test does for each stripe that gave events, between taking them and
    /// counting them.
    fn round_with_hook(&self, taken_uncounted: impl FnMut()) -> usize {
        let mut state = lock(&self.state);
        if state.closed {
            return 0;
        }
        let clock = &self.shared.meter.clock;
        let epoch = self.shared.epoch.load(Ordering::Relaxed);
        let round = state
            .drain
            .round_with_hook(|| clock.now_ns(), taken_uncounted);
        let events = round.events.len();
        state.fan_out(&self.shared, round);
        let now_ns = clock.now_ns();
        let is_due = state
            .published_ns
            .is_none_or(|last| now_ns.saturating_sub(last) >= self.publish_every_ns);
        if is_due {
            state.publisher.publish(&self.shared);
            state.published_ns = Some(now_ns);
        }
        state.sweep(&self.shared, epoch);
        events
    }

    /// Publishes a snapshot now.
    pub(crate) fn publish(&self) {
        let mut state = lock(&self.state);
        state.publisher.publish(&self.shared);
        state.published_ns = Some(self.shared.meter.clock.now_ns());
    }

    /// How many events were delivered after younger ones.
    pub(crate) fn late(&self) -> u64 {
        lock(&self.state).late
    }

    /// The background thread.
    pub(crate) fn run(&self) {
        let rings = &self.shared.meter.rings;
        let mut last_event = Instant::now();
        while !self.stopping.load(Ordering::Relaxed) {
            let events = self.round();
            if events > 0 {
                last_event = Instant::now();
            }
            let rest = if events.saturating_mul(4) > rings.capacity() {
                SHORT_REST
            } else {
                REST
            };
            if last_event.elapsed() < AWAKE {
                std::thread::park_timeout(rest);
            } else if lock(&self.state).drain.fall_asleep() {
                // `stop` sets the flag first and unparks then, so it does not wait for this.
                std::thread::park_timeout(SLEEP);
                rings.stay_awake();
            }
        }
    }

    /// Asks the background thread to end; unpark it after that.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The last round: closes the rings, delivers what is in them and ends every subscription.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        state.closed = true;
        let began = Instant::now();
        let round = state.drain.finish(|| began.elapsed() >= LAST_DRAIN);
        state.fan_out(&self.shared, round);
        self.shared.hub.close();
        state.publisher.publish(&self.shared);
    }
}

impl State {
    /// Hands a round to the subscribers, with the names of all tools that it may speak of: those
    /// registered before it was drained are in the roster, and none is freed before.
    fn fan_out(&mut self, shared: &Shared, round: Round) {
        self.late += round.late as u64;
        if round.events.is_empty() {
            return;
        }
        let roster = shared.roster.load();
        if self.names.0 != roster.version {
            let names = roster
                .slots()
                .map(|(slot, _)| (slot.id, Arc::clone(&slot.name)));
            self.names = (roster.version, Arc::new(NameTable::new(names)));
        }
        drop(roster);
        shared.hub.fan_out(round, &self.names.1, shared.now());
    }

    /// Frees the slots that nobody holds or has to read any more; the round began in `epoch`.
    ///
    /// Whoever takes the lock of the cursors after this, or sees the next epoch, sees all that
    /// was counted into the slots that are noticed here.
    fn sweep(&mut self, shared: &Shared, epoch: u64) {
        let roster = shared.roster.load_full();
        if roster.retired().is_empty() {
            self.released.clear();
            return;
        }
        let mut cursors = lock(&shared.cursors);
        let read_by_all = self.read_by_all(&mut cursors, epoch);
        let mut free = Vec::new();
        let mut released = HashMap::new();
        for slot in roster.retired().iter().filter(|slot| slot.is_released()) {
            let registrations = slot.registrations();
            match self.released.get(&slot.id) {
                Some(&(noticed, before)) if before == registrations => {
                    if noticed < read_by_all && !self.drain.holds(slot.id) {
                        free.push((slot.id, registrations));
                    }
                    released.insert(slot.id, (noticed, registrations));
                }
                _ => {
                    released.insert(slot.id, (epoch, registrations));
                }
            }
        }
        self.released = released;
        shared.epoch.fetch_add(1, Ordering::Release);
        drop(cursors);
        drop(roster);
        for (id, registrations) in free {
            shared.free(id, registrations);
            self.released.remove(&id);
        }
    }

    /// The epoch in which the reader that is furthest behind began its last reading.
    fn read_by_all(&self, cursors: &mut Vec<Weak<CursorMark>>, epoch: u64) -> u64 {
        cursors.retain(|cursor| cursor.strong_count() > 0);
        let cursors = cursors.iter().filter_map(Weak::upgrade);
        cursors
            .map(|cursor| cursor.read_epoch.load(Ordering::Relaxed))
            .chain(self.publisher.read_epoch)
            .fold(epoch, u64::min)
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use crate::{ClockSource, Pump, Registry};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;
    use toolmeter_core::ManualClock;

    const CALLS: u64 = 1_000;
    /// Far more than a thousand calls take: it passes only if a call waits for the pump.
    const STUCK: Duration = Duration::from_secs(30);

    /// The pump's thread stops with the events of a full ring taken and not yet counted. A
    /// thousand calls finish all the same; their events are lost, and counted.
    #[test]
    fn a_call_does_not_wait_for_a_pump_that_stands_still() {
        let registry = Registry::builder()
            .clock(ClockSource::Manual(ManualClock::new().into()))
            .pump(Pump::manual())
            .stripes(1)
            .ring_capacity(8)
            .build()
            .unwrap();
        let tool = registry.register("tool".into()).unwrap();
        let events = registry.subscribe();
        for _ in 0..4 {
            tool.start().succeed();
        }
        let (stopped, is_stopped) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let pump = {
            let registry = registry.clone();
            thread::spawn(move || {
                registry.pumping().round_with_hook(|| {
                    stopped.send(()).unwrap();
                    may_go_on.recv().unwrap();
                })
            })
        };
        is_stopped.recv_timeout(STUCK).unwrap();

        let (finished, have_finished) = mpsc::channel();
        let caller = {
            let tool = tool.clone();
            thread::spawn(move || {
                for _ in 0..CALLS {
                    tool.run(|| ());
                }
                finished.send(()).unwrap();
            })
        };
        let waited = have_finished.recv_timeout(STUCK);
        go_on.send(()).unwrap();
        waited.expect("a call waited for the pump");
        caller.join().unwrap();
        assert_eq!(pump.join().unwrap(), 8);
        registry.pump();

        let metrics = registry.metrics();
        assert_eq!(metrics.tools["tool"].success(), 4 + CALLS);
        let account = registry.events();
        assert_eq!((account.offered, account.drained), (8 + 2 * CALLS, 8));
        assert_eq!((account.lost_in_rings, account.found_full), (2 * CALLS, 0));
        assert_eq!(events.try_recv().unwrap().len(), 8);
    }
}
