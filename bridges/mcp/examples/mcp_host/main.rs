//! A small host of MCP servers: starts them, calls their tools by a plan, and prints the metrics.

mod args;
#[path = "../common/mod.rs"]
mod common;
mod configuration;
mod names;
mod plan;
mod process;
mod recording;
mod say;
mod servers;
mod variables;

use args::{HELP, Options};
use common::program::{run, told_to_end};
use common::report::Report;
use common::stderr::say_line;
use futures_util::future::{join, join_all};
use plan::Plan;
use process::Process;
use rmcp::RoleClient;
use rmcp::service::RunningService;
use say::say;
use servers::Progress;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::timeout;
use toolmeter::Registry;
use toolmeter::auto_run::{AutoRun, StopReason};
use toolmeter_mcp::MeteredClient;

/// The longest wait for the reason why a list was not read.
const REASON: Duration = Duration::from_secs(2);

async fn host(options: Options) -> Result<(), Box<dyn Error>> {
    let mut plan = match &options.plan {
        None => Plan::default(),
        Some(path) => Plan::read(path, &options.names)?,
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
                say_line(format_args!("{name} did not end, and was killed"));
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
        let client = MeteredClient::new(Progress::of(&server.name), registry);
        let client = client.server(&names::registered(&server.name));
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
        say_line(format_args!("the plan ended: {why}"));
    }
    Ok(())
}

/// Says why the list of a server's tools could not be read, if none of them is registered.
async fn say_if_unlisted(name: &str, client: &Client, registry: &Registry) {
    let prefix = format!("{}/", names::registered(name));
    let metrics = registry.metrics();
    if metrics.tools.keys().any(|tool| tool.starts_with(&prefix)) {
        return;
    }
    let why = match timeout(REASON, client.service().peer().refresh()).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "there is no answer".to_owned(),
    };
    say_line(format_args!(
        "the list of tools of {name} cannot be read: {why}"
    ));
}

fn main() -> ExitCode {
    run("mcp_host", HELP, args::read(), host)
}
