//! A program that changes the code in one place at a time, and checks that a test notices.
//!
//! `cargo loom-mutants` weakens each ordering to `Relaxed` and runs the loom models. With words on
//! the command line, it tries only the sites whose file or line contains one of them: `cargo
//! loom-mutants tickets.rs`.
//!
//! `cargo behaviour-mutants`, which is the same with `--behaviour` in front, makes the handwritten
//! [`changes`] and runs for each the test that must fail. With words, it makes only the changes
//! whose file or description contains one of them: `cargo behaviour-mutants reclaim.rs`.
//!
//! Exit status: 0 if every result is as listed; 1 if a change was not noticed, or if one was that
//! is listed as unseen; 2 if the tests of the unchanged code do not pass, a change does not build,
//! or its text is no longer in the code.
//!
//! | file | contents |
//! | --- | --- |
//! | `orderings` | the runs with weakened orderings, and the list of those that no model can see |
//! | `sites` | the search for orderings |
//! | `behaviour` | the runs of the handwritten changes |
//! | `changes` | the handwritten changes |
//! | `tree` | the copy in which the code is changed |
//! | `programs` | building and running the tests |

mod behaviour;
mod changes;
mod orderings;
mod programs;
mod sites;
mod tree;

use programs::{Ended, Test};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The factor by which a test of changed code may be slower than of the unchanged code, until it is
/// stopped.
const PATIENCE: u32 = 10;
/// The shortest time limit of a test of changed code.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let noticed = match words.split_first() {
        Some((first, words)) if first == "--behaviour" => behaviour::run(words),
        _ => orderings::run(&words),
    };
    match noticed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loom-mutants: {error}");
            ExitCode::from(2)
        }
    }
}

/// The folder of the project.
fn project() -> Result<PathBuf, String> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .map_err(|error| error.to_string())
}

/// Runs a test on the unchanged code. Returns how long it took and what it printed.
fn time(test: &Test) -> Result<(Duration, String), String> {
    let began = Instant::now();
    match test.run(Duration::MAX)? {
        Ended::Passed(output) => Ok((began.elapsed(), output)),
        Ended::Failed | Ended::TooLong => {
            Err(format!("{} does not pass on the unchanged code", test.name))
        }
    }
}

/// Returns the time limit of a test that took `took` on the unchanged code.
fn patience(took: Duration) -> Duration {
    LEAST_PATIENCE.max(took * PATIENCE)
}
