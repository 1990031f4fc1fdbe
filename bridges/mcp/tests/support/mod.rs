//! A server with a tool for each way to end, and functions that connect to it.

#![allow(dead_code, reason = "each test uses a part of it")]

use rmcp::model::*;
use rmcp::service::{RequestContext, RunningService};
use rmcp::{ClientHandler, ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use toolmeter::{ClockSource, ManualClock, Pump, Registry, Snapshot};
use toolmeter_mcp::Metered;

/// The part of a [`Tools`] that a test reads and changes.
#[derive(Default)]
pub(crate) struct Seen {
    /// The names of the tools that the server lists.
    pub(crate) names: Mutex<Vec<String>>,
    /// The number of pages of the list that were read.
    pub(crate) listings: AtomicUsize,
    /// The number of calls.
    pub(crate) calls: AtomicUsize,
    /// Signalled by calls of `hang` and `stubborn` that have begun.
    pub(crate) begun: Notify,
    /// Signalled by a test to let a call of `stubborn` end.
    pub(crate) release: Notify,
    /// The number of calls of `stubborn` that have ended.
    pub(crate) ended: AtomicUsize,
    /// The `_meta` of the last call.
    pub(crate) meta: Mutex<RequestMetaObject>,
}

/// A server with a tool for each way to end.
#[derive(Clone, Default)]
pub(crate) struct Tools(pub(crate) Arc<Seen>);

pub(crate) const NAMES: [&str; 10] = [
    "ok", "fails", "refuses", "args", "hang", "stubborn", "panics", "progress", "slow", "input",
];

impl Tools {
    pub(crate) fn new() -> Self {
        let tools = Self::default();
        tools.set_names(NAMES);
        tools
    }

    pub(crate) fn set_names<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) {
        *self.0.names.lock().unwrap() = names.into_iter().map(Into::into).collect();
    }
}

pub(crate) fn tool(name: &str) -> Tool {
    Tool::new(name.to_owned(), "", serde_json::Map::new())
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.0.listings.fetch_add(1, Ordering::Relaxed);
        let names = self.0.names.lock().unwrap();
        // A page has three tools.
        let start: usize = request
            .and_then(|page| page.cursor)
            .map_or(0, |cursor| cursor.parse().unwrap());
        let page = names.iter().skip(start).take(3).map(|name| tool(name));
        let mut page = ListToolsResult::with_all_items(page.collect());
        page.next_cursor = (start + 3 < names.len()).then(|| (start + 3).to_string());
        Ok(page)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        *self.0.meta.lock().unwrap() = context.meta.clone();
        match &*request.name {
            "fails" => Ok(CallToolResult::error(vec![ContentBlock::text("no such repo")]).into()),
            "refuses" => Err(ErrorData::internal_error("no disk", None)),
            // In the words of the Python SDK.
            "python" => {
                let text = "Error executing tool add: 1 validation error for addArguments\nb\n";
                Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into())
            }
            "args" => Err(ErrorData::invalid_params("missing field `path`", None)),
            "hang" => {
                self.0.begun.notify_one();
                std::future::pending().await
            }
            "stubborn" => {
                self.0.begun.notify_one();
                self.0.release.notified().await;
                self.0.ended.fetch_add(1, Ordering::Relaxed);
                Ok(CallToolResult::default().into())
            }
            "slow" => {
                self.0.begun.notify_one();
                tokio::time::sleep(Duration::from_millis(500)).await;
                Ok(CallToolResult::default().into())
            }
            "panics" => panic!("a secret of {}", request.name),
            "progress" => {
                let token = context.meta.get_progress_token().unwrap();
                for step in 1..=3 {
                    let progress = ProgressNotificationParam::new(token.clone(), f64::from(step));
                    context.peer.notify_progress(progress).await.unwrap();
                }
                Ok(CallToolResult::default().into())
            }
            name if self
                .0
                .names
                .lock()
                .unwrap()
                .iter()
                .any(|known| known == name) =>
            {
                Ok(CallToolResult::success(vec![ContentBlock::text(name.to_owned())]).into())
            }
            _ => Err(ErrorData::invalid_params("tool not found", None)),
        }
    }
}

/// Returns a registry with a manual clock and a manual pump.
pub(crate) fn registry() -> Registry {
    Registry::builder()
        .clock(ClockSource::Manual(Arc::new(ManualClock::new())))
        .pump(Pump::manual())
        .build()
        .unwrap()
}

pub(crate) type Server<H> = RunningService<RoleServer, H>;
pub(crate) type Client<C> = RunningService<RoleClient, C>;

/// Connects a client to a metered server.
pub(crate) async fn connect<H: ServerHandler, C: ClientHandler>(
    server: Metered<H>,
    client: C,
) -> (Server<Metered<H>>, Client<C>) {
    let (near, far) = tokio::io::duplex(64 * 1_024);
    let server = tokio::spawn(server.serve(near));
    let client = client.serve(far).await.unwrap();
    (server.await.unwrap().unwrap(), client)
}

/// Serves a handler without metering.
pub(crate) fn serve_plain<H: ServerHandler>(handler: H) -> (JoinHandle<Server<H>>, DuplexStream) {
    let (near, far) = tokio::io::duplex(64 * 1_024);
    (
        tokio::spawn(async move { handler.serve(near).await.unwrap() }),
        far,
    )
}

pub(crate) fn call(name: &str) -> CallToolRequestParams {
    CallToolRequestParams::new(name.to_owned())
}

/// Returns the calls that succeeded, failed, were cancelled, and are in flight.
pub(crate) fn counts(metrics: &Snapshot, name: &str) -> (u64, u64, u64, u64) {
    let tool = &metrics.tools[name];
    (
        tool.success(),
        tool.failure(),
        tool.cancelled(),
        tool.in_flight,
    )
}

/// Lets other tasks run until `holds` returns true.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never held");
}
