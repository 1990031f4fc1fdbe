//! The oracle of snapshots as JSON: any bytes.
//!
//! They are refused, or they are a snapshot. Its JSON agrees with the input, and reads back to the
//! same snapshot and the same JSON. Its numbers agree with each other. In both cases, reading takes
//! memory in proportion to the input.
//!
//! | file | contents |
//! | --- | --- |
//! | `snapshot_json/same.rs` | the comparison of the printed snapshot with the input |

mod same;

use serde_json::Value;
use toolmeter::{LatencyStats, Snapshot, ToolStats};

/// The most bytes that reading may hold at once for each byte of the input, and in addition to
/// that.
///
/// Two parts take most for their length. In buckets, `[0,1],` is 6 bytes and becomes 16, three
/// times while a list grows to twice its length, so 8 for each byte. In kinds of failures,
/// `"ab":0,` is 7 bytes and becomes an entry of a tree whose nodes may be half empty, about 11 for
/// each byte. The fixed part covers the first nodes and lists, which have room for more than they
/// hold.
const BYTES_PER_BYTE: u64 = 16;
const FIXED_BYTES: u64 = 4_096;

/// Checks one input. `peak_bytes` runs the closure that it is given, and returns the most memory
/// that it held at once.
///
/// The caller measures, because a counting allocator fills zeroed memory by hand, so a program that
/// links one would make the other targets many times slower.
///
/// # Panics
///
/// If a check fails.
pub fn check(bytes: &[u8], peak_bytes: impl FnOnce(&mut dyn FnMut()) -> u64) {
    let mut read = None;
    let peak = peak_bytes(&mut || read = Some(serde_json::from_slice::<Snapshot>(bytes)));
    let len = bytes.len() as u64;
    let most = len * BYTES_PER_BYTE + FIXED_BYTES;
    assert!(peak <= most, "{len} bytes of input took {peak} at once");
    match read {
        Some(Ok(snapshot)) => {
            check_snapshot(&snapshot);
            // The parser of this check may refuse what reading skips, such as a number beyond any
            // `f64` in an unknown field.
            if let Ok(given) = serde_json::from_slice::<Value>(bytes) {
                same::check_snapshot(&given, &serde_json::to_value(&snapshot).unwrap());
            }
        }
        Some(Err(error)) => assert!(!error.to_string().is_empty()),
        None => panic!("peak_bytes must run what it is given"),
    }
}

fn check_snapshot(snapshot: &Snapshot) {
    let json = serde_json::to_string(snapshot).unwrap();
    let again: Snapshot = serde_json::from_str(&json).unwrap();
    assert_eq!(again, *snapshot);
    assert_eq!(serde_json::to_string(&again).unwrap(), json);

    let table = snapshot.to_string();
    assert!(table.chars().all(|c| c == '\n' || !c.is_control()));
    // A line about the whole, the header, a rule, and a row for each tool and for the nameless
    // ones.
    let rows = snapshot.tools.len() + usize::from(snapshot.nameless.is_some());
    assert_eq!(table.lines().count(), 3 + rows);

    let mut twice = snapshot.clone();
    twice.merge(snapshot);
    if let Some(nameless) = &snapshot.nameless {
        check_tool(&nameless.stats);
        let both = twice.nameless.as_ref().unwrap();
        assert_eq!(both.tools, nameless.tools.saturating_mul(2));
        assert_eq!(
            both.stats.rejected,
            nameless.stats.rejected.saturating_mul(2)
        );
    }
    for (name, stats) in &snapshot.tools {
        check_tool(stats);
        let both = &twice.tools[name];
        assert_eq!(both.success(), stats.success().saturating_mul(2));
        assert_eq!(both.failure(), stats.failure().saturating_mul(2));
        assert_eq!(both.rejected, stats.rejected.saturating_mul(2));
    }
}

fn check_tool(stats: &ToolStats) {
    let latency = &stats.latency;
    for stats in [&latency.success, &latency.failure, &latency.cancelled] {
        check_latency(stats);
    }
    let sums = [latency.success.sum(), latency.failure.sum()];
    assert_eq!(stats.total_latency(), sums.iter().sum());
    assert!(stats.failures_by_kind.values().all(|&count| count > 0));
    assert!(
        stats
            .last_error
            .as_ref()
            .is_none_or(|error| error.attempt > 0)
    );
}

fn check_latency(stats: &LatencyStats) {
    let sum = stats.buckets().iter().map(|&(_, count)| u128::from(count));
    assert_eq!(
        u128::from(stats.count()),
        sum.sum::<u128>().min(u64::MAX.into())
    );
    let ordered = [
        stats.min(),
        stats.p50(),
        stats.p90(),
        stats.p99(),
        stats.p999(),
        stats.max(),
    ];
    let is_empty = stats.buckets().is_empty();
    assert!(ordered.iter().all(|value| value.is_none() == is_empty));
    assert!(ordered.is_sorted());
    assert_eq!(stats.quantile(1.0), stats.max());
    for &(index, _) in stats.buckets() {
        let (least, greatest) = stats.bucket_bounds(index).unwrap();
        assert!(least <= greatest && Some(greatest) <= stats.max());
    }
    let coarse = stats.coarsen(3);
    assert_eq!((coarse.count(), coarse.sum()), (stats.count(), stats.sum()));
}
