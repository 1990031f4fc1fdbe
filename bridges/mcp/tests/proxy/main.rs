//! The proxy: the tests of its modules, which an example cannot run itself, and of the program.
#![cfg(unix)]

#[path = "../../examples/mcp_proxy/args.rs"]
mod args;
#[path = "../../examples/mcp_proxy/follow.rs"]
mod follow;
#[path = "../../examples/mcp_proxy/scan/mod.rs"]
mod scan;

mod pressure;
mod program;
