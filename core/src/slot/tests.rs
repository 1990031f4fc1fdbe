use super::*;
use crate::error_kind::ErrorKind;
use crate::outcome::{Outcome, OutcomeClass};
use crate::reading::{BucketCount, CountsFull, FixedCounts, LastFinish, Reading};
use crate::sync::Ordering;
use proptest::prelude::*;
use std::vec::Vec;

const LAYOUT: Layout = match Layout::new(3, 20, 2) {
    Ok(layout) => layout,
    Err(_) => panic!("the layout is out of range"),
};

fn words() -> Vec<Word> {
    (0..LAYOUT.words()).map(|_| Word::new(0)).collect()
}

type TestReading = Reading<FixedCounts<256>>;

fn read(slot: &Slot<'_>) -> TestReading {
    let mut reading = TestReading::default();
    slot.read(&mut reading).unwrap();
    reading
}

fn call(slot: &Slot<'_>, stripe: usize, outcome: Outcome, attempt: u16, latency_ns: u64) {
    slot.start(stripe, attempt);
    slot.finish(stripe, Finish::new(outcome, attempt, 0, latency_ns));
}

#[test]
fn an_untouched_slot_reads_as_nothing() {
    let words = words();
    let reading = read(&Slot::new(&words, LAYOUT).unwrap());
    assert!(reading.is_empty());
    assert_eq!((reading.started(), reading.finished()), (0, 0));
    assert_eq!(reading.last_finish(), None);
    assert_eq!(reading.last_failure(), None);
    for class in OutcomeClass::ALL {
        assert!(reading.buckets(class).is_empty());
    }
}

#[test]
fn too_few_words_are_refused() {
    let words = words();
    let error = Slot::new(&words[1..], LAYOUT).unwrap_err();
    assert_eq!((error.words, error.needed), (words.len() - 1, words.len()));
    assert!(error.to_string().contains("needs"));
}

#[test]
fn each_outcome_has_its_count_its_sum_and_its_histogram() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    call(&slot, 0, Outcome::Success, 1, 100);
    call(&slot, 1, Outcome::Success, 1, 200);
    call(&slot, 0, Outcome::Failure(ErrorKind::Timeout), 1, 30);
    call(&slot, 0, Outcome::Cancelled, 1, 5_000);
    let reading = read(&slot);
    let summary = OutcomeClass::ALL.map(|class| (reading.count(class), reading.sum_ns(class)));
    assert_eq!(summary, [(2, 300), (1, 30), (1, 5_000)]);
    for kind in ErrorKind::ALL {
        assert_eq!(
            reading.failures(kind),
            u64::from(kind == ErrorKind::Timeout)
        );
    }
    let buckets = LAYOUT.buckets();
    assert_eq!(
        reading.buckets(Outcome::SUCCESS),
        [
            (buckets.index(100) as u32, 1),
            (buckets.index(200) as u32, 1)
        ]
    );
    assert_eq!(
        reading.buckets(Outcome::CANCELLED),
        [(buckets.index(5_000) as u32, 1)]
    );
    assert_eq!(reading.in_flight(), 0);
}

#[test]
fn the_same_bucket_of_two_stripes_is_one() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    for stripe in [0, 1, 2, 7] {
        call(&slot, stripe, Outcome::Success, 1, 100);
    }
    let index = LAYOUT.buckets().index(100) as u32;
    assert_eq!(read(&slot).buckets(Outcome::SUCCESS), [(index, 4)]);
    assert_eq!(slot.entered(), 4);
}

#[test]
fn a_call_may_start_on_one_stripe_and_finish_on_another() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    slot.start(0, 1);
    assert_eq!(read(&slot).in_flight(), 1);
    slot.finish(1, Finish::new(Outcome::Success, 1, 0, 10));
    assert_eq!(read(&slot).in_flight(), 0);
}

#[test]
fn retries_count_at_the_start_and_recoveries_at_the_end() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    call(&slot, 0, Outcome::Failure(ErrorKind::Network), 1, 1);
    call(&slot, 1, Outcome::Failure(ErrorKind::Network), 2, 1);
    call(&slot, 0, Outcome::Success, 3, 1);
    call(&slot, 0, Outcome::Success, 1, 1);
    call(&slot, 0, Outcome::Cancelled, 2, 1);
    let reading = read(&slot);
    assert_eq!((reading.retried(), reading.recovered()), (3, 1));
}

