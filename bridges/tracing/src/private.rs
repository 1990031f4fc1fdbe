//! The macro [`tool_spans`](crate::tool_spans), and the values of the fields that it expands to.
//!
//! Where no subscriber is interested in the span, none of these values is made: nothing is formatted or
//! allocated.

use std::fmt;
pub use toolmeter::CallBegin;
pub use tracing;

/// The name of a span. It contains the tool's name only if there is such a tool: a model may make up any
/// number of names, and spans should have few.
#[derive(Debug)]
pub struct SpanName<'a>(pub &'a CallBegin<'a>);

impl fmt::Display for SpanName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(label(self.0, "mcp.method.name").unwrap_or("execute_tool"))?;
        if self.0.tool.is_some() {
            let name = label(self.0, "gen_ai.tool.name").unwrap_or(self.0.name);
            write!(f, " {name}")?;
        }
        Ok(())
    }
}

/// Returns the value of a label of the call, if it has one.
#[must_use]
pub fn label<'a>(call: &CallBegin<'a>, name: &str) -> Option<&'a str> {
    call.context?.label_value(name)
}

/// Returns the kind of the span: `client` or `server` for a call of a protocol.
#[must_use]
pub fn kind(call: &CallBegin<'_>) -> &'static str {
    match label(call, "otel.kind") {
        Some("client") => "client",
        Some("server") => "server",
        _ => "internal",
    }
}

/// Creates a [`ToolSpans`](crate::ToolSpans) whose spans have another target than `toolmeter`.
///
/// `tracing` takes the target of a span from the place in the code that opens it. So the target is a
/// constant, and this is a macro.
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
/// use toolmeter_tracing::tool_spans;
///
/// let spans = tool_spans!(target: "my_host::tools");
/// let registry = Registry::builder().instrument(spans).build()?;
/// # Ok::<(), toolmeter::BuildError>(())
/// ```
#[macro_export]
macro_rules! tool_spans {
    (target: $target:expr) => {{
        macro_rules! open {
                        ($level:ident, $call:ident) => {
                            $crate::private::tracing::span!(
                                target: $target,
                                $crate::private::tracing::Level::$level,
                                "execute_tool",
                                otel.name = %$crate::private::SpanName($call),
                                otel.kind = $crate::private::kind($call),
                                otel.status_code = $crate::private::tracing::field::Empty,
                                otel.status_description = $crate::private::tracing::field::Empty,
                                gen_ai.operation.name = "execute_tool",
                                gen_ai.tool.name = $crate::private::label($call, "gen_ai.tool.name")
                                    .unwrap_or($call.name),
                                gen_ai.tool.call.id = $call
                                    .context
                                    .map(|context| &*context.call)
                                    .filter(|id| !id.is_empty()),
                                gen_ai.tool.call.arguments = $crate::private::tracing::field::Empty,
                                gen_ai.tool.call.result = $crate::private::tracing::field::Empty,
                                mcp.method.name = $crate::private::label($call, "mcp.method.name"),
                                mcp.protocol.version =
                                    $crate::private::label($call, "mcp.protocol.version"),
                                mcp.session.id = $crate::private::label($call, "mcp.session.id"),
                                jsonrpc.request.id =
                                    $crate::private::label($call, "jsonrpc.request.id"),
                                error.type = $crate::private::tracing::field::Empty,
                                toolmeter.attempt = $call.attempt,
                            )
                        };
                    }
        // One place in the code for each level, since the level of a place is static, too.
        $crate::ToolSpans::opened_by(
            |level: $crate::private::tracing::Level, call: &$crate::private::CallBegin<'_>| {
                match level {
                    $crate::private::tracing::Level::ERROR => open!(ERROR, call),
                    $crate::private::tracing::Level::WARN => open!(WARN, call),
                    $crate::private::tracing::Level::INFO => open!(INFO, call),
                    $crate::private::tracing::Level::DEBUG => open!(DEBUG, call),
                    $crate::private::tracing::Level::TRACE => open!(TRACE, call),
                }
            },
        )
    }};
}
