//! The host under load: one registry, its tools, and how far the run has come.
//!
//! The registry is small on purpose: fewer stripes than threads, so that they share; rings that
//! overflow; a snapshot published often, so that deregistered tools are freed while it runs.

use crate::books::{Books, Open};
use crate::tools::{self, BLOCKING, BY_NAME, FIXED, NAMES, REFUSED, TOOLS};
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;
use toolmeter::{Call, ErrorKind, Outcome, Registry, StatsHandle, ToolHandle, ToolSpec};

/// Fewer than the threads that call.
pub(crate) const STRIPES: usize = 4;
/// The warm-up makes calls of this many times of 8 us doubled: up to 65 ms, longer than nearly all
/// that follow.
const OCTAVES: u32 = 14;
/// How its calls end.
const OUTCOMES: [Outcome; 4] = [
    Outcome::Success,
    Outcome::Failure(ErrorKind::Other),
    Outcome::Cancelled,
    Outcome::Rejected,
];
/// By how much the load is heavier at first.
const RAMP: u32 = 4;
/// How many events the subscriber that loses nothing may be behind before callers wait for it.
const MAX_BEHIND: u64 = 2_048;

/// What everybody shares.
#[derive(Debug)]
pub(crate) struct Host {
    /// The registry under load.
    pub(crate) registry: Registry,
    fixed: Vec<ToolHandle>,
    calm: AtomicBool,
    over: AtomicBool,
    quiet: AtomicBool,
    fast: OnceLock<StatsHandle>,
    received: AtomicU64,
}

impl Host {
    /// A registry with all tools that stay, and rings for so many events.
    ///
    /// # Errors
    ///
    /// If the registry cannot be built.
    pub(crate) fn new(ring_capacity: usize) -> Result<Arc<Self>, Box<dyn Error>> {
        let registry = Registry::builder()
            .instance("soak")
            .stripes(STRIPES)
            .ring_capacity(ring_capacity)
            .precision(3)
            .publish_every(Duration::from_millis(20))
            .build()?;
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
            fast: OnceLock::new(),
            received: AtomicU64::new(0),
        }))
    }

    /// A tool that stays registered.
    pub(crate) fn tool(&self, place: usize) -> &ToolHandle {
        &self.fixed[place]
    }

    /// Rests between two things of the load; shorter until the load becomes calm.
    pub(crate) fn rest(&self, pause: Duration) {
        thread::sleep(if self.is_calm() { pause } else { pause / RAMP });
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Ends the ramp, in which the load is heavier than later: after it the allocator has what an
    /// even load needs when chance has everybody need memory at the same moment.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Whether the load is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends the load.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whose events [`wait_for_fast`](Self::wait_for_fast) waits for.
    pub(crate) fn follow(&self, fast: StatsHandle) {
        // It is set once.
        let _ = self.fast.set(fast);
    }

    /// The subscriber that loses nothing has received so many events. Nothing is compared with
    /// this number.
    pub(crate) fn received(&self, events: u64) {
        self.received.store(events, Ordering::Relaxed);
    }

    /// Waits until few events are in the rings and in the queue of the subscriber that loses
    /// nothing: they take memory, and a core that it does not get must not look like a leak.
    pub(crate) fn wait_for_fast(&self) {
        let Some(fast) = self.fast.get() else { return };
        let is_behind = || {
            let most = if self.is_calm() {
                MAX_BEHIND
            } else {
                u64::from(RAMP) * MAX_BEHIND
            };
            let received = self.received.load(Ordering::Relaxed);
            let events = self.registry.event_accounting();
            let undelivered = events.offered - events.lost_in_rings - events.drained;
            fast.read().delivered.saturating_sub(received) + undelivered > most
        };
        while is_behind() && !self.is_over() {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Whether every event of the load has been handed to the subscribers.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire)
    }

    /// Every event of the load has been handed to the subscribers.
    pub(crate) fn be_quiet(&self) {
        self.quiet.store(true, Ordering::Release);
    }

    /// Calls every tool in every stripe with every outcome, short and long, so that all memory
    /// that a slot ever needs is touched before anybody measures it.
    ///
    /// # Errors
    ///
    /// If a tool cannot be registered.
    pub(crate) fn warm_up(&self) -> Result<Books, Box<dyn Error>> {
        let specs = NAMES[FIXED..TOOLS].iter().map(|name| ToolSpec::new(*name));
        let mut handles = self.fixed.clone();
        handles.extend(self.registry.register_all(specs)?);
        let all_have_called = Barrier::new(STRIPES);
        let mut books = Books::default();
        thread::scope(|scope| {
            let threads = [(); STRIPES].map(|()| scope.spawn(|| touch(&handles, &all_have_called)));
            for thread in threads {
                books.add(&thread.join().expect("a thread of the warm-up panicked"));
            }
        });
        drop(handles);
        for name in &NAMES[FIXED..TOOLS] {
            self.registry.deregister(name)?;
        }
        Ok(books)
    }
}

/// The part of the warm-up of one thread. A thread gets the lowest free index at its first call,
/// so threads that wait for each other after that write all stripes together.
fn touch(handles: &[ToolHandle], all_have_called: &Barrier) -> Books {
    let mut books = Books::default();
    for (tool, handle) in handles.iter().enumerate() {
        for outcome in OUTCOMES {
            let open = books.begin(tool, 1);
            end(&mut books, handle.start(), open, outcome);
        }
    }
    all_have_called.wait();
    for octave in 0..OCTAVES {
        let mut calls = Vec::with_capacity(handles.len() * OUTCOMES.len());
        for (tool, handle) in handles.iter().enumerate() {
            for outcome in OUTCOMES {
                calls.push((books.begin(tool, 1), handle.start(), outcome));
            }
        }
        thread::sleep(Duration::from_micros(8 << octave));
        for (open, call, outcome) in calls {
            end(&mut books, call, open, outcome);
        }
    }
    books
}

fn end(books: &mut Books, call: Call<'_>, open: Open, outcome: Outcome) {
    match outcome {
        Outcome::Success => books.end_after(open, outcome, call.succeed()),
        Outcome::Failure(kind) => books.end_after(open, outcome, call.fail(kind, "warming up")),
        Outcome::Cancelled => {
            drop(call);
            books.end(open, outcome);
        }
        Outcome::Rejected => {
            call.reject("warming up");
            books.end(open, outcome);
        }
    }
}
