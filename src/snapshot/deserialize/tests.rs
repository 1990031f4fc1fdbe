use super::*;
use crate::snapshot::testing::any_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

fn latency() -> Value {
    json!({ "count": 4, "min": 0.000003, "mean": 0.000004, "p50": 0.000003, "p90": 0.000005,
            "p99": 0.000005, "p999": 0.000005, "max": 0.000005,
            "precision": 5, "sum_ns": 16, "buckets": [[3, 2], [5, 2]] })
}

fn snapshot() -> Value {
    json!({ "instances": ["host-1"], "started_at": "2025-12-31T23:58:59Z", "taken_at": "2026-01-01T00:00:00Z", "uptime_ms": 61000.0,
            "unknown_tool_calls": 0,
            "tools": { "x": {
                "success": 4, "failure": 4, "cancelled": 4, "rejected": 1, "in_flight": 0, "retried": 0, "recovered": 0,
                "last_error": { "kind": "timeout", "message": "..", "attempt": 1, "at": "2026-01-01T00:00:00Z" },
                "last_latency_ms": 0.5, "last_finished_at": "2026-01-01T00:00:00Z",
                "total_latency_ms": 0.000032, "failures_by_kind": { "timeout": 4 },
                "registered_at": "2025-12-31T23:58:59Z",
                "latency_ms": { "success": latency(), "failure": latency(), "cancelled": latency() } } } })
}

fn read(value: &Value) -> Result<Snapshot, serde_json::Error> {
    serde_json::from_str(&value.to_string())
}

/// The error when the field at `pointer` is replaced.
fn refused(pointer: &str, replacement: Value) -> String {
    let mut value = snapshot();
    *value.pointer_mut(pointer).unwrap() = replacement;
    read(&value).unwrap_err().to_string()
}

const SUCCESS: &str = "/tools/x/latency_ms/success";

#[test]
fn all_given_and_nothing_that_follows_read_the_same() {
    let whole = read(&snapshot()).unwrap();
    let mut least = snapshot();
    let tool = least["tools"]["x"].as_object_mut().unwrap();
    for field in ["success", "failure", "cancelled", "total_latency_ms"] {
        tool.remove(field).unwrap();
    }
    for outcome in ["success", "failure", "cancelled"] {
        let latency = tool["latency_ms"][outcome].as_object_mut().unwrap();
        for field in ["count", "min", "mean", "p50", "p90", "p99", "p999", "max"] {
            latency.remove(field).unwrap();
        }
    }
    least["unheard_of"] = json!([1]);
    assert_eq!(read(&least).unwrap(), whole);
}

#[test]
fn what_follows_from_the_buckets_must_agree_with_them() {
    for field in ["min", "mean", "p50", "p90", "p99", "p999", "max"] {
        for wrong in [json!(1.5), json!(null), json!(-0.000004)] {
            let error = refused(&format!("{SUCCESS}/{field}"), wrong);
            let named = format!("`tools.x.latency_ms.success.{field}` is ");
            assert!(
                error.starts_with(&named) && error.contains("buckets say"),
                "{error}"
            );
        }
    }
    for wrong in [json!(3), json!(null)] {
        let error = refused(&format!("{SUCCESS}/count"), wrong);
        assert!(
            error.starts_with("`tools.x.latency_ms.success.count` is "),
            "{error}"
        );
    }
    for (field, wrong) in [
        ("success", json!(5)),
        ("failure", json!(0)),
        ("cancelled", json!(3)),
    ] {
        let error = refused(&format!("/tools/x/{field}"), wrong);
        assert!(
            error.starts_with(&format!("`tools.x.{field}` is ")),
            "{error}"
        );
    }
    let error = refused("/tools/x/total_latency_ms", json!(0.000048));
    assert!(
        error.starts_with("`tools.x.total_latency_ms` is "),
        "{error}"
    );
}

