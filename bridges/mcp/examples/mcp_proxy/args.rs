//! The command line.

use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Meters the tool calls between a client of the Model Context Protocol and a server on stdio.

Usage: mcp_proxy [--snapshot FILE] [--events] -- COMMAND [ARGUMENT...]

It is put in front of the command of any server, and changes neither the bytes that pass nor the
server's standard error. When the server ends, a table of its tools is written to standard error.

  --snapshot FILE  keep a snapshot of the counts in FILE, as JSON, which is replaced once a second
                   if the counts have changed, and at the end; `{pid}` in FILE stands for the id of
                   the proxy's process, so that each of several has a file of its own
  --events         write each start and each end of a call to standard error, as a line of JSON
  --help           print this

A call ends with its answer, is cancelled when the client cancels it, and fails (network) when the
server ends. One second after the client has closed the connection, calls that were not answered
are cancelled, and the table is written even if the server runs on. The signals SIGTERM, SIGINT,
SIGHUP and SIGQUIT are passed on; one second later the same is done, and calls that follow are
counted. SIGUSR1 and SIGUSR2 are only passed on. SIGKILL of the proxy does not reach the server: its
standard input ends, and a server that does not end then runs on.

A line may be of any length, but of a batch only the first 4 MiB of calls are followed. Lines that
are not JSON are passed on and counted; NaN and Infinity, which Python writes, are read as numbers.
If standard error is not read, events and the table are left out at the end.

Exit status: that of the server; 128 plus the number of the signal that ended it; 2 if it cannot be
started, or the command line is wrong.
";

/// The parsed command line.
#[derive(Debug, PartialEq)]
pub(crate) struct Args {
    /// The server's command and its arguments.
    pub(crate) command: Vec<OsString>,
    pub(crate) snapshot: Option<PathBuf>,
    pub(crate) events: bool,
}

/// Reads the command line; `None` if it asks for help.
///
/// # Errors
///
/// A message of one line.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Option<Args>, String> {
    read(words).map_err(|error| format!("{error}; see --help"))
}

fn read(words: impl IntoIterator<Item = OsString>) -> Result<Option<Args>, lexopt::Error> {
    let mut args = Args {
        command: Vec::new(),
        snapshot: None,
        events: false,
    };
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("snapshot") => args.snapshot = Some(parser.value()?.into()),
            Long("events") => args.events = true,
            Long("help") | Short('h') => return Ok(None),
            // All words behind the command are the server's, options as well.
            Value(command) => {
                args.command.push(command);
                args.command.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected()),
        }
    }
    if args.command.is_empty() {
        return Err("no command to start".into());
    }
    Ok(Some(args))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Option<Args>, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_follows_the_command_is_the_commands() {
        let args = words("--events --snapshot a.json -- node s.js --events --help -- x");
        let args = args.unwrap().unwrap();
        assert!(args.events && args.snapshot == Some("a.json".into()));
        assert_eq!(
            args.command,
            ["node", "s.js", "--events", "--help", "--", "x"]
        );
        let args = words("node --help").unwrap().unwrap();
        assert_eq!((args.command.len(), args.events), (2, false));
    }

    #[test]
    fn help_is_asked_for_before_the_command_only_and_says_every_option() {
        assert_eq!(words("--help"), Ok(None));
        assert_eq!(words("--events -h node"), Ok(None));
        for option in ["--snapshot FILE", "--events", "--help"] {
            assert!(HELP.contains(option));
        }
    }

    #[test]
    fn what_does_not_fit_is_said_in_one_line() {
        for line in ["", "--", "--snapshot", "--evnts -- node", "--events"] {
            let error = words(line).unwrap_err();
            assert!(
                error.ends_with("; see --help") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
