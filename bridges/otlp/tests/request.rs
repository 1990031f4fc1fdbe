//! A request compared with the registry: numbers, attributes and times.

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
    NumberDataPoint, metric::Data, number_data_point,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use toolmeter::{
    ClockSource, ErrorKind, LatencyBounds, LatencyStats, ManualClock, Pump, Registry,
    RegistryBuilder,
};
use toolmeter_otlp::prost::Message;
use toolmeter_otlp::{Exponential, ExportMetricsServiceRequest, OtlpMetrics, opentelemetry_proto};

const MS: Duration = Duration::from_millis(1);
/// When the hosts of these tests are built, in nanoseconds since 1970.
const BUILT: u64 = 1_800_000_000_000_000_000;

/// A host whose clock and time of day the test sets.
struct Host {
    registry: Registry,
    clock: Arc<ManualClock>,
    wall: Arc<AtomicU64>,
}

impl Host {
    fn new() -> Self {
        Self::of(Registry::builder())
    }

    fn of(builder: RegistryBuilder) -> Self {
        let clock = Arc::new(ManualClock::new());
        let wall = Arc::new(AtomicU64::new(BUILT));
        let read = Arc::clone(&wall);
        let registry = builder
            .clock(ClockSource::Manual(Arc::clone(&clock)))
            .wall_clock(move || UNIX_EPOCH + Duration::from_nanos(read.load(Ordering::Relaxed)))
            .pump(Pump::manual())
            .build()
            .unwrap();
        Self {
            registry,
            clock,
            wall,
        }
    }

    /// Lets time pass.
    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        let ns = time.as_nanos() as u64;
        self.wall.fetch_add(ns, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.wall.load(Ordering::Relaxed)
    }
}

/// A request, sent and received.
fn request(metrics: &OtlpMetrics) -> ExportMetricsServiceRequest {
    let request = metrics.request().unwrap();
    let bytes = metrics.encode().unwrap();
    let received = ExportMetricsServiceRequest::decode(&*bytes).unwrap();
    // Times differ if the host's clock goes on; in these tests it does not.
    assert_eq!(request, received);
    received
}

fn metrics(request: &ExportMetricsServiceRequest) -> &[Metric] {
    let [resource] = &request.resource_metrics[..] else {
        panic!("one resource")
    };
    let [scope] = &resource.scope_metrics[..] else {
        panic!("one scope")
    };
    &scope.metrics
}

fn find<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Metric {
    let metrics = metrics(request);
    let mut found = metrics.iter().filter(|metric| metric.name == name);
    let metric = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "two of {name}");
    metric
}

fn numbers<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a [NumberDataPoint] {
    match find(request, name).data.as_ref().unwrap() {
        Data::Sum(sum) => {
            assert_eq!(
                sum.aggregation_temporality(),
                AggregationTemporality::Cumulative
            );
            assert_eq!(sum.is_monotonic, name != "toolmeter.in_flight");
            &sum.data_points
        }
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{name} is no number: {other:?}"),
    }
}

fn explicit<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a [HistogramDataPoint] {
    let Some(Data::Histogram(histogram)) = &find(request, name).data else {
        panic!("{name} is no histogram")
    };
    assert_eq!(
        histogram.aggregation_temporality(),
        AggregationTemporality::Cumulative
    );
    &histogram.data_points
}

