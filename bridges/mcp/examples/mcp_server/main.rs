//! A small metered MCP server of a folder's files, over stdio.

#[path = "../common/mod.rs"]
mod common;
mod files;

use common::program::{run, told_to_end};
use common::report::Report;
use common::stderr::say_line;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use toolmeter::Registry;
use toolmeter_mcp::Metered;

const HELP: &str = "\
Serves the files of a folder over MCP on stdin and stdout, metered.

Usage: mcp_server [--snapshot FILE] [--events] FOLDER

  --snapshot FILE  keep the metrics in FILE, as JSON, which is replaced twice a second if they have
                   changed, and at the end; `{pid}` in FILE stands for the process id
  --events         write each event to stderr, as a line of JSON
  --help           show this

The tools are list, read, search, hash, and slow, fail and panic, which do what their names say.
The table of metrics is written to stderr at the end, also after SIGTERM, SIGINT, SIGHUP and
SIGQUIT. If stderr is not read, the server ends without it.";

#[derive(Default)]
struct Options {
    folder: Option<PathBuf>,
    snapshot: Option<PathBuf>,
    events: bool,
}

/// Reads the command line; `None` if it asks for help.
fn options() -> Result<Option<Options>, Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("snapshot") => options.snapshot = Some(parser.value()?.into()),
            Long("events") => options.events = true,
            Long("help") | Short('h') => return Ok(None),
            Value(folder) if options.folder.is_none() => options.folder = Some(folder.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let folder = options
        .folder
        .ok_or("say which FOLDER to serve; see --help")?;
    let files = files::Files::new(&folder)
        .map_err(|error| format!("cannot serve {}: {error}", folder.display()))?;
    let registry = Registry::new();
    let report = Report::begin(&registry, options.snapshot, options.events)?;
    let metered = Metered::new(files, &registry);
    let calls = metered.calls();
    let serving = async {
        match metered.serve(rmcp::transport::stdio()).await {
            Ok(server) => drop(server.waiting().await),
            Err(error) => say_line(format_args!("mcp_server: no client: {error}")),
        }
    };
    tokio::select! {
        () = serving => {}
        told = told_to_end() => told?,
    }
    calls.end_all();
    report.end();
    Ok(())
}

fn main() -> ExitCode {
    run("mcp_server", HELP, options(), serve)
}
