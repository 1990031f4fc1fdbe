//! Pushes what a host counted into the Prometheus exporter of the facade, and prints its page:
//!
//! ```text
//! cargo run --example push
//! ```

use metrics_exporter_prometheus::PrometheusBuilder;
use std::error::Error;
use toolmeter::{ErrorKind, Registry};
use toolmeter_metrics::{MetricsExporter, metrics};

fn main() -> Result<(), Box<dyn Error>> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    metrics::set_global_recorder(recorder)?;

    let tools = Registry::new();
    let mut exporter = MetricsExporter::new(&tools);
    let search = tools.register("web_search")?;
    let shell = tools.register("shell")?;
    for _ in 0..2 {
        search.run(|| Ok::<_, String>("hit"))?;
        shell.start().fail(ErrorKind::Timeout, "killed after 30 s");
        let exported = exporter.export();
        println!(
            "# {} calls pushed, {} latencies recorded, {} left out, {} panics",
            exported.calls, exported.latencies, exported.left_out, exported.panics
        );
    }
    println!("{}", page.render());
    Ok(())
}
