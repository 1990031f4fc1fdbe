//! A third registry, where more names come and go than it remembers.
//!
//! Its limit is small. Some names recur, each registered and deregistered by one thread again and
//! again; all others are used once. Meanwhile other threads hold handles and calls of them, and all
//! kinds of readers look on, among them cursors that are never read.
//!
//! # What must hold
//!
//! * Each reader that missed nothing has all calls, over the names and what is nameless: the totals,
//!   what resets handed back with the metrics since, a cursor that was read often, and one that
//!   was made at the start and read at the end.
//! * A name that was used once has exactly its own calls, or is forgotten. What each such name does
//!   follows from its number, so it need not be remembered.
//! * A name that recurs has at most its own calls: what it counted before it was forgotten is
//!   among what is nameless.
//! * There are as many tools, with names and without, as ids were given out.
//! * The totals over everything never go back.

use crate::books::Tally;
use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use toolmeter::{
    Call, ErrorKind, EventAccounting, Intervals, Outcome, OwnedCall, RegisterError, Registry,
    RunningCalls, Snapshot, Subscription, ToolHandle, ToolId,
};

/// How many tools may be visible, and how many names are remembered.
const TOOL_LIMIT: usize = 256;
/// Threads that register and deregister.
const MOVERS: usize = 2;
/// How many recurring names each has.
const RECURRING: usize = 4;
/// Threads that hold handles and calls of recurring names.
const HOLDERS: usize = 2;
/// How many calls a holder has at once.
const HELD: usize = 3;
/// Cursors that live and are never read.
const UNREAD: usize = 16;
/// More events than may wait. All of it is soon touched.
const RING_CAPACITY: usize = 1_024;
/// How many events may wait before no more names are used. As a tool without a name is known to
/// subscribers until as many others as the limit have lost theirs, each event has a name then.
const MAX_BEHIND: u64 = 256;
/// The longest queue there is, in batches.
const QUEUE: usize = 65_536;
/// How long it may take until everything is delivered.
const REST: Duration = Duration::from_secs(20);
/// Between two things that a thread does.
const PAUSE: Duration = Duration::from_micros(300);

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

/// What was counted there, at rest.
#[derive(Debug)]
pub(crate) struct Counted {
    /// What the load did, over all names.
    pub(crate) books: Tally,
    /// What each reader has, over all names and what is nameless.
    pub(crate) readers: [(&'static str, Tally); 4],
    /// Ids that were given out.
    pub(crate) ids: u64,
    /// Tools in the totals, with names and without.
    pub(crate) tools: u64,
    /// Tools without a name.
    pub(crate) nameless: u64,
    /// Unique names that the totals have with other counts than they did.
    pub(crate) other_counts: u64,
    /// What some reader has under a recurring name beyond what was done.
    pub(crate) excess: u64,
    /// How often the totals were less than before.
    pub(crate) went_back: u64,
    /// What became of the events.
    pub(crate) events: EventAccounting,
    /// Events that the subscriber received.
    pub(crate) received: u64,
    /// Events that the subscriber lost.
    pub(crate) lost: u64,
    /// Events whose tool no name was given for.
    pub(crate) unnamed: u64,
    /// Calls that are said to run, or to be missed, when none runs.
    pub(crate) still_running: u64,
    /// Calls through handles that were held while names came and went.
    pub(crate) through_handles: u64,
    /// Running calls that were listed.
    pub(crate) listed: u64,
    /// Cursors that were made and never read.
    pub(crate) unread: u64,
}

/// What the threads share.
#[derive(Debug)]
struct Stage {
    registry: Registry,
    over: AtomicBool,
}

/// The calls of a thread.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    /// Of each recurring name.
    recurring: [Tally; MOVERS * RECURRING],
    /// Of all that are used once.
    unique: Tally,
}

/// What a mover did.
#[derive(Debug, Default)]
struct Moved {
    own: Own,
    /// Ids that were given out to its names.
    ids: u64,
    /// How many unique names it used.
    unique: u64,
    last_ids: [Option<ToolId>; RECURRING],
}

/// What a reader read.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    own: Own,
    nameless: Tally,
}

#[derive(Debug, Default)]
struct Watched {
    went_back: u64,
    listed: u64,
    unread: u64,
}

#[derive(Debug, Default)]
struct Heard {
    received: u64,
    lost: u64,
    unnamed: u64,
}

impl Crowd {
    /// Starts it.
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

