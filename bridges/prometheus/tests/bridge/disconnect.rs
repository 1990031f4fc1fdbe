//! Scrapers that go away, on a real connection.

use crate::support::{assert_same, page, parsed};
use axum::{Router, extract::State, routing::get};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use toolmeter::Registry;
use toolmeter_prometheus::ToolCollector;
use toolmeter_prometheus::prometheus_client::registry;

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn serve(State(metrics): State<Arc<registry::Registry>>) -> String {
    page(&metrics)
}

#[test]
fn a_scraper_that_goes_away_holds_up_no_call_and_no_other_scrape() {
    let tools = Registry::builder().tool_limit(150).build().unwrap();
    // Pages of more than a megabyte, so that none fits into the buffers of a connection.
    let names = (0..150).map(|n| format!("tool_{n}_{}", "x".repeat(200)));
    let handles = tools.register_all(names).unwrap();
    let mut metrics = registry::Registry::default();
    metrics.register_collector(Box::new(ToolCollector::new(&tools)));
    let runtime = Runtime::new().unwrap();
    let app = Router::new()
        .route("/metrics", get(serve))
        .with_state(Arc::new(metrics));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(axum::serve(listener, app).into_future());

    let connect = || {
        let connection = TcpStream::connect(address).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        connection
    };
    // Held open: asked for a page, and never reads it.
    let mut stuck = Vec::new();
    for handle in handles.iter().take(6) {
        connect().write_all(&REQUEST[..20]).unwrap();
        let mut gone = connect();
        gone.write_all(REQUEST).unwrap();
        drop(gone);
        let mut half = connect();
        half.write_all(REQUEST).unwrap();
        half.read_exact(&mut [0; 1_000]).unwrap();
        half.shutdown(Shutdown::Both).unwrap();
        let mut silent = connect();
        silent.write_all(REQUEST).unwrap();
        stuck.push(silent);
        handle.start().succeed();
    }

    let url = format!("http://{address}/metrics");
    let mut answer = ureq::get(&url).call().unwrap();
    let whole = answer
        .body_mut()
        .with_config()
        .limit(100 << 20)
        .read_to_string()
        .unwrap();
    assert!(whole.len() > 1 << 20);
    assert_same(&parsed(&whole), &tools.totals());
    drop(stuck);
}
