//! Tests with hostile inputs: each ends in a count or in one clear line.

use super::{load, new_folder, path, read, told};
use crate::history::files::Loading;
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Held by the tests that allocate much, so that one of them can measure.
static MEASURING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    MEASURING.lock().unwrap_or_else(PoisonError::into_inner)
}

const ASKED: &str = r#"{"type":"response_item","timestamp":"2026-01-01T00:00:00Z","payload":{"type":"function_call","name":"f","arguments":"{}","call_id":"c1"}}
"#;
const ENDED: &str = r#"{"type":"response_item","timestamp":"2026-01-01T00:00:01Z","payload":{"type":"function_call_output","output":"fine","call_id":"c1"}}
"#;

/// Checks that the call of [`ASKED`] and [`ENDED`] is read with these bytes between them.
fn between(bytes: &[u8]) -> crate::history::Account {
    let history = read(&[ASKED.as_bytes(), bytes, b"\n", ENDED.as_bytes()].concat()).unwrap();
    assert_eq!(told(&history.sessions[0]), ["0 f a 0+1000 success"]);
    assert_eq!(history.account.lines, 2);
    history.account
}

#[test]
fn what_is_no_json_is_counted() {
    for line in [
        "}",
        "{",
        "[",
        "\"",
        "nul",
        "\u{feff}{}",
        "{}{}",
        "{\"type\":",
    ] {
        assert_eq!(between(line.as_bytes()).broken_lines, 1, "{line}");
    }
    for line in [
        "{}",
        "[]",
        "1",
        "null",
        "\"\"",
        r#"{"type":[]}"#,
        r#"{"type":"new","payload":7}"#,
    ] {
        assert_eq!(between(line.as_bytes()).unknown_lines, 1, "{line}");
    }
}

#[test]
fn deep_nesting_is_counted() {
    let _alone = alone();
    for open in ["[", "{\"a\":", "{\"type\":\"response_item\",\"payload\":"] {
        let deep = open.repeat(300_000);
        assert_eq!(between(deep.as_bytes()).broken_lines, 1);
    }
    // In arguments, which are JSON in a text.
    let deep = ASKED.replace("{}", &"[".repeat(300_000)) + ENDED;
    let history = read(deep.as_bytes()).unwrap();
    assert_eq!(told(&history.sessions[0]), ["0 f a 0+1000 success"]);
    // As deep as it may be: in results, too.
    let (open, close) = ("[".repeat(100), "]".repeat(100));
    let deep = ENDED.replace("\"fine\"", &format!("{open}\"fine\"{close}"));
    let history = read((ASKED.to_owned() + &deep).as_bytes()).unwrap();
    assert_eq!(told(&history.sessions[0]), ["0 f a 0+1000 success"]);
}

#[test]
fn many_small_values_are_counted() {
    let _alone = alone();
    for many in ["1,".repeat(2_000_001), "{},".repeat(100_000)] {
        assert_eq!(between(format!("[{many}1]").as_bytes()).broken_lines, 1);
    }
    let steps = format!(
        "{{\"trajectory\": [\n{}{{}}]}}",
        "{\"action\": \"ls\"},\n".repeat(100_000)
    );
    assert_eq!(
        read(steps.as_bytes()).unwrap_err(),
        "recording: a document with more values than are read"
    );
    // In a text they have no weight.
    let text = "{,[\\\"".repeat(1_000_000);
    let ended = ENDED.replace("fine", &text);
    let history = read((ASKED.to_owned() + &ended).as_bytes()).unwrap();
    assert_eq!(told(&history.sessions[0]), ["0 f a 0+1000 success"]);
}

#[test]
fn a_line_of_100_mb_is_counted_within_bounded_memory() {
    let _alone = alone();
    let long = io::repeat(b'a').take(100_000_000);
    let file = ASKED
        .as_bytes()
        .chain(long)
        .chain(&b"\n"[..])
        .chain(ENDED.as_bytes());
    let mut loading = Loading::default();
    let before = MEMORY.current_usage_as_mb();
    MEMORY.reset_peak_usage();
    assert!(loading.file(file, "recording".as_ref(), true).unwrap());
    let peak = MEMORY.peak_usage_as_mb() - before;
    let history = loading.close().unwrap();
    assert_eq!(told(&history.sessions[0]), ["0 f a 0+1000 success"]);
    assert_eq!((history.account.lines, history.account.long_lines), (2, 1));
    // The line alone is 95 MiB. The limit leaves room for what other tests allocate meanwhile.
    assert!(peak < 70.0, "{peak} MiB");
    // As the first line, too; without another one, the file shows no form.
    for (rest, is_recording) in [(&b""[..], false), (b"\n", false), (ASKED.as_bytes(), true)] {
        let long = io::repeat(b'{').take(100_000_000).chain(&b"\n"[..]);
        let mut loading = Loading::default();
        let read = loading.file(long.chain(rest), "recording".as_ref(), true);
        assert_eq!(read, Ok(is_recording));
    }
}

