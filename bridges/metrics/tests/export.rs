//! Tests that compare what a recorder of the facade gets with the registry, and of recorders that panic.

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::collections::BTreeMap;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use toolmeter::{ClockSource, ErrorKind, ManualClock, Pump, Registry, RegistryBuilder, ToolHandle};
use toolmeter_metrics::{MetricsExporter, metrics};

struct Host {
    registry: Registry,
    clock: Arc<ManualClock>,
}

impl Host {
    fn new() -> Self {
        Self::of(Registry::builder())
    }

    fn of(builder: RegistryBuilder) -> Self {
        let clock = Arc::new(ManualClock::new());
        let source = ClockSource::Manual(Arc::clone(&clock));
        let builder = builder.clock(source).pump(Pump::manual());
        let registry = builder.build().unwrap();
        Self { registry, clock }
    }

    fn succeed(&self, tool: &ToolHandle, ns: u64) {
        let call = tool.start();
        self.clock.advance(Duration::from_nanos(ns));
        call.succeed();
    }
}

/// The counters and gauges that a recorder got until now, added up, and all values of histograms.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    numbers: BTreeMap<String, f64>,
    values: BTreeMap<String, Vec<f64>>,
}

/// Name and labels, as Prometheus shows them.
fn series(key: &Key) -> String {
    let labels = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()));
    let labels: Vec<_> = labels.collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Seen {
    /// A snapshot holds what is new since the one before.
    fn look(&mut self, snapshotter: &Snapshotter) {
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            let series = series(key.key());
            match value {
                DebugValue::Counter(count) => {
                    *self.numbers.entry(series).or_default() += count as f64;
                }
                DebugValue::Gauge(number) => {
                    self.numbers.insert(series, *number);
                }
                DebugValue::Histogram(values) => {
                    let all = self.values.entry(series).or_default();
                    all.extend(values.into_iter().map(|value| *value));
                }
            }
        }
    }

    fn number(&self, series: &str) -> f64 {
        self.numbers.get(series).copied().unwrap_or(0.0)
    }

    /// All calls of all series.
    fn calls(&self) -> f64 {
        let calls = self.numbers.iter();
        calls
            .filter(|(series, _)| series.starts_with("toolmeter.calls{"))
            .map(|(_, count)| count)
            .sum()
    }

    fn records(&self) -> usize {
        self.values.values().map(Vec::len).sum()
    }
}

fn seen(snapshotter: &Snapshotter) -> Seen {
    let mut seen = Seen::default();
    seen.look(snapshotter);
    seen
}

#[test]
fn every_outcome_and_kind_is_counted() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let mut exporter = MetricsExporter::new(&host.registry);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut total = Seen::default();
    // Two intervals, and what is reset between them is pushed all the same.
    for (calls, latencies) in [(58, 57), (59, 58)] {
        for (number, kind) in (1..).zip(ErrorKind::ALL) {
            for _ in 0..number {
                tool.call().attempt(2).start().fail(kind, "no");
            }
        }
        tool.call().attempt(3).start().succeed();
        tool.start().cancel();
        tool.call().reject("denied");
        host.registry.unknown_call("teleport").count();
        host.registry.reset_metrics();
        let running = tool.start();
        let exported = exporter.export_to(&recorder);
        assert_eq!((exported.calls, exported.latencies), (calls, latencies));
        assert_eq!((exported.left_out, exported.panics), (0, 0));
        total.look(&snapshotter);
        assert_eq!(total.number("toolmeter.in_flight{tool=tool}"), 1.0);
        running.cancel();
    }
    for (number, kind) in (1..).zip(ErrorKind::ALL) {
        let kind = if kind == ErrorKind::Other {
            "_OTHER"
        } else {
            kind.as_str()
        };
        let series = format!("toolmeter.calls{{tool=tool,outcome=failure,error_type={kind}}}");
        assert_eq!(total.number(&series), 2.0 * f64::from(number), "{series}");
    }
    let calls = |rest: &str| total.number(&format!("toolmeter.calls{{tool=tool,{rest}}}"));
    assert_eq!(calls("outcome=success,error_type="), 2.0);
    // The one that ran during the first export is in the second.
    assert_eq!(calls("outcome=cancelled,error_type=cancelled"), 3.0);
    assert_eq!(calls("outcome=rejected,error_type=rejected"), 2.0);
    assert_eq!(total.number("toolmeter.retried{tool=tool}"), 112.0);
    assert_eq!(total.number("toolmeter.recovered{tool=tool}"), 2.0);
    assert_eq!(total.number("toolmeter.unknown_calls{}"), 2.0);
    assert_eq!(total.number("toolmeter.latencies_left_out{}"), 0.0);
}

