//! Wakers of async receivers: which of them a batch wakes, and wakers that panic, that call the
//! hub, and that do not return.

#![cfg(not(toolmeter_loom))]

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant, SystemTime},
};
use toolmeter_events::{
    Batch, Draft, Drain, Filter, Hub, Moment, NameTable, RecvError, Rings, Subscription, Timeline,
    ToolId, Wakeups,
};

/// Far longer than any test here takes. It passes only if something hangs.
const STUCK: Duration = Duration::from_secs(60);

struct Fixture {
    rings: Arc<Rings>,
    hub: Hub,
    drain: Drain,
}

impl Fixture {
    fn new() -> Self {
        let rings = Arc::new(Rings::new(1, 64).unwrap());
        Self {
            hub: Hub::new(16, 16).unwrap(),
            drain: Drain::new(&rings, 0),
            rings,
        }
    }

    fn subscribe(&self) -> Subscription {
        self.hub
            .subscribe(&self.rings, Filter::new(), None)
            .unwrap()
    }

    /// Offers one event, and does the round that hands it out.
    fn event(&mut self, tool: u32) -> Wakeups {
        let draft = Draft::started(ToolId::new(tool), 1, 100, None);
        self.rings.offer(0, draft, None);
        let now = Moment::new(SystemTime::UNIX_EPOCH, 0);
        let (names, timeline) = (NameTable::default(), Timeline::new(now));
        let round = self.drain.round(|| 1_000);
        self.hub
            .fan_out(round, &Arc::new(names), &Arc::new(timeline), now)
    }
}

type Receiving<'a> = Pin<Box<dyn Future<Output = Result<Batch, RecvError>> + Send + 'a>>;

/// Returns a receiver that waits, to be woken by this waker.
fn wait_by<'a>(subscription: &'a Subscription, waker: &Waker) -> Receiving<'a> {
    let mut receiving: Receiving<'a> = Box::pin(subscription.recv_async());
    assert!(waits(&mut receiving, waker));
    receiving
}

fn waits(receiving: &mut Receiving<'_>, waker: &Waker) -> bool {
    receiving
        .as_mut()
        .poll(&mut Context::from_waker(waker))
        .is_pending()
}

