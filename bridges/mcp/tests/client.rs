//! A metered client, over a connection within the process.

mod support;

use rmcp::ServiceExt;
use rmcp::service::ServiceError;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{NAMES, Server, Tools, call, counts, registry, until};
use toolmeter::{CallContext, ErrorKind, InvokeError, Registry};
use toolmeter_mcp::{MeteredClient, MeteredPeer};

type Client = support::Client<MeteredClient<()>>;

/// Connects a metered client to a server that is not metered.
async fn connect(
    tools: Tools,
    registry: &Registry,
    name: Option<&str>,
) -> (Server<Tools>, Client, MeteredPeer) {
    let (near, far) = tokio::io::duplex(64 * 1_024);
    let server = tokio::spawn(tools.serve(near));
    let mut client = MeteredClient::new((), registry);
    if let Some(name) = name {
        client = client.server(name);
    }
    let client = client.serve(far).await.unwrap();
    let peer = client.service().peer().clone();
    (server.await.unwrap().unwrap(), client, peer)
}

/// Calls a tool by name.
async fn invoke(registry: &Registry, name: &str) -> Result<serde_json::Value, InvokeError> {
    registry.invoke(name, serde_json::json!({})).await
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail_is_counted() {
    let registry = registry();
    let (server, _client, peer) = connect(Tools::new(), &registry, None).await;
    assert_eq!(registry.metrics().tools.len(), NAMES.len());
    for name in ["ok", "fails", "refuses", "args", "nope"] {
        let _ = peer.call_tool(call(name)).await;
    }
    let late = peer.call_tool(call("hang")).within(Duration::from_secs(3));
    assert!(matches!(late.await, Err(ServiceError::Timeout { .. })));
    // This call is dropped before its end.
    let hangs = tokio::time::timeout(Duration::from_secs(1), peer.call_tool(call("hang")));
    assert!(hangs.await.is_err());
    let metrics = registry.metrics();
    let kind = |name: &str| metrics.tools[name].last_error.as_ref().unwrap().kind;
    assert_eq!(counts(&metrics, "ok"), (1, 0, 0, 0));
    assert_eq!(kind("fails"), ErrorKind::ToolError);
    assert_eq!(kind("refuses"), ErrorKind::Provider);
    assert_eq!(kind("args"), ErrorKind::InvalidArgs);
    assert_eq!(kind("hang"), ErrorKind::Timeout);
    assert_eq!(counts(&metrics, "hang"), (0, 1, 1, 0));
    assert_eq!(metrics.unknown_tool_calls, 1);

    // The server dies with a call in flight.
    let dies = tokio::spawn({
        let peer = peer.clone();
        async move { peer.call_tool(call("stubborn")).await }
    });
    until(|| registry.metrics().tools["stubborn"].in_flight == 1).await;
    server.cancel().await.unwrap();
    assert!(matches!(
        dies.await.unwrap(),
        Err(ServiceError::TransportClosed)
    ));
    let metrics = registry.metrics();
    assert_eq!(
        metrics.tools["stubborn"].failures_by_kind[&ErrorKind::Network],
        1
    );
}

#[tokio::test]
async fn a_call_has_attempt_context_and_the_names_of_server_and_tool() {
    let registry = registry();
    let events = registry.subscribe();
    let (_server, _client, peer) = connect(Tools::new(), &registry, Some("git/hub")).await;
    let context = CallContext::new("session-7").call("call_9f");
    peer.call_tool(call("ok"))
        .attempt(2)
        .context(context)
        .await
        .unwrap();
    registry.pump();
    let batch = events.try_recv().unwrap();
    let end = batch
        .iter()
        .find(|event| event.latency().is_some())
        .unwrap();
    let context = end.context().unwrap();
    assert_eq!(
        (&*context.session, &*context.call),
        ("session-7", "call_9f")
    );
    assert_eq!(context.label_value("gen_ai.tool.name"), Some("ok"));
    assert_eq!(context.label_value("mcp.server"), Some("git/hub"));
    assert_eq!(batch.name(end.tool()), Some("git\\u{2f}hub/ok"));
    assert_eq!(registry.metrics().tools["git\\u{2f}hub/ok"].retried, 1);
}

#[tokio::test]
async fn servers_with_tools_of_the_same_name_are_told_apart() {
    let registry = registry();
    let (_a, _ac, a) = connect(Tools::new(), &registry, Some("a")).await;
    let (_b, _bc, b) = connect(Tools::new(), &registry, Some("b")).await;
    a.call_tool(call("ok")).await.unwrap();
    let _ = b.call_tool(call("fails")).await;
    let metrics = registry.metrics();
    assert_eq!(counts(&metrics, "a/ok"), (1, 0, 0, 0));
    assert_eq!(counts(&metrics, "b/ok"), (0, 0, 0, 0));
    assert_eq!(counts(&metrics, "b/fails"), (0, 1, 0, 0));
}

#[tokio::test]
async fn a_list_that_changes_is_followed_and_counts_stay() {
    let registry = registry();
    let tools = Tools::new();
    let (server, client, peer) = connect(tools.clone(), &registry, None).await;
    peer.call_tool(call("ok")).await.unwrap();
    tools.set_names(["other"]);
    server.notify_tool_list_changed().await.unwrap();
    until(|| registry.get("other").is_some()).await;
    assert!(registry.get("ok").is_none());
    assert_eq!(registry.metrics().tools["ok"].success(), 1);
    tools.set_names(["ok"]);
    server.notify_tool_list_changed().await.unwrap();
    until(|| registry.get("ok").is_some()).await;
    peer.call_tool(call("ok")).await.unwrap();
    assert_eq!(registry.metrics().tools["ok"].success(), 2);
    // The tools are retired when the client is dropped.
    drop((peer, client));
    until(|| registry.get("ok").is_none()).await;
    assert_eq!(registry.metrics().tools["ok"].success(), 2);
}

#[tokio::test]
async fn tools_are_called_by_name_and_judged_alike() {
    let registry = registry();
    let (server, _client, _peer) = connect(Tools::new(), &registry, Some("a")).await;
    let answer = registry
        .invoke("a/ok", serde_json::json!({}))
        .await
        .unwrap();
    assert_eq!(answer["content"][0]["text"], "ok");
    registry
        .invoke("a/fails", serde_json::json!({}))
        .await
        .unwrap();
    for name in ["a/args", "a/refuses"] {
        assert!(
            registry
                .invoke(name, serde_json::json!(null))
                .await
                .is_err()
        );
    }
    assert!(registry.invoke("a/ok", serde_json::json!(3)).await.is_err());
    let kinds = |name: &str| registry.metrics().tools[name].failures_by_kind.clone();
    assert_eq!(kinds("a/fails")[&ErrorKind::ToolError], 1);
    assert_eq!(kinds("a/args")[&ErrorKind::InvalidArgs], 1);
    assert_eq!(kinds("a/refuses")[&ErrorKind::Provider], 1);
    assert_eq!(kinds("a/ok")[&ErrorKind::InvalidArgs], 1);
    server.cancel().await.unwrap();
    assert!(
        registry
            .invoke("a/ok", serde_json::json!({}))
            .await
            .is_err()
    );
    assert_eq!(kinds("a/ok")[&ErrorKind::Network], 1);
}

/// A host that connects again before it drops the connection that was lost.
#[tokio::test]
async fn a_server_that_is_connected_again_keeps_its_tools() {
    let registry = registry();
    let (server, lost, lost_peer) = connect(Tools::new(), &registry, Some("files")).await;
    server.cancel().await.unwrap();
    let (_server, client, peer) = connect(Tools::new(), &registry, Some("files")).await;
    // Calls by name go to the connection that is open, while the other is still held.
    invoke(&registry, "files/ok").await.unwrap();
    lost.cancel().await.unwrap();
    drop(lost_peer);
    invoke(&registry, "files/ok").await.unwrap();
    assert_eq!(peer.refresh().await.unwrap().tools, NAMES.len());
    peer.call_tool(call("ok")).await.unwrap();
    let metrics = registry.metrics();
    assert_eq!(counts(&metrics, "files/ok"), (3, 0, 0, 0));
    assert!(!metrics.tools["files/ok"].retired);
    client.cancel().await.unwrap();
    drop(peer);
    assert!(registry.get("files/ok").is_none());
}

#[tokio::test]
async fn what_only_a_lost_connection_had_goes_when_its_server_is_connected_again() {
    let registry = registry();
    let (server, lost, _lost_peer) = connect(Tools::new(), &registry, Some("files")).await;
    let (other, _other, _other_peer) = connect(Tools::new(), &registry, Some("files2")).await;
    server.cancel().await.unwrap();
    other.cancel().await.unwrap();
    until(|| lost.is_transport_closed()).await;
    let tools = Tools::new();
    tools.set_names(["ok"]);
    let (_server, _client, _peer) = connect(tools, &registry, Some("files")).await;
    assert!(registry.get("files/ok").is_some());
    assert!(registry.get("files/fails").is_none());
    // Another server's stay until it is connected again or its client is dropped.
    assert!(registry.get("files2/fails").is_some());
}

#[tokio::test]
async fn of_two_connections_to_a_server_the_newest_that_is_open_is_called_by_name() {
    let registry = registry();
    let (old_tools, new_tools) = (Tools::new(), Tools::new());
    let (_server, old, old_peer) = connect(old_tools.clone(), &registry, Some("files")).await;
    let (server, new, new_peer) = connect(new_tools.clone(), &registry, Some("files")).await;
    let calls = || [&old_tools, &new_tools].map(|tools| tools.0.calls.load(Ordering::Relaxed));
    invoke(&registry, "files/ok").await.unwrap();
    assert_eq!(calls(), [0, 1]);
    server.cancel().await.unwrap();
    until(|| new.is_transport_closed()).await;
    invoke(&registry, "files/ok").await.unwrap();
    assert_eq!(calls(), [1, 1]);
    // The tools stay as long as one of the two is held.
    new.cancel().await.unwrap();
    drop(new_peer);
    invoke(&registry, "files/ok").await.unwrap();
    assert_eq!(calls(), [2, 1]);
    old.cancel().await.unwrap();
    let error = invoke(&registry, "files/ok").await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::Network));
    drop(old_peer);
    assert!(registry.get("files/ok").is_none());
    assert_eq!(counts(&registry.metrics(), "files/ok"), (3, 1, 0, 0));
}

