#![doc = include_str!("../README.md")]
//!
//! # Metrics
//!
//! | metric | kind | unit | labels |
//! | --- | --- | --- | --- |
//! | `toolmeter.calls` | counter | count | `tool`, `outcome`, `error_type` |
//! | `toolmeter.call.duration` | histogram | seconds | `tool`, `outcome` |
//! | `toolmeter.in_flight` | gauge | count | `tool` |
//! | `toolmeter.retried`, `toolmeter.recovered` | counter | count | `tool` |
//! | `toolmeter.unknown_calls` | counter | count | |
//! | `toolmeter.nameless_calls` | counter | count | `outcome`, `error_type` |
//! | `toolmeter.latencies_left_out` | counter | count | |
//!
//! `outcome` is `success`, `failure`, `cancelled` or `rejected`. `error_type` is empty for a success, the
//! kind of a failure (`other` as `_OTHER`), and the outcome itself for `cancelled` and `rejected`. A call
//! is an attempt: a call that failed twice and then succeeded counts three times, two of them in
//! `toolmeter.retried`. Rejected calls never ran, and are in no histogram.
//!
//! # What a histogram loses
//!
//! The facade accepts single values, not the buckets of a histogram. So each bucket of toolmeter is recorded
//! at its middle, once for each call in it: 1.6% off at most with the default precision, and so are sums. If
//! a tool and outcome had more than [`max_records`](MetricsExporter::max_records) calls since the last
//! export, that many of them are recorded, evenly spaced by rank. The rest is left out, and counted in
//! `toolmeter.latencies_left_out`. Counters stay exact.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod due;
mod exporter;

pub use exporter::{Exported, MetricsExporter};
pub use metrics;
