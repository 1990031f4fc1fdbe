//! The oracle of recordings: any bytes as a recording of the example `agent_host`.
//!
//! They are refused with the first line that is wrong, or they hold the calls of their lines and
//! are played to their end, in paused time. Then all counts that the example compares are equal,
//! and the registry's counts of each tool are those of the recording.

use crate::expected_counts::{Comparison, Played};
use crate::replay::{self, Drops, Replay};
use crate::trace::{Call, Session, TraceError, parse};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use toolmeter::auto_run::{AutoRun, StopReason};
use toolmeter::{ClockSource, ErrorKind, ManualClock, Outcome, Pump, Registry, Snapshot};

/// Checks one input.
///
/// # Panics
///
/// If a check fails.
pub fn check(bytes: &[u8]) {
    match parse(bytes) {
        Ok(sessions) => {
            check_lines(bytes, &sessions);
            play(&sessions);
        }
        Err(error) => check_error(bytes, &error),
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

fn all_calls(sessions: &[Session]) -> usize {
    sessions
        .iter()
        .flat_map(|session| &session.turns)
        .map(Vec::len)
        .sum()
}

/// Checks that each line is one of the calls, in the session and the turn of the line.
fn check_lines(bytes: &[u8], sessions: &[Session]) {
    let lines = bytes.split(|&byte| byte == b'\n');
    let mut lines: Vec<&[u8]> = lines.filter(|line| !is_blank(line)).collect();
    let all = lines.len();
    assert_eq!(all, all_calls(sessions));
    // The parser of this check may refuse what the other skips, such as a number beyond any `f64`
    // in an unknown field. Then only the number of calls is checked.
    let rows = lines.drain(..).map(serde_json::from_slice);
    let Ok(rows) = rows.collect::<Result<Vec<Value>, _>>() else {
        return;
    };
    let mut order: Vec<&str> = Vec::new();
    let mut turns: BTreeMap<(&str, u64), Vec<&Value>> = BTreeMap::new();
    for row in &rows {
        let session = field(row, 0).as_str().unwrap();
        if !order.contains(&session) {
            order.push(session);
        }
        let turn = field(row, 1).as_u64().unwrap();
        turns.entry((session, turn)).or_default().push(row);
    }
    assert!(sessions.iter().map(|session| &session.name).eq(&order));
    let mut checked = 0;
    for session in sessions {
        let rows = turns.range((&*session.name, 0)..=(&*session.name, u64::MAX));
        let rows: Vec<_> = rows.map(|(_, rows)| rows).collect();
        assert_eq!(session.turns.len(), rows.len());
        for (turn, rows) in session.turns.iter().zip(rows) {
            assert!(turn.is_sorted_by_key(|call| call.start));
            assert_eq!(turn.len(), rows.len());
            for row in rows {
                let mut calls = turn.iter();
                let call = calls.find(|call| *field(row, 2) == call.id).unwrap();
                check_call(call, row);
                checked += 1;
            }
        }
    }
    assert_eq!(checked, all);
}

/// Returns a field of a line. The parser also accepts a line that is a list of the fields in their order.
fn field(row: &Value, place: usize) -> &Value {
    const FIELDS: [&str; 9] = [
        "session",
        "turn",
        "call_id",
        "tool",
        "start_ms",
        "duration_ms",
        "ok",
        "error_class",
        "args_hash",
    ];
    match row {
        Value::Array(fields) => &fields[place],
        // A field that is left out is null.
        row => &row[FIELDS[place]],
    }
}

fn check_call(call: &Call, row: &Value) {
    assert_eq!(*field(row, 3), call.tool);
    assert_eq!(*field(row, 8), call.args_hash);
    for (place, time) in [(4, call.start), (5, call.duration.unwrap_or_default())] {
        let ms = field(row, place).as_f64().unwrap_or(0.0);
        let rounding = 1e-6 + ms * f64::EPSILON;
        assert!((time.as_secs_f64() * 1e3 - ms).abs() <= 4.0 * rounding);
    }
    let class = match call.outcome {
        Outcome::Success => None,
        Outcome::Cancelled => Some("cancelled"),
        Outcome::Failure(ErrorKind::Timeout) => Some("timeout"),
        Outcome::Failure(ErrorKind::NotFound) => Some("not_found"),
        Outcome::Failure(ErrorKind::InvalidArgs) => Some("invalid_args"),
        Outcome::Rejected => Some("denied"),
        Outcome::Failure(ErrorKind::ToolError) => Some("exit_code"),
        Outcome::Failure(ErrorKind::Other) => match field(row, 7).as_str() {
            Some("other") => Some("other"),
            _ => None,
        },
        outcome => panic!("no recording says {outcome:?}"),
    };
    assert_eq!(*field(row, 6), call.outcome == Outcome::Success);
    assert_eq!(field(row, 7).as_str(), class);
}

/// Checks that the error names the first line that is wrong, in a single line of visible text.
fn check_error(bytes: &[u8], error: &TraceError) {
    assert!(!error.message.is_empty());
    assert!(
        !error.to_string().chars().any(char::is_control),
        "{error:?}"
    );
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let Some(number) = error.line else {
        assert!(lines.iter().all(|line| is_blank(line)));
        return;
    };
    assert!(!is_blank(lines[number - 1]));
    // The lines before are right, and those after do not matter.
    let before = parse(&lines[..number - 1].join(&b'\n'));
    assert!(
        before.is_ok_and(|sessions| !sessions.is_empty()) || number == 1 || {
            lines[..number - 1].iter().all(|line| is_blank(line))
        }
    );
    assert_eq!(parse(&lines[..number].join(&b'\n')).unwrap_err(), *error);
}

/// Plays all sessions, one after the other, and checks all counts.
fn play(sessions: &[Session]) {
    let registry = Registry::builder()
        .instance("fuzz")
        .clock(ClockSource::Manual(Arc::new(ManualClock::new())))
        .pump(Pump::manual())
        .stripes(1)
        .precision(3)
        .ring_capacity(2 * all_calls(sessions))
        .build()
        .unwrap();
    let drops = Drops::default();
    replay::register(&registry, sessions, &drops).unwrap();
    let subscription = registry.subscribe();
    let stats = subscription.stats_handle();
    // Time stands still while a task can run, and then jumps, so the recorded years pass at once.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut played = Played::default();
    let mut retries = 0;
    for session in sessions {
        let run = AutoRun::new(&registry)
            .session(session.name.as_str())
            .concurrency(usize::MAX)
            .approve_with(replay::approve);
        let mut model = Replay::new(session, 1.0, drops.clone());
        let report = runtime.block_on(run.run(&mut model));
        let calls: usize = session.turns.iter().map(Vec::len).sum();
        let denied = denied_calls(session);
        assert_eq!(report.calls, calls as u64);
        assert_eq!(
            (report.attempts, report.rejected),
            (report.calls - denied, denied)
        );
        assert_eq!(report.turns, session.turns.len() as u64);
        retries += report.retries;
        played.add(Played {
            sessions: 1,
            turns: report.turns,
            calls: report.attempts,
            rejected: report.rejected,
            unfinished: u64::from(!matches!(report.stop, StopReason::Done(_))),
        });
    }
    drop(runtime);
    registry.shutdown();
    let received = subscription.iter().map(|batch| batch.len() as u64).sum();
    let comparison = Comparison {
        played,
        elapsed: Duration::ZERO,
        metrics: registry.metrics(),
        events: registry.event_accounting(),
        subscription: stats.read(),
        received,
    };
    assert_eq!(comparison.errors(), Vec::<String>::new());
    assert_eq!(comparison.events.lost_in_rings, 0);
    // A call that was denied has one event.
    let denied: u64 = sessions.iter().map(denied_calls).sum();
    assert_eq!(received, 2 * all_calls(sessions) as u64 - denied);
    assert_eq!(retries, check_tools(sessions, &comparison.metrics));
}

fn denied_calls(session: &Session) -> u64 {
    let calls = session.turns.iter().flatten();
    let denied = calls.filter(|call| call.outcome == Outcome::Rejected);
    denied.count() as u64
}

/// The counts that a tool must have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    success: u64,
    cancelled: u64,
    rejected: u64,
    failures: BTreeMap<ErrorKind, u64>,
    retried: u64,
    recovered: u64,
}

/// Checks that the counts of each tool are those of the recording. Returns the number of retries.
fn check_tools(sessions: &[Session], metrics: &Snapshot) -> u64 {
    let mut expected: BTreeMap<&str, Expected> = BTreeMap::new();
    for session in sessions {
        count(session, &mut expected);
    }
    assert!(
        metrics
            .tools
            .keys()
            .map(|name| &**name)
            .eq(expected.keys().copied())
    );
    for (name, expected) in &expected {
        let stats = &metrics.tools[*name];
        let counted = Expected {
            success: stats.success(),
            cancelled: stats.cancelled(),
            rejected: stats.rejected,
            failures: stats.failures_by_kind.clone(),
            retried: stats.retried,
            recovered: stats.recovered,
        };
        assert_eq!(counted, *expected);
        assert_eq!(stats.failure(), expected.failures.values().sum::<u64>());
    }
    expected.values().map(|tool| tool.retried).sum()
}

/// Counts the calls of a session. A call is a retry if the latest identical one in an earlier turn
/// that was not denied did not succeed. A denied call never started, so it is not a retry.
fn count<'a>(session: &'a Session, expected: &mut BTreeMap<&'a str, Expected>) {
    let mut last: HashMap<(&str, &str), Outcome> = HashMap::new();
    for turn in &session.turns {
        let before = last.clone();
        for call in turn {
            let tool = expected.entry(&call.tool).or_default();
            if call.outcome == Outcome::Rejected {
                tool.rejected += 1;
                continue;
            }
            let key = (call.tool.as_str(), call.args_hash.as_str());
            let is_retry = before
                .get(&key)
                .is_some_and(|outcome| *outcome != Outcome::Success);
            tool.retried += u64::from(is_retry);
            match call.outcome {
                Outcome::Success => {
                    tool.success += 1;
                    tool.recovered += u64::from(is_retry);
                }
                Outcome::Failure(kind) => *tool.failures.entry(kind).or_default() += 1,
                Outcome::Cancelled => tool.cancelled += 1,
                Outcome::Rejected => {}
            }
            last.insert(key, call.outcome);
        }
    }
}
