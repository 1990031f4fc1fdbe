//! The command line.

use clap::Parser;
use std::time::Duration;

/// A year, in seconds. The load computes moments from its length, which must not overflow.
const MOST_SECONDS: u64 = 365 * 24 * 60 * 60;

/// Loads some registries in every way at once, and compares toolmeter's counts with the expected
/// counts.
#[derive(Debug, Parser)]
#[command(
    name = "soak",
    after_help = "Exit status: 0 if every count agrees, nothing was left untested and memory did not \
                  grow, 1 if not, 2 if the arguments cannot be used."
)]
pub(crate) struct Args {
    /// The length of the load, in seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=MOST_SECONDS))]
    pub(crate) seconds: u64,
    /// Leave out the forked children, in which a sanitizer does not work.
    #[arg(long)]
    pub(crate) no_forks: bool,
    /// Print one JSON object on stdout and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    /// Returns the length of the load.
    pub(crate) const fn load(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn parsed(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("soak").chain(line.split_whitespace()))
    }

    #[test]
    fn a_load_lasts_between_a_second_and_a_year() {
        assert_eq!(parsed("").unwrap().load(), Duration::from_secs(10));
        assert_eq!(parsed("--seconds 31536000").unwrap().seconds, MOST_SECONDS);
        for line in ["--seconds 0", "--seconds 31536001", "--seconds soon"] {
            let error = parsed(line).expect_err(line);
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{line}");
        }
    }
}