fn exponential(request: &ExportMetricsServiceRequest) -> &[ExponentialHistogramDataPoint] {
    let Some(Data::ExponentialHistogram(histogram)) =
        &find(request, "toolmeter.call.duration").data
    else {
        panic!("no exponential histogram")
    };
    assert_eq!(
        histogram.aggregation_temporality(),
        AggregationTemporality::Cumulative
    );
    &histogram.data_points
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<&str, &str> {
    let pairs = attributes.iter().map(|attribute| {
        let value = attribute
            .value
            .as_ref()
            .and_then(|value| value.value.as_ref());
        let Some(Value::StringValue(value)) = value else {
            panic!("no text: {attribute:?}")
        };
        (&*attribute.key, &**value)
    });
    let found: BTreeMap<_, _> = pairs.collect();
    assert_eq!(found.len(), attributes.len(), "a key is there twice");
    found
}

fn value(point: &NumberDataPoint) -> i64 {
    match point.value {
        Some(number_data_point::Value::AsInt(value)) => value,
        _ => panic!("no whole number: {point:?}"),
    }
}

/// The calls of each tool, outcome and kind.
fn calls(request: &ExportMetricsServiceRequest) -> BTreeMap<[String; 3], i64> {
    let points = numbers(request, "toolmeter.calls").iter();
    let all = points.map(|point| {
        let attributes = attributes(&point.attributes);
        let of = |key: &str| attributes.get(key).copied().unwrap_or_default().to_owned();
        let key = ["gen_ai.tool.name", "toolmeter.outcome", "error.type"].map(of);
        (key, value(point))
    });
    all.collect()
}

fn ended(tool: &str, outcome: &str, error_type: &str) -> [String; 3] {
    [tool, outcome, error_type].map(str::to_owned)
}

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn the_host_and_the_scope_are_named() {
    let host = Host::new();
    let metrics = OtlpMetrics::new(&host.registry)
        .service_name("agent-host")
        .resource_attribute("host.name", "a");
    let request = request(&metrics);
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    let expected = [
        ("host.name", "a"),
        ("service.instance.id", host.registry.instance_id()),
        ("service.name", "agent-host"),
    ];
    assert_eq!(attributes(&resource.attributes), expected.into());
    let scope = request.resource_metrics[0].scope_metrics[0].scope.as_ref();
    let scope = scope.unwrap();
    assert_eq!(scope.name, "toolmeter-otlp");
    assert_eq!(scope.version, env!("CARGO_PKG_VERSION"));

    let unnamed = self::request(&OtlpMetrics::new(&host.registry));
    let resource = unnamed.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(
        attributes(&resource.attributes)["service.name"],
        "unknown_service"
    );
}

#[test]
fn every_outcome_and_kind_is_counted() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let mut expected = BTreeMap::new();
    for (number, kind) in (1..).zip(ErrorKind::ALL) {
        for _ in 0..number {
            tool.call().attempt(2).start().fail(kind, "no");
        }
        let name = if kind == ErrorKind::Other {
            "_OTHER"
        } else {
            kind.as_str()
        };
        expected.insert(ended("tool", "failure", name), number);
    }
    tool.call().attempt(3).start().succeed();
    tool.start().cancel();
    tool.start().cancel();
    for _ in 0..3 {
        tool.call().reject("denied");
    }
    host.registry.unknown_call("teleport").count();
    let running = tool.start();
    expected.extend([
        (ended("tool", "success", ""), 1),
        (ended("tool", "cancelled", "cancelled"), 2),
        (ended("tool", "rejected", "rejected"), 3),
    ]);
    let metrics = OtlpMetrics::new(&host.registry);
    let request = request(&metrics);
    assert_eq!(calls(&request), expected);

    let one = |name| {
        let [point] = numbers(&request, name) else {
            panic!("one point of {name}")
        };
        value(point)
    };
    assert_eq!(one("toolmeter.in_flight"), 1);
    assert_eq!(one("toolmeter.retried"), 56);
    assert_eq!(one("toolmeter.recovered"), 1);
    assert_eq!(one("toolmeter.unknown_calls"), 1);
    assert_eq!(one("toolmeter.events.offered"), 0);
    assert_eq!(one("toolmeter.events.lost"), 0);
    // Calls that were rejected are in no histogram.
    let counts: BTreeMap<_, _> = explicit(&request, "toolmeter.call.duration")
        .iter()
        .map(|point| {
            (
                attributes(&point.attributes)["toolmeter.outcome"],
                point.count,
            )
        })
        .collect();
    assert_eq!(
        counts,
        [("cancelled", 2), ("failure", 55), ("success", 1)].into()
    );
    running.succeed();
}

#[test]
fn events_are_accounted_for() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let events = host.registry.subscribe();
    host.registry.shutdown();
    tool.start().succeed();
    let accounting = host.registry.event_accounting();
    let request = request(&OtlpMetrics::new(&host.registry));
    let [offered] = numbers(&request, "toolmeter.events.offered") else {
        panic!("one point")
    };
    let [lost] = numbers(&request, "toolmeter.events.lost") else {
        panic!("one point")
    };
    assert_eq!(value(offered) as u64, accounting.offered);
    assert_eq!(value(lost) as u64, accounting.lost_in_rings);
    assert!(accounting.lost_in_rings > 0);
    drop(events);
}

