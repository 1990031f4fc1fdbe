//! Who is at work, and that the threads end.

use super::*;
use crate::arrivals::Receiving;
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

fn announce(waking: &Arc<Waking>, arrivals: &Arc<Arrivals>) {
    Wakeups::new(vec![Arc::clone(arrivals)], Arc::clone(waking)).wake();
}

/// Waits until no thread has a share in it.
fn assert_all_ended(waking: &Arc<Waking>) {
    let began = Instant::now();
    while Arc::strong_count(waking) > 1 {
        assert!(began.elapsed() < STUCK, "a thread does not end");
        thread::yield_now();
    }
    assert_eq!(waking.desk().threads, 0);
}

#[test]
fn a_thread_starts_with_the_first_receiver_to_wake_and_ends_after_the_last() {
    let waking = Arc::new(Waking::new());
    let arrivals = Arc::new(Arrivals::new());
    Wakeups::new(Vec::new(), Arc::clone(&waking)).wake();
    assert_eq!(waking.desk().threads, 0);
    let (tell, told) = mpsc::channel();
    let waker = Arc::new(Tell(tell)).into();
    let mut receiving = Receiving::new(&arrivals);
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
    let waking = Waking::new();
    let arrivals = Arc::new(Arrivals::new());
    let mut desk = waking.desk();
    for _ in 0..3 {
        desk.put(vec![Arc::clone(&arrivals), Arc::clone(&arrivals)]);
    }
    assert_eq!(desk.arrived.len(), 1);
    assert!(matches!(desk.take(), Some(Task::Announce(_))));
    assert!(desk.take().is_none());
    desk.put(vec![arrivals]);
    assert_eq!(desk.arrived.len(), 1);
}

#[test]
fn where_no_thread_starts_the_work_is_done_on_the_spot() {
    let waking = Waking::new();
    let arrivals = Arc::new(Arrivals::new());
    let (tell, told) = mpsc::channel();
    let waker: Waker = Arc::new(Tell(tell)).into();
    let mut receiving = Receiving::new(&arrivals);
    receiving.wake_by(&waker);
    let mut desk = waking.desk();
    desk.wakers.push_back(waker.clone());
    desk.put(vec![Arc::clone(&arrivals)]);
    waking.work_here(desk);
    let here = thread::current().name().map(str::to_owned);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [here.clone(), here]);
    assert!(!waking.desk().has_work());
}