#[tokio::test]
async fn a_refresh_registers_again_what_the_host_deregistered() {
    let registry = registry();
    let (_server, _client, peer) = connect(Tools::new(), &registry, Some("files")).await;
    registry.deregister("files/ok").unwrap();
    assert_eq!(peer.refresh().await.unwrap().tools, NAMES.len());
    invoke(&registry, "files/ok").await.unwrap();
    peer.call_tool(call("ok")).await.unwrap();
    assert_eq!(counts(&registry.metrics(), "files/ok"), (2, 0, 0, 0));
}

#[tokio::test]
async fn the_wording_of_an_sdk_is_judged_alike_by_name_and_through_the_peer() {
    let registry = registry();
    let tools = Tools::new();
    tools.set_names(["python"]);
    let (_server, _client, peer) = connect(tools, &registry, None).await;
    invoke(&registry, "python").await.unwrap();
    peer.call_tool(call("python")).await.unwrap();
    let metrics = registry.metrics();
    assert_eq!(
        metrics.tools["python"].failures_by_kind[&ErrorKind::InvalidArgs],
        2
    );
}

#[tokio::test]
async fn more_tools_than_there_is_room_for_are_left_out() {
    let registry = Registry::builder().tool_limit(2).build().unwrap();
    let tools = Tools::new();
    tools.set_names((0..7).map(|n| format!("tool_{n}\u{1b}")));
    let (_server, _client, peer) = connect(tools, &registry, None).await;
    let listed = peer.refresh().await.unwrap();
    assert_eq!((listed.tools, listed.left_out), (2, 5));
    for n in 0..7 {
        peer.call_tool(call(&format!("tool_{n}\u{1b}")))
            .await
            .unwrap();
    }
    let metrics = registry.metrics();
    let counted: u64 = metrics.tools.values().map(|tool| tool.success()).sum();
    assert_eq!((counted, metrics.unknown_tool_calls), (2, 5));
    assert!(metrics.tools.keys().all(|name| !name.contains('\u{1b}')));
}

