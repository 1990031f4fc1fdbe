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
//! came for 100 ms it marks itself asleep and sleeps until the next snapshot is due, 1 s at most;
//! the next offer sees the mark and wakes it. It does not fall asleep while an event is held back or
//! is half put, but rests then, too. That no wake-up is lost is shown in
//! `toolmeter_events`' ring. So a registry in which nothing happens wakes its pump once a second,
//! or as often as it publishes.
//!
//! # What it must not do
//!
//! No code of the host runs under the pump's lock: the time of day is read before it is taken, and
//! receivers are woken after it is released. If a clock of the host's own does not return, the
//! pump stands still; others may then make its rounds, and the end waits for its thread for
//! a second at most.
//!
//! Tools that are gone are freed in parts of 2 ms at most (`reclaim.rs`), so that thousands of
//! them do not keep a round, and the events that wait for it.

use crate::contain::contained;
use crate::publish::Publisher;
use crate::registry_state::{Clocks, RegistryState};
use crate::stripe;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};
use std::sync::Arc;
use std::time::{Duration, Instant};
use toolmeter_core::Clock;
use toolmeter_events::{Drain, Moment, Round, Wakeups};

/// The rest between rounds.
const REST: Duration = Duration::from_millis(1);
/// The rest after a round that found much.
const SHORT_REST: Duration = Duration::from_micros(200);
/// For how long no event must have come before the pump falls asleep.
const AWAKE: Duration = Duration::from_millis(100);
/// The longest sleep.
const SLEEP: Duration = Duration::from_secs(1);
/// The longest sleep with a manual clock, of which it is not known when it moves.
const SLEEP_BY_HAND: Duration = Duration::from_millis(100);
/// How long one round may be at freeing tools.
const RECLAIM: Duration = Duration::from_millis(2);
/// How many tools are looked at before the lock is released for others.
const RECLAIM_AT_ONCE: usize = 64;
/// How many tools a round looks at without finding one that is gone. The next goes on from there.
const RECLAIM_IN_VAIN: usize = if cfg!(toolmeter_loom) { 1 } else { 512 };
/// How long the last drain waits for events that are still on their way.
const LAST_DRAIN: Duration = Duration::from_millis(100);

/// The choice of who drains the events and publishes snapshots.
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
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().pump(Pump::background()).build()?;
    /// let events = registry.subscribe();
    /// registry.register("shell")?.start().succeed();
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
    /// use std::sync::Arc;
    /// use toolmeter::{ClockSource, ManualClock, Pump, Registry};
    ///
    /// let clock = ClockSource::Manual(Arc::new(ManualClock::new()));
    /// let registry = Registry::builder().clock(clock).pump(Pump::manual()).build()?;
    /// let events = registry.subscribe();
    /// registry.register("shell")?.start().succeed();
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
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct PumpWorker {
    shared: Arc<RegistryState>,
    publish_every_ns: u64,
    stopping: AtomicBool,
    state: Mutex<State>,
}

impl PumpWorker {
    pub(crate) fn new(shared: Arc<RegistryState>, publish_every: Duration) -> Self {
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
        if self.shared.process.is_forked() {
            return 0;
        }
        // Renews the pairing of the clocks. Before the lock: the time of day may be the host's code.
        let read = self.shared.now();
        let mut state = lock(&self.state);
        if state.closed {
            return 0;
        }
        let clock = &self.shared.meter.clock;
        let round = state
            .drain
            .round_with_hook(|| clock.now_ns(), taken_uncounted);
        let events = round.events.len();
        let wakeups = fan_out(&self.shared, round, read);
        let now_ns = clock.now_ns();
        if self.due_ns(&state, now_ns) == 0 {
            state.publisher.publish(&self.shared, read);
            state.published_ns = Some(now_ns);
            stripe::renew(self.shared.meter.rings.stripes());
        }
        drop(state);
        wake(wakeups);
        reclaim(&self.shared);
        events
    }

    /// In how many nanoseconds the next snapshot is due. At once, if the clock stepped backwards
    /// since the last, since it may take any time to catch up.
    fn due_ns(&self, state: &State, now_ns: u64) -> u64 {
        let since = state.published_ns.map(|last| now_ns.checked_sub(last));
        match since {
            None | Some(None) => 0,
            Some(Some(since)) => self.publish_every_ns.saturating_sub(since),
        }
    }

    /// Publishes a snapshot now.
    pub(crate) fn publish(&self) {
        if self.shared.process.is_forked() {
            return;
        }
        let read = self.shared.now();
        let mut state = lock(&self.state);
        state.publisher.publish(&self.shared, read);
        state.published_ns = Some(self.shared.meter.clock.now_ns());
    }

    /// The background thread.
    pub(crate) fn run(&self) {
        self.run_rounds(|| self.round(), std::thread::park_timeout);
    }

