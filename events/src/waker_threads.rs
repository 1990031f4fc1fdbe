//! The threads that call the wakers of async receivers.
//!
//! A waker is code of the host: it may panic, take long or never return, and it may call any
//! function of this library.
//!
//! # Invariants
//!
//! - The thread that hands out a round collects the receivers to be woken
//!   ([`Wakeups`](crate::Wakeups)) and hands them over here once it holds no lock. It waits for no
//!   waker: they are called on threads of their own, named `toolmeter-waker`. (If no thread can be
//!   started, they are called on that thread, one after the other. What a waker causes to be woken
//!   is then called after that waker has returned, not within it.)
//! - No lock of this crate is held while a waker is called.
//! - A panic in a waker is caught and counted; the other wakers are called.
//! - A waker that does not return for 100 ms while others wait behind it is abandoned, and counted.
//!   The others are called on another thread.
//! - There are at most 8 threads. While each of them is in a waker that does not return, no
//!   receiver is woken, and receivers get batches only if they are polled for another reason. Once
//!   a waker returns, its thread goes on with those that wait.
//! - The jobs that wait are bounded: each subscription once, and the wakers taken from those whose
//!   turn came. Dropped subscriptions are removed when the queue grows beyond 64 and beyond twice
//!   its length after the last removal.
//! - A thread ends if nothing is left to do and the hub is closed or two others are idle. No thread
//!   waits for it to end.
//!
//! # Turns
//!
//! One thread at a time has the *turn*: it takes one job and, without the lock, does it. It calls a
//! waker, or takes the wakers of a subscription, for which it may have to wait while a receiver
//! removes its own. If more jobs wait, another thread *watches*: it sleeps until the turn
//! has lasted 100 ms, and if that turn has not ended by then, takes the next turn itself. When the
//! abandoned thread returns, it waits for work again like the others.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `state` | `lock` | the lock's | itself | |
//! | `panics`, `stuck` | all | Relaxed | counts | |
//!
//! A model has no such threads: wakers are called on the thread that hands them over.

use crate::{
    async_receivers::AsyncReceivers,
    contain::contained,
    sync::{Ordering::Relaxed, Word},
};
use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// The time that a turn may take while other jobs wait.
const TURN_LIMIT: Duration = Duration::from_millis(100);
/// The largest number of threads.
const MAX_THREADS: usize = 8;
/// The largest number of threads that wait for work.
const MAX_IDLE: usize = 2;
/// The number of queued subscriptions up to which dropped ones are kept.
const ALWAYS_KEPT: usize = 64;

/// The threads that call the wakers of one hub's receivers, and the counts of what went wrong.
pub(crate) struct WakerThreads {
    panics: Word,
    stuck: Word,
    /// std's lock also in a model, which has none of these threads.
    state: Mutex<State>,
    changed: Condvar,
}

/// The jobs, and the threads that do them.
#[derive(Default)]
struct State {
    /// The subscriptions whose receivers are to be woken, each once.
    queued: VecDeque<Arc<AsyncReceivers>>,
    /// The wakers to be called.
    wakers: VecDeque<Waker>,
    /// The number of the current turn, and when it began.
    turn: Option<(u64, Instant)>,
    /// The number of turns so far.
    turns: u64,
    threads: usize,
    /// The number of threads that wait for work, watch, or are about to begin.
    idle: usize,
    /// The number of threads that watch the current turn.
    watching: usize,
    /// The callers' threads that do the work because no thread could be started.
    borrowed: Vec<ThreadId>,
    /// The number of queued subscriptions beyond which dropped ones are removed.
    most_queued: usize,
    closed: bool,
}

/// The work of one turn.
enum Job {
    /// Calls the waker.
    Call(Waker),
    /// Takes the wakers of these receivers.
    TakeWakers(Arc<AsyncReceivers>),
}

impl State {
    fn has_work(&self) -> bool {
        !(self.wakers.is_empty() && self.queued.is_empty())
    }

    /// Queues these receivers. Returns those that need not be queued. The caller drops them after it
    /// releases the lock, since they may own a waker.
    fn queue(&mut self, mut receivers: Vec<Arc<AsyncReceivers>>) -> Vec<Arc<AsyncReceivers>> {
        let is_queued = |receivers: &mut Arc<AsyncReceivers>| receivers.set_queued(true);
        let mut to_drop: Vec<_> = receivers.extract_if(.., is_queued).collect();
        self.queued.extend(receivers);
        if self.queued.len() > self.most_queued.max(ALWAYS_KEPT) {
            // If this queue alone has it, both sides of a subscription were dropped.
            let all = mem::take(&mut self.queued).into_iter();
            let (kept, dropped): (Vec<_>, Vec<_>) =
                all.partition(|receivers| Arc::strong_count(receivers) > 1);
            self.most_queued = 2 * kept.len();
            self.queued = kept.into();
            to_drop.extend(dropped);
        }
        to_drop
    }

