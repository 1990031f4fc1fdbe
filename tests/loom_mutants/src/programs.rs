//! The loom models of a tree: building them, and running them one at a time.
//!
//! Owns the calls of cargo. Promise: a model that failed is one that ran and said so; a tree that
//! does not build is an error, not a caught mutant.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a run looks whether it is over.
const POLL: Duration = Duration::from_millis(20);

/// One model: a test of a binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    binary: PathBuf,
    /// What the test is called.
    pub(crate) name: String,
}

/// How a run of a model ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It held, and printed this.
    Passed(String),
    /// It failed.
    Failed,
    /// It was stopped, as it took too long.
    TooLong,
}

/// Builds all models of the tree at `root` and lists them.
///
/// # Errors
///
/// What cargo said if it did not build.
pub(crate) fn build(root: &Path, target: &Path) -> Result<Vec<Model>, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .env_remove("RUSTFLAGS")
        .args(["test", "--release", "--no-default-features", "--no-run"])
        .args(["--message-format", "json", "--test", "loom_*"])
        .args(["--config", "build.rustflags=['--cfg', 'toolmeter_loom']"])
        .arg("--target-dir")
        .arg(target)
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut models = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if let Some(binary) = message["executable"].as_str() {
            models.extend(list(Path::new(binary))?);
        }
    }
    Ok(models)
}

fn list(binary: &Path) -> Result<Vec<Model>, String> {
    let output = Command::new(binary)
        .args(["--list", "--format", "terse"])
        .output()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let model = |name: &str| Model {
        binary: binary.to_path_buf(),
        name: name.to_owned(),
    };
    Ok(names.map(model).collect())
}

impl Model {
    /// Runs it for at most `limit`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(crate) fn run(&self, limit: Duration) -> Result<Ended, String> {
        let said = |error: std::io::Error| format!("{}: {error}", self.name);
        let began = Instant::now();
        let mut child = Command::new(&self.binary)
            .args(["--exact", &self.name, "--nocapture"])
            // loom would end a bounded search with success.
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
