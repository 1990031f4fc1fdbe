//! [`OtlpMetrics`]: one request, from the totals of a registry to the messages of OTLP.
//!
//! All of a request comes from one reading of [`Registry::totals`](toolmeter::Registry::totals), so the
//! metrics of a tool agree with each other: the count of a histogram is the sum of its buckets, and the
//! calls of an outcome are that count. Only the kinds of failures may be ahead of the histogram by calls
//! that were just finishing.
//!
//! A point is valid if the clocks jump: its time is not before its start, also after the host's
//! clock was set back.

use crate::bounds::Bounds;
use crate::exponential::Exponential;
use crate::places::Places;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use toolmeter::{
    ErrorKind, EventAccounting, LatencyStats, Registry, Snapshot, ToolStats, WeakRegistry,
};

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

const TOOL: &str = "gen_ai.tool.name";
const OUTCOME: &str = "toolmeter.outcome";
const ERROR_TYPE: &str = "error.type";
const SERVICE_NAME: &str = "service.name";

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";
const CANCELLED: &str = "cancelled";
const REJECTED: &str = "rejected";
/// What the conventions call an error that has no name.
const OTHER: &str = "_OTHER";

/// The tools of a registry as metrics of OTLP.
///
/// It holds a [`WeakRegistry`]: the host owns its registry, and this does not keep it alive. A registry
/// whose last owner goes while a request is made ends when the request is made, on its thread. Send
/// the last request before the registry is dropped; shutting it down does no harm.
///
/// # Examples
///
/// ```
/// use toolmeter_otlp::{Exponential, OtlpMetrics};
///
/// let tools = toolmeter::Registry::new();
/// let metrics = OtlpMetrics::new(&tools)
///     .service_name("agent-host")
///     .resource_attribute("deployment.environment.name", "staging")
///     .exponential(Exponential::new());
/// tools.register("shell")?;
///
/// let request = metrics.request().unwrap();
/// assert_eq!(request.resource_metrics[0].scope_metrics[0].metrics[0].name, "toolmeter.calls");
///
/// drop(tools);
/// assert!(metrics.request().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OtlpMetrics {
    registry: WeakRegistry,
    resource: BTreeMap<String, String>,
    histograms: Histograms,
    execute_tool_duration: bool,
    zero_points: bool,
}

/// Which histograms are made.
#[derive(Clone, Debug)]
enum Histograms {
    Explicit(Bounds),
    Exponential(Exponential),
}

