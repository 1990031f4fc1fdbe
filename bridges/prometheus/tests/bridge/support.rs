//! Pages and snapshots as the same kind of thing: a number for each series.

use openmetrics_parser::{PrometheusValue, prometheus::parse_prometheus};
use std::collections::BTreeMap;
use toolmeter::{ErrorKind, LatencyStats, Snapshot};
use toolmeter_prometheus::prometheus_client::{encoding::prometheus_text, registry};

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

/// A bound as it stands in [`key`], whoever wrote the number.
pub(crate) fn le(bound: f64) -> String {
    if bound.is_infinite() {
        "+Inf".to_owned()
    } else {
        bound.to_string()
    }
}

/// The page that is served for these metrics.
pub(crate) fn page(metrics: &registry::Registry) -> String {
    let mut page = String::new();
    prometheus_text::encode(&mut page, metrics).unwrap();
    page
}

/// What another implementation reads in a page. It refuses series that are there twice, counts that
/// do not ascend with `le`, and escapes that the format does not have.
pub(crate) fn parsed(page: &str) -> Series {
    let mut series = Series::new();
    for (name, family) in parse_prometheus(page).unwrap().families {
        for sample in family.iter_samples() {
            let labels = sample.get_labelset().unwrap();
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let mut put = |name: &str, bound: Option<f64>, number: f64| {
                let bound = bound.map(le);
                let mut labels = labels.clone();
                labels.extend(bound.iter().map(|bound| ("le", bound.as_str())));
                let before = series.insert(key(name, labels), number);
                assert_eq!(before, None, "{name} twice");
            };
            match &sample.value {
                PrometheusValue::Counter(counter) => put(&name, None, counter.value.as_f64()),
                PrometheusValue::Gauge(gauge) => put(&name, None, gauge.as_f64()),
                PrometheusValue::Histogram(histogram) => {
                    for bucket in &histogram.buckets {
                        let count = bucket.count.as_f64();
                        put(&format!("{name}_bucket"), Some(bucket.upper_bound), count);
                    }
                    let sum = histogram.sum.unwrap().as_f64();
                    put(&format!("{name}_sum"), None, sum);
                    let count = histogram.count.unwrap();
                    put(&format!("{name}_count"), None, count as f64);
                }
                other => panic!("{name} is {other:?}"),
            }
        }
    }
    series
}

/// What a page must say of the tools of a snapshot, worked out here from its public numbers alone.
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

/// Fails unless all that a snapshot says is there, and whatever else its tools have is zero.
pub(crate) fn assert_same(found: &Series, snapshot: &Snapshot) {
    let expected = expected(snapshot);
    for (key, number) in &expected {
        assert_eq!(found.get(key), Some(number), "{key}");
    }
    for (key, &number) in found {
        if key.contains("\"tool\"") && !expected.contains_key(key) {
            assert_eq!(number, 0.0, "{key}");
        }
    }
}
