//! On which threads async receivers are woken.
//!
//! A waker is code of the host: it may panic, take long or never return, and it may call whatever
//! this library offers. Promises:
//!
//! - The thread that hands out a round collects the wakers ([`Wakeups`]) and calls them once it holds
//!   no lock. It waits for no waker: they are called on threads of their own, `toolmeter-waker`. (Where
//!   no thread can be started, they are called on the spot, one after the other: what a waker gives
//!   occasion to is done when that waker has returned, not within it.)
//! - The panic of a waker is counted and goes no further; the others are called.
//! - A waker that does not return for 100 ms while others wait behind it is left alone, and counted.
//!   The others are called on another thread.
//! - There are 8 threads at most. While each is in a waker that does not return, no receiver is woken:
//!   such receivers have to be polled for another reason. Once one returns, it goes on with those
//!   that wait.
//! - What waits here is bounded: each subscription once, and the wakers of those being announced.
//!   Subscriptions that were dropped are taken out before they are more than the others.
//! - No lock of this crate is held while a waker is called.
//! - A thread ends when the hub is closed and nothing waits. Nothing waits for that.
//!
//! # How the threads share the work
//!
//! One at a time takes a *turn*: it takes one thing from the desk and, without the desk's lock, does
//! it: it calls a waker, or takes the wakers of a subscription that waits to be announced, for which
//! it may have to wait for a receiver that is just leaving one. If more waits behind, another
//! thread *watches*: it sleeps until the turn has lasted 100 ms, and if that turn is still on
//! then, takes the next turn itself. The thread left alone, when it is back, is one of those that
//! wait for work.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `desk` | `lock` | the lock's | itself | |
//! | `panics`, `stuck` | all | Relaxed | counts | |
//!
//! In a model there are no such threads: wakers are called on the spot.

use crate::{
    async_receivers::AsyncReceivers,
    contain::contained,
    sync::{Ordering::Relaxed, Word},
};
use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// How long a waker may take while others wait.
const PATIENCE: Duration = Duration::from_millis(100);
/// How many threads there are at most.
const MOST_THREADS: usize = 8;
/// How many of them wait for work at most.
const MOST_WAITING: usize = 2;
/// So many subscriptions may wait to be announced without a look at who was dropped.
const FEW: usize = 64;

/// The async receivers to wake after a round, or at the end. From
/// [`Hub::fan_out`](crate::Hub::fan_out) and [`Hub::close`](crate::Hub::close).
///
/// Wake them when no lock is held that a waker might want. Dropped, it wakes them too.
///
/// # Examples
///
/// ```
/// # use std::sync::{Arc, Mutex};
/// # use toolmeter_events::Hub;
/// let state = Mutex::new(0);
/// let hub = Hub::new(16, 16)?;
/// let guard = state.lock();
/// let wakeups = hub.close();
/// drop(guard);
/// wakeups.wake();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "receivers are woken when this is dropped, maybe under a lock that a waker wants"]
pub struct Wakeups {
    arrived: Vec<Arc<AsyncReceivers>>,
    /// Nothing will be announced after these.
    last: bool,
    waker_threads: Arc<WakerThreads>,
}

impl Wakeups {
    pub(crate) const fn new(
        arrived: Vec<Arc<AsyncReceivers>>,
        waker_threads: Arc<WakerThreads>,
    ) -> Self {
        Self {
            arrived,
            last: false,
            waker_threads,
        }
    }

    /// As `new`, of a hub that is closed.
    pub(crate) const fn last(
        arrived: Vec<Arc<AsyncReceivers>>,
        waker_threads: Arc<WakerThreads>,
    ) -> Self {
        Self {
            arrived,
            last: true,
            waker_threads,
        }
    }

    /// Wakes the receivers. Waits for no waker: they are called on a thread of their own.
    pub fn wake(self) {
        drop(self);
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        if self.last || !self.arrived.is_empty() {
            self.waker_threads
                .announce(mem::take(&mut self.arrived), self.last);
        }
    }
}

impl fmt::Debug for Wakeups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakeups")
            .field("subscriptions", &self.arrived.len())
            .finish_non_exhaustive()
    }
}

/// Those who wake the receivers of one hub, and what became of it.
pub(crate) struct WakerThreads {
    panics: Word,
    stuck: Word,
    /// std's also in a model, which has no threads at it.
    desk: Mutex<Desk>,
    changed: Condvar,
}

/// What is to be done, and by whom.
#[derive(Default)]
struct Desk {
    /// Subscriptions to be announced, each once.
    arrived: VecDeque<Arc<AsyncReceivers>>,
    /// Wakers to be called.
    wakers: VecDeque<Waker>,
    /// The turn that is on, and since when.
    turn: Option<(u64, Instant)>,
    turns: u64,
    threads: usize,
    /// Of these, how many wait for work, or are about to begin.
    waiting: usize,
    /// Of these, how many wait for the turn to be over or too long.
    watching: usize,
    /// Threads of others that work on the spot.
    on_the_spot: Vec<ThreadId>,
    /// How many may have arrived before those that were dropped are taken out.
    most_arrived: usize,
    closed: bool,
}

/// What is done in one turn.
enum Task {
    Wake(Waker),
    Announce(Arc<AsyncReceivers>),
}

impl Desk {
    fn has_work(&self) -> bool {
        !(self.wakers.is_empty() && self.arrived.is_empty())
    }

