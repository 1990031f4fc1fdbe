//! The numbers of a snapshot as series of Prometheus, worked out from its public numbers alone: what an
//! engine, or another parser, must have read if nothing went wrong on the way.

use crate::engine::Sample;
use std::collections::BTreeMap;
use toolmeter::{ErrorKind, LatencyStats, Snapshot};

/// The exponents of the default bounds.
pub(crate) const EXPONENTS: std::ops::RangeInclusive<u32> = 20..=38;

/// A number for each series, by its name and labels.
pub(crate) type Series = BTreeMap<String, f64>;

/// The name of a series: labels sorted, and without those that are empty, as in Prometheus.
pub(crate) fn key<'a>(
    metric: &str,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let labels: BTreeMap<&str, &str> = labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    format!("{metric}{labels:?}")
}

/// A bound as it stands in [`key`], the same for each way to write the number.
pub(crate) fn le(bound: f64) -> String {
    if bound.is_infinite() {
        "+Inf".to_owned()
    } else {
        bound.to_string()
    }
}

/// Returns the series that a page must have of the tools of a snapshot, computed from its public numbers
/// alone.
/// Series of histograms without a call are left out.
pub(crate) fn expected(snapshot: &Snapshot) -> Series {
    let mut series = Series::new();
    for (tool, stats) in &snapshot.tools {
        let mut call = |outcome, error_type, count: u64| {
            let labels = [
                ("tool", &**tool),
                ("outcome", outcome),
                ("error_type", error_type),
            ];
            series.insert(key("toolmeter_calls_total", labels), count as f64);
        };
        call("success", "", stats.success());
        call("cancelled", "cancelled", stats.cancelled());
        call("rejected", "rejected", stats.rejected);
        for kind in ErrorKind::ALL {
            let count = stats.failures_by_kind.get(&kind).copied().unwrap_or(0);
            let error_type = match kind {
                ErrorKind::Other => "_OTHER",
                kind => kind.as_str(),
            };
            call("failure", error_type, count);
        }
        for (name, count) in [
            ("toolmeter_in_flight", stats.in_flight),
            ("toolmeter_retried_total", stats.retried),
            ("toolmeter_recovered_total", stats.recovered),
        ] {
            series.insert(key(name, [("tool", &**tool)]), count as f64);
        }
        for (outcome, latency) in [
            ("success", &stats.latency.success),
            ("failure", &stats.latency.failure),
            ("cancelled", &stats.latency.cancelled),
        ] {
            if latency.count() > 0 {
                histogram(&mut series, tool, outcome, latency);
            }
        }
    }
    let unknown = snapshot.unknown_tool_calls as f64;
    series.insert(key("toolmeter_unknown_calls_total", []), unknown);
    series
}

fn histogram(series: &mut Series, tool: &str, outcome: &str, latency: &LatencyStats) {
    const NAME: &str = "toolmeter_call_duration_seconds";
    let labels = [("tool", tool), ("outcome", outcome)];
    for exponent in EXPONENTS {
        let greatest = (1_u64 << exponent) - 1;
        let within = latency.buckets().iter().filter(|(index, _)| {
            let (_, upper) = latency.bucket_bounds(*index).unwrap();
            upper.as_nanos() <= u128::from(greatest)
        });
        let count: u64 = within.map(|bucket| bucket.1).sum();
        let le = le(greatest as f64 / 1e9);
        let labels = labels.into_iter().chain([("le", le.as_str())]);
        series.insert(key(&format!("{NAME}_bucket"), labels), count as f64);
    }
    let count = latency.count() as f64;
    let all = labels.into_iter().chain([("le", "+Inf")]);
    series.insert(key(&format!("{NAME}_bucket"), all), count);
    series.insert(key(&format!("{NAME}_count"), labels), count);
    let sum = latency.sum().as_secs_f64();
    series.insert(key(&format!("{NAME}_sum"), labels), sum);
}

/// Returns the answer of an engine, by the same names.
pub(crate) fn found(samples: &[Sample]) -> Series {
    let of = |sample: &Sample| {
        let metric = sample.labels.get("__name__").map_or("", String::as_str);
        let bound = sample.labels.get("le");
        let bound = bound.map(|text| text.parse().map_or_else(|_| text.clone(), le));
        let labels = sample
            .labels
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "__name__" | "instance" | "job" | "le"))
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let bound = bound.iter().map(|bound| ("le", bound.as_str()));
        (key(metric, labels.chain(bound)), sample.value)
    };
    samples.iter().map(of).collect()
}

/// What is not as a snapshot says, or is there of its tools and not zero. Sums of seconds are of
/// floats, which are added in any order: they may differ in their last digits.
pub(crate) fn differences(found: &Series, expected: &Series) -> Vec<String> {
    let is_same = |key: &str, found: f64, expected: f64| {
        let tolerance = if key.contains("_sum{") { 1e-12 } else { 0.0 };
        (found - expected).abs() <= tolerance * expected.abs()
    };
    let wrong = expected.iter().filter_map(|(key, &number)| {
        let there = found.get(key).copied();
        (!there.is_some_and(|there| is_same(key, there, number)))
            .then(|| format!("{key} is {there:?} and should be {number}"))
    });
    let more = found
        .iter()
        .filter(|&(key, &number)| {
            key.contains("\"tool\"") && number != 0.0 && !expected.contains_key(key)
        })
        .map(|(key, number)| format!("{key} is {number} and should not be there"));
    wrong.chain(more).collect()
}