#[test]
fn latencies_are_recorded_at_the_middle_of_their_bucket() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let mut exporter = MetricsExporter::new(&host.registry);
    let mut latencies: Vec<u64> = (0..500_u64).map(|n| n * n * n * 1_009).collect();
    for &ns in &latencies {
        host.succeed(&tool, ns);
    }
    let recorder = DebuggingRecorder::new();
    let _ = exporter.export_to(&recorder);
    let seen = seen(&recorder.snapshotter());
    let mut values = seen.values["toolmeter.call.duration{tool=tool,outcome=success}"].clone();
    values.sort_by(f64::total_cmp);
    latencies.sort_unstable();
    assert_eq!(values.len(), latencies.len());
    let half_a_bucket = 1.0 + 1.0 / 64.0 + 1e-12;
    for (&ns, value) in latencies.iter().zip(&values) {
        let ns = ns as f64 / 1e9;
        assert!(
            *value <= ns * half_a_bucket && ns <= *value * half_a_bucket,
            "{ns} {value}"
        );
    }
}

#[test]
fn units_and_descriptions_are_told() {
    let host = Host::new();
    host.registry.register("tool").unwrap().start().succeed();
    let recorder = DebuggingRecorder::new();
    let _ = MetricsExporter::new(&host.registry).export_to(&recorder);
    let all = recorder.snapshotter().snapshot().into_vec();
    assert!(!all.is_empty());
    for (key, unit, description, _) in all {
        let expected = match key.key().name() {
            "toolmeter.call.duration" => Unit::Seconds,
            _ => Unit::Count,
        };
        assert_eq!(unit, Some(expected), "{key:?}");
        assert!(
            description.is_some_and(|text| text.ends_with('.')),
            "{key:?}"
        );
    }
}

#[test]
fn a_tool_has_a_series_before_its_first_call() {
    let host = Host::new();
    let mut exporter = MetricsExporter::new(&host.registry);
    host.registry.register("tool").unwrap();
    let recorder = DebuggingRecorder::new();
    let _ = exporter.export_to(&recorder);
    let seen = seen(&recorder.snapshotter());
    let success = "toolmeter.calls{tool=tool,outcome=success,error_type=}";
    assert_eq!(seen.numbers.get(success), Some(&0.0));
    assert_eq!(
        seen.numbers.get("toolmeter.in_flight{tool=tool}"),
        Some(&0.0)
    );
}

#[test]
fn too_many_latencies_are_left_out_and_counted() {
    let host = Host::new();
    let tool = host.registry.register("tool").unwrap();
    let mut exporter = MetricsExporter::new(&host.registry).max_records(100);
    for n in 0..10_000 {
        host.succeed(&tool, n * 1_000);
    }
    let recorder = DebuggingRecorder::new();
    let exported = exporter.export_to(&recorder);
    assert_eq!((exported.calls, exported.latencies), (10_000, 100));
    assert_eq!(exported.left_out, 9_900);
    let seen = seen(&recorder.snapshotter());
    assert_eq!(seen.calls(), 10_000.0);
    assert_eq!(seen.number("toolmeter.latencies_left_out{}"), 9_900.0);
    let mut values = seen.values["toolmeter.call.duration{tool=tool,outcome=success}"].clone();
    values.sort_by(f64::total_cmp);
    // The median is that of all within half a bucket, and half of a hundredth in rank.
    let median = values[50];
    assert!((0.004_9..0.005_15).contains(&median), "{median}");
}

