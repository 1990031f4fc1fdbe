//! Trace context through `params._meta`, from a metered client to a metered server.

#![cfg(feature = "opentelemetry")]

mod support;

use opentelemetry::trace::{SpanKind, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use support::{Tools, call};
use toolmeter::Registry;
use toolmeter_mcp::{Metered, MeteredClient, remote_parent};
use toolmeter_tracing::ToolSpans;
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn a_servers_span_is_a_child_of_the_clients() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let registry = || {
                let spans = ToolSpans::new().on_open(remote_parent);
                Registry::builder().instrument(spans).build().unwrap()
            };
            let (near, far) = tokio::io::duplex(4_096);
            let server = tokio::spawn(Metered::new(Tools::new(), &registry()).serve(near));
            let client = MeteredClient::new((), &registry()).server("a");
            let client = client.serve(far).await.unwrap();
            client.service().peer().call_tool(call("ok")).await.unwrap();
            drop(server.await.unwrap().unwrap());
        });
    });
    let spans = exporter.get_finished_spans().unwrap();
    let find = |kind: SpanKind| -> &SpanData {
        let mut found = spans
            .iter()
            .filter(|span| span.name == "tools/call ok" && span.span_kind == kind);
        found
            .next()
            .unwrap_or_else(|| panic!("{kind:?}: {spans:?}"))
    };
    let (client, server) = (find(SpanKind::Client), find(SpanKind::Server));
    assert_eq!(
        server.span_context.trace_id(),
        client.span_context.trace_id()
    );
    assert_eq!(server.parent_span_id, client.span_context.span_id());
    assert!(server.parent_span_is_remote);
    let attribute = |span: &SpanData, name: &str| {
        let found = span
            .attributes
            .iter()
            .find(|pair| pair.key.as_str() == name);
        found.map(|pair| pair.value.to_string())
    };
    assert_eq!(attribute(client, "gen_ai.tool.name").as_deref(), Some("ok"));
    assert_eq!(
        attribute(server, "mcp.method.name").as_deref(),
        Some("tools/call")
    );
    assert!(attribute(server, "jsonrpc.request.id").is_some());
}
