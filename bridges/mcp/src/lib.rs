//! Metered servers and clients of the Model Context Protocol, on [`rmcp`].

mod attribute;
mod contain;
mod live;
mod names;
mod server;
mod text;
mod transport;
mod verdict;

pub use names::Listed;
pub use rmcp;
pub use server::Metered;
pub use transport::MeteredTransport;
pub use verdict::{ByMcp, McpResult, verdict};
