#![doc = include_str!("../README.md")]
//!
//! # Features
//!
//! | feature | adds | default |
//! | --- | --- | --- |
//! | `http` | the session of a client over HTTP as the session of its calls | off |
//! | `opentelemetry` | trace context in `params._meta`, in both directions, for hosts that use tracing-opentelemetry | off |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attribute;
mod client;
mod contain;
mod hand_on;
mod held;
mod link;
mod live;
mod names;
mod remote;
mod server;
mod text;
mod trace;
mod transport;
mod verdict;

pub use client::{MeteredClient, MeteredPeer, PeerCall};
pub use names::Listed;
pub use rmcp;
pub use server::{Metered, OpenCalls};
#[cfg(feature = "opentelemetry")]
pub use trace::remote_parent;
pub use transport::MeteredTransport;
pub use verdict::{ByMcp, McpResult, verdict};
