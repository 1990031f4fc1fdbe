//! The command line.

use lexopt::prelude::{Long, Short, ValueExt};
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
The cost of a metered call: toolmeter next to its peers, all doing the same work.

Usage: toolmeter-peers [OPTIONS]

  --json          print one JSON object instead of the table, and nothing else
  --svg PATH      also write a plot of cost against threads to PATH
  --figures       toolmeter's figures as ratios in one run, each next to its aim
  --events        ways to tell another thread of a call, next to each other
  --work          toolmeter's share of a host whose tools do something, and how
                  late events are
  --tail          percentiles of single calls of toolmeter, next to a bare clock pair
  --memory        resident memory of toolmeter
  --shared-lines  cache lines that one thread writes and another uses, counted under
                  valgrind
  --seconds S     how long to measure altogether (default 30; 0.1 to 3600)
  --rounds N      rounds, each with every row (default 101, with --figures 801;
                  1 to 10000)
  --help          print this text

--json and --svg belong to the table, --rounds to the table, the figures, the events
and the work; --memory and --shared-lines are not timed.
";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print [`HELP`].
    Help,
    /// Measure and print the table.
    Table(TableOptions),
    /// Measure toolmeter's figures and print them next to their aims.
    Figures {
        measure_for: Duration,
        rounds: usize,
    },
    /// Measure the ways to tell another thread of a call.
    Events {
        measure_for: Duration,
        rounds: usize,
    },
    /// Measure what metering takes of tools that do something.
    Work {
        measure_for: Duration,
        rounds: usize,
    },
    /// Print percentiles of single calls, measured for so long.
    Tail(Duration),
    /// Print resident memory.
    Memory,
    /// Print which cache lines one thread writes and another uses.
    SharedLines,
    /// Make the calls of one scenario of `--shared-lines`: what the program starts itself for.
    Turns(String),
    /// Print one figure of `--memory`, in bytes: what the program starts itself for.
    MemoryFigure { figure: String, stripes: usize },
}

/// How to measure and show the table.
#[derive(Debug)]
pub(crate) struct TableOptions {
    pub(crate) json: bool,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) measure_for: Duration,
    pub(crate) rounds: usize,
}

/// Arguments that make no sense, in one line.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever an argument held, the answer stays one line.
        let line = self.0.replace(char::is_control, " ");
        write!(f, "{line} (see --help)")
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

const DEFAULT_SECONDS: f64 = 30.0;
const DEFAULT_ROUNDS: usize = 101;
const DEFAULT_FIGURE_ROUNDS: usize = 801;

/// Reads the arguments, program name excluded.
///
/// # Errors
///
/// When one is unknown, malformed or out of range, or does not go with another.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut json = false;
    let mut svg = None;
    let mut seconds = None;
    let mut rounds = None;
    let mut figures = false;
    let mut events = false;
    let mut work = false;
    let mut tail = false;
    let mut memory = false;
    let mut shared_lines = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("json") => json = true,
            Long("svg") => svg = Some(PathBuf::from(parser.value()?)),
            Long("figures") => figures = true,
            Long("events") => events = true,
            Long("work") => work = true,
            Long("tail") => tail = true,
            Long("memory") => memory = true,
            Long("shared-lines") => shared_lines = true,
            Long("turns") => return Ok(Command::Turns(parser.value()?.string()?)),
            Long("seconds") => {
                let value = parser.value()?.string()?;
                seconds = Some(in_range(&value, "--seconds", &(0.1..=3600.0))?);
            }
            Long("rounds") => {
                let value = parser.value()?.string()?;
                rounds = Some(in_range(&value, "--rounds", &(1..=10_000))?);
            }
            Long("memory-figure") => {
                let figure = parser.value()?.string()?;
                let stripes = parser.value()?.string()?;
                let stripes = in_range(&stripes, "--memory-figure", &(1..=64))?;
                return Ok(Command::MemoryFigure { figure, stripes });
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let is_counted = memory || shared_lines;
    let not_table = figures || events || work || tail || is_counted;
    let misplaced = [
        (json && not_table, "--json"),
        (svg.is_some() && not_table, "--svg"),
        (rounds.is_some() && (tail || is_counted), "--rounds"),
        (seconds.is_some() && is_counted, "--seconds"),
        (tail && is_counted, "--tail"),
        (
            figures && (events || work || tail || is_counted),
            "--figures",
        ),
        (events && (work || tail || is_counted), "--events"),
        (work && (tail || is_counted), "--work"),
        (memory && shared_lines, "--memory"),
    ];
    if let Some((_, option)) = misplaced.iter().find(|(is_misplaced, _)| *is_misplaced) {
        let modes = [
            (shared_lines, "--shared-lines"),
            (memory, "--memory"),
            (tail, "--tail"),
            (work, "--work"),
            (events, "--events"),
        ];
        let mode = modes.iter().find(|(is_asked_for, _)| *is_asked_for);
        let mode = mode.map_or("--figures", |(_, mode)| *mode);
        return Err(UsageError(format!("{option} does not go with {mode}")));
    }
    if memory {
        return Ok(Command::Memory);
    }
    if shared_lines {
        return Ok(Command::SharedLines);
    }
    let measure_for = Duration::from_secs_f64(seconds.unwrap_or(DEFAULT_SECONDS));
    if tail {
        return Ok(Command::Tail(measure_for));
    }
    if events {
        return Ok(Command::Events {
            measure_for,
            rounds: rounds.unwrap_or(DEFAULT_ROUNDS),
        });
    }
    if work {
        return Ok(Command::Work {
            measure_for,
            rounds: rounds.unwrap_or(DEFAULT_ROUNDS),
        });
    }
    if figures {
        return Ok(Command::Figures {
            measure_for,
            rounds: rounds.unwrap_or(DEFAULT_FIGURE_ROUNDS),
        });
    }
    Ok(Command::Table(TableOptions {
        json,
        svg,
        measure_for,
        rounds: rounds.unwrap_or(DEFAULT_ROUNDS),
    }))
}

