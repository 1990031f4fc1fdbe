//! Tests of the proxy: those of its modules, which are not run as part of an example, and those of
//! the program.
#![cfg(unix)]

#[path = "../../examples/mcp_proxy/args.rs"]
mod args;
#[path = "../../examples/mcp_proxy/follow.rs"]
mod follow;
#[path = "../../examples/mcp_proxy/scan/mod.rs"]
mod scan;
#[path = "../../examples/common/signals.rs"]
mod signals;

mod pressure;
mod program;
