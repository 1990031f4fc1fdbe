use super::*;
use crate::reading::tests::fixed;
#[cfg(feature = "std")]
use crate::reading::tests::{histogram, pairs};
#[cfg(feature = "std")]
use proptest::prelude::*;

#[test]
fn full_storage_says_so_and_stays_as_it_was() {
    let mut counts = fixed::<2>(&[(1, 1), (2, 1)]);
    assert_eq!(counts.push((3, 1)), Err(CountsFull { capacity: 2 }));
    assert_eq!(counts.as_slice(), [(1, 1), (2, 1)]);
    assert!(
        CountsFull { capacity: 2 }
            .to_string()
            .contains("more than 2 buckets")
    );
}

/// Pushes, truncates and changes in place, and compares with a plain list after each.
#[cfg(feature = "std")]
fn keeps_what_it_is_given<C: BucketCounts>(given: &[BucketCount], len: usize) {
    let mut counts = C::default();
    let mut expected = Vec::new();
    for &pair in given {
        counts.push(pair).unwrap();
        expected.push(pair);
        assert_eq!(counts.as_slice(), expected);
    }
    counts.truncate(len);
    expected.truncate(len);
    assert_eq!(counts.as_slice(), expected);
    for pairs in [counts.as_mut_slice(), &mut expected] {
        for pair in pairs {
            pair.1 += 1;
        }
    }
    assert_eq!(counts.as_slice(), expected);
}

#[cfg(feature = "std")]
proptest! {
    #[test]
    fn every_storage_keeps_what_it_is_given(given in histogram(), len in 0_usize..30) {
        keeps_what_it_is_given::<FixedCounts<20>>(&pairs(&given), len);
        keeps_what_it_is_given::<std::vec::Vec<BucketCount>>(&pairs(&given), len);
    }
}
