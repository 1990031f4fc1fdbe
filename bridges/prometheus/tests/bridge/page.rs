//! The page of a registry, read by another parser and compared with its snapshot.

use crate::support::{EXPONENTS, Series, assert_same, key, le, page, parsed};
use proptest::prelude::*;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use toolmeter::{
    ClockSource, ErrorKind, LatencyBounds, ManualClock, Pump, Registry, RegistryBuilder,
    ToolHandle, ToolSpec,
};
use toolmeter_prometheus::prometheus_client::encoding::{prometheus_text, text};
use toolmeter_prometheus::prometheus_client::registry;
use toolmeter_prometheus::{ToolCollector, ZeroSeries};

/// A registry with a clock that stands still, and a page of it.
pub(crate) struct Host {
    pub(crate) tools: Registry,
    clock: Arc<ManualClock>,
    pub(crate) metrics: registry::Registry,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder, |collector| collector)
    }

    pub(crate) fn with(
        build: impl FnOnce(RegistryBuilder) -> RegistryBuilder,
        collect: impl FnOnce(ToolCollector) -> ToolCollector,
    ) -> Self {
        let clock = Arc::new(ManualClock::new());
        let builder = Registry::builder()
            .clock(ClockSource::Manual(Arc::clone(&clock)))
            .pump(Pump::manual());
        let tools = build(builder).build().unwrap();
        let metrics = metrics(collect(ToolCollector::new(&tools)));
        Self {
            tools,
            clock,
            metrics,
        }
    }

    fn series(&self) -> Series {
        parsed(&page(&self.metrics))
    }

    /// A call that takes `ns`.
    pub(crate) fn call(&self, tool: &ToolHandle, attempt: u16, ns: u64, ending: Ending) {
        let call = tool.call().attempt(attempt).start();
        self.clock.advance(Duration::from_nanos(ns));
        match ending {
            Ending::Success => drop(call.succeed()),
            Ending::Failure(kind) => drop(call.fail(kind, "failed")),
            Ending::Cancelled => drop(call.cancel()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Success,
    Failure(ErrorKind),
    Cancelled,
}

fn metrics(collector: ToolCollector) -> registry::Registry {
    let mut metrics = registry::Registry::default();
    metrics.register_collector(Box::new(collector));
    metrics
}

fn calls(tool: &str, outcome: &str, error_type: &str) -> String {
    let labels = [
        ("tool", tool),
        ("outcome", outcome),
        ("error_type", error_type),
    ];
    key("toolmeter_calls_total", labels)
}

/// A tool with calls in all outcomes and kinds and in every octave.
pub(crate) fn use_in_all_ways(host: &Host, tool: &ToolHandle) {
    for exponent in 0..48 {
        let kind = ErrorKind::ALL[exponent % ErrorKind::COUNT];
        for ns in [(1 << exponent) - 1, 1 << exponent, (1 << exponent) + 1] {
            host.call(tool, 1, ns, Ending::Success);
            host.call(tool, 2, ns, Ending::Failure(kind));
            host.call(tool, 3, ns, Ending::Cancelled);
            host.call(tool, 4, ns, Ending::Success);
        }
    }
    tool.start().reject("denied");
}

#[test]
fn every_number_of_a_snapshot_is_on_the_page() {
    let host = Host::new();
    let tools = host
        .tools
        .register_all(["web_search", "shell", "idle"])
        .unwrap();
    use_in_all_ways(&host, &tools[0]);
    host.call(&tools[1], 1, 1_048_576, Ending::Failure(ErrorKind::Other));
    host.tools.unknown_call("teleport").count();
    let hangs = tools[1].start();
    let series = host.series();
    assert_same(&series, &host.tools.totals());
    assert_eq!(series[&calls("shell", "failure", "_OTHER")], 1.0);
    assert_eq!(
        series[&key("toolmeter_in_flight", [("tool", "shell")])],
        1.0
    );
    let started = host.tools.started_at();
    let started = started.duration_since(std::time::UNIX_EPOCH).unwrap();
    let shown = series[&key("toolmeter_start_time_seconds", [])];
    assert_eq!(shown, started.as_secs_f64());
    drop(hangs);
}

#[test]
fn the_openmetrics_format_is_read_by_another_parser_too() {
    let host = Host::new();
    let tool = host.tools.register(r#"say "hi"\"#).unwrap();
    use_in_all_ways(&host, &tool);
    let mut page = String::new();
    text::encode(&mut page, &host.metrics).unwrap();
    assert!(page.contains("# UNIT toolmeter_call_duration_seconds seconds\n"));
    // The format allows a histogram a unit; this parser does not.
    let lines = page.split_inclusive('\n');
    let page: String = lines.filter(|line| !line.starts_with("# UNIT")).collect();
    let families = openmetrics_parser::openmetrics::parse_openmetrics(&page)
        .unwrap()
        .families;
    assert_eq!(families.len(), 9);
    let sample = families["toolmeter_calls"].iter_samples().next().unwrap();
    let labels = sample.get_labelset().unwrap();
    assert_eq!(labels.get_label_value("tool"), Some(r#"say "hi"\"#));
}

#[test]
fn a_bound_includes_the_last_nanosecond_below_the_power_and_not_the_power() {
    let host = Host::new();
    let tool = host.tools.register("shell").unwrap();
    for exponent in EXPONENTS {
        host.call(&tool, 1, (1 << exponent) - 1, Ending::Success);
        host.call(&tool, 1, 1 << exponent, Ending::Success);
    }
    let series = host.series();
    let mut within = 1.0;
    for exponent in EXPONENTS {
        let le = le(((1_u64 << exponent) - 1) as f64 / 1e9);
        let labels = [
            ("tool", "shell"),
            ("outcome", "success"),
            ("le", le.as_str()),
        ];
        let key = key("toolmeter_call_duration_seconds_bucket", labels);
        assert_eq!(series[&key], within, "{key}");
        within += 2.0;
    }
}

#[test]
fn names_from_outside_come_back_as_they_were() {
    let host = Host::new();
    let long = "n".repeat(256);
    let names = [
        r#"quote " and \ and \n"#,
        "{tool=\"x\"} 1",
        "größer 🦀",
        &long,
        "# EOF",
        " le ",
    ];
    for name in names {
        host.tools
            .register(name.to_owned())
            .unwrap()
            .start()
            .succeed();
    }
    // A name with a newline cannot be registered; made into one that can, it shows the escape.
    assert!(host.tools.register("a\nb").is_err());
    let lossy = host
        .tools
        .register(ToolSpec::lossy("a\nb\u{202e}"))
        .unwrap();
    lossy.start().succeed();
    let series = host.series();
    for name in names.into_iter().chain([lossy.name()]) {
        assert_eq!(series[&calls(name, "success", "")], 1.0, "{name}");
    }
    assert_eq!(lossy.name(), r"a\nb\u{202e}");
    assert_same(&series, &host.tools.totals());
}

#[test]
fn a_tool_has_its_zeros_when_it_is_registered() {
    for (zeros, counters, histograms) in [
        (ZeroSeries::Success, 1, 1),
        (ZeroSeries::Calls, 13, 1),
        (ZeroSeries::All, 13, 3),
    ] {
        let host = Host::with(|builder| builder, |collector| collector.zero_series(zeros));
        let _shell = host.tools.register("shell").unwrap();
        let series = host.series();
        let count = |prefix: &str| {
            let keys = series.iter().filter(|(key, _)| key.starts_with(prefix));
            assert!(keys.clone().all(|(_, &number)| number == 0.0));
            keys.count()
        };
        assert_eq!(count("toolmeter_calls_total"), counters, "{zeros:?}");
        // 19 bounds, +Inf, sum and count.
        let of_histograms = count("toolmeter_call_duration_seconds");
        assert_eq!(of_histograms, histograms * 22, "{zeros:?}");
        assert_eq!(series[&calls("shell", "success", "")], 0.0);
    }
}

#[test]
fn other_bounds_are_said_to_be_within_a_bucket() {
    let bounds = || LatencyBounds::seconds([0.01, 1.0]).unwrap();
    let host = Host::with(|builder| builder, |collector| collector.bounds(bounds()));
    let tool = host.tools.register("shell").unwrap();
    for ns in [1_000_000, 9_990_000, 10_000_000, 10_100_000, 2_000_000_000] {
        host.call(&tool, 1, ns, Ending::Success);
    }
    let text = page(&host.metrics);
    assert!(text.contains("no more than a bucket of toolmeter"));
    let series = parsed(&text);
    let bucket = |le: &str| {
        let labels = [("tool", "shell"), ("outcome", "success"), ("le", le)];
        series[&key("toolmeter_call_duration_seconds_bucket", labels)]
    };
    // 9.99, 10 and 10.1 ms share a bucket.
    assert_eq!(
        (bucket("0.01"), bucket("1"), bucket("+Inf")),
        (1.0, 4.0, 5.0)
    );
    assert!(page(&Host::new().metrics).contains("The count at each bound is exact."));
}

#[test]
fn a_reset_followed_by_more_calls_than_before_hides_nothing() {
    let host = Host::new();
    let tool = host.tools.register("shell").unwrap();
    for _ in 0..100 {
        host.call(&tool, 1, 5_000_000, Ending::Success);
    }
    assert_eq!(host.series()[&calls("shell", "success", "")], 100.0);
    assert_eq!(host.tools.reset_metrics().tools["shell"].success(), 100);
    for _ in 0..150 {
        host.call(&tool, 1, 5_000_000, Ending::Success);
    }
    assert_eq!(host.tools.metrics().tools["shell"].success(), 150);
    assert_eq!(host.series()[&calls("shell", "success", "")], 250.0);
    assert_same(&host.series(), &host.tools.totals());
}

#[test]
fn tools_beyond_those_that_are_remembered_by_name_are_counted_without() {
    let host = Host::with(|builder| builder.tool_limit(2), |collector| collector);
    let mut made = 0.0;
    for n in 0..7 {
        let tool = host.tools.register(format!("tool_{n}")).unwrap();
        host.call(&tool, 1, 5_000_000, Ending::Success);
        host.call(&tool, 1, 5_000_000, Ending::Failure(ErrorKind::Network));
        tool.start().reject("denied");
        made += 3.0;
        host.tools.deregister(tool.name()).unwrap();
        drop(tool);
        host.tools.pump();
        let series = host.series();
        let all = series.iter().filter(|(key, _)| {
            key.starts_with("toolmeter_calls_total") || key.starts_with("toolmeter_nameless_calls")
        });
        assert_eq!(all.map(|(_, number)| number).sum::<f64>(), made);
    }
    let series = host.series();
    assert!(series[&key("toolmeter_nameless_tools", [])] >= 3.0);
    let labels = [("outcome", "failure"), ("error_type", "network")];
    assert!(series[&key("toolmeter_nameless_calls_total", labels)] >= 3.0);
}

#[test]
fn lost_events_are_counted() {
    let host = Host::with(
        |builder| builder.ring_capacity(16).stripes(1),
        |collector| collector,
    );
    let _events = host.tools.subscribe();
    let tool = host.tools.register("shell").unwrap();
    for _ in 0..100 {
        tool.start().succeed();
    }
    let series = host.series();
    let events = host.tools.event_accounting();
    assert!(events.lost_in_rings > 0);
    assert_eq!(
        series[&key("toolmeter_events_offered_total", [])],
        events.offered as f64
    );
    assert_eq!(
        series[&key("toolmeter_events_lost_total", [])],
        events.lost_in_rings as f64
    );
}

#[test]
fn a_registry_that_is_gone_gives_an_empty_page() {
    let Host { tools, metrics, .. } = Host::new();
    tools.register("shell").unwrap().start().succeed();
    assert_ne!(page(&metrics), "");
    drop(tools);
    assert_eq!(page(&metrics), "");
    let mut openmetrics = String::new();
    text::encode(&mut openmetrics, &metrics).unwrap();
    assert_eq!(openmetrics, "# EOF\n");
}

/// A page that lets a registry go as soon as anything is written.
struct Dropping {
    tools: Option<Registry>,
    page: String,
}

impl Write for Dropping {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        drop(self.tools.take());
        self.page.push_str(text);
        Ok(())
    }
}

#[test]
fn a_registry_that_goes_during_a_scrape_is_shown_whole() {
    let Host { tools, metrics, .. } = Host::new();
    let handles = tools
        .register_all((0..100).map(|n| format!("tool_{n}")))
        .unwrap();
    for handle in &handles {
        handle.start().succeed();
    }
    let totals = tools.totals();
    let mut dropping = Dropping {
        tools: Some(tools),
        page: String::new(),
    };
    prometheus_text::encode(&mut dropping, &metrics).unwrap();
    assert_same(&parsed(&dropping.page), &totals);
    assert_eq!(page(&metrics), "");
}

/// A connection that breaks after some bytes.
struct Breaking(usize);

impl Write for Breaking {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[test]
fn a_page_that_cannot_be_written_is_an_error_and_changes_nothing() {
    let host = Host::new();
    let tools = host
        .tools
        .register_all((0..20).map(|n| format!("tool_{n}")))
        .unwrap();
    use_in_all_ways(&host, &tools[0]);
    let whole = page(&host.metrics);
    for bytes in (0..whole.len()).step_by(4_001) {
        let written = prometheus_text::encode(&mut Breaking(bytes), &host.metrics);
        assert!(written.is_err(), "{bytes} of {}", whole.len());
    }
    assert_eq!(page(&host.metrics), whole);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(usize, u64, u8),
    Register(usize),
    Deregister(usize),
    Let(usize),
    Reset,
    Pump,
}

fn any_step() -> impl Strategy<Value = Step> {
    let tool = 0..4_usize;
    prop_oneof![
        4 => (tool.clone(), 0..40_u64, 0..12_u8)
            .prop_map(|(tool, exponent, ending)| Step::Call(tool, 1 << exponent, ending)),
        2 => tool.clone().prop_map(Step::Register),
        1 => tool.clone().prop_map(Step::Deregister),
        1 => tool.prop_map(Step::Let),
        1 => Just(Step::Reset),
        1 => Just(Step::Pump),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Also if metrics are reset, and tools freed, held and registered again. A tool without a call
    /// may go.
    #[test]
    fn no_counter_decreases_and_no_series_goes(steps in prop::collection::vec(any_step(), 1..40)) {
        let host = Host::new();
        let mut held: [Option<ToolHandle>; 4] = [const { None }; 4];
        let mut before = Series::new();
        for step in steps {
            match step {
                Step::Call(tool, ns, ending) => {
                    let Some(handle) = &held[tool] else { continue };
                    let ending = match ending {
                        0 => Ending::Success,
                        1 => Ending::Cancelled,
                        kind => Ending::Failure(ErrorKind::ALL[usize::from(kind) - 2]),
                    };
                    host.call(handle, (ns % 3) as u16, ns, ending);
                }
                Step::Register(tool) => {
                    let handle = host.tools.get_or_register(format!("tool_{tool}"));
                    held[tool] = Some(handle.unwrap());
                }
                Step::Deregister(tool) => {
                    let _ = host.tools.deregister(&format!("tool_{tool}"));
                }
                Step::Let(tool) => held[tool] = None,
                Step::Reset => drop(host.tools.reset_metrics()),
                Step::Pump => drop(host.tools.pump()),
            }
            let now = host.series();
            for (key, number) in &before {
                if *number > 0.0 && !key.starts_with("toolmeter_in_flight") {
                    prop_assert!(now.get(key) >= Some(number), "{key}: {number}, then {:?}", now.get(key));
                }
            }
            before = now;
        }
        assert_same(&host.series(), &host.tools.totals());
    }
}
