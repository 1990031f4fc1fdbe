use super::*;
use crate::snapshot::Header;
use crate::snapshot::testing::{any_ns, any_snapshot};
use crate::snapshot::tool_stats::LastCall;
use proptest::prelude::*;
use serde_json::{Value, json};

fn latency(precision: u8, sum_ns: u64, buckets: &[(u32, u64)]) -> LatencyStats {
    LatencyStats::new(precision, sum_ns, buckets.to_vec())
}

fn snapshot(tool: ToolStats) -> Snapshot {
    let header = Header {
        instance: "host-1".to_owned(),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_539),
        taken_at: SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 1),
        uptime: Duration::from_micros(61_000_001),
        unknown_tool_calls: 4,
    };
    let tools = BTreeMap::from([(Arc::from("web_search"), Arc::new(tool))]);
    Snapshot::new(header, tools, None)
}

fn idle() -> ToolStats {
    ToolStats {
        in_flight: 0,
        retried: 0,
        recovered: 0,
        rejected: 0,
        last_error: None,
        last_finish: None,
        failures_by_kind: BTreeMap::new(),
        latency: LatencyByOutcome {
            success: latency(5, 0, &[]),
            failure: latency(5, 0, &[]),
            cancelled: latency(5, 0, &[]),
        },
        retired: false,
        registered_at: SystemTime::UNIX_EPOCH,
    }
}

fn round_trip(snapshot: &Snapshot) -> Snapshot {
    serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap()
}

#[test]
fn every_field_has_its_name_and_unit() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
    let busy = ToolStats {
        in_flight: 1,
        retried: 3,
        recovered: 2,
        rejected: 9,
        last_error: Some(LastError {
            kind: ErrorKind::Timeout,
            message: Some("too \"slow\"".to_owned()),
            attempt: 1,
            at,
        }),
        last_finish: Some(LastCall {
            latency: Duration::from_nanos(1_500_001),
            at,
        }),
        failures_by_kind: BTreeMap::from([(ErrorKind::RateLimited, 0), (ErrorKind::Timeout, 3)]),
        latency: LatencyByOutcome {
            success: latency(5, 152_000_000, &[(3, 9), (740, 3)]),
            failure: latency(5, 48_000_000, &[(5, 3)]),
            cancelled: latency(5, 7, &[]),
        },
        retired: true,
        registered_at: at,
    };
    let expected = json!({
        "instances": ["host-1"], "started_at": "2025-12-31T23:58:59Z", "taken_at": "2026-01-01T00:00:00.000000001Z", "uptime_ms": 61000.001,
        "unknown_tool_calls": 4,
        "tools": { "web_search": {
            "success": 12, "failure": 3, "cancelled": 0, "rejected": 9, "in_flight": 1, "retried": 3, "recovered": 2,
            "last_error": { "kind": "timeout", "message": "too \"slow\"", "attempt": 1,
                            "at": "1970-01-01T00:00:01.5Z" },
            "last_latency_ms": 1.500001, "last_finished_at": "1970-01-01T00:00:01.5Z",
            "total_latency_ms": 200.0,
            "failures_by_kind": { "timeout": 3 }, "registered_at": "1970-01-01T00:00:01.5Z",
            "latency_ms": {
                "success": { "count": 12, "min": 0.000003, "mean": 12.666667, "p50": 0.000003,
                             "p90": 155.189247, "p99": 155.189247, "p999": 155.189247, "max": 155.189247,
                             "precision": 5, "sum_ns": 152_000_000, "buckets": [[3, 9], [740, 3]] },
                "failure": { "count": 3, "min": 0.000005, "mean": 16.0, "p50": 0.000005, "p90": 0.000005,
                             "p99": 0.000005, "p999": 0.000005, "max": 0.000005,
                             "precision": 5, "sum_ns": 48_000_000, "buckets": [[5, 3]] },
                "cancelled": { "count": 0, "min": null, "mean": null, "p50": null, "p90": null, "p99": null,
                               "p999": null, "max": null, "precision": 5, "sum_ns": 7, "buckets": [] } },
            "retired": true } } });
    assert_eq!(serde_json::to_value(snapshot(busy)).unwrap(), expected);
}

