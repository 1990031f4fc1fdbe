//! The oracles of the fuzz targets: what each tries, and what must then hold.
//!
//! They stand apart from the targets so that a stable compiler runs them too: the tests of this
//! crate replay every kept input, and try random ones. A target in `fuzz_targets` only hands its
//! input over.
//!
//! | file | what it checks |
//! | --- | --- |
//! | [`buckets`] | from a latency to its bucket and back |
//! | [`slot_ops`] | the counters of one tool, their intervals and resets, against a list of calls |
//! | [`ring_ops`] | the rings of events and their drain, against queues |
//! | [`snapshot_json`] | any bytes as a snapshot |
//! | [`recording`] | any bytes as a recording of the example, which is then played |
//! | [`names_and_errors`] | any text as name, error message and context |
//!
//! `numbers.rs` and `sequence.rs` make numbers of every size and long sequences of an input's
//! bytes.
#![forbid(unsafe_code)]

pub mod buckets;
pub mod names_and_errors;
mod numbers;
pub mod recording;
pub mod ring_ops;
mod sequence;
pub mod slot_ops;
pub mod snapshot_json;

// The example's own files. What only its `main` uses of them is not used here.
#[allow(dead_code)]
#[path = "../../examples/agent_host/expected_counts.rs"]
mod expected_counts;
#[allow(dead_code)]
#[path = "../../examples/agent_host/replay.rs"]
mod replay;
#[allow(dead_code)]
#[path = "../../examples/agent_host/trace.rs"]
mod trace;

#[cfg(test)]
mod tests;
