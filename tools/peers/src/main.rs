//! The cost of a metered call: toolmeter next to its peers, doing the same work.
//!
//! | file | contents |
//! | --- | --- |
//! | `args` | the command line |
//! | `row` | a row of the table, and the work that all rows do alike |
//! | `toolmeter_rows` | toolmeter's rows and the floor |
//! | `peers` | the rows of the other libraries |
//! | `team` | the threads that make the calls |
//! | `harness` | the checks of rows, and their timing in interleaved rounds |
//! | `spread` | medians and quartiles |
//! | `report` | the figures as table and JSON |
//! | `figures` | toolmeter's figures, each next to its aim |
//! | `events` | ways to report a call to another thread |
//! | `work` | the share of metering in a host whose tools do something |
//! | `tail` | percentiles of single calls |
//! | `memory` | resident memory |
//! | `shared_lines` | the cache lines that one thread writes and another uses |
//!
//! The table does not show tools that work between the two reads of the clock and so let the caches
//! go cold, more cores than the machine has, or the cost of reading and exporting the figures. Each
//! peer runs with the histogram that its users get by default or configure most often, which for
//! the Prometheus clients and OpenTelemetry has 11 bounds, where toolmeter keeps 32 buckets to an
//! octave.

mod args;
mod events;
mod figures;
mod harness;
mod memory;
mod peers;
mod report;
mod row;
mod shared_lines;
mod spread;
mod tail;
mod team;
mod toolmeter_rows;
mod work;

use args::Args;
use clap::Parser;
use report::Report;
use row::Row;
use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// A slice shorter than this would be mostly the start of its threads.
const SHORTEST_SLICE: Duration = Duration::from_micros(500);

fn main() -> ExitCode {
    match run(&Args::parse()).and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("toolmeter-peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what the arguments select, and returns the text for standard output.
fn run(args: &Args) -> Result<String, Box<dyn Error>> {
    if args.figures {
        figures::report(args.seconds, args.rounds())
    } else if args.events {
        events::report(args.seconds, args.rounds())
    } else if args.work {
        work::report(args.seconds, args.rounds())
    } else if args.tail {
        tail::report(args.seconds)
    } else if args.memory {
        memory::report()
    } else if args.shared_lines {
        shared_lines::report()
    } else if let Some(scenario) = &args.turns {
        shared_lines::take_turns(scenario)
    } else if let (Some(figure), Some(stripes)) = (&args.memory_figure, args.stripes) {
        Ok(format!("{}\n", memory::figure(figure, stripes)?))
    } else {
        table(args)
    }
}

fn table(args: &Args) -> Result<String, Box<dyn Error>> {
    let references = toolmeter_rows::references()?;
    let mut rows: Vec<Arc<dyn Row>> = references.to_vec();
    rows.extend(toolmeter_rows::rows()?);
    rows.extend(peers::all()?);

    let shares = harness::THREADS.iter().sum::<usize>();
    let rounds = args.rounds();
    let slices = rounds * rows.len() * shares;
    let slice = (args.seconds / u32::try_from(slices)?).max(SHORTEST_SLICE);
    let mut measured = harness::measure(rows, rounds, slice)?.into_iter();
    let mut next = || measured.next().ok_or("a row was not measured");
    let report = Report {
        floor: next()?,
        instant: next()?,
        paced_floor: next()?,
        paced_idle: next()?,
        rows: measured.collect(),
        clock: toolmeter::Registry::new().clock().source_name(),
    };
    if args.json {
        Ok(format!("{}\n", report.to_json()?))
    } else {
        Ok(format!(
            "{report}{} rounds of {:.1} ms for each thread, for each row and number of threads.\n",
            rounds,
            slice.as_secs_f64() * 1e3
        ))
    }
}

/// Writes all of `text`. A closed pipe is not an error.
fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
