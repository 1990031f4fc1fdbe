//! What `mcp_proxy` adds to the calls of a server: calls one after the other, each sent when the one
//! before is answered, to the server alone and through the proxy.
//!
//! `cargo build --release --examples` and then `proxy_cost TOOL ARGUMENTS -- COMMAND...` prints the
//! median time of a round of each, rounds of both in turn, and by how much the proxy is slower. With
//! `--at-most PERCENT` it ends with 1 if that is more.

use lexopt::prelude::*;
use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const HELP: &str = "\
proxy_cost [--calls N] [--rounds N] [--at-most PERCENT] TOOL ARGUMENTS -- COMMAND...

    proxy_cost echo '{\"message\":\"hello\"}' -- npx @modelcontextprotocol/server-everything";

struct Settings {
    calls: u32,
    rounds: usize,
    at_most: Option<f64>,
    tool: String,
    arguments: serde_json::Value,
    command: Vec<OsString>,
}

fn settings() -> Result<Option<Settings>, Box<dyn Error>> {
    let mut settings = Settings {
        calls: 10_000,
        rounds: 7,
        at_most: None,
        tool: String::new(),
        arguments: serde_json::Value::Null,
        command: Vec::new(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("calls") => settings.calls = parser.value()?.parse()?,
            Long("rounds") => settings.rounds = parser.value()?.parse()?,
            Long("at-most") => settings.at_most = Some(parser.value()?.parse()?),
            Long("help") | Short('h') => return Ok(None),
            Value(tool) => {
                settings.tool = tool.string()?;
                settings.arguments = serde_json::from_str(&parser.value()?.string()?)?;
                settings.command = parser.raw_args()?.skip_while(|word| word == "--").collect();
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if settings.command.is_empty() || settings.calls == 0 || settings.rounds == 0 {
        return Err("a tool, its arguments, a command, and at least one call are needed".into());
    }
    Ok(Some(settings))
}

/// A server, with or without a proxy in front of it.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    line: String,
    next: u64,
}

impl Server {
    fn start(command: &[OsString]) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the server has no standard input or output".into());
        };
        let mut server = Self {
            child,
            input,
            output: BufReader::new(output),
            line: String::new(),
            next: 0,
        };
        server.ask(
            "initialize",
            r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"proxy_cost","version":"1"}}"#,
        )?;
        let ready = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n";
        server.input.write_all(ready)?;
        Ok(server)
    }

    /// Sends a request and waits for its answer.
    fn ask(&mut self, method: &str, params: &str) -> Result<(), Box<dyn Error>> {
        self.next += 1;
        let id = self.next;
        let line = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n"
        );
        self.input.write_all(line.as_bytes())?;
        let wanted = [format!("\"id\":{id},"), format!("\"id\":{id}}}")];
        loop {
            self.line.clear();
            if self.output.read_line(&mut self.line)? == 0 {
                return Err("the server has ended".into());
            }
            if wanted.iter().any(|id| self.line.contains(id)) && !self.line.contains("\"method\":")
            {
                break;
            }
        }
        if self.line.contains("\"error\":") || self.line.contains("\"isError\":true") {
            return Err(
                format!("the server does not answer {method}: {}", self.line.trim()).into(),
            );
        }
        Ok(())
    }

    fn round(&mut self, calls: u32, params: &str) -> Result<Duration, Box<dyn Error>> {
        let began = Instant::now();
        for _ in 0..calls {
            self.ask("tools/call", params)?;
        }
        Ok(began.elapsed())
    }

    fn end(mut self) -> Result<(), Box<dyn Error>> {
        drop(self.input);
        drop(self.output);
        self.child.wait()?;
        Ok(())
    }
}

fn run(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    let Settings {
        tool,
        arguments,
        command,
        ..
    } = settings;
    let params = serde_json::json!({ "name": tool, "arguments": arguments }).to_string();
    let proxy = std::env::current_exe()?.with_file_name("mcp_proxy");
    let mut proxied = vec![proxy.into_os_string(), "--".into()];
    proxied.extend(command.iter().cloned());
    let mut servers = [Server::start(command)?, Server::start(&proxied)?];
    for server in &mut servers {
        // Until what compiles while it runs has done so.
        server.round(settings.calls.div_ceil(5), &params)?;
    }
    let mut times = [Vec::new(), Vec::new()];
    let mut added = Vec::new();
    for _ in 0..settings.rounds {
        for (server, times) in servers.iter_mut().zip(&mut times) {
            times.push(server.round(settings.calls, &params)?.as_secs_f64());
        }
        if let [Some(alone), Some(proxied)] = [times[0].last(), times[1].last()] {
            added.push((proxied / alone - 1.0) * 100.0);
        }
    }
    let [alone, proxied] = times.map(median);
    let percent = (proxied / alone - 1.0) * 100.0;
    let each = |time: f64| time / f64::from(settings.calls) * 1e6;
    println!(
        "{} calls in a row, medians of {} rounds in turn: alone {:.1} us a call, through the proxy \
         {:.1} us: {percent:+.1}% (of the pairs of rounds: {:+.1}%)",
        settings.calls,
        settings.rounds,
        each(alone),
        each(proxied),
        median(added),
    );
    for server in servers {
        server.end()?;
    }
    let is_too_slow = settings.at_most.is_some_and(|limit| percent > limit);
    Ok(ExitCode::from(u8::from(is_too_slow)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let done = match settings() {
        Ok(Some(settings)) => run(&settings),
        Ok(None) => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error| {
        eprintln!("proxy_cost: {error}");
        ExitCode::from(2)
    })
}