impl OtlpMetrics {
    /// Returns the metrics of all tools of a registry, which it does not keep alive, in explicit
    /// histograms of the default [`Bounds`].
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let of_service = [
            (SERVICE_NAME, "unknown_service"),
            ("service.instance.id", registry.instance_id()),
        ];
        Self {
            registry: registry.downgrade(),
            resource: of_service
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            histograms: Histograms::Explicit(Bounds::default()),
            execute_tool_duration: false,
            zero_points: false,
        }
    }

    /// Sets `service.name`, by which receivers tell hosts of one kind from others. Unless it is set, it
    /// is `unknown_service`, as the conventions want it.
    #[must_use]
    pub fn service_name(self, name: impl Into<String>) -> Self {
        self.resource_attribute(SERVICE_NAME, name)
    }

    /// Sets an attribute of the resource, in place of its earlier value.
    ///
    /// `service.instance.id` is the [registry's](Registry::instance_id), random at each start. A value
    /// of the host's own must be unlike that of any other registry that runs at the same time, or
    /// receivers take two series for one.
    #[must_use]
    pub fn resource_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.resource.insert(key.into(), value.into());
        self
    }

    /// Makes explicit histograms of these bounds.
    #[must_use]
    pub fn explicit(mut self, bounds: Bounds) -> Self {
        self.histograms = Histograms::Explicit(bounds);
        self
    }

    /// Makes exponential histograms.
    #[must_use]
    pub fn exponential(mut self, exponential: Exponential) -> Self {
        self.histograms = Histograms::Exponential(exponential);
        self
    }

    /// Adds `gen_ai.execute_tool.duration`, the metric of the semantic conventions for generative AI.
    ///
    /// Off by default, and status Development. The convention's metric is of an operation with all its
    /// retries; toolmeter's calls are attempts, so it is right for hosts that do not retry. Latencies
    /// are not told apart by the kind of a failure, so `error.type` is `_OTHER` for all of them.
    #[must_use]
    pub fn execute_tool_duration(mut self, on: bool) -> Self {
        self.execute_tool_duration = on;
        self
    }

    /// Gives each tool points of every outcome and kind from its registration on, and not only of those
    /// that occurred.
    ///
    /// Off by default: a point's start time says that it was zero then. It is for receivers that do not
    /// look at the start time, such as Prometheus, which sees no increase in the first sample of a series.
    /// A tool has 19 points then, where one that only ever succeeded has 5.
    #[must_use]
    pub fn zero_points(mut self, on: bool) -> Self {
        self.zero_points = on;
        self
    }

    /// Returns all metrics as they are now; `None` once the registry is gone.
    ///
    /// Reads every tool, as [`Registry::totals`] does. Calls go on meanwhile.
    #[must_use]
    pub fn request(&self) -> Option<ExportMetricsServiceRequest> {
        let registry = self.registry.upgrade()?;
        let totals = registry.totals();
        let scope_metrics = ScopeMetrics {
            scope: Some(InstrumentationScope {
                name: env!("CARGO_PKG_NAME").into(),
                version: env!("CARGO_PKG_VERSION").into(),
                ..InstrumentationScope::default()
            }),
            metrics: self.metrics(&totals, registry.event_accounting()),
            ..ScopeMetrics::default()
        };
        let attributes = self.resource.iter();
        let resource = Resource {
            attributes: attributes.map(|(key, value)| text(key, value)).collect(),
            ..Resource::default()
        };
        Some(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![scope_metrics],
                ..ResourceMetrics::default()
            }],
        })
    }

    /// Returns the [`request`](Self::request) as bytes, for a POST as `application/x-protobuf`; `None`
    /// once the registry is gone.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        Some(self.request()?.encode_to_vec())
    }

    fn metrics(&self, totals: &Snapshot, events: EventAccounting) -> Vec<Metric> {
        let mut metrics = self.calls(totals);
        metrics.extend(self.durations(totals));
        metrics.extend(by_tool(totals));
        metrics.extend(of_registry(totals, events));
        metrics
    }

    fn calls(&self, totals: &Snapshot) -> Vec<Metric> {
        let mut points = Vec::with_capacity(totals.tools.len());
        for (tool, stats) in &totals.tools {
            let times = Times::since(stats.registered_at, totals);
            for ending in endings(stats) {
                if ending.count > 0 || self.zero_points || ending.outcome == SUCCESS {
                    let mut attributes = Vec::with_capacity(3);
                    attributes.push(text(TOOL, tool));
                    attributes.extend(ending.attributes());
                    points.push(times.number(ending.count, attributes));
                }
            }
        }
        vec![counter(
            "toolmeter.calls",
            "{call}",
            "Attempts at calling a tool that ended, by how they ended, and calls that were rejected.",
            points,
        )]
    }

    fn durations(&self, totals: &Snapshot) -> Vec<Metric> {
        let bounds: Vec<f64>;
        match &self.histograms {
            Histograms::Explicit(explicit) => {
                bounds = explicit.iter().collect();
                let mut places = Places::new(|_, greatest_ns| explicit.place(greatest_ns));
                let point = |times: Times, latency: &LatencyStats, attributes| {
                    let mut bucket_counts = vec![0_u64; bounds.len() + 1];
                    for (place, count) in places.of(latency) {
                        bucket_counts[place as usize] += count;
                    }
                    let count = bucket_counts.iter().sum();
                    HistogramDataPoint {
                        attributes,
                        start_time_unix_nano: times.start,
                        time_unix_nano: times.now,
                        count,
                        sum: Some(sum_of(count, latency)),
                        bucket_counts,
                        explicit_bounds: bounds.clone(),
                        ..HistogramDataPoint::default()
                    }
                };
                let accuracy = if explicit.are_exact() {
                    "The count at each bound is exact."
                } else {
                    "At each bound, calls that took less by no more than a bucket of toolmeter may \
                     count above it."
                };
                let data = |data_points| {
                    Data::Histogram(Histogram {
                        data_points,
                        aggregation_temporality: CUMULATIVE,
                    })
                };
                self.histograms(totals, accuracy, point, data)
            }
            Histograms::Exponential(exponential) => {
                let mut places = exponential.places();
                let point = |times: Times, latency: &LatencyStats, attributes| {
                    let counted = exponential.counted(latency, &mut places);
                    let buckets = &counted.positive.bucket_counts;
                    let count = counted.zero_count + buckets.iter().sum::<u64>();
                    ExponentialHistogramDataPoint {
                        attributes,
                        start_time_unix_nano: times.start,
                        time_unix_nano: times.now,
                        count,
                        sum: Some(sum_of(count, latency)),
                        scale: counted.scale,
                        zero_count: counted.zero_count,
                        positive: Some(counted.positive),
                        ..ExponentialHistogramDataPoint::default()
                    }
                };
                let accuracy = "Buckets of toolmeter, each counted where its middle lies.";
                let data = |data_points| {
                    Data::ExponentialHistogram(ExponentialHistogram {
                        data_points,
                        aggregation_temporality: CUMULATIVE,
                    })
                };
                self.histograms(totals, accuracy, point, data)
            }
        }
    }

    /// Returns the histograms of all tools: what is asked for, with points of one kind.
    fn histograms<P>(
        &self,
        totals: &Snapshot,
        accuracy: &str,
        mut point: impl FnMut(Times, &LatencyStats, Vec<KeyValue>) -> P,
        data: impl Fn(Vec<P>) -> Data,
    ) -> Vec<Metric> {
        let mut points = |attributes: fn(&'static str) -> Option<KeyValue>| {
            let mut points = Vec::with_capacity(totals.tools.len());
            for (tool, stats) in &totals.tools {
                let times = Times::since(stats.registered_at, totals);
                for (outcome, latency) in latencies(stats) {
                    if !latency.buckets().is_empty() || self.zero_points || outcome == SUCCESS {
                        let mut all = Vec::with_capacity(2);
                        all.push(text(TOOL, tool));
                        all.extend(attributes(outcome));
                        points.push(point(times, latency, all));
                    }
                }
            }
            points
        };
        let mut metrics = vec![metric(
            "toolmeter.call.duration",
            "s",
            &format!("How long attempts took, by how they ended. {accuracy}"),
            data(points(|outcome| Some(text(OUTCOME, outcome)))),
        )];
        if self.execute_tool_duration {
            metrics.push(metric(
                "gen_ai.execute_tool.duration",
                "s",
                &format!("How long executions of a tool took, each attempt by itself. {accuracy}"),
                data(points(|outcome| match outcome {
                    SUCCESS => None,
                    FAILURE => Some(text(ERROR_TYPE, OTHER)),
                    outcome => Some(text(ERROR_TYPE, outcome)),
                })),
            ));
        }
        metrics
    }
}

