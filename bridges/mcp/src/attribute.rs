//! The names of labels that `toolmeter-tracing` records: those of OpenTelemetry's conventions for
//! MCP, and `otel.kind`.

/// The side of the connection on which the call is metered: `client` or `server`.
pub(crate) const KIND: &str = "otel.kind";
pub(crate) const METHOD: &str = "mcp.method.name";
pub(crate) const PROTOCOL: &str = "mcp.protocol.version";
pub(crate) const REQUEST: &str = "jsonrpc.request.id";
pub(crate) const SESSION: &str = "mcp.session.id";
/// The server's own name for the tool.
pub(crate) const TOOL: &str = "gen_ai.tool.name";
