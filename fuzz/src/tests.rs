//! Tests that run the oracles on a stable compiler, with each kept input and with random ones.

use crate::names_and_errors::is_selector;
use crate::{buckets, names_and_errors, recording, ring_ops, slot_ops, snapshot_json};
use arbitrary::{Arbitrary, Unstructured};
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Path;
use toolmeter::{NameError, ToolSpec};

/// A function that passes bytes to an oracle, as its target does.
type Target = fn(&[u8]);

fn structured<'a, I: Arbitrary<'a>>(bytes: &'a [u8], check: impl FnOnce(I)) {
    // An error means that the bytes are too few. The fuzzer skips such an input as well.
    if let Ok(input) = I::arbitrary_take_rest(Unstructured::new(bytes)) {
        check(input);
    }
}

const TARGETS: [(&str, Target); 6] = [
    ("buckets", |bytes| structured(bytes, buckets::check)),
    ("slot_ops", |bytes| {
        structured(bytes, |input| slot_ops::check(&input));
    }),
    ("ring_ops", |bytes| {
        structured(bytes, |input| ring_ops::check(&input));
    }),
    ("snapshot_json", |bytes| {
        snapshot_json::check(bytes, |read| allocation_counter::measure(read).bytes_max);
    }),
    ("recording", recording::check),
    ("names_and_errors", |bytes| {
        structured(bytes, |input| names_and_errors::check(&input));
    }),
];

#[test]
fn every_kept_input_passes() {
    for (name, check) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            check(&bytes);
            inputs += 1;
        }
        assert!(inputs > 0, "{} holds no input", folder.display());
    }
}

#[test]
fn a_name_may_hold_each_character_that_is_seen_and_no_other() {
    for character in '\0'..=char::MAX {
        let is_name = ToolSpec::new(format!("x{character}")).check().is_ok();
        // A selector may follow a symbol, but not a letter.
        let unseen = names_and_errors::is_unseen(character) || is_selector(character);
        assert_eq!(is_name, !unseen, "{}", character.escape_unicode());
    }
}

#[test]
fn a_name_needs_a_character_that_is_more_than_blank() {
    for character in '\0'..=char::MAX {
        let checked = ToolSpec::new(character.to_string()).check();
        let is_empty = checked == Err(NameError::Empty);
        let blank = names_and_errors::is_blank(character);
        assert_eq!(is_empty, blank, "{}", character.escape_unicode());
    }
}

proptest! {
    #[test]
    fn random_input_passes(bytes in vec(any::<u8>(), 0..512)) {
        for (_, check) in TARGETS {
            check(&bytes);
        }
    }
}