#[test]
fn without_a_call_there_is_nothing_to_give() {
    let mut value = snapshot();
    let latency = value.pointer_mut(SUCCESS).unwrap();
    *latency = json!({ "precision": 5, "sum_ns": 16, "buckets": [], "p50": null, "count": 0 });
    value["tools"]["x"]["success"] = json!(0);
    assert_eq!(read(&value).unwrap().tool("x").unwrap().success(), 0);
    value["tools"]["x"]["latency_ms"]["success"]["p50"] = json!(0.0);
    let error = read(&value).unwrap_err().to_string();
    assert!(
        error.contains("p50` is 0, but the buckets say null"),
        "{error}"
    );
}

#[test]
fn buckets_are_in_range_ascending_and_not_empty() {
    let buckets = format!("{SUCCESS}/buckets");
    for (wrong, told) in [
        (
            json!([[1408, 1]]),
            "holds index 1408, but with precision 5 the last is 1407",
        ),
        (json!([[u32::MAX, 1]]), "holds index 4294967295"),
        (json!([[3, 2], [3, 2]]), "holds index 3 after 3"),
        (json!([[5, 2], [3, 2]]), "holds index 3 after 5"),
        (json!([[3, 2], [4, 0]]), "holds a count of 0 at index 4"),
    ] {
        let error = refused(&buckets, wrong);
        let named = format!("`tools.x.latency_ms.success.buckets` {told}");
        assert!(error.starts_with(&named), "{error}");
    }
    for wrong in [
        json!([[-1, 1]]),
        json!([[1]]),
        json!([[1, 2, 3]]),
        json!([[1.5, 1]]),
        json!(null),
    ] {
        refused(&buckets, wrong);
    }
    for precision in [0, 2, 8, 256, 261] {
        let error = refused(&format!("{SUCCESS}/precision"), json!(precision));
        let told = format!("`tools.x.latency_ms.success.precision` is {precision}: use 3 to 7");
        assert!(error.starts_with(&told), "{error}");
    }
}

