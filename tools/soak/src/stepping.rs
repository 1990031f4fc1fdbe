//! A host whose clocks step: the registry's clock, which is a manual clock, and the time of day.
//!
//! Both jump forwards and backwards. The time of day also jumps to before 1970, and at times
//! reading it panics. Even so, every event is delivered while the clock stands still after a jump,
//! and a snapshot with all calls is published soon after each jump.

use crate::counts::Counts;
use crate::did::Did;
use crate::foreign::explode;
use crate::host::{Host, PUBLISH_EVERY};
use crate::roomy::{self, Others, Roomy, Warm};
use crate::tools::{ALONE, NAMES};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use toolmeter::{Clock, ClockSource, ManualClock, Outcome};

/// The length of a long jump: hours, so that waiting for the clock would take as long.
const FAR: Duration = Duration::from_secs(7_200);
/// The number of regular steps of the clock between two jumps.
const MOVES: u32 = 20;
/// The length of a regular step.
const MOVE: Duration = Duration::from_micros(700);
/// The longest time to wait for a snapshot or an event.
const PATIENCE: Duration = Duration::from_secs(20);

/// The host at work.
pub(crate) struct Stepping {
    roomy: Roomy,
    clock: Arc<ManualClock>,
    stepper: JoinHandle<Stepped>,
}

/// The counts of this host, at rest.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The counts as on any host that loses nothing.
    pub(crate) roomy: roomy::Counted,
    /// Jumps after which no snapshot with all calls was published.
    pub(crate) unpublished: u64,
    /// Events that were held while the clock stood still.
    pub(crate) held: u64,
}

#[derive(Debug, Default)]
struct Stepped {
    counts: Counts,
    unpublished: u64,
}

impl Stepping {
    /// Creates the host.
    ///
    /// # Errors
    ///
    /// If it cannot be set up.
    pub(crate) fn warm() -> Result<(Warm, Arc<ManualClock>), Box<dyn Error>> {
        let clock = Arc::new(ManualClock::new());
        let builder = Host::builder()
            .clock(ClockSource::Manual(Arc::clone(&clock)))
            .wall_clock(time_of_day());
        Ok((Warm::up(builder)?, clock))
    }

    /// Starts the load.
    ///
    /// # Errors
    ///
    /// If it cannot be set up.
    pub(crate) fn start((warm, clock): (Warm, Arc<ManualClock>)) -> Result<Self, Box<dyn Error>> {
        let host = Arc::clone(&warm.host);
        let roomy = Roomy::start(warm)?;
        let moving = Arc::clone(&clock);
        Ok(Self {
            roomy,
            clock,
            stepper: thread::spawn(move || step(&host, &moving)),
        })
    }

    /// Ends the ramp of the load.
    pub(crate) fn calm_down(&self) {
        self.roomy.host.calm_down();
    }

    /// Ends the load and collects the counts.
    ///
    /// # Errors
    ///
    /// If one of its threads panicked.
    pub(crate) fn end(self) -> Result<Counted, Box<dyn Error>> {
        let (mut unpublished, mut held) = (0, 0);
        let roomy = self.roomy.end(|host| {
            let stepped = self.stepper.join();
            let mut stepped = stepped.map_err(|_| "the thread that moves a clock panicked")?;
            // The clock stops far below its earlier readings.
            self.clock.set_ns(0);
            held = held_at_rest(host);
            stepped.call_and_look(host, &self.clock);
            unpublished = stepped.unpublished;
            Ok(Others {
                counts: stepped.counts,
                ..Others::default()
            })
        })?;
        Ok(Counted {
            roomy,
            unpublished,
            held,
        })
    }
}

/// Returns a time of day that jumps, and at times panics.
fn time_of_day() -> impl Fn() -> SystemTime + Send + Sync + 'static {
    let asked = AtomicU64::new(0);
    move || {
        let now = SystemTime::now();
        match asked.fetch_add(1, Ordering::Relaxed) / 16 % 8 {
            0 => now + FAR,
            1 => now - FAR,
            2 => SystemTime::UNIX_EPOCH - FAR,
            3 => explode(),
            _ => now,
        }
    }
}

/// Returns the number of events that are still held while nothing else happens.
fn held_at_rest(host: &Host) -> u64 {
    let began = Instant::now();
    loop {
        let events = host.registry.event_accounting();
        let held = events.offered - events.lost_in_rings - events.drained;
        if held == 0 || began.elapsed() > PATIENCE {
            return held;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Moves the clock until the load is over.
fn step(host: &Host, clock: &ManualClock) -> Stepped {
    let mut stepped = Stepped::default();
    let mut jumps = 0_u64;
    while !host.is_over() {
        for _ in 0..MOVES {
            clock.advance(MOVE);
            host.rest(Duration::from_micros(500));
        }
        let now_ns = clock.now_ns();
        let far_ns = FAR.as_nanos() as u64;
        match jumps % 6 {
            0 => clock.set_ns(now_ns + far_ns),
            1 => clock.set_ns(now_ns.saturating_sub(1_000_000)),
            2 => clock.set_ns(now_ns.saturating_sub(far_ns)),
            3 => clock.set_ns(now_ns + 50_000_000),
            4 => clock.set_ns(0),
            _ => clock.set_ns(far_ns),
        }
        stepped.counts.did(if clock.now_ns() > now_ns {
            Did::SteppedForwards
        } else {
            Did::SteppedBackwards
        });
        jumps += 1;
        stepped.call_and_look(host, clock);
        host.wait_for_receivers();
    }
    stepped
}

impl Stepped {
    /// Makes a call, and moves the clock on until it is published.
    fn call_and_look(&mut self, host: &Host, clock: &ManualClock) {
        host.tool(ALONE).start().succeed();
        self.counts.whole(ALONE, 1, Outcome::Success);
        let called = self.counts.tool(ALONE).calls();
        let is_published = || {
            let published = host.registry.published();
            let stats = published.tools.get(NAMES[ALONE]);
            stats.is_some_and(|stats| stats.success() == called)
        };
        let began = Instant::now();
        while !is_published() {
            if began.elapsed() > PATIENCE {
                self.unpublished += 1;
                return;
            }
            clock.advance(PUBLISH_EVERY / 8);
            thread::sleep(Duration::from_micros(500));
        }
    }
}
