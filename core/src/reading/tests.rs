use super::arithmetic::{add_counts, make_room, subtract_counts};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) fn fixed<const N: usize>(pairs: &[BucketCount]) -> FixedCounts<N> {
    let mut counts = FixedCounts::default();
    for &pair in pairs {
        counts.push(pair).unwrap();
    }
    counts
}

fn success(pairs: &[BucketCount]) -> Reading<FixedCounts<8>> {
    Reading {
        counts: [fixed(pairs), fixed(&[]), fixed(&[])],
        ..Reading::default()
    }
}

#[test]
fn a_difference_drops_what_is_empty_and_keeps_the_order() {
    let mut reading = success(&[(1, 5), (2, 3), (9, 1)]);
    reading.subtract(&success(&[(1, 2), (2, 3)]));
    assert_eq!(reading.buckets(OutcomeClass::Success), [(1, 3), (9, 1)]);
    assert_eq!(reading.count(OutcomeClass::Success), 4);
}

#[test]
fn the_last_of_each_shows_only_if_it_is_new() {
    let failure = LastFailure::new(ErrorKind::Network, 2, 1 << 20);
    let finish = LastFinish {
        at_ns: 1,
        latency_ns: 2,
    };
    let mut total = success(&[(1, 1)]);
    total.counts[OutcomeClass::Failure.index()] = fixed(&[(1, 1)]);
    total.last_failure = Some(failure);
    total.last_finish = Some(finish);

    let mut nothing_new = total.clone();
    nothing_new.subtract(&total);
    assert_eq!(nothing_new.last_failure(), None);
    assert_eq!(nothing_new.last_finish(), None);

    let mut failed = total.clone();
    failed.subtract(&success(&[(1, 1)]));
    assert_eq!(failed.last_failure(), Some(failure));
    assert_eq!(failed.last_finish(), Some(finish));

    let mut succeeded = total.clone();
    succeeded.counts[OutcomeClass::Success.index()] = fixed(&[(1, 2)]);
    succeeded.subtract(&total);
    assert_eq!(succeeded.last_failure(), None);
    assert_eq!(succeeded.last_finish(), Some(finish));
}

#[test]
fn a_sum_has_the_later_of_the_last() {
    let noted = |at_ns| {
        let mut reading = success(&[(1, 1)]);
        reading.note_finish(LastFinish {
            at_ns,
            latency_ns: at_ns / 2,
        });
        reading.note_failure(Some(LastFailure::new(ErrorKind::Network, 1, at_ns)));
        reading
    };
    let (early, late) = (noted(1 << 20), noted(1 << 21));
    for (a, b) in [(&early, &late), (&late, &early), (&late, &success(&[]))] {
        for (a, b) in [(a, b), (b, a)] {
            let mut sum = a.clone();
            sum.add(b).unwrap();
            assert_eq!(sum.last_finish(), late.last_finish());
            assert_eq!(sum.last_failure(), late.last_failure());
        }
    }
}

#[test]
fn a_sum_that_does_not_fit_leaves_the_reading_as_it_was() {
    let mut reading = success(&[(1, 1), (2, 1)]);
    reading.counts[OutcomeClass::Cancelled.index()] = fixed(&[(0, 1), (1, 1)]);
    let mut other = success(&[(1, 1)]);
    other.entered = 1;
    other.counts[OutcomeClass::Cancelled.index()] =
        fixed(&[2, 3, 4, 5, 6, 7, 8].map(|index| (index, 1)));
    assert_eq!(reading.add(&other), Err(CountsFull { capacity: 8 }));
    assert_eq!(reading.entered, 0);
    assert_eq!(reading.buckets(OutcomeClass::Success), [(1, 1), (2, 1)]);
    assert_eq!(reading.buckets(OutcomeClass::Cancelled), [(0, 1), (1, 1)]);
}

#[test]
fn a_bucket_that_wraps_to_nothing_is_dropped() {
    let mut reading = success(&[(1, u64::MAX), (2, 1)]);
    reading.add(&success(&[(1, 1)])).unwrap();
    assert_eq!(reading.buckets(OutcomeClass::Success), [(2, 1)]);
}

#[test]
fn only_a_reading_of_nothing_is_empty() {
    let empty = Reading::<FixedCounts<8>>::default;
    assert!(empty().is_empty());
    let entered = Reading {
        entered: 1,
        ..empty()
    };
    let rejected = Reading {
        rejected: 1,
        ..empty()
    };
    let mut cancelled = empty();
    cancelled.counts[OutcomeClass::Cancelled.index()] = fixed(&[(3, 1)]);
    for reading in [entered, rejected, success(&[(3, 1)]), cancelled] {
        assert!(!reading.is_empty(), "{reading:?}");
    }
}

