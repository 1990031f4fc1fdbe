//! Models of the events: each checks one property over every interleaving.
//!
//! `--cfg toolmeter_loom` explores them; without it each body runs once as a plain test. The rings
//! are the real ones. The channel of the queues is replaced by that of
//! `events/src/channel/model.rs`, whose head lists what it leaves out. The tables of
//! `core/src/tickets.rs` and of `ring.rs`, `ring/place.rs`, `pump_waker.rs`, `hub.rs` and
//! `async_receivers.rs` in `events/src` name the orderings that each model checks.

mod loom_support;

use loom_support::{
    model,
    sync::{Arc, thread},
};
use std::{
    collections::BTreeSet,
    future::Future,
    pin::pin,
    sync::{
        Arc as StdArc, Condvar, Mutex as StdMutex,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Wake},
    time::{Duration, SystemTime},
};
use toolmeter_core::{Finish, Outcome, Word};
use toolmeter_events::{
    CallId, Draft, Drain, Event, EventKind, Filter, Hub, Moment, NameTable, Rings, RingsAccounting,
    Round, Subscription, Timeline, ToolId, TryRecvError,
};

const TOOL: ToolId = ToolId::new(1);

fn new_rings(stripes: usize, capacity: usize) -> Arc<Rings> {
    let rings = Arc::new(Rings::new(stripes, capacity).unwrap());
    rings.allocate();
    rings
}

fn start(rings: &Rings, stripe: usize) -> CallId {
    rings.offer(stripe, Draft::started(TOOL, 1, 1, None), None)
}

fn end(rings: &Rings, stripe: usize, call: Option<CallId>) -> CallId {
    let finish = Finish::new(Outcome::Success, 1, 1, 1);
    rings.offer(stripe, Draft::closing(TOOL, finish, None, None), call)
}

/// Runs a round. The clock of the models stands still, later than every event.
fn round(drain: &mut Drain) -> Round {
    drain.round(|| 10)
}

#[track_caller]
fn assert_balanced(accounting: &RingsAccounting) {
    assert_eq!(
        accounting.offered,
        accounting.lost + accounting.drained,
        "{accounting:?}"
    );
}

/// Two producers and the drain use one place: the counts never add up to more than was offered, and
/// at rest every gap in the numbers is a counted loss.
#[test]
fn a_gap_in_the_numbers_is_a_counted_loss() {
    model("a_gap_in_the_numbers_is_a_counted_loss", || {
        let rings = new_rings(1, 1);
        let producers = [1, 1].map(|events| {
            let rings = Arc::clone(&rings);
            thread::spawn(move || {
                for _ in 0..events {
                    start(&rings, 0);
                }
            })
        });
        let mut drain = Drain::new(&rings, 0);
        let mut events = round(&mut drain).events;
        let meanwhile = rings.accounting();
        assert!(
            meanwhile.offered >= meanwhile.lost + meanwhile.drained,
            "{meanwhile:?}"
        );
        for producer in producers {
            producer.join().unwrap();
        }
        events.extend(round(&mut drain).events);

        let accounting = rings.accounting();
        assert_balanced(&accounting);
        assert_eq!((accounting.offered, rings.waiting()), (2, 0));
        let numbers: BTreeSet<_> = events.iter().map(|event| event.number().ticket()).collect();
        assert_eq!(numbers.len(), events.len(), "a number came twice");
        assert!(numbers.iter().all(|&number| number < accounting.offered));
        let gaps = accounting.offered - numbers.len() as u64;
        assert_eq!(gaps, accounting.lost, "a gap is a loss");
    });
}

/// A thread reads the counts while an event is offered and drained. They never add up to more than
/// was offered.
#[test]
fn an_account_never_tells_of_more_than_was_offered() {
    model("an_account_never_tells_of_more_than_was_offered", || {
        let rings = new_rings(1, 1);
        let reader = {
            let rings = Arc::clone(&rings);
            thread::spawn(move || rings.accounting())
        };
        start(&rings, 0);
        assert_eq!(round(&mut Drain::new(&rings, 0)).events.len(), 1);
        let read = reader.join().unwrap();
        assert!(read.offered >= read.lost + read.drained, "{read:?}");
    });
}

