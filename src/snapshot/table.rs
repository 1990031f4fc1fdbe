//! `Display` of a [`Snapshot`]: a summary line, and a table with one row for each tool.
//!
//! Latencies in the table are those of successful calls: failures are often fast, so a mixture would
//! flatter a tool that fails. A snapshot may have been read from anywhere, so every text is escaped
//! here, even if it was escaped before.

use super::Snapshot;
use super::tool_stats::{LastError, ToolStats};
use super::wall_time::to_timestamp;
use crate::text::escaped;
use comfy_table::{CellAlignment, Table};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The longest error message in a row and the longest list of instances, in bytes.
const MAX_TEXT_BYTES: usize = 60;

const HEADER: [&str; 13] = [
    "tool",
    "success",
    "failure",
    "cancelled",
    "rejected",
    "in flight",
    "retried",
    "recovered",
    "mean",
    "p50",
    "p99",
    "max",
    "last error",
];

/// The columns with numbers, which are aligned to the right.
const NUMBERS: std::ops::Range<usize> = 1..HEADER.len() - 1;

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} at {:.3}, up {}, {} calls of unknown tools; latencies are those of successful calls",
            shortened(&instances(&self.instances)),
            to_timestamp(self.taken_at),
            human_duration(self.uptime),
            self.unknown_tool_calls,
        )?;
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::ASCII_MARKDOWN)
            .set_header(HEADER);
        for (name, stats) in &self.tools {
            table.add_row(row(name, stats));
        }
        if let Some(nameless) = &self.nameless {
            let name = format!("{} tools that are gone", nameless.tools);
            table.add_row(row(&name, &nameless.stats));
        }
        for index in NUMBERS {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}")
    }
}

fn row(name: &str, stats: &ToolStats) -> [String; HEADER.len()] {
    let latency = &stats.latency.success;
    let or_dash =
        |latency: Option<Duration>| latency.map_or_else(|| "-".to_owned(), human_duration);
    let mut name = escaped(name, usize::MAX);
    if stats.retired {
        name.push_str(" (retired)");
    }
    [
        name,
        stats.success().to_string(),
        stats.failure().to_string(),
        stats.cancelled().to_string(),
        stats.rejected.to_string(),
        stats.in_flight.to_string(),
        stats.retried.to_string(),
        stats.recovered.to_string(),
        or_dash(latency.mean()),
        or_dash(latency.p50()),
        or_dash(latency.p99()),
        or_dash(latency.max()),
        stats
            .last_error
            .as_ref()
            .map_or_else(String::new, last_error),
    ]
}

fn last_error(error: &LastError) -> String {
    match &error.message {
        Some(message) => format!("{}: {}", error.kind, shortened(message)),
        None => error.kind.to_string(),
    }
}

/// Returns the names of all hosts as a list.
fn instances(names: &BTreeSet<String>) -> String {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    names.join(", ")
}

/// Returns the text, escaped, with an ellipsis if it had to be cut.
fn shortened(text: &str) -> String {
    // Escaping a little more shows whether there is more, without escaping megabytes of text.
    let mut short = escaped(text, MAX_TEXT_BYTES);
    if escaped(text, MAX_TEXT_BYTES + 16).len() > short.len() {
        short.push('…');
    }
    short
}

/// Returns a duration with 3 significant digits in the unit that fits, as `7 ns`, `1.50 us` or
/// `152 ms`; from 1,000 s on, in whole seconds.
fn human_duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 3] = [("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let ns = duration.as_nanos();
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    for (unit, unit_ns) in UNITS {
        // Rounding may carry into a fourth digit: 999.6 us has no decimal, and is 1.00 ms.
        for decimals in [2_usize, 1, 0] {
            let scale = 10_u128.pow(decimals as u32);
            let rounded = (ns * scale + unit_ns / 2) / unit_ns;
            if rounded >= 1_000 {
                continue;
            }
            return match decimals {
                0 => format!("{rounded} {unit}"),
                _ => format!("{}.{:0decimals$} {unit}", rounded / scale, rounded % scale),
            };
        }
    }
    format!("{} s", (ns + 500_000_000) / 1_000_000_000)
}

#[cfg(all(test, feature = "serde", not(toolmeter_loom)))]
mod tests;
