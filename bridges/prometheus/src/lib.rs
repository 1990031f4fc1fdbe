#![doc = include_str!("../README.md")]
//!
//! # Metrics
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `toolmeter_calls_total` | counter | `tool`, `outcome`, `error_type` |
//! | `toolmeter_call_duration_seconds` | histogram | `tool`, `outcome` |
//! | `toolmeter_in_flight` | gauge | `tool` |
//! | `toolmeter_retried_total`, `toolmeter_recovered_total` | counter | `tool` |
//! | `toolmeter_unknown_calls_total` | counter | |
//! | `toolmeter_events_offered_total`, `toolmeter_events_lost_total` | counter | |
//! | `toolmeter_start_time_seconds` | gauge | |
//! | `toolmeter_nameless_tools` | gauge | |
//! | `toolmeter_nameless_calls_total` | counter | `outcome`, `error_type` |
//!
//! `outcome` is `success`, `failure`, `cancelled` or `rejected`. `error_type` is empty for a success,
//! the kind of a failure (`other` as `_OTHER`), and the outcome itself for `cancelled` and `rejected`;
//! so `error_type!=""` selects everything except successes. A call is an attempt: a call that failed
//! twice and then succeeded counts three times, two of them in `toolmeter_retried_total`. Rejected
//! calls never ran, and are in no histogram.
//!
//! The last two exist only if more tools are gone than the registry remembers by name; see
//! [`Snapshot::nameless`](toolmeter::Snapshot::nameless). Such a tool adds all that it ever counted
//! at once, so they are good for sums and not for rates.
//!
//! # What is exact
//!
//! Counts, and the buckets of
//! [`LatencyBounds::powers_of_two`](toolmeter::LatencyBounds::powers_of_two). No counter decreases
//! while the registry lives, even if metrics are reset, or tools deregistered and registered again.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod collector;
#[cfg(feature = "native")]
mod native;

pub use collector::{ToolCollector, ZeroSeries};
pub use prometheus_client;