/// A call that starts on one stripe and ends on another while the drain passes over both: its
/// start is never delivered after its end.
#[test]
fn a_start_never_comes_after_its_end() {
    model("a_start_never_comes_after_its_end", || {
        let rings = new_rings(2, 2);
        let caller = {
            let rings = Arc::clone(&rings);
            thread::spawn(move || {
                let call = start(&rings, 0);
                end(&rings, 1, Some(call));
            })
        };
        let mut drain = Drain::new(&rings, 0);
        let mut events = round(&mut drain).events;
        caller.join().unwrap();
        // An event that was held is delivered now at the latest, since no more come.
        events.extend(round(&mut drain).events);
        assert_in_order_across_stripes(&events);
        assert_balanced(&rings.accounting());
    });
}

/// The same with a clock that advances at every reading. The caller reads it before its start and
/// before its end, and the drain reads it before it drains the rings.
#[test]
fn a_start_never_comes_after_its_end_whatever_the_clock_says() {
    model(
        "a_start_never_comes_after_its_end_whatever_the_clock_says",
        || {
            let rings = new_rings(2, 2);
            let clock = Arc::new(Word::new(1));
            let caller = {
                let (rings, clock) = (Arc::clone(&rings), Arc::clone(&clock));
                thread::spawn(move || {
                    let began_ns = clock.fetch_add(1, Relaxed);
                    let call = rings.offer(0, Draft::started(TOOL, 1, began_ns, None), None);
                    let latency_ns = clock.fetch_add(1, Relaxed) - began_ns;
                    let finish = Finish::new(Outcome::Success, 1, began_ns, latency_ns);
                    rings.offer(1, Draft::closing(TOOL, finish, None, None), Some(call));
                })
            };
            let mut drain = Drain::new(&rings, 0);
            let mut events = drain.round(|| clock.fetch_add(1, Relaxed)).events;
            caller.join().unwrap();
            events.extend(drain.round(|| clock.fetch_add(1, Relaxed)).events);
            assert_in_order_across_stripes(&events);
            assert_balanced(&rings.accounting());
        },
    );
}

/// Asserts that these are the start and the end of one call, in order, from the rings of two
/// stripes.
#[track_caller]
fn assert_in_order_across_stripes(events: &[Event]) {
    let kinds: Vec<_> = events.iter().map(Event::kind).collect();
    assert_eq!(kinds, [EventKind::Started, EventKind::Succeeded]);
    let stripes: Vec<_> = events.iter().map(|e| e.number().stripe()).collect();
    assert_eq!(stripes, [0, 1], "it did not cross stripes");
}

fn fan_out(hub: &Hub, round: Round) {
    let now = Moment::new(SystemTime::UNIX_EPOCH, 10);
    let names = StdArc::new(NameTable::default());
    hub.fan_out(round, &names, &StdArc::new(Timeline::new(now)), now)
        .wake();
}

