//! Models of the slots: the readings that are possible while calls start, finish and are rejected.
//! Neither a reset nor an interval loses or doubles a call.
//!
//! The layouts are tiny, since loom explores every access: 6 buckets, one or two stripes. The
//! stripe is passed in, as loom's threads share one operating-system thread.
//!
//! A thread that loads a word and then adds to it hides the loads of other threads from loom, which
//! remembers one load per word (tokio-rs/loom#166). A finish does that to the occupancy if its bit
//! is not set yet. So each model first counts a call in the bucket under test, and the model of the
//! bit itself writes on the first thread, whose accesses come before the reader's.

mod loom_support;

use loom_support::model;
use loom_support::sync::{Arc, Mutex, lock, thread};
use toolmeter_core::{ErrorKind, Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};

type SmallReading = Reading<FixedCounts<6>>;

struct Words {
    words: Vec<Word>,
    layout: Layout,
}

impl Words {
    fn new(stripes: usize) -> Arc<Self> {
        let layout = Layout::new(1, 3, stripes).unwrap();
        let words = (0..layout.words()).map(|_| Word::new(0)).collect();
        Arc::new(Self { words, layout })
    }

    fn slot(&self) -> Slot<'_> {
        Slot::new(&self.words, self.layout).unwrap()
    }

    fn call(&self, stripe: usize, outcome: Outcome, latency_ns: u64) {
        self.slot().start(stripe, 1);
        self.slot()
            .finish(stripe, Finish::new(outcome, 1, 0, latency_ns));
    }

    /// Makes a call that ends before the model begins, and returns the reading after it.
    fn warm_up(&self, stripe: usize, outcome: Outcome, latency_ns: u64) -> SmallReading {
        self.call(stripe, outcome, latency_ns);
        self.read()
    }

    fn read(&self) -> SmallReading {
        let mut reading = SmallReading::default();
        self.slot().read(&mut reading).unwrap();
        reading
    }
}

/// Returns `started - finished`, which the public accessor would saturate.
fn in_flight(reading: &SmallReading) -> i64 {
    reading.started() as i64 - reading.finished() as i64
}

/// A call that starts on one thread and ends on another, read by a third.
#[test]
fn in_flight_is_never_negative() {
    model("in_flight_is_never_negative", || {
        let words = Words::new(2);
        words.warm_up(1, Outcome::Success, 2);
        let starter = Arc::clone(&words);
        let first = thread::spawn(move || {
            starter.slot().start(0, 1);
            let finisher = Arc::clone(&starter);
            thread::spawn(move || {
                finisher
                    .slot()
                    .finish(1, Finish::new(Outcome::Success, 1, 0, 2));
            })
        });
        let reading = words.read();
        assert!((0..=1).contains(&in_flight(&reading)), "{reading:?}");
        first.join().unwrap().join().unwrap();
        let reading = words.read();
        assert_eq!((in_flight(&reading), reading.finished()), (0, 2));
    });
}

/// Returns words with a call that was rejected before the model begins, and one that stays in
/// flight. So a reading that is one too low is visible, although accessors saturate at 0.
fn words_with_a_rejected_call_and_one_in_flight() -> Arc<Words> {
    let words = Words::new(2);
    words.slot().start(0, 1);
    words.slot().reject(1);
    let reading = words.read();
    assert_eq!((reading.started(), reading.rejected()), (1, 1));
    words
}

/// A call that starts on one thread and is rejected on another, read by a third.
#[test]
fn a_call_rejected_after_its_start_has_entered() {
    model("a_call_rejected_after_its_start_has_entered", || {
        let words = words_with_a_rejected_call_and_one_in_flight();
        let starter = Arc::clone(&words);
        let first = thread::spawn(move || {
            starter.slot().start(0, 1);
            let rejecter = Arc::clone(&starter);
            thread::spawn(move || {
                let finish = Finish::new(Outcome::Rejected, 1, 0, 2);
                rejecter.slot().finish(1, finish);
            })
        });
        let reading = words.read();
        assert!((1..=2).contains(&reading.in_flight()), "{reading:?}");
        assert!((1..=2).contains(&reading.started()), "{reading:?}");
        first.join().unwrap().join().unwrap();
        let reading = words.read();
        assert_eq!((reading.started(), reading.rejected()), (1, 2));
        assert_eq!((reading.in_flight(), reading.finished()), (1, 0));
    });
}

/// A call that is rejected before it starts, read by another thread.
#[test]
fn a_call_rejected_before_its_start_has_entered() {
    model("a_call_rejected_before_its_start_has_entered", || {
        let words = words_with_a_rejected_call_and_one_in_flight();
        let rejecter = Arc::clone(&words);
        let thread = thread::spawn(move || rejecter.slot().reject(1));
        let reading = words.read();
        assert!((1..=2).contains(&reading.in_flight()), "{reading:?}");
        assert!((1..=2).contains(&reading.started()), "{reading:?}");
        thread.join().unwrap();
        let reading = words.read();
        assert_eq!((reading.started(), reading.rejected()), (1, 2));
        assert_eq!((reading.in_flight(), reading.finished()), (1, 0));
    });
}

