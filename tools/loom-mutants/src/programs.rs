//! The tests of a tree, which are built with cargo and run one at a time.
//!
//! A test counts as failed only if it ran; a tree that does not build is an error, not a caught
//! mutant.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two checks for the end of a run.
const POLL: Duration = Duration::from_millis(20);

/// One test of a binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    binary: PathBuf,
    /// The folder of its package, in which cargo would run it.
    folder: PathBuf,
    /// The name of the test.
    pub(crate) name: String,
}

/// The end of a run of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It passed, and printed this.
    Passed(String),
    /// It failed.
    Failed,
    /// It exceeded its time limit and was stopped.
    TooLong,
}

/// Builds the loom models of the tree at `root` that `chosen` selects, and lists them.
///
/// # Errors
///
/// The output of cargo, if it did not build.
pub(crate) fn build_models(root: &Path, target: &Path, chosen: &str) -> Result<Vec<Test>, String> {
    let mut cargo = cargo_test(root, target);
    cargo
        .args(["--release", "--no-default-features", "--test", chosen])
        .args(["--config", "build.rustflags=['--cfg', 'toolmeter_loom']"]);
    build(cargo)
}

/// Builds a target of a package of the tree at `root`, with all features, and lists its tests.
///
/// # Errors
///
/// The output of cargo, if it did not build.
pub(crate) fn build_tests(
    root: &Path,
    target: &Path,
    package: &str,
    tests: &str,
) -> Result<Vec<Test>, String> {
    let mut cargo = cargo_test(root, target);
    cargo
        .args(["--profile", "mutants", "--all-features"])
        .args(["--package", package]);
    match tests {
        LIBRARY => cargo.arg("--lib"),
        file => cargo.args(["--test", file]),
    };
    build(cargo)
}

/// The name that stands for the target with the unit tests of a package.
pub(crate) const LIBRARY: &str = "lib";

fn cargo_test(root: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root)
        .env_remove("RUSTFLAGS")
        .args(["test", "--no-run", "--message-format", "json"])
        .arg("--target-dir")
        .arg(target);
    cargo
}

fn build(mut cargo: Command) -> Result<Vec<Test>, String> {
    let output = cargo
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut tests = Vec::new();
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in stdout.lines() {
        let message: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if let Some(binary) = message["executable"].as_str() {
            tests.extend(list(Path::new(binary), &message)?);
        }
        if message["message"]["level"] == "error" {
            said.push_str(message["message"]["rendered"].as_str().unwrap_or_default());
        }
    }
    if output.status.success() {
        Ok(tests)
    } else {
        Err(said)
    }
}

fn list(binary: &Path, message: &Value) -> Result<Vec<Test>, String> {
    let output = Command::new(binary)
        .args(["--list", "--format", "terse"])
        .output()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
    let test = |name: &str| Test {
        binary: binary.to_path_buf(),
        folder: manifest.parent().unwrap_or(Path::new(".")).to_path_buf(),
        name: name.to_owned(),
    };
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(test).collect())
}

impl Test {
    /// Runs the test for at most `limit`.
    ///
    /// # Errors
    ///
    /// If the test cannot be started or stopped.
    pub(crate) fn run(&self, limit: Duration) -> Result<Ended, String> {
        let said = |error: std::io::Error| format!("{}: {error}", self.name);
        let began = Instant::now();
        let mut child = Command::new(&self.binary)
            .current_dir(&self.folder)
            .args(["--exact", &self.name, "--nocapture"])
            // With these bounds, loom would end an incomplete search with success.
            .env_remove("LOOM_MAX_DURATION")
            .env_remove("LOOM_MAX_PERMUTATIONS")
            .env_remove("LOOM_MAX_PREEMPTIONS")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(said)?;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(said)? {
                break status;
            }
            if began.elapsed() > limit {
                child.kill().map_err(said)?;
                child.wait().map_err(said)?;
                return Ok(Ended::TooLong);
            }
            thread::sleep(POLL);
        };
        if !status.success() {
            return Ok(Ended::Failed);
        }
        let output = child.wait_with_output().map_err(said)?;
        Ok(Ended::Passed(
            String::from_utf8_lossy(&output.stdout).into_owned(),
        ))
    }
}
