//! Calls by names that a server does not have, as a hook sees them on both sides.

mod support;

use std::sync::{Arc, Mutex};
use support::{Tools, call, connect, serve_plain};
use toolmeter::{CallBegin, CallContext, CallEnd, ErrorKind, Instrument, Outcome, Registry, Scope};
use toolmeter_mcp::{Metered, MeteredClient};

/// A hook that keeps the calls that were refused.
#[derive(Clone, Default)]
struct Refused(Arc<Mutex<Vec<Call>>>);

#[derive(Debug, PartialEq)]
struct Call {
    name: String,
    attempt: u16,
    context: CallContext,
    outcome: Outcome,
}

impl Instrument for Refused {
    fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
        None
    }

    fn refused(&self, begin: &CallBegin<'_>, end: &CallEnd<'_>) {
        assert!(begin.tool.is_none());
        let context = begin.context.expect("both sides give a context");
        self.0.lock().unwrap().push(Call {
            name: begin.name.to_owned(),
            attempt: begin.attempt,
            context: context.clone(),
            outcome: end.outcome,
        });
    }
}

impl Refused {
    fn registry(&self) -> Registry {
        Registry::builder()
            .instrument(self.clone())
            .pump(toolmeter::Pump::manual())
            .build()
            .unwrap()
    }

    fn one(&self) -> Call {
        let mut calls = self.0.lock().unwrap();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }
}

const NOT_FOUND: Outcome = Outcome::Failure(ErrorKind::NotFound);

#[tokio::test]
async fn a_server_reports_the_name_and_the_request_of_an_unknown_call() {
    let hook = Refused::default();
    let (server, client) = connect(Metered::new(Tools::new(), &hook.registry()), ()).await;
    let answer = client.call_tool(call("tele\u{1b}port")).await;
    assert!(answer.is_err(), "{answer:?}");

    let call = hook.one();
    assert_eq!((&*call.name, call.attempt), ("tele\\u{1b}port", 1));
    assert_eq!(call.outcome, NOT_FOUND);
    assert_eq!(
        call.context.label_value("mcp.method.name"),
        Some("tools/call")
    );
    assert!(!call.context.call.is_empty());
    assert_eq!(
        Some(&*call.context.call),
        call.context.label_value("jsonrpc.request.id")
    );
    client.cancel().await.unwrap();
    server.waiting().await.unwrap();
}

#[tokio::test]
async fn a_client_reports_the_name_and_the_hosts_context_of_an_unknown_call() {
    let hook = Refused::default();
    let (server, far) = serve_plain(Tools::new());
    let client = MeteredClient::new((), &hook.registry())
        .server("github")
        .serve(far)
        .await
        .unwrap();
    let context = CallContext::new("session-17").call("call_9f3");
    let asked = client.service().peer().call_tool(call("teleport"));
    let answer = asked.attempt(2).context(context).await;
    assert!(answer.is_err(), "{answer:?}");

    let call = hook.one();
    assert_eq!((&*call.name, call.attempt), ("teleport", 2));
    assert_eq!(call.outcome, NOT_FOUND);
    assert_eq!(&*call.context.call, "call_9f3");
    assert_eq!(call.context.label_value("mcp.server"), Some("github"));
    assert_eq!(
        call.context.label_value("gen_ai.tool.name"),
        Some("teleport")
    );
    client.cancel().await.unwrap();
    server.await.unwrap().waiting().await.unwrap();
}