/// Waits until other threads make the condition true.
#[track_caller]
fn until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < STUCK,
            "the condition does not become true"
        );
        thread::yield_now();
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl Woken {
    fn waker(self: &Arc<Self>) -> Waker {
        Arc::clone(self).into()
    }

    fn count(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A waker that runs some code of a host.
struct RunCode(Box<dyn Fn() + Send + Sync>);

impl Wake for RunCode {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn run_code(code: impl Fn() + Send + Sync + 'static) -> Waker {
    Arc::new(RunCode(Box::new(code))).into()
}

/// Returns a waker that reports when it is called, and returns once it is allowed to, or once the
/// other end was dropped.
fn stuck(began: &mpsc::Sender<()>) -> (Waker, mpsc::Sender<()>) {
    let (go_on, may_go_on) = mpsc::channel();
    let both = Mutex::new((began.clone(), may_go_on));
    let waker = run_code(move || {
        let (began, may_go_on) = &*both.lock().unwrap();
        let _ = began.send(());
        let _ = may_go_on.recv();
    });
    (waker, go_on)
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a payload's own");
    }
}

#[test]
fn a_waiting_receiver_is_woken_for_what_it_wants_and_for_nothing_else() {
    let mut fixture = Fixture::new();
    let wanted = Filter::new().tools([ToolId::new(2)]);
    let subscription = fixture.hub.subscribe(&fixture.rings, wanted, None).unwrap();
    let woken = Arc::new(Woken::default());
    let mut receiving = wait_by(&subscription, &woken.waker());

    let none = "Wakeups { subscriptions: 0, .. }";
    assert_eq!(format!("{:?}", fixture.event(1)), none);
    let wakeups = fixture.event(2);
    assert_eq!(format!("{wakeups:?}"), "Wakeups { subscriptions: 1, .. }");
    assert_eq!(woken.count(), 0, "not before it is said");
    wakeups.wake();
    until(|| woken.count() == 1);
    assert_eq!(format!("{:?}", fixture.event(2)), none, "it does not wait");
    let poll = receiving
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok(batch)) = poll else {
        panic!("no batch")
    };
    assert_eq!(batch[0].tool(), ToolId::new(2));
}

#[test]
fn wakeups_that_are_dropped_wake_all_the_same() {
    let mut fixture = Fixture::new();
    let subscription = fixture.subscribe();
    let woken = Arc::new(Woken::default());
    let mut receiving = wait_by(&subscription, &woken.waker());
    drop(fixture.event(1));
    until(|| woken.count() == 1);
    assert!(!waits(&mut receiving, Waker::noop()));

    let receiving = wait_by(&subscription, &woken.waker());
    drop(fixture.hub); // the last one, not closed
    until(|| woken.count() == 2);
    drop(receiving);
}

#[test]
fn a_waker_that_panics_keeps_no_other_from_being_woken() {
    let mut fixture = Fixture::new();
    let [broken, worse, sound] = [(); 3].map(|()| fixture.subscribe());
    let woken = Arc::new(Woken::default());
    let wakers = [
        run_code(|| panic!("a waker's own")),
        run_code(|| std::panic::panic_any(Bomb)),
        woken.waker(),
        woken.waker(),
    ];
    // Each of the last two waits for one subscription, one of them together with a broken waker.
    let subscriptions = [&broken, &worse, &broken, &sound];
    let waiting = || -> Vec<_> {
        let all = subscriptions.iter().zip(&wakers);
        all.map(|(subscription, waker)| wait_by(subscription, waker))
            .collect()
    };
    let receivers = waiting();
    fixture.event(1).wake();
    until(|| fixture.hub.waker_panics() == 2 && woken.count() == 2);
    drop(receivers);
    for subscription in [&broken, &worse, &sound] {
        assert_eq!(subscription.try_recv().unwrap().len(), 1);
    }

    // The same when the hub closes.
    let receivers = waiting();
    fixture.hub.close().wake();
    until(|| fixture.hub.waker_panics() == 4 && woken.count() == 4);
    drop(receivers);
}

/// A waker is dropped when its receiver is dropped, gets another waker, or is dropped while its
/// thread unwinds.
#[test]
fn a_waker_may_panic_and_call_the_hub_when_it_is_dropped() {
    struct Asks(Hub, Arc<AtomicU32>);
    impl Wake for Asks {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Asks {
        fn drop(&mut self) {
            self.1.fetch_add(self.0.subscriptions() as u32, Relaxed);
            std::panic::panic_any(Bomb);
        }
    }
    let mut fixture = Fixture::new();
    let subscription = fixture.subscribe();
    let dropped = Arc::new(AtomicU32::new(0));
    let waker = || Waker::from(Arc::new(Asks(fixture.hub.clone(), Arc::clone(&dropped))));
    // The test drops its own clone while the receiver has another.
    let wait = |receiving: &mut Receiving<'_>| {
        let waker = waker();
        assert!(waits(receiving, &waker));
        waker
    };
    let mut receiving: Receiving<'_> = Box::pin(subscription.recv_async());
    drop(wait(&mut receiving));
    drop(wait(&mut receiving));
    assert_eq!(dropped.load(Relaxed), 1, "it is replaced");
    drop(receiving);
    assert_eq!(dropped.load(Relaxed), 2, "it goes with its receiver");

    let unwinding = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut receiving: Receiving<'_> = Box::pin(subscription.recv_async());
        drop(wait(&mut receiving));
        panic!("the receiver's own");
    }));
    assert!(unwinding.unwrap_err().is::<&str>());
    assert_eq!(dropped.load(Relaxed), 3);

    // It is also dropped after it was called.
    let mut receiving: Receiving<'_> = Box::pin(subscription.recv_async());
    drop(wait(&mut receiving));
    fixture.event(1).wake();
    until(|| dropped.load(Relaxed) == 4 && fixture.hub.waker_panics() == 1);
}

