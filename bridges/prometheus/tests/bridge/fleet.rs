//! Three hosts as processes, scraped by Prometheus, and what happens to hosts. `tests/real` runs it.
//!
//! What a host does between two scrapes is done while it answers none, so that it is between two
//! scrapes whatever the machine is busy with.

use crate::child::Host;
use crate::engine::{Engine, Error, PROMETHEUS};
use crate::series::{Series, differences, expected, found};
use std::net::SocketAddr;
use std::path::PathBuf;
use toolmeter::{ErrorKind, Snapshot};

const LABELS: &str = "__name__, tool, outcome, error_type, le";
const ALL: &str = "__name__=~\"toolmeter_.+\"";

/// The example, which is built with the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples/fleet")
}

fn start(name: &str, port: u16) -> Result<Host, Error> {
    Host::start(
        &program(),
        &[name, "--port", &port.to_string(), "--scripted"],
    )
}

fn tell(host: &mut Host, command: &str) -> Result<(), Error> {
    host.tell(command)?;
    host.done()
        .map_err(|error| format!("{command}: {error}").into())
}

/// Does all of this between two scrapes.
fn all(host: &mut Host, commands: &[&str]) -> Result<(), Error> {
    tell(host, "hold")?;
    for command in commands {
        tell(host, command)?;
    }
    tell(host, "release")
}

fn merged<'a>(totals: impl IntoIterator<Item = &'a Snapshot>) -> Snapshot {
    let mut totals = totals.into_iter();
    let mut merged = totals.next().unwrap().clone();
    totals.for_each(|host| merged.merge(host));
    merged
}

/// The sums over the hosts.
fn sums(engine: &Engine) -> Result<Series, Error> {
    Ok(found(
        &engine.query(&format!("sum by ({LABELS}) ({{{ALL}}})"))?,
    ))
}

/// Returns how many times counters decreased on the hosts that `matcher` selects.
fn resets(engine: &Engine, matcher: &str) -> Result<f64, Error> {
    let mut resets = 0.0;
    for counter in [
        "calls_total",
        "call_duration_seconds_bucket",
        "call_duration_seconds_count",
        "call_duration_seconds_sum",
        "retried_total",
        "recovered_total",
        "unknown_calls_total",
        "events_offered_total",
        "events_lost_total",
    ] {
        resets += engine.number(&format!(
            "sum(resets(toolmeter_{counter}{{{matcher}}}[1h]))"
        ))?;
    }
    Ok(resets)
}

/// Latencies of the fleet, in nanoseconds, and how many calls took that long on each host.
const LATENCIES: [(u64, u32); 7] = [
    (900_000, 40),
    (3_000_000, 80),
    (20_000_000, 37),
    (150_000_000, 21),
    (1_048_576, 5),
    (4_000_000_000, 7),
    (61_000_000_000, 2),
];