#[test]
fn tools_that_come_and_go_lose_no_call() {
    let host = Host::of(Registry::builder().tool_limit(2));
    let mut exporter = MetricsExporter::new(&host.registry);
    let recorder = DebuggingRecorder::new();
    let mut calls = 0;
    for round in 0..3 {
        for name in ["a", "b", "c", "d", "e"] {
            let tool = host.registry.register(name).unwrap();
            tool.start().fail(ErrorKind::Network, "down");
            calls += 1;
            drop(tool);
            host.registry.deregister(name).unwrap();
            host.registry.pump();
        }
        if round != 1 {
            let _ = exporter.export_to(&recorder);
        }
    }
    let seen = seen(&recorder.snapshotter());
    let nameless = "toolmeter.nameless_calls{outcome=failure,error_type=network}";
    assert!(seen.number(nameless) > 0.0);
    assert_eq!(seen.calls() + seen.number(nameless), f64::from(calls));
}

#[test]
fn it_outlives_the_registry() {
    let host = Host::new();
    let mut exporter = MetricsExporter::new(&host.registry);
    let tool = host.registry.register("tool").unwrap();
    tool.start().succeed();
    drop(host);
    tool.start().succeed();
    let recorder = DebuggingRecorder::new();
    assert_eq!(exporter.export_to(&recorder).calls, 2);
}

#[test]
fn the_recorder_of_the_thread_is_used() {
    let host = Host::new();
    let mut exporter = MetricsExporter::new(&host.registry);
    host.registry.register("tool").unwrap().start().succeed();
    let recorder = DebuggingRecorder::new();
    let exported = metrics::with_local_recorder(&recorder, || exporter.export());
    assert_eq!(exported.calls, 1);
    assert_eq!(seen(&recorder.snapshotter()).calls(), 1.0);
}

/// A value that panics when it is dropped, once.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the payload panics, too");
        }
    }
}

/// A recorder that panics instead of taking the n-th thing that it is given.
struct Flaky {
    inner: DebuggingRecorder,
    until: Arc<AtomicU64>,
}

impl Flaky {
    fn new(fails_at: u64) -> Self {
        Self {
            inner: DebuggingRecorder::new(),
            until: Arc::new(AtomicU64::new(fails_at)),
        }
    }

    fn given(&self) {
        given(&self.until);
    }
}

fn given(until: &AtomicU64) {
    if until.fetch_sub(1, Ordering::Relaxed) == 0 {
        panic_any(Bomb);
    }
}

struct FlakyHandle<H>(H, Arc<AtomicU64>);

impl CounterFn for FlakyHandle<Counter> {
    fn increment(&self, value: u64) {
        given(&self.1);
        self.0.increment(value);
    }

    fn absolute(&self, value: u64) {
        self.0.absolute(value);
    }
}

impl GaugeFn for FlakyHandle<Gauge> {
    fn increment(&self, value: f64) {
        self.0.increment(value);
    }

    fn decrement(&self, value: f64) {
        self.0.decrement(value);
    }

    fn set(&self, value: f64) {
        given(&self.1);
        self.0.set(value);
    }
}

impl HistogramFn for FlakyHandle<Histogram> {
    fn record(&self, value: f64) {
        self.0.record(value);
    }

    fn record_many(&self, value: f64, count: usize) {
        given(&self.1);
        self.0.record_many(value, count);
    }
}

