//! What toolmeter counted, as metrics of OTLP: [`OtlpMetrics`] makes an
//! [`ExportMetricsServiceRequest`] of [`Registry::totals`](toolmeter::Registry::totals), and the host
//! sends it with a client of its own.
//!
//! ```
//! use toolmeter_otlp::OtlpMetrics;
//!
//! let tools = toolmeter::Registry::new();
//! let metrics = OtlpMetrics::new(&tools).service_name("agent-host");
//! tools.register("web_search")?.start().succeed();
//!
//! // The body of a POST to `/v1/metrics`, with `Content-Type: application/x-protobuf`.
//! let body: Vec<u8> = metrics.encode().expect("the registry lives");
//! assert!(!body.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
//! | `gen_ai.execute_tool.duration`, if [asked for](OtlpMetrics::execute_tool_duration) | histogram | `s` | `gen_ai.tool.name`, `error.type` |
//!
//! `toolmeter.outcome` is `success`, `failure`, `cancelled` or `rejected`. As the semantic conventions
//! want it, `error.type` is absent from a success; for a failure it is the kind (`other` as `_OTHER`),
//! for the others the outcome. A call is an attempt: a call that failed twice and then succeeded counts
//! three times, two of them in `toolmeter.retried`. Rejected calls never ran, and are in no histogram.
//!
//! The nameless ones are there only if more tools are gone than the registry remembers by name; see
//! [`Snapshot::nameless`](toolmeter::Snapshot::nameless). Such a tool brings all that it ever counted
//! at once, so they are good for sums and not for rates.
//!
//! # Start times
//!
//! Everything is cumulative. The series of a tool start when its name was registered for the *first*
//! time: a tool that is deregistered and registered again continues its counts, so nothing restarts,
//! and a later start time would make a receiver count all of it once more. Only a name that fell among
//! the nameless ones, and comes back, starts anew, from zero and with a new start time. What belongs to
//! no tool starts when the registry was built. Resets and intervals are not seen.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod bounds;
mod exponential;
mod places;
mod request;

pub use bounds::{Bounds, BoundsError};
pub use exponential::Exponential;
pub use opentelemetry_proto;
pub use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
pub use prost;
pub use request::OtlpMetrics;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
