//! [`ToolCollector`]: one scrape, from the totals of a registry to the encoder of prometheus-client.
//!
//! # A scrape
//!
//! A scrape reads [`Registry::totals`](toolmeter::Registry::totals) once, when it begins, and writes only
//! that. So the metrics of a tool agree with each other: the count of a histogram is the sum of its
//! buckets, and the calls of an outcome are that count. Only the kinds of failures may be ahead of the
//! histogram, by calls that were just finishing.
//!
//! No lock of the registry is held while the page is written, however long that takes.

#[cfg(feature = "native")]
use crate::native::{Native, SCHEMAS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use toolmeter::{
    EventAccounting, LatencyBounds, NamelessTools, OUTCOMES, Outcome, Registry, Snapshot,
    WeakRegistry, error_type,
};

/// A collector of the tools of a registry.
///
/// It reads [`Registry::totals`] at each scrape, and holds a [`WeakRegistry`]: the host owns its registry,
/// and a collector does not keep it alive. Once the registry is gone, a scrape writes nothing of it, and
/// Prometheus marks its series as ended. If the last owner drops the registry during a scrape, that scrape is
/// still complete, and the registry is dropped on the scrape's thread after it.
///
/// Register one collector for a page. Two on one page would write each metric's name twice, which
/// Prometheus refuses; give the second a prefix with
/// [`sub_registry_with_prefix`](prometheus_client::registry::Registry::sub_registry_with_prefix), or
/// merge the registries into one.
///
/// # Examples
///
/// ```
/// use toolmeter_prometheus::prometheus_client::{encoding::prometheus_text, registry::Registry};
/// use toolmeter::LatencyBounds;
/// use toolmeter_prometheus::{ToolCollector, ZeroSeries};
///
/// let tools = toolmeter::Registry::new();
/// let collector = ToolCollector::new(&tools)
///     .bounds(LatencyBounds::powers_of_two(14..=34))
///     .zero_series(ZeroSeries::Success);
/// let mut metrics = Registry::default();
/// metrics.register_collector(Box::new(collector));
///
/// tools.register("shell")?;
/// let mut page = String::new();
/// prometheus_text::encode(&mut page, &metrics)?;
/// // Seen by Prometheus before the first call, so that no call is missed.
/// assert!(page.contains(r#"toolmeter_calls_total{tool="shell",outcome="success",error_type=""} 0"#));
///
/// drop(tools);
/// page.clear();
/// prometheus_text::encode(&mut page, &metrics)?;
/// assert_eq!(page, "");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ToolCollector {
    registry: WeakRegistry,
    bounds: LatencyBounds,
    zeros: ZeroSeries,
    #[cfg(feature = "native")]
    schema: Option<i8>,
}

/// The series that a tool has before any call is counted.
///
/// Prometheus sees no increase in the first sample of a series. So `rate` and `increase` contain what
/// is counted between two scrapes only if the first of them had the series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZeroSeries {
    /// The counter and the histogram of successes. The first failure of each kind shows no increase.
    Success,
    /// The counters of every outcome and kind, and the histogram of successes. Rates of calls and of
    /// errors miss nothing; the histogram of an outcome begins with its first call.
    #[default]
    Calls,
    /// All counters and all three histograms.
    All,
}

