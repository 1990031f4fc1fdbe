//! The fuzz target that passes its input to the oracle of the same name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolmeter_fuzz::buckets::{Input, check};

fuzz_target!(|input: Input| check(input));
