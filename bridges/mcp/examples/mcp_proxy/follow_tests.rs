use super::*;
use std::sync::Arc;
use std::time::Duration;
use toolmeter::{ClockSource, ErrorKind, ManualClock, Pump, ToolStats};

/// Both directions of a connection, on a manual clock.
struct Wire {
    registry: Registry,
    clock: Arc<ManualClock>,
    session: &'static Session,
    client: Direction<'static>,
    server: Direction<'static>,
}

impl Wire {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let registry = Registry::builder()
            .clock(ClockSource::Manual(Arc::clone(&clock)))
            .pump(Pump::manual())
            .build()
            .unwrap();
        let follower = Follower::new(registry.clone(), true);
        let session: &'static Session = Box::leak(Box::new(Session::new(follower)));
        Self {
            registry,
            clock,
            session,
            client: session.direction(From::Client),
            server: session.direction(From::Server),
        }
    }

    fn client(&mut self, line: &str) {
        self.client.see(format!("{line}\n").as_bytes());
    }

    fn server(&mut self, line: &str) {
        self.server.see(format!("{line}\n").as_bytes());
    }

    fn call(&mut self, id: &str, name: &str) {
        self.client(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","_meta":{{"progressToken":{id}}}}}}}"#
        ));
    }

    fn answer(&mut self, id: &str) {
        self.server(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#
        ));
    }

    fn tool(&self, name: &str) -> Arc<ToolStats> {
        self.registry.metrics().tools[name].clone()
    }

    /// Returns the calls that succeeded, failed, were cancelled, and are in flight.
    fn counts(&self, name: &str) -> (u64, u64, u64, u64) {
        let tool = self.tool(name);
        (
            tool.success(),
            tool.failure(),
            tool.cancelled(),
            tool.in_flight,
        )
    }

    fn tally(&self) -> Tally {
        self.session.lock().tally()
    }
}

#[test]
fn a_call_lasts_from_its_request_to_its_answer() {
    let mut wire = Wire::new();
    wire.call("1", "read");
    assert_eq!(wire.counts("read"), (0, 0, 0, 1));
    wire.clock.advance(Duration::from_millis(5));
    wire.answer("1");
    assert_eq!(wire.counts("read"), (1, 0, 0, 0));
    let longest = wire.tool("read").latency.success.max().unwrap();
    assert!(longest.abs_diff(Duration::from_millis(5)) < Duration::from_micros(200));
    // An answer ends a call once.
    wire.answer("1");
    assert_eq!(wire.counts("read"), (1, 0, 0, 0));
}

#[test]
fn a_text_and_a_number_are_two_ids() {
    let mut wire = Wire::new();
    wire.call("1", "number");
    wire.call("\"1\"", "text");
    wire.call("\"a b\"", "text");
    wire.answer("\"1\"");
    assert_eq!(
        (wire.counts("number").3, wire.counts("text")),
        (1, (1, 0, 0, 1))
    );
    wire.answer("1");
    wire.answer("\"a b\"");
    assert_eq!((wire.counts("number").0, wire.counts("text").0), (1, 2));
}

