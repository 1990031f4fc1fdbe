//! A metered server: [`Metered`].
//!
//! Guarantees:
//!
//! - Each `tools/call` by a name that is known is one call of that tool. It ends once: by its
//!   answer, as `panic`, or as cancelled by the protocol, a lost connection or
//!   [`OpenCalls::end_all`]. A call by another name is one unknown call.
//! - A name is known if the handler's `get_tool` returns it, if it was on a list that the client
//!   read, or if it is on the handler's list, which is read for a name that is not known. A list is
//!   read at most once in `LIST_EVERY`, so a new tool may begin with unknown calls.
//! - The handler gets the same requests as without metering, and in addition requests for its list.
//!   The client gets the handler's answers, with three exceptions: after a panic of the handler it
//!   gets an error of JSON-RPC; the call of a tool that still runs when the grace period after a
//!   lost connection has passed is dropped; and after [`OpenCalls::end_all`], calls of tools do not
//!   reach the handler.
//! - Texts of the client are kept escaped and cut.

mod handler;
mod paging;

use crate::contain::{Contained, contained};
use crate::live::Connection;
use crate::names::Names;
use crate::text::{request_id, visible, with_trace};
use crate::transport::MeteredTransport;
use crate::verdict::McpResult;
use paging::Paging;
use rmcp::model::*;
use rmcp::service::{RequestContext, RunningService, ServerInitializeError};
use rmcp::transport::{IntoTransport, Transport};
use rmcp::{ErrorData, RoleServer, ServerHandler, serve_server};
use std::borrow::Cow;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use toolmeter::{CallContext, ErrorKind, OwnedCall, Registry, ToolHandle};

/// The default time for which calls may go on after the connection is gone. It is shorter than the
/// 2 seconds after which clients kill a server whose input they have closed.
const GRACE: Duration = Duration::from_secs(1);

/// The shortest time between two readings of the handler's list because of unknown names, and the
/// time limit of one.
const LIST_EVERY: Duration = Duration::from_secs(1);

/// The most pages of a list.
const MAX_PAGES: usize = 1_000;

/// The number of the next connection, for the names of sessions. It publishes nothing, so relaxed
/// ordering suffices.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// A server whose tool calls are metered: a [`ServerHandler`] around any other one.
///
/// One value serves one connection. A clone serves another, with the same handler and registry.
///
/// # Examples
///
/// ```
/// use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, Tool};
/// use rmcp::service::RequestContext;
/// use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
/// use toolmeter_mcp::Metered;
///
/// struct Echo;
///
/// impl ServerHandler for Echo {
///     async fn call_tool(
///         &self,
///         _: CallToolRequestParams,
///         _: RequestContext<RoleServer>,
///     ) -> Result<CallToolResponse, ErrorData> {
///         Ok(CallToolResult::default().into())
///     }
///
///     fn get_tool(&self, name: &str) -> Option<Tool> {
///         (name == "echo").then(|| Tool::new("echo", "Says it again.", serde_json::Map::new()))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let registry = toolmeter::Registry::new();
/// let (near, far) = tokio::io::duplex(4_096);
/// let server = tokio::spawn(Metered::new(Echo, &registry).serve(near));
///
/// let client = ().serve(far).await?;
/// client.call_tool(CallToolRequestParams::new("echo")).await?;
/// client.cancel().await?;
/// server.await??.waiting().await?;
/// assert_eq!(registry.metrics().tools["echo"].success(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Metered<H> {
    handler: H,
    registry: Registry,
    names: Mutex<Names>,
    /// The list that the client is reading.
    paging: Mutex<Paging>,
    /// The time of the last reading of the handler's list.
    listed: tokio::sync::Mutex<Option<Instant>>,
    connection: Arc<Connection>,
    number: u64,
    grace: Duration,
}

/// The calls of a [`Metered`] server that are in flight.
#[derive(Clone)]
pub struct OpenCalls(Arc<Connection>);

