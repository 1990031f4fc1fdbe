//! The built-in recording: the calls that an agent asked for, and the tools that really run them on
//! this checkout.
//!
//! The recording is JSON lines as well: `{"turn", "tool", "args"}`, with `limit_ms` for a time
//! limit and `cancel_after_ms` for a call that its host drops. Paths are relative to the root of
//! the checkout, and the tools refuse paths outside of it.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::hash::Hasher;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use toolmeter::auto_run::{CallResult, CancellationToken, Model, ToolCall, Turn};
use toolmeter::{ErrorKind, Invocation, RegisterError, Registry, ToolError, async_tool, sync_tool};

const RECORDING: &str = include_str!("../recordings/checkout.jsonl");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The number of bytes that are read of a file or of a command's output.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    turn: u64,
    tool: String,
    args: Value,
    limit_ms: Option<u64>,
    cancel_after_ms: Option<u64>,
}

/// The recording: the calls of each turn.
#[derive(Clone, Debug)]
pub(crate) struct Recording(Vec<Vec<Row>>);

impl Recording {
    /// Reads the built-in recording.
    ///
    /// # Errors
    ///
    /// The line that is wrong.
    pub(crate) fn built_in() -> Result<Self, String> {
        let mut turns: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
        for (index, line) in RECORDING.lines().enumerate() {
            let row: Row = serde_json::from_str(line)
                .map_err(|error| format!("checkout.jsonl:{}: {error}", index + 1))?;
            turns.entry(row.turn).or_default().push(row);
        }
        Ok(Self(turns.into_values().collect()))
    }
}

/// The agent that was recorded.
#[derive(Debug)]
pub(crate) struct LocalModel<'a> {
    turns: std::slice::Iter<'a, Vec<Row>>,
}

impl<'a> LocalModel<'a> {
    /// Creates a model that asks for everything in the recording, from its start.
    pub(crate) fn new(recording: &'a Recording) -> Self {
        Self {
            turns: recording.0.iter(),
        }
    }
}

impl Model for LocalModel<'_> {
    type Error = Infallible;

    async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Infallible> {
        Ok(match self.turns.next() {
            Some(rows) => Turn::Calls(rows.iter().map(tool_call).collect()),
            None => Turn::Done(Value::Null),
        })
    }
}

fn tool_call(row: &Row) -> ToolCall {
    let mut call = ToolCall::new(row.tool.as_str(), row.args.clone());
    if let Some(limit) = row.limit_ms {
        call = call.time_limit(Duration::from_millis(limit));
    }
    if let Some(after) = row.cancel_after_ms {
        let token = CancellationToken::new();
        call = call.cancel_token(token.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            token.cancel();
        });
    }
    call
}

/// Registers the tools that the recording calls.
///
/// # Errors
///
/// [`RegisterError`] if one of them is registered already.
pub(crate) fn register(registry: &Registry) -> Result<(), RegisterError> {
    registry.register_tool(sync_tool("list_folder", |call| list_folder(&call)))?;
    registry.register_tool(sync_tool("read_file", |call| read_file(&call)))?;
    registry.register_tool(sync_tool("search_text", |call| search_text(&call)))?;
    registry.register_tool(sync_tool("hash_file", |call| hash_file(&call)))?;
    registry.register_tool(async_tool("run_command", run_command))?;
    let asked = AtomicU64::new(0);
    registry.register_tool(sync_tool("package_index", move |call| {
        package_index(&call, asked.fetch_add(1, Ordering::Relaxed))
    }))?;
    Ok(())
}

fn text<'a>(call: &'a Invocation, field: &str) -> Result<&'a str, ToolError> {
    call.args[field].as_str().ok_or_else(|| {
        let message = format!(
            "`{field}` must be text, but the arguments are {}",
            call.args
        );
        ToolError::new(ErrorKind::InvalidArgs, message)
    })
}

fn path(call: &Invocation) -> Result<PathBuf, ToolError> {
    let path = Path::new(text(call, "path")?);
    let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(is_inside) {
        let message = format!("{} leads out of the checkout", path.display());
        return Err(ToolError::new(ErrorKind::PermissionDenied, message));
    }
    Ok(Path::new(ROOT).join(path))
}

fn contents(path: &Path) -> Result<Vec<u8>, ToolError> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn list_folder(call: &Invocation) -> Result<Value, ToolError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path(call)?)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.into())
}

fn read_file(call: &Invocation) -> Result<Value, ToolError> {
    let bytes = contents(&path(call)?)?;
    Ok(String::from_utf8_lossy(&bytes).into())
}

/// Searches the files of one folder for a text, and counts the lines of each that contain it.
fn search_text(call: &Invocation) -> Result<Value, ToolError> {
    let wanted = text(call, "text")?;
    // A defect that the recorded agent ran into: an empty text has no first character.
    assert!(
        !wanted.is_empty(),
        "search_text: the text to look for is empty"
    );
    let mut hits = BTreeMap::new();
    for entry in fs::read_dir(path(call)?)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let bytes = contents(&entry.path())?;
            let lines = String::from_utf8_lossy(&bytes);
            let count = lines.lines().filter(|line| line.contains(wanted)).count();
            if count > 0 {
                hits.insert(entry.file_name().to_string_lossy().into_owned(), count);
            }
        }
    }
    Ok(json!(hits))
}

fn hash_file(call: &Invocation) -> Result<Value, ToolError> {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&contents(&path(call)?)?);
    Ok(format!("{:016x}", hasher.finish()).into())
}

/// A command that is killed if it is dropped before it ends.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Both fail only for a command that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn run_command(call: Invocation) -> Result<Value, ToolError> {
    let program = text(&call, "program")?;
    let args = call.args["args"].as_array().map_or(&[][..], Vec::as_slice);
    let mut child = KillOnDrop(
        Command::new(program)
            .args(args.iter().filter_map(Value::as_str))
            .current_dir(ROOT)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let stdout = child.0.stdout.take();
    let reading = tokio::task::spawn_blocking(move || {
        let mut output = Vec::new();
        match stdout {
            Some(stdout) => stdout
                .take(MAX_BYTES)
                .read_to_end(&mut output)
                .map(|_| output),
            None => Ok(output),
        }
    });
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let output = match reading.await {
        Ok(output) => output?,
        Err(error) => return Err(ToolError::new(ErrorKind::Other, error.to_string())),
    };
    if status.success() {
        Ok(String::from_utf8_lossy(&output).into())
    } else {
        Err(ToolError::new(ErrorKind::ToolError, status.to_string()))
    }
}

/// Answers like a service that is down at first: of every three requests, only the third succeeds.
fn package_index(call: &Invocation, asked_before: u64) -> Result<Value, ToolError> {
    let name = text(call, "name")?;
    if asked_before % 3 < 2 {
        return Err(ToolError::new(
            ErrorKind::Network,
            "the index could not be reached",
        ));
    }
    let lock = contents(&Path::new(ROOT).join("Cargo.lock"))?;
    let line = format!("name = \"{name}\"");
    Ok(json!({ "locked": String::from_utf8_lossy(&lock).lines().any(|l| l == line) }))
}
