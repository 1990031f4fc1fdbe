use super::{ToolStats, of, show};
use crate::args;
use crate::history::{History, load};
use crate::replay::{self, Drops, Replay};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use toolmeter::auto_run::AutoRun;
use toolmeter::{ClockSource, ErrorKind, ManualClock, Pump, Registry};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/recordings/agents")
}

fn history() -> History {
    load(&[folder()]).unwrap()
}

fn shown(flags: &[&str]) -> String {
    let words = ["--trace", "x", "--stats"].iter().chain(flags);
    let args = args::parse(words.map(Into::into)).unwrap();
    show(&args, &history())
}

#[test]
fn the_table_holds_what_was_recorded() {
    let text = shown(&[]);
    let rows: BTreeMap<&str, Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            (cells.next().unwrap(), cells.collect())
        })
        .collect();
    let row = |cells: &'static str| cells.split(" | ").collect::<Vec<_>>();
    assert_eq!(
        rows["tool"],
        row(
            "calls | failed | share | cancelled | denied | p50 | p90 | p99 | max | repeated | \
             retried | recovered | failures by kind"
        )
    );
    assert_eq!(
        rows["exec_command"],
        row(
            "5 | 3 | 60.0% | 1 | 0 | 150 ms | 500 ms | 500 ms | 500 ms | 1 | 0 | 0 | \
             invalid_args 1, tool_error 2"
        )
    );
    assert_eq!(
        rows["bash"],
        row(
            "8 | 4 | 50.0% | 2 | 0 | 300 ms | 25.0 s | 25.0 s | 25.0 s | 2 | 2 | 1 | \
             not_found 1, timeout 2, tool_error 1"
        )
    );
    assert_eq!(
        rows["search"],
        row("2 | 1 | 50.0% | 0 | 0 | 10 ms | 30 ms | 30 ms | 30 ms | 1 | 1 | 1 | timeout 1")
    );
    assert_eq!(rows["Edit"][..6], row("1 | 0 | 0.0% | 0 | 1 | -"));
    assert_eq!(rows["all of them"][..5], row("35 | 14 | 40.0% | 5 | 3"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "35 calls in 31 turns of 8 sessions");
    assert!(lines.contains(
        &"retries: 5 with the same arguments after a call that did not succeed, of which 4 \
          succeeded (80%)"
    ));
    assert!(lines.contains(&"lines: 68 read, 5 of an unknown kind, 1 copies of calls"));
}

#[test]
fn the_json_holds_the_same() {
    let json: Value = serde_json::from_str(&shown(&["--json", "--errors"])).unwrap();
    let history = history();
    let tools = of(&history.sessions);
    assert_eq!(json["tools"].as_object().unwrap().len(), tools.len());
    for (name, stats) in &tools {
        let row = &json["tools"][name];
        assert_eq!(row["calls"], stats.calls);
        assert_eq!(row["failed"], stats.failed());
        assert_eq!(row["retried"], stats.retried);
        let max = stats.quantile(1.0).map(|max| max.as_secs_f64() * 1e3);
        assert_eq!(row["max_ms"].as_f64(), max);
    }
    assert_eq!(json["all"]["calls"], 35);
    assert_eq!(json["read"]["unknown_lines"], 5);
    assert_eq!(json["errors"]["view"][0]["line"], "Path does not exist");
    assert_eq!(json["errors"]["view"][0]["outcome"], "not_found");
}

/// Prompts, arguments, outputs, paths, and what follows the first line of an error hold this
/// word in the recordings.
#[test]
fn no_text_of_a_transcript_is_shown() {
    for name in [
        "codex.jsonl",
        "claude_code.jsonl",
        "copilot.jsonl",
        "pi.jsonl",
        "swe_agent.traj",
    ] {
        let text = std::fs::read_to_string(folder().join(name)).unwrap();
        assert!(text.matches("SECRET").count() > 5, "{name}");
    }
    for flags in [&[][..], &["--errors"], &["--json"], &["--json", "--errors"]] {
        let text = shown(flags);
        assert!(!text.contains("SECRET"), "{text}");
        let is_with_errors = flags.contains(&"--errors");
        assert_eq!(text.contains("no such option"), is_with_errors);
    }
    let kept = format!("{:?}", history());
    assert!(!kept.contains("SECRET"));
}

