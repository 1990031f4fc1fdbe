//! The names of labels: those of OpenTelemetry's conventions for MCP, which `toolmeter-tracing`
//! records, and our own.

/// `client` or `server`: whose side of the connection the call is metered on.
pub(crate) const KIND: &str = "otel.kind";
pub(crate) const METHOD: &str = "mcp.method.name";
pub(crate) const PROTOCOL: &str = "mcp.protocol.version";
pub(crate) const REQUEST: &str = "jsonrpc.request.id";
pub(crate) const SESSION: &str = "mcp.session.id";
/// The server's own name for the tool.
pub(crate) const TOOL: &str = "gen_ai.tool.name";
