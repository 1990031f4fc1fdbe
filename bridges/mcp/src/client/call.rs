//! One call of a server's tool.

use super::Inner;
use crate::attribute;
use crate::verdict::verdict;
use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;
use toolmeter::CallContext;

/// One call of a server's tool; see [`MeteredPeer::call_tool`](super::MeteredPeer::call_tool).
#[must_use = "nothing is sent until the call is awaited"]
pub struct PeerCall<'a> {
    inner: &'a Inner,
    params: CallToolRequestParams,
    attempt: u16,
    context: Option<CallContext>,
    limit: Option<Duration>,
}

impl<'a> PeerCall<'a> {
    pub(super) fn new(inner: &'a Inner, params: CallToolRequestParams) -> Self {
        Self {
            inner,
            params,
            attempt: 1,
            context: None,
            limit: None,
        }
    }

    /// Sets the number of the attempt, counted from 1.
    pub fn attempt(mut self, attempt: u16) -> Self {
        self.attempt = attempt;
        self
    }

    /// Sets the host's context of the call. The names of the server and of its tool are added as
    /// the labels `mcp.server` and `gen_ai.tool.name`.
    pub fn context(mut self, context: CallContext) -> Self {
        self.context = Some(context);
        self
    }

    /// Sets the time limit of the call. When it has passed, the server is told that the call is
    /// cancelled.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl<'a> IntoFuture for PeerCall<'a> {
    type Output = Result<CallToolResult, ServiceError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let inner = self.inner;
            let mut context = self.context.unwrap_or_else(|| CallContext::new(""));
            context = context
                .label(attribute::KIND, "client")
                .label(attribute::METHOD, "tools/call")
                .label(attribute::TOOL, &*self.params.name);
            if let Some(server) = &inner.server {
                context = context.label("mcp.server", &**server);
            }
            let tool = inner.names().get(&self.params.name);
            let Some(tool) = tool.and_then(|tool| tool.handle(&inner.registry)) else {
                let asked = inner.registry.unknown_call(&self.params.name);
                asked.attempt(self.attempt).context(context).count();
                let sent = inner.link.send(self.params);
                return match self.limit {
                    None => sent.await,
                    Some(limit) => match timeout(limit, sent).await {
                        Ok(answer) => answer,
                        Err(_) => Err(ServiceError::Timeout { timeout: limit }),
                    },
                };
            };
            let call = tool.call().attempt(self.attempt).context(context);
            let call = call.classify(verdict);
            let sent = inner.link.send(self.params);
            match self.limit {
                None => call.run_async(sent).await,
                Some(limit) => match call.within(limit).run_async(sent).await {
                    Ok(answer) => answer,
                    Err(_) => Err(ServiceError::Timeout { timeout: limit }),
                },
            }
        })
    }
}

impl fmt::Debug for PeerCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCall")
            .field("name", &self.params.name)
            .field("attempt", &self.attempt)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
