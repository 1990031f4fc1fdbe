//! The cost of a metered call: toolmeter next to its peers, doing the same work.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `args` | the command line |
//! | `row` | what a row of the table is, and the work that all rows do alike |
//! | `toolmeter_rows` | toolmeter's rows and the floor |
//! | `peers` | the rows of the other libraries |
//! | `team` | the threads that make the calls |
//! | `harness` | checks rows, times them in interleaved rounds |
//! | `spread` | medians and quartiles |
//! | `report`, `plot` | the figures as table and JSON, and as SVG |
//! | `figures` | what toolmeter aims at, and where it is |
//! | `events` | ways to tell another thread of a call |
//! | `work` | what metering takes of a host whose tools do something |
//! | `tail` | percentiles of single calls |
//! | `memory` | resident memory |
//! | `shared_lines` | which cache lines one thread writes and another uses |
//!
//! What it does not show: tools that do work between the two reads of the clock and so let the
//! caches go cold, more cores than the machine has, and what it costs to read or export the
//! figures. Each peer runs with the histogram that its users get by default or configure most
//! often, which for the Prometheus clients and OpenTelemetry has 11 bounds, where toolmeter
//! keeps 32 buckets to an octave.

mod args;
mod events;
mod figures;
mod harness;
mod memory;
mod peers;
mod plot;
mod report;
mod row;
mod shared_lines;
mod spread;
mod tail;
mod team;
mod toolmeter_rows;
mod work;

use args::{Command, TableOptions};
use report::Report;
use row::Row;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// A slice shorter than this would be mostly the start of its threads.
const SHORTEST_SLICE: Duration = Duration::from_micros(500);

fn main() -> ExitCode {
    let command = match args::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("toolmeter-peers: {error}");
            return ExitCode::from(2);
        }
    };
    match run(command).and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("toolmeter-peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked and hands back what goes to standard output.
fn run(command: Command) -> Result<String, Box<dyn Error>> {
    match command {
        Command::Help => Ok(args::HELP.to_owned()),
        Command::Table(options) => table(&options),
        Command::Figures {
            measure_for,
            rounds,
        } => figures::report(measure_for, rounds),
        Command::Events {
            measure_for,
            rounds,
        } => events::report(measure_for, rounds),
        Command::Work {
            measure_for,
            rounds,
        } => work::report(measure_for, rounds),
        Command::Tail(measure_for) => tail::report(measure_for),
        Command::Memory => memory::report(),
        Command::SharedLines => shared_lines::report(),
        Command::Turns(scenario) => shared_lines::take_turns(&scenario),
        Command::MemoryFigure { figure, stripes } => {
            Ok(format!("{}\n", memory::figure(&figure, stripes)?))
        }
    }
}

fn table(options: &TableOptions) -> Result<String, Box<dyn Error>> {
    // Opened first, so that a path that cannot be written is known before a long measurement.
    let plot = match &options.svg {
        Some(path) => Some(
            fs::File::create(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?,
        ),
        None => None,
    };
    let references = toolmeter_rows::references()?;
    let mut rows: Vec<Arc<dyn Row>> = references.to_vec();
    rows.extend(toolmeter_rows::rows()?);
    rows.extend(peers::all()?);

    let shares = harness::THREADS.iter().sum::<usize>();
    let slices = options.rounds * rows.len() * shares;
    let slice = (options.measure_for / u32::try_from(slices)?).max(SHORTEST_SLICE);
    let mut measured = harness::measure(rows, options.rounds, slice)?.into_iter();
    let mut next = || measured.next().ok_or("a row was not measured");
    let report = Report {
        floor: next()?,
        instant: next()?,
        paced_floor: next()?,
        paced_idle: next()?,
        rows: measured.collect(),
        clock: toolmeter::Registry::new().clock().source_name(),
    };
    if let Some(mut file) = plot {
        file.write_all(plot::svg(&report).as_bytes())?;
    }
    if options.json {
        Ok(format!("{}\n", report.to_json()?))
    } else {
        Ok(format!(
            "{report}{} rounds of {:.1} ms for each thread, for each row and number of threads.\n",
            options.rounds,
            slice.as_secs_f64() * 1e3
        ))
    }
}

/// Writes all of it; a reader that has seen enough is no error.
fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
