use super::*;
use crate::snapshot::testing::{any_latency, any_ns};
use proptest::prelude::*;

fn of(precision: u8, values_ns: &[u64]) -> LatencyStats {
    let buckets = values_ns
        .iter()
        .map(|&ns| (layout(precision).index(ns) as u32, 1))
        .collect();
    LatencyStats::new(precision, values_ns.iter().sum(), added_up(buckets))
}

fn ns(latency: Option<Duration>) -> Option<u128> {
    latency.map(|latency| latency.as_nanos())
}

#[test]
fn without_a_call_there_is_no_latency() {
    let empty = LatencyStats::new(5, 70, Vec::new());
    assert_eq!((empty.count(), empty.sum()), (0, Duration::from_nanos(70)));
    for none in [
        empty.min(),
        empty.max(),
        empty.mean(),
        empty.p50(),
        empty.p999(),
    ] {
        assert_eq!(none, None);
    }
    #[cfg(feature = "hdrhistogram")]
    assert_eq!(empty.to_hdr().len(), 0);
}

#[test]
fn one_call_is_every_quantile() {
    let one = of(5, &[40]);
    for q in [
        f64::NEG_INFINITY,
        -1.0,
        0.0,
        1e-300,
        0.5,
        1.0,
        2.0,
        f64::INFINITY,
    ] {
        assert_eq!(ns(one.quantile(q)), Some(40));
    }
    assert_eq!(one.quantile(f64::NAN), None);
    assert_eq!(
        (ns(one.min()), ns(one.max()), ns(one.mean())),
        (Some(40), Some(40), Some(40))
    );
}

#[test]
fn hundredths_of_a_hundred_calls_are_whole_ranks() {
    for hundredths in 1..=100_u64 {
        assert_eq!(rank(hundredths as f64 / 100.0, 100), hundredths);
    }
    // What a product would make of it.
    assert_eq!((0.07_f64 * 100.0).ceil(), 8.0);
    assert_eq!(rank(0.0, 100), 1);
    assert_eq!(rank(0.999, 1_000), 999);
    assert_eq!(rank(0.999, 1_001), 1_000);
}

#[test]
fn the_named_quantiles_are_those_quantiles() {
    let thousand = LatencyStats::new(3, 0, vec![(1, 500), (2, 400), (3, 90), (4, 9), (5, 1)]);
    let named = [
        thousand.p50(),
        thousand.p90(),
        thousand.p99(),
        thousand.p999(),
        thousand.max(),
    ];
    assert_eq!(named.map(ns), [1, 2, 3, 4, 5].map(Some));
}

#[test]
fn the_mean_is_rounded_and_never_overflows() {
    assert_eq!(ns(LatencyStats::new(5, 5, vec![(1, 2)]).mean()), Some(3));
    assert_eq!(ns(LatencyStats::new(5, 4, vec![(1, 3)]).mean()), Some(1));
    let huge = LatencyStats::new(5, u64::MAX, vec![(1, u64::MAX), (2, u64::MAX)]);
    assert_eq!((huge.count(), ns(huge.mean())), (u64::MAX, Some(1)));
    assert_eq!(
        ns(huge.quantile(1.0)),
        Some(1),
        "the first bucket is all that can be counted"
    );
    let doubled = huge.merge(&huge);
    assert_eq!((doubled.count(), doubled.sum_ns), (u64::MAX, u64::MAX));
    assert_eq!(doubled.buckets(), huge.buckets());
}

#[test]
fn bounds_end_where_the_buckets_end() {
    let stats = of(3, &[1 << 60]);
    let last = layout(3).count() as u32 - 1;
    assert_eq!(stats.buckets(), [(last, 1)]);
    let (_, greatest) = stats.bucket_bounds(last).unwrap();
    assert_eq!(greatest.as_nanos(), (1 << 48) - 1);
    assert_eq!(stats.max(), Some(greatest));
    assert_eq!(stats.bucket_bounds(last + 1), None);
    assert_eq!(stats.bucket_bounds(u32::MAX), None);
}