fn in_range<T>(value: &str, option: &str, range: &RangeInclusive<T>) -> Result<T, UsageError>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(UsageError(format!(
            "{option} takes a number from {} to {}, not `{value}`",
            range.start(),
            range.end()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_table_is_the_default() {
        let Ok(Command::Table(options)) = parsed("") else {
            panic!("not the table");
        };
        assert!(!options.json);
        assert_eq!(options.rounds, DEFAULT_ROUNDS);
        let Ok(Command::Table(options)) = parsed("--json --rounds 3 --seconds 0.5 --svg p.svg")
        else {
            panic!("not the table");
        };
        assert!(options.json);
        assert_eq!(options.rounds, 3);
        assert_eq!(options.measure_for, Duration::from_millis(500));
        assert_eq!(options.svg, Some(PathBuf::from("p.svg")));
    }

    #[test]
    fn figures_have_rounds_of_their_own() {
        let Ok(Command::Figures {
            measure_for,
            rounds,
        }) = parsed("--figures --rounds 9 --seconds 2")
        else {
            panic!("not the figures");
        };
        assert_eq!((measure_for, rounds), (Duration::from_secs(2), 9));
        let Ok(Command::Figures { rounds, .. }) = parsed("--figures") else {
            panic!("not the figures");
        };
        assert_eq!(rounds, DEFAULT_FIGURE_ROUNDS);
    }

    #[test]
    fn what_makes_no_sense_is_named_in_one_line() {
        for (line, names) in [
            ("--sideways", "--sideways"),
            ("table", "table"),
            ("--seconds", "--seconds"),
            ("--seconds soon", "soon"),
            ("--seconds NaN", "NaN"),
            ("--seconds 0", "0.1 to 3600"),
            ("--rounds 0", "1 to 10000"),
            ("--rounds -1", "-1"),
            ("--tail --json", "--json does not go with --tail"),
            ("--memory --tail", "--tail does not go with --memory"),
            ("--figures --json", "--json does not go with --figures"),
            ("--figures --tail", "--figures does not go with --tail"),
            ("--work --json", "--json does not go with --work"),
            ("--work --tail", "--work does not go with --tail"),
            ("--work --events", "--events does not go with --work"),
            ("--work --figures", "--figures does not go with --work"),
            ("--work --memory", "--work does not go with --memory"),
            (
                "--shared-lines --memory",
                "--memory does not go with --shared-lines",
            ),
            (
                "--figures --memory --json",
                "--json does not go with --memory",
            ),
            (
                "--memory --seconds 3",
                "--seconds does not go with --memory",
            ),
        ] {
            let error = parsed(line).expect_err(line).to_string();
            assert!(error.contains(names), "{line}: {error}");
            assert_eq!(error.lines().count(), 1, "{line}: {error}");
        }
        let odd = parse([OsString::from("--rounds=1\n2")]).expect_err("two lines");
        assert_eq!(odd.to_string().lines().count(), 1, "{odd}");
    }
}