#[tokio::test]
async fn what_the_host_put_into_meta_is_sent_as_it_is() {
    use rmcp::model::RequestParamsMeta;
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let registry = registry();
    let tools = Tools::new();
    let seen = Arc::clone(&tools.0);
    let (_server, _client, peer) = connect(tools, &registry, None).await;
    let mut params = call("ok");
    params.set_traceparent(PARENT);
    peer.call_tool(params).await.unwrap();
    assert_eq!(seen.meta.lock().unwrap().get_traceparent(), Some(PARENT));
}

/// Serves one connection by hand: opens it, lists the tool `ok`, and then reads no more.
async fn serve_until_listed(far: tokio::io::DuplexStream) -> tokio::io::DuplexStream {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut stream = BufReader::new(far);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let request: serde_json::Value = serde_json::from_str(&line).unwrap();
        let is_list = request["method"] == "tools/list";
        let result = if is_list {
            serde_json::json!({ "tools": [support::tool("ok")] })
        } else {
            serde_json::json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "half", "version": "1" },
            })
        };
        if let Some(id) = request.get("id") {
            let answer = serde_json::json!({ "jsonrpc": "2.0", "id": id, "result": result });
            stream
                .write_all(format!("{answer}\n").as_bytes())
                .await
                .unwrap();
        }
        if is_list {
            return stream.into_inner();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_holds_no_client_up() {
    let registry = registry();
    let (near, far) = tokio::io::duplex(1_024);
    let server = tokio::spawn(serve_until_listed(near));
    let client = MeteredClient::new((), &registry)
        .server("half")
        .serve(far)
        .await
        .unwrap();
    let peer = client.service().peer().clone();
    let _unread = server.await.unwrap();
    let mut large = call("ok");
    let text = serde_json::Value::from("x".repeat(10_000));
    large.arguments = Some(std::iter::once(("text".to_owned(), text)).collect());
    let late = peer.call_tool(large).within(Duration::from_secs(1)).await;
    assert!(
        matches!(late, Err(ServiceError::Timeout { .. })),
        "{late:?}"
    );

    let hangs = tokio::spawn({
        let peer = peer.clone();
        async move { peer.call_tool(call("ok")).await }
    });
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    client.cancel().await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(15), "{begun:?}");
    let lost = hangs.await.unwrap();
    assert!(
        matches!(lost, Err(ServiceError::TransportClosed)),
        "{lost:?}"
    );
    let gone = invoke(&registry, "half/ok").await;
    assert!(gone.is_err());
    assert!(matches!(
        peer.refresh().await,
        Err(ServiceError::TransportClosed)
    ));
    let metrics = registry.metrics();
    let failures = &metrics.tools["half/ok"].failures_by_kind;
    assert_eq!(
        (failures[&ErrorKind::Timeout], failures[&ErrorKind::Network]),
        (1, 2)
    );
    drop(peer);
    assert!(registry.get("half/ok").is_none());
}

#[tokio::test]
async fn a_hosts_tool_around_a_client_goes_when_it_is_deregistered() {
    let registry = registry();
    let weak = registry.downgrade();
    let (near, far) = tokio::io::duplex(64 * 1_024);
    let server = tokio::spawn(Tools::new().serve(near));
    let client = MeteredClient::new((), &registry).server("files");
    let peer = client.peer().clone();
    let wrapper = toolmeter::async_tool("files/ok", move |_| {
        let peer = peer.clone();
        async move {
            let answer = peer.call_tool(call("ok")).await;
            Ok(serde_json::Value::from(answer.is_ok()))
        }
    });
    registry.register_tool(wrapper).unwrap();
    let client = client.serve(far).await.unwrap();
    let server = server.await.unwrap().unwrap();
    assert_eq!(invoke(&registry, "files/ok").await.unwrap(), true);
    client.cancel().await.unwrap();
    server.cancel().await.unwrap();
    registry.deregister("files/ok").unwrap();
    drop(registry);
    assert!(weak.upgrade().is_none());
}
