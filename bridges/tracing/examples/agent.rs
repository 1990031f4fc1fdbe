//! An agent's turn as spans: what the tools log nests in the span of each call, and the calls in
//! the span of the agent.
//!
//! ```sh
//! cargo run --package toolmeter-tracing --example agent
//! ```
//!
//! It prints what `tracing-subscriber` writes, and then the spans as OpenTelemetry's SDK would
//! export them.

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use serde_json::json;
use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;
use toolmeter::auto_run::{AutoRun, CallResult, Model, ToolCall, Turn};
use toolmeter::{ErrorKind, Registry, ToolError, async_tool, sync_tool};
use toolmeter_tracing::ToolSpans;
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Asks for three tools at once, then is done.
struct Script(bool);

impl Model for Script {
    type Error = Infallible;

    async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
        if std::mem::replace(&mut self.0, true) {
            return Ok(Turn::Done(json!(results.len())));
        }
        Ok(Turn::Calls(vec![
            ToolCall::new("web_search", json!({ "query": "loom" })).id("call_1"),
            ToolCall::new("read_file", json!({ "path": "/no/such/file" })).id("call_2"),
            ToolCall::new("teleport", json!({})).id("call_3"),
        ]))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    tracing_subscriber::registry()
        .with(
            tracing_subscriber::fmt::layer()
                .without_time()
                .with_target(false)
                .with_ansi(false),
        )
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("agent")))
        .init();

    let registry = Registry::builder()
        .instrument(ToolSpans::new().record_arguments())
        .build()?;
    registry.register_tool(async_tool("web_search", |call| async move {
        tracing::info!(attempt = call.attempt, "asking");
        tokio::time::sleep(Duration::from_millis(5)).await;
        match call.attempt {
            1 => Err(ToolError::new(ErrorKind::Network, "connection reset")),
            _ => Ok(json!({ "hits": 3 })),
        }
    }))?;
    registry.register_tool(sync_tool("read_file", |call| {
        tracing::info!("reading");
        let path = call.args["path"].as_str().unwrap_or_default();
        Ok(std::fs::read_to_string(path)?.into())
    }))?;

    let run = AutoRun::new(&registry).max_attempts(2);
    let agent = tracing::info_span!("invoke_agent", otel.name = "invoke_agent demo");
    let report = run.run(&mut Script(false)).instrument(agent).await;
    println!(
        "\n{} attempts, {} recovered\n",
        report.attempts, report.recovered
    );

    for span in exporter.get_finished_spans()? {
        println!(
            "{} within {}: {:?}",
            span.name, span.parent_span_id, span.status
        );
        for attribute in &span.attributes {
            let name = attribute.key.as_str();
            if name.starts_with("gen_ai") || name.starts_with("error") || name.starts_with("tool") {
                println!("    {name} = {}", attribute.value);
            }
        }
    }
    Ok(())
}
