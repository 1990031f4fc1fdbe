//! Metered servers and clients of the Model Context Protocol, on [`rmcp`].
//!
//! - [`Metered`] goes around a [`ServerHandler`](rmcp::ServerHandler): each `tools/call` is a call
//!   of a tool in a [`toolmeter::Registry`].
//! - [`MeteredClient`] goes around a [`ClientHandler`](rmcp::ClientHandler), and gives a
//!   [`MeteredPeer`] through which the server's tools are called, with an attempt, a context and a
//!   time limit. They are registered for [`Registry::invoke`](toolmeter::Registry::invoke) and
//!   `AutoRun`, too.
//! - [`verdict`] and [`ByMcp`] judge what rmcp gives, for hosts that meter calls by themselves.
//!
//! The README shows them in use, what they keep and what they lose.
//!
//! # Features
//!
//! | feature | gives | default |
//! | --- | --- | --- |
//! | `http` | the session of a client over HTTP as the session of its calls | off |
//! | `opentelemetry` | trace context in `params._meta`, both ways, for hosts of tracing-opentelemetry | off |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod attribute;
mod client;
mod contain;
mod hand_on;
mod live;
mod names;
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

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