impl ToolCollector {
    /// Returns a collector of all tools of a registry, which it does not keep alive.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.downgrade(),
            bounds: LatencyBounds::default(),
            zeros: ZeroSeries::default(),
            #[cfg(feature = "native")]
            schema: None,
        }
    }

    /// Sets the bounds of the histograms.
    #[must_use]
    pub fn bounds(mut self, bounds: LatencyBounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Sets the series that a tool has before any call is counted.
    #[must_use]
    pub fn zero_series(mut self, zeros: ZeroSeries) -> Self {
        self.zeros = zeros;
        self
    }

    /// Adds native histograms of this schema: `2^schema` buckets to an octave, -4 to 8. A schema outside
    /// is treated as the nearest.
    ///
    /// They reach Prometheus in its protobuf format only, as
    /// [`encode_to_vec`](prometheus_client::encoding::prometheus_protobuf::encode_to_vec) writes it;
    /// a text shows the classic buckets. Counts and sums are exact. A latency is in its own native
    /// bucket, or above it by less than the width of toolmeter's bucket: 3.2% with the default
    /// precision, so a schema above 5 shows no more than 5.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_prometheus::ToolCollector;
    /// use toolmeter_prometheus::prometheus_client::{encoding::prometheus_protobuf, registry::Registry};
    ///
    /// let tools = toolmeter::Registry::new();
    /// let mut metrics = Registry::default();
    /// metrics.register_collector(Box::new(ToolCollector::new(&tools).native(3)));
    /// tools.register("shell")?.start().succeed();
    ///
    /// let families = prometheus_protobuf::encode(&metrics)?;
    /// let durations = families.iter().find(|f| f.name == "toolmeter_call_duration_seconds").unwrap();
    /// let histogram = durations.metric[0].histogram.as_ref().unwrap();
    /// assert_eq!((histogram.schema, histogram.sample_count), (3, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "native")]
    #[must_use]
    pub fn native(mut self, schema: i8) -> Self {
        self.schema = Some(schema.clamp(*SCHEMAS.start(), *SCHEMAS.end()));
        self
    }
}

impl Collector for ToolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(registry) = self.registry.upgrade() else {
            return Ok(());
        };
        let totals = registry.totals();
        self.calls(&mut encoder, &totals)?;
        self.durations(&mut encoder, &totals)?;
        by_tool(&mut encoder, &totals)?;
        of_registry(&mut encoder, &totals, registry.event_accounting())?;
        match &totals.nameless {
            Some(nameless) => nameless_tools(&mut encoder, nameless),
            None => Ok(()),
        }
    }
}

impl ToolCollector {
    fn calls(&self, encoder: &mut DescriptorEncoder<'_>, totals: &Snapshot) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "toolmeter_calls",
            "Attempts at calling a tool that ended, by how they ended, and calls that were rejected.",
            None,
            MetricType::Counter,
        )?;
        for (tool, stats) in &totals.tools {
            for outcome in OUTCOMES {
                let count = stats.count(outcome);
                let is_shown = count > 0
                    || match self.zeros {
                        ZeroSeries::Success => outcome == Outcome::Success,
                        ZeroSeries::Calls | ZeroSeries::All => true,
                    };
                if is_shown {
                    let [outcome, error_type] = labels(outcome);
                    counter(&mut metric, &[of(tool), outcome, error_type], count)?;
                }
            }
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>, totals: &Snapshot) -> fmt::Result {
        let help = if self.bounds.are_exact() {
            "How long attempts took, by how they ended. The count at each bound is exact."
        } else {
            "How long attempts took, by how they ended. At each bound, calls that took less by no \
             more than a bucket of toolmeter may count above it."
        };
        let mut metric = encoder.encode_descriptor(
            "toolmeter_call_duration",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        let mut cells = Vec::with_capacity(self.bounds.len() + 1);
        #[cfg(feature = "native")]
        let mut native = Native::default();
        for (tool, stats) in &totals.tools {
            for (class, latency) in stats.latency.by_class() {
                if latency.buckets().is_empty()
                    && class != Outcome::SUCCESS
                    && self.zeros != ZeroSeries::All
                {
                    continue;
                }
                cells.clear();
                cells.extend(self.bounds.counts(latency));
                let count = latency.count();
                let sum = latency.sum().as_secs_f64();
                let labels = [of(tool), (OUTCOME, class.as_str())];
                let labels = labels.as_slice();
                let mut series = metric.encode_family(&labels)?;
                #[cfg(feature = "native")]
                if let Some(schema) = self.schema {
                    native.count(latency, schema);
                    let native = native.histogram(schema, stats.registered_at);
                    series.encode_histogram_with_native::<NoLabelSet>(
                        sum, count, &cells, None, native,
                    )?;
                    continue;
                }
                series.encode_histogram::<NoLabelSet>(sum, count, &cells, None)?;
            }
        }
        Ok(())
    }
}

const OUTCOME: &str = "outcome";

/// Returns the label that names a tool. Encoders escape its value.
fn of(name: &Arc<str>) -> (&'static str, &str) {
    ("tool", name)
}

/// Returns the labels that name an outcome. A success has an empty `error_type`.
fn labels(outcome: Outcome) -> [(&'static str, &'static str); 2] {
    let error_type = error_type(outcome).unwrap_or_default();
    [(OUTCOME, outcome.as_str()), ("error_type", error_type)]
}

fn by_tool(encoder: &mut DescriptorEncoder<'_>, totals: &Snapshot) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "toolmeter_in_flight",
        "Attempts that started and did not end yet.",
        None,
        MetricType::Gauge,
    )?;
    for (tool, stats) in &totals.tools {
        gauge(&mut metric, &[of(tool)], &stats.in_flight)?;
    }
    let mut metric = encoder.encode_descriptor(
        "toolmeter_retried",
        "Attempts that started as the second of a call or a later one.",
        None,
        MetricType::Counter,
    )?;
    for (tool, stats) in &totals.tools {
        counter(&mut metric, &[of(tool)], stats.retried)?;
    }
    let mut metric = encoder.encode_descriptor(
        "toolmeter_recovered",
        "Successes of a second attempt or a later one.",
        None,
        MetricType::Counter,
    )?;
    for (tool, stats) in &totals.tools {
        counter(&mut metric, &[of(tool)], stats.recovered)?;
    }
    Ok(())
}

