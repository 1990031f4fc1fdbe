//! A host with a page for Prometheus: three tools, an endpoint, and one scrape of it.
//!
//! `cargo run --example endpoint` prints the page and ends. With `--serve` it goes on, calls its
//! tools, and prints where it can be scraped.

use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::{Router, extract::State, response::IntoResponse, routing::get};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use toolmeter::{ErrorKind, Registry};
use toolmeter_prometheus::ToolCollector;
use toolmeter_prometheus::prometheus_client::{encoding::prometheus_text, registry};

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn page(State(metrics): State<Arc<registry::Registry>>) -> impl IntoResponse {
    let mut page = String::new();
    match prometheus_text::encode(&mut page, &metrics) {
        Ok(()) => Ok(([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], page)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn work(tools: &Registry) {
    for (name, is_good) in [("web_search", true), ("read_file", false)] {
        if let Some(tool) = tools.tool(name) {
            let _ = tool.run(|| if is_good { Ok(()) } else { Err("no such file") });
        }
    }
    if let Some(shell) = tools.get("shell") {
        shell.start().fail(ErrorKind::ToolError, "exit status 1");
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let tools = Registry::new();
    tools.register_all(["web_search", "read_file", "shell"])?;
    work(&tools);

    let mut metrics = registry::Registry::default();
    metrics.register_collector(Box::new(ToolCollector::new(&tools)));
    let app = Router::new()
        .route("/metrics", get(page))
        .with_state(Arc::new(metrics));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/metrics", listener.local_addr()?);
    let server = tokio::spawn(axum::serve(listener, app).into_future());

    if std::env::args().any(|arg| arg == "--serve") {
        println!("{url}");
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            work(&tools);
        }
    }
    let scrape = move || ureq::get(&url).call()?.body_mut().read_to_string();
    print!("{}", tokio::task::spawn_blocking(scrape).await??);
    server.abort();
    Ok(())
}
