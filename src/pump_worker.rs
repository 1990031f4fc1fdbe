//! [`PumpWorker`]: the rounds of the pump. A round drains the rings, delivers batches to subscribers,
//! publishes a snapshot if one is due, and frees the slots of tools that are gone.
//!
//! One background thread makes the rounds, or the host does with
//! [`Registry::pump`](crate::Registry::pump). One lock is held while a round drains and publishes.
//!
//! # Rest and sleep
//!
//! A drain that never rests competes with the producers for their cache lines. So the thread rests
//! between rounds: for 1 ms, or for 0.2 ms if a round found more than a quarter of a ring's
//! capacity. If no event came for 100 ms, it marks itself asleep and sleeps until the next snapshot
//! is due, for 1 s at most, or for 100 ms if the clock is manual. The next offer sees the mark and
//! wakes it. While an event is held back or being offered, it rests and does not fall asleep. The
//! head of the ring in `toolmeter_events` shows that no wake-up is lost. So in a registry in which
//! nothing happens, the pump wakes up once a second, or as often as it publishes.
//!
//! # Code of the host
//!
//! No code of the host runs under the pump's lock: the time of day is read before the lock is taken,
//! and receivers are woken after it is released. While the host's source of the time of day does not
//! return, the pump's thread stands still, but other threads may make rounds.
//!
//! Slots are freed in parts of 2 ms at most (`reclaim.rs`), so that thousands of tools that depart
//! at once do not delay the events.

use crate::call_list::CallLists;
use crate::contain::contained;
use crate::publisher::Publisher;
use crate::registry_state::RegistryState;
use crate::snapshot::Clocks;
use crate::stripe;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};
use std::sync::Arc;
use std::time::{Duration, Instant};
use toolmeter_core::Clock;
use toolmeter_events::{Drain, Moment, Round, Wakeups};

/// The rest between two rounds.
const REST: Duration = Duration::from_millis(1);
/// The rest after a round that found more than a quarter of a ring's capacity.
const SHORT_REST: Duration = Duration::from_micros(200);
/// The time without events after which the pump falls asleep.
const AWAKE: Duration = Duration::from_millis(100);
/// The longest sleep.
const SLEEP: Duration = Duration::from_secs(1);
/// The longest sleep with a manual clock, since it is not known when that advances.
const MANUAL_SLEEP: Duration = Duration::from_millis(100);
/// The longest time in which one round frees slots.
const RECLAIM: Duration = Duration::from_millis(2);
/// The number of tools that a round looks at before it releases the registration lock.
const RECLAIM_AT_ONCE: usize = 64;
/// The number of tools without a departure after which a round stops looking. The next round goes on
/// from there.
const MAX_IN_VAIN: usize = if cfg!(toolmeter_loom) { 1 } else { 512 };
/// The longest time that the last drain waits for events that are being offered.
const LAST_DRAIN: Duration = Duration::from_millis(100);

/// The state that a round leaves to the next one, behind the pump's lock.
#[derive(Debug)]
struct RoundState {
    drain: Drain,
    publisher: Publisher,
    /// The time of the last published snapshot, by the registry's clock.
    published_ns: Option<u64>,
    /// True if the last round was made.
    closed: bool,
}

/// The worker of a registry's pump.
#[derive(Debug)]
pub(crate) struct PumpWorker {
    registry: Arc<RegistryState>,
    publish_every_ns: u64,
    stopping: AtomicBool,
    rounds: Mutex<RoundState>,
    call_lists: CallLists,
}

impl PumpWorker {
    pub(crate) fn new(registry: Arc<RegistryState>, publish_every: Duration) -> Self {
        let hold_back_ns = registry.env.clock.hold_back_ns();
        let drain = Drain::new(&registry.env.rings, hold_back_ns);
        Self {
            registry,
            publish_every_ns: u64::try_from(publish_every.as_nanos()).unwrap_or(u64::MAX),
            stopping: AtomicBool::new(false),
            rounds: Mutex::new(RoundState {
                drain,
                publisher: Publisher::default(),
                published_ns: None,
                closed: false,
            }),
            call_lists: CallLists::default(),
        }
    }

    /// Returns the lists of running calls that the rounds keep up to date.
    pub(crate) fn call_lists(&self) -> &CallLists {
        &self.call_lists
    }

    /// Makes one round. Returns the number of events that were drained.
    pub(crate) fn round(&self) -> usize {
        self.round_with_hook(|| {})
    }

    /// Makes one round, and calls `taken_uncounted` for each stripe that had events, between taking
    /// them and counting them.
    fn round_with_hook(&self, taken_uncounted: impl FnMut()) -> usize {
        if self.registry.process.is_forked() {
            return 0;
        }
        // Renews the pairing of the clocks, too. Before the lock, since it may run the host's code.
        let read = self.registry.now();
        let mut state = lock(&self.rounds);
        if state.closed {
            return 0;
        }
        let clock = &self.registry.env.clock;
        let round = state
            .drain
            .round_with_hook(|| clock.now_ns(), taken_uncounted);
        let events = round.events.len();
        let wakeups = self.fan_out(round, read);
        let now_ns = clock.now_ns();
        if self.due_ns(&state, now_ns) == 0 {
            state.publisher.publish(&self.registry, read);
            state.published_ns = Some(now_ns);
            stripe::renew(self.registry.env.rings.stripes());
        }
        drop(state);
        wake(wakeups);
        reclaim(&self.registry);
        events
    }