impl Recorder for Flaky {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.given();
        self.inner.describe_counter(key, unit, text);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.given();
        self.inner.describe_gauge(key, unit, text);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.given();
        self.inner.describe_histogram(key, unit, text);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.given();
        let handle = self.inner.register_counter(key, metadata);
        Counter::from_arc(Arc::new(FlakyHandle(handle, Arc::clone(&self.until))))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.given();
        let handle = self.inner.register_gauge(key, metadata);
        Gauge::from_arc(Arc::new(FlakyHandle(handle, Arc::clone(&self.until))))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.given();
        let handle = self.inner.register_histogram(key, metadata);
        Histogram::from_arc(Arc::new(FlakyHandle(handle, Arc::clone(&self.until))))
    }
}

/// Uses two tools in all ways.
fn use_tools(host: &Host, tools: &[ToolHandle]) {
    for tool in tools {
        for ns in [10, 1_000, 1_000, 5_000_000] {
            host.succeed(tool, ns);
        }
        tool.call()
            .attempt(2)
            .start()
            .fail(ErrorKind::Timeout, "late");
        tool.start().fail(ErrorKind::Network, "down");
        tool.start().cancel();
        tool.call().reject("denied");
    }
    host.registry.unknown_call("teleport").count();
}

/// Wherever the recorder panics, the exports after that make up for it.
#[test]
fn a_recorder_that_panics_loses_nothing() {
    let host = Host::new();
    let tools = host.registry.register_all(["a", "b"]).unwrap();
    let names = ["a", "b"];
    let fresh = || MetricsExporter::new(&host.registry);
    // What it is when nothing fails.
    let mut exporter = fresh();
    use_tools(&host, &tools);
    use_tools(&host, &tools);
    let steady = Flaky::new(u64::MAX);
    let _ = exporter.export_to(&steady);
    let expected = seen(&steady.inner.snapshotter());
    let pushes = u64::MAX - steady.until.load(Ordering::Relaxed);
    assert!(pushes > 30, "{pushes}");
    assert_eq!(expected.records(), 28);

    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let mut outcomes = Vec::new();
    for fails_at in 0..pushes {
        let mut exporter = fresh();
        use_tools(&host, &tools);
        let recorder = Flaky::new(fails_at);
        let first = exporter.export_to(&recorder);
        use_tools(&host, &tools);
        let second = exporter.export_to(&recorder);
        let mut found = seen(&recorder.inner.snapshotter());
        for values in found.values.values_mut() {
            values.sort_by(f64::total_cmp);
        }
        outcomes.push((fails_at, first, second, found));
    }
    std::panic::set_hook(hook);

    let mut expected = expected;
    for values in expected.values.values_mut() {
        values.sort_by(f64::total_cmp);
    }
    let mut failed = 0;
    for (fails_at, first, second, found) in outcomes {
        // The second export gives again what the first could not, so it may be where it fails.
        assert!(
            first.panics + second.panics <= 1,
            "{fails_at}: {first:?} {second:?}"
        );
        failed += first.panics;
        if second.panics == 0 {
            assert_eq!(found, expected, "{fails_at}");
        }
        if first.panics == 1 && fails_at < pushes / 2 {
            // The other tool was pushed all the same.
            let pushed = names.map(|name| {
                found.number(&format!(
                    "toolmeter.calls{{tool={name},outcome=success,error_type=}}"
                ))
            });
            assert_eq!(pushed, [8.0, 8.0]);
        }
    }
    assert!(failed > 30, "{failed}");
}

/// Takes nothing.
struct Broken;
impl Recorder for Broken {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        panic_any(Bomb)
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic_any(Bomb)
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic_any(Bomb)
    }
}