#[test]
fn broken_characters_are_replaced() {
    let halves = r"a \ud83d b \ude00\ud83d\ude00 \\ud83d \ud83d";
    for broken in [halves.as_bytes(), b"\xff\xfe\xc3(\xed\xa0\x80"] {
        let ended = ENDED.replace("fine", "BROKEN");
        let (before, after) = ended.split_once("BROKEN").unwrap();
        let bytes = [
            ASKED.as_bytes(),
            before.as_bytes(),
            broken,
            after.as_bytes(),
        ]
        .concat();
        let history = read(&bytes).unwrap();
        assert_eq!(told(&history.sessions[0]), ["0 f a 0+1000 success"]);
        assert_eq!(history.account.broken_lines, 0);
    }
}

#[test]
fn parents_may_form_a_cycle() {
    // Each entry of the recording names a parent, and the first one's is the last one.
    let text = std::fs::read_to_string(path("pi.jsonl")).unwrap();
    assert!(
        text.contains(r#""id":"e1","parentId":"e9""#)
            && text.contains(r#""id":"e9","parentId":"e8""#)
    );
    let own = text.replace(r#""parentId":"e4""#, r#""parentId":"e5""#);
    for text in [text, own] {
        assert_eq!(read(text.as_bytes()).unwrap().sessions[0].turns.len(), 4);
    }
    let claude = r#"{"type":"assistant","sessionId":"s","uuid":"u","parentUuid":"u","timestamp":"2026-01-01T00:00:00Z","message":{"id":"m","content":[{"type":"tool_use","id":"t","name":"Read","input":{}}]}}"#;
    assert_eq!(read(claude.as_bytes()).unwrap().sessions.len(), 1);
    let copilot = r#"{"type":"tool.execution_start","id":"e","parentId":"e","data":{"toolCallId":"t","toolName":"bash","parentToolCallId":"t"}}"#;
    assert_eq!(read(copilot.as_bytes()).unwrap().sessions.len(), 1);
}

#[cfg(unix)]
#[test]
fn links_in_folders_are_not_followed() {
    let folder = new_folder("links");
    let inner = folder.0.join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::copy(path("codex.jsonl"), inner.join("a.jsonl")).unwrap();
    std::os::unix::fs::symlink(&folder.0, inner.join("up")).unwrap();
    std::os::unix::fs::symlink("self", inner.join("self")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", inner.join("zero.jsonl")).unwrap();
    let history = load(std::slice::from_ref(&folder.0)).unwrap();
    assert_eq!(history.account.links, 3);
    assert_eq!(history.sessions.len(), 1);
    let itself = load(&[inner.join("self")]).unwrap_err();
    assert!(
        itself.contains("self: ") && !itself.contains('\n'),
        "{itself}"
    );
    // A link that is named is followed, once.
    let named = load(&[inner.join("up")]).unwrap();
    assert_eq!((named.account.links, named.sessions.len()), (3, 1));
}

#[test]
fn names_and_times_of_any_kind_are_taken() {
    let _alone = alone();
    let name = "x".repeat(100_000);
    let odd = ASKED
        .replace("\"f\"", "\"\\u001b[2J\\u202e\\n\"")
        .replace("c1", "c2");
    let long = ASKED
        .replace("\"f\"", &format!("\"{name}\""))
        .replace("c1", "c3");
    let empty = ASKED.replace("\"f\"", "\"\"").replace("c1", "c4");
    let back = ENDED.replace("2026", "1000").replace("c1", "c2");
    let never = ENDED
        .replace("2026-01-01T00:00:01Z", "9000-01-01T00:00:00Z")
        .replace("c1", "c3");
    let wrong = ENDED
        .replace("2026-01-01T00:00:01Z", "soon")
        .replace("c1", "c4");
    let history = read([odd, long, empty, back, never, wrong].concat().as_bytes()).unwrap();
    let calls = told(&history.sessions[0]);
    assert_eq!(calls[0], r"0 \u{1b}[2J\u{202e}\n a 0+0 success");
    let hundred_years = 100_u64 * 365 * 86_400_000;
    assert_eq!(
        calls[1],
        format!("0 {} b 0+{hundred_years} success", &name[..200])
    );
    assert_eq!(calls[2], "0 (no name) c 0+- success");
}

#[test]
fn what_is_of_no_known_form_is_not_quoted() {
    for text in [
        r#""SECRET""#,
        r#"{"session":"s","turn":"SECRET"}"#,
        r#"{"ok":"SECRET"}"#,
    ] {
        assert_eq!(
            read(text.as_bytes()).unwrap_err(),
            "recording: it is of no known form"
        );
    }
}

#[test]
fn no_value_of_this_projects_form_is_quoted() {
    const ROW: &str = r#"{"session":"s","turn":0,"call_id":"SECRET","tool":"f","start_ms":0,"duration_ms":1,"ok":true,"error_class":null,"args_hash":"a"}"#;
    for (from, to, message) in [
        (
            "0,\"call_id",
            "\"SECRET: x, expected y\",\"call_id",
            "1: invalid type, expected u64 at column",
        ),
        (
            "true",
            "\"SECRET\"",
            "1: invalid type, expected a boolean at column",
        ),
        (
            "\"duration_ms\":1,",
            "\"duration_ms\":true,",
            "1: invalid type, expected f64 at column",
        ),
        ("\"ok\":true,", "", "1: missing field `ok` at column"),
        (
            "null",
            "\"SECRET\"",
            "1: ok is true, but there is an error_class",
        ),
        (
            "true,\"error_class\":null",
            "false,\"error_class\":\"SECRET\"",
            "1: error_class is not known",
        ),
        (
            "\"start_ms\":0",
            "\"start_ms\":-737373",
            "1: start_ms is not from 0 to 3.1536e12",
        ),
        (
            "\"f\"",
            "\"SECRET\\u001b\"",
            "1: tool is empty, too long, or not visible text",
        ),
        (
            "}",
            &format!("}}\n{ROW}"),
            "2: call_id is on an earlier line, too",
        ),
    ] {
        let rows = ROW.replacen(from, to, 1);
        assert_ne!(rows, ROW);
        let line = read(rows.as_bytes()).unwrap_err();
        assert!(line.starts_with(&format!("recording:{message}")), "{line}");
        assert!(
            !line.contains("SECRET") && !line.contains("737373"),
            "{line}"
        );
    }
}

#[test]
fn results_without_a_call_are_counted() {
    let lone = ENDED.replace("c1", "c9");
    let history = read([ASKED, ENDED, &lone].concat().as_bytes()).unwrap();
    assert_eq!(history.account.orphans, 1);
}

#[test]
fn what_cannot_be_used_ends_in_one_clear_line() {
    let missing = load(&[path("missing.jsonl")]).unwrap_err();
    assert!(
        missing.contains("missing.jsonl: ") && !missing.contains('\n'),
        "{missing}"
    );
    let folder = new_folder("nothing");
    assert_eq!(
        load(std::slice::from_ref(&folder.0)).unwrap_err(),
        "nothing that was read holds a call (files: none; lines: 0 read)"
    );
    assert_eq!(read(b"").unwrap_err(), "recording: the file holds no call");
    assert_eq!(
        read(b"{\"a\": 1").unwrap_err(),
        "recording:1: EOF while parsing an object at column 7"
    );
}

const NAMES: [&str; 7] = [
    "claude_code.jsonl",
    "claude_code_subagent.jsonl",
    "codex.jsonl",
    "copilot.jsonl",
    "pi.jsonl",
    "reduced.jsonl",
    "swe_agent.traj",
];

/// Pieces that mean something to a reader, or break it.
const PIECES: [&str; 12] = [
    "\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\ud800",
    "null",
    "\"id\":1,",
    "c1",
    "true",
    "-1e999",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Any damage to a recording ends in counts or in one line of visible text.
    #[test]
    fn damage_ends_in_counts_or_one_line(
        name in prop::sample::select(&NAMES),
        damages in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, prop::sample::select(&PIECES)), 1..12),
    ) {
        let mut bytes = std::fs::read(path(name)).unwrap();
        for (place, cut, piece) in damages {
            let from = place.index(bytes.len());
            let to = bytes.len().min(from + cut);
            bytes.splice(from..to, piece.bytes());
        }
        match read(&bytes) {
            Ok(history) => {
                let calls: usize = history.sessions.iter().map(|s| told(s).len()).sum();
                prop_assert!(calls > 0);
            }
            Err(line) => prop_assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line}"),
        }
    }
}
