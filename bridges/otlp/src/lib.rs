#![doc = include_str!("../README.md")]
//!
//! # Metrics
//!
//! | metric | data | unit | attributes |
//! | --- | --- | --- | --- |
//! | `toolmeter.calls` | monotonic sum | `{call}` | `gen_ai.tool.name`, `toolmeter.outcome`, `error.type` |
//! | `toolmeter.call.duration` | histogram | `s` | `gen_ai.tool.name`, `toolmeter.outcome` |
//! | `toolmeter.in_flight` | sum | `{call}` | `gen_ai.tool.name` |
//! | `toolmeter.retried`, `toolmeter.recovered` | monotonic sum | `{call}` | `gen_ai.tool.name` |
//! | `toolmeter.unknown_calls` | monotonic sum | `{call}` | |
//! | `toolmeter.events.offered`, `toolmeter.events.lost` | monotonic sum | `{event}` | |
//! | `toolmeter.nameless_tools` | gauge | `{tool}` | |
//! | `toolmeter.nameless_calls` | monotonic sum | `{call}` | `toolmeter.outcome`, `error.type` |
//! | `gen_ai.execute_tool.duration`, if [enabled](OtlpMetrics::execute_tool_duration) | histogram | `s` | `gen_ai.tool.name`, `error.type` |
//!
//! `toolmeter.outcome` is `success`, `failure`, `cancelled` or `rejected`. As the semantic conventions
//! require, `error.type` is absent from a success; for a failure it is the kind (`other` as `_OTHER`),
//! for the others the outcome. A call is an attempt: a call that failed twice and then succeeded counts
//! three times, two of them in `toolmeter.retried`. Rejected calls never ran, and are in no histogram.
//!
//! The nameless ones exist only if more tools are gone than the registry remembers by name; see
//! [`Snapshot::nameless`](toolmeter::Snapshot::nameless). Such a tool adds all that it ever counted
//! at once, so they are good for sums and not for rates.
//!
//! # Start times
//!
//! Everything is cumulative. The series of a tool start when its name was registered for the *first*
//! time: a tool that is deregistered and registered again continues its counts. A later start time
//! would make a receiver count all of it again. Only a name that fell among the nameless ones, and
//! comes back, starts again from zero and with a new start time. What belongs to no tool starts when
//! the registry was built. Resets and intervals are not seen.
//!
//! # Files
//!
//! | file | what it owns |
//! | --- | --- |
//! | `request` | [`OtlpMetrics`]: the options, and one request |
//! | `counts` | the sums and gauges of a request |
//! | `durations` | the histograms of a request |
//! | `exponential` | [`Exponential`]: the buckets of exponential histograms, and their error |
//! | `places` | the exponential bucket of each bucket of toolmeter |
//! | `message` | attributes, times and points |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod counts;
mod durations;
mod exponential;
mod message;
mod places;
mod request;

pub use exponential::Exponential;
pub use opentelemetry_proto;
pub use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
pub use prost;
pub use request::OtlpMetrics;
