use super::*;
use crate::snapshot::testing::{any_snapshot, any_tool};
use proptest::prelude::*;

fn snapshot(tools: &str) -> Snapshot {
    let json = format!(
        r#"{{ "instances": ["host-1"], "started_at": "2025-12-31T23:58:59Z", "taken_at": "2026-01-01T00:00:00.0005Z", "uptime_ms": 61000.0,
              "unknown_tool_calls": 2, "tools": {tools} }}"#
    );
    serde_json::from_str(&json).unwrap()
}

const IDLE: &str = r#"{ "precision": 5, "sum_ns": 0, "buckets": [] }"#;

#[test]
fn one_line_for_the_whole_and_one_row_for_each_tool() {
    let tools = format!(
        r#"{{ "read_file": {{ "in_flight": 0, "retried": 0, "recovered": 0, "rejected": 7, "last_error": null,
               "registered_at": "2026-01-01T00:00:00Z",
               "failures_by_kind": {{}}, "retired": true,
               "latency_ms": {{ "success": {IDLE}, "failure": {IDLE}, "cancelled": {IDLE} }} }},
             "web_search": {{ "in_flight": 1, "retried": 3, "recovered": 2, "rejected": 0,
               "registered_at": "2026-01-01T00:00:00Z",
               "last_error": {{ "kind": "timeout", "message": "no answer", "attempt": 1, "at": "2026-01-01T00:00:00Z" }},
               "failures_by_kind": {{ "timeout": 3 }},
               "latency_ms": {{
                 "success": {{ "precision": 5, "sum_ns": 152000000, "buckets": [[3, 9], [740, 3]] }},
                 "failure": {{ "precision": 5, "sum_ns": 48000000, "buckets": [[5, 3]] }},
                 "cancelled": {IDLE} }} }} }}"#
    );
    let expected = "\
host-1 at 2026-01-01T00:00:00.000Z, up 61.0 s, 2 calls of unknown tools; latencies are those of successful calls
| tool                | success | failure | cancelled | rejected | in flight | retried | recovered |    mean |  p50 |    p99 |    max | last error         |
|---------------------|---------|---------|-----------|----------|-----------|---------|-----------|---------|------|--------|--------|--------------------|
| read_file (retired) |       0 |       0 |         0 |        7 |         0 |       0 |         0 |       - |    - |      - |      - |                    |
| web_search          |      12 |       3 |         0 |        0 |         1 |       3 |         2 | 12.7 ms | 3 ns | 155 ms | 155 ms | timeout: no answer |";
    let printed = snapshot(&tools).to_string();
    assert_eq!(printed, expected, "printed:\n{printed}");
}

#[test]
fn without_a_tool_there_is_the_header() {
    let printed = snapshot("{}").to_string();
    assert_eq!(printed.lines().count(), 3, "{printed}");
    assert!(printed.lines().nth(1).unwrap().starts_with("| tool "));
}

#[test]
fn durations_have_three_digits_and_the_unit_that_fits() {
    for (ns, expected) in [
        (0, "0 ns"),
        (7, "7 ns"),
        (999, "999 ns"),
        (1_000, "1.00 us"),
        (1_005, "1.01 us"),
        (12_345, "12.3 us"),
        (99_949, "99.9 us"),
        (99_950, "100 us"),
        (999_499, "999 us"),
        (999_500, "1.00 ms"),
        (152_000_000, "152 ms"),
        (999_999_999, "1.00 s"),
        (61_000_000_000, "61.0 s"),
        (999_499_999_999, "999 s"),
        (999_500_000_000, "1000 s"),
        (281_474_976_710_655, "281475 s"),
    ] {
        assert_eq!(
            human_duration(Duration::from_nanos(ns)),
            expected,
            "{ns} ns"
        );
    }
    assert_eq!(human_duration(Duration::MAX), "18446744073709551616 s");
}

#[test]
fn a_long_text_is_cut_and_says_so() {
    assert_eq!(shortened("short"), "short");
    let fits = "a".repeat(MAX_TEXT_BYTES);
    assert_eq!(shortened(&fits), fits);
    assert_eq!(shortened(&format!("{fits}b")), format!("{fits}…"));
    assert_eq!(shortened(&format!("{fits}\u{7}")), format!("{fits}…"));
    assert_eq!(shortened("a\nb"), "a\\nb");
}

proptest! {
    #[test]
    fn whatever_the_texts_hold_there_is_one_line_for_each_tool(
        mut snapshot in any_snapshot(), name in any::<String>(), tool in any_tool(),
    ) {
        snapshot.tools.insert(name.into(), tool.into());
        let printed = snapshot.to_string();
        let rows = snapshot.tools.len() + usize::from(snapshot.nameless.is_some());
        prop_assert_eq!(printed.lines().count(), 3 + rows);
        prop_assert!(!printed.chars().any(|character| character.is_control() && character != '\n'));
    }
}