/// For as long as it panics at everything, what is due waits, and is not more than one of each.
#[test]
fn a_recorder_that_always_panics_loses_nothing() {
    let host = Host::new();
    let tools = host.registry.register_all(["a", "b"]).unwrap();
    let mut exporter = MetricsExporter::new(&host.registry);
    for _ in 0..3 {
        use_tools(&host, &tools);
        let exported = exporter.export_to(&Broken);
        // Two tools, their gauges, and what belongs to none.
        assert_eq!((exported.calls, exported.panics), (0, 6));
    }
    host.registry.deregister("a").unwrap();
    drop(tools);
    host.registry.pump();
    let recorder = DebuggingRecorder::new();
    let exported = exporter.export_to(&recorder);
    assert_eq!(
        (exported.calls, exported.latencies, exported.panics),
        (48, 42, 0)
    );
    let seen = seen(&recorder.snapshotter());
    assert_eq!((seen.calls(), seen.records()), (48.0, 42));
    assert_eq!(seen.number("toolmeter.unknown_calls{}"), 3.0);
    assert_eq!(exporter.export_to(&recorder).calls, 0);
}

#[test]
fn calls_that_run_meanwhile_are_pushed_once() {
    let registry = Registry::new();
    let tool = registry.register("tool").unwrap();
    let mut exporter = MetricsExporter::new(&registry).max_records(u32::MAX);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut total = Seen::default();
    let stop = AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut made = 0_u64;
                while !stop.load(Ordering::Relaxed) || made < 1_000 {
                    tool.start().succeed();
                    made += 1;
                    std::thread::yield_now();
                }
                made
            })
        });
        for _ in 0..50 {
            let _ = exporter.export_to(&recorder);
            total.look(&snapshotter);
        }
        stop.store(true, Ordering::Relaxed);
        threads
            .map(|thread| thread.join().unwrap())
            .iter()
            .sum::<u64>()
    });
    let _ = exporter.export_to(&recorder);
    total.look(&snapshotter);
    assert_eq!(total.calls(), made as f64);
    assert_eq!(total.records() as u64, made);
}