#[test]
fn a_tool_that_comes_back_continues_from_its_first_start() {
    let host = Host::new();
    let metrics = OtlpMetrics::new(&host.registry);
    host.pass(MS);
    let registered = host.now();
    let tool = host.registry.register("tool").unwrap();
    host.pass(MS);
    tool.start().succeed();
    let times = || {
        let request = request(&metrics);
        let calls = numbers(&request, "toolmeter.calls");
        let durations = explicit(&request, "toolmeter.call.duration");
        let in_flight = numbers(&request, "toolmeter.in_flight");
        for point in [calls, in_flight].concat() {
            assert_eq!(point.start_time_unix_nano, registered);
            assert_eq!(point.time_unix_nano, host.now());
        }
        assert_eq!(durations[0].start_time_unix_nano, registered);
        assert_eq!(durations[0].time_unix_nano, host.now());
        assert_eq!(durations[0].count as i64, value(&calls[0]));
        // What belongs to no tool began with the registry.
        let unknown = &numbers(&request, "toolmeter.unknown_calls")[0];
        assert_eq!(unknown.start_time_unix_nano, BUILT);
        value(&calls[0])
    };
    assert_eq!(times(), 1);
    // A reset is not seen.
    host.pass(MS);
    host.registry.reset_metrics();
    assert_eq!(times(), 1);
    // Gone, with handles held; gone for good; and back.
    host.registry.deregister("tool").unwrap();
    tool.start().succeed();
    host.pass(MS);
    assert_eq!(times(), 2);
    drop(tool);
    host.registry.pump();
    host.registry.reset_metrics();
    host.pass(MS);
    assert_eq!(times(), 2);
    let again = host.registry.register("tool").unwrap();
    host.pass(MS);
    again.start().succeed();
    assert_eq!(times(), 3);
}

#[test]
fn a_name_that_was_forgotten_starts_anew() {
    let host = Host::of(Registry::builder().tool_limit(2));
    let metrics = OtlpMetrics::new(&host.registry);
    let use_once = |name: &'static str| {
        host.registry
            .register(name)
            .unwrap()
            .start()
            .fail(ErrorKind::Network, "down");
        host.registry.deregister(name).unwrap();
        host.registry.pump();
        host.pass(MS);
    };
    for name in ["a", "b", "c", "d"] {
        use_once(name);
    }
    let before = request(&metrics);
    let [tools] = numbers(&before, "toolmeter.nameless_tools") else {
        panic!("one point")
    };
    assert_eq!(value(tools), 2);
    let [calls_of_them] = numbers(&before, "toolmeter.nameless_calls") else {
        panic!("one point")
    };
    assert_eq!(value(calls_of_them), 2);
    assert_eq!(calls_of_them.start_time_unix_nano, BUILT);
    let expected = [("error.type", "network"), ("toolmeter.outcome", "failure")];
    assert_eq!(attributes(&calls_of_them.attributes), expected.into());

    let named: Vec<_> = host.registry.totals().tools.keys().cloned().collect();
    let forgotten = ["a", "b", "c", "d"];
    let forgotten = forgotten
        .iter()
        .find(|name| !named.iter().any(|n| **n == ***name));
    let forgotten = forgotten.unwrap();
    let back_at = host.now();
    let tool = host.registry.register(*forgotten).unwrap();
    tool.start().fail(ErrorKind::Network, "down");
    let after = request(&metrics);
    let points = numbers(&after, "toolmeter.calls").iter();
    let mut points =
        points.filter(|point| attributes(&point.attributes)["gen_ai.tool.name"] == *forgotten);
    assert!(points.all(|point| point.start_time_unix_nano == back_at));
    assert_eq!(calls(&after)[&ended(forgotten, "failure", "network")], 1);
    // Nothing is missing: what left a name is among the nameless.
    let all = |request| {
        let of_them: i64 = numbers(request, "toolmeter.nameless_calls")
            .iter()
            .map(value)
            .sum();
        calls(request).values().sum::<i64>() + of_them
    };
    assert_eq!((all(&before), all(&after)), (4, 5));
}

#[test]
fn no_point_ends_before_it_starts_when_the_clock_is_set_back() {
    let host = Host::new();
    host.pass(MS);
    host.registry.register("tool").unwrap().start().succeed();
    host.wall.store(BUILT / 2, Ordering::Relaxed);
    let request = request(&OtlpMetrics::new(&host.registry));
    let point = &numbers(&request, "toolmeter.calls")[0];
    let registered = nanos(host.registry.totals().tools["tool"].registered_at);
    assert_eq!(point.start_time_unix_nano, registered);
    assert_eq!(point.time_unix_nano, registered);
}