fn of_registry(
    encoder: &mut DescriptorEncoder<'_>,
    totals: &Snapshot,
    events: EventAccounting,
) -> fmt::Result {
    for (name, help, count) in [
        (
            "toolmeter_unknown_calls",
            "Calls by a name that no tool has.",
            totals.unknown_tool_calls,
        ),
        (
            "toolmeter_events_offered",
            "Events of calls that were offered to subscribers.",
            events.offered,
        ),
        (
            "toolmeter_events_lost",
            "Events that found no room in their ring. No count of calls is lost by that.",
            events.lost_in_rings,
        ),
    ] {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        counter(&mut metric, &[], count)?;
    }
    let mut metric = encoder.encode_descriptor(
        "toolmeter_start_time",
        "When the registry was built, since the epoch. It changes when the host restarts.",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    gauge(&mut metric, &[], &since_epoch(totals.started_at))
}

fn nameless_tools(encoder: &mut DescriptorEncoder<'_>, nameless: &NamelessTools) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "toolmeter_nameless_tools",
        "Tools that are gone and not told apart any more.",
        None,
        MetricType::Gauge,
    )?;
    gauge(&mut metric, &[], &nameless.tools)?;
    let mut metric = encoder.encode_descriptor(
        "toolmeter_nameless_calls",
        "All that these tools ever counted, added when they became nameless: for sums, not rates.",
        None,
        MetricType::Counter,
    )?;
    for outcome in OUTCOMES {
        let count = nameless.stats.count(outcome);
        counter(&mut metric, &labels(outcome), count)?;
    }
    Ok(())
}

fn counter(metric: &mut MetricEncoder<'_>, labels: &[(&str, &str)], count: u64) -> fmt::Result {
    metric
        .encode_family(&labels)?
        .encode_counter(&count, None::<&Exemplar<NoLabelSet, u64>>)
}

fn gauge<V: prometheus_client::encoding::EncodeGaugeValue>(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    value: &V,
) -> fmt::Result {
    metric.encode_family(&labels)?.encode_gauge(value)
}

/// Returns seconds since the epoch, negative before it.
fn since_epoch(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}
