//! The command line.

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use std::time::Duration;

/// The accepted lengths of a measurement, in seconds.
const SECONDS: std::ops::RangeInclusive<f64> = 0.1..=3600.0;

/// The cost of a metered call: toolmeter next to its peers, all doing the same work.
///
/// Without an option that selects something else, prints a table of toolmeter and its peers.
#[derive(Debug, Parser)]
#[command(name = "toolmeter-peers", group = clap::ArgGroup::new("mode"))]
pub(crate) struct Args {
    /// Print the table as one JSON object, and nothing else.
    #[arg(long, conflicts_with = "mode")]
    pub(crate) json: bool,
    /// Print toolmeter's figures as ratios in one run, each next to its aim.
    #[arg(long, group = "mode")]
    pub(crate) figures: bool,
    /// Compare ways to report a call to another thread.
    #[arg(long, group = "mode")]
    pub(crate) events: bool,
    /// Print toolmeter's share of a host whose tools do something, and the delay of events.
    #[arg(long, group = "mode")]
    pub(crate) work: bool,
    /// Print percentiles of single calls of toolmeter, next to a bare clock pair.
    #[arg(long, group = "mode")]
    pub(crate) tail: bool,
    /// Print the resident memory of toolmeter.
    #[arg(long, group = "mode")]
    pub(crate) memory: bool,
    /// Count, under valgrind, the cache lines that one thread writes and another uses.
    #[arg(long, group = "mode")]
    pub(crate) shared_lines: bool,
    /// Make the calls of one scenario of `--shared-lines`: the program starts itself with this.
    #[arg(long, group = "mode", value_name = "SCENARIO", hide = true)]
    pub(crate) turns: Option<String>,
    /// Print one figure of `--memory`, in bytes: the program starts itself with this.
    #[arg(
        long,
        group = "mode",
        value_name = "FIGURE",
        requires = "stripes",
        hide = true
    )]
    pub(crate) memory_figure: Option<String>,
    /// The number of stripes of `--memory-figure`.
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64), requires = "memory_figure", hide = true)]
    pub(crate) stripes: Option<usize>,
    /// The length of the measurement, in seconds, from 0.1 to 3600.
    #[arg(long, value_parser = duration, default_value = "30", conflicts_with_all = ["memory", "shared_lines"])]
    pub(crate) seconds: Duration,
    /// The number of rounds, each with every row [default: 101, with --figures 801].
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000), conflicts_with_all = ["tail", "memory", "shared_lines"])]
    rounds: Option<usize>,
}

impl Args {
    /// Returns the number of rounds.
    pub(crate) fn rounds(&self) -> usize {
        let default = if self.figures { 801 } else { 101 };
        self.rounds.unwrap_or(default)
    }
}

fn duration(seconds: &str) -> Result<Duration, String> {
    match seconds.parse() {
        Ok(seconds) if SECONDS.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "a number from {} to {} is needed",
            SECONDS.start(),
            SECONDS.end()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parsed(line: &str) -> Result<Args, ErrorKind> {
        let words = std::iter::once("toolmeter-peers").chain(line.split_whitespace());
        Args::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn the_options_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn figures_have_rounds_of_their_own() {
        for (line, rounds) in [
            ("", 101),
            ("--figures", 801),
            ("--work", 101),
            ("--figures --rounds 9", 9),
        ] {
            assert_eq!(parsed(line).map(|args| args.rounds()), Ok(rounds), "{line}");
        }
        let args = parsed("--json --seconds 0.5").unwrap();
        assert_eq!(
            (args.json, args.seconds),
            (true, Duration::from_millis(500))
        );
        assert_eq!(parsed("").unwrap().seconds, Duration::from_secs(30));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        use ErrorKind::{
            ArgumentConflict, MissingRequiredArgument, UnknownArgument, ValueValidation,
        };
        for (line, kind) in [
            ("--sideways", UnknownArgument),
            ("table", UnknownArgument),
            ("--seconds soon", ValueValidation),
            ("--seconds NaN", ValueValidation),
            ("--seconds 0", ValueValidation),
            ("--rounds 0", ValueValidation),
            ("--rounds 10001", ValueValidation),
            ("--tail --json", ArgumentConflict),
            ("--tail --rounds 3", ArgumentConflict),
            ("--work --events", ArgumentConflict),
            ("--shared-lines --memory", ArgumentConflict),
            ("--memory --seconds 3", ArgumentConflict),
            ("--memory-figure used", MissingRequiredArgument),
        ] {
            assert_eq!(parsed(line).map(|_| ()), Err(kind), "{line}");
        }
    }
}