    /// Ends it.
    ///
    /// # Errors
    ///
    /// If one of its threads panicked, which it has said by then.
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
            books: own.sum(),
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

/// Waits until every event was handed to the subscribers.
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

impl Stage {
    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let stage = Arc::clone(self);
        thread::spawn(move || work(&stage))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Registers and deregisters recurring and unique names in turn.
    fn move_names(&self, mover: usize) -> Moved {
        let mut moved = Moved::default();
        // The handles of a recurring name before, so that it is registered again while held.
        let mut held: Option<ToolHandle> = None;
        let mut step = 0_usize;
        while !self.is_over() {
            let recurring = step % RECURRING;
            if let Some(handle) = self.register(&recurring_name(mover, recurring)) {
                if moved.last_ids[recurring].replace(handle.id()) != Some(handle.id()) {
                    moved.ids += 1;
                }
                let tally = &mut moved.own.recurring[mover * RECURRING + recurring];
                call(&handle, tally, step as u64);
                thread::sleep(PAUSE);
                self.deregister(&recurring_name(mover, recurring));
                call(&handle, tally, step as u64 + 1);
                // Every third is held until the next of the same name is registered.
                held = step.is_multiple_of(3).then_some(handle);
            }
            self.wait_for_the_pump();
            self.pass_by(mover, &mut moved);
            if let Some(handle) = &held {
                let name = recurring_name(mover, recurring);
                // Registered again while it is held: both handles count into the same.
                if let Some(again) = self.register(&name) {
                    assert_eq!(again.id(), handle.id(), "a tool that was held is another");
                    let tally = &mut moved.own.recurring[mover * RECURRING + recurring];
                    call(handle, tally, step as u64);
                    call(&again, tally, step as u64);
                    self.deregister(&name);
                }
            }
            step += 1;
            thread::sleep(PAUSE);
        }
        moved
    }

    fn wait_for_the_pump(&self) {
        let is_behind = || {
            let events = self.registry.event_accounting();
            events.offered - events.lost_in_rings - events.drained > MAX_BEHIND
        };
        while is_behind() && !self.is_over() {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// One tool whose name is used once.
    fn pass_by(&self, mover: usize, moved: &mut Moved) {
        let number = moved.unique;
        let name = unique_name(mover, number);
        let Some(handle) = self.register(&name) else {
            return;
        };
        moved.unique += 1;
        moved.ids += 1;
        let (before, after) = once(number);
        for outcome in before {
            make(&handle, &mut moved.own.unique, 1, *outcome);
        }
        self.deregister(&name);
        for outcome in after {
            make(&handle, &mut moved.own.unique, 1, *outcome);
        }
    }

    /// Registers a name that no other thread registers; `None` if too many tools are held just now.
    fn register(&self, name: &str) -> Option<ToolHandle> {
        match self.registry.register(name.to_owned()) {
            Ok(handle) => Some(handle),
            Err(RegisterError::TooManyTools { .. }) => None,
            Err(error) => panic!("`{name}` cannot be registered: {error}"),
        }
    }

    fn deregister(&self, name: &str) {
        let ended = self.registry.deregister(name);
        ended.expect("no other thread deregisters this name");
    }

    /// Looks recurring names up, and holds handles and calls while the names come and go.
    fn hold(&self, holder: usize) -> Own {
        let mut own = Own::default();
        let mut calls: VecDeque<(OwnedCall, usize, Outcome)> = VecDeque::new();
        let mut handles: [Option<ToolHandle>; 2] = [None, None];
        let mut step = holder;
        while !self.is_over() {
            let place = step % (MOVERS * RECURRING);
            let name = recurring_name(place / RECURRING, place % RECURRING);
            if let Some(handle) = self.registry.get(&name) {
                call(&handle, &mut own.recurring[place], step as u64);
                own.recurring[place].begin(1);
                let outcome = OUTCOMES[step % OUTCOMES.len()];
                calls.push_back((handle.start_owned(), place, outcome));
                handles[step % 2] = Some(handle);
            }
            for handle in handles.iter().flatten() {
                let held = place_of(handle.name()).unwrap_or_default();
                call(handle, &mut own.recurring[held], step as u64);
            }
            if step % 7 == holder {
                handles = [None, None];
            }
            while calls.len() > HELD {
                own.end(calls.pop_front());
            }
            step += 1;
            thread::sleep(PAUSE);
        }
        for call in calls {
            own.end(Some(call));
        }
        own
    }

    fn reset(&self) -> Read {
        let mut read = Read::default();
        while !self.is_over() {
            read.add(&self.registry.reset_metrics());
            thread::sleep(Duration::from_millis(7));
        }
        read
    }

    fn read(&self, mut cursor: Intervals) -> (Read, Intervals) {
        let mut read = Read::default();
        while !self.is_over() {
            read.add(&cursor.read());
            thread::sleep(Duration::from_millis(3));
        }
        (read, cursor)
    }

    /// Makes cursors that it never reads, and looks at totals and at running calls.
    fn watch(&self) -> Watched {
        let mut watched = Watched::default();
        let mut cursors = VecDeque::new();
        let running = self.registry.running_calls();
        let mut before = Tally::default();
        while !self.is_over() {
            cursors.push_back(self.registry.intervals());
            if cursors.len() > UNREAD {
                cursors.pop_front();
                watched.unread += 1;
            }
            let mut totals = Read::default();
            totals.add(&self.registry.totals());
            let now = totals.sum();
            watched.went_back += before.excess(&now);
            before = now;
            watched.listed += running.list().calls.len() as u64;
            thread::sleep(Duration::from_millis(5));
        }
        watched
    }
}

impl Own {
    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.recurring.iter_mut().zip(&other.recurring) {
            mine.add(theirs);
        }
        self.unique.add(&other.unique);
    }

    /// All names added up.
    fn sum(&self) -> Tally {
        let mut sum = self.unique;
        for tally in &self.recurring {
            sum.add(tally);
        }
        sum
    }

    /// What this has under recurring names beyond what was done.
    fn excess(&self, done: &Self) -> u64 {
        let names = self.recurring.iter().zip(&done.recurring);
        names.map(|(mine, done)| mine.excess(done)).sum()
    }

    /// Ends a call that was held.
    fn end(&mut self, held: Option<(OwnedCall, usize, Outcome)>) {
        if let Some((call, place, outcome)) = held {
            let tally = &mut self.recurring[place];
            let latency = finish_owned(call, outcome);
            tally.end(1, outcome);
            tally.took(outcome, latency);
        }
    }
}

impl Read {
    fn add(&mut self, snapshot: &Snapshot) {
        for (name, stats) in &snapshot.tools {
            let tally = match place_of(name) {
                Some(place) => &mut self.own.recurring[place],
                None => &mut self.own.unique,
            };
            tally.add(&Tally::of(stats, true));
        }
        if let Some(nameless) = &snapshot.nameless {
            self.nameless.add(&Tally::of(&nameless.stats, true));
        }
    }

