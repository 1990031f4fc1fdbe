//! The program `mcp_host`: the servers and plans that it reads, and what it writes.

#![cfg(unix)]

#[path = "support/programs.rs"]
mod programs;

use programs::program;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use toolmeter::Snapshot;

/// A server of lines of shell. Its answer to a request for its list is in `LIST`, and to a call an
/// error of two lines that holds an escape sequence.
const RAW: &str = r#"
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case "$line" in
    *'"initialize"'*) answer='"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"raw","version":"1"}}' ;;
    *'"tools/list"'*) answer=$LIST ;;
    *) answer='"error":{"code":-32000,"message":"\u001b[2Jno\nmore"}' ;;
  esac
  [ -z "$id" ] || printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$answer"
done
"#;

/// A folder with files for a host, and what it serves.
struct Setting {
    folder: tempfile::TempDir,
    server: String,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "hello").unwrap();
        let server = program("mcp_server").to_str().unwrap().to_owned();
        Self { folder, server }
    }

    fn path(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    /// Writes a file, and returns where it is.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Returns a host that writes its snapshot into the folder.
    fn host(&self, arguments: &[&str]) -> Command {
        let mut host = Command::new(program("mcp_host"));
        host.arg("--snapshot").arg(self.path().join("metrics"));
        host.args(arguments).stdin(Stdio::null());
        host
    }

    /// Runs a host to its end, which has to be a good one. Returns what it wrote to stderr.
    fn hosted(&self, arguments: &[&str]) -> String {
        let output = self.host(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        told(&output)
    }

    /// Runs a host that cannot start. Returns its line.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.host(arguments).output().unwrap();
        let told = told(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        told
    }

    /// Returns the number of successes and of failures of a tool.
    fn ends(&self, tool: &str) -> (u64, u64) {
        let snapshot = self.snapshot();
        let tool = snapshot.tools.get(tool);
        tool.map_or((0, 0), |tool| (tool.success(), tool.failure()))
    }

    fn snapshot(&self) -> Snapshot {
        serde_json::from_slice(&fs::read(self.path().join("metrics")).unwrap()).unwrap()
    }
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns the lines that come before the first table.
fn lines(told: &str) -> Vec<&str> {
    let is_table = |line: &&str| line.contains(" calls of unknown tools; ");
    told.lines().take_while(|line| !is_table(line)).collect()
}

#[test]
fn closed_output_changes_nothing() {
    let setting = Setting::new();
    let plan = "{\"tool\":\"server_1/none\"}\n{\"tool\":\"server_1/fail\"}\n";
    let plan = setting.file("plan", plan);
    let folder = setting.path();
    let mut host = setting.host(&["--plan", &plan, "--", &setting.server]);
    host.arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut host = host.spawn().unwrap();
    drop((host.stdout.take(), host.stderr.take()));
    assert_eq!(host.wait().unwrap().code(), Some(0));
    assert_eq!(setting.ends("server_1/fail"), (0, 1));
    assert_eq!(setting.snapshot().unknown_tool_calls, 1);
}

#[test]
fn foreign_text_is_one_visible_line() {
    let setting = Setting::new();
    let plan = setting.file("plan", r#"{"tool":"raw/a"}"#);
    let raw = |list: &str| json!({ "command": "sh", "args": ["-c", RAW], "env": { "LIST": list } });
    let listed = raw(r#""result":{"tools":[{"name":"a","inputSchema":{"type":"object"}}]}"#);
    let unlisted = raw(r#""error":{"code":-32000,"message":"\u001b[2Jno\nlist"}"#);
    let config = json!({ "mcpServers": { "a\nb": unlisted, "raw": listed } });
    let config = setting.file("config.json", config.to_string());
    let told = setting.hosted(&["--config", &config, "--plan", &plan]);
    let lines = lines(&told);
    assert_eq!(lines.len(), 2, "{told}");
    assert!(
        lines[0].starts_with("the list of tools of a\\nb cannot be read: "),
        "{told}"
    );
    assert!(lines[0].contains("\\u{1b}[2Jno\\nlist"), "{told}");
    assert!(lines[1].contains("\\u{1b}[2Jno\\nmore"), "{told}");
    assert!(!told.contains('\u{1b}'), "{told}");

    let refusing = RAW.replace("initialize", "none");
    let told = setting.refused(&["--", "sh", "-c", &refusing]);
    assert!(
        told.starts_with("mcp_host: server_1 is no MCP server"),
        "{told}"
    );
    assert!(told.contains("\\u{1b}[2Jno\\nmore"), "{told}");
    let told = setting.refused(&["--config", "/no/such\nfile"]);
    assert!(told.contains("/no/such\\nfile"), "{told}");
}

#[test]
fn a_wrong_line_of_a_plan_is_explained() {
    let setting = Setting::new();
    for (line, said) in [
        (r#"{"tool":"a","argumnts":{}}"#, "unknown field `argumnts`"),
        (r#"[{"tool":"a"},{"arguments":{}}]"#, "missing field `tool`"),
        (r#"{"tool":"a","limit":-1}"#, "negative"),
        ("tool", "line 2 of "),
        (r#"{"tool":"a"} x"#, ", column 14: "),
    ] {
        let plan = setting.file("plan", format!("{{\"tool\":\"a\"}}\n{line}\n"));
        let told = setting.refused(&["--plan", &plan, "--", "true"]);
        assert!(told.contains(said) && told.contains("line 2 of "), "{told}");
        assert!(!told.contains("line 1"), "{told}");
    }
}
