//! The command line.

use crate::common::stderr::say_line;
use crate::configuration::Configuration;
use crate::names::Names;
use crate::servers::Server;
use lexopt::prelude::*;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const HELP: &str = "\
Starts MCP servers and calls their tools by a plan, metered.

Usage: mcp_host [OPTIONS] [-- COMMAND [ARGUMENT]...]...

  --config FILE    start the servers of a host's configuration, see below
  --server NAME=COMMAND
                   start a server; COMMAND is one argument, split into words as a shell does,
                   and may hold `--`
  --plan FILE      make the calls of FILE, a plan or a recorded session, see below
  --limit SECONDS  the time limit of a call, and of a server's first answer; default 60
  --attempts N     the most attempts of a call; default 1
  --grace SECONDS  the time that a server has to end after its input is closed, and again after
                   SIGTERM, before it is killed; default 2
  --snapshot FILE  keep the metrics in FILE, as JSON, which is replaced twice a second if they have
                   changed, and at the end; `{pid}` in FILE stands for the process id
  --events         write each event to stderr, as a line of JSON
  --help           show this

Each `--` begins the command of a server; the servers are named server_1, server_2 and so on. Their
tools are `server/tool`. Two servers of one name are refused.

A configuration is the JSON of Claude Code, Cursor, VS Code and others, in which comments and
trailing commas may stand: `mcpServers` or `servers`, and those that Claude Code keeps under
`projects` for the current folder. Of a server `command`, `args`, `env`, `cwd`, `disabled` and
`enabled` are read. A number in `env` is set as text, and a variable that is null is removed.
Replaced in `command`, `args`, `env` and `cwd` are
  ${VAR}, ${VAR:-default}       (Claude Code) environment variables
  ${env:VAR}, ${userHome}       (Cursor, VS Code)
  ${pathSeparator}, ${/}
  ${workspaceFolder}, ${workspaceFolderBasename}
                                the folder that holds FILE, or that holds the `.cursor` or
                                `.vscode` with FILE in it
A server is left out, with the reason on stderr, if it has another variable (as ${input:key}) or
one that is not set, a URL, an `envFile`, or a wrong entry. Other forms, such as ${VAR:+x}, are
left as they are.

Each line of a plan is a turn, an object or an array of objects of the form
  {\"tool\": \"server/tool\", \"arguments\": {...}}, with the optional fields
  \"limit\": SECONDS              the time limit of this call
  \"cancel_after\": SECONDS       cancel this call after this time of its turn
A recorded session is a Claude Code session, a Codex rollout, or lines of the form
  {\"turn\": N, \"tool\": \"server/tool\", \"args\": {...}}
Its calls of the servers that are started (also as `mcp__server__tool`) are made with the arguments
and in the turns that were recorded. The others are left out and counted.

The table of metrics is written to stderr at the end, also after SIGTERM, SIGINT, SIGHUP and
SIGQUIT, but not if a server does not start or answer.";

/// The parsed command line.
pub(crate) struct Options {
    pub(crate) servers: Vec<Server>,
    pub(crate) names: Names,
    pub(crate) plan: Option<PathBuf>,
    pub(crate) limit: Duration,
    pub(crate) attempts: u16,
    pub(crate) grace: Duration,
    pub(crate) snapshot: Option<PathBuf>,
    pub(crate) events: bool,
}

/// Reads the command line and the configurations; `None` if it asks for help.
///
/// # Errors
///
/// A message, if a part of it is wrong or no server is left to start.
pub(crate) fn read() -> Result<Option<Options>, Box<dyn Error>> {
    let mut options = Options {
        servers: Vec::new(),
        names: Names::default(),
        plan: None,
        limit: Duration::from_secs(60),
        attempts: 1,
        grace: Duration::from_secs(2),
        snapshot: None,
        events: false,
    };
    let mut configurations: Vec<PathBuf> = Vec::new();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut parts = arguments.split(|argument| argument == "--");
    let own = parts.next().unwrap_or_default();
    let mut parser = lexopt::Parser::from_args(own);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => configurations.push(parser.value()?.into()),
            Long("server") => options.servers.push(named(&parser.value()?.string()?)?),
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
        let server = Server::of_command(&name, command.iter().cloned());
        let server = server.ok_or("there is no command after `--`")?;
        options.servers.push(server);
    }
    let mut left_out = Vec::new();
    for path in &configurations {
        let read = Configuration::read(path)?;
        options.servers.extend(read.servers);
        left_out.extend(read.left_out);
    }
    if options.servers.is_empty() {
        return Err(none_left(&configurations, &left_out).into());
    }
    options.names = Names::of(&options.servers)?;
    for (name, reason) in left_out {
        say_line(format_args!("{name} is left out: {reason}"));
    }
    Ok(Some(options))
}

/// Makes the message that there is no server to start.
fn none_left(configurations: &[PathBuf], left_out: &[(String, String)]) -> String {
    if configurations.is_empty() {
        return "say which servers to start; see --help".to_owned();
    }
    let files: Vec<_> = configurations
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let reasons: Vec<_> = left_out
        .iter()
        .map(|(name, reason)| format!("{name}: {reason}"))
        .collect();
    let (files, reasons) = (files.join(", "), reasons.join("; "));
    format!("{files} names no server that can be started: {reasons}")
}

/// Reads `NAME=COMMAND`.
fn named(text: &str) -> Result<Server, String> {
    let (name, command) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("a --server is NAME=COMMAND")?;
    let words = shlex::split(command)
        .ok_or_else(|| format!("a quote in the command of {name} is not closed"))?;
    Server::of_command(name, words.into_iter().map(Into::into))
        .ok_or_else(|| format!("there is no command for {name}"))
}

/// Reads a number of seconds.
fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::try_from_secs_f64(parser.value()?.parse()?)?)
}