impl OpenCalls {
    /// Ends all of them as cancelled. Calls that come later are cancelled at once.
    pub fn end_all(&self) {
        self.0.close();
    }
}

impl fmt::Debug for OpenCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenCalls(..)")
    }
}

impl<H: ServerHandler> Metered<H> {
    /// Creates a server that meters the tool calls of `handler`.
    ///
    /// A tool is registered when its name is first seen, in the handler's list or in a call that
    /// [`ServerHandler::get_tool`] knows.
    pub fn new(handler: H, registry: &Registry) -> Self {
        Self {
            handler,
            registry: registry.clone(),
            names: Mutex::new(Names::new(registry, None, None)),
            paging: Mutex::default(),
            listed: tokio::sync::Mutex::default(),
            connection: Arc::default(),
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            grace: GRACE,
        }
    }

    /// Sets the time for which calls may go on after the client has closed its end. The default is
    /// 1 second.
    ///
    /// A client that has closed its end may still read the answers. One that started the server
    /// kills it 2 seconds later.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Returns the handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Serves a connection, and ends its calls with it. When [`waiting`](RunningService::waiting)
    /// returns, none is in flight.
    ///
    /// # Errors
    ///
    /// As [`serve_server`], if the client does not open the connection as the protocol says.
    pub async fn serve<T, E, A>(
        self,
        transport: T,
    ) -> Result<RunningService<RoleServer, Self>, ServerInitializeError>
    where
        T: IntoTransport<RoleServer, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let transport = self.transport(transport.into_transport());
        serve_server(self, transport).await
    }

    /// Wraps a transport so that the calls of this server end with its connection.
    /// [`serve`](Self::serve) does this by itself; this method is for rmcp's other ways to serve.
    ///
    /// Without it, a lost connection also cancels the calls, but only when rmcp cancels their
    /// tasks: after 5 seconds, and possibly after `waiting` has returned.
    pub fn transport<T: Transport<RoleServer>>(&self, transport: T) -> MeteredTransport<T> {
        MeteredTransport::new(transport, self.connection.clone())
    }

    /// Returns a handle that ends the calls of this server, for a host that is about to exit.
    pub fn calls(&self) -> OpenCalls {
        OpenCalls(Arc::clone(&self.connection))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paging(&self) -> MutexGuard<'_, Paging> {
        self.paging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the tool of this name, if the server has it and the registry has room for it.
    async fn tool(&self, name: &str, context: &RequestContext<RoleServer>) -> Option<ToolHandle> {
        if let Ok(Some(_)) = contained(|| self.handler.get_tool(name)) {
            let tool = self.names().get_or_add(name);
            return tool?.handle(&self.registry);
        }
        let known = self.names().get(name);
        if let Some(handle) = known.and_then(|tool| tool.handle(&self.registry)) {
            return Some(handle);
        }
        let mut listed = self.listed.lock().await;
        if listed.is_none_or(|at| at.elapsed() >= LIST_EVERY) {
            // A handler that hangs or panics gives no list, and the call goes on without one.
            let list = Contained::new(self.list(context));
            if let Ok(Ok(Some(names))) = timeout(LIST_EVERY, list).await {
                self.names().follow(names.iter().map(|name| &**name));
            }
            *listed = Some(Instant::now());
        }
        let tool = self.names().get(name);
        tool?.handle(&self.registry)
    }

    /// Asks the handler for the names of its tools. `None` if it does not return all of them.
    async fn list(&self, context: &RequestContext<RoleServer>) -> Option<Vec<Cow<'static, str>>> {
        let mut names = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = cursor
                .take()
                .map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
            let page = self.handler.list_tools(page, context.clone()).await.ok()?;
            names.extend(page.tools.into_iter().map(|tool| tool.name));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Some(names);
            }
        }
        None
    }

    /// Returns the context of a call.
    fn call_context(&self, context: &RequestContext<RoleServer>) -> CallContext {
        let client = context.client_info().map(|client| visible(&client.name));
        let http_session = http_session(context);
        let session = http_session.clone().unwrap_or_else(|| match &client {
            Some(client) => format!("{client}#{}", self.number),
            None => format!("#{}", self.number),
        });
        let id = request_id(&context.id);
        let mut call = CallContext::new(session)
            .call(&*id)
            .label(crate::attribute::KIND, "server")
            .label(crate::attribute::METHOD, "tools/call")
            .label(crate::attribute::REQUEST, id);
        if let Some(client) = client {
            call = call.label("mcp.client.name", client);
        }
        if let Some(version) = context.protocol_version() {
            call = call.label(crate::attribute::PROTOCOL, visible(version.as_str()));
        }
        if let Some(session) = http_session {
            call = call.label(crate::attribute::SESSION, session);
        }
        with_trace(call, &context.meta)
    }
}

