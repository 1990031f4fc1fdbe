//! Any bytes as a snapshot: an error, or a snapshot that prints again to the same JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolmeter::Snapshot;

fuzz_target!(|bytes: &[u8]| {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(bytes) else {
        return;
    };
    let json = serde_json::to_string(&snapshot).unwrap();
    let again: Snapshot = serde_json::from_str(&json).unwrap();
    assert_eq!(again, snapshot);
    assert_eq!(serde_json::to_string(&again).unwrap(), json);
    let _ = snapshot.to_string();
});