/// The times of a point, in nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

impl Times {
    /// The time of a snapshot, for what was counted since `start`.
    fn since(start: SystemTime, totals: &Snapshot) -> Self {
        let start = unix_nanos(start);
        let now = unix_nanos(totals.taken_at).max(start);
        Self { start, now }
    }

    fn number(self, count: u64, attributes: Vec<KeyValue>) -> NumberDataPoint {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        NumberDataPoint {
            attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            value: Some(number_data_point::Value::AsInt(count)),
            ..NumberDataPoint::default()
        }
    }
}

/// Nanoseconds since 1970; a time before that is 0, which stands for unknown.
fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// All latencies added up, in seconds. A reading that holds the latency of a call whose count the next
/// one holds may have a sum and no count, which OTLP does not allow.
fn sum_of(count: u64, latency: &LatencyStats) -> f64 {
    if count == 0 {
        0.0
    } else {
        latency.sum().as_nanos() as f64 / 1e9
    }
}

/// One way in which calls ended.
struct Ending {
    outcome: &'static str,
    error_type: Option<&'static str>,
    count: u64,
}

impl Ending {
    fn attributes(&self) -> impl Iterator<Item = KeyValue> {
        let error_type = self.error_type.map(|kind| text(ERROR_TYPE, kind));
        [text(OUTCOME, self.outcome)].into_iter().chain(error_type)
    }
}

