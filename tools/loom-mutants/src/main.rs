//! Changes the code in one place at a time, and asks the tests whether they notice.
//!
//! `cargo loom-mutants` weakens each ordering to `Relaxed` and asks the loom models. With words on
//! the command line, only sites whose file and line contain one of them are tried:
//! `cargo loom-mutants tickets.rs`.
//!
//! `cargo behaviour-mutants`, which is the same with `--behaviour` in front, makes the handwritten
//! [`changes`] of what the facade does, and asks for each the test that must fail. With words, only
//! changes are made whose file or line of text contains one of them: `cargo behaviour-mutants
//! reclaim.rs`.
//!
//! Exit status: 0 if the tests are as good as they are said to be; 1 if a change was not noticed,
//! or one was that is said to be unseen; 2 if the tests of the unchanged code do not pass, a
//! change does not build, or one finds no place in the code any more.
//!
//! | file | contents |
//! | --- | --- |
//! | `orderings` | weakening orderings, and the list of those that no model can see |
//! | `sites` | the search for orderings |
//! | `behaviour` | making the handwritten changes |
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

/// A test of changed code may take this much longer than of the real code before it is stopped.
const PATIENCE: u32 = 10;
/// And at least this long.
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
            Err(format!("{} does not hold on the unchanged code", test.name))
        }
    }
}

/// Returns the time limit of a test that took so long on the unchanged code.
fn patience(took: Duration) -> Duration {
    LEAST_PATIENCE.max(took * PATIENCE)
}
