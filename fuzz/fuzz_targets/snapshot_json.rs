//! The fuzz target that passes its input to the oracle of the same name, and measures the memory
//! that reading takes.
#![no_main]

use allocation_counter::measure;
use libfuzzer_sys::fuzz_target;
use toolmeter_fuzz::snapshot_json::check;

fuzz_target!(|bytes: &[u8]| check(bytes, |read| measure(read).bytes_max));
