//! A host as a process of its own, seen from the one that started it.
//!
//! Its first line is the address that it listens on; after that it answers each line with one, `ok` if
//! it did what the line asks. It is killed when it is dropped, and ends by itself when its standard
//! input does.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use toolmeter::Snapshot;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A running host.
#[derive(Debug)]
pub(crate) struct Host {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Host {
    /// Starts `fleet host` with these arguments.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) fn start(fleet: &Path, arguments: &[&str]) -> Result<Self, Error> {
        let mut process = Command::new(fleet)
            .arg("host")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", fleet.display()))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("a host without standard input and output".into());
        };
        let mut host = Self {
            process,
            input,
            output: BufReader::new(output),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        host.address = host.line()?.parse()?;
        Ok(host)
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err("a host ended".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Tells the host to do something.
    ///
    /// # Errors
    ///
    /// If it ended.
    pub(crate) fn tell(&mut self, command: &str) -> Result<(), Error> {
        writeln!(self.input, "{command}")?;
        Ok(())
    }

    /// Waits until the host has done what the line asks.
    ///
    /// # Errors
    ///
    /// The host's error.
    pub(crate) fn done(&mut self) -> Result<(), Error> {
        match self.line()?.as_str() {
            "ok" => Ok(()),
            answer => Err(answer.into()),
        }
    }

    /// Returns the host's totals, from its JSON.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub(crate) fn totals(&self) -> Result<Snapshot, Error> {
        let url = format!("http://{}/totals", self.address);
        let json = ureq::get(&url).call()?.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&json)?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