    /// Takes the next job, if there is one.
    fn next(&mut self) -> Option<Job> {
        if let Some(waker) = self.wakers.pop_front() {
            return Some(Job::Call(waker));
        }
        let receivers = self.queued.pop_front()?;
        receivers.set_queued(false);
        Some(Job::TakeWakers(receivers))
    }

    /// Returns the time that is left of the current turn, or `None` if there is none.
    fn time_left(&self) -> Option<Duration> {
        let (_, began) = self.turn?;
        Some(TURN_LIMIT.saturating_sub(began.elapsed()))
    }
}

impl WakerThreads {
    pub(crate) fn new() -> Self {
        Self {
            panics: Word::new(0),
            stuck: Word::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Returns the number of wakers that panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// Returns the number of turns that were abandoned.
    pub(crate) fn stuck(&self) -> u64 {
        self.stuck.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over these receivers to be woken. `at_close` ends the threads once nothing is left to do.
    pub(crate) fn wake(self: &Arc<Self>, receivers: Vec<Arc<AsyncReceivers>>, at_close: bool) {
        if cfg!(toolmeter_loom) {
            return self.call_wakers(&receivers);
        }
        // Declared before the guard, so dropped after it.
        let _to_drop;
        let mut state = self.lock();
        _to_drop = state.queue(receivers);
        if at_close {
            state.closed = true;
            self.changed.notify_all();
        }
        // Possibly no thread is left to watch the turn.
        if state.has_work() && state.time_left() == Some(Duration::ZERO) {
            self.abandon_turn(&mut state);
        }
        self.ensure_worker(&mut state);
        if state.threads == 0 {
            self.work_here(state);
        }
    }

    /// Does the work on this thread, since no other could be started. Returns at once if a waker
    /// that is called here calls this: the outer call then does the work, so that calls do not
    /// nest.
    fn work_here<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        let here = thread::current().id();
        if state.borrowed.contains(&here) {
            return;
        }
        state.borrowed.push(here);
        while let Some(job) = state.next() {
            drop(state);
            match job {
                Job::Call(waker) => self.call(waker),
                Job::TakeWakers(receivers) => self.call_wakers(&[receivers]),
            }
            state = self.lock();
        }
        state.borrowed.retain(|thread| *thread != here);
    }

    /// Calls the wakers of these receivers on this thread.
    fn call_wakers(&self, receivers: &[Arc<AsyncReceivers>]) {
        for receivers in receivers {
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

    /// Ends the current turn for the other threads, since it takes too long.
    fn abandon_turn(&self, state: &mut State) {
        state.turn = None;
        self.stuck.fetch_add(1, Relaxed);
    }

    /// If there is work, ensures that a thread does it, or watches the thread that has the turn.
    fn ensure_worker(self: &Arc<Self>, state: &mut State) {
        if !state.has_work() || (state.turn.is_some() && state.watching > 0) {
            return;
        }
        if state.idle > 0 {
            self.changed.notify_one();
        } else if state.threads < MAX_THREADS {
            let waker_threads = Arc::clone(self);
            let thread = thread::Builder::new().name("toolmeter-waker".into());
            if thread.spawn(move || waker_threads.run()).is_ok() {
                state.threads += 1;
                state.idle += 1;
            }
        }
    }

    /// Runs one of the threads.
    fn run(self: Arc<Self>) {
        let mut state = self.lock();
        state.idle -= 1;
        loop {
            if !state.has_work() {
                if state.closed || state.idle >= MAX_IDLE {
                    state.threads -= 1;
                    return;
                }
                state.idle += 1;
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            }
            match state.time_left() {
                None => {}
                Some(Duration::ZERO) => self.abandon_turn(&mut state),
                Some(time_left) => {
                    state.idle += 1;
                    state.watching += 1;
                    let waited = self.changed.wait_timeout(state, time_left);
                    (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                    state.watching -= 1;
                    state.idle -= 1;
                    continue;
                }
            }
            let Some(job) = state.next() else { continue };
            let turn = state.turns;
            state.turns += 1;
            state.turn = Some((turn, Instant::now()));
            self.ensure_worker(&mut state);
            drop(state);
            let wakers = match job {
                Job::Call(waker) => {
                    self.call(waker);
                    None
                }
                Job::TakeWakers(receivers) => Some(receivers.take_wakers()),
            };
            state = self.lock();
            state.wakers.extend(wakers.into_iter().flatten());
            // Otherwise the turn was abandoned, and another thread may have one.
            if state.turn.is_some_and(|(current, _)| current == turn) {
                state.turn = None;
            }
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
