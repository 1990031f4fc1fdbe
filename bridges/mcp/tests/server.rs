//! A metered server, over a connection within the process.

mod support;

use rmcp::model::*;
use rmcp::service::{NotificationContext, PeerRequestOptions, ServiceError};
use rmcp::{ClientHandler, RoleClient, ServiceExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{NAMES, Tools, call, connect, counts, registry, until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use toolmeter::{ErrorKind, Registry};
use toolmeter_mcp::Metered;

/// Sends a call that can be cancelled.
async fn begin(
    client: &support::Client<()>,
    name: &str,
) -> rmcp::service::RequestHandle<RoleClient> {
    let request = ClientRequest::CallToolRequest(Request::new(call(name)));
    let options = PeerRequestOptions::no_options();
    client
        .send_cancellable_request(request, options)
        .await
        .unwrap()
}

#[tokio::test]
async fn each_way_to_end_is_counted_and_answered_as_without_metering() {
    let registry = registry();
    let (server, client) = connect(Metered::new(Tools::new(), &registry), ()).await;
    let (plain, far) = support::serve_plain(Tools::new());
    let plain_client = ().serve(far).await.unwrap();
    let plain = plain.await.unwrap();
    for name in ["ok", "fails", "refuses", "args", "nope"] {
        let metered = client.call_tool(call(name)).await;
        let bare = plain_client.call_tool(call(name)).await;
        assert_eq!(format!("{metered:?}"), format!("{bare:?}"), "{name}");
    }
    drop((plain, plain_client));
    let metrics = registry.metrics();
    assert_eq!(counts(&metrics, "ok"), (1, 0, 0, 0));
    for (name, kind, text) in [
        ("fails", ErrorKind::ToolError, "no such repo"),
        ("refuses", ErrorKind::Provider, "no disk"),
        ("args", ErrorKind::InvalidArgs, "missing field `path`"),
    ] {
        assert_eq!(counts(&metrics, name), (0, 1, 0, 0));
        let error = metrics.tools[name].last_error.as_ref().unwrap();
        assert_eq!((error.kind, error.message.as_deref()), (kind, Some(text)));
    }
    assert_eq!(metrics.unknown_tool_calls, 1);
    assert!(!metrics.tools.contains_key("nope"));
    client.cancel().await.unwrap();
    server.waiting().await.unwrap();
}

/// A panic of a tool is reported to the client, and the server goes on.
#[tokio::test]
async fn a_panic_is_counted_and_answered() {
    let registry = registry();
    let (_server, client) = connect(Metered::new(Tools::new(), &registry), ()).await;
    let error = client.call_tool(call("panics")).await.unwrap_err();
    let ServiceError::McpError(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.code, ErrorCode::INTERNAL_ERROR);
    assert_eq!(error.message, "the tool panicked");
    client.call_tool(call("ok")).await.unwrap();
    let metrics = registry.metrics();
    assert_eq!(
        metrics.tools["panics"].failures_by_kind[&ErrorKind::Panic],
        1
    );
    let last = metrics.tools["panics"].last_error.as_ref().unwrap();
    assert_eq!(last.message.as_deref(), Some("a secret of panics"));
    assert_eq!(counts(&metrics, "panics"), (0, 1, 0, 0));
    assert_eq!(counts(&metrics, "ok"), (1, 0, 0, 0));
}

#[tokio::test]
async fn a_panic_by_an_unknown_name_is_answered_too() {
    let registry = registry();
    let tools = Tools::new();
    tools.set_names(["ok"]);
    let (_server, client) = connect(Metered::new(tools, &registry), ()).await;
    assert!(client.call_tool(call("panics")).await.is_err());
    assert_eq!(registry.metrics().unknown_tool_calls, 1);
}

/// The call is counted at once and only once, and the handler goes on as it would without metering.
#[tokio::test]
async fn the_protocol_cancels_a_call() {
    let registry = registry();
    let tools = Tools::new();
    let seen = Arc::clone(&tools.0);
    let (_server, client) = connect(Metered::new(tools, &registry), ()).await;
    let handle = begin(&client, "stubborn").await;
    seen.begun.notified().await;
    assert_eq!(counts(&registry.metrics(), "stubborn"), (0, 0, 0, 1));
    handle.cancel(Some("not needed".into())).await.unwrap();
    until(|| counts(&registry.metrics(), "stubborn") == (0, 0, 1, 0)).await;
    assert_eq!(seen.ended.load(Ordering::Relaxed), 0);
    seen.release.notify_one();
    until(|| seen.ended.load(Ordering::Relaxed) == 1).await;
    client.call_tool(call("ok")).await.unwrap();
    assert_eq!(counts(&registry.metrics(), "stubborn"), (0, 0, 1, 0));
}

/// The runtime's clock is paused and advances when all tasks wait, so the test does not wait for
/// real time.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_what_is_in_flight_before_waiting_returns() {
    let registry = registry();
    let tools = Tools::new();
    let seen = Arc::clone(&tools.0);
    let (server, client) = connect(Metered::new(tools, &registry), ()).await;
    let mut calls = Vec::new();
    for name in ["hang", "hang", "stubborn"] {
        calls.push(begin(&client, name).await);
        seen.begun.notified().await;
    }
    assert_eq!(registry.metrics().tools["hang"].in_flight, 2);
    let before = tokio::time::Instant::now();
    client.cancel().await.unwrap();
    server.waiting().await.unwrap();
    let metrics = registry.metrics();
    assert_eq!(counts(&metrics, "hang"), (0, 0, 2, 0));
    assert_eq!(counts(&metrics, "stubborn"), (0, 0, 1, 0));
    // A client kills the server 2 seconds after it closed the connection.
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_stopped_ends_what_is_in_flight() {
    let registry = registry();
    let tools = Tools::new();
    let seen = Arc::clone(&tools.0);
    let (server, client) = connect(Metered::new(tools, &registry), ()).await;
    let _call = begin(&client, "hang").await;
    seen.begun.notified().await;
    server.cancel().await.unwrap();
    assert_eq!(counts(&registry.metrics(), "hang"), (0, 0, 1, 0));
}

#[tokio::test]
async fn a_host_that_exits_ends_what_is_in_flight_at_once() {
    let registry = registry();
    let tools = Tools::new();
    let seen = Arc::clone(&tools.0);
    let (server, client) = connect(Metered::new(tools, &registry), ()).await;
    let _call = begin(&client, "hang").await;
    seen.begun.notified().await;
    server.service().calls().end_all();
    assert_eq!(counts(&registry.metrics(), "hang"), (0, 0, 1, 0));
    // No call begins after that.
    assert!(client.call_tool(call("ok")).await.is_err());
    assert_eq!(counts(&registry.metrics(), "ok"), (0, 0, 1, 0));
}

const OPENING: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","#,
    r#""capabilities":{},"clientInfo":{"name":"pipe","version":"1"}}}"#,
    "\n",
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n",
);

/// The input ends before the answer is written, as in `printf '...' | server`.
#[tokio::test(start_paused = true)]
async fn a_call_may_end_within_the_time_of_grace() {
    for (grace, answered) in [
        (Duration::from_secs(1), true),
        (Duration::from_millis(100), false),
    ] {
        let registry = registry();
        let (near, far) = tokio::io::duplex(64 * 1_024);
        let metered = Metered::new(Tools::new(), &registry).grace(grace);
        let server = tokio::spawn(metered.serve(near));
        let (mut read, mut write) = tokio::io::split(far);
        let request = concat!(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow"}}"#,
            "\n"
        );
        write.write_all(OPENING.as_bytes()).await.unwrap();
        write.write_all(request.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
        server.await.unwrap().unwrap().waiting().await.unwrap();
        let mut text = String::new();
        read.read_to_string(&mut text).await.unwrap();
        let answer = text.lines().nth(1).unwrap();
        assert_eq!(answer.contains("\"result\""), answered, "{answer}");
        let expected = if answered { (1, 0, 0, 0) } else { (0, 0, 1, 0) };
        assert_eq!(counts(&registry.metrics(), "slow"), expected);
    }
}

#[derive(Clone, Default)]
struct Progress(Arc<Mutex<Vec<f64>>>);

impl ClientHandler for Progress {
    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0.lock().unwrap().push(progress.progress);
    }
}

#[tokio::test]
async fn progress_is_untouched() {
    let registry = registry();
    let progress = Progress::default();
    let (_server, client) = connect(Metered::new(Tools::new(), &registry), progress.clone()).await;
    client.call_tool(call("progress")).await.unwrap();
    until(|| progress.0.lock().unwrap().len() == 3).await;
    assert_eq!(*progress.0.lock().unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(counts(&registry.metrics(), "progress"), (1, 0, 0, 0));
}

#[tokio::test]
async fn a_call_has_the_clients_session_and_request() {
    let registry = registry();
    let events = registry.subscribe();
    let (_server, client) = connect(Metered::new(Tools::new(), &registry), ()).await;
    let mut params = call("ok");
    params.set_traceparent("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
    client.call_tool(params).await.unwrap();
    client.call_tool(call("ok")).await.unwrap();
    registry.pump();
    let batch = events.try_recv().unwrap();
    let contexts: Vec<_> = batch
        .iter()
        .filter(|event| event.latency().is_some())
        .map(|event| event.context().unwrap())
        .collect();
    let [first, second] = &*contexts else {
        panic!("{contexts:?}");
    };
    assert!(first.session.starts_with("rmcp#"), "{}", first.session);
    assert_eq!(first.session, second.session);
    assert_ne!(first.call, second.call);
    assert_eq!(first.label_value("jsonrpc.request.id"), Some(&*first.call));
    assert_eq!(first.label_value("mcp.method.name"), Some("tools/call"));
    let parent = first.label_value("traceparent").unwrap();
    assert_eq!(
        parent,
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
    );
    assert_eq!(second.label_value("traceparent"), None);
}

/// Tests with the head of an HTTP request, which rmcp's server over HTTP adds to each message.
#[cfg(feature = "http")]
mod over_http {
    use super::*;
    use rmcp::RoleServer;
    use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
    use rmcp::transport::{IntoTransport, Transport};

    struct Heads<T> {
        transport: T,
        head: http::request::Parts,
    }

    impl<T: Transport<RoleServer>> Transport<RoleServer> for Heads<T> {
        type Error = T::Error;

        fn send(
            &mut self,
            item: TxJsonRpcMessage<RoleServer>,
        ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
            self.transport.send(item)
        }

        async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
            let mut message = self.transport.receive().await?;
            if let JsonRpcMessage::Request(request) = &mut message
                && let ClientRequest::CallToolRequest(call) = &mut request.request
            {
                call.extensions.insert(self.head.clone());
            }
            Some(message)
        }

        async fn close(&mut self) -> Result<(), Self::Error> {
            self.transport.close().await
        }
    }

    /// Calls a tool with this header, and returns the context of the call.
    async fn context(session: &[u8]) -> Arc<toolmeter::CallContext> {
        let registry = registry();
        let events = registry.subscribe();
        let (near, far) = tokio::io::duplex(64 * 1_024);
        let request = http::Request::builder().header("mcp-session-id", session);
        let (head, ()) = request.body(()).unwrap().into_parts();
        let transport = Heads {
            transport: IntoTransport::<RoleServer, _, _>::into_transport(near),
            head,
        };
        let server = Metered::new(Tools::new(), &registry);
        let server = tokio::spawn(server.serve(transport));
        let client = ().serve(far).await.unwrap();
        let _server = server.await.unwrap().unwrap();
        client.call_tool(call("ok")).await.unwrap();
        registry.pump();
        let batch = events.try_recv().unwrap();
        batch.iter().next().unwrap().context().unwrap().clone()
    }

    #[tokio::test]
    async fn the_header_of_the_session_is_the_session_of_the_call() {
        let context = context(b"1868a90c-0001").await;
        assert_eq!(&*context.session, "1868a90c-0001");
        assert_eq!(context.label_value("mcp.session.id"), Some("1868a90c-0001"));
    }

    #[tokio::test]
    async fn a_header_that_is_no_text_is_no_session_and_a_long_one_is_cut() {
        let odd = context(b"\xff\xfe").await;
        assert!(odd.session.starts_with("rmcp#"), "{}", odd.session);
        assert_eq!(odd.label_value("mcp.session.id"), None);
        let long = context(&[b'x'; 5_000]).await;
        assert!(long.session.len() <= 256, "{}", long.session.len());
    }
}

/// The handler is asked for its list once, whatever a client calls, and the tools of the list are
/// registered.
#[tokio::test(start_paused = true)]
async fn hostile_clients_register_nothing_and_cost_one_listing() {
    let registry = registry();
    let tools = Tools::new();
    let seen = Arc::clone(&tools.0);
    let (near, far) = tokio::io::duplex(64 * 1_024);
    let server = tokio::spawn(Metered::new(tools, &registry).serve(near));
    let (read, mut write) = tokio::io::split(far);
    let mut read = BufReader::new(read).lines();
    write.write_all(OPENING.as_bytes()).await.unwrap();
    read.next_line().await.unwrap().unwrap();
    let server = server.await.unwrap().unwrap();
    let id = "\\u001b[2J".repeat(2_000);
    for n in 0..200 {
        let name = format!("{}{n}", ["", "\\u0000", "x\\n", &id][n % 4]);
        let request = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":\"{id}{n}\",\"method\":\"tools/call\",\
             \"params\":{{\"name\":\"{name}\"}}}}\n"
        );
        write.write_all(request.as_bytes()).await.unwrap();
        let answer = read.next_line().await.unwrap().unwrap();
        assert!(answer.contains("tool not found"), "{answer}");
    }
    for line in [
        "",
        "null",
        "[]",
        "{",
        "{\"jsonrpc\":\"2.0\"}",
        "\u{7f}\u{0}",
        "[[[[[[[[",
    ] {
        write
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }
    let call = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"method\":\"tools/call\",\"params\":{{\"name\":\"ok\"}}}}\n"
    );
    write.write_all(call.as_bytes()).await.unwrap();
    until(|| registry.metrics().tools["ok"].success() == 1).await;
    let metrics = registry.metrics();
    assert_eq!(
        (metrics.unknown_tool_calls, metrics.tools.len()),
        (200, NAMES.len())
    );
    // The list has four pages.
    assert_eq!(seen.listings.load(Ordering::Relaxed), 4);
    drop((read, write));
    server.waiting().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changes_is_followed() {
    let registry = registry();
    let tools = Tools::new();
    let (_server, client) = connect(Metered::new(tools.clone(), &registry), ()).await;
    tools.set_names(["one"]);
    client.call_tool(call("one")).await.unwrap();
    tools.set_names(["two"]);
    // If the client does not ask for the list, a new tool is unknown for at most a second.
    client.call_tool(call("two")).await.unwrap();
    assert_eq!(registry.metrics().unknown_tool_calls, 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    client.call_tool(call("two")).await.unwrap();
    assert_eq!(counts(&registry.metrics(), "two"), (1, 0, 0, 0));
    assert!(registry.metrics().tools["one"].retired);
    tools.set_names(["one", "three"]);
    client.list_tools(None).await.unwrap();
    client.call_tool(call("three")).await.unwrap();
    client.call_tool(call("one")).await.unwrap();
    let metrics = registry.metrics();
    assert_eq!(counts(&metrics, "three"), (1, 0, 0, 0));
    assert_eq!(counts(&metrics, "one"), (2, 0, 0, 0));
    assert_eq!(metrics.unknown_tool_calls, 1);
}

/// Three tools to a page.
#[tokio::test]
async fn a_list_of_many_pages_is_followed_when_the_last_page_is_read() {
    let registry = registry();
    let tools = Tools::new();
    let (_server, client) = connect(Metered::new(tools.clone(), &registry), ()).await;
    client.list_all_tools().await.unwrap();
    assert!(registry.get("panics").is_some());
    tools.set_names(["ok", "fails", "args", "hang", "slow", "new"]);
    let page = |cursor: Option<&str>| {
        let page = PaginatedRequestParams::default().with_cursor(cursor.map(str::to_owned));
        client.list_tools(Some(page))
    };
    page(None).await.unwrap();
    // A page out of turn ends no list.
    page(Some("6")).await.unwrap();
    assert!(registry.get("panics").is_some() && registry.get("new").is_none());
    page(Some("3")).await.unwrap();
    assert!(registry.get("panics").is_none() && registry.get("new").is_some());
    for name in ["ok", "fails", "args", "hang", "slow"] {
        assert!(registry.get(name).is_some(), "{name}");
    }
    assert!(client.call_tool(call("refuses")).await.is_err());
    assert_eq!(registry.metrics().unknown_tool_calls, 1);
}

#[tokio::test]
async fn a_tool_that_one_connection_has_no_more_stays_while_another_has_it() {
    let registry = registry();
    let (one, two) = (Tools::new(), Tools::new());
    for tools in [&one, &two] {
        tools.set_names(["ok"]);
    }
    let (_one, one_client) = connect(Metered::new(one.clone(), &registry), ()).await;
    let (_two, two_client) = connect(Metered::new(two.clone(), &registry), ()).await;
    for client in [&one_client, &two_client] {
        client.list_all_tools().await.unwrap();
    }
    one.set_names(["other"]);
    one_client.list_all_tools().await.unwrap();
    assert!(registry.get("ok").is_some());
    two_client.call_tool(call("ok")).await.unwrap();
    let metrics = registry.metrics();
    assert_eq!(counts(&metrics, "ok"), (1, 0, 0, 0));
    assert!(!metrics.tools["ok"].retired);
    two.set_names(["other"]);
    two_client.list_all_tools().await.unwrap();
    assert!(registry.metrics().tools["ok"].retired);
}

/// Clients of one server come and go.
#[tokio::test]
async fn a_tool_stays_when_its_connection_ends_and_goes_with_the_list_of_a_later_one() {
    let registry = registry();
    let tools = Tools::new();
    tools.set_names(["ok"]);
    let metered = Metered::new(tools.clone(), &registry);
    let (one, one_client) = connect(metered.clone(), ()).await;
    one_client.list_all_tools().await.unwrap();
    one_client.cancel().await.unwrap();
    one.waiting().await.unwrap();
    assert!(registry.get("ok").is_some());
    let (_two, two_client) = connect(metered, ()).await;
    two_client.list_all_tools().await.unwrap();
    tools.set_names(["other"]);
    two_client.list_all_tools().await.unwrap();
    assert!(registry.get("ok").is_none());
}

#[tokio::test]
async fn without_room_for_a_tool_its_calls_are_unknown_and_answered() {
    let registry = Registry::builder().tool_limit(1).build().unwrap();
    let tools = Tools::new();
    tools.set_names(["ok", "one"]);
    let (_server, client) = connect(Metered::new(tools, &registry), ()).await;
    for _ in 0..2 {
        client.call_tool(call("ok")).await.unwrap();
        client.call_tool(call("one")).await.unwrap();
    }
    let metrics = registry.metrics();
    let counted: u64 = metrics.tools.values().map(|tool| tool.success()).sum();
    assert_eq!(
        (metrics.tools.len(), counted, metrics.unknown_tool_calls),
        (1, 2, 2)
    );
}

/// Each connection has a `Metered` of its own, and the end of one connection ends no call of
/// another.
#[tokio::test(start_paused = true)]
async fn a_clone_serves_another_connection() {
    let registry = registry();
    let tools = Tools::new();
    let seen = Arc::clone(&tools.0);
    let metered = Metered::new(tools, &registry);
    let (one, one_client) = connect(metered.clone(), ()).await;
    let (_two, two_client) = connect(metered, ()).await;
    let _call = begin(&two_client, "hang").await;
    seen.begun.notified().await;
    one_client.cancel().await.unwrap();
    one.waiting().await.unwrap();
    assert_eq!(counts(&registry.metrics(), "hang"), (0, 0, 0, 1));
}
