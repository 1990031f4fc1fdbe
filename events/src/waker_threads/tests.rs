//! Who is at work, and that the threads end.

use super::*;
use crate::async_receivers::Receiving;
use std::{sync::mpsc, task::Wake};

/// Far longer than anything here takes.
const STUCK: Duration = Duration::from_secs(60);

struct Tell(mpsc::Sender<Option<String>>);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        let name = thread::current().name().map(str::to_owned);
        self.0.send(name).unwrap();
    }
}

fn announce(waking: &Arc<WakerThreads>, arrivals: &Arc<AsyncReceivers>) {
    Wakeups::new(vec![Arc::clone(arrivals)], Arc::clone(waking)).wake();
}

/// Waits until no thread has a share in it.
fn assert_all_ended(waking: &Arc<WakerThreads>) {
    let began = Instant::now();
    while Arc::strong_count(waking) > 1 {
        assert!(began.elapsed() < STUCK, "a thread does not end");
        thread::yield_now();
    }
    assert_eq!(waking.desk().threads, 0);
}

#[test]
fn a_thread_starts_with_the_first_receiver_to_wake_and_ends_after_the_last() {
    let waking = Arc::new(WakerThreads::new());
    let arrivals = Arc::new(AsyncReceivers::new());
    Wakeups::new(Vec::new(), Arc::clone(&waking)).wake();
    assert_eq!(waking.desk().threads, 0);
    let (tell, told) = mpsc::channel();
    let waker = Arc::new(Tell(tell)).into();
    let mut receiving = Receiving::new(&*arrivals);
    for _ in 0..3 {
        receiving.wake_by(&waker);
        announce(&waking, &arrivals);
        let name = told.recv_timeout(STUCK).unwrap();
        assert_eq!(name.as_deref(), Some("toolmeter-waker"));
    }
    assert!(waking.desk().threads <= 2);
    receiving.wake_by(&waker);
    let ended = vec![Arc::clone(&arrivals)];
    Wakeups::last(ended, Arc::clone(&waking)).wake();
    assert!(told.recv_timeout(STUCK).is_ok());
    assert_all_ended(&waking);
    // What was collected before the end and is said after it.
    receiving.wake_by(&waker);
    announce(&waking, &arrivals);
    assert!(told.recv_timeout(STUCK).is_ok());
    assert_all_ended(&waking);
}

#[test]
fn a_subscription_waits_to_be_announced_once() {
    let waking = WakerThreads::new();
    let arrivals = Arc::new(AsyncReceivers::new());
    let mut desk = waking.desk();
    let gone = [1, 2, 2].map(|_| {
        desk.put(vec![Arc::clone(&arrivals), Arc::clone(&arrivals)])
            .len()
    });
    assert_eq!((desk.arrived.len(), gone), (1, [1, 2, 2]));
    assert!(matches!(desk.take(), Some(Task::Announce(_))));
    assert!(desk.take().is_none());
    assert_eq!(desk.put(vec![arrivals]).len(), 0);
    assert_eq!(desk.arrived.len(), 1);
}

/// While each thread is in a waker that does not return, subscriptions come and go.
#[test]
fn subscriptions_that_were_dropped_do_not_pile_up() {
    let waking = WakerThreads::new();
    let mut desk = waking.desk();
    let there = [(); 3 * FEW].map(|()| Arc::new(AsyncReceivers::new()));
    for arrivals in &there {
        assert_eq!(desk.put(vec![Arc::clone(arrivals)]).len(), 0);
    }
    let mut gone = 0;
    for _ in 0..100 * FEW {
        gone += desk.put(vec![Arc::new(AsyncReceivers::new())]).len();
        assert!(desk.arrived.len() <= 2 * there.len() + 1);
    }
    assert!(gone > 90 * FEW, "{gone}");
    let mut announced = 0;
    while let Some(Task::Announce(arrivals)) = desk.take() {
        announced += there.iter().filter(|at| Arc::ptr_eq(at, &arrivals)).count();
    }
    assert_eq!(announced, there.len());
}

#[test]
fn where_no_thread_starts_the_work_is_done_on_the_spot() {
    let waking = WakerThreads::new();
    let arrivals = Arc::new(AsyncReceivers::new());
    let (tell, told) = mpsc::channel();
    let waker: Waker = Arc::new(Tell(tell)).into();
    let mut receiving = Receiving::new(&*arrivals);
    receiving.wake_by(&waker);
    let mut desk = waking.desk();
    desk.wakers.push_back(waker.clone());
    assert_eq!(desk.put(vec![Arc::clone(&arrivals)]).len(), 0);
    waking.work_here(desk);
    let here = thread::current().name().map(str::to_owned);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [here.clone(), here]);
    assert!(!waking.desk().has_work());
}

/// A waker that has itself called again, as one that polls its task and makes an event does.
#[test]
fn on_the_spot_a_waker_is_called_again_when_it_has_returned() {
    const TIMES: u32 = 1_000;
    struct Again {
        waking: Arc<WakerThreads>,
        /// How many calls are under way, and were made.
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
                let mut desk = self.waking.desk();
                desk.wakers.push_back(Arc::clone(&self).into());
                self.waking.work_here(desk);
            }
            self.calls.lock().unwrap().0 -= 1;
        }
    }
    let again = Arc::new(Again {
        waking: Arc::new(WakerThreads::new()),
        calls: Mutex::default(),
    });
    for times in 1..=2 {
        let mut desk = again.waking.desk();
        desk.wakers.push_back(Arc::clone(&again).into());
        again.waking.work_here(desk);
        let made = if times == 1 { TIMES } else { TIMES + 1 };
        assert_eq!(*again.calls.lock().unwrap(), (0, made));
    }
    assert_eq!(again.waking.panics(), 0);
    let desk = again.waking.desk();
    assert!(!desk.has_work() && desk.on_the_spot.is_empty());
}
