//! The host under load: one registry, its tools, and the state of the run.
//!
//! The registry is small on purpose: fewer stripes than threads, so that they share; rings that
//! overflow; a snapshot published often, so that deregistered tools are freed while it runs.

use crate::counts::{Counts, Open};
use crate::tools::{self, BLOCKING, BY_NAME, FIXED, NAMES, PLAIN, REFUSED, TOOLS};
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, PoisonError, RwLock};
use std::thread;
use std::time::Duration;
use toolmeter::{
    Call, ErrorKind, EventAccounting, Filter, Outcome, Registry, RegistryBuilder, StatsHandle,
    ToolHandle, ToolSpec,
};

/// The number of stripes: fewer than the threads that call.
pub(crate) const STRIPES: usize = 4;
/// The time between two published snapshots.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_millis(20);
/// The number of latencies of the warm-up: 8 us, doubled up to 65 ms, which is longer than nearly
/// all later calls.
const OCTAVES: u32 = 14;
/// The outcomes of the calls of the warm-up.
const OUTCOMES: [Outcome; 4] = [
    Outcome::Success,
    Outcome::Failure(ErrorKind::Other),
    Outcome::Cancelled,
    Outcome::Rejected,
];
/// The factor by which the load is heavier at first.
const RAMP: u32 = 4;
/// The number of events that a subscriber that loses none may be behind before callers wait for it.
const MAX_BEHIND: u64 = 2_048;

/// The state that all threads share.
#[derive(Debug)]
pub(crate) struct Host {
    /// The registry under load.
    pub(crate) registry: Registry,
    fixed: Vec<ToolHandle>,
    calm: AtomicBool,
    over: AtomicBool,
    quiet: AtomicBool,
    followed: RwLock<Vec<(StatsHandle, Received)>>,
}

/// The number of events that a subscriber received. No check uses it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received(Arc<AtomicU64>);

