//! A page, in the engines that scrape it. `tests/real` runs what is ignored here.

use crate::engine::{Engine, Error, PROMETHEUS, Program};
use crate::page::{Host, use_in_all_ways};
use crate::series::{differences, expected, found};
use crate::support::{Endpoint, page};
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const VICTORIA_METRICS: Program = Program {
    name: "victoria-metrics",
    arguments: |configuration, data, address| {
        vec![
            format!("-promscrape.config={}", configuration.display()),
            format!("-storageDataPath={}", data.display()),
            format!("-httpListenAddr={address}"),
            "-search.latencyOffset=0s".to_owned(),
            "-search.disableCache".to_owned(),
            "-loggerLevel=WARN".to_owned(),
        ]
    },
    ready: "/health",
};

const ALL: &str = "{__name__=~\"toolmeter_.+\"}";

/// A host whose tools have names from outside and were used in all ways.
fn used() -> Host {
    let host = Host::new();
    let names = [
        "web_search",
        r#"quote " and \ and \n"#,
        "größer 🦀 {x=\"1\"}",
        "idle",
    ];
    let tools = host.tools.register_all(names).unwrap();
    for tool in &tools[..3] {
        use_in_all_ways(&host, tool);
    }
    host.tools.unknown_call("teleport").count();
    host.tools.deregister("web_search").unwrap();
    host.tools.reset_metrics();
    host
}

fn promtool(arguments: &[&str], input: &str) {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
#[ignore = "needs Debian's prometheus and victoria-metrics"]
fn promtool_finds_nothing() {
    promtool(&["check", "metrics"], &page(&used().metrics));
    promtool(&["check", "metrics"], &page(&Host::new().metrics));
    promtool(&["check", "metrics"], &page(&nameless().metrics));
}

/// A host that remembers fewer tools by name than it had.
fn nameless() -> Host {
    let host = Host::with(|builder| builder.tool_limit(1), |collector| collector);
    for n in 0..3 {
        let tool = host.tools.register(format!("tool_{n}")).unwrap();
        tool.start().succeed();
        host.tools.deregister(tool.name()).unwrap();
    }
    assert!(page(&host.metrics).contains("toolmeter_nameless_tools 1"));
    host
}

#[test]
#[ignore = "needs Debian's prometheus and victoria-metrics"]
fn the_rules_are_right_and_fire() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fleet-rules.yml");
    promtool(&["check", "rules", "--lint=all", rules], "");
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rules.yml");
    promtool(&["test", "rules", tests], "");
}

#[test]
#[ignore = "needs Debian's prometheus and victoria-metrics"]
fn prometheus_reads_every_number() -> Result<(), Error> {
    let host = used();
    let expected = expected(&host.tools.totals());
    let endpoint = Endpoint::new(host.metrics);
    let engine = Engine::start(&PROMETHEUS, &[endpoint.address])?;
    engine.wait_for_scrapes()?;
    // With the feature `native` the page is asked for as protobuf, and a collector without native
    // histograms gives classic ones there, too.
    assert_eq!(differences(&found(&engine.query(ALL)?), &expected), [""; 0]);
    Ok(())
}

#[test]
#[ignore = "needs Debian's prometheus and victoria-metrics"]
fn victoria_metrics_reads_every_number() -> Result<(), Error> {
    let host = used();
    let expected = expected(&host.tools.totals());
    let endpoint = Endpoint::new(host.metrics);
    let engine = Engine::start(&VICTORIA_METRICS, &[endpoint.address])?;
    engine.wait_for_scrapes()?;
    // The samples of one scrape become visible one after the other, within a second or two.
    let began = Instant::now();
    let mut left = differences(&found(&engine.query(ALL)?), &expected);
    while !left.is_empty() && began.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(100));
        left = differences(&found(&engine.query(ALL)?), &expected);
    }
    assert_eq!(left, [""; 0]);
    Ok(())
}

#[cfg(feature = "native")]
#[test]
#[ignore = "needs Debian's prometheus and victoria-metrics"]
fn prometheus_takes_native_histograms() -> Result<(), Error> {
    let host = Host::with(|builder| builder, |collector| collector.native(3));
    let tool = host.tools.register("shell")?;
    for ms in 1..=1_000 {
        host.call(&tool, 1, ms * 1_000_000, crate::page::Ending::Success);
    }
    let totals = host.tools.totals();
    let latency = &totals.tools["shell"].latency.success;
    let endpoint = Endpoint::new(host.metrics);
    let engine = Engine::start(&PROMETHEUS, &[endpoint.address])?;
    engine.wait_for_scrapes()?;
    const DURATION: &str = "toolmeter_call_duration_seconds{outcome=\"success\"}";
    let count = engine.number(&format!("histogram_count({DURATION})"))?;
    assert_eq!(count, 1_000.0);
    let sum = engine.number(&format!("histogram_sum({DURATION})"))?;
    assert_eq!(sum, latency.sum().as_secs_f64());
    for q in [0.1, 0.5, 0.9, 0.99] {
        let shown = engine.number(&format!("histogram_quantile({q}, {DURATION})"))?;
        // One native bucket is a factor of 2^(1/8), and toolmeter's own 1/32.
        let within = 2_f64.powf(0.125) * (1.0 + 1.0 / 32.0);
        assert!((q / within..=q * within).contains(&shown), "{q}: {shown}");
    }
    Ok(())
}