#[test]
fn the_last_finish_and_the_last_failure_are_the_latest_of_all_stripes() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    let finish = |stripe, outcome, attempt, started_ns| {
        slot.start(stripe, attempt);
        slot.finish(stripe, Finish::new(outcome, attempt, started_ns, 7));
    };
    finish(0, Outcome::Failure(ErrorKind::Network), 4, 9 << 16);
    finish(1, Outcome::Failure(ErrorKind::Provider), 2, 5 << 16);
    finish(1, Outcome::Success, 1, 6 << 16);
    finish(1, Outcome::Cancelled, 1, 20 << 16);
    finish(1, Outcome::Rejected, 1, 30 << 16);
    let reading = read(&slot);
    let last = LastFinish {
        at_ns: (9 << 16) + 7,
        latency_ns: 7,
    };
    assert_eq!(reading.last_finish(), Some(last));
    let failure = reading.last_failure().unwrap();
    assert_eq!((failure.kind(), failure.attempt()), (ErrorKind::Network, 4));
    assert_eq!(failure.at_ns(30 << 16), 9 << 16);
}

#[test]
fn a_cancelled_call_leaves_no_last_finish() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    call(&slot, 0, Outcome::Cancelled, 1, 50);
    assert_eq!(read(&slot).last_finish(), None);
}

#[test]
fn a_call_rejected_after_its_start_is_taken_out_of_those_that_started() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    slot.start(0, 2);
    let started = read(&slot);
    assert_eq!((started.started(), started.in_flight()), (1, 1));
    slot.finish(1, Finish::new(Outcome::Rejected, 2, 40, 50));
    let rejected = read(&slot);
    assert_eq!((rejected.started(), rejected.rejected()), (0, 1));
    assert_eq!((rejected.in_flight(), rejected.retried()), (0, 1));
    let changed: Vec<u64> = words
        .iter()
        .map(|word| word.load(Ordering::Relaxed))
        .filter(|&value| value != 0)
        .collect();
    assert_eq!(changed, [1, 1, 1], "started, retried and rejected");

    let mut difference = rejected.clone();
    difference.subtract(&started);
    assert_eq!((difference.started(), difference.rejected()), (0, 1));
    assert!(!difference.is_empty());
}

#[test]
fn a_call_rejected_before_its_start_enters_and_is_never_in_flight() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    slot.start(0, 1);
    for stripe in [0, 1, 5] {
        slot.reject(stripe);
    }
    let reading = read(&slot);
    assert_eq!((reading.started(), reading.rejected()), (1, 3));
    assert_eq!((reading.finished(), reading.in_flight()), (0, 1));
    assert_eq!(slot.entered(), 4);
}

#[test]
fn the_words_after_the_last_group_are_cleared_of_nothing() {
    // Groups of three words, as many as there can be, and words to fill the last line.
    let layout = Layout::new(0, 63, 2).unwrap();
    let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    let slot = Slot::new(&words, layout).unwrap();
    for latency_ns in [0, 1, u64::MAX] {
        call(&slot, 1, Outcome::Success, 1, latency_ns);
    }
    slot.clear();
    assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
}

#[test]
fn what_is_beyond_the_range_is_in_the_last_bucket_and_enters_the_sum_clamped() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    let beyond = [1 << 20, MAX_SUMMED_LATENCY_NS - 1, u64::MAX];
    for latency_ns in beyond {
        call(&slot, 0, Outcome::Success, 1, latency_ns);
    }
    let reading = read(&slot);
    let last = LAYOUT.buckets().count() as u32 - 1;
    assert_eq!(reading.buckets(Outcome::SUCCESS), [(last, 3)]);
    assert_eq!(
        reading.sum_ns(Outcome::SUCCESS),
        (1 << 20) + MAX_SUMMED_LATENCY_NS - 1 + MAX_SUMMED_LATENCY_NS
    );
    assert_eq!(
        reading.last_finish().map(|last| last.latency_ns),
        Some(LAYOUT.buckets().max_value())
    );
}

#[test]
fn visit_passes_the_buckets_that_a_reading_stores() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    for n in 0..40_u64 {
        let outcome = [Outcome::Success, Outcome::Cancelled, Outcome::Rejected][n as usize % 3];
        call(&slot, n as usize % 2, outcome, n as u16 % 3, n * n * n);
    }
    slot.start(1, 1);
    let kept = read(&slot);
    let mut visited: [Vec<BucketCount>; OutcomeClass::COUNT] = Default::default();
    let mut reading = Reading::without_buckets();
    for _ in 0..2 {
        visited.iter_mut().for_each(Vec::clear);
        slot.visit(&mut reading, |class, bucket| {
            visited[class.index()].push(bucket);
        });
    }
    for class in OutcomeClass::ALL {
        assert_eq!(visited[class.index()], kept.buckets(class));
        assert_eq!(reading.count(class), kept.count(class));
        assert_eq!(reading.sum_ns(class), kept.sum_ns(class));
    }
    assert_eq!(
        (reading.started(), reading.in_flight()),
        (kept.started(), 1)
    );
    assert_eq!(reading.last_finish(), kept.last_finish());
    assert_eq!(reading.last_failure(), None);
    slot.clear();
    slot.visit(&mut reading, |class, bucket| {
        panic!("{class:?} {bucket:?} is left over")
    });
    assert!(reading.is_empty());
}

