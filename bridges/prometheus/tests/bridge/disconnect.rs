//! Scrapers that go away, on a real connection.

use crate::support::{Endpoint, assert_same, parsed};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use toolmeter::Registry;
use toolmeter_prometheus::ToolCollector;
use toolmeter_prometheus::prometheus_client::registry;

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_scraper_that_goes_away_holds_up_no_call_and_no_other_scrape() {
    let tools = Registry::builder().tool_limit(150).build().unwrap();
    // Pages of more than a megabyte, so that none fits into the buffers of a connection.
    let names = (0..150).map(|n| format!("tool_{n}_{}", "x".repeat(200)));
    let handles = tools.register_all(names).unwrap();
    let mut metrics = registry::Registry::default();
    metrics.register_collector(Box::new(ToolCollector::new(&tools)));
    let endpoint = Endpoint::new(metrics);
    let address = endpoint.address;

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
