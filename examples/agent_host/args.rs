//! The command line: its options and its errors.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Plays recorded agent sessions through AutoRun and shows what toolmeter counted.

Usage: agent_host [--trace PATH...] [--stats [--errors]] [--speed X] [--sessions N]
                  [--seconds S] [--json]

  --trace PATH...  play these recordings instead of the built-in one, whose calls really
                   run, on this checkout. The content of a file shows its form: JSON
                   lines of calls, or a transcript of Codex, Claude Code (with
                   subagents), Copilot, pi or SWE-agent. In a folder, all such files
                   are read
  --stats          print what was recorded, and play nothing; only with --trace
  --errors         also print the first lines of the errors; only with --stats
  --speed X        divide all recorded times by X (above 0; default 1); only with --trace
  --sessions N     how many sessions run at once (from 1; default: all of them)
  --seconds S      begin sessions again, in turn, until S seconds have passed; each is
                   played at least once, and those under way are played to their end
  --json           print one JSON object on stdout and nothing else
  --help           print this

Exit status: 0 if all adds up, 1 if it does not, 2 if the input cannot be used.
";

/// The parsed command line.
#[derive(Debug)]
pub(crate) struct Args {
    /// Recordings to play; none for the built-in one.
    pub(crate) traces: Vec<PathBuf>,
    /// Prints what was recorded, and plays nothing.
    pub(crate) stats: bool,
    /// Prints the first lines of the errors, too.
    pub(crate) errors: bool,
    /// The divisor of all recorded times.
    pub(crate) speed: f64,
    /// The number of sessions that run at once; `None` for all.
    pub(crate) sessions: Option<usize>,
    /// The time for which sessions begin again; `None` to play each once.
    pub(crate) repeat: Option<Duration>,
    /// Prints JSON.
    pub(crate) json: bool,
    /// Prints the help only.
    pub(crate) help: bool,
}

/// Reads the command line.
///
/// # Errors
///
/// One line that says what is wrong.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut args = Args {
        traces: Vec::new(),
        stats: false,
        errors: false,
        speed: 1.0,
        sessions: None,
        repeat: None,
        json: false,
        help: false,
    };
    read(&mut args, words).map_err(|error| format!("{error}; see --help"))?;
    if !(args.speed.is_finite() && args.speed > 0.0) {
        return Err(format!(
            "--speed is {}, but must be a number above 0",
            args.speed
        ));
    }
    if args.stats && args.traces.is_empty() && !args.help {
        return Err("--stats needs recordings: --trace PATH".into());
    }
    if args.errors && !args.stats {
        return Err("--errors is only for --stats".into());
    }
    if args.sessions == Some(0) {
        return Err("--sessions is 0, but must be at least 1".into());
    }
    Ok(args)
}

fn read(args: &mut Args, words: impl IntoIterator<Item = OsString>) -> Result<(), lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("trace") => args.traces.extend(parser.values()?.map(PathBuf::from)),
            Long("stats") => args.stats = true,
            Long("errors") => args.errors = true,
            Long("speed") => args.speed = parser.value()?.parse()?,
            Long("sessions") => args.sessions = Some(parser.value()?.parse()?),
            Long("seconds") => {
                let seconds = parser.value()?.parse_with(|text| {
                    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
                    Duration::try_from_secs_f64(seconds).map_err(|_| "not a time")
                })?;
                args.repeat = Some(seconds);
            }
            Long("json") => args.json = true,
            Long("help") | Short('h') => args.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn refusal(words: &[&str]) -> String {
        parse(words.iter().map(Into::into)).unwrap_err()
    }

    #[test]
    fn stats_are_of_recordings_and_errors_of_stats() {
        let args = parse(["--trace", "a", "b", "--stats", "--errors"].map(Into::into)).unwrap();
        assert_eq!(
            (args.traces.len(), args.stats, args.errors),
            (2, true, true)
        );
        assert_eq!(
            refusal(&["--stats"]),
            "--stats needs recordings: --trace PATH"
        );
        assert_eq!(
            refusal(&["--trace", "a", "--errors"]),
            "--errors is only for --stats"
        );
        assert!(parse(["--stats", "--help"].map(Into::into)).unwrap().help);
    }
}
