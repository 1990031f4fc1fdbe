//! [`OtlpMetrics`]: one request, from the totals of a registry to the messages of OTLP.
//!
//! A request reads [`Registry::totals`](toolmeter::Registry::totals) once. So the metrics of a tool agree
//! with each other: the count of a histogram is the sum of its buckets, and the calls of an outcome are
//! that count. Only the kinds of failures may be ahead of the histogram, by calls that were just
//! finishing.

use crate::counts::{by_tool, calls, of_registry};
use crate::durations::{Buckets, Durations};
use crate::exponential::Exponential;
use crate::message::text;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::collections::BTreeMap;
use toolmeter::{EventAccounting, LatencyBounds, Registry, Snapshot, WeakRegistry};

const SERVICE_NAME: &str = "service.name";

/// The tools of a registry as metrics of OTLP.
///
/// It holds a [`WeakRegistry`]: the host owns its registry, and this does not keep it alive. A registry
/// whose last owner goes while a request is made is dropped on the request's thread after that. Send
/// the last request before the registry is dropped; shutting it down first does no harm.
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
    durations: Durations,
}

impl OtlpMetrics {
    /// Returns the metrics of all tools of a registry, which it does not keep alive, in explicit
    /// histograms of the default [`LatencyBounds`].
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
            durations: Durations {
                buckets: Buckets::Explicit(LatencyBounds::default()),
                execute_tool: false,
                zero_points: false,
            },
        }
    }

    /// Sets `service.name`, by which receivers distinguish hosts of one kind from others. The default is
    /// `unknown_service`, as the conventions require.
    #[must_use]
    pub fn service_name(self, name: impl Into<String>) -> Self {
        self.resource_attribute(SERVICE_NAME, name)
    }

    /// Sets an attribute of the resource, in place of its earlier value.
    ///
    /// `service.instance.id` is the [registry's](Registry::instance_id), random at each start. A value
    /// of the host's own must differ from that of any other registry that runs at the same time, or
    /// receivers treat two series as one.
    #[must_use]
    pub fn resource_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.resource.insert(key.into(), value.into());
        self
    }

    /// Chooses explicit histograms with these bounds, the default.
    #[must_use]
    pub fn explicit(mut self, bounds: LatencyBounds) -> Self {
        self.durations.buckets = Buckets::Explicit(bounds);
        self
    }

    /// Chooses exponential histograms.
    #[must_use]
    pub fn exponential(mut self, exponential: Exponential) -> Self {
        self.durations.buckets = Buckets::Exponential(exponential);
        self
    }

    /// Adds `gen_ai.execute_tool.duration`, the metric of the semantic conventions for generative AI.
    ///
    /// Off by default; its status is Development. The convention's metric covers an operation with all its
    /// retries, and toolmeter's calls are attempts, so it is right for hosts that do not retry. Latencies
    /// are not separated by the kind of a failure, so `error.type` is `_OTHER` for all failures.
    #[must_use]
    pub fn execute_tool_duration(mut self, on: bool) -> Self {
        self.durations.execute_tool = on;
        self
    }

    /// Gives each tool points of every outcome and kind from its registration on, in place of only those
    /// that occurred.
    ///
    /// Off by default, since a point was zero at its start time. It is for receivers that ignore the start
    /// time, such as Prometheus, which sees no increase in the first sample of a series. A tool then has
    /// 19 points, where one that only ever succeeded has 5.
    #[must_use]
    pub fn zero_points(mut self, on: bool) -> Self {
        self.durations.zero_points = on;
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
        let mut metrics = vec![calls(totals, self.durations.zero_points)];
        metrics.extend(self.durations.metrics(totals));
        metrics.extend(by_tool(totals));
        metrics.extend(of_registry(totals, events));
        metrics
    }
}
