//! `opentelemetry_sdk`: a counter and a histogram of one meter, collected on demand.
//!
//! There are three rows: `handles` keeps the attributes ready and passes them at each call,
//! `by_name` makes them at each call, and `bound` uses bound instruments, which resolve them once.

use crate::row::{BOUNDS_SECONDS, Counted, Row, TOOL, timed};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Histogram, MeterProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, HistogramDataPoint, MetricData, ResourceMetrics, ScopeMetrics, SumDataPoint,
};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
};
use std::hint::black_box;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Returns all three rows, each with a provider of its own.
pub(super) fn rows() -> [Arc<dyn Row>; 3] {
    let attributes = [KeyValue::new("tool", TOOL)];
    let bound = Instruments::new();
    [
        Arc::new(Handles {
            attributes: attributes.clone(),
            instruments: Instruments::new(),
        }),
        Arc::new(Names(Instruments::new())),
        Arc::new(Bound {
            calls: bound.calls.bind(&attributes),
            latency: bound.latency.bind(&attributes),
            instruments: bound,
        }),
    ]
}

/// A reader that is shared, since the provider takes ownership of its reader and the rows collect
/// from it.
#[derive(Clone, Debug, Default)]
struct SharedReader(Arc<ManualReader>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

struct Instruments {
    calls: Counter<u64>,
    latency: Histogram<f64>,
    reader: SharedReader,
    /// Kept alive: a meter whose provider is gone records nothing.
    _provider: SdkMeterProvider,
}

impl Instruments {
    fn new() -> Self {
        let reader = SharedReader::default();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader.clone())
            .build();
        let meter = provider.meter("peers");
        Self {
            calls: meter.u64_counter("tool_calls").build(),
            latency: meter
                .f64_histogram("tool_latency")
                .with_unit("s")
                .with_boundaries(BOUNDS_SECONDS.to_vec())
                .build(),
            reader,
            _provider: provider,
        }
    }

    /// Returns what the reader finds; 0 for both when it cannot be read.
    fn counted(&self) -> Counted {
        let mut metrics = ResourceMetrics::default();
        let mut counted = Counted {
            successes: 0,
            samples: 0,
        };
        if self.reader.collect(&mut metrics).is_err() {
            return counted;
        }
        for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    counted.successes += sum.data_points().map(SumDataPoint::value).sum::<u64>();
                }
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    counted.samples += histogram
                        .data_points()
                        .map(HistogramDataPoint::count)
                        .sum::<u64>();
                }
                _ => {}
            }
        }
        counted
    }
}

struct Handles {
    attributes: [KeyValue; 1],
    instruments: Instruments,
}

impl Row for Handles {
    fn name(&self) -> &'static str {
        "opentelemetry_sdk/handles"
    }

    fn run(&self, calls: u64) {
        let Self {
            attributes,
            instruments,
        } = self;
        timed(calls, |latency| {
            instruments.calls.add(1, attributes);
            instruments
                .latency
                .record(latency.as_secs_f64(), attributes);
        });
    }

    fn counted(&self) -> Option<Counted> {
        Some(self.instruments.counted())
    }
}

struct Names(Instruments);

impl Row for Names {
    fn name(&self) -> &'static str {
        "opentelemetry_sdk/by_name"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            let attributes = [KeyValue::new("tool", black_box(TOOL))];
            self.0.calls.add(1, &attributes);
            self.0.latency.record(latency.as_secs_f64(), &attributes);
        });
    }

    fn counted(&self) -> Option<Counted> {
        Some(self.0.counted())
    }
}

struct Bound {
    calls: BoundCounter<u64>,
    latency: BoundHistogram<f64>,
    instruments: Instruments,
}

impl Row for Bound {
    fn name(&self) -> &'static str {
        "opentelemetry_sdk/bound"
    }

    fn run(&self, calls: u64) {
        timed(calls, |latency| {
            self.calls.add(1);
            self.latency.record(latency.as_secs_f64());
        });
    }

    fn counted(&self) -> Option<Counted> {
        Some(self.instruments.counted())
    }
}
