//! The oracles of the fuzz targets: the inputs of each, and the checks on them.
//!
//! They are separate from the targets, so that a stable compiler can run them, too: the tests of
//! this crate replay every kept input, and try random ones. A target in `fuzz_targets` only passes
//! its input on.
//!
//! | file | checks |
//! | --- | --- |
//! | [`buckets`] | from a latency to its bucket and back |
//! | [`slot_ops`] | the counters of one tool, their intervals and resets, against a list of calls |
//! | [`ring_ops`] | the rings of events and their drain, against queues |
//! | [`snapshot_json`] | any bytes as a snapshot |
//! | [`recording`] | any bytes as a recording of the example, which is then played |
//! | [`names_and_errors`] | any text as name, error message and context |
//!
//! `numbers.rs` and `sequence.rs` make numbers of every size and long sequences from the bytes of
//! an input.
#![forbid(unsafe_code)]

pub mod buckets;
pub mod names_and_errors;
mod numbers;
pub mod recording;
pub mod ring_ops;
mod sequence;
pub mod slot_ops;
pub mod snapshot_json;

// The example's own files. Items of them that only its `main` uses are unused here.
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
