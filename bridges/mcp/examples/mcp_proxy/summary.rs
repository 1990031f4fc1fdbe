//! The summary at the end.

use crate::follow::{Seen, Tally};
use std::fmt::Write as _;
use toolmeter::Snapshot;

/// Returns the table, followed by lines on the other messages.
pub(crate) fn summary(command: &str, state: &str, snapshot: &Snapshot, tally: &Tally) -> String {
    let mut text = format!("mcp_proxy: {command}: {state}\n{snapshot}\n");
    let mut say = |line: std::fmt::Arguments<'_>| {
        // Writing to a `String` never fails.
        let _infallible = writeln!(text, "mcp_proxy: {line}");
    };
    for (side, seen) in [("client", tally.client), ("server", tally.server)] {
        let Seen {
            lines,
            bytes,
            longest,
            not_json,
        } = seen;
        say(format_args!(
            "from the {side}: {lines} lines, {bytes} bytes, the longest {longest}; not JSON: {not_json}"
        ));
    }
    if tally.progress > 0 {
        say(format_args!(
            "notifications of progress: {}",
            tally.progress
        ));
    }
    if tally.late > 0 {
        say(format_args!("answers to cancelled calls: {}", tally.late));
    }
    if tally.not_followed > 0 {
        say(format_args!(
            "messages not followed: {}",
            tally.not_followed
        ));
    }
    text
}