#[test]
fn errors_are_bounded_and_escaped() {
    let long = "é\u{1b}".repeat(1000);
    let lines = format!(
        "{}\n{}",
        r#"{"type":"response_item","payload":{"type":"function_call","name":"f","arguments":"{}","call_id":"c"}}"#,
        serde_json::json!({"type": "response_item", "payload": {
            "type": "function_call_output", "call_id": "c", "output": format!("aborted {long}\nSECRET")
        }})
    );
    let file = std::env::temp_dir().join(format!("agent_host-{}-errors", std::process::id()));
    std::fs::write(&file, lines).unwrap();
    let history = load(std::slice::from_ref(&file));
    std::fs::remove_file(&file).unwrap();
    let args = args::parse(["--trace", "x", "--stats", "--errors"].map(Into::into)).unwrap();
    let text = show(&args, &history.unwrap());
    let line = text.lines().last().unwrap();
    assert!(line.starts_with(r"  1 x other: aborted é\u{1b}é"), "{line}");
    assert!(line.len() < 200 && !text.contains('\u{1b}') && !text.contains("SECRET"));
}

#[test]
fn a_quantile_is_the_nearest_rank() {
    let stats = ToolStats {
        times: (1..=200).map(Duration::from_millis).collect(),
        ..ToolStats::default()
    };
    for (share, ms) in [(0.5, 100), (0.9, 180), (0.99, 198), (1.0, 200), (0.001, 1)] {
        assert_eq!(stats.quantile(share), Some(Duration::from_millis(ms)));
    }
    assert_eq!(ToolStats::default().quantile(0.5), None);
}

#[test]
fn calls_of_one_turn_and_denied_ones_are_no_retries() {
    let row = |turn: u32, id: &str, class: &str| {
        let ok = class == "null";
        format!(
            r#"{{"session":"s","turn":{turn},"call_id":"{id}","tool":"f","start_ms":0,"duration_ms":1,"ok":{ok},"error_class":{class},"args_hash":"a"}}"#
        )
    };
    let lines = [
        row(0, "1", "\"timeout\""),
        row(0, "2", "\"timeout\""),
        row(1, "3", "\"denied\""),
        row(2, "4", "null"),
        row(3, "5", "\"exit_code\""),
        row(4, "6", "\"cancelled\""),
        row(5, "7", "null"),
    ];
    let sessions = crate::trace::parse(lines.join("\n").as_bytes()).unwrap();
    let tools = of(&sessions);
    let stats = &tools["f"];
    assert_eq!(
        (stats.calls, stats.failed(), stats.denied, stats.cancelled),
        (7, 3, 1, 1)
    );
    assert_eq!((stats.repeated, stats.retried, stats.recovered), (5, 3, 2));
    let kinds = [(ErrorKind::Timeout, 2), (ErrorKind::ToolError, 1)];
    assert_eq!(stats.failures, BTreeMap::from(kinds));
}

/// A replay gives the registry the counts that the table shows.
#[tokio::test(start_paused = true)]
async fn a_registry_counts_the_same_when_it_is_played() {
    let history = history();
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::new(ManualClock::new())))
        .pump(Pump::manual())
        .stripes(1)
        .build()
        .unwrap();
    let drops = Drops::default();
    replay::register(&registry, &history.sessions, &drops).unwrap();
    for session in &history.sessions {
        let run = AutoRun::new(&registry)
            .concurrency(usize::MAX)
            .approve_with(replay::approve);
        run.run(&mut Replay::new(session, 1.0, drops.clone())).await;
    }
    let metrics = registry.metrics();
    let tools = of(&history.sessions);
    assert_eq!(metrics.tools.len(), tools.len());
    for (name, recorded) in &tools {
        let played = &metrics.tools[*name];
        assert_eq!(played.failures_by_kind, recorded.failures, "{name}");
        assert_eq!(
            (
                played.cancelled(),
                played.rejected,
                played.retried,
                played.recovered
            ),
            (
                recorded.cancelled,
                recorded.denied,
                recorded.retried,
                recorded.recovered
            ),
            "{name}"
        );
        assert_eq!(
            played.finished() + played.rejected,
            recorded.calls,
            "{name}"
        );
    }
}