/// Asserts that a counted failure of 3 ns is complete: its kind, its latency and the last failure
/// are there.
#[track_caller]
fn assert_complete(reading: &SmallReading) {
    let failed = reading.count(Outcome::FAILURE);
    assert!(
        failed <= reading.failures(ErrorKind::Network),
        "{reading:?}"
    );
    assert!(
        failed * 3 <= reading.sum_ns(Outcome::FAILURE),
        "{reading:?}"
    );
    assert!(failed == 0 || reading.last_failure().is_some());
}

/// A reader that counts a failure also has its kind and its latency.
#[test]
fn a_counted_finish_is_complete() {
    model("a_counted_finish_is_complete", || {
        let failure = Outcome::Failure(ErrorKind::Network);
        let words = Words::new(1);
        words.warm_up(0, failure, 3);
        let writer = Arc::clone(&words);
        let thread = thread::spawn(move || writer.call(0, failure, 3));
        assert_complete(&words.read());
        thread.join().unwrap();
        let reading = words.read();
        assert_complete(&reading);
        assert_eq!(reading.count(Outcome::FAILURE), 2);
        assert_eq!(reading.sum_ns(Outcome::FAILURE), 6);
    });
}

/// The same for the first call in a bucket, which sets the bit of its group.
#[test]
fn a_first_counted_finish_is_complete() {
    model("a_first_counted_finish_is_complete", || {
        let words = Words::new(1);
        let reader = Arc::clone(&words);
        let thread = thread::spawn(move || assert_complete(&reader.read()));
        words.call(0, Outcome::Failure(ErrorKind::Network), 3);
        thread.join().unwrap();
        assert_eq!(words.read().count(Outcome::FAILURE), 1);
    });
}

/// A reset swaps its baseline under a lock while two threads record: what it cleared and what is
/// left add up to what they recorded.
#[test]
fn a_reset_loses_and_doubles_nothing() {
    model("a_reset_loses_and_doubles_nothing", || {
        let words = Words::new(1);
        let before = words.warm_up(0, Outcome::Cancelled, 1);
        let baseline = Arc::new(Mutex::new(before));
        // The models above explore what a start and a last finish add.
        words.slot().start(0, 1);
        words.slot().start(0, 1);
        let recorders: Vec<_> = (0..2)
            .map(|_| {
                let words = Arc::clone(&words);
                thread::spawn(move || {
                    let finish = Finish::new(Outcome::Cancelled, 1, 0, 1);
                    words.slot().finish(0, finish);
                })
            })
            .collect();
        let cleared = {
            let mut baseline = lock(&baseline);
            let total = words.read();
            let mut cleared = total.clone();
            cleared.subtract(&*baseline);
            *baseline = total;
            cleared
        };
        for recorder in recorders {
            recorder.join().unwrap();
        }
        let mut left = words.read();
        left.subtract(&*lock(&baseline));
        assert_eq!(
            cleared.count(Outcome::CANCELLED) + left.count(Outcome::CANCELLED),
            2
        );
        assert_eq!(
            cleared.sum_ns(Outcome::CANCELLED) + left.sum_ns(Outcome::CANCELLED),
            2
        );
        assert_eq!(in_flight(&words.read()), 0);
    });
}

/// The intervals of a cursor that reads twice while a thread records, and once at rest, add up
/// to what was recorded; another cursor sees the same, undisturbed.
#[test]
fn intervals_add_up_and_cursors_do_not_disturb_each_other() {
    model(
        "intervals_add_up_and_cursors_do_not_disturb_each_other",
        || {
            let words = Words::new(1);
            let before = words.warm_up(0, Outcome::Success, 1);
            let writer = Arc::clone(&words);
            let recorder = thread::spawn(move || writer.call(0, Outcome::Success, 1));
            let interval = |baseline: &mut SmallReading| {
                let total = words.read();
                let mut new = total.clone();
                new.subtract(baseline);
                *baseline = total;
                (new.count(Outcome::SUCCESS), new.sum_ns(Outcome::SUCCESS))
            };
            let (mut first, mut second) = (before.clone(), before);
            let a = interval(&mut first);
            let b = interval(&mut second);
            let c = interval(&mut first);
            recorder.join().unwrap();
            let d = interval(&mut first);
            let e = interval(&mut second);
            assert_eq!((a.0 + c.0 + d.0, a.1 + c.1 + d.1), (1, 1));
            assert_eq!((b.0 + e.0, b.1 + e.1), (1, 1));
        },
    );
}

/// A cursor reads while two threads record, and once more at rest: its intervals add up to what
/// they recorded.
#[test]
fn the_intervals_of_a_cursor_add_up() {
    model("the_intervals_of_a_cursor_add_up", || {
        let words = Words::new(1);
        let mut baseline = words.warm_up(0, Outcome::Cancelled, 1);
        // The models above explore what a start and a last finish add.
        words.slot().start(0, 1);
        words.slot().start(0, 1);
        let recorders = [1, 1].map(|latency_ns| {
            let words = Arc::clone(&words);
            thread::spawn(move || {
                let finish = Finish::new(Outcome::Cancelled, 1, 0, latency_ns);
                words.slot().finish(0, finish);
            })
        });
        let mut interval = || {
            let total = words.read();
            let mut new = total.clone();
            new.subtract(&baseline);
            baseline = total;
            (
                new.count(Outcome::CANCELLED),
                new.sum_ns(Outcome::CANCELLED),
            )
        };
        let first = interval();
        for recorder in recorders {
            recorder.join().unwrap();
        }
        let second = interval();
        assert_eq!((first.0 + second.0, first.1 + second.1), (2, 2));
    });
}
