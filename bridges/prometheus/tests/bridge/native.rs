//! Native histograms, as the protobuf format carries them.

use std::sync::Arc;
use std::time::Duration;
use toolmeter::{ClockSource, ManualClock, Pump, Registry};
use toolmeter_prometheus::ToolCollector;
use toolmeter_prometheus::prometheus_client::encoding::prometheus_protobuf::{
    encode, prometheus_data_model::Histogram,
};
use toolmeter_prometheus::prometheus_client::registry;

/// The count of each native bucket, by its index.
fn buckets(histogram: &Histogram) -> Vec<(i32, i64)> {
    let mut next = 0;
    let mut indices = Vec::new();
    for span in &histogram.positive_span {
        next += span.offset;
        indices.extend(next..next + span.length as i32);
        next += span.length as i32;
    }
    let counts = histogram.positive_delta.iter().scan(0, |count, delta| {
        *count += delta;
        Some(*count)
    });
    assert_eq!(indices.len(), histogram.positive_delta.len());
    indices.into_iter().zip(counts).collect()
}

#[test]
fn counts_and_sum_are_exact_and_latencies_lie_in_their_buckets() {
    let clock = Arc::new(ManualClock::new());
    let tools = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .pump(Pump::manual())
        .build()
        .unwrap();
    let mut metrics = registry::Registry::default();
    metrics.register_collector(Box::new(ToolCollector::new(&tools).native(3)));
    let tool = tools.register("shell").unwrap();
    let latencies = (0..2_000_u64).map(|n| n * n * n * 31);
    for ns in latencies.clone() {
        let call = tool.start();
        clock.advance(Duration::from_nanos(ns));
        call.succeed();
    }

    let families = encode(&metrics).unwrap();
    let family = families
        .iter()
        .find(|family| family.name == "toolmeter_call_duration_seconds")
        .unwrap();
    let histogram = family.metric[0].histogram.as_ref().unwrap();
    let buckets = buckets(histogram);
    let counted: i64 = buckets.iter().map(|bucket| bucket.1).sum();
    assert_eq!((histogram.sample_count, histogram.zero_count), (2_000, 1));
    assert_eq!(counted, 1_999);
    let sum: u64 = latencies.clone().sum();
    assert_eq!(histogram.sample_sum, sum as f64 / 1e9);
    // The classic buckets are there as well.
    assert_eq!(histogram.bucket.len(), 20);

    // Up to each native bound: all latencies below it by more than a bucket of toolmeter, and none
    // above it.
    let mut seen = 0;
    for (index, count) in buckets {
        seen += count;
        let bound = (f64::from(index) / 8.0).exp2() * 1e9;
        let within = |bound: f64| {
            latencies
                .clone()
                .filter(|&ns| ns > 0 && ns as f64 <= bound)
                .count() as i64
        };
        assert!(
            (within(bound / (1.0 + 1.0 / 32.0))..=within(bound)).contains(&seen),
            "{index}"
        );
    }
}