    /// Returns what is not to be announced: to be dropped once the desk's lock is released, since
    /// a waker may be left in it.
    fn put(&mut self, mut arrived: Vec<Arc<AsyncReceivers>>) -> Vec<Arc<AsyncReceivers>> {
        let waits = |receivers: &mut Arc<AsyncReceivers>| receivers.set_announced(true);
        let mut gone: Vec<_> = arrived.extract_if(.., waits).collect();
        self.arrived.extend(arrived);
        if self.arrived.len() > self.most_arrived.max(FEW) {
            // Both sides of a subscription have gone where only the desk has it.
            let all = mem::take(&mut self.arrived).into_iter();
            let (there, dropped): (Vec<_>, Vec<_>) =
                all.partition(|receivers| Arc::strong_count(receivers) > 1);
            self.most_arrived = 2 * there.len();
            self.arrived = there.into();
            gone.extend(dropped);
        }
        gone
    }

    fn take(&mut self) -> Option<Task> {
        if let Some(waker) = self.wakers.pop_front() {
            return Some(Task::Wake(waker));
        }
        let receivers = self.arrived.pop_front()?;
        receivers.set_announced(false);
        Some(Task::Announce(receivers))
    }

    /// Returns how long the turn may still take; `None` if no turn is on.
    fn patience(&self) -> Option<Duration> {
        let (_, since) = self.turn?;
        Some(PATIENCE.saturating_sub(since.elapsed()))
    }
}

impl WakerThreads {
    pub(crate) fn new() -> Self {
        Self {
            panics: Word::new(0),
            stuck: Word::new(0),
            desk: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    pub(crate) fn stuck(&self) -> u64 {
        self.stuck.load(Relaxed)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(self: &Arc<Self>, arrived: Vec<Arc<AsyncReceivers>>, last: bool) {
        if cfg!(toolmeter_loom) {
            return self.wake_here(&arrived);
        }
        // Dropped after the desk is released.
        let _gone;
        let mut desk = self.desk();
        _gone = desk.put(arrived);
        if last {
            desk.closed = true;
            self.changed.notify_all();
        }
        // Nobody may be left to watch it.
        if desk.has_work() && desk.patience() == Some(Duration::ZERO) {
            self.leave_alone(&mut desk);
        }
        self.call_for_work(&mut desk);
        if desk.threads == 0 {
            self.work_here(desk);
        }
    }

    /// Does on this thread what waits: no other could be started. Within a waker that is called
    /// here, it is left to the caller of that waker, so that it goes no deeper each time.
    fn work_here<'a>(&'a self, mut desk: MutexGuard<'a, Desk>) {
        let here = thread::current().id();
        if desk.on_the_spot.contains(&here) {
            return;
        }
        desk.on_the_spot.push(here);
        while let Some(task) = desk.take() {
            drop(desk);
            match task {
                Task::Wake(waker) => self.call(waker),
                Task::Announce(receivers) => self.wake_here(&[receivers]),
            }
            desk = self.desk();
        }
        desk.on_the_spot.retain(|thread| *thread != here);
    }

    /// Calls the wakers on this thread.
    fn wake_here(&self, arrived: &[Arc<AsyncReceivers>]) {
        for receivers in arrived {
            for waker in receivers.take_wakers() {
                self.call(waker);
            }
        }
    }

    fn call(&self, waker: Waker) {
        if !contained(|| waker.wake()) {
            self.panics.fetch_add(1, Relaxed);
        }
    }

    /// Ends the turn for all others, since it lasts too long.
    fn leave_alone(&self, desk: &mut Desk) {
        desk.turn = None;
        self.stuck.fetch_add(1, Relaxed);
    }

    /// Sees to it that somebody does what there is to do, or watches who is at it.
    fn call_for_work(self: &Arc<Self>, desk: &mut Desk) {
        if !desk.has_work() || (desk.turn.is_some() && desk.watching > 0) {
            return;
        }
        if desk.waiting > 0 {
            self.changed.notify_one();
        } else if desk.threads < MOST_THREADS {
            let waker_threads = Arc::clone(self);
            let thread = thread::Builder::new().name("toolmeter-waker".into());
            if thread.spawn(move || waker_threads.work()).is_ok() {
                desk.threads += 1;
                desk.waiting += 1;
            }
        }
    }

    /// A thread.
    fn work(self: Arc<Self>) {
        let mut desk = self.desk();
        desk.waiting -= 1;
        loop {
            if !desk.has_work() {
                if desk.closed || desk.waiting >= MOST_WAITING {
                    desk.threads -= 1;
                    return;
                }
                desk.waiting += 1;
                desk = self
                    .changed
                    .wait(desk)
                    .unwrap_or_else(PoisonError::into_inner);
                desk.waiting -= 1;
                continue;
            }
            match desk.patience() {
                None => {}
                Some(Duration::ZERO) => self.leave_alone(&mut desk),
                Some(patience) => {
                    desk.waiting += 1;
                    desk.watching += 1;
                    let waited = self.changed.wait_timeout(desk, patience);
                    (desk, _) = waited.unwrap_or_else(PoisonError::into_inner);
                    desk.watching -= 1;
                    desk.waiting -= 1;
                    continue;
                }
            }
            let Some(task) = desk.take() else { continue };
            let turn = desk.turns;
            desk.turns += 1;
            desk.turn = Some((turn, Instant::now()));
            self.call_for_work(&mut desk);
            drop(desk);
            let wakers = match task {
                Task::Wake(waker) => {
                    self.call(waker);
                    None
                }
                Task::Announce(receivers) => Some(receivers.take_wakers()),
            };
            desk = self.desk();
            desk.wakers.extend(wakers.into_iter().flatten());
            // Else it was left alone, and others are at work.
            if desk.turn.is_some_and(|(on, _)| on == turn) {
                desk.turn = None;
            }
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
