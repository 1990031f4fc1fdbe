use super::*;
use crate::auto_run::ToolCall;
use serde_json::json;

fn call(n: usize) -> Identity {
    ToolCall::new("shell", json!(n)).identity()
}

fn remembered(calls: &RetryHistory) -> usize {
    assert_eq!(calls.calls.len(), calls.by_age.len());
    calls.calls.len()
}

#[test]
fn no_more_calls_are_remembered_than_the_limit_says() {
    let mut calls = RetryHistory::default();
    for n in 0..3 * LIMIT {
        calls.remember(call(n), 1);
        assert_eq!(remembered(&calls), LIMIT.min(n + 1));
    }
    assert_eq!(calls.last_attempt(call(2 * LIMIT - 1)), 0);
    assert_eq!(calls.last_attempt(call(2 * LIMIT)), 1);
}

#[test]
fn the_oldest_call_is_forgotten_first() {
    let mut calls = RetryHistory::default();
    (0..LIMIT).for_each(|n| calls.remember(call(n), 1));
    // The first is remembered again, so the second is the oldest one.
    calls.remember(call(0), 2);
    assert_eq!(remembered(&calls), LIMIT);
    calls.remember(call(LIMIT), 1);
    let known = [0, 1, 2, LIMIT].map(|n| calls.last_attempt(call(n)));
    assert_eq!(known, [2, 0, 1, 1]);
}

#[test]
fn a_call_that_succeeded_makes_room() {
    let mut calls = RetryHistory::default();
    for n in 0..2 * LIMIT {
        calls.remember(call(n), 1);
        calls.forget(call(n));
        calls.forget(call(n));
    }
    assert_eq!(remembered(&calls), 0);
}