#[test]
fn a_precision_out_of_range_is_the_nearest_within() {
    assert_eq!(LatencyStats::new(0, 0, Vec::new()).precision(), 3);
    assert_eq!(LatencyStats::new(200, 0, Vec::new()).precision(), 7);
    let stats = of(5, &[1_000]);
    assert_eq!(stats.coarsen(0), stats.coarsen(3));
    assert_eq!(stats.coarsen(7), stats);
}

proptest! {
    #[test]
    fn a_rank_is_the_smallest_of_which_the_share_is_reached(q in 0.0..=1.0_f64, count in 1_u64..2_000) {
        let by_trial = (1..=count).find(|&r| r as f64 / count as f64 >= q);
        prop_assert_eq!(Some(rank(q, count)), by_trial);
    }

    #[test]
    fn a_rank_is_one_of_the_calls(q in 0.0..=1.0_f64, count in 1_u64..) {
        prop_assert!((1..=count).contains(&rank(q, count)));
        prop_assert_eq!((rank(0.0, count), rank(f64::MIN_POSITIVE, count)), (1, 1));
    }

    #[test]
    fn a_quantile_bounds_the_true_one_from_above(
        mut values in prop::collection::vec(any_ns().prop_map(|ns| ns >> 16), 1..50),
        q in 0.0..=1.0_f64, precision in PRECISIONS,
    ) {
        let stats = of(precision, &values);
        values.sort_unstable();
        let exact = values[rank(q, values.len() as u64) as usize - 1];
        let told = stats.quantile(q).unwrap().as_nanos() as u64;
        prop_assert!(exact <= told && told - exact <= exact >> precision, "{exact} {told}");
        prop_assert!(stats.min() <= stats.mean() && stats.mean() <= stats.max());
    }

    #[test]
    fn quantiles_grow_with_the_share(stats in any_latency(), a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
        prop_assert!(stats.quantile(a.min(b)) <= stats.quantile(a.max(b)));
        prop_assert!(stats.quantile(1.0) <= stats.max() && stats.min() <= stats.quantile(0.0));
    }

    #[test]
    fn merging_and_coarsening_are_recording_at_once(
        a in prop::collection::vec(any_ns().prop_map(|ns| ns >> 8), 0..20),
        b in prop::collection::vec(any_ns().prop_map(|ns| ns >> 8), 0..20),
        fine in PRECISIONS, coarse in PRECISIONS,
    ) {
        let all: Vec<u64> = a.iter().chain(&b).copied().collect();
        let both = of(fine, &a).merge(&of(coarse, &b));
        prop_assert_eq!(&both, &of(fine.min(coarse), &all));
        prop_assert_eq!(of(fine, &all).coarsen(coarse), both);
    }

    #[test]
    fn merging_is_associative_and_commutative(a in any_latency(), b in any_latency(), c in any_latency()) {
        prop_assert_eq!(a.merge(&b), b.merge(&a));
        prop_assert_eq!(a.merge(&b).merge(&c), a.merge(&b.merge(&c)));
    }

    #[cfg(feature = "hdrhistogram")]
    #[test]
    fn an_hdr_histogram_holds_the_same(values in prop::collection::vec(any_ns(), 1..20), precision in PRECISIONS) {
        let values: Vec<u64> = values.iter().map(|ns| ns >> 8).collect();
        let stats = of(precision, &values);
        let hdr = stats.to_hdr();
        prop_assert_eq!(hdr.len(), stats.count());
        // At 0 the other histogram tells a lower bound.
        for q in [0.5, 0.9, 0.99, 1.0] {
            let upper = stats.quantile(q).unwrap().as_nanos() as u64;
            prop_assert_eq!(hdr.value_at_quantile(q), hdr.highest_equivalent(upper));
        }
    }
}