#[test]
fn the_servers_own_requests_are_no_answers_and_what_is_answered_to_them_ends_no_call() {
    let mut wire = Wire::new();
    wire.call("1", "ask");
    wire.server(
        r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"name":"x"}}"#,
    );
    wire.client(r#"{"jsonrpc":"2.0","id":1,"result":{"content":{"type":"text","text":"hi"}}}"#);
    // It cancels its own request of this id.
    wire.server(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    // A `tools/call` of the server is not a call.
    wire.server(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask"}}"#);
    assert_eq!(wire.counts("ask"), (0, 0, 0, 1));
    wire.answer("1");
    assert_eq!(wire.counts("ask"), (1, 0, 0, 0));
}

#[test]
fn answers_are_judged_as_mcp_does() {
    let mut wire = Wire::new();
    let cases = [
        (
            r#""result":{"content":[],"isError":true}"#,
            ErrorKind::ToolError,
        ),
        (
            r#""result":{"content":[{"type":"text","text":"MCP error -32602: Input validation error"}],"isError":true}"#,
            ErrorKind::InvalidArgs,
        ),
        (
            r#""error":{"code":-32602,"message":"Tool frob not found"}"#,
            ErrorKind::NotFound,
        ),
        (
            r#""result":{"content":[{"text":"Input validation error: 'path' is required"}],"isError":true}"#,
            ErrorKind::InvalidArgs,
        ),
        (
            r#""error":{"code":-32602,"message":"bad"}"#,
            ErrorKind::InvalidArgs,
        ),
        (
            r#""error":{"code":-32601,"message":"no"}"#,
            ErrorKind::NotFound,
        ),
        (
            r#""error":{"code":-32603,"message":"no"}"#,
            ErrorKind::Provider,
        ),
    ];
    for (at, (answer, kind)) in cases.into_iter().enumerate() {
        let name = format!("tool{at}");
        wire.call(&at.to_string(), &name);
        wire.server(&format!(r#"{{"jsonrpc":"2.0",{answer},"id":{at}}}"#));
        assert_eq!(wire.tool(&name).failures_by_kind[&kind], 1, "{answer}");
    }
    wire.call("9", "null");
    wire.server(r#"{"id":9,"result":{"isError":null,"content":[{"text":"isError"}]}}"#);
    assert_eq!(wire.counts("null"), (1, 0, 0, 0));
}

#[test]
fn an_errors_text_is_kept_and_of_a_long_one_the_end_too() {
    let mut wire = Wire::new();
    wire.call("1", "python");
    let text = format!("Traceback:{} MemoryError", " frame".repeat(100_000));
    wire.server(&format!(
        r#"{{"id":1,"result":{{"isError":true,"content":[{{"type":"text","text":"{text}"}}]}}}}"#
    ));
    let message = wire
        .tool("python")
        .last_error
        .clone()
        .unwrap()
        .message
        .unwrap();
    assert!(
        message.starts_with("Traceback:") && message.ends_with("MemoryError"),
        "{message}"
    );
}

#[test]
fn a_cancelled_call_ends_then_and_its_late_answer_is_told() {
    let mut wire = Wire::new();
    wire.call("1", "slow");
    wire.call("\"1\"", "slow");
    wire.client(
        r#"{"method":"notifications/cancelled","params":{"requestId":"1","reason":"enough"}}"#,
    );
    assert_eq!(wire.counts("slow"), (0, 0, 1, 1));
    wire.client(r#"{"method":"notifications/cancelled","params":{"requestId":"unknown"}}"#);
    wire.answer("\"1\"");
    assert_eq!((wire.counts("slow"), wire.tally().late), ((0, 0, 1, 1), 1));
    // The same id may be used again.
    wire.call("\"1\"", "slow");
    wire.answer("\"1\"");
    assert_eq!((wire.counts("slow"), wire.tally().late), ((1, 0, 1, 1), 1));
}

#[test]
fn progress_is_that_of_calls_in_flight_and_ends_none() {
    let mut wire = Wire::new();
    let progress = |wire: &mut Wire, token: &str| {
        wire.server(&format!(r#"{{"method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#));
    };
    wire.call("7", "long");
    progress(&mut wire, "7");
    progress(&mut wire, "7");
    progress(&mut wire, "\"7\"");
    assert_eq!((wire.counts("long").3, wire.tally().progress), (1, 2));
    wire.answer("7");
    progress(&mut wire, "7");
    assert_eq!(
        (wire.counts("long"), wire.tally().progress),
        ((1, 0, 0, 0), 2)
    );
}

#[test]
fn a_batch_is_each_of_its_messages() {
    let mut wire = Wire::new();
    wire.client(r#"[{"id":1,"method":"tools/call","params":{"name":"a"}},{"id":2,"method":"tools/call","params":{"name":"b"}},{"id":3,"method":"ping"},{"method":"notifications/cancelled","params":{"requestId":2}}]"#);
    assert_eq!(
        (wire.counts("a"), wire.counts("b")),
        ((0, 0, 0, 1), (0, 0, 1, 0))
    );
    wire.server(r#"[{"id":3,"result":{}},{"id":1,"error":{"code":-32603,"message":"down"}}]"#);
    assert_eq!(wire.counts("a"), (0, 1, 0, 0));
}

#[test]
fn lines_that_are_not_json_are_counted_and_break_nothing() {
    let mut wire = Wire::new();
    wire.call("1", "a");
    wire.server("listening on port 3000");
    wire.client(r#"{"id":2,"method":"tools/call","params":{"name":"a"}"#);
    wire.client(r#"[{"id":2,"method":"tools/call","params":{"name":"a"}},oops]"#);
    wire.server("");
    wire.answer("1");
    assert_eq!(wire.counts("a"), (1, 0, 0, 0));
    let tally = wire.tally();
    assert_eq!((tally.client.not_json, tally.server.not_json), (2, 1));
    assert_eq!((tally.client.lines, tally.server.lines), (3, 3));
    assert_eq!(
        tally.server.longest,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#.len() as u64
    );
}

#[test]
fn what_a_dead_server_leaves_has_failed_and_what_a_client_leaves_is_cancelled() {
    let mut wire = Wire::new();
    for id in ["1", "2", "3"] {
        wire.call(id, "a");
    }
    wire.answer("2");
    wire.session.lock().server_gone(false);
    assert_eq!(wire.counts("a"), (1, 2, 0, 0));
    assert_eq!(wire.tool("a").failures_by_kind[&ErrorKind::Network], 2);
    // A call to a server that is gone.
    wire.call("4", "a");
    assert_eq!(wire.counts("a"), (1, 3, 0, 0));

    for close in [Follower::client_gone as fn(&mut Follower), |follower| {
        follower.server_gone(true);
    }] {
        let mut wire = Wire::new();
        wire.call("1", "a");
        wire.call("2", "a");
        wire.answer("1");
        close(&mut wire.session.lock());
        assert_eq!(wire.counts("a"), (1, 0, 1, 0));
        wire.answer("2");
        assert_eq!((wire.counts("a"), wire.tally().late), ((1, 0, 1, 0), 1));
    }
}

#[test]
fn an_id_that_is_used_twice_is_two_calls_and_notifications_are_none() {
    let mut wire = Wire::new();
    wire.call("1", "a");
    wire.call("1", "b");
    wire.answer("1");
    assert_eq!(
        (wire.counts("a"), wire.counts("b")),
        ((0, 0, 1, 0), (1, 0, 0, 0))
    );
    wire.client(r#"{"method":"tools/call","params":{"name":"a"}}"#);
    assert_eq!((wire.counts("a").3, wire.tally().not_followed), (0, 1));
}

#[test]
fn names_that_no_whole_list_has_are_unknown() {
    let mut wire = Wire::new();
    let list = |wire: &mut Wire, names: &str, rest: &str| {
        wire.client(r#"{"id":90,"method":"tools/list"}"#);
        wire.server(&format!(
            r#"{{"id":90,"result":{{"tools":[{names}]{rest}}}}}"#
        ));
    };
    wire.call("1", "before");
    list(
        &mut wire,
        r#"{"name":"read","inputSchema":{"properties":{"name":{}}}}"#,
        r#","nextCursor":"2""#,
    );
    wire.call("2", "on_page_2");
    list(&mut wire, r#"{"name":"search"}"#, "");
    wire.call("3", "invented");
    wire.call("4", "read");
    wire.call("5", "before");
    let metrics = wire.registry.metrics();
    assert_eq!(metrics.unknown_tool_calls, 1);
    let names: Vec<_> = metrics.tools.keys().map(|name| &**name).collect();
    assert_eq!(names, ["before", "on_page_2", "read", "search"]);
    assert_eq!(
        (
            wire.counts("read").3,
            wire.counts("search").3,
            wire.counts("before").3
        ),
        (1, 0, 2)
    );
    wire.server(r#"{"method":"notifications/tools/list_changed"}"#);
    wire.call("6", "new");
    assert_eq!(wire.counts("new").3, 1);
    // A list in an answer of the client is ignored.
    wire.client(r#"{"id":1,"result":{"tools":[{"name":"roots"}]}}"#);
    assert!(!wire.registry.metrics().tools.contains_key("roots"));
}

#[test]
fn tools_in_an_answer_that_is_not_to_a_request_for_them_are_no_list() {
    let mut wire = Wire::new();
    let tools = r#""result":{"content":[],"tools":[{"name":"hammer"}]}"#;
    wire.call("1", "shop");
    wire.server(&format!(r#"{{"id":1,{tools}}}"#));
    // To no request at all, and to one that has become a call.
    wire.server(&format!(r#"{{"id":2,{tools}}}"#));
    wire.client(r#"{"id":3,"method":"tools/list"}"#);
    wire.call("3", "shop");
    wire.server(&format!(r#"{{"id":3,{tools}}}"#));
    // A request whose answer is an error is answered.
    wire.client(r#"{"id":4,"method":"tools/list"}"#);
    wire.server(r#"{"id":4,"error":{"code":-32603,"message":"no"}}"#);
    wire.server(&format!(r#"{{"id":4,{tools}}}"#));
    wire.call("5", "new");
    assert_eq!(wire.counts("shop"), (2, 0, 0, 0));
    assert_eq!(wire.counts("new"), (0, 0, 0, 1));
    assert!(!wire.registry.metrics().tools.contains_key("hammer"));
    assert_eq!(wire.registry.metrics().unknown_tool_calls, 0);
}

#[test]
fn requests_for_lists_take_bounded_memory() {
    let mut wire = Wire::new();
    for id in 0..LIST_LIMIT + 10 {
        wire.client(&format!(r#"{{"id":{id},"method":"tools/list"}}"#));
    }
    assert_eq!(wire.session.lock().lists.len(), LIST_LIMIT);
}

#[test]
fn calls_are_cancelled_at_once_and_later_ones_are_followed_while_both_sides_are_there() {
    let mut wire = Wire::new();
    wire.call("1", "a");
    wire.session.lock().cancel_all();
    assert_eq!(wire.counts("a"), (0, 0, 1, 0));
    wire.answer("1");
    wire.call("2", "a");
    wire.answer("2");
    assert_eq!((wire.counts("a"), wire.tally().late), ((1, 0, 1, 0), 1));
    // A client that reads no answers does not wait for one.
    wire.session.lock().client_gone();
    wire.call("3", "a");
    assert_eq!(wire.counts("a"), (1, 0, 2, 0));
}

#[test]
fn an_answer_with_numbers_as_python_writes_them_is_an_answer() {
    let mut wire = Wire::new();
    for number in ["NaN", "Infinity", "-Infinity"] {
        wire.call("1", "mean");
        wire.server(&format!(
            r#"{{"id":1,"result":{{"content":[],"structuredContent":{{"mean":[{number}]}}}}}}"#
        ));
    }
    wire.server("-NaN");
    assert_eq!(wire.counts("mean"), (3, 0, 0, 0));
    assert_eq!(wire.tally().server.not_json, 1);
}

#[test]
fn no_more_calls_are_followed_than_the_limit() {
    let mut wire = Wire::new();
    for id in 0..CALL_LIMIT + 10 {
        wire.call(&id.to_string(), "flood");
    }
    assert_eq!(
        (wire.counts("flood").3, wire.tally().not_followed),
        (CALL_LIMIT as u64, 10)
    );
    for id in 0..CALL_LIMIT {
        wire.client(&format!(
            r#"{{"method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        ));
    }
    let follower = wire.session.lock();
    assert_eq!((follower.calls.len(), follower.tokens.len()), (0, 0));
    assert_eq!(follower.cancelled.len(), CALL_LIMIT);
    drop(follower);
    // Calls that are cancelled together add none.
    for id in ["\"a\"", "\"b\""] {
        wire.call(id, "flood");
    }
    wire.session.lock().cancel_all();
    assert_eq!(wire.counts("flood").3, 0);
    assert!(wire.session.lock().cancelled.len() <= CALL_LIMIT);
}

#[test]
fn a_call_carries_its_request_id_for_those_who_listen() {
    let mut wire = Wire::new();
    let subscription = wire.registry.subscribe();
    wire.call("\"call_9f\"", "read");
    wire.call("7", "read");
    wire.registry.pump();
    wire.clock.advance(Duration::from_secs(1));
    wire.registry.pump();
    let mut ids = Vec::new();
    while let Ok(batch) = subscription.try_recv() {
        ids.extend(batch.iter().map(|event| {
            let context = event.context().unwrap();
            assert_eq!(&*context.session, wire.registry.instance_id());
            context.call.to_string()
        }));
    }
    assert_eq!(ids, ["call_9f", "7"]);
}

#[test]
fn a_last_line_needs_no_newline() {
    let mut wire = Wire::new();
    wire.call("1", "a");
    wire.server.see(br#"{"id":1,"result":{}}"#);
    assert_eq!(wire.counts("a"), (0, 0, 0, 1));
    wire.server.finish();
    assert_eq!(wire.counts("a"), (1, 0, 0, 0));
}
