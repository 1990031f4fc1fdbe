//! Three hosts seen as one.
//!
//! ```text
//! fleet ---> host alpha --- /totals ---> merged, exactly, by Snapshot::merge
//!       ---> host beta  ---    "                     = ?
//!       ---> host gamma --- /metrics --> Prometheus, by sum
//! ```
//!
//! Each host is a process that plays recorded sessions through `AutoRun`. `--prometheus` starts
//! Prometheus, if it is installed, on loopback, lets it scrape the three, and compares each series
//! with the merged snapshot; it ends with 1 if one differs.

mod child;
mod engine;
mod host;
#[path = "../../../../examples/agent_host/replay.rs"]
mod replay;
mod script;
mod series;
#[path = "../../../../examples/agent_host/trace.rs"]
mod trace;

use child::Host;
use engine::{Engine, Error, PROMETHEUS};
use host::Settings;
use lexopt::prelude::*;
use std::net::SocketAddr;
use std::process::ExitCode;
use toolmeter::Snapshot;

const HELP: &str = "\
fleet: three agent hosts as processes, and what they counted, added up

    fleet [--prometheus]     --prometheus compares with Prometheus, if it is installed
    fleet host NAME [--port PORT] [--scripted]
                             one host, as the above starts it";

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];

/// All that a bridge writes, added up over the hosts.
const MERGED: &str =
    "sum by (__name__, tool, outcome, error_type, le) ({__name__=~\"toolmeter_.+\"})";

enum Mode {
    Help,
    Fleet { with_prometheus: bool },
    Host(Settings),
}

fn main() -> ExitCode {
    let done = match mode() {
        Ok(Mode::Help) => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Mode::Fleet { with_prometheus }) => fleet(with_prometheus),
        Ok(Mode::Host(settings)) => host::run(&settings).map(|()| ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("fleet: {error}");
        ExitCode::from(2)
    })
}

fn mode() -> Result<Mode, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut with_prometheus = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Mode::Help),
            Long("prometheus") => with_prometheus = true,
            Value(word) if word == "host" => return host_mode(parser),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Mode::Fleet { with_prometheus })
}

fn host_mode(mut parser: lexopt::Parser) -> Result<Mode, lexopt::Error> {
    let mut settings = Settings {
        name: parser.value()?.string()?,
        port: 0,
        is_scripted: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => settings.port = parser.value()?.parse()?,
            Long("scripted") => settings.is_scripted = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(Mode::Host(settings))
}

fn fleet(with_prometheus: bool) -> Result<ExitCode, Error> {
    let program = std::env::current_exe()?;
    let started = HOSTS.map(|name| Host::start(&program, &[name]));
    let mut hosts = started.into_iter().collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<SocketAddr> = hosts.iter().map(|host| host.address).collect();
    let engine = if with_prometheus {
        match Engine::start(&PROMETHEUS, &addresses) {
            Ok(engine) => Some(engine),
            Err(error) => {
                eprintln!("fleet: not compared with Prometheus: {error}");
                None
            }
        }
    } else {
        None
    };
    if let Some(engine) = &engine {
        // Before the first call: of a series, no increase is seen in its first sample.
        engine.wait_for_scrapes()?;
    }
    for host in &mut hosts {
        host.tell("play")?;
    }
    for host in &mut hosts {
        host.done()?;
    }
    let mut totals = hosts
        .iter()
        .map(Host::totals)
        .collect::<Result<Vec<_>, _>>()?
        .into_iter();
    let mut merged = totals.next().ok_or("a fleet without hosts")?;
    totals.for_each(|host| merged.merge(&host));
    println!("{merged}");
    match engine {
        Some(engine) => compare(&engine, &merged),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn compare(engine: &Engine, merged: &Snapshot) -> Result<ExitCode, Error> {
    engine.wait_for_scrapes()?;
    let found = series::found(&engine.query(MERGED)?);
    let expected = series::expected(merged);
    let differences = series::differences(&found, &expected);
    for difference in &differences {
        eprintln!("fleet: {difference}");
    }
    println!(
        "{} series of the merged snapshot compared with Prometheus' sums, {} differ",
        expected.len(),
        differences.len()
    );
    Ok(ExitCode::from(u8::from(!differences.is_empty())))
}