    /// All names and what is nameless.
    fn sum(&self) -> Tally {
        let mut sum = self.own.sum();
        sum.add(&self.nameless);
        sum
    }
}

impl Heard {
    fn listen(subscription: &Subscription) -> Self {
        let mut heard = Self::default();
        for batch in subscription.iter() {
            heard.received += batch.len() as u64;
            for event in &batch {
                heard.unnamed += u64::from(batch.name(event.tool()).is_none());
            }
        }
        heard.lost = subscription.stats().lost;
        heard
    }
}

/// A call of each kind, ended in turn.
const OUTCOMES: [Outcome; 5] = [
    Outcome::Success,
    Outcome::Failure(ErrorKind::Network),
    Outcome::Cancelled,
    Outcome::Rejected,
    Outcome::Failure(ErrorKind::ToolError),
];

fn recurring_name(mover: usize, number: usize) -> String {
    format!("recurring_{mover}_{number}")
}

fn unique_name(mover: usize, number: u64) -> String {
    format!("once_{mover}_{number}")
}

/// The place of a recurring name.
fn place_of(name: &str) -> Option<usize> {
    let (mover, number) = name.strip_prefix("recurring_")?.split_once('_')?;
    Some(mover.parse::<usize>().ok()? * RECURRING + number.parse::<usize>().ok()?)
}

/// What the unique name of this number does before and after it is deregistered.
fn once(number: u64) -> (&'static [Outcome], &'static [Outcome]) {
    let before = 1 + (number % 3) as usize;
    let after = before + (number / 3 % 3) as usize;
    (&OUTCOMES[..before], &OUTCOMES[before..after])
}

/// What the totals must have under it.
fn expected(number: u64) -> Tally {
    let (before, after) = once(number);
    let mut tally = Tally::default();
    for outcome in before.iter().chain(after) {
        tally.begin(1);
        tally.end(1, *outcome);
    }
    tally
}

/// Unique names that a snapshot has with other counts than they did, or that were not used.
fn other_counts(snapshot: &Snapshot, used: &[u64]) -> u64 {
    let mut others = 0;
    for (name, stats) in &snapshot.tools {
        if place_of(name).is_some() {
            continue;
        }
        let number = name.strip_prefix("once_").and_then(|name| {
            let (mover, number) = name.split_once('_')?;
            let used = *used.get(mover.parse::<usize>().ok()?)?;
            number.parse::<u64>().ok().filter(|number| *number < used)
        });
        let is_same = number.is_some_and(|n| expected(n).is_same(&Tally::of(stats, false)));
        others += u64::from(!is_same);
    }
    others
}

/// Some calls of one tool.
fn call(handle: &ToolHandle, tally: &mut Tally, step: u64) {
    let attempt = 1 + (step % 3) as u16;
    make(
        handle,
        tally,
        attempt,
        OUTCOMES[step as usize % OUTCOMES.len()],
    );
    if step.is_multiple_of(4) {
        handle.call().reject("denied");
        tally.reject();
    }
}

/// One call.
fn make(handle: &ToolHandle, tally: &mut Tally, attempt: u16, outcome: Outcome) {
    tally.begin(attempt);
    let latency = finish(handle.call().attempt(attempt).start(), outcome);
    tally.end(attempt, outcome);
    tally.took(outcome, latency);
}

fn finish(call: Call<'_>, outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Success => call.succeed(),
        Outcome::Failure(kind) => call.fail(kind, "in the crowd"),
        Outcome::Cancelled => call.cancel(),
        Outcome::Rejected => {
            call.reject("in the crowd");
            Duration::ZERO
        }
    }
}

fn finish_owned(call: OwnedCall, outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Success => call.succeed(),
        Outcome::Failure(kind) => call.fail(kind, "held"),
        Outcome::Cancelled => call.cancel(),
        Outcome::Rejected => {
            call.reject("held");
            Duration::ZERO
        }
    }
}
