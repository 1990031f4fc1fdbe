//! A small host of MCP servers: starts them, calls their tools by a plan, and prints the metrics.

#[path = "../common/mod.rs"]
mod common;
mod plan;
mod process;
mod say;
mod servers;

use common::program::{run, told_to_end};
use common::report::Report;
use futures_util::future::{join, join_all};
use plan::Plan;
use process::Process;
use rmcp::RoleClient;
use rmcp::service::RunningService;
use say::{note, say, visible};
use servers::{Progress, Server};
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::timeout;
use toolmeter::auto_run::{AutoRun, StopReason};
use toolmeter::{Registry, ToolSpec};
use toolmeter_mcp::MeteredClient;

const HELP: &str = "\
Starts MCP servers and calls their tools by a plan, metered.

Usage: mcp_host [OPTIONS] [-- COMMAND [ARGUMENT]...]...

  --config FILE    start the servers in the `mcpServers` of a host's configuration
  --plan FILE      the calls; each line is a turn, an object or an array of objects of the form
                   {\"tool\": \"server/tool\", \"arguments\": {...}}, with the optional fields
                     \"limit\": SECONDS         the time limit of this call
                     \"cancel_after\": SECONDS  cancel this call after this time of its turn
  --limit SECONDS  the time limit of a call, and of a server's first answer; default 60
  --attempts N     the most attempts of a call; default 1
  --grace SECONDS  the time that a server has to end after its input is closed, and again after
                   SIGTERM, before it is killed; default 2
  --snapshot FILE  rewrite FILE with the metrics, as JSON; looked at twice a second, and written
                   if they have changed
  --events         write each event to stderr, as a line of JSON
  --help           show this

Each `--` begins the command of a server; the servers are named server_1, server_2 and so on.
The table of metrics is written to stderr at the end, also after SIGTERM, but not if a server
does not start or answer.";

/// The longest wait for the reason why a list was not read.
const REASON: Duration = Duration::from_secs(2);

struct Options {
    servers: Vec<Server>,
    plan: Option<PathBuf>,
    limit: Duration,
    attempts: u16,
    grace: Duration,
    snapshot: Option<PathBuf>,
    events: bool,
}

/// Reads the command line; `None` if it asks for help.
fn options() -> Result<Option<Options>, Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut options = Options {
        servers: Vec::new(),
        plan: None,
        limit: Duration::from_secs(60),
        attempts: 1,
        grace: Duration::from_secs(2),
        snapshot: None,
        events: false,
    };
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut parts = arguments.split(|argument| argument == "--");
    let own = parts.next().unwrap_or_default();
    let mut parser = lexopt::Parser::from_args(own);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => {
                let path: PathBuf = parser.value()?.into();
                options.servers.extend(servers::configured(&path)?);
            }
            Long("plan") => options.plan = Some(parser.value()?.into()),
            Long("limit") => options.limit = seconds(&mut parser)?,
            Long("grace") => options.grace = seconds(&mut parser)?,
            Long("attempts") => options.attempts = parser.value()?.parse()?,
            Long("snapshot") => options.snapshot = Some(parser.value()?.into()),
            Long("events") => options.events = true,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    for (place, command) in parts.enumerate() {
        let name = format!("server_{}", place + 1);
        options.servers.push(Server::of_command(name, command)?);
    }
    if options.servers.is_empty() {
        return Err("say which servers to start; see --help".into());
    }
    Ok(Some(options))
}

/// Reads a number of seconds.
fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, Box<dyn Error>> {
    use lexopt::ValueExt;
    Ok(Duration::try_from_secs_f64(parser.value()?.parse()?)?)
}

async fn host(options: Options) -> Result<(), Box<dyn Error>> {
    let mut plan = match &options.plan {
        None => Plan::default(),
        Some(path) => Plan::read(path)?,
    };
    let registry = Registry::new();
    let report = Report::begin(&registry, options.snapshot.clone(), options.events)?;
    process::adopt_orphans();
    let mut started = Started::default();
    let outcome = tokio::select! {
        biased;
        told = told_to_end() => told.map_err(Into::into),
        done = follow_plan(&options, &mut plan, &registry, &mut started) => done,
    };
    // No server outlives the host, even if the plan failed.
    started.end(options.grace).await;
    outcome?;
    report.end();
    // The clients are kept until here, so that the table does not show their tools as retired.
    drop(started);
    Ok(())
}

/// The servers that were started, and the clients of those that answered.
#[derive(Default)]
struct Started {
    processes: Vec<(String, Process)>,
    clients: Vec<Client>,
}

impl Started {
    /// Closes the servers' inputs, waits for their end, and kills those that do not end. A signal
    /// during the wait makes it kill them at once.
    async fn end(&mut self, grace: Duration) {
        let closing = self.clients.iter_mut().map(|client| async move {
            let _ = client.close_with_timeout(grace).await;
        });
        let ending = self.processes.iter_mut();
        let ending = ending.map(|(_, process)| process.end(grace));
        tokio::select! {
            biased;
            _ = told_to_end() => {}
            _ = join(join_all(closing), join_all(ending)) => {}
        }
        for (name, process) in self.processes.drain(..) {
            if process.kill().await {
                note(format_args!("{name} did not end, and was killed"));
            }
        }
    }
}

type Client = RunningService<RoleClient, MeteredClient<Progress>>;

/// Starts the servers, one after the other, and makes the calls of the plan.
async fn follow_plan(
    options: &Options,
    plan: &mut Plan,
    registry: &Registry,
    started: &mut Started,
) -> Result<(), Box<dyn Error>> {
    for server in &options.servers {
        let (process, transport) = server.start()?;
        started.processes.push((server.name.clone(), process));
        let client = MeteredClient::new(Progress::of(&server.name), registry).server(&server.name);
        let client = timeout(options.limit, client.serve(transport)).await;
        let client = client
            .map_err(|_| format!("{} does not answer", server.name))?
            .map_err(|error| format!("{} is no MCP server: {error}", server.name))?;
        say_if_unlisted(&server.name, &client, registry).await;
        started.clients.push(client);
    }
    let run = AutoRun::new(registry)
        .session("mcp_host")
        .concurrency(8)
        .time_limit(options.limit)
        .max_attempts(options.attempts);
    let outcome = run.run(plan).await;
    say(format_args!(
        "{} turns, {} attempts, {} retries",
        outcome.turns, outcome.attempts, outcome.retries
    ));
    if let StopReason::Model(why) = outcome.stop {
        note(format_args!("the plan ended: {why}"));
    }
    Ok(())
}

/// Says why the list of a server's tools could not be read, if none of them is registered.
async fn say_if_unlisted(name: &str, client: &Client, registry: &Registry) {
    // The name as it is registered.
    let prefix = ToolSpec::lossy(name).name().replace('/', "\\u{2f}") + "/";
    let metrics = registry.metrics();
    if metrics.tools.keys().any(|tool| tool.starts_with(&prefix)) {
        return;
    }
    let why = match timeout(REASON, client.service().peer().refresh()).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "there is no answer".to_owned(),
    };
    note(format_args!(
        "the list of tools of {name} cannot be read: {why}"
    ));
}

fn main() -> ExitCode {
    let options = options().map_err(|error| visible(error).into());
    run("mcp_host", HELP, options, async |options| {
        host(options).await.map_err(|error| visible(error).into())
    })
}