/// All the ways in which calls of a tool can end.
fn endings(stats: &ToolStats) -> impl Iterator<Item = Ending> {
    let ending = |outcome, error_type, count| Ending {
        outcome,
        error_type,
        count,
    };
    let failures = ErrorKind::ALL.into_iter().map(move |kind| {
        let name = match kind {
            ErrorKind::Other => OTHER,
            kind => kind.as_str(),
        };
        let count = stats.failures_by_kind.get(&kind).copied();
        ending(FAILURE, Some(name), count.unwrap_or(0))
    });
    [ending(SUCCESS, None, stats.success())]
        .into_iter()
        .chain(failures)
        .chain([
            ending(CANCELLED, Some(CANCELLED), stats.cancelled()),
            ending(REJECTED, Some(REJECTED), stats.rejected),
        ])
}

fn latencies(stats: &ToolStats) -> [(&'static str, &LatencyStats); 3] {
    let latency = &stats.latency;
    [
        (SUCCESS, &latency.success),
        (FAILURE, &latency.failure),
        (CANCELLED, &latency.cancelled),
    ]
}

/// What each tool has one number of.
fn by_tool(totals: &Snapshot) -> [Metric; 3] {
    let points = |count: fn(&ToolStats) -> u64| {
        let tools = totals.tools.iter();
        let point = |(tool, stats): (&std::sync::Arc<str>, &std::sync::Arc<ToolStats>)| {
            let times = Times::since(stats.registered_at, totals);
            times.number(count(stats), vec![text(TOOL, tool)])
        };
        tools.map(point).collect::<Vec<_>>()
    };
    [
        sum(
            "toolmeter.in_flight",
            "{call}",
            "Calls that started and did not end yet.",
            points(|stats| stats.in_flight),
            false,
        ),
        counter(
            "toolmeter.retried",
            "{call}",
            "Calls that started as a second attempt or a later one.",
            points(|stats| stats.retried),
        ),
        counter(
            "toolmeter.recovered",
            "{call}",
            "Successes of a second attempt or a later one.",
            points(|stats| stats.recovered),
        ),
    ]
}

/// What belongs to no tool.
fn of_registry(totals: &Snapshot, events: EventAccounting) -> Vec<Metric> {
    let times = Times::since(totals.started_at, totals);
    let one = |name, unit, description, count| {
        let points = vec![times.number(count, Vec::new())];
        counter(name, unit, description, points)
    };
    let mut metrics = vec![
        one(
            "toolmeter.unknown_calls",
            "{call}",
            "Calls by a name that no tool has.",
            totals.unknown_tool_calls,
        ),
        one(
            "toolmeter.events.offered",
            "{event}",
            "Events that calls offered to subscribers.",
            events.offered,
        ),
        one(
            "toolmeter.events.lost",
            "{event}",
            "Events that found no room, or came after the registry was shut down.",
            events.lost_in_rings,
        ),
    ];
    if let Some(nameless) = &totals.nameless {
        let calls = endings(&nameless.stats)
            .filter(|ending| ending.count > 0)
            .map(|ending| times.number(ending.count, ending.attributes().collect()));
        let tools = Gauge {
            data_points: vec![times.number(nameless.tools, Vec::new())],
        };
        metrics.extend([
            metric(
                "toolmeter.nameless_tools",
                "{tool}",
                "Tools that are gone and not told apart any more.",
                Data::Gauge(tools),
            ),
            counter(
                "toolmeter.nameless_calls",
                "{call}",
                "Calls of tools that are gone and not told apart any more.",
                calls.collect(),
            ),
        ]);
    }
    metrics
}

fn counter(name: &str, unit: &str, description: &str, points: Vec<NumberDataPoint>) -> Metric {
    sum(name, unit, description, points, true)
}

fn sum(
    name: &str,
    unit: &str,
    description: &str,
    data_points: Vec<NumberDataPoint>,
    is_monotonic: bool,
) -> Metric {
    let data = Data::Sum(Sum {
        data_points,
        aggregation_temporality: CUMULATIVE,
        is_monotonic,
    });
    metric(name, unit, description, data)
}

fn metric(name: &str, unit: &str, description: &str, data: Data) -> Metric {
    Metric {
        name: name.into(),
        unit: unit.into(),
        description: description.into(),
        data: Some(data),
        ..Metric::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.into())),
        }),
        ..KeyValue::default()
    }
}
