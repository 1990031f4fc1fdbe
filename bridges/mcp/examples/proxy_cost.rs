//! The cost of `mcp_proxy` for calls that are made one after the other, each as soon as the one
//! before is answered.
//!
//! `cargo build --release --examples` and then `proxy_cost TOOL ARGUMENTS -- COMMAND...` starts three
//! servers: one alone, one behind a pass-through, and one behind the proxy. The pass-through copies
//! bytes in both directions and does nothing else: its cost is the least that any process between a
//! client and a server has.
//!
//! The calls are made in short blocks, one block for each server in turn, in an order that changes
//! from turn to turn, so that other load of the machine affects all three alike. It prints the
//! medians over the turns, with quartiles, of the time of a call and of the ratios within a turn.
//! With `--at-most PERCENT` it exits with 1 if the proxy adds more than that to the time of the
//! server alone.

use lexopt::prelude::*;
use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

const HELP: &str = "\
proxy_cost [--calls N] [--block N] [--at-most PERCENT] TOOL ARGUMENTS -- COMMAND...
proxy_cost --pass-through COMMAND...

    proxy_cost echo '{\"message\":\"hello\"}' -- npx @modelcontextprotocol/server-everything

  --calls N          calls of each server; default 10000
  --block N          calls in a row before the next server's turn; default 100
  --at-most PERCENT  exit with 1 if the proxy adds more than this to the server's time
  --pass-through     only copy bytes between standard input and output and those of a command";

struct Settings {
    calls: u32,
    block: u32,
    at_most: Option<f64>,
    tool: String,
    arguments: serde_json::Value,
    command: Vec<OsString>,
}

enum Task {
    Measure(Settings),
    PassThrough(Vec<OsString>),
    Help,
}

fn task() -> Result<Task, Box<dyn Error>> {
    let mut settings = Settings {
        calls: 10_000,
        block: 100,
        at_most: None,
        tool: String::new(),
        arguments: serde_json::Value::Null,
        command: Vec::new(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("calls") => settings.calls = parser.value()?.parse()?,
            Long("block") => settings.block = parser.value()?.parse()?,
            Long("at-most") => settings.at_most = Some(parser.value()?.parse()?),
            Long("pass-through") => return Ok(Task::PassThrough(parser.raw_args()?.collect())),
            Long("help") | Short('h') => return Ok(Task::Help),
            Value(tool) => {
                settings.tool = tool.string()?;
                settings.arguments = serde_json::from_str(&parser.value()?.string()?)?;
                settings.command = parser.raw_args()?.skip_while(|word| word == "--").collect();
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if settings.command.is_empty() || settings.block == 0 || settings.calls < settings.block {
        return Err("a tool, its arguments, a command, and at least one block are needed".into());
    }
    Ok(Task::Measure(settings))
}

/// Copies bytes from `source` to `sink`, until one of them ends.
fn copy(mut source: impl Read, mut sink: impl Write) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        if sink.write_all(&buffer[..length]).is_err() || sink.flush().is_err() {
            return;
        }
    }
}

/// Runs a command, and passes bytes in both directions.
fn pass_through(command: &[OsString]) -> Result<ExitCode, Box<dyn Error>> {
    let program = command.first().ok_or("no command to start")?;
    let mut server = Command::new(program)
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(input), Some(output)) = (server.stdin.take(), server.stdout.take()) else {
        return Err("the server has no standard input or output".into());
    };
    // Reads and writes as large as the buffers of `copy` bypass those of the standard library.
    std::thread::spawn(move || copy(std::io::stdin().lock(), input));
    copy(output, std::io::stdout().lock());
    server.wait()?;
    Ok(ExitCode::SUCCESS)
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

    /// Makes calls in a row and returns the time of one, in microseconds.
    fn block(&mut self, calls: u32, params: &str) -> Result<f64, Box<dyn Error>> {
        let began = Instant::now();
        for _ in 0..calls {
            self.ask("tools/call", params)?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(calls))
    }

    fn end(mut self) -> Result<(), Box<dyn Error>> {
        drop(self.input);
        drop(self.output);
        self.child.wait()?;
        Ok(())
    }
}

fn measure(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    let Settings {
        calls,
        block,
        at_most,
        tool,
        arguments,
        command,
    } = settings;
    let params = serde_json::json!({ "name": tool, "arguments": arguments }).to_string();
    let own = std::env::current_exe()?;
    let behind = |words: &[OsString]| Server::start(&[words, command].concat());
    let proxy = own.with_file_name("mcp_proxy").into_os_string();
    let mut servers = [
        Server::start(command)?,
        behind(&[own.into_os_string(), "--pass-through".into()])?,
        behind(&[proxy, "--".into()])?,
    ];
    for server in &mut servers {
        // Warms the server up, so that code that is compiled at run time has been compiled.
        server.block((calls / 5).max(1), &params)?;
    }
    let turns = calls / block;
    let mut times = [const { Vec::new() }; 3];
    for turn in 0..turns {
        // Each server comes first, second and last equally often, in both directions.
        let mut order = [0, 1, 2];
        order.rotate_left(turn as usize % 3);
        if turn % 2 == 1 {
            order.reverse();
        }
        for place in order {
            times[place].push(servers[place].block(*block, &params)?);
        }
    }
    for server in servers {
        server.end()?;
    }
    println!(
        "{} calls of each, {turns} turns of {block}: median (quartiles)",
        turns * block
    );
    let [alone, passed, proxied] = &times;
    for (name, times) in [
        ("alone", alone),
        ("pass-through", passed),
        ("mcp_proxy", proxied),
    ] {
        let [low, median, high] = quartiles(times.clone());
        println!("  {name:<30} {median:7.1} us a call ({low:.1} to {high:.1})");
    }
    let ratio = |name: &str, over: &[f64], under: &[f64]| {
        let added = over
            .iter()
            .zip(under)
            .map(|(over, under)| (over / under - 1.0) * 100.0);
        let [low, median, high] = quartiles(added.collect());
        println!("  {name:<30} {median:+7.1} % ({low:+.1} to {high:+.1})");
        median
    };
    ratio("pass-through against alone", passed, alone);
    let added = ratio("mcp_proxy against alone", proxied, alone);
    ratio("mcp_proxy against pass-through", proxied, passed);
    let is_too_slow = at_most.is_some_and(|limit| added > limit);
    Ok(ExitCode::from(u8::from(is_too_slow)))
}

/// Returns the lower quartile, the median and the upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len() - 1;
    [last / 4, values.len() / 2, last - last / 4].map(|place| values[place])
}

fn main() -> ExitCode {
    let done = match task() {
        Ok(Task::Measure(settings)) => measure(&settings),
        Ok(Task::PassThrough(command)) => pass_through(&command),
        Ok(Task::Help) => {
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