impl Received {
    /// Sets the number of events received so far.
    pub(crate) fn set(&self, events: u64) {
        self.0.store(events, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Host {
    /// Returns the settings of a registry.
    pub(crate) fn builder() -> RegistryBuilder {
        Registry::builder()
            .instance("soak")
            .stripes(STRIPES)
            .precision(3)
            .publish_every(PUBLISH_EVERY)
    }

    /// Creates a host whose registry has all tools that stay.
    ///
    /// # Errors
    ///
    /// If the registry cannot be built.
    pub(crate) fn new(builder: RegistryBuilder) -> Result<Arc<Self>, Box<dyn Error>> {
        let registry = builder.build()?;
        let fixed = (0..FIXED).map(|place| match place {
            BY_NAME | REFUSED => registry.register_tool(tools::obedient(NAMES[place])),
            BLOCKING => registry.register_tool(tools::blocking(NAMES[place])),
            _ => registry.register(ToolSpec::new(NAMES[place])),
        });
        Ok(Arc::new(Self {
            fixed: fixed.collect::<Result<_, _>>()?,
            registry,
            calm: AtomicBool::new(false),
            over: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
            followed: RwLock::default(),
        }))
    }

    /// Returns a tool that stays registered.
    pub(crate) fn tool(&self, place: usize) -> &ToolHandle {
        &self.fixed[place]
    }

    /// Sleeps for `pause`, or for a part of it until the load becomes calm.
    pub(crate) fn rest(&self, pause: Duration) {
        thread::sleep(if self.is_calm() { pause } else { pause / RAMP });
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Ends the ramp, during which the load is heavier than later. So all memory that an even load
    /// needs is in use after it.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Returns whether the load is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends the load.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Makes callers wait for this subscriber from now on. The subscriber sets the number of events
    /// that it received.
    pub(crate) fn follow(&self, stats: StatsHandle) -> Received {
        let received = Received::default();
        let mut followed = self
            .followed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        followed.push((stats, received.clone()));
        received
    }

    /// Waits until few events are in the rings and in the queues of the subscribers that lose
    /// nothing: events take memory, and a subscriber that is not scheduled must not look like a
    /// leak.
    pub(crate) fn wait_for_receivers(&self) {
        let is_behind = || {
            let most = if self.is_calm() {
                MAX_BEHIND
            } else {
                u64::from(RAMP) * MAX_BEHIND
            };
            let events = self.registry.event_accounting();
            let undelivered = events.offered - events.lost_in_rings - events.drained;
            let followed = self.followed.read().unwrap_or_else(PoisonError::into_inner);
            followed.iter().any(|(stats, received)| {
                stats.read().delivered.saturating_sub(received.get()) + undelivered > most
            })
        };
        while is_behind() && !self.is_over() {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Returns whether every event of the load was delivered to the subscribers.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire)
    }

    /// Records that every event of the load was delivered to the subscribers.
    pub(crate) fn be_quiet(&self) {
        self.quiet.store(true, Ordering::Release);
    }

    /// Calls every tool in every stripe with every outcome, short and long, so that all memory
    /// that a slot ever needs is touched before it is measured.
    ///
    /// # Errors
    ///
    /// If a tool cannot be registered.
    pub(crate) fn warm_up(&self) -> Result<Counts, Box<dyn Error>> {
        let specs = NAMES[FIXED..TOOLS].iter().map(|name| ToolSpec::new(*name));
        let mut handles = self.fixed.clone();
        handles.extend(self.registry.register_all(specs)?);
        let all_have_called = Barrier::new(STRIPES);
        let mut counts = Counts::default();
        thread::scope(|scope| {
            let threads = [(); STRIPES].map(|()| scope.spawn(|| touch(&handles, &all_have_called)));
            for thread in threads {
                counts.add(&thread.join().expect("a thread of the warm-up panicked"));
            }
        });
        drop(handles);
        for name in &NAMES[FIXED..TOOLS] {
            self.registry.deregister(name)?;
        }
        Ok(counts)
    }
}

impl Host {
    /// Makes at least `capacity` events in every stripe while a subscription exists, so that all
    /// memory of rings of that capacity is touched. Returns the account of the events once none is
    /// in a ring.
    ///
    /// # Errors
    ///
    /// None, as the queue is within its limits.
    pub(crate) fn fill_rings(&self, capacity: usize) -> Result<EventAccounting, Box<dyn Error>> {
        let subscription = self.registry.subscribe_with(Filter::new(), Some(1))?;
        let all_have_called = Barrier::new(STRIPES);
        thread::scope(|scope| {
            for _ in 0..STRIPES {
                scope.spawn(|| {
                    self.tool(PLAIN).run(|| ());
                    all_have_called.wait();
                    for _ in 0..capacity / 2 {
                        self.tool(PLAIN).run(|| ());
                    }
                });
            }
        });
        loop {
            self.registry.pump();
            let events = self.registry.event_accounting();
            if events.offered == events.lost_in_rings + events.drained {
                drop(subscription);
                return Ok(events);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs the part of the warm-up of one thread. A thread gets the lowest free index at its first
/// call, so threads that wait for each other after that write all stripes together.
fn touch(handles: &[ToolHandle], all_have_called: &Barrier) -> Counts {
    let mut counts = Counts::default();
    for (tool, handle) in handles.iter().enumerate() {
        for outcome in OUTCOMES {
            let open = counts.begin(tool, 1);
            end(&mut counts, handle.start(), open, outcome);
        }
    }
    all_have_called.wait();
    for octave in 0..OCTAVES {
        let mut calls = Vec::with_capacity(handles.len() * OUTCOMES.len());
        for (tool, handle) in handles.iter().enumerate() {
            for outcome in OUTCOMES {
                calls.push((counts.begin(tool, 1), handle.start(), outcome));
            }
        }
        thread::sleep(Duration::from_micros(8 << octave));
        for (open, call, outcome) in calls {
            end(&mut counts, call, open, outcome);
        }
    }
    counts
}

fn end(counts: &mut Counts, call: Call<'_>, open: Open, outcome: Outcome) {
    match outcome {
        Outcome::Success => counts.end_after(open, outcome, call.succeed()),
        Outcome::Failure(kind) => counts.end_after(open, outcome, call.fail(kind, "warming up")),
        Outcome::Cancelled => {
            drop(call);
            counts.end(open, outcome);
        }
        Outcome::Rejected => {
            call.reject("warming up");
            counts.end(open, outcome);
        }
    }
}
