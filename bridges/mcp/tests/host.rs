//! The program `mcp_host`: the servers and plans that it reads, and what it writes.

#![cfg(unix)]

#[path = "support/programs.rs"]
mod programs;

use programs::program;
use serde_json::{Value, json};
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

    /// Returns the entry of a server of the folder.
    fn entry(&self) -> Value {
        json!({ "command": self.server, "args": [self.path()] })
    }

    /// Returns the entry of a server that leaves a mark when it is started, and where that is.
    fn marking(&self) -> (Value, PathBuf) {
        let mark = self.path().join("started");
        (json!({ "command": "touch", "args": [mark] }), mark)
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
fn servers_of_one_name_are_refused() {
    let setting = Setting::new();
    let config = json!({ "mcpServers": { "server_1": setting.entry() } }).to_string();
    let config = setting.file("config.json", config);
    let folder = setting.path();
    let folder = folder.to_str().unwrap();
    let told = setting.refused(&["--config", &config, "--", &setting.server, folder]);
    assert!(
        told.contains("two servers have the name server_1"),
        "{told}"
    );
    let told = setting.refused(&["--config", &config, "--config", &config]);
    assert!(
        told.contains("two servers have the name server_1"),
        "{told}"
    );
}

#[test]
fn a_command_may_hold_two_hyphens() {
    let setting = Setting::new();
    let plan = r#"{"tool":"files/read","arguments":{"path":"a.txt"}}"#;
    let plan = setting.file("plan", plan);
    let folder = setting.path();
    let proxied = format!(
        "files='{}' -- '{}' '{}'",
        program("mcp_proxy").display(),
        setting.server,
        folder.display()
    );
    setting.hosted(&["--server", &proxied, "--plan", &plan]);
    assert_eq!(setting.ends("files/read"), (1, 0));
    for (server, said) in [
        ("files", "NAME=COMMAND"),
        ("=true", "NAME=COMMAND"),
        ("files=", "there is no command"),
        ("files='true", "quote"),
    ] {
        let told = setting.refused(&["--server", server]);
        assert!(told.contains(said), "{told}");
    }
}

/// A server of the folder that first writes its arguments and some of its environment to a file.
fn noting(setting: &Setting, arguments: &[&str]) -> Value {
    let script = r#"printf '%s\n' "$@" "$PORT" "${GONE-none}" > "$OUT"; exec "$SERVER" "$FOLDER""#;
    let mut all = vec!["-c", script, "sh"];
    all.extend(arguments);
    json!({
        "command": "${SHELL_UNSET:-sh}",
        "args": all,
        "env": {
            "PORT": 3000,
            "GONE": null,
            "OUT": "${OUT_FOLDER}/noted",
            "SERVER": setting.server,
            "FOLDER": setting.path(),
        },
    })
}

#[test]
fn variables_of_a_configuration_are_replaced() {
    let setting = Setting::new();
    let project = setting.path().join("project");
    let entry = noting(
        &setting,
        &[
            "${SET}, ${SET:-unused}, ${env:SET}, $SET, ${SET:+, ${#SET}, ${}, ${",
            "${UNSET:-a default}${UNSET:-}",
            "${userHome}",
            "${workspaceFolder}${/}x${pathSeparator}${workspaceFolderBasename}",
        ],
    );
    let text = json!({ "servers": { "files": entry } }).to_string();
    for (file, folder) in [
        ("project/.vscode/mcp.json", &project),
        ("project/.cursor/mcp.json", &project),
        ("project/.mcp.json", &project),
    ] {
        let config = setting.file(file, &text);
        let mut host = setting.host(&["--config", &config]);
        host.env("SET", "${once}").env("HOME", "/a home");
        host.env("OUT_FOLDER", setting.path()).env("GONE", "here");
        host.env_remove("UNSET").env_remove("SHELL_UNSET");
        let output = host.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let noted = fs::read_to_string(setting.path().join("noted")).unwrap();
        let folder = folder.display();
        let expected = [
            "${once}, ${once}, ${once}, $SET, ${SET:+, ${#SET}, ${}, ${",
            "a default",
            "/a home",
            &format!("{folder}/x/project"),
            "3000",
            "none",
        ];
        assert_eq!(noted.lines().collect::<Vec<_>>(), expected, "{file}");
    }
}

#[test]
fn a_server_that_cannot_be_started_as_configured_is_left_out() {
    let setting = Setting::new();
    let (marking, mark) = setting.marking();
    let with = |field: &str, value: Value| {
        let mut entry = marking.clone();
        entry[field] = value;
        entry
    };
    let all = [
        ("a", with("disabled", json!(true)), "it is disabled"),
        ("b", with("enabled", json!(false)), "it is disabled"),
        ("c", with("args", json!("secret")), "`args`"),
        ("d", with("args", json!(["secret", 1])), "`args`"),
        ("e", with("env", json!("secret")), "`env`"),
        ("f", with("env", json!({"A": ["secret"]})), "`env`"),
        ("g", with("command", json!(["secret"])), "`command`"),
        ("h", with("cwd", json!(1)), "`cwd`"),
        (
            "i",
            with("args", json!(["${NOT_SET_HERE}"])),
            "${NOT_SET_HERE}",
        ),
        (
            "j",
            with("env", json!({"A": "${env:NOT_SET_HERE}"})),
            "${env:NOT_SET_HERE}",
        ),
        ("k", with("command", json!("${input:key}")), "${input:key}"),
        ("l", with("envFile", json!(".env")), "`envFile`"),
        (
            "m",
            json!({ "type": "http", "url": "https://secret" }),
            "not started by a command",
        ),
        ("n", json!("secret"), "not an object"),
        (
            "o\n\u{1b}[2J",
            json!({ "url": "" }),
            "not started by a command",
        ),
    ];
    let mut servers = json!({});
    for (name, entry, _) in &all {
        servers[name] = entry.clone();
    }
    let write = |servers: &Value| {
        let text = json!({ "mcpServers": servers }).to_string();
        setting.file("config.json", text)
    };
    let config = write(&servers);
    let told = setting.refused(&["--config", &config]);
    assert!(
        told.contains("config.json names no server that can be started: "),
        "{told}"
    );
    assert!(told.contains("a: it is disabled; b: "), "{told}");
    servers["z"] = setting.entry();
    servers["z"]["env"] = json!(null);
    servers["z"]["disabled"] = json!(false);
    write(&servers);
    let told = setting.hosted(&["--config", &config]);
    let lines = lines(&told);
    assert_eq!(lines.len(), all.len(), "{told}");
    for ((name, _, said), line) in all.iter().zip(lines) {
        let name = name.escape_debug();
        assert!(line.starts_with(&format!("{name} is left out: ")), "{line}");
        assert!(line.contains(said) && !line.contains("secret"), "{line}");
    }
    assert!(told.contains("z/read"), "{told}");
    assert!(!mark.exists());
    let none = setting.file("none.json", r#"{"mcpServers":{}}"#);
    let told = setting.refused(&["--config", &none]);
    assert!(told.contains("none.json names no server"), "{told}");
    for text in [
        r#"{"other":{}}"#,
        "[]",
        "",
        r#"{"mcpServers":[]}"#,
        &"[".repeat(100_000),
    ] {
        let other = setting.file("other.json", text);
        let told = setting.refused(&["--config", &other]);
        assert!(
            told.contains("other.json is not a configuration of MCP servers"),
            "{told}"
        );
    }
}

#[test]
fn comments_commas_and_a_mark_in_a_configuration_are_read_over() {
    let setting = Setting::new();
    let entry = setting.entry();
    let text = format!(
        "\u{feff}// of a team\n{{ \"mcpServers\": {{ \"files\": {entry}, /* last */ }}, }}"
    );
    let config = setting.file("config.json", text);
    let told = setting.hosted(&["--config", &config]);
    assert!(told.contains("files/read"), "{told}");
}

#[test]
fn a_server_is_started_in_its_folder() {
    let setting = Setting::new();
    let entry = json!({ "command": setting.server, "args": ["."], "cwd": "${FOLDER}" });
    let config = json!({ "mcpServers": { "files": entry } }).to_string();
    let config = setting.file("config.json", config);
    let plan = r#"{"tool":"files/read","arguments":{"path":"a.txt"}}"#;
    let plan = setting.file("plan", plan);
    let mut host = setting.host(&["--config", &config, "--plan", &plan]);
    let output = host.env("FOLDER", setting.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(setting.ends("files/read"), (1, 0));
    let missing = setting.path().join("none");
    let output = host.env("FOLDER", &missing).output().unwrap();
    let said = format!(" in {}): ", missing.display());
    assert!(told(&output).contains(&said), "{output:?}");
}

#[test]
fn servers_of_the_project_of_the_current_folder_are_started() {
    let setting = Setting::new();
    let (marking, mark) = setting.marking();
    let here = setting.path();
    let here = here.to_str().unwrap();
    let text = json!({
        "mcpServers": { "files": marking },
        "projects": {
            here: { "mcpServers": { "files": setting.entry() } },
            "/another": { "mcpServers": { "other": marking } },
        },
    });
    let config = setting.file("claude.json", text.to_string());
    let mut host = setting.host(&["--config", &config]);
    let output = host.current_dir(here).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        told(&output).contains("files/read") && !mark.exists(),
        "{output:?}"
    );
    let text = json!({ "projects": { "/another": { "mcpServers": { "other": marking } } } });
    setting.file("claude.json", text.to_string());
    let output = host.output().unwrap();
    let told = told(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("claude.json names no server") && told.contains(here),
        "{told}"
    );
}

#[test]
fn a_plan_gives_the_names_of_the_configuration() {
    let setting = Setting::new();
    let config = json!({ "mcpServers": { "@acme/files": setting.entry() } }).to_string();
    let config = setting.file("config.json", config);
    let plan = r#"{"tool":"@acme/files/read","arguments":{"path":"a.txt"}}"#;
    let plan = setting.file("plan", plan);
    setting.hosted(&["--config", &config, "--plan", &plan]);
    assert_eq!(setting.ends("@acme\\u{2f}files/read"), (1, 0));
    assert_eq!(setting.snapshot().unknown_tool_calls, 0);
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

/// Plays a recording on two servers of the folder. Returns what was written to stderr.
fn played(setting: &Setting, recording: &str) -> String {
    let entry = setting.entry();
    let config = json!({ "mcpServers": { "my-files": entry, "other": entry } }).to_string();
    let config = setting.file("config.json", config);
    let recording = setting.file("recording.jsonl", recording);
    setting.hosted(&["--config", &config, "--plan", &recording])
}

#[test]
fn a_session_of_claude_code_is_played() {
    let setting = Setting::new();
    let block = |id: &str, name: &str, path: &str| json!({ "type": "tool_use", "id": id, "name": name, "input": { "path": path } });
    let message =
        |id: &str, block: Value| json!({ "role": "assistant", "id": id, "content": [block] });
    let line = |message: Value| json!({ "type": "assistant", "uuid": "u", "message": message });
    let read = "mcp__my-files__read";
    let first = line(message("m1", block("1", read, "a.txt")));
    let lines = [
        json!({ "type": "summary", "summary": "mcp__my-files__read" }),
        first.clone(),
        json!({ "type": "user", "message": { "content": [{ "type": "tool_result", "tool_use_id": "1" }] } }),
        line(message("m1", block("2", "mcp__other__hash", "a.txt"))),
        line(message("m2", block("3", "Read", "a.txt"))),
        line(message("m2", block("4", "mcp__third__read", "a.txt"))),
        first,
        json!({ "type": "progress", "data": { "message": line(message("m3", block("5", read, "none"))) } }),
    ];
    let text: Vec<_> = lines.iter().map(Value::to_string).collect();
    let told = played(&setting, &format!("{}\n{{\"type\":", text.join("\n")));
    assert_eq!(setting.ends("my-files/read"), (1, 1));
    assert_eq!(setting.ends("other/hash"), (1, 0));
    let said = "3 of 5 recorded calls are played, those of the servers that are started";
    assert!(
        told.contains(said) && told.contains("1 line is not JSON"),
        "{told}"
    );
}

#[test]
fn a_session_of_codex_is_played() {
    let setting = Setting::new();
    let call = |id: &str, name: &str, space: Option<&str>| {
        let mut item = json!({
            "type": "function_call", "name": name, "call_id": id,
            "arguments": "{\"path\":\"a.txt\"}",
        });
        if let Some(space) = space {
            item["namespace"] = json!(space);
        }
        item
    };
    let line = |item: Value| json!({ "type": "response_item", "payload": item });
    let output = json!({ "type": "function_call_output", "call_id": "1", "output": "x" });
    let mut unread = call("5", "mcp__other__read", None);
    unread["arguments"] = json!("{");
    let lines = [
        json!({ "type": "session_meta", "payload": { "id": "s" } }),
        line(call("1", "read", Some("mcp__my_files"))),
        line(call("2", "mcp__other__read", None)),
        json!({ "type": "event_msg", "payload": { "type": "item_completed", "item": { "type": "McpToolCall",
            "id": "1", "server": "my-files", "tool": "read", "arguments": { "path": "a.txt" } } } }),
        line(output),
        // The first versions wrote the items bare, and the names without a prefix.
        call("3", "other__read", None),
        line(call("4", "shell", None)),
        line(unread),
        line(call("1", "read", Some("mcp__my_files"))),
    ];
    let text: Vec<_> = lines.iter().map(Value::to_string).collect();
    let told = played(&setting, &text.join("\n"));
    assert_eq!(setting.ends("my-files/read"), (1, 0));
    assert_eq!(setting.ends("other/read"), (2, 0));
    assert!(told.contains("3 of 5 recorded calls are played"), "{told}");
}

#[test]
fn a_reduced_recording_is_played_if_it_holds_the_arguments() {
    let setting = Setting::new();
    let line = |turn: u32, tool: &str| {
        json!({ "turn": turn, "tool": tool, "args": { "path": "a.txt" }, "start_ms": 5 })
            .to_string()
    };
    let lines = [
        line(0, "my-files/read"),
        line(0, "mcp__other__read"),
        line(1, "shell"),
    ];
    let told = played(&setting, &lines.join("\n"));
    assert_eq!(setting.ends("my-files/read"), (1, 0));
    assert_eq!(setting.ends("other/read"), (1, 0));
    assert!(told.contains("2 of 3 recorded calls are played"), "{told}");

    let server = ["--", "true"];
    for (text, said) in [
        (
            r#"{"turn":0,"tool":"server_1/read","args_bytes":3}"#,
            "without its arguments",
        ),
        (&*line(0, "shell"), "no call of a server that is started"),
    ] {
        let recording = setting.file("recording.jsonl", text);
        let told = setting.refused(&["--plan", &recording, server[0], server[1]]);
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn the_help_says_what_is_read() {
    let output = Command::new(program("mcp_host"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for said in [
        "--server NAME=COMMAND",
        "${VAR:-default}",
        "${userHome}",
        "`servers`",
        "Codex",
    ] {
        assert!(help.contains(said), "{said}");
    }
    assert!(help.lines().all(|line| line.len() <= 100), "{help}");
}
