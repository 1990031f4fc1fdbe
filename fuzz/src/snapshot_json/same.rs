//! The comparison of a printed snapshot with the input, field by field.
//!
//! The input may leave out what can be computed from its buckets, may hold unknown fields, and may
//! write a struct as a list of its fields. So a field is compared only if both have it. A tool or a
//! kind of failure that one of them lacks is a difference.

use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The distances that milliseconds may have from the input: half a nanosecond, to which latencies
/// are rounded, half a microsecond of an uptime, and the rounding of a parser.
const LATENCY_MS: f64 = 0.6e-6;
const UPTIME_MS: f64 = 0.6e-3;
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// Checks that both agree.
///
/// # Panics
///
/// If they differ.
pub(super) fn check_snapshot(given: &Value, printed: &Value) {
    let (Some(given), Some(printed)) = (given.as_object(), printed.as_object()) else {
        return;
    };
    let has_nameless = given.get("nameless").is_some_and(|it| !it.is_null());
    assert_eq!(has_nameless, printed.contains_key("nameless"));
    for (field, given, printed) in common(given, printed) {
        match field {
            "tools" => {
                // This field cannot be left out, and is never a list.
                let (given, printed) = (given.as_object().unwrap(), printed.as_object().unwrap());
                assert!(given.keys().eq(printed.keys()), "other tools");
                for (_, given, printed) in common(given, printed) {
                    check_tool(given, printed);
                }
            }
            "instances" => assert_eq!(set(given), set(printed)),
            "nameless" => check_fields(given, printed, |field, given, printed| match field {
                "stats" => check_tool(given, printed),
                _ => assert_eq!(given, printed, "{field}"),
            }),
            "started_at" | "taken_at" => assert_eq!(time(given), time(printed)),
            "uptime_ms" => check_ms(given, printed, UPTIME_MS),
            _ => assert_eq!(given, printed, "{field}"),
        }
    }
}

/// Returns the fields that both have.
fn common<'a>(
    given: &'a Map<String, Value>,
    printed: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, &'a Value, &'a Value)> {
    let fields = given.iter();
    fields.filter_map(|(field, given)| Some((field.as_str(), given, printed.get(field)?)))
}

fn check_tool(given: &Value, printed: &Value) {
    let (Some(given), Some(printed)) = (given.as_object(), printed.as_object()) else {
        return;
    };
    // Only this field is not printed if it is false.
    let is_retired = |tool: &Map<String, Value>| tool.get("retired") == Some(&Value::Bool(true));
    assert_eq!(is_retired(given), is_retired(printed));
    for (field, given, printed) in common(given, printed) {
        match field {
            "last_error" => check_error(given, printed),
            "last_finished_at" | "registered_at" => assert_eq!(time(given), time(printed)),
            "last_latency_ms" | "total_latency_ms" => check_ms(given, printed, LATENCY_MS),
            "failures_by_kind" => {
                let given = given.as_object().unwrap().iter();
                let given = given.filter(|(_, count)| **count != 0_u64);
                assert!(given.eq(printed.as_object().unwrap()), "other failures");
            }
            "latency_ms" => check_fields(given, printed, |_, given, printed| {
                check_fields(given, printed, check_latency);
            }),
            _ => assert_eq!(given, printed, "{field}"),
        }
    }
}

fn check_error(given: &Value, printed: &Value) {
    assert_eq!(given.is_null(), printed.is_null());
    check_fields(given, printed, |field, given, printed| match field {
        "at" => assert_eq!(time(given), time(printed)),
        _ => assert_eq!(given, printed, "{field}"),
    });
}

fn check_latency(field: &str, given: &Value, printed: &Value) {
    match field {
        "count" | "precision" | "sum_ns" | "buckets" => assert_eq!(given, printed, "{field}"),
        _ => check_ms(given, printed, LATENCY_MS),
    }
}

/// Checks the fields that both have, if both are maps.
fn check_fields(given: &Value, printed: &Value, check: impl Fn(&str, &Value, &Value)) {
    if let (Some(given), Some(printed)) = (given.as_object(), printed.as_object()) {
        for (field, given, printed) in common(given, printed) {
            check(field, given, printed);
        }
    }
}

/// Checks milliseconds, which may be null on both sides.
fn check_ms(given: &Value, printed: &Value, distance: f64) {
    assert_eq!(given.is_null(), printed.is_null());
    if let (Some(given), Some(printed)) = (given.as_f64(), printed.as_f64()) {
        let most = distance + ROUNDING * printed.abs();
        assert!(
            (given - printed).abs() <= most,
            "{given} ms and {printed} ms"
        );
    }
}

/// Returns the names in a list, which may contain a name twice.
fn set(field: &Value) -> BTreeSet<&str> {
    let names = field.as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap()).collect()
}

/// Returns the moment in a field, which may be written in several ways.
fn time(field: &Value) -> Option<Timestamp> {
    field.as_str().map(|text| text.parse().unwrap())
}
