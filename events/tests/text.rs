//! Events and the types around them as text: as JSON, by `Display`, and by `Debug`.

#![cfg(not(toolmeter_loom))]

#[cfg(feature = "serde")]
use serde_json::json;
use std::{sync::Arc, time::SystemTime};
use toolmeter_core::{ErrorKind, Finish, Outcome};
use toolmeter_events::{
    CallContext, CallId, Draft, Drain, ErrorMessage, Event, EventKind, EventNumber, Filter, Hub,
    Moment, NameTable, Rings, Timeline, ToolId,
};

const SHELL: ToolId = ToolId::new(7);

fn context() -> CallContext {
    CallContext::new("session-7")
        .turn(3)
        .call("toolu_01")
        .parent("toolu_00")
        .label("mcp.server", "github")
        .label("agent", "")
}

/// Returns the start and the end of a second attempt, as the drain gives them.
fn call(outcome: Outcome) -> Vec<Event> {
    let rings = Arc::new(Rings::new(2, 8).unwrap());
    rings.allocate();
    let context = Some(Arc::new(context()));
    let start = Draft::started(SHELL, 2, 100, context.clone());
    let call = rings.offer(1, start, None);
    let message = Some(ErrorMessage::new("too slow"));
    let finish = Finish::new(outcome, 2, 100, 50);
    let end = Draft::closing(SHELL, finish, context, message);
    rings.offer(0, end, Some(call));
    Drain::new(&rings, 0).round(|| 1_000).events
}

#[cfg(feature = "serde")]
#[test]
fn an_event_as_json_has_every_field() {
    let events = call(Outcome::Failure(ErrorKind::Timeout));
    let context = json!({
        "session": "session-7",
        "turn": 3,
        "call": "toolu_01",
        "parent": "toolu_00",
        "labels": {"mcp.server": "github", "agent": ""},
    });
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

#[cfg(feature = "serde")]
#[test]
fn a_plain_context_as_json_has_every_field() {
    let expected = json!({"session": "s", "turn": 0, "call": "", "parent": null, "labels": {}});
    assert_eq!(
        serde_json::to_value(CallContext::new("s")).unwrap(),
        expected
    );
}

#[cfg(feature = "serde")]
#[test]
fn a_refused_call_as_json_has_a_message_and_no_latency() {
    let rejected = serde_json::to_value(&call(Outcome::Rejected)[1]).unwrap();
    assert_eq!(rejected["event"], "tool.rejected");
    assert_eq!(
        (&rejected["latency_ns"], &rejected["error_kind"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(
        (&rejected["message"], &rejected["time_ns"]),
        (&json!("too slow"), &json!(150))
    );
}

#[test]
fn the_end_of_a_call_is_named_after_its_outcome() {
    for (outcome, name) in [
        (Outcome::Success, "tool.succeeded"),
        (Outcome::Failure(ErrorKind::Other), "tool.failed"),
        (Outcome::Cancelled, "tool.cancelled"),
        (Outcome::Rejected, "tool.rejected"),
    ] {
        let kind = call(outcome)[1].kind();
        assert_eq!(kind.to_string(), name);
        #[cfg(feature = "serde")]
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
    let subscription = hub.subscribe(&rings, Filter::new(), None).unwrap();
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
    let timeline = Arc::new(Timeline::new(moment));
    hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment)
        .wake();
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
