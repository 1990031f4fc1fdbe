use super::*;
use crate::snapshot::latency::layout;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The histogram of these latencies.
fn histogram(precision: u8, latencies: &[u64]) -> LatencyStats {
    let layout = layout(precision);
    let mut counts = BTreeMap::new();
    for &latency in latencies {
        *counts.entry(layout.index(latency) as u32).or_default() += 1;
    }
    LatencyStats::new(precision, 0, counts.into_iter().collect())
}

#[test]
fn a_power_of_two_is_written_as_the_nanosecond_below_it() {
    for exponent in 1..=MAX_BOUND {
        let bounds = LatencyBounds::powers_of_two(exponent..=exponent);
        let seconds = bounds.iter().next().unwrap();
        let ns = (1_u64 << exponent) - 1;
        // The decimal that is written is exact, and reads as the same float everywhere.
        let exact = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
        assert_eq!(exact.parse(), Ok(seconds));
        assert_eq!((seconds * SECOND).round() as u64, ns);
        // The latencies on either side of it are told apart.
        let counts: Vec<_> = bounds.counts(&histogram(5, &[ns, ns + 1])).collect();
        assert_eq!(counts, [(seconds, 1), (f64::INFINITY, 1)]);
    }
}

#[test]
fn exponents_out_of_range_are_treated_as_the_nearest() {
    let bounds = LatencyBounds::powers_of_two([0, 1, 47, 48, 255]);
    assert_eq!(bounds, LatencyBounds::powers_of_two([1, 47]));
    assert_eq!(bounds.len(), 2);
    let none = LatencyBounds::powers_of_two([]);
    assert!(none.is_empty());
    let counts: Vec<_> = none.counts(&histogram(5, &[7, 1 << 40])).collect();
    assert_eq!(counts, [(f64::INFINITY, 2)]);
}

#[test]
fn bounds_that_cannot_be_are_refused() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 281_475.0] {
        assert!(LatencyBounds::seconds([1.0, bad]).is_err());
    }
    let bounds = LatencyBounds::seconds([2.0, 1.0, 2.0]).unwrap();
    assert_eq!(bounds.iter().collect::<Vec<_>>(), [1.0, 2.0]);
}

#[test]
fn counts_that_do_not_fit_stay_at_their_maximum() {
    let latency = LatencyStats::new(5, 0, vec![(1, u64::MAX), (700, u64::MAX), (900, 1)]);
    let bounds = LatencyBounds::default();
    let counts = bounds.counts(&latency).map(|(_, count)| count);
    assert_eq!(counts.sum::<u64>(), u64::MAX);
}

proptest! {
    /// Each cumulative count is that of the latencies themselves, not only of their buckets.
    #[test]
    fn a_power_of_two_counts_exactly_what_is_below(
        precision in 3_u8..=7,
        latencies in prop::collection::vec((any::<u64>(), 0_u32..64), 0..200),
        exact in prop::collection::vec(1_u32..48, 0..20),
    ) {
        // Values of every magnitude, the powers themselves and their neighbours.
        let latencies = latencies.iter().map(|&(bits, shift)| bits >> shift).chain(
            exact.iter().flat_map(|&k| [(1 << k) - 1, 1 << k, (1 << k) + 1]),
        );
        let latencies: Vec<u64> = latencies.collect();
        let histogram = histogram(precision, &latencies);
        let bounds = LatencyBounds::powers_of_two(1..=MAX_BOUND);
        let mut seen = 0;
        for (bound, (seconds, count)) in bounds.bounds.iter().zip(bounds.counts(&histogram)) {
            seen += count;
            let within = latencies.iter().filter(|&&ns| ns <= bound.greatest_ns).count();
            prop_assert_eq!(seen, within as u64, "bound {}", seconds);
        }
        let all: u64 = bounds.counts(&histogram).map(|(_, count)| count).sum();
        prop_assert_eq!(all, latencies.len() as u64);
    }

    /// A bound of any other kind misses at most what lies in its own bucket.
    #[test]
    fn any_bound_is_within_a_bucket(
        latencies in prop::collection::vec((any::<u64>(), 16_u32..64), 1..200),
        seconds in 1e-6_f64..100.0,
    ) {
        let latencies: Vec<u64> = latencies.iter().map(|&(bits, shift)| bits >> shift).collect();
        let bounds = LatencyBounds::seconds([seconds]).unwrap();
        let (_, count) = bounds.counts(&histogram(5, &latencies)).next().unwrap();
        let ns = bounds.bounds[0].greatest_ns;
        let at_most = latencies.iter().filter(|&&latency| latency <= ns).count() as u64;
        let surely = latencies.iter().filter(|&&latency| latency < ns - ns / 32).count() as u64;
        prop_assert!((surely..=at_most).contains(&count));
    }
}
