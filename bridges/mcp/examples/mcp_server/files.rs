//! The tools: operations on the files of one folder, and three tools that wait, fail and panic.

use rmcp::model::*;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most bytes that `read` and `search` read of a file.
const MAX_READ: u64 = 1024 * 1024;
/// The most lines of an answer of `list` and `search`.
const MAX_LINES: usize = 1_000;

/// The name of each tool, its description, and the names of its arguments, all of them required.
const TOOLS: [(&str, &str, &[&str]); 7] = [
    ("list", "Lists a folder.", &["path"]),
    ("read", "Reads a file of text, up to 1 MiB.", &["path"]),
    (
        "search",
        "Finds the lines of a file that contain a text.",
        &["path", "text"],
    ),
    ("hash", "Computes the SHA-256 of a file.", &["path"]),
    ("slow", "Waits for some milliseconds.", &["ms"]),
    ("fail", "Fails.", &[]),
    ("panic", "Panics.", &[]),
];

/// The files of a folder.
#[derive(Clone)]
pub(crate) struct Files {
    root: PathBuf,
}

/// An operation on files.
type Act = fn(&Path, &Map<String, Value>) -> io::Result<String>;

impl Files {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(io::Error::other("it is not a folder"));
        }
        Ok(Self { root })
    }

    /// Resolves a path, if it leads into the folder.
    fn path(&self, path: &str) -> io::Result<PathBuf> {
        let path = self.root.join(path).canonicalize()?;
        if path.starts_with(&self.root) {
            return Ok(path);
        }
        Err(io::Error::other("it is not in the folder"))
    }

    /// Runs an operation on a file, on a thread that may block.
    async fn act(&self, act: Act, arguments: Map<String, Value>) -> CallToolResult {
        let files = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let path = arguments.get("path").and_then(Value::as_str);
            act(&files.path(path.unwrap_or_default())?, &arguments)
        });
        match done.await {
            Ok(Ok(text)) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Ok(Err(error)) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]),
            Err(_) => CallToolResult::error(vec![ContentBlock::text("it was stopped")]),
        }
    }
}

fn list(path: &Path, _: &Map<String, Value>) -> io::Result<String> {
    let names = fs::read_dir(path)?
        .take(MAX_LINES)
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
    names.sort();
    Ok(names.join("\n"))
}

fn read(path: &Path, _: &Map<String, Value>) -> io::Result<String> {
    let mut text = Vec::new();
    fs::File::open(path)?
        .take(MAX_READ)
        .read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn search(path: &Path, arguments: &Map<String, Value>) -> io::Result<String> {
    let wanted = arguments
        .get("text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let text = read(path, arguments)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains(wanted));
    let mut found = String::new();
    for (number, line) in lines.take(MAX_LINES) {
        let _ = writeln!(found, "{}: {line}", number + 1);
    }
    Ok(found)
}

fn hash(path: &Path, _: &Map<String, Value>) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    let mut text = String::new();
    for byte in digest.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn tool((name, description, arguments): (&'static str, &'static str, &[&str])) -> Tool {
    let properties: Map<String, Value> = arguments
        .iter()
        .map(|&name| {
            let kind = if name == "ms" { "integer" } else { "string" };
            (name.to_owned(), json!({ "type": kind }))
        })
        .collect();
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    schema.insert("required".into(), json!(arguments));
    Tool::new(name, description, schema)
}

impl ServerHandler for Files {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        TOOLS.into_iter().find(|tool| tool.0 == name).map(tool)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(TOOLS.map(tool).to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let known = TOOLS.into_iter().find(|tool| tool.0 == request.name);
        let Some((name, _, needed)) = known else {
            let why = format!("Unknown tool: {}", request.name);
            return Err(ErrorData::invalid_params(why, None));
        };
        let arguments = request.arguments.unwrap_or_default();
        for &needed in needed {
            let fits = arguments.get(needed).is_some_and(|value| match needed {
                "ms" => value.is_u64(),
                _ => value.is_string(),
            });
            if !fits {
                let why = format!("Invalid arguments: `{needed}` is missing or of another type");
                return Err(ErrorData::invalid_params(why, None));
            }
        }
        let answer = match name {
            "list" => self.act(list, arguments).await,
            "read" => self.act(read, arguments).await,
            "search" => self.act(search, arguments).await,
            "hash" => self.act(hash, arguments).await,
            "slow" => {
                let ms = arguments
                    .get("ms")
                    .and_then(Value::as_u64)
                    .unwrap_or_default();
                tokio::time::sleep(Duration::from_millis(ms)).await;
                CallToolResult::success(vec![ContentBlock::text("done")])
            }
            "panic" => panic!("as it was asked to"),
            _ => CallToolResult::error(vec![ContentBlock::text("it failed, as it was asked to")]),
        };
        Ok(answer.into())
    }
}