#[test]
fn started_is_right_when_the_counters_wrap_and_never_negative() {
    let started = |entered, rejected| {
        Reading::<FixedCounts<1>> {
            entered,
            rejected,
            ..Reading::default()
        }
        .started()
    };
    assert_eq!(started(5, 2), 3);
    assert_eq!(started(0, 1), 0);
    assert_eq!(started(1, u64::MAX), 2);
}

pub(super) fn histogram() -> impl Strategy<Value = BTreeMap<u32, u64>> {
    prop::collection::btree_map(0_u32..40, 1_u64..1_000, 0..20)
}

pub(super) fn pairs(histogram: &BTreeMap<u32, u64>) -> Vec<BucketCount> {
    histogram
        .iter()
        .map(|(&index, &count)| (index, count))
        .collect()
}

fn reading() -> impl Strategy<Value = Reading<FixedCounts<40>>> {
    let counter = || 0_u64..=u64::MAX;
    let lasts = (any::<bool>(), 0_u64..1 << 40);
    (
        prop::array::uniform4(counter()),
        prop::array::uniform10(counter()),
        prop::array::uniform3(counter()),
        prop::array::uniform3(histogram()),
        lasts,
    )
        .prop_map(|(counters, failures, sums_ns, counts, (ran, at_ns))| {
            let [entered, rejected, retried, recovered] = counters;
            Reading {
                entered,
                rejected,
                retried,
                recovered,
                failures,
                sums_ns,
                last_finish: ran.then_some(LastFinish {
                    at_ns,
                    latency_ns: at_ns,
                }),
                last_failure: ran.then(|| LastFailure::new(ErrorKind::Panic, 1, at_ns)),
                counts: counts.map(|counts| fixed(&pairs(&counts))),
            }
        })
}

type Compared<'a> = (
    [u64; 4],
    [u64; ErrorKind::COUNT],
    [u64; OutcomeClass::COUNT],
    [&'a [BucketCount]; OutcomeClass::COUNT],
);

/// All counts: everything except the last finish and the last failure.
fn counted<C: BucketCounts>(reading: &Reading<C>) -> Compared<'_> {
    (
        [
            reading.entered,
            reading.rejected,
            reading.retried,
            reading.recovered,
        ],
        reading.failures,
        reading.sums_ns,
        OutcomeClass::ALL.map(|class| reading.buckets(class)),
    )
}

fn sum(a: &Reading<FixedCounts<40>>, b: &Reading<FixedCounts<40>>) -> Reading<FixedCounts<40>> {
    let mut sum = a.clone();
    sum.add(b).unwrap();
    sum
}

#[test]
#[cfg(feature = "std")]
fn a_cleared_reading_keeps_its_storage() {
    let mut reading = Reading::<std::vec::Vec<BucketCount>>::default();
    for counts in &mut reading.counts {
        counts.extend((0..100).map(|index| (index, 1)));
    }
    reading.clear();
    for counts in &reading.counts {
        assert!(counts.is_empty() && counts.capacity() >= 100);
    }
}

proptest! {
    #[test]
    fn subtracting_what_was_added_gives_back_the_first(a in reading(), b in reading()) {
        let mut both = sum(&a, &b);
        both.subtract(&b);
        prop_assert_eq!(counted(&both), counted(&a));
    }

    #[test]
    fn readings_are_added_in_any_order(a in reading(), b in reading(), c in reading()) {
        let (ab, ba) = (sum(&a, &b), sum(&b, &a));
        prop_assert_eq!(counted(&ab), counted(&ba));
        prop_assert_eq!(ab.last_finish(), ba.last_finish());
        prop_assert_eq!(ab.last_failure().map(|last| last.at_ns(1 << 40)),
            ba.last_failure().map(|last| last.at_ns(1 << 40)));
        let (left, right) = (sum(&ab, &c), sum(&a, &sum(&b, &c)));
        prop_assert_eq!(counted(&left), counted(&right));
    }

    #[test]
    fn adding_and_subtracting_agree_with_a_map(a in histogram(), b in histogram()) {
        let mut expected = a.clone();
        for (&index, &count) in &b {
            *expected.entry(index).or_default() += count;
        }
        let mut sum = fixed::<40>(&pairs(&a));
        make_room(&mut sum, &pairs(&b)).unwrap();
        prop_assert_eq!(sum.as_slice().len(), expected.len());
        add_counts(&mut sum, a.len(), &pairs(&b));
        prop_assert_eq!(sum.as_slice(), pairs(&expected));
        subtract_counts(&mut sum, &pairs(&b));
        prop_assert_eq!(sum.as_slice(), pairs(&a));
    }
}