    /// Returns the nanoseconds until the next snapshot is due.
    ///
    /// It is due at once if the clock stepped backwards since the last one, since the clock may take
    /// any time to catch up.
    fn due_ns(&self, state: &RoundState, now_ns: u64) -> u64 {
        let since = state.published_ns.map(|last| now_ns.checked_sub(last));
        match since {
            None | Some(None) => 0,
            Some(Some(since)) => self.publish_every_ns.saturating_sub(since),
        }
    }

    /// Publishes a snapshot now.
    pub(crate) fn publish(&self) {
        if self.registry.process.is_forked() {
            return;
        }
        let read = self.registry.now();
        let mut state = lock(&self.rounds);
        state.publisher.publish(&self.registry, read);
        state.published_ns = Some(self.registry.env.clock.now_ns());
    }

    /// Makes rounds until [`stop`](Self::stop). This is the background thread.
    pub(crate) fn run(&self) {
        self.run_rounds(|| self.round(), std::thread::park_timeout);
    }

    /// Makes rounds until [`stop`](Self::stop), and rests by `park` between them.
    fn run_rounds(&self, round: impl Fn() -> usize, park: impl Fn(Duration)) {
        let rings = &self.registry.env.rings;
        let mut last_event: Option<Instant> = None;
        while !self.stopping.load(Ordering::Relaxed) {
            // All code of the host is contained where it is called, so no round should panic. If
            // one does, the next one goes on.
            let events = contained(&round).unwrap_or_else(|_| {
                self.registry.pump_panics.fetch_add(1, Ordering::Relaxed);
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
            // It also rests if it may not sleep because an event is being offered, which may take
            // any time.
            let is_awake = last_event.is_some_and(|at| at.elapsed() < AWAKE);
            let sleep = if is_awake { None } else { self.fall_asleep() };
            // A thread is unparked after `stop` has set the flag, so this does not delay the end.
            park(sleep.map_or(rest, |sleep| sleep.max(REST)));
            if sleep.is_some() {
                rings.stay_awake();
            }
        }
    }

    /// Marks the pump asleep, unless an event is being offered or held back. Returns the time for
    /// which it may sleep.
    fn fall_asleep(&self) -> Option<Duration> {
        let clock = &self.registry.env.clock;
        let state = lock(&self.rounds);
        if !state.drain.fall_asleep() {
            return None;
        }
        Some(if clock.is_manual() {
            MANUAL_SLEEP
        } else {
            SLEEP.min(Duration::from_nanos(self.due_ns(&state, clock.now_ns())))
        })
    }

    /// Makes the background thread end. The caller unparks it after that.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Makes the last round: closes the rings, delivers what is in them, and ends every subscription.
    pub(crate) fn finish(&self) {
        // The end does not wait for a clock of the host that does not return.
        let clock = &self.registry.env.clock;
        let read = self.registry.wall.now_without_the_host(clock);
        let mut state = lock(&self.rounds);
        if state.closed {
            return;
        }
        state.closed = true;
        let began = Began::now();
        let round = state.drain.finish(|| began.is_over(LAST_DRAIN));
        let wakeups = self.fan_out(round, read);
        let ended = self.registry.hub.close();
        self.call_lists.update(&self.registry);
        state.publisher.publish(&self.registry, read);
        drop(state);
        wake(wakeups);
        ended.wake();
    }

    /// Delivers a round to the subscribers. Returns the wake-ups to make after the pump's lock is
    /// released, since a waker may want it.
    ///
    /// The names are those of all tools whose events may be in the round: see `event_names.rs`.
    fn fan_out(&self, round: Round, read: Moment) -> Option<Wakeups> {
        let registry = &*self.registry;
        registry
            .late
            .fetch_add(round.late as u64, Ordering::Relaxed);
        let names = lock(&registry.names).of_round();
        if round.events.is_empty() {
            return None;
        }
        let Clocks { now, timeline } = registry.clocks_since(read);
        let wakeups = registry.hub.fan_out(round, &names, &timeline, now);
        self.call_lists.update(registry);
        Some(wakeups)
    }
}

/// Wakes the receivers of a round. The caller holds no lock.
fn wake(wakeups: Option<Wakeups>) {
    if let Some(wakeups) = wakeups {
        wakeups.wake();
    }
}

/// The moment at which something of limited time began.
///
/// WebAssembly without WASI has no clock. There each time is over at once, and there is no other
/// thread to wait for.
struct Began(Option<Instant>);

impl Began {
    fn now() -> Self {
        let has_clock = !cfg!(all(target_family = "wasm", target_os = "unknown"));
        Self(has_clock.then(Instant::now))
    }

    /// Returns whether this time has passed since.
    fn is_over(&self, limit: Duration) -> bool {
        self.0.is_none_or(|began| began.elapsed() >= limit)
    }
}

/// Frees the slots of tools that are gone, until the time of a round for that is over, or no tool
/// departed among [`MAX_IN_VAIN`].
fn reclaim(registry: &RegistryState) {
    let began = Began::now();
    let mut in_vain = 0;
    loop {
        let mut reclaim = lock(&registry.registration);
        if !reclaim.has_work() {
            break;
        }
        let departed = reclaim.depart(RECLAIM_AT_ONCE, &registry.tools, &mut lock(&registry.names));
        drop(reclaim);
        in_vain = if departed == 0 {
            in_vain + RECLAIM_AT_ONCE
        } else {
            0
        };
        // A model has no clock.
        let is_over = !cfg!(toolmeter_loom) && began.is_over(RECLAIM);
        if in_vain >= MAX_IN_VAIN || is_over {
            break;
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
