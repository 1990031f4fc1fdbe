//! A metered client: [`MeteredClient`], the handler, and [`MeteredPeer`], which calls the tools.
//!
//! Guarantees:
//!
//! - Each call of a tool that the server lists is one call of that tool. It ends by its answer, as
//!   `timeout`, as `network` if the server is gone, or as cancelled if it is dropped. A call by
//!   another name is sent, too, and is one unknown call.
//! - The registered tools follow the server's list, and are deregistered when the client is
//!   dropped. Their counts stay. A server that is connected again keeps its tools, and calls by name
//!   go to its newest open connection (`held.rs`).
//! - A list is read up to a limit, whatever the server sends. Any number of changes during a
//!   reading cost one more reading.
//!
//! # Orderings
//!
//! | word | orderings | reason |
//! | --- | --- | --- |
//! | `is_stale` | `AcqRel` swap, `Release` store | the thread that clears the mark reads the list after the change for which it was set |

mod call;
mod handler;

pub use call::PeerCall;

use crate::link::Link;
use crate::names::{Listed, MAX_TOOLS, Names};
use crate::transport::MeteredTransport;
use rmcp::model::*;
use rmcp::service::{ClientInitializeError, Peer, RunningService};
use rmcp::transport::IntoTransport;
use rmcp::{ClientHandler, RoleClient, ServiceError, serve_client};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use toolmeter::Registry;

/// The most pages of a list.
const MAX_PAGES: usize = 1_000;

/// The time limit of reading the list.
const LIST_LIMIT: Duration = Duration::from_secs(30);

/// A client whose tool calls are metered: a [`ClientHandler`] around any other.
///
/// # Examples
///
/// ```
/// # use rmcp::{ServerHandler, ServiceExt};
/// # struct Empty;
/// # impl ServerHandler for Empty {
/// #     fn get_info(&self) -> rmcp::model::ServerConfig {
/// #         let tools = rmcp::model::ServerCapabilities::builder().enable_tools().build();
/// #         rmcp::model::ServerConfig::new(tools)
/// #     }
/// # }
/// use rmcp::model::CallToolRequestParams;
/// use std::time::Duration;
/// use toolmeter_mcp::MeteredClient;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let (near, transport) = tokio::io::duplex(4_096);
/// # let server = tokio::spawn(Empty.serve(near));
/// let registry = toolmeter::Registry::new();
/// let client = MeteredClient::new((), &registry).server("github").serve(transport).await?;
/// let github = client.service().peer();
/// let search = github.call_tool(CallToolRequestParams::new("search"));
/// let answer = search.attempt(2).within(Duration::from_secs(30)).await;
/// # assert!(answer.is_err());
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MeteredClient<H> {
    handler: H,
    registry: Registry,
    peer: MeteredPeer,
}

impl<H: ClientHandler> MeteredClient<H> {
    /// Creates a client that meters its calls. The server's tools are registered by their own
    /// names.
    pub fn new(handler: H, registry: &Registry) -> Self {
        Self {
            handler,
            registry: registry.clone(),
            peer: MeteredPeer::new(registry, None),
        }
    }

    /// Sets the server's name, for hosts with several servers. Its tools are registered as
    /// `name/tool`.
    ///
    /// If a host connects to a server again under the same name, the tools stay registered, and
    /// calls by name go to the newest open connection.
    #[must_use]
    pub fn server(mut self, name: &str) -> Self {
        self.peer = MeteredPeer::new(&self.registry, Some(name));
        self
    }

