//! Trace context in `params._meta`, in the form of W3C.
//!
//! Without the feature `opentelemetry`, only the trace context that the host has written is sent.

use rmcp::model::CallToolRequestParams;

/// Writes the current span into the call, unless the host has written one.
#[cfg(feature = "opentelemetry")]
pub(crate) fn inject(params: &mut CallToolRequestParams) {
    use opentelemetry::trace::TraceContextExt;
    use rmcp::model::RequestParamsMeta;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    if params.traceparent().is_some() {
        return;
    }
    let context = tracing::Span::current().context();
    let span = context.span().span_context().clone();
    if !span.is_valid() {
        return;
    }
    let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags());
    params.set_traceparent(&format!("00-{trace}-{id}-{:02x}", flags.to_u8()));
    let state = span.trace_state().header();
    if !state.is_empty() {
        params.set_tracestate(&state);
    }
}

#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn inject(_: &mut CallToolRequestParams) {}

/// Makes the span of a call a child of the span that the client sent, as a function for
/// `toolmeter_tracing::ToolSpans::on_open`.
///
/// It reads the labels `traceparent` and `tracestate` of the call, which [`Metered`](crate::Metered)
/// sets. A call without them keeps its parent.
#[cfg(feature = "opentelemetry")]
pub fn remote_parent(span: &tracing::Span, call: &toolmeter::CallBegin<'_>) {
    use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
    use std::str::FromStr;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let label = |name| call.context.and_then(|context| context.label_value(name));
    let Some(parent) = label(crate::text::TRACEPARENT) else {
        return;
    };
    let mut parts = parent.split('-').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (trace, id, flags) = (part(), part(), part());
    let (Ok(trace), Ok(id), Ok(flags)) = (
        opentelemetry::TraceId::from_hex(trace),
        opentelemetry::SpanId::from_hex(id),
        u8::from_str_radix(flags, 16),
    ) else {
        return;
    };
    let state = label(crate::text::TRACESTATE)
        .and_then(|state| TraceState::from_str(state).ok())
        .unwrap_or_default();
    let remote = SpanContext::new(trace, id, TraceFlags::new(flags & 1), true, state);
    if remote.is_valid() {
        let context = opentelemetry::Context::new().with_remote_span_context(remote);
        // It fails only if no subscriber exports the span.
        let _ = span.set_parent(context);
    }
}