fn received(subscription: &Subscription) -> Vec<(CallId, EventKind)> {
    std::iter::from_fn(|| subscription.try_recv().ok())
        .flat_map(|batch| {
            batch
                .iter()
                .map(|e| (e.call(), e.kind()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A subscription begins between two calls while the pump works: it gets both events of the second
/// call, only the end of the first, and nothing once it was dropped.
#[test]
fn a_call_after_the_subscription_comes_whole() {
    model("a_call_after_the_subscription_comes_whole", || {
        let rings = Arc::new(Rings::new(1, 4).unwrap());
        let hub = Hub::new(4, 4).unwrap();
        assert!(!rings.is_open());
        let other = hub.subscribe(&rings, Filter::new(), None).unwrap();
        let before = start(&rings, 0);
        let pump = {
            let (hub, mut drain) = (hub.clone(), Drain::new(&rings, 0));
            thread::spawn(move || {
                fan_out(&hub, round(&mut drain));
                drain
            })
        };

        let subscription = hub.subscribe(&rings, Filter::new(), None).unwrap();
        assert!(rings.is_open());
        end(&rings, 0, Some(before));
        let after = start(&rings, 0);
        let mut drain = pump.join().unwrap();
        end(&rings, 0, Some(after));
        drop(other);
        assert!(rings.is_open());
        fan_out(&hub, round(&mut drain));

        let expected = [
            (before, EventKind::Succeeded),
            (after, EventKind::Started),
            (after, EventKind::Succeeded),
        ];
        let got = received(&subscription);
        assert_eq!(got.len(), expected.len(), "{got:?}");
        assert!(expected.iter().all(|event| got.contains(event)), "{got:?}");
        let stats = subscription.stats_handle();
        drop(subscription);
        assert!(!rings.is_open());
        let at_the_end = stats.read();
        assert_eq!(
            at_the_end.drained,
            at_the_end.delivered + at_the_end.filtered + at_the_end.lost
        );
        assert_eq!((at_the_end.delivered, at_the_end.lost), (3, 0));
        start(&rings, 0);
        fan_out(&hub, round(&mut drain));
        assert_eq!(
            stats.read(),
            at_the_end,
            "something came after it was dropped"
        );
        assert_balanced(&rings.accounting());
    });
}

/// A subscription begins while a call runs on another thread, with hardly any room: of that call it
/// gets nothing, only the end, or both events. Of a call that begins after it, it gets both, or the
/// rings counted what they lost.
#[test]
fn a_call_beside_the_subscription_never_comes_without_its_end() {
    model(
        "a_call_beside_the_subscription_never_comes_without_its_end",
        || {
            // Allocated before, since a model does not see the `OnceLock` that they are in.
            let rings = new_rings(1, 3);
            let hub = Hub::new(4, 4).unwrap();
            let caller = {
                let rings = Arc::clone(&rings);
                thread::spawn(move || {
                    let call = rings.is_open().then(|| start(&rings, 0));
                    if call.is_some() || rings.is_open() {
                        end(&rings, 0, call);
                    }
                })
            };
            let subscription = hub.subscribe(&rings, Filter::new(), None).unwrap();
            let after = start(&rings, 0);
            end(&rings, 0, Some(after));
            caller.join().unwrap();
            fan_out(&hub, round(&mut Drain::new(&rings, 0)));

            let accounting = rings.accounting();
            assert_balanced(&accounting);
            let (of_after, of_other): (Vec<_>, Vec<_>) = received(&subscription)
                .into_iter()
                .partition(|&(call, _)| call == after);
            let came =
                |events: &[(CallId, EventKind)]| events.iter().map(|e| e.1).collect::<Vec<_>>();
            let whole = [EventKind::Started, EventKind::Succeeded];
            let missing = whole.len() - of_after.len();
            assert!(missing as u64 <= accounting.lost, "{of_after:?}");
            if accounting.lost == 0 {
                assert_eq!(came(&of_after), whole);
                assert!(whole.ends_with(&came(&of_other)), "{of_other:?}");
            }
            let stats = subscription.stats();
            assert_eq!(stats.delivered, (of_after.len() + of_other.len()) as u64);
            assert_eq!(stats.drained, accounting.drained);
            assert_eq!(stats.drained, stats.delivered + stats.filtered);
        },
    );
}

/// A subscription begins while a call runs that starts on one stripe and ends on another, whose
/// ticket is read later than that of the start's stripe: it gets no start without its end.
#[test]
fn a_call_across_stripes_never_comes_without_its_end() {
    model("a_call_across_stripes_never_comes_without_its_end", || {
        let rings = new_rings(2, 2);
        let hub = Hub::new(4, 4).unwrap();
        let caller = {
            let rings = Arc::clone(&rings);
            thread::spawn(move || {
                let call = start(&rings, 0);
                end(&rings, 1, Some(call));
            })
        };
        let subscription = hub.subscribe(&rings, Filter::new(), None).unwrap();
        caller.join().unwrap();
        fan_out(&hub, round(&mut Drain::new(&rings, 0)));

        let whole = [EventKind::Started, EventKind::Succeeded];
        let got: Vec<_> = received(&subscription).iter().map(|e| e.1).collect();
        assert!(whole.ends_with(&got), "{got:?}");
        let stats = subscription.stats();
        assert_eq!((stats.drained, stats.lost), (2, 0));
        assert_balanced(&rings.accounting());
    });
}

/// A waker that records that it was called. It need not be part of the model, since it is read once
/// all other threads are done.
#[derive(Default)]
struct Woken {
    was: StdMutex<bool>,
    changed: Condvar,
}

impl Wake for Woken {
    fn wake(self: StdArc<Self>) {
        *self.was.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Woken {
    /// Returns whether it was called. Without loom, where another thread calls it, waits for that.
    fn was(&self) -> bool {
        let mut was = self.was.lock().unwrap();
        if cfg!(not(toolmeter_loom)) {
            let limit = Duration::from_secs(30);
            let waited = self.changed.wait_timeout_while(was, limit, |was| !*was);
            was = waited.unwrap().0;
        }
        *was
    }
}

/// An async receiver looks at its queue while the pump puts a batch in: it finds the batch, or its
/// waker is called.
#[test]
fn a_waiting_receiver_is_woken_for_a_batch() {
    model("a_waiting_receiver_is_woken_for_a_batch", || {
        let rings = new_rings(1, 1);
        let hub = Hub::new(1, 1).unwrap();
        let subscription = hub.subscribe(&rings, Filter::new(), None).unwrap();
        start(&rings, 0);
        let pump = {
            let (hub, mut drain) = (hub.clone(), Drain::new(&rings, 0));
            thread::spawn(move || fan_out(&hub, round(&mut drain)))
        };
        let woken = StdArc::new(Woken::default());
        let waker = StdArc::clone(&woken).into();
        let mut context = Context::from_waker(&waker);
        let mut receiving = pin!(subscription.recv_async());
        let waits = receiving.as_mut().poll(&mut context).is_pending();
        pump.join().unwrap();
        if waits {
            assert!(woken.was(), "the receiver was not woken");
            assert!(receiving.poll(&mut context).is_ready());
        }
    });
}

/// A receiver takes batches while the pump hands out a round for each of three events, with room
/// for one batch: the queue never holds more (the pump would panic), every loss is counted, and no
/// batch is lost for which there was room.
#[test]
fn a_queue_holds_no_more_than_its_capacity() {
    model("a_queue_holds_no_more_than_its_capacity", || {
        let rings = new_rings(1, 4);
        let hub = Hub::new(1, 4).unwrap();
        let subscription = Arc::new(hub.subscribe(&rings, Filter::new(), None).unwrap());
        let mut drain = Drain::new(&rings, 0);
        let mut hand_out = || {
            start(&rings, 0);
            fan_out(&hub, round(&mut drain));
        };
        hand_out();
        let receiver = {
            let subscription = Arc::clone(&subscription);
            thread::spawn(move || received(&subscription).len() as u64)
        };
        hand_out();
        hand_out();
        let taken = receiver.join().unwrap();
        let left = received(&subscription).len() as u64;
        let stats = subscription.stats();
        assert_eq!(stats.delivered, taken + left);
        assert_eq!((stats.drained, stats.lost), (3, 3 - stats.delivered));
        hand_out();
        assert_eq!(subscription.stats().delivered, taken + left + 1);
    });
}

/// A subscription is dropped while the pump hands out a round: the round is counted for it as a
/// whole or not at all, and nothing is counted after that.
#[test]
fn nothing_comes_after_the_subscription_was_dropped() {
    model("nothing_comes_after_the_subscription_was_dropped", || {
        let rings = Arc::new(Rings::new(1, 4).unwrap());
        let hub = Hub::new(4, 4).unwrap();
        let subscription = hub.subscribe(&rings, Filter::new(), None).unwrap();
        let stats = subscription.stats_handle();
        let call = start(&rings, 0);
        end(&rings, 0, Some(call));
        let pump = {
            let (hub, mut drain) = (hub.clone(), Drain::new(&rings, 0));
            thread::spawn(move || fan_out(&hub, round(&mut drain)))
        };
        drop(subscription);
        let at_the_end = stats.read();
        assert!(at_the_end.drained == 0 || at_the_end.drained == 2);
        assert_eq!(at_the_end.drained, at_the_end.delivered);
        pump.join().unwrap();
        assert_eq!(
            stats.read(),
            at_the_end,
            "something came after it was dropped"
        );
        assert!(!rings.is_open());
    });
}

/// The rings close while a producer offers, and the last drain has no time limit: every event that
/// was admitted is delivered, the rest is counted as lost, and the subscription is disconnected.
#[test]
fn closing_loses_nothing_uncounted() {
    model("closing_loses_nothing_uncounted", || {
        let rings = Arc::new(Rings::new(1, 1).unwrap());
        let hub = Hub::new(4, 4).unwrap();
        let subscription = hub.subscribe(&rings, Filter::new(), None).unwrap();
        let producer = {
            let rings = Arc::clone(&rings);
            thread::spawn(move || {
                let call = start(&rings, 0);
                end(&rings, 0, Some(call));
            })
        };
        let mut drain = Drain::new(&rings, 0);
        fan_out(&hub, drain.finish(|| false));
        hub.close().wake();
        producer.join().unwrap();

        let accounting = rings.accounting();
        assert_balanced(&accounting);
        assert_eq!((accounting.offered, rings.waiting()), (2, 0));
        assert_eq!(received(&subscription).len() as u64, accounting.drained);
        assert_eq!(
            subscription.try_recv().unwrap_err(),
            TryRecvError::Disconnected
        );
    });
}

/// The last drain has a time limit of zero while two producers offer. An event that it leaves is
/// counted as lost, whenever it is put. If the drain reports that it left none, none follows.
#[test]
fn closing_in_no_time_loses_nothing_uncounted() {
    model("closing_in_no_time_loses_nothing_uncounted", || {
        let rings = new_rings(1, 1);
        let producers = [(); 2].map(|()| {
            let rings = Arc::clone(&rings);
            thread::spawn(move || start(&rings, 0))
        });
        let mut drain = Drain::new(&rings, 0);
        let mut out_of_time = false;
        let last = drain.finish(|| {
            out_of_time = true;
            true
        });
        assert!(round(&mut drain).events.is_empty());
        for producer in producers {
            producer.join().unwrap();
        }
        assert!(out_of_time || rings.waiting() == 0, "it left an event");
        let accounting = rings.accounting();
        assert_balanced(&accounting);
        let delivered = last.events.len() as u64;
        assert_eq!((accounting.offered, accounting.drained), (2, delivered));
    });
}

/// The token that unparking leaves for a thread, which is parked or will park. It need not be part
/// of the model, since it is read once all other threads are done. (loom's own `unpark` drops the
/// token of a thread that yields, and wakes a thread out of `join`.)
#[derive(Clone, Default)]
struct Token(StdArc<AtomicBool>);

impl Token {
    /// Returns the token that offers to these rings leave.
    fn of(rings: &Rings) -> Self {
        let token = Self::default();
        let waker = token.clone();
        assert!(rings.set_waker(move || waker.0.store(true, SeqCst)));
        token
    }

    fn take(&self) -> bool {
        self.0.swap(false, SeqCst)
    }
}

/// The pump falls asleep while two producers, each on its stripe, offer an event: it sees that an
/// event is under way, or one of them wakes it.
#[test]
fn no_wake_up_is_lost() {
    model("no_wake_up_is_lost", || {
        let rings = new_rings(2, 1);
        let token = Token::of(&rings);
        let producers = [0, 1].map(|stripe| {
            let rings = Arc::clone(&rings);
            thread::spawn(move || start(&rings, stripe))
        });
        let mut drain = Drain::new(&rings, 0);
        let sleeps = drain.fall_asleep();
        for producer in producers {
            producer.join().unwrap();
        }
        assert!(!sleeps || token.take(), "a wake-up was lost");
        assert_eq!(round(&mut drain).events.len(), 2);
        assert_balanced(&rings.accounting());
    });
}

/// The pump sleeps, wakes up by itself, drains and sleeps again, while a producer offers two
/// events: an offer that takes the mark of the first sleep late loses no wake-up of the second.
#[test]
fn no_wake_up_of_a_later_sleep_is_lost() {
    model("no_wake_up_of_a_later_sleep_is_lost", || {
        let rings = new_rings(1, 2);
        let token = Token::of(&rings);
        let mut drain = Drain::new(&rings, 0);
        assert!(drain.fall_asleep());
        let producer = {
            let rings = Arc::clone(&rings);
            thread::spawn(move || {
                start(&rings, 0);
                start(&rings, 0);
            })
        };
        token.take();
        rings.stay_awake();
        let drained = round(&mut drain).events.len();
        let sleeps = drain.fall_asleep();
        producer.join().unwrap();
        assert!(
            !sleeps || drained == 2 || token.take(),
            "a wake-up was lost"
        );
        assert_eq!(drained + round(&mut drain).events.len(), 2);
        assert_balanced(&rings.accounting());
    });
}
