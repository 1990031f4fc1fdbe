use super::*;
use crate::error_kind::ErrorKind;
use std::{collections::BTreeSet, vec::Vec};

#[test]
fn what_is_out_of_range_is_refused_with_the_range() {
    let refused = |p, e, s| Layout::new(p, e, s).unwrap_err().to_string();
    assert_eq!(refused(8, 48, 1), "precision 8 is out of range: use 0 to 7");
    assert_eq!(
        refused(5, 5, 1),
        "max_exponent 5 is out of range: use 6 to 63"
    );
    assert_eq!(
        refused(5, 64, 1),
        "max_exponent 64 is out of range: use 6 to 63"
    );
    for stripes in [0, 3, 512] {
        assert_eq!(
            refused(5, 48, stripes),
            format!("{stripes} stripes are out of range: use a power of two from 1 to 256")
        );
    }
}

#[test]
fn the_number_of_stripes_is_a_power_of_two_up_to_the_most() {
    let good: Vec<usize> = (0..=2 * Layout::MAX_STRIPES)
        .filter(|&stripes| check_stripes(stripes).is_ok())
        .collect();
    assert_eq!(good, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(check_stripes(512), Err(StripesError { given: 512 }));
}

#[test]
fn every_counter_has_a_word_of_its_own() {
    let layout = Layout::new(3, 9, 4).unwrap();
    let mut taken = BTreeSet::new();
    let mut take = |word: usize| assert!(taken.insert(word), "word {word} is taken twice");
    for word in [
        word::STARTED,
        word::LAST_FINISHED_AT,
        word::LAST_LATENCY,
        word::LAST_FAILURE,
        word::RETRIED,
        word::RECOVERED,
        word::REJECTED,
    ] {
        take(word);
    }
    for kind in ErrorKind::ALL {
        take(word::failures(kind));
    }
    for class in OutcomeClass::ALL {
        take(word::sum(class));
        take(word::occupancy(class));
        for index in 0..layout.buckets().count() {
            take(HEADER + bucket(class, index));
        }
    }
    assert!(taken.last().unwrap() < &layout.stripe_words());
    assert_eq!(layout.stripe_words() % LINE, 0);
}

#[test]
fn the_ends_of_the_ranges_are_within() {
    assert_eq!(Layout::new(0, 1, 1).unwrap().stripes(), 1);
    let most = Layout::new(7, 63, Layout::MAX_STRIPES).unwrap();
    assert_eq!((most.stripes(), most.buckets().groups()), (256, 57));
}

#[test]
fn a_stripe_number_beyond_the_last_starts_over() {
    let layout = Layout::new(3, 9, 4).unwrap();
    assert_eq!(layout.stripe_start(3), 3 * layout.stripe_words());
    assert_eq!(layout.stripe_start(4), 0);
    assert_eq!(layout.words(), 4 * layout.stripe_words());
}
