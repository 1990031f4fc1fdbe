//! The readers of metrics: cursors that live for the whole run, cursors that come and go, a thread
//! that resets, and one that reads published snapshots.

use crate::counts::Counts;
use crate::did::Did;
use crate::host::Host;
use crate::tools::{ALONE, NAMES};
use std::thread;
use std::time::Duration;
use toolmeter::{Intervals, Outcome};

/// Reads a cursor until the load is over, and adds up what it returned. The cursor is returned
/// so that it can be read to its end.
pub(crate) fn read_intervals(
    host: &Host,
    mut cursor: Intervals,
    every: Duration,
) -> (Counts, Intervals) {
    let mut counts = Counts::default();
    while !host.is_over() {
        counts.add_snapshot(&cursor.read());
        counts.did(Did::Interval);
        host.rest(every);
    }
    (counts, cursor)
}

/// Resets until the load is over, and adds up what was cleared.
pub(crate) fn reset(host: &Host) -> Counts {
    let mut counts = Counts::default();
    while !host.is_over() {
        counts.add_snapshot(&host.registry.reset_metrics());
        counts.did(Did::Reset);
        host.rest(Duration::from_millis(29));
    }
    counts
}

/// Makes cursors and drops them. No other thread calls the tool that it calls, so each interval must
/// hold exactly the calls made since the cursor was.
pub(crate) fn come_and_go(host: &Host) -> Counts {
    let mut counts = Counts::default();
    while !host.is_over() {
        let mut cursor = host.registry.intervals();
        for calls in [3, 0, 5] {
            for _ in 0..calls {
                host.tool(ALONE).start().succeed();
                counts.whole(ALONE, 1, Outcome::Success);
            }
            let interval = cursor.read();
            assert_eq!(interval.tools[NAMES[ALONE]].success(), calls);
            counts.did(Did::Interval);
        }
        host.rest(Duration::from_millis(17));
    }
    counts
}

/// Reads fresh and published snapshots. Checks that no published snapshot is older than one that
/// was read before.
pub(crate) fn watch(host: &Host) {
    let mut newest = Duration::ZERO;
    while !host.is_over() {
        for _ in 0..50 {
            let uptime = host.registry.published().uptime;
            assert!(uptime >= newest, "an older snapshot after a newer one");
            newest = uptime;
            thread::yield_now();
        }
        drop(host.registry.metrics());
        host.rest(Duration::from_millis(7));
    }
}
