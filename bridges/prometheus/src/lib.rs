//! What toolmeter counted, for Prometheus: a [`ToolCollector`] that is registered with
//! [`prometheus_client`] and reads [`Registry::totals`](toolmeter::Registry::totals) at each scrape.
//!
//! ```
//! use toolmeter_prometheus::ToolCollector;
//! use toolmeter_prometheus::prometheus_client::{encoding::text, registry};
//!
//! let tools = toolmeter::Registry::new();
//! let mut metrics = registry::Registry::default();
//! metrics.register_collector(Box::new(ToolCollector::new(&tools)));
//!
//! tools.register("web_search")?.start().succeed();
//!
//! let mut page = String::new();
//! text::encode(&mut page, &metrics)?;
//! assert!(page.contains(
//!     r#"toolmeter_calls_total{tool="web_search",outcome="success",error_type=""} 1"#
//! ));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
//! so `error_type!=""` selects all that was no success. A call is an attempt: a call that failed twice and
//! then succeeded counts three times, two of them in `toolmeter_retried_total`. Rejected calls never
//! ran, and are in no histogram.
//!
//! The last two are there only if more tools are gone than the registry remembers by name; see
//! [`Snapshot::nameless`](toolmeter::Snapshot::nameless). Such a tool brings all that it ever counted
//! at once, so they are good for sums and not for rates.
//!
//! # What is exact
//!
//! Counts, and the buckets of [`Bounds::powers_of_two`]. No counter decreases while the registry
//! lives, also if metrics are reset, or tools deregistered and registered again.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod bounds;
mod collector;
#[cfg(feature = "native")]
mod native;

pub use bounds::{Bounds, BoundsError};
pub use collector::{ToolCollector, ZeroSeries};
pub use prometheus_client;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