/// Returns the session of a client over HTTP.
#[cfg(feature = "http")]
fn http_session(context: &RequestContext<RoleServer>) -> Option<String> {
    let parts = context.extensions.get::<http::request::Parts>()?;
    let session = parts.headers.get("mcp-session-id")?.to_str().ok()?;
    Some(visible(session))
}

#[cfg(not(feature = "http"))]
fn http_session(_: &RequestContext<RoleServer>) -> Option<String> {
    None
}

/// Returns the error that a client gets for a panic, without the message of the panic, which may
/// hold a secret.
fn panicked() -> ErrorData {
    ErrorData::internal_error("the tool panicked", None)
}

/// Returns the error of a call whose client is gone.
fn connection_lost() -> ErrorData {
    ErrorData::internal_error("the connection is closed", None)
}

impl<H: ServerHandler> Metered<H> {
    /// Runs one `tools/call`.
    async fn run(
        &self,
        request: CallToolRequestParams,
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = self.tool(&request.name, &context).await else {
            let asked = self.registry.unknown_call(&request.name);
            asked.context(self.call_context(&context)).count();
            let answer = Contained::new(async { self.handler.call_tool(request, context).await });
            return answer.await.unwrap_or_else(|_| Err(panicked()));
        };
        let call = tool
            .call()
            .context(self.call_context(&context))
            .start_owned();
        // The handler gets a child token, so that cancelling it cancels nothing else.
        let cancelled = context.ct.clone();
        context.ct = cancelled.child_token();
        let token = context.ct.clone();
        let answer = async { self.handler.call_tool(request, context).await };
        let mut answer = pin!(Contained::new(call.in_scope_async(answer)));
        let Some(in_flight) = self.connection.calls.enter(call) else {
            return Err(connection_lost());
        };
        let mut gone = pin!(async {
            self.connection.going.cancelled().await;
            sleep(self.grace).await;
        });
        let mut is_cancelled = false;
        let answer = loop {
            tokio::select! {
                biased;
                () = cancelled.cancelled(), if !is_cancelled => {
                    is_cancelled = true;
                    in_flight.end(OwnedCall::cancel);
                    // The handler goes on, as without metering, and rmcp drops its answer.
                }
                answer = answer.as_mut() => break answer,
                () = gone.as_mut() => {
                    in_flight.end(OwnedCall::cancel);
                    token.cancel();
                    answer.as_mut().leave();
                    return Err(connection_lost());
                }
            }
        };
        match answer {
            Ok(answer) => {
                in_flight.end(|call| {
                    if answer.is_plain_success() {
                        call.succeed()
                    } else {
                        call.finish(answer.verdict())
                    }
                });
                answer
            }
            Err(said) => {
                in_flight.end(|call| call.fail(ErrorKind::Panic, said.text()));
                Err(panicked())
            }
        }
    }
}

impl<H: ServerHandler + Clone> Clone for Metered<H> {
    /// Creates a server for another connection.
    fn clone(&self) -> Self {
        Self::new(self.handler.clone(), &self.registry).grace(self.grace)
    }
}

impl<H: fmt::Debug> fmt::Debug for Metered<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered")
            .field("handler", &self.handler)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