/// The page that Prometheus scrapes: counts, and buckets at powers of two, where they are exact.
#[test]
fn prometheus_is_shown_exact_counts_and_buckets_at_powers_of_two() {
    let host = Host::new();
    let tool = host.registry.register("say \"hi\"").unwrap();
    let bounds: Vec<f64> = (10..40).map(|k| ((1_u64 << k) - 1) as f64 / 1e9).collect();
    let recorder = PrometheusBuilder::new()
        .set_buckets(&bounds)
        .unwrap()
        .build_recorder();
    let handle = recorder.handle();
    let mut exporter = MetricsExporter::new(&host.registry);
    let mut latencies = Vec::new();
    for round in 0..3_u64 {
        for n in 0..300_u64 {
            let ns = n * n * n * 997 + round;
            latencies.push(ns as f64 / 1e9);
            host.succeed(&tool, ns);
        }
        tool.start().fail(ErrorKind::RateLimited, "slow down");
        let _ = exporter.export_to(&recorder);
    }
    let page = handle.render();
    let line = |start: &str| {
        let mut lines = page.lines().filter(|line| line.starts_with(start));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no {start} in\n{page}"));
        assert!(lines.next().is_none(), "two of {start}");
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let of_tool = r#"tool="say \"hi\"",outcome="#;
    assert_eq!(
        line(&format!(r#"toolmeter_calls{{{of_tool}"success""#)),
        900.0
    );
    let failed = format!(r#"toolmeter_calls{{{of_tool}"failure",error_type="rate_limited""#);
    assert_eq!(line(&failed), 3.0);
    let durations = "toolmeter_call_duration";
    assert_eq!(
        line(&format!(r#"{durations}_count{{{of_tool}"success""#)),
        900.0
    );
    for bound in bounds {
        let within = latencies
            .iter()
            .filter(|&&latency| latency <= bound)
            .count();
        let bucket = format!(r#"{durations}_bucket{{{of_tool}"success",le="{bound}""#);
        assert_eq!(line(&bucket), within as f64, "{bucket}");
    }
    let sum: f64 = latencies.iter().sum();
    let shown = line(&format!(r#"{durations}_sum{{{of_tool}"success""#));
    assert!((shown / sum - 1.0).abs() < 1.0 / 64.0, "{shown} {sum}");
    assert!(page.contains("# TYPE toolmeter_calls counter"));
    assert!(page.contains("# HELP toolmeter_call_duration How long attempts took"));
}

#[test]
fn a_gauge_does_not_outlive_a_tool_that_is_forgotten() {
    let host = Host::of(Registry::builder().tool_limit(2));
    let gone = |name: &str| {
        host.registry.deregister(name).unwrap();
        host.registry.pump();
    };
    // As many names as are remembered of tools that are gone.
    for name in ["a", "b"] {
        host.registry.register(name).unwrap().start().succeed();
        gone(name);
    }
    let mut exporter = MetricsExporter::new(&host.registry);
    // Unlike a debugging recorder, it keeps its gauges when it is read.
    let recorder = PrometheusBuilder::new().build_recorder();
    let shows = |in_flight: u8| {
        let line = format!("toolmeter_in_flight{{tool=\"hangs\"}} {in_flight}\n");
        recorder.handle().render().contains(&line)
    };
    let call = host.registry.register("hangs").unwrap().start_owned();
    let _ = exporter.export_to(&recorder);
    assert!(shows(1));
    call.succeed();
    gone("hangs");
    assert!(!host.registry.totals().tools.contains_key("hangs"));
    let _ = exporter.export_to(&recorder);
    assert!(shows(0));
}

#[test]
fn names_from_outside_pass_as_they_are() {
    let host = Host::new();
    let long = "n".repeat(256);
    let names = [
        r#"quote " and \ and \n"#,
        "{tool=\"x\"} 1",
        "größer 🦀",
        &long,
    ];
    let mut exporter = MetricsExporter::new(&host.registry);
    for name in names {
        host.registry
            .register(name.to_owned())
            .unwrap()
            .start()
            .succeed();
    }
    let recorder = DebuggingRecorder::new();
    let prometheus = PrometheusBuilder::new().build_recorder();
    let exported = exporter.export_to(&recorder);
    assert_eq!((exported.calls, exported.panics), (4, 0));
    let seen = seen(&recorder.snapshotter());
    for name in names {
        let series = format!("toolmeter.calls{{tool={name},outcome=success,error_type=}}");
        assert_eq!(seen.number(&series), 1.0, "{name}");
    }
    // A page of a recorder has them escaped.
    let mut exporter = MetricsExporter::new(&host.registry);
    let _ = exporter.export_to(&prometheus);
    let page = prometheus.handle().render();
    let quoted = r#"toolmeter_calls{tool="{tool=\"x\"} 1",outcome="success",error_type=""} 0"#;
    assert!(page.contains(quoted), "{page}");
}

#[test]
fn what_a_panic_left_of_a_tool_that_is_forgotten_is_pushed() {
    let host = Host::of(Registry::builder().tool_limit(2));
    let gone = |name: &str| {
        host.registry.deregister(name).unwrap();
        host.registry.pump();
    };
    for name in ["a", "b"] {
        host.registry.register(name).unwrap().start().succeed();
        gone(name);
    }
    let mut exporter = MetricsExporter::new(&host.registry);
    host.registry.register("tool").unwrap().start().succeed();
    assert_eq!(exporter.export_to(&Broken).calls, 0);
    gone("tool");
    assert!(!host.registry.totals().tools.contains_key("tool"));
    let recorder = DebuggingRecorder::new();
    let exported = exporter.export_to(&Broken);
    assert_eq!(exported.calls, 0);
    let exported = exporter.export_to(&recorder);
    assert_eq!((exported.calls, exported.latencies), (1, 1));
    let success = "toolmeter.calls{tool=tool,outcome=success,error_type=}";
    assert_eq!(seen(&recorder.snapshotter()).number(success), 1.0);
}