/// The same for a call of the receiver itself: a waker that is dropped polls the task that it
/// belonged to.
#[test]
fn a_waker_that_is_dropped_may_poll_a_receiver_of_its_subscription() {
    struct Polls(Arc<Subscription>, mpsc::Sender<()>);
    impl Wake for Polls {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Polls {
        fn drop(&mut self) {
            drop(wait_by(&self.0, Waker::noop()));
            self.1.send(()).unwrap();
        }
    }
    let fixture = Fixture::new();
    let subscription = Arc::new(fixture.subscribe());
    let (polled, has_polled) = mpsc::channel();
    // On a thread of its own, since it may hang.
    thread::spawn(move || {
        let waker = || Waker::from(Arc::new(Polls(Arc::clone(&subscription), polled.clone())));
        let mut receiving = wait_by(&subscription, &waker());
        // Another waker replaces it.
        assert!(waits(&mut receiving, &waker()));
        // It is dropped with its receiver.
        drop(receiving);
    });
    for _ in 0..2 {
        has_polled.recv_timeout(STUCK).unwrap();
    }
    drop(fixture);
}

#[test]
fn a_waker_may_call_the_hub() {
    let mut fixture = Fixture::new();
    let subscription = Arc::new(fixture.subscribe());
    let other = Mutex::new(Some(fixture.subscribe()));
    let (called, was_called) = mpsc::channel();
    let waker = {
        let (hub, rings) = (fixture.hub.clone(), Arc::clone(&fixture.rings));
        let subscription = Arc::clone(&subscription);
        run_code(move || {
            let _ = subscription.try_recv();
            let waiting = pin!(subscription.recv_async());
            let _ = waiting.poll(&mut Context::from_waker(Waker::noop()));
            drop(hub.subscribe(&rings, Filter::new(), None).unwrap());
            drop(other.lock().unwrap().take());
            assert_eq!(hub.subscriptions(), 1);
            hub.close().wake();
            called.send(()).unwrap();
        })
    };
    let mut receiving = wait_by(&subscription, &waker);
    fixture.event(1).wake();
    was_called.recv_timeout(STUCK).unwrap();
    assert_eq!(fixture.hub.waker_panics(), 0);
    let poll = receiving.as_mut().poll(&mut Context::from_waker(&waker));
    let Poll::Ready(Err(_)) = poll else {
        panic!("it took the batch and closed the hub")
    };
}

/// A waker that polls its task at once, so that the task waits again before the waker returns.
#[test]
fn a_waker_that_lets_its_receiver_wait_again_is_called_once_for_each_batch() {
    let mut fixture = Fixture::new();
    let subscription: &'static Subscription = Box::leak(Box::new(fixture.subscribe()));
    let (called, was_called) = mpsc::channel();
    let noop = Waker::noop();
    let task: Arc<Mutex<Receiving<'static>>> = Arc::new(Mutex::new(wait_by(subscription, noop)));
    struct Itself {
        task: Arc<Mutex<Receiving<'static>>>,
        subscription: &'static Subscription,
        called: mpsc::Sender<bool>,
    }
    impl Wake for Itself {
        fn wake(self: Arc<Self>) {
            let waker = Waker::from(Arc::clone(&self));
            let mut task = self.task.lock().unwrap();
            let came = !waits(&mut task, &waker);
            if came {
                *task = wait_by(self.subscription, &waker);
            }
            self.called.send(came).unwrap();
        }
    }
    let itself = Arc::new(Itself {
        task: Arc::clone(&task),
        subscription,
        called,
    });
    assert!(waits(&mut task.lock().unwrap(), &itself.into()));
    for _ in 0..3 {
        fixture.event(1).wake();
        assert!(was_called.recv_timeout(STUCK).unwrap());
        assert!(was_called.try_recv().is_err());
    }
}

#[test]
fn a_receiver_that_gave_up_is_not_woken_and_a_waker_is_replaced() {
    let mut fixture = Fixture::new();
    let subscription = fixture.subscribe();
    let [first, second] = [(); 2].map(|()| Arc::new(Woken::default()));
    let mut receiving = wait_by(&subscription, &first.waker());
    assert!(waits(&mut receiving, &second.waker()));
    drop(wait_by(&subscription, &first.waker()));
    assert_eq!(Arc::strong_count(&first), 1, "its wakers are dropped");
    fixture.event(1).wake();
    until(|| second.count() == 1);
    assert_eq!(first.count(), 0);
}

/// The wakers that wait behind it are called all the same, whether they belong to the same
/// subscription or another, to the same round or a later one. Neither the pump nor closing waits.
#[test]
fn a_waker_that_does_not_return_keeps_no_other_from_being_woken() {
    let mut fixture = Fixture::new();
    let [first, second] = [(); 2].map(|()| fixture.subscribe());
    let (began, has_begun) = mpsc::channel();
    let (waker, go_on) = stuck(&began);
    let woken = Arc::new(Woken::default());
    let stuck = wait_by(&first, &waker);
    let behind = [&first, &second].map(|subscription| wait_by(subscription, &woken.waker()));
    fixture.event(1).wake();
    has_begun.recv_timeout(STUCK).unwrap();
    // No more events come that could reveal that it is stuck.
    until(|| woken.count() == 2);
    assert_eq!(fixture.hub.stuck_wakers(), 1);
    drop(behind);
    while second.try_recv().is_ok() {}

    let later = wait_by(&second, &woken.waker());
    fixture.event(1).wake();
    until(|| woken.count() == 3);
    drop(later);
    while second.try_recv().is_ok() {}
    let at_the_end = wait_by(&second, &woken.waker());
    fixture.hub.close().wake();
    until(|| woken.count() == 4);
    assert_eq!(fixture.hub.stuck_wakers(), 1);
    drop((at_the_end, go_on, stuck));
}

/// With more wakers that do not return than there may be threads, a receiver that waits is woken
/// once one of them returns, and until then no other thread waits.
#[test]
fn when_all_threads_are_stuck_the_first_that_returns_goes_on() {
    const STUCK_WAKERS: usize = 12;
    let mut fixture = Fixture::new();
    let subscriptions = [(); STUCK_WAKERS].map(|()| fixture.subscribe());
    let last = fixture.subscribe();
    let (began, has_begun) = mpsc::channel();
    let (wakers, go_on): (Vec<_>, Vec<_>) = (0..STUCK_WAKERS).map(|_| stuck(&began)).unzip();
    let all = subscriptions.iter().zip(&wakers);
    let waiting: Vec<_> = all
        .map(|(subscription, waker)| wait_by(subscription, waker))
        .collect();
    let woken = Arc::new(Woken::default());
    fixture.event(1).wake();
    for _ in 0..8 {
        has_begun.recv_timeout(STUCK).unwrap();
    }
    // No thread is left to watch the eighth. The next round with a receiver to wake notices it.
    let began = Instant::now();
    while fixture.hub.stuck_wakers() < 8 {
        assert!(began.elapsed() < STUCK, "the eighth is not seen");
        let mut behind = wait_by_when_empty(&last, &woken.waker());
        fixture.event(1).wake();
        assert!(!waits(&mut behind, Waker::noop()), "polled, it receives");
    }
    assert!(has_begun.try_recv().is_err(), "there is a ninth thread");
    assert_eq!(woken.count(), 0);

    let behind = wait_by_when_empty(&last, &woken.waker());
    fixture.event(1).wake();
    fixture.hub.close().wake();
    drop(go_on);
    for _ in 8..STUCK_WAKERS {
        has_begun.recv_timeout(STUCK).unwrap();
    }
    until(|| woken.count() > 0);
    drop((behind, waiting));
}

/// Does the same as `wait_by`, after receiving all batches that are there.
fn wait_by_when_empty<'a>(subscription: &'a Subscription, waker: &Waker) -> Receiving<'a> {
    while subscription.try_recv().is_ok() {}
    wait_by(subscription, waker)
}
