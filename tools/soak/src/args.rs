//! The command line: what it may say, and what it says wrong.

use std::ffi::OsString;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Loads some registries in every way at once, and compares toolmeter's counts with its own.

Usage: soak [--seconds N] [--no-forks] [--json]

  --seconds N  how long the load lasts (from 1; default 10)
  --no-forks   leave out the forked children, in which a sanitizer does not work
  --json       print one JSON object on stdout and nothing else
  --help       print this

Exit status: 0 if every count agrees and memory did not grow, 1 if not, 2 if the input cannot
be used.
";

/// What to do.
#[derive(Debug)]
pub(crate) struct Args {
    /// How long the load lasts.
    pub(crate) seconds: u64,
    /// Whether children are forked, where there are forks.
    pub(crate) forks: bool,
    /// Whether to print JSON.
    pub(crate) json: bool,
    /// Whether to print the help only.
    pub(crate) help: bool,
}

impl Args {
    /// How long the load lasts.
    pub(crate) const fn load(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Reads the command line.
///
/// # Errors
///
/// One line that says what does not fit.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut args = Args {
        seconds: 10,
        forks: true,
        json: false,
        help: false,
    };
    read(&mut args, words).map_err(|error| format!("{error}; see --help"))?;
    if args.seconds == 0 {
        return Err("--seconds is 0, but must be at least 1".into());
    }
    // Moments of the load are computed from this; a year is more than anybody waits for.
    if args.seconds > 31_536_000 {
        return Err(format!("--seconds is {}, more than a year", args.seconds));
    }
    Ok(args)
}

fn read(args: &mut Args, words: impl IntoIterator<Item = OsString>) -> Result<(), lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seconds") => args.seconds = parser.value()?.parse()?,
            Long("no-forks") => args.forks = false,
            Long("json") => args.json = true,
            Long("help") | Short('h') => args.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(())
}
