//! The histograms of a request, explicit or exponential.

use crate::exponential::Exponential;
use crate::message::{CUMULATIVE, ERROR_TYPE, OUTCOME, TOOL, Times, metric, text};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
};
use toolmeter::{
    ErrorKind, LatencyBounds, LatencyStats, Outcome, OutcomeClass, Snapshot, error_type,
};

/// The histograms that are made.
#[derive(Clone, Debug)]
pub(crate) struct Durations {
    pub(crate) buckets: Buckets,
    /// Adds `gen_ai.execute_tool.duration`.
    pub(crate) execute_tool: bool,
    /// Gives a tool points of outcomes that did not occur.
    pub(crate) zero_points: bool,
}

/// The buckets of the histograms.
#[derive(Clone, Debug)]
pub(crate) enum Buckets {
    Explicit(LatencyBounds),
    Exponential(Exponential),
}

impl Durations {
    /// Returns the histograms of all tools.
    pub(crate) fn metrics(&self, totals: &Snapshot) -> Vec<Metric> {
        match &self.buckets {
            Buckets::Explicit(bounds) => self.explicit(totals, bounds),
            Buckets::Exponential(exponential) => self.exponential(totals, *exponential),
        }
    }

    fn explicit(&self, totals: &Snapshot, bounds: &LatencyBounds) -> Vec<Metric> {
        let explicit_bounds: Vec<f64> = bounds.iter().collect();
        let point = |times: Times, latency: &LatencyStats, attributes| {
            let counts = bounds.counts(latency).map(|(_, count)| count);
            let bucket_counts: Vec<u64> = counts.collect();
            let count = bucket_counts.iter().sum();
            HistogramDataPoint {
                attributes,
                start_time_unix_nano: times.start,
                time_unix_nano: times.now,
                count,
                sum: Some(sum_of(count, latency)),
                bucket_counts,
                explicit_bounds: explicit_bounds.clone(),
                ..HistogramDataPoint::default()
            }
        };
        let accuracy = if bounds.are_exact() {
            "The count at each bound is exact."
        } else {
            "At each bound, calls that took less by no more than a bucket of toolmeter may count \
             above it."
        };
        let data = |data_points| {
            Data::Histogram(Histogram {
                data_points,
                aggregation_temporality: CUMULATIVE,
            })
        };
        self.of_all_tools(totals, accuracy, point, data)
    }

    fn exponential(&self, totals: &Snapshot, exponential: Exponential) -> Vec<Metric> {
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
        self.of_all_tools(totals, accuracy, point, data)
    }

    /// Returns the histograms of all tools, with points of one kind.
    fn of_all_tools<P>(
        &self,
        totals: &Snapshot,
        accuracy: &str,
        mut point: impl FnMut(Times, &LatencyStats, Vec<KeyValue>) -> P,
        data: impl Fn(Vec<P>) -> Data,
    ) -> Vec<Metric> {
        let mut points = |attribute: fn(OutcomeClass) -> Option<KeyValue>| {
            let mut points = Vec::with_capacity(totals.tools.len());
            for (tool, stats) in &totals.tools {
                let times = Times::since(stats.registered_at, totals);
                for (class, latency) in stats.latency.by_class() {
                    if !latency.buckets().is_empty()
                        || self.zero_points
                        || class == OutcomeClass::Success
                    {
                        let mut attributes = Vec::with_capacity(2);
                        attributes.push(text(TOOL, tool));
                        attributes.extend(attribute(class));
                        points.push(point(times, latency, attributes));
                    }
                }
            }
            points
        };
        let mut metrics = vec![metric(
            "toolmeter.call.duration",
            "s",
            &format!("How long attempts took, by how they ended. {accuracy}"),
            data(points(|class| Some(text(OUTCOME, class.as_str())))),
        )];
        if self.execute_tool {
            metrics.push(metric(
                "gen_ai.execute_tool.duration",
                "s",
                &format!("How long executions of a tool took, each attempt by itself. {accuracy}"),
                data(points(|class| {
                    let outcome = match class {
                        OutcomeClass::Success => Outcome::Success,
                        // Latencies are not told apart by the kind of a failure.
                        OutcomeClass::Failure => Outcome::Failure(ErrorKind::Other),
                        OutcomeClass::Cancelled => Outcome::Cancelled,
                    };
                    error_type(outcome).map(|name| text(ERROR_TYPE, name))
                })),
            ));
        }
        metrics
    }
}

/// Returns the sum of all latencies in seconds, or 0 without a count. A reading may hold the latency of a
/// call whose count is in the next one, and OTLP allows no sum without a count.
fn sum_of(count: u64, latency: &LatencyStats) -> f64 {
    if count == 0 {
        0.0
    } else {
        latency.sum().as_nanos() as f64 / 1e9
    }
}
