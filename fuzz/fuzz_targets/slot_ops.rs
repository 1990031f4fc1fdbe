//! Hands its input to the oracle of the same name, which says what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolmeter_fuzz::slot_ops::{Input, check};

fuzz_target!(|input: Input| check(&input));
