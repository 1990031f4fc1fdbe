//! What events, and what carries them, look like as text: as JSON, displayed, and in a debugger.

#![cfg(not(toolmeter_loom))]

use serde_json::json;
use std::{sync::Arc, time::SystemTime};
use toolmeter_core::{ErrorKind, Outcome};
use toolmeter_events::{
    CallContext, CallId, Draft, Drain, ErrorMessage, Event, EventKind, EventNumber, Filter, Hub,
    Moment, NameTable, Rings, ToolId,
};

const SHELL: ToolId = ToolId::new(7);

/// The start and the end of a second attempt, as the drain gives them.
fn call(outcome: Outcome) -> Vec<Event> {
    let rings = Arc::new(Rings::new(2, 8).unwrap());
    rings.open();
    let context = Some(Arc::new(CallContext::new("session-7", 3, "toolu_01")));
    let start = Draft::started(SHELL, 2, 100, context.clone());
    let call = rings.offer(1, start, None);
    let message = Some(ErrorMessage::new("too slow"));
    let end = Draft::closing(SHELL, 2, 100, 50, outcome, context, message);
    rings.offer(0, end, Some(call));
    Drain::new(&rings, 0).round(|| 1_000).events
}

#[test]
fn an_event_as_json_has_every_field() {
    let events = call(Outcome::Failure(ErrorKind::Timeout));
    let context = json!({"session": "session-7", "turn": 3, "call": "toolu_01"});
    let expected = json!([
        {
            "event": "tool.started",
            "tool": 7,
            "call": "1-0",
            "number": "1-0",
            "attempt": 2,
            "retry": true,
            "time_ns": 100,
            "started_ns": 100,
            "latency_ns": null,
            "error_kind": null,
            "message": null,
            "context": context,
        },
        {
            "event": "tool.failed",
            "tool": 7,
            "call": "1-0",
            "number": "0-0",
            "attempt": 2,
            "retry": true,
            "time_ns": 150,
            "started_ns": 100,
            "latency_ns": 50,
            "error_kind": "timeout",
            "message": "too slow",
            "context": context,
        },
    ]);
    assert_eq!(serde_json::to_value(&events).unwrap(), expected);
}

#[test]
fn the_end_of_a_call_is_named_after_its_outcome() {
    for (outcome, name) in [
        (Outcome::Success, "tool.succeeded"),
        (Outcome::Failure(ErrorKind::Other), "tool.failed"),
        (Outcome::Cancelled, "tool.cancelled"),
    ] {
        let kind = call(outcome)[1].kind();
        assert_eq!(kind.to_string(), name);
        assert_eq!(serde_json::to_value(kind).unwrap(), name);
    }
}

#[test]
fn names_keep_to_the_width_they_are_given() {
    assert_eq!(format!("{SHELL:>3}"), "  7");
    assert_eq!(format!("{:<14}|", EventKind::Started), "tool.started  |");
    assert_eq!(format!("{:>4}", ErrorMessage::new("no")), "  no");
    assert_eq!(CallId::new(3, 1_042).to_string(), "3-1042");
    assert_eq!(EventNumber::new(255, 0).to_string(), "255-0");
}

#[test]
fn what_is_debugged_shows_its_state() {
    let rings = Arc::new(Rings::new(1, 8).unwrap());
    let hub = Hub::new(4, 16).unwrap();
    let subscription = hub.subscribe(&rings, Filter::new(), 0, None).unwrap();
    let names = Arc::new(NameTable::new([(SHELL, "shell")]));
    assert_eq!(format!("{names:?}"), r#"{7: "shell"}"#);
    rings.offer(0, Draft::started(SHELL, 1, 100, None), None);
    assert_eq!(
        format!("{rings:?}"),
        format!(
            "Rings {{ capacity: 8, is_open: true, accounting: {:?}, .. }}",
            rings.accounting()
        )
    );
    assert_eq!(
        format!("{hub:?}"),
        "Hub { queue_capacity: 4, batch_size: 16, subscriptions: 1 }"
    );

    let mut drain = Drain::new(&rings, 0);
    let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
    hub.fan_out(drain.round(|| 1_000), &names, moment);
    let stats = subscription.stats();
    assert_eq!(
        format!("{subscription:?}"),
        format!("Subscription {{ queued_batches: 1, stats: {stats:?}, .. }}")
    );
    assert_eq!(
        format!("{:?}", subscription.stats_handle()),
        format!("StatsHandle({stats:?})")
    );
    let batch = subscription.try_recv().unwrap();
    assert_eq!(
        format!("{batch:?}"),
        format!(
            "Batch {{ events: {:?}, lost_before: 0, taken_at: {:?}, .. }}",
            batch.events(),
            SystemTime::UNIX_EPOCH
        )
    );
}
