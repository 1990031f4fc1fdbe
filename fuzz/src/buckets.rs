//! The oracle of the buckets: two latencies, any precision and range.
//!
//! Checks that the index is in range and monotonic, that the bounds hold the value and meet those
//! of the neighbours, that the bucket is as narrow as documented and lies inside one bucket of each
//! coarser precision, and that precisions 4 and 7 have the same indices as an `hdrhistogram` of 1
//! and 2 significant digits.

use crate::numbers::Magnitude;
use arbitrary::Arbitrary;
use hdrhistogram::Histogram;
use std::sync::LazyLock;
use toolmeter_core::Buckets;

/// An input of the oracle.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Input {
    precision: u8,
    max_exponent: u8,
    a: Magnitude,
    b: Magnitude,
}

/// An `hdrhistogram`, and the upper bounds of its buckets in the order of its own index.
struct Hdr {
    ours: Buckets,
    histogram: Histogram<u64>,
    uppers: Vec<u64>,
}

static HDRS: LazyLock<[Hdr; 2]> = LazyLock::new(|| [(4, 1), (7, 2)].map(|(p, d)| Hdr::new(p, d)));

impl Hdr {
    fn new(precision: u8, digits: u8) -> Self {
        let ours = Buckets::new(precision, 48).unwrap();
        let histogram = Histogram::new_with_bounds(1, ours.max_value(), digits).unwrap();
        // Its index is private, but iterating over all buckets goes through it in steps of one.
        let all = histogram.iter_all();
        let uppers: Vec<u64> = all.map(|bucket| bucket.value_iterated_to()).collect();
        assert_eq!(uppers.len(), ours.count());
        Self {
            ours,
            histogram,
            uppers,
        }
    }

    fn check(&self, value: u64) {
        let value = value.min(self.ours.max_value());
        let index = self.ours.index(value);
        assert_eq!(self.uppers.partition_point(|&upper| upper < value), index);
        assert_eq!(
            self.histogram.lowest_equivalent(value),
            self.ours.lower(index)
        );
        assert_eq!(
            self.histogram.highest_equivalent(value),
            self.ours.upper(index)
        );
    }
}

/// Checks one input.
///
/// # Panics
///
/// If a check fails.
pub fn check(input: Input) {
    let (a, b) = (input.a.get(), input.b.get());
    for hdr in &*HDRS {
        hdr.check(a);
        hdr.check(b);
    }
    let (precision, max_exponent) = (input.precision % 9, input.max_exponent % 66);
    let Some(buckets) = Buckets::new(precision, max_exponent) else {
        // The documented ranges, so that a refusal is not treated as a pass.
        assert!(precision > 7 || max_exponent > 63 || precision >= max_exponent);
        return;
    };
    for value in [a, b] {
        check_bucket(buckets, value);
    }
    let (low, high) = (a.min(b), a.max(b));
    assert!(buckets.index(low) <= buckets.index(high));
}

fn check_bucket(buckets: Buckets, value: u64) {
    let index = buckets.index(value);
    assert!(index < buckets.count());
    let value = value.min(buckets.max_value());
    let (lower, upper) = (buckets.lower(index), buckets.upper(index));
    assert!(lower <= value && value <= upper);
    let width = u128::from(upper - lower) + 1;
    assert!(width == 1 || width << buckets.precision() <= u128::from(lower));
    // No wider than its share of an octave, and no narrower either: a narrower one would waste
    // memory.
    let octave = 63 - (lower | 1).leading_zeros();
    let promised = octave.saturating_sub(u32::from(buckets.precision()));
    assert_eq!(width, 1 << promised);
    // Nothing lies between two buckets, and none is left over at either end.
    match lower.checked_sub(1) {
        Some(below) => assert_eq!(
            (buckets.index(below), buckets.upper(index - 1)),
            (index - 1, below)
        ),
        None => assert_eq!(index, 0),
    }
    if upper < buckets.max_value() {
        assert_eq!(
            (buckets.index(upper + 1), buckets.lower(index + 1)),
            (index + 1, upper + 1)
        );
    } else {
        assert_eq!((upper, index), (buckets.max_value(), buckets.count() - 1));
    }
    for coarser in 0..=buckets.precision() {
        let coarse = Buckets::new(coarser, buckets.max_exponent()).unwrap();
        assert_eq!(coarse.index(lower), coarse.index(upper));
    }
}