#[test]
fn a_tool_has_a_point_before_its_first_call() {
    let host = Host::new();
    host.registry.register("tool").unwrap();
    let metrics = OtlpMetrics::new(&host.registry);
    assert_eq!(
        calls(&request(&metrics)),
        [(ended("tool", "success", ""), 0)].into()
    );
    let all = metrics.zero_points(true);
    let request = request(&all);
    assert_eq!(calls(&request).len(), 13);
    assert!(calls(&request).values().all(|&count| count == 0));
    let durations = explicit(&request, "toolmeter.call.duration");
    assert_eq!(durations.len(), 3);
    let others = ["in_flight", "retried", "recovered"];
    let others = others.map(|name| numbers(&request, &format!("toolmeter.{name}")).len());
    assert_eq!(others, [1, 1, 1]);
    for point in durations {
        assert_eq!((point.count, point.sum), (0, Some(0.0)));
    }
}

#[test]
fn the_conventions_metric_is_there_if_asked_for() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let metrics = OtlpMetrics::new(&host.registry);
    let call = tool.start();
    host.pass(3 * MS);
    call.succeed();
    tool.start().fail(ErrorKind::Timeout, "late");
    drop(tool.start());
    let name = "gen_ai.execute_tool.duration";
    let without = request(&metrics);
    assert!(
        self::metrics(&without)
            .iter()
            .all(|metric| metric.name != name)
    );
    let with = request(&metrics.execute_tool_duration(true));
    assert_eq!(find(&with, name).unit, "s");
    let points: Vec<_> = explicit(&with, name)
        .iter()
        .map(|point| {
            (
                attributes(&point.attributes),
                point.count,
                point.sum.unwrap(),
            )
        })
        .collect();
    let tool = ("gen_ai.tool.name", "tool");
    let expected = vec![
        (BTreeMap::from([tool]), 1, 0.003),
        (BTreeMap::from([tool, ("error.type", "_OTHER")]), 1, 0.0),
        (BTreeMap::from([tool, ("error.type", "cancelled")]), 1, 0.0),
    ];
    assert_eq!(points, expected);
}

#[test]
fn names_from_outside_pass_as_they_are_shown() {
    let host = Host::new();
    let long = "n".repeat(256);
    for name in ["a \"quoted\" name", "back\\slash", "名前", &long] {
        host.registry
            .register(name.to_owned())
            .unwrap()
            .start()
            .succeed();
    }
    host.registry
        .get_or_register(toolmeter::ToolSpec::lossy("two\nlines"))
        .unwrap()
        .start()
        .succeed();
    let request = request(&OtlpMetrics::new(&host.registry));
    let found: Vec<_> = calls(&request).into_keys().map(|[tool, ..]| tool).collect();
    let shown: Vec<_> = host
        .registry
        .totals()
        .tools
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, shown);
    assert_eq!(found.len(), 5);
}

#[test]
fn nothing_is_said_once_the_registry_is_gone() {
    let host = Host::new();
    let metrics = OtlpMetrics::new(&host.registry);
    host.registry.shutdown();
    assert!(metrics.request().is_some());
    drop(host);
    assert_eq!(metrics.request(), None);
    assert_eq!(metrics.encode(), None);
}