    /// The rounds until [`stop`](Self::stop); `park` rests in between.
    fn run_rounds(&self, round: impl Fn() -> usize, park: impl Fn(Duration)) {
        let rings = &self.shared.meter.rings;
        let mut last_event: Option<Instant> = None;
        while !self.stopping.load(Ordering::Relaxed) {
            // All code of the host is contained where it is called, so no round should panic. If
            // one does all the same, the next goes on.
            let events = contained(&round).unwrap_or_else(|_| {
                self.shared.pump_panics.fetch_add(1, Ordering::Relaxed);
                0
            });
            if events > 0 {
                last_event = Some(Instant::now());
            }
            let rest = if events.saturating_mul(4) > rings.capacity() {
                SHORT_REST
            } else {
                REST
            };
            // It rests also where it may not sleep, since an event is under way: for how long, its
            // producer alone knows.
            let is_awake = last_event.is_some_and(|at| at.elapsed() < AWAKE);
            let sleep = if is_awake { None } else { self.fall_asleep() };
            // `stop` sets the flag first and unparks then, so it does not wait for this.
            park(sleep.map_or(rest, |sleep| sleep.max(REST)));
            if sleep.is_some() {
                rings.stay_awake();
            }
        }
    }

    /// Marks the pump asleep, unless an event is under way; for how long it may sleep then.
    fn fall_asleep(&self) -> Option<Duration> {
        let clock = &self.shared.meter.clock;
        let state = lock(&self.state);
        if !state.drain.fall_asleep() {
            return None;
        }
        Some(if clock.is_manual() {
            SLEEP_BY_HAND
        } else {
            SLEEP.min(Duration::from_nanos(self.due_ns(&state, clock.now_ns())))
        })
    }

    /// Asks the background thread to end; unpark it after that.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The last round: closes the rings, delivers what is in them and ends every subscription.
    pub(crate) fn finish(&self) {
        // A clock of the host that does not return must not keep the end.
        let clock = &self.shared.meter.clock;
        let read = self.shared.wall.now_without_the_host(clock);
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        state.closed = true;
        let began = Instant::now();
        let round = state.drain.finish(|| began.elapsed() >= LAST_DRAIN);
        let wakeups = fan_out(&self.shared, round, read);
        let ended = self.shared.hub.close();
        self.shared.listeners.hear(&self.shared);
        state.publisher.publish(&self.shared, read);
        drop(state);
        wake(wakeups);
        ended.wake();
    }
}

/// Hands a round to the subscribers, with the names of all tools that it may speak of: a tool has
/// its name before its handle is given out, and a name is forgotten long after the last event of
/// its tool. Returns whom to wake, once the pump's lock is released: a waker may want it.
fn fan_out(shared: &RegistryState, round: Round, read: Moment) -> Option<Wakeups> {
    shared.late.fetch_add(round.late as u64, Ordering::Relaxed);
    let names = lock(&shared.names).of_round();
    if round.events.is_empty() {
        return None;
    }
    let Clocks { now, timeline } = shared.clocks_since(read);
    let wakeups = shared.hub.fan_out(round, &names, &timeline, now);
    shared.listeners.hear(shared);
    Some(wakeups)
}

/// Wakes whom a round is to wake. For whom holds no lock.
fn wake(wakeups: Option<Wakeups>) {
    if let Some(wakeups) = wakeups {
        wakeups.wake();
    }
}

