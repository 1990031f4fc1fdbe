//! Sends what a host counted to a receiver of OTLP over HTTP, twice, with calls in between:
//!
//! ```text
//! cargo run --example send -- http://127.0.0.1:4318/v1/metrics
//! ```
//!
//! Without an address it sends nothing, and says how many bytes it would send.

use std::error::Error;
use std::time::Duration;
use toolmeter::{ErrorKind, Registry};
use toolmeter_otlp::{Exponential, OtlpMetrics};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let tools = Registry::new();
    let metrics = OtlpMetrics::new(&tools)
        .service_name("send-example")
        .exponential(Exponential::new())
        .execute_tool_duration(true);

    let search = tools.register("web_search")?;
    let shell = tools.register("shell")?;
    for round in 1..=2 {
        search.run(|| Ok::<_, String>("hit"))?;
        shell.start().fail(ErrorKind::Timeout, "killed after 30 s");
        let body = metrics.encode().ok_or("the registry is gone")?;
        println!("request {round}: {} bytes", body.len());
        let Some(address) = &address else { continue };
        let answer = ureq::post(address)
            .config()
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .content_type("application/x-protobuf")
            .send(&body[..])?;
        println!("answered: {}", answer.status());
    }
    Ok(())
}