/// Nothing decreases, and everything agrees, while tools come and go and calls run.
#[test]
fn requests_agree_while_everything_changes() {
    let registry = Registry::builder().tool_limit(64).build().unwrap();
    let stop = AtomicBool::new(false);
    let made = AtomicU64::new(0);
    let seen = Mutex::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (registry, stop, made) = (&registry, &stop, &made);
            scope.spawn(move || {
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("tool_{thread}_{}", number % 100);
                    let tool = registry.get_or_register(name.clone()).unwrap();
                    tool.start().succeed();
                    tool.start().fail(ErrorKind::Network, "down");
                    made.fetch_add(2, Ordering::Relaxed);
                    drop(tool);
                    registry.deregister(&name).unwrap();
                    number += 1;
                }
            });
        }
        let metrics = OtlpMetrics::new(&registry).exponential(Exponential::new());
        let mut before = BTreeMap::new();
        let mut requests = 0;
        while requests < 100 || made.load(Ordering::Relaxed) < 10_000 {
            requests += 1;
            let request = metrics.request().unwrap();
            let points = numbers(&request, "toolmeter.calls").iter();
            let now: BTreeMap<_, _> = points
                .map(|point| {
                    let of: BTreeMap<_, _> = attributes(&point.attributes)
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .collect();
                    ((of, point.start_time_unix_nano), value(point))
                })
                .collect();
            for (series, count) in &now {
                let earlier = before.get(series).copied().unwrap_or(0);
                assert!(*count >= earlier, "{series:?}: {earlier}, then {count}");
            }
            for point in exponential(&request) {
                let buckets = point.positive.as_ref().unwrap();
                let sum: u64 = buckets.bucket_counts.iter().sum();
                assert_eq!(point.count, sum + point.zero_count);
            }
            before = now;
        }
        stop.store(true, Ordering::Relaxed);
        *seen.lock().unwrap() = before.len();
    });
    assert!(*seen.lock().unwrap() > 0);
    registry.pump();
    let request = OtlpMetrics::new(&registry).request().unwrap();
    let named: i64 = calls(&request).values().sum();
    let nameless: i64 = numbers(&request, "toolmeter.nameless_calls")
        .iter()
        .map(value)
        .sum();
    assert_eq!((named + nameless) as u64, made.load(Ordering::Relaxed));
}

/// Returns the number of latencies that are at most this long.
fn at_most(latency: &LatencyStats, seconds: f64) -> u64 {
    let within = |index| {
        let (_, greatest) = latency.bucket_bounds(index).unwrap();
        greatest.as_nanos() as f64 / 1e9 <= seconds
    };
    let buckets = latency.buckets().iter();
    buckets
        .filter(|bucket| within(bucket.0))
        .map(|bucket| bucket.1)
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// At every bound a histogram counts the calls themselves.
    #[test]
    fn explicit_buckets_count_the_calls(
        latencies in prop::collection::vec((any::<u64>(), 17_u32..64), 0..100),
        exponents in prop::collection::vec(1_u8..=47, 0..20),
    ) {
        let host = Host::new();
        let tool = host.registry.register("tool").unwrap();
        let latencies: Vec<u64> = latencies.iter().map(|&(bits, shift)| bits >> shift).collect();
        for &ns in &latencies {
            let call = tool.start();
            host.pass(Duration::from_nanos(ns));
            call.succeed();
        }
        let metrics = OtlpMetrics::new(&host.registry).explicit(LatencyBounds::powers_of_two(exponents));
        let request = request(&metrics);
        let [point] = explicit(&request, "toolmeter.call.duration") else {
            panic!("one point")
        };
        prop_assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        prop_assert_eq!(point.count, latencies.len() as u64);
        prop_assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        let sum = latencies.iter().map(|&ns| u128::from(ns)).sum::<u128>() as f64 / 1e9;
        prop_assert_eq!(point.sum, Some(sum));
        let stats = &host.registry.totals().tools["tool"];
        let mut seen = 0;
        for (&bound, count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
            seen += count;
            let within = latencies.iter().filter(|&&ns| ns as f64 / 1e9 <= bound).count() as u64;
            prop_assert_eq!(seen, within, "at {}", bound);
            prop_assert_eq!(seen, at_most(&stats.latency.success, bound));
        }
    }

    /// A bound of any other kind misses at most what lies in its own bucket.
    #[test]
    fn any_bound_is_within_a_bucket(
        latencies in prop::collection::vec((any::<u64>(), 17_u32..64), 1..100),
        bound in 1e-6_f64..100.0,
    ) {
        let host = Host::new();
        let tool = host.registry.register("tool").unwrap();
        let latencies: Vec<u64> = latencies.iter().map(|&(bits, shift)| bits >> shift).collect();
        for &ns in &latencies {
            let call = tool.start();
            host.pass(Duration::from_nanos(ns));
            call.succeed();
        }
        let metrics = OtlpMetrics::new(&host.registry).explicit(LatencyBounds::seconds([bound]).unwrap());
        let request = request(&metrics);
        prop_assert!(find(&request, "toolmeter.call.duration").description.contains("no more than a bucket"));
        let [point] = explicit(&request, "toolmeter.call.duration") else {
            panic!("one point")
        };
        let ns = (bound * 1e9).round() as u64;
        let at_most = latencies.iter().filter(|&&latency| latency <= ns).count() as u64;
        let surely = latencies.iter().filter(|&&latency| latency < ns - ns / 32).count() as u64;
        prop_assert!((surely..=at_most).contains(&point.bucket_counts[0]));
    }
}