#[test]
fn tools_without_a_name_are_told_with_their_number() {
    let mut snapshot = snapshot(idle());
    let written = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(written.get("nameless"), None);
    let stats = idle();
    snapshot.nameless = Some(Arc::new(NamelessTools { tools: 12, stats }));
    let written = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(written["nameless"]["tools"], 12);
    assert_eq!(written["nameless"]["stats"], written["tools"]["web_search"]);
    assert_eq!(round_trip(&snapshot), snapshot);
}

#[test]
fn what_is_not_there_is_null_or_left_out() {
    let written = serde_json::to_value(snapshot(idle())).unwrap();
    let tool = written["tools"]["web_search"].as_object().unwrap();
    for null in ["last_error", "last_latency_ms", "last_finished_at"] {
        assert_eq!(tool.get(null), Some(&Value::Null), "{null}");
    }
    assert_eq!(tool["failures_by_kind"], json!({}));
    assert_eq!(tool.get("retired"), None);
}

#[test]
fn what_is_too_large_is_written_as_the_nearest_that_is_not() {
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    let error = LastError {
        kind: ErrorKind::Other,
        message: None,
        attempt: 0,
        at: far,
    };
    let mut snapshot = snapshot(ToolStats {
        last_finish: Some(LastCall {
            latency: Duration::MAX,
            at: far,
        }),
        last_error: Some(error),
        ..idle()
    });
    snapshot.uptime = Duration::MAX;
    snapshot.taken_at = far;
    let read = round_trip(&snapshot);
    assert_eq!(read.uptime, MAX_UPTIME);
    assert_eq!(to_timestamp(read.taken_at), jiff::Timestamp::MAX);
    let tool = read.tool("web_search").unwrap();
    assert_eq!(
        tool.last_latency(),
        Some(Duration::from_nanos(MAX_LATENCY_NS))
    );
    assert_eq!(tool.last_error.as_ref().unwrap().attempt, 1);
    assert_eq!(round_trip(&read), read);
}

/// The neighbours of a positive number: what a parser may make of it.
fn neighbours(ms: f64) -> [f64; 3] {
    [ms.next_down().max(0.0), ms, ms.next_up()]
}

proptest! {
    #[test]
    fn a_snapshot_survives_the_round_trip(snapshot in any_snapshot()) {
        let written = serde_json::to_string(&snapshot).unwrap();
        let read: Snapshot = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&read, &snapshot);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), written.clone());
        let value: Value = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(serde_json::from_value::<Snapshot>(value).unwrap(), snapshot);
    }

    #[test]
    fn nanoseconds_survive_milliseconds_and_a_parser_that_rounds(ns in any_ns()) {
        let ns = ns.min(MAX_LATENCY_NS);
        for ms in neighbours(to_ms(Duration::from_nanos(ns))) {
            prop_assert_eq!(ns_from_ms(ms, MAX_LATENCY_NS), Some(ns));
        }
    }

    #[test]
    fn an_uptime_survives_milliseconds_and_a_parser_that_rounds(below_us in any_ns()) {
        let longest_us = MAX_UPTIME.as_micros() as u64;
        for us in [below_us.min(longest_us), longest_us - below_us.min(longest_us)] {
            for ms in neighbours(us as f64 / 1e3) {
                prop_assert_eq!(uptime_from_ms(ms), Some(Duration::from_micros(us)));
            }
        }
    }
}

#[test]
fn the_ends_of_the_range_survive_and_nothing_beyond_is_taken() {
    let longest = to_ms(Duration::from_nanos(MAX_LATENCY_NS));
    for ms in neighbours(longest) {
        assert_eq!(ns_from_ms(ms, MAX_LATENCY_NS), Some(MAX_LATENCY_NS));
    }
    for refused in [
        -1.0,
        longest + 0.001,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::MAX,
    ] {
        assert_eq!(ns_from_ms(refused, MAX_LATENCY_NS), None);
        assert_eq!(uptime_from_ms(refused * 1e6), None);
    }
    assert_eq!(ns_from_ms(-0.0, MAX_LATENCY_NS), Some(0));
}