#[test]
fn storage_that_is_too_small_is_an_error_and_leaves_nothing() {
    let words = words();
    let slot = Slot::new(&words, LAYOUT).unwrap();
    call(&slot, 0, Outcome::Success, 1, 1);
    call(&slot, 0, Outcome::Success, 1, 1_000);
    let mut reading = Reading::<FixedCounts<1>>::default();
    assert_eq!(slot.read(&mut reading), Err(CountsFull { capacity: 1 }));
    assert_eq!((reading.started(), reading.finished()), (0, 0));
}

#[derive(Clone, Copy, Debug)]
struct Call {
    stripe: usize,
    outcome: Outcome,
    attempt: u16,
    latency_ns: u64,
    /// Rejected before its start, if it is rejected.
    early: bool,
}

impl Call {
    fn run(self, slot: &Slot<'_>) {
        if self.early && self.outcome == Outcome::Rejected {
            slot.reject(self.stripe);
        } else {
            call(
                slot,
                self.stripe,
                self.outcome,
                self.attempt,
                self.latency_ns,
            );
        }
    }

    fn is_retry(self) -> bool {
        self.attempt > 1 && !(self.early && self.outcome == Outcome::Rejected)
    }
}

fn any_call() -> impl Strategy<Value = Call> {
    let outcome = prop_oneof![
        Just(Outcome::Success),
        (0..ErrorKind::COUNT).prop_map(|kind| Outcome::Failure(ErrorKind::ALL[kind])),
        Just(Outcome::Cancelled),
        Just(Outcome::Rejected),
    ];
    (0_usize..4, outcome, 1_u16..4, 0_u64..1 << 22, any::<bool>()).prop_map(
        |(stripe, outcome, attempt, latency_ns, early)| Call {
            stripe,
            outcome,
            attempt,
            latency_ns,
            early,
        },
    )
}

proptest! {
    #[test]
    fn a_slot_counts_what_a_list_of_calls_holds(
        before in prop::collection::vec(any_call(), 0..40),
        after in prop::collection::vec(any_call(), 0..40),
    ) {
        let words = words();
        let slot = Slot::new(&words, LAYOUT).unwrap();
        let run = |calls: &[Call]| for c in calls {
            c.run(&slot);
        };
        run(&before);
        let baseline = read(&slot);
        run(&after);
        let mut difference = read(&slot);
        difference.subtract(&baseline);
        let is = |class: OutcomeClass| move |c: &&Call| c.outcome.class() == Some(class);
        for class in OutcomeClass::ALL {
            prop_assert_eq!(difference.count(class), after.iter().filter(is(class)).count() as u64);
            let sum_ns: u64 = after.iter().filter(is(class)).map(|c| c.latency_ns).sum();
            prop_assert_eq!(difference.sum_ns(class), sum_ns);
        }
        for kind in ErrorKind::ALL {
            let failed = after.iter().filter(|c| c.outcome == Outcome::Failure(kind)).count();
            prop_assert_eq!(difference.failures(kind), failed as u64);
        }
        prop_assert_eq!(difference.retried(), after.iter().filter(|c| c.is_retry()).count() as u64);
        let recovered = after.iter().filter(|c| c.attempt > 1 && c.outcome == Outcome::Success);
        prop_assert_eq!(difference.recovered(), recovered.count() as u64);
        prop_assert_eq!(read(&slot).in_flight(), 0);
        let rejected = after.iter().filter(|c| c.outcome == Outcome::Rejected).count();
        prop_assert_eq!(difference.rejected(), rejected as u64);
        prop_assert_eq!(difference.started(), (after.len() - rejected) as u64);
        prop_assert_eq!(difference.is_empty(), after.is_empty());
        prop_assert_eq!(slot.entered(), (before.len() + after.len()) as u64);
    }

    #[test]
    fn a_cleared_slot_is_as_new(
        calls in prop::collection::vec(any_call(), 0..40),
        in_flight in 0_usize..2,
    ) {
        let words = words();
        let slot = Slot::new(&words, LAYOUT).unwrap();
        for c in &calls {
            c.run(&slot);
        }
        for stripe in 0..in_flight {
            slot.start(stripe, 2);
        }
        slot.clear();
        prop_assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        let (read, new) = (read(&slot), TestReading::default());
        prop_assert_eq!(format!("{read:?}"), format!("{new:?}"));
    }
}