/// Frees what tools that are gone have left, for as long as a round may be at it, or until none
/// was found among some.
fn reclaim(shared: &RegistryState) {
    let began = Instant::now();
    let mut in_vain = 0;
    loop {
        let mut reclaim = lock(&shared.registration);
        if !reclaim.has_work() {
            break;
        }
        let departed = reclaim.depart(RECLAIM_AT_ONCE, &shared.tools, &mut lock(&shared.names));
        drop(reclaim);
        in_vain = if departed == 0 {
            in_vain + RECLAIM_AT_ONCE
        } else {
            0
        };
        // In a model there is no time.
        let is_over = !cfg!(toolmeter_loom) && began.elapsed() >= RECLAIM;
        if in_vain >= RECLAIM_IN_VAIN || is_over {
            break;
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::{AWAKE, LAST_DRAIN, REST, SLEEP, SLEEP_BY_HAND};
    use crate::sync::lock;
    use crate::{ClockSource, Pump, Registry};
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::{Duration, Instant};
    use toolmeter_core::ManualClock;
    use toolmeter_events::Drain;

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
        let tool = registry.register("tool").unwrap();
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
        let account = registry.event_accounting();
        assert_eq!((account.offered, account.drained), (8 + 2 * CALLS, 8));
        assert_eq!(account.lost_in_rings, 2 * CALLS);
        assert_eq!(events.try_recv().unwrap().len(), 8);
    }

    /// An event that may not be delivered yet, or one that its producer is held up with, keeps the
    /// pump from falling asleep. It keeps it from resting no more than that.
    #[test]
    fn the_pump_rests_while_it_may_not_sleep() {
        let registry = Registry::builder()
            .clock(ClockSource::Manual(ManualClock::new().into()))
            .pump(Pump::manual())
            .build()
            .unwrap();
        let pumping = registry.pumping();
        // It holds what comes for 64 rounds, whatever the clock says.
        lock(&pumping.state).drain = Drain::new(&registry.shared().meter.rings, u64::MAX);
        let tool = registry.register("tool").unwrap();
        let events = registry.subscribe();
        tool.start().succeed();
        thread::scope(|scope| {
            let began = Instant::now();
            scope.spawn(|| pumping.run());
            let heard = events.recv_timeout(STUCK);
            let took = began.elapsed();
            pumping.stop();
            assert_eq!(heard.unwrap().len(), 2);
            assert!(took >= 60 * REST, "64 rounds in {took:?}");
        });
    }

    /// A producer that is held up for ever: the pump rests, and the end waits for 100 ms.
    #[test]
    fn a_producer_that_is_held_up_keeps_neither_a_core_nor_the_end() {
        let registry = Registry::builder()
            .clock(ClockSource::Manual(ManualClock::new().into()))
            .build()
            .unwrap();
        let tool = registry.register("tool").unwrap();
        let events = registry.subscribe();
        registry.shared().meter.rings.offer_and_stop(0);
        tool.start().succeed();
        let rounds = || lock(&registry.shared().names).rounds();
        let (before, began) = (rounds(), Instant::now());
        let mut heard = 0;
        while heard < 2 {
            heard += events.recv_timeout(STUCK).unwrap().len();
        }
        // Beyond the time for which it rests after an event anyway.
        while began.elapsed() < 2 * AWAKE {
            thread::park_timeout(AWAKE);
        }
        let made = u128::from(rounds() - before);
        let most = began.elapsed().as_millis() + 100;
        assert!(made <= most, "{made} rounds where {most} are the most");

        let began = Instant::now();
        registry.shutdown();
        assert!(
            began.elapsed() >= LAST_DRAIN,
            "what is under way has a time"
        );
        assert!(began.elapsed() < STUCK / 3);
        assert_eq!(events.iter().count(), 0);
        let account = registry.event_accounting();
        assert_eq!((account.offered, account.drained), (3, 2));
        assert_eq!(account.lost_in_rings, 1);
    }

    #[test]
    fn a_round_that_panics_is_told_and_the_next_goes_on() {
        const PANICS: u64 = 3;
        let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
        let tool = registry.register("tool").unwrap();
        let events = registry.subscribe();
        tool.start().succeed();
        let pumping = registry.pumping();
        let rounds = AtomicU64::new(0);
        let round = || {
            if rounds.fetch_add(1, Ordering::Relaxed) < PANICS {
                let _held = lock(&pumping.state);
                panic!("in the middle of a round");
            }
            pumping.round()
        };
        thread::scope(|scope| {
            scope.spawn(|| pumping.run_rounds(round, thread::park_timeout));
            let mut heard = 0;
            while heard < 2 {
                let Ok(batch) = events.recv_timeout(STUCK) else {
                    break;
                };
                heard += batch.len();
            }
            pumping.stop();
            assert_eq!(heard, 2);
        });
        assert_eq!(registry.event_accounting().pump_panics, PANICS);
    }

    /// For how long the pump of a busy registry without subscribers rests after each of some rounds.
    fn rests(clock: ClockSource, publish_every: Duration) -> Vec<Duration> {
        const ROUNDS: usize = 5;
        let registry = Registry::builder()
            .clock(clock)
            .pump(Pump::manual())
            .publish_every(publish_every)
            .build()
            .unwrap();
        let tool = registry.register("tool").unwrap();
        let pumping = registry.pumping();
        let round = || {
            tool.start().succeed();
            pumping.round()
        };
        let rests = RefCell::new(Vec::new());
        let park = |rest| {
            rests.borrow_mut().push(rest);
            if rests.borrow().len() == ROUNDS {
                pumping.stop();
            }
        };
        pumping.run_rounds(round, park);
        rests.into_inner()
    }

    /// Nothing is subscribed and a tool is busy: what keeps the pump awake is its publishing alone.
    #[test]
    fn the_pump_sleeps_until_a_snapshot_is_due_and_no_longer() {
        const EVERY: Duration = Duration::from_millis(10);
        for (publish_every, longest) in [
            (EVERY, EVERY),
            (Duration::MAX, SLEEP),
            (Duration::ZERO, REST),
            (Duration::from_nanos(1), REST),
        ] {
            let rests = rests(ClockSource::OperatingSystem, publish_every);
            for rest in &rests {
                assert!((REST..=longest).contains(rest), "{rests:?} of {longest:?}");
            }
        }
        for publish_every in [Duration::ZERO, EVERY, Duration::MAX] {
            let rests = rests(ClockSource::Manual(Arc::default()), publish_every);
            assert_eq!(rests, [SLEEP_BY_HAND; 5]);
        }
    }
}