#[test]
fn each_field_that_is_wrong_is_named() {
    for (pointer, wrong, told) in [
        (
            "/taken_at",
            json!("yesterday"),
            "`taken_at` is `yesterday`, which is not a time",
        ),
        (
            "/taken_at",
            json!("12026-01-01T00:00:00Z"),
            "`taken_at` is `12026",
        ),
        (
            "/taken_at",
            json!("\u{1b}[2J"),
            "`taken_at` is `\\u{1b}[2J`",
        ),
        (
            "/started_at",
            json!("then"),
            "`started_at` is `then`, which is not a time",
        ),
        (
            "/tools/x/registered_at",
            json!("then"),
            "`tools.x.registered_at` is `then`, which is not a time",
        ),
        ("/uptime_ms", json!(-1), "`uptime_ms` is -1 ms: use 0 to "),
        ("/uptime_ms", json!(1e300), "`uptime_ms` is 1000000"),
        (
            "/tools/x/last_latency_ms",
            json!(3e8),
            "`tools.x.last_latency_ms` is 300000000 ms: use 0 to 281474976.710655 ms",
        ),
        (
            "/tools/x/last_latency_ms",
            json!(null),
            "`tools.x.last_latency_ms` must be given if `last_finished_at` is",
        ),
        (
            "/tools/x/last_finished_at",
            json!(null),
            "`tools.x.last_finished_at` must be given if `last_latency_ms` is",
        ),
        (
            "/tools/x/last_finished_at",
            json!(""),
            "`tools.x.last_finished_at` is ``, which is not a time",
        ),
        (
            "/tools/x/last_error/kind",
            json!("Timeout"),
            "`tools.x.last_error.kind` is `Timeout`",
        ),
        (
            "/tools/x/last_error/attempt",
            json!(0),
            "`tools.x.last_error.attempt` is 0",
        ),
        (
            "/tools/x/last_error/at",
            json!("2026"),
            "`tools.x.last_error.at` is `2026`",
        ),
        (
            "/tools/x/failures_by_kind",
            json!({ "boom": 1 }),
            "`tools.x.failures_by_kind` is `boom`",
        ),
        (
            "/tools",
            json!([]),
            "invalid type: sequence, expected a map from the names of tools",
        ),
    ] {
        let error = refused(pointer, wrong);
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn a_name_has_1_to_256_bytes_and_is_there_once() {
    let named = |name: &str| {
        let mut value = snapshot();
        let tool = value["tools"]["x"].take();
        value["tools"] = Value::Object([(name.to_owned(), tool)].into_iter().collect());
        read(&value)
    };
    let longest = "n".repeat(256);
    assert_eq!(
        named(&longest).unwrap().tool(&longest).unwrap().success(),
        4
    );
    for (name, bytes) in [
        (String::new(), 0),
        ("n".repeat(257), 257),
        ("é".repeat(129), 258),
    ] {
        let error = named(&name).unwrap_err().to_string();
        assert!(
            error.contains(&format!("has a name of {bytes} bytes: use 1 to 256")),
            "{error}"
        );
    }
    let tool = snapshot()["tools"]["x"].to_string();
    let twice = snapshot()
        .to_string()
        .replace(&tool, &format!("{tool},\"x\":{tool}"));
    let error = serde_json::from_str::<Snapshot>(&twice)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("`tools.x` is there twice"), "{error}");
}

#[test]
fn a_kind_that_did_not_occur_is_left_out() {
    let mut value = snapshot();
    value["tools"]["x"]["failures_by_kind"]["panic"] = json!(0);
    let tool = read(&value).unwrap();
    let kinds = &tool.tool("x").unwrap().failures_by_kind;
    assert_eq!(kinds, &BTreeMap::from([(ErrorKind::Timeout, 4)]));
}

#[test]
fn counts_beyond_64_bits_do_no_harm() {
    let mut value = snapshot();
    let buckets = json!([[0, u64::MAX], [1, u64::MAX], [1407, u64::MAX]]);
    let extreme = json!({ "precision": 5, "sum_ns": u64::MAX, "buckets": buckets });
    value["tools"]["x"]["latency_ms"] =
        json!({ "success": extreme, "failure": extreme, "cancelled": extreme });
    let tool = value["tools"]["x"].as_object_mut().unwrap();
    tool.retain(|field, _| {
        !["success", "failure", "cancelled", "total_latency_ms"].contains(&field.as_str())
    });
    tool["in_flight"] = json!(u64::MAX);
    let mut snapshot = read(&value).unwrap();
    assert_eq!(
        read(&serde_json::to_value(&snapshot).unwrap()).unwrap(),
        snapshot
    );
    snapshot.merge(&snapshot.clone());
    let stats = snapshot.tool("x").unwrap();
    assert_eq!((stats.finished(), stats.in_flight), (u64::MAX, u64::MAX));
    #[cfg(feature = "hdrhistogram")]
    assert_eq!(stats.latency.success.to_hdr().max(), (1 << 48) - 1);
    #[cfg(feature = "table")]
    assert!(snapshot.to_string().contains("18446744073709551615"));
}

/// Somewhere in the tree, a value is replaced or a key is removed.
fn damage(value: &mut Value, path: &[usize], replacement: &Value) {
    let Some((&step, rest)) = path.split_first() else {
        *value = replacement.clone();
        return;
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(step % map.len()).unwrap().clone();
            damage(&mut map[&key], rest, replacement);
        }
        Value::Array(items) if !items.is_empty() => {
            let place = step % items.len();
            damage(&mut items[place], rest, replacement);
        }
        other => *other = replacement.clone(),
    }
}

proptest! {
    #[test]
    fn damaged_input_is_refused_or_reads_the_same_again(
        snapshot in any_snapshot(),
        path in prop::collection::vec(any::<usize>(), 1..7),
        replacement in prop_oneof![
            Just(Value::Null), any::<u64>().prop_map(Value::from), any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from), any::<String>().prop_map(Value::from),
            Just(json!([[0, 1]])), Just(json!({})),
        ],
    ) {
        let mut value = serde_json::to_value(&snapshot).unwrap();
        damage(&mut value, &path, &replacement);
        if let Ok(accepted) = read(&value) {
            let written = serde_json::to_string(&accepted).unwrap();
            let again: Snapshot = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(&again, &accepted);
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), written);
            #[cfg(feature = "table")]
            let _ = accepted.to_string();
        }
    }

    #[test]
    fn any_text_is_refused_or_read(text in any::<String>()) {
        prop_assert!(serde_json::from_str::<Snapshot>(&text).is_err());
    }
}