#[test]
#[ignore = "needs Debian's prometheus and victoria-metrics"]
fn prometheus_sees_three_hosts_as_one() -> Result<(), Error> {
    let mut hosts = [start("alpha", 0)?, start("beta", 0)?, start("gamma", 0)?];
    let targets: Vec<SocketAddr> = hosts.iter().map(|host| host.address).collect();
    let engine = Engine::start(&PROMETHEUS, &targets)?;

    // All three: the same tools, known latencies, every outcome and kind.
    for host in &mut hosts {
        for tool in ["web_search", "read_file", "shell"] {
            tell(host, &format!("register {tool}"))?;
        }
    }
    engine.wait_for_scrapes()?;
    for (nth, host) in hosts.iter_mut().enumerate() {
        for (ns, times) in LATENCIES {
            tell(
                host,
                &format!("call web_search success {ns} 1 {}", times + nth as u32),
            )?;
        }
        for (nth, kind) in ErrorKind::ALL.into_iter().enumerate() {
            tell(
                host,
                &format!("call read_file {kind} 7000000 1 {}", nth + 1),
            )?;
        }
        tell(host, "call read_file success 8000000 2 4")?;
        tell(host, "call shell cancelled 90000000000 1 2")?;
        tell(host, "call shell rejected 0 1 3")?;
        tell(host, "unknown 2")?;
    }
    engine.wait_for_scrapes()?;
    let totals = hosts
        .iter()
        .map(Host::totals)
        .collect::<Result<Vec<_>, _>>()?;
    let all_three = merged(&totals);
    assert_eq!(differences(&sums(&engine)?, &expected(&all_three)), [""; 0]);
    quantiles(&engine, &all_three)?;

    // Alpha resets, and then does more than ever before.
    all(
        &mut hosts[0],
        &[
            "reset",
            "call web_search success 3000000 1 1000",
            "call read_file network 1000000 1 500",
        ],
    )?;
    // Gamma's server goes away with its tools and comes back, and goes on.
    all(
        &mut hosts[2],
        &[
            "deregister web_search",
            "deregister shell",
            "register web_search",
            "call web_search success 5000000 1 50",
            "register fetch_url",
            "call fetch_url timeout 30000000000 1 1",
        ],
    )?;
    engine.wait_for_scrapes()?;
    tell(&mut hosts[2], "register shell")?;
    tell(&mut hosts[2], "call shell tool_error 1000000 1 9")?;
    tell(&mut hosts[2], "deregister fetch_url")?;
    engine.wait_for_scrapes()?;
    let totals = hosts
        .iter()
        .map(Host::totals)
        .collect::<Result<Vec<_>, _>>()?;
    let before = expected(&merged(&totals));
    assert_eq!(differences(&sums(&engine)?, &before), [""; 0]);
    assert_eq!(
        totals[0].tools["read_file"].failures_by_kind[&ErrorKind::Network],
        508
    );
    assert_eq!(resets(&engine, "")?, 0.0);

    // Beta is killed with calls that no scrape saw, and started again at the same address. What it
    // had been scraped for is there.
    let of_beta = format!("instance=\"{}\"", targets[1]);
    let killed = totals[1].clone();
    let last = engine.number(&format!("timestamp(up{{{of_beta}}})"))?;
    let [alpha, mut beta, gamma] = hosts;
    tell(&mut beta, "hold")?;
    tell(&mut beta, "call web_search success 3000000 1 17")?;
    drop(beta);
    let mut beta = start("beta", targets[1].port())?;
    tell(&mut beta, "register web_search")?;
    tell(&mut beta, "call web_search success 3000000 1 33")?;
    tell(&mut beta, "call web_search provider 3000000 1 1")?;
    engine.wait_for_scrapes()?;
    let restarted = beta.totals()?;
    assert_eq!(restarted.tools["web_search"].success(), 33);

    // Now: what the three processes that live say.
    let living = merged([&totals[0], &restarted, &totals[2]]);
    let now = sums(&engine)?;
    let ended = ["read_file", "shell"];
    assert!(
        ended
            .iter()
            .all(|tool| !restarted.tools.contains_key(*tool))
    );
    assert_eq!(differences(&now, &expected(&living)), [""; 0]);
    // In all: with what beta had counted until its last scrape.
    let before = format!("{{{ALL},{of_beta}}} @ {last:.3}");
    let then = found(&engine.query(&format!("sum by ({LABELS}) ({before})"))?);
    assert_eq!(differences(&then, &expected(&killed)), [""; 0]);
    let ever = merged([&totals[0], &killed, &restarted, &totals[2]]);
    let mut sum = now;
    for (key, number) in then {
        *sum.entry(key).or_default() += number;
    }
    assert_eq!(differences(&sum, &expected(&ever)), [""; 0]);

    // Only the restart made counters decrease.
    let of_others = format!("instance!=\"{}\"", targets[1]);
    assert_eq!(resets(&engine, &of_others)?, 0.0);
    assert!(resets(&engine, &of_beta)? > 0.0);
    let starts = engine.number(&format!(
        "changes(toolmeter_start_time_seconds{{{of_beta}}}[1h])"
    ))?;
    assert_eq!(starts, 1.0);
    drop((alpha, gamma));
    Ok(())
}

/// A quantile by Prometheus lies in the bucket that holds the one of the merged snapshot.
fn quantiles(engine: &Engine, merged: &Snapshot) -> Result<(), Error> {
    let latency = &merged.tools["web_search"].latency.success;
    for q in [0.05, 0.25, 0.5, 0.75, 0.9, 0.95] {
        let exact = latency.quantile(q).unwrap().as_secs_f64();
        let shown = engine.number(&format!(
            "histogram_quantile({q}, sum by (le) (toolmeter_call_duration_seconds_bucket\
             {{tool=\"web_search\",outcome=\"success\"}}))"
        ))?;
        let mut bounds =
            crate::series::EXPONENTS.map(|exponent| ((1_u64 << exponent) - 1) as f64 / 1e9);
        let upper = bounds.clone().find(|&bound| exact <= bound).unwrap();
        let lower = bounds.rfind(|&bound| bound < exact).unwrap_or(0.0);
        assert!(
            (lower..=upper).contains(&shown),
            "{q}: {shown}, and exactly {exact}"
        );
    }
    Ok(())
}
