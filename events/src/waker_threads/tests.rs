//! Tests of the threads: their start and end, their queue, and wakeups without them.

use super::*;
use crate::{async_receivers::AsyncReceiver, wakeups::Wakeups};
use std::{sync::mpsc, task::Wake};

/// Far longer than any test here takes.
const STUCK: Duration = Duration::from_secs(60);

/// Sends the name of the thread that calls the waker.
struct SendThreadName(mpsc::Sender<Option<String>>);

impl Wake for SendThreadName {
    fn wake(self: Arc<Self>) {
        let name = thread::current().name().map(str::to_owned);
        self.0.send(name).unwrap();
    }
}

fn wake(threads: &Arc<WakerThreads>, receivers: &Arc<AsyncReceivers>) {
    Wakeups::new(vec![Arc::clone(receivers)], Arc::clone(threads)).wake();
}

/// Waits until no thread owns a share of the state.
fn assert_all_ended(threads: &Arc<WakerThreads>) {
    let began = Instant::now();
    while Arc::strong_count(threads) > 1 {
        assert!(began.elapsed() < STUCK, "a thread does not end");
        thread::yield_now();
    }
    assert_eq!(threads.lock().threads, 0);
}

#[test]
fn a_thread_starts_with_the_first_receiver_to_wake_and_ends_after_the_last() {
    let threads = Arc::new(WakerThreads::new());
    let receivers = Arc::new(AsyncReceivers::new());
    Wakeups::new(Vec::new(), Arc::clone(&threads)).wake();
    assert_eq!(threads.lock().threads, 0);
    let (sender, names) = mpsc::channel();
    let waker = Arc::new(SendThreadName(sender)).into();
    let mut receiver = AsyncReceiver::new(&*receivers);
    for _ in 0..3 {
        receiver.register(&waker);
        wake(&threads, &receivers);
        let name = names.recv_timeout(STUCK).unwrap();
        assert_eq!(name.as_deref(), Some("toolmeter-waker"));
    }
    assert!(threads.lock().threads <= 2);
    receiver.register(&waker);
    let ended = vec![Arc::clone(&receivers)];
    Wakeups::at_close(ended, Arc::clone(&threads)).wake();
    assert!(names.recv_timeout(STUCK).is_ok());
    assert_all_ended(&threads);
    // Wakeups that were collected before the hub closed, and are done after it.
    receiver.register(&waker);
    wake(&threads, &receivers);
    assert!(names.recv_timeout(STUCK).is_ok());
    assert_all_ended(&threads);
}

#[test]
fn a_subscription_is_queued_once() {
    let threads = WakerThreads::new();
    let receivers = Arc::new(AsyncReceivers::new());
    let mut state = threads.lock();
    let to_drop = [1, 2, 2].map(|_| {
        state
            .queue(vec![Arc::clone(&receivers), Arc::clone(&receivers)])
            .len()
    });
    assert_eq!((state.queued.len(), to_drop), (1, [1, 2, 2]));
    assert!(matches!(state.next(), Some(Job::TakeWakers(_))));
    assert!(state.next().is_none());
    assert_eq!(state.queue(vec![receivers]).len(), 0);
    assert_eq!(state.queued.len(), 1);
}

/// While each thread is in a waker that does not return, subscriptions come and go.
#[test]
fn subscriptions_that_were_dropped_do_not_pile_up() {
    let threads = WakerThreads::new();
    let mut state = threads.lock();
    let kept = [(); 3 * ALWAYS_KEPT].map(|()| Arc::new(AsyncReceivers::new()));
    for receivers in &kept {
        assert_eq!(state.queue(vec![Arc::clone(receivers)]).len(), 0);
    }
    let mut dropped = 0;
    for _ in 0..100 * ALWAYS_KEPT {
        dropped += state.queue(vec![Arc::new(AsyncReceivers::new())]).len();
        assert!(state.queued.len() <= 2 * kept.len() + 1);
    }
    assert!(dropped > 90 * ALWAYS_KEPT, "{dropped}");
    let mut taken = 0;
    while let Some(Job::TakeWakers(receivers)) = state.next() {
        taken += kept.iter().filter(|at| Arc::ptr_eq(at, &receivers)).count();
    }
    assert_eq!(taken, kept.len());
}

#[test]
fn where_no_thread_starts_the_work_is_done_here() {
    let threads = WakerThreads::new();
    let receivers = Arc::new(AsyncReceivers::new());
    let (sender, names) = mpsc::channel();
    let waker: Waker = Arc::new(SendThreadName(sender)).into();
    let mut receiver = AsyncReceiver::new(&*receivers);
    receiver.register(&waker);
    let mut state = threads.lock();
    state.wakers.push_back(waker.clone());
    assert_eq!(state.queue(vec![Arc::clone(&receivers)]).len(), 0);
    threads.work_here(state);
    let here = thread::current().name().map(str::to_owned);
    assert_eq!(names.try_iter().collect::<Vec<_>>(), [here.clone(), here]);
    assert!(!threads.lock().has_work());
}

/// A waker that causes its own next call, as one that polls its task and makes an event does.
#[test]
fn a_waker_that_is_called_here_is_called_again_after_it_has_returned() {
    const TIMES: u32 = 1_000;
    struct Again {
        threads: Arc<WakerThreads>,
        /// The numbers of calls under way, and of calls so far.
        calls: Mutex<(u32, u32)>,
    }
    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            let mut calls = self.calls.lock().unwrap();
            assert_eq!(calls.0, 0, "it is called within itself");
            calls.0 += 1;
            calls.1 += 1;
            let made = calls.1;
            drop(calls);
            if made < TIMES {
                let mut state = self.threads.lock();
                state.wakers.push_back(Arc::clone(&self).into());
                self.threads.work_here(state);
            }
            self.calls.lock().unwrap().0 -= 1;
        }
    }
    let again = Arc::new(Again {
        threads: Arc::new(WakerThreads::new()),
        calls: Mutex::default(),
    });
    for times in 1..=2 {
        let mut state = again.threads.lock();
        state.wakers.push_back(Arc::clone(&again).into());
        again.threads.work_here(state);
        let made = if times == 1 { TIMES } else { TIMES + 1 };
        assert_eq!(*again.calls.lock().unwrap(), (0, made));
    }
    assert_eq!(again.threads.panics(), 0);
    let state = again.threads.lock();
    assert!(!state.has_work() && state.borrowed.is_empty());
}
