//! Async receivers whose wakers panic, call back, or do not return until the load is over.
//!
//! Each receiver waits with an empty queue, and makes a call itself. Its waker must be called, and
//! a batch must be queued then, no matter what this waker and others do.

use crate::counts::Counts;
use crate::crossing::poll_once;
use crate::did::Did;
use crate::foreign::{Deed, Foreign, Whose};
use crate::guests::Guests;
use crate::host::Host;
use crate::tools::JOINED;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{Filter, Outcome, RecvTimeoutError, Subscription};

/// The number of wakers that do not return: fewer than the threads that call wakers.
pub(crate) const HOLDING: usize = 3;
/// The longest time until a waker is called.
const PATIENCE: Duration = Duration::from_secs(30);

/// The findings of the receivers.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    /// Their calls, and the counts of their subscriptions.
    pub(crate) guests: Guests,
    /// Wakers that were not called.
    pub(crate) unwoken: u64,
    /// Wakers that were called without a batch.
    pub(crate) in_vain: u64,
}

impl Visits {
    /// Adds what others found.
    pub(crate) fn add(&mut self, other: &Self) {
        self.guests.add(&other.guests);
        self.unwoken += other.unwoken;
        self.in_vain += other.in_vain;
    }
}

/// A waker that does a deed and sets a flag.
struct Doing {
    foreign: Arc<Foreign>,
    deed: Deed,
    is_done: AtomicBool,
}

impl Wake for Doing {
    fn wake(self: Arc<Self>) {
        if self.deed == Deed::Panic {
            self.is_done.store(true, Ordering::Release);
        }
        self.foreign.act(Whose::Waker, self.deed);
        self.is_done.store(true, Ordering::Release);
    }
}

/// Receives with a waker of each kind in turn, until the load is over.
pub(crate) fn visit(host: &Host, foreign: &Arc<Foreign>, first: u64) -> Visits {
    let mut visits = Visits::default();
    let mut step = first;
    while !host.is_over() {
        let queue = [1, 2, 4][step as usize % 3];
        let subscription = host.registry.subscribe_with(Filter::new(), Some(queue));
        let subscription = subscription.expect("the queue is within its limits");
        let waker = Arc::new(Doing {
            foreign: Arc::clone(foreign),
            deed: Deed::of(step),
            is_done: AtomicBool::new(false),
        });
        let received = visits.receive(host, &subscription, &waker);
        visits.guests.leave(subscription, received);
        step += 1;
        host.rest(Duration::from_millis(1));
        host.wait_for_receivers();
    }
    visits.guests.look_back(0);
    visits
}

impl Visits {
    /// Receives one batch. Returns the number of its events.
    fn receive(&mut self, host: &Host, from: &Subscription, waker: &Arc<Doing>) -> u64 {
        let mut batch = pin!(from.recv_async());
        let mut polled = {
            let waker = Waker::from(Arc::clone(waker));
            batch.as_mut().poll(&mut Context::from_waker(&waker))
        };
        if polled.is_pending() {
            call(host, &mut self.guests.counts);
            self.unwoken += u64::from(!comes_true(&waker.is_done));
            polled = poll_once(batch.as_mut());
            self.in_vain += u64::from(polled.is_pending());
        }
        match polled {
            Poll::Ready(Ok(batch)) => batch.len() as u64,
            _ => 0,
        }
    }
}

fn call(host: &Host, counts: &mut Counts) {
    host.tool(JOINED).start().succeed();
    counts.whole(JOINED, 1, Outcome::Success);
}

fn comes_true(flag: &AtomicBool) -> bool {
    let began = Instant::now();
    while !flag.load(Ordering::Acquire) {
        if began.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_micros(100));
    }
    true
}

/// The lock at which the wakers that do not return wait.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    is_over: Mutex<bool>,
    ended: Condvar,
}

impl Hold {
    /// Lets all of them return.
    pub(crate) fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.notify_all();
    }

    fn wait(&self) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_while(is_over, |is_over| !*is_over);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// A waker that does not return before the hold ends.
struct Holding {
    hold: Arc<Hold>,
    is_called: AtomicBool,
}

impl Wake for Holding {
    fn wake(self: Arc<Self>) {
        self.is_called.store(true, Ordering::Release);
        self.hold.wait();
    }
}

/// Receives once with a waker that does not return, and then without one to the end.
pub(crate) fn hold(host: &Host, hold: &Arc<Hold>) -> Visits {
    let mut visits = Visits::default();
    // Events of other tools would only fill the queue while this thread is not scheduled.
    let filter = Filter::new().tools([host.tool(JOINED).id()]);
    let subscription = host.registry.subscribe_with(filter, None);
    let subscription = subscription.expect("the queue is within its limits");
    let mut received = 0;
    let waker = Arc::new(Holding {
        hold: Arc::clone(hold),
        is_called: AtomicBool::new(false),
    });
    loop {
        let mut batch = pin!(subscription.recv_async());
        let std_waker = Waker::from(Arc::clone(&waker));
        let polled = batch.as_mut().poll(&mut Context::from_waker(&std_waker));
        let was_waiting = polled.is_pending();
        if was_waiting {
            call(host, &mut visits.guests.counts);
            visits.unwoken += u64::from(!comes_true(&waker.is_called));
            visits.guests.counts.did(Did::WakerHeld);
        }
        if let Poll::Ready(Ok(batch)) = polled {
            received += batch.len() as u64;
        }
        if was_waiting || host.is_over() {
            break;
        }
    }
    loop {
        match subscription.recv_timeout(Duration::from_millis(20)) {
            Ok(batch) => received += batch.len() as u64,
            Err(RecvTimeoutError::Timeout) => {}
            Err(_) => break,
        }
    }
    visits.guests.leave(subscription, received);
    visits.guests.look_back(0);
    visits
}