    /// Opens a connection and registers the tools that the server lists.
    ///
    /// A list that cannot be read is not an error. [`MeteredPeer::refresh`] returns the reason, and
    /// later changes are followed.
    ///
    /// # Errors
    ///
    /// As [`serve_client`], if the server does not open the connection as the protocol says.
    pub async fn serve<T, E, A>(
        self,
        transport: T,
    ) -> Result<RunningService<RoleClient, Self>, ClientInitializeError>
    where
        T: IntoTransport<RoleClient, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let peer = self.peer.clone();
        let transport = MeteredTransport::new(transport.into_transport(), peer.0.link.clone());
        let running = serve_client(self, transport).await?;
        peer.attach(running.peer());
        let _ = peer.refresh().await;
        Ok(running)
    }

    /// Returns the peer that calls the server's tools. Its clones call the same server.
    pub fn peer(&self) -> &MeteredPeer {
        &self.peer
    }

    /// Returns the handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }
}

/// A client's side of a server, through which calls are metered.
///
/// The tools are also registered as [`Tool`](toolmeter::Tool)s, so that
/// [`Registry::invoke`] and `AutoRun` call them by name.
///
/// A client and its peers keep the registry alive. So a tool of the same registry must not own one:
/// neither would be dropped before the tool is deregistered.
#[derive(Clone)]
pub struct MeteredPeer(Arc<Inner>);

struct Inner {
    registry: Registry,
    server: Option<Box<str>>,
    link: Arc<Link>,
    names: Mutex<Names>,
    /// Held while a list is read.
    reading: tokio::sync::Mutex<()>,
    /// Set if the list changed since the last reading of it began.
    is_stale: AtomicBool,
}

impl Inner {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all pages of the list.
    async fn list(&self) -> Result<Vec<Tool>, ServiceError> {
        let peer = self.link.open_peer()?;
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let request = cursor
                .take()
                .map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
            let page = peer.list_tools(request).await?;
            tools.extend(page.tools);
            cursor = page.next_cursor;
            if cursor.is_none() || tools.len() > MAX_TOOLS {
                break;
            }
        }
        Ok(tools)
    }
}

impl MeteredPeer {
    fn new(registry: &Registry, server: Option<&str>) -> Self {
        let link = Arc::<Link>::default();
        Self(Arc::new(Inner {
            registry: registry.clone(),
            server: server.map(Into::into),
            names: Mutex::new(Names::new(registry, server, Some(&link))),
            link,
            reading: tokio::sync::Mutex::default(),
            is_stale: AtomicBool::new(false),
        }))
    }

    fn attach(&self, peer: &Peer<RoleClient>) {
        self.0.link.attach(peer);
    }

    /// Returns a call of a tool by the server's own name. It is sent when it is awaited.
    pub fn call_tool(&self, params: CallToolRequestParams) -> PeerCall<'_> {
        PeerCall::new(&self.0, params)
    }

    /// Reads the server's list of tools, and registers the tools in it. A tool that is no longer in
    /// the list is deregistered, and continues its counts when it comes back.
    ///
    /// It is called automatically when the connection is opened, and when the server announces a
    /// change of its list.
    ///
    /// # Errors
    ///
    /// [`ServiceError`] if the list cannot be read, within 30 seconds. The registered tools then
    /// stay. rmcp may answer with a list that it has kept, for as long as the server allows.
    pub async fn refresh(&self) -> Result<Listed, ServiceError> {
        let _reading = self.0.reading.lock().await;
        self.0.is_stale.store(false, Ordering::Release);
        let list = timeout(LIST_LIMIT, self.0.list()).await;
        let tools = list.map_err(|_| ServiceError::Timeout {
            timeout: LIST_LIMIT,
        })??;
        let names = tools.iter().map(|tool| &*tool.name);
        Ok(self.0.names().follow(names))
    }

    /// Follows a change of the list.
    async fn list_changed(&self) {
        // The reading that is about to begin covers all changes until then.
        if self.0.is_stale.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.refresh().await.is_err() {
            self.0.is_stale.store(false, Ordering::Release);
        }
    }

    /// Returns rmcp's peer, for everything but tool calls. `None` before the connection is open.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer<RoleClient>> {
        self.0.link.peer()
    }
}

impl fmt::Debug for MeteredPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredPeer")
            .field("server", &self.0.server)
            .finish_non_exhaustive()
    }
}
