//! Any two latencies, any precision and range: the index is in range and monotonic, the bounds
//! hold the value, and the bucket is as narrow as promised.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolmeter_core::Buckets;

fuzz_target!(|input: (u8, u8, u64, u64)| {
    let (precision, max_exponent, a, b) = input;
    let Some(buckets) = Buckets::new(precision % 9, max_exponent % 66) else {
        return;
    };
    for value in [a, b] {
        let index = buckets.index(value);
        assert!(index < buckets.count());
        let value = value.min(buckets.max_value());
        let (lower, upper) = (buckets.lower(index), buckets.upper(index));
        assert!(lower <= value && value <= upper);
        let width = u128::from(upper - lower + 1);
        assert!(width == 1 || width << buckets.precision() <= u128::from(lower));
    }
    let (low, high) = (a.min(b), a.max(b));
    assert!(buckets.index(low) <= buckets.index(high));
});
