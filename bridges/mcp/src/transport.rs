//! A transport that ends the calls of a server, or of a client, with the connection.
//!
//! Guarantee: it is closed within [`CLOSE_LIMIT`], also if the other side does not read what is still
//! being written to it.

use crate::link::Link;
use crate::live::Connection;
use rmcp::service::{RxJsonRpcMessage, ServiceRole, TxJsonRpcMessage};
use rmcp::transport::Transport;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The time limit of closing a transport. rmcp gives a server that it started 3 seconds to end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// What ends with a connection: the calls of a server, or the link of a client.
pub(crate) trait End: Send + Sync {
    /// Notes that the other side sends no more.
    fn close_input(&self);

    /// Notes that the other side can no longer be reached.
    fn close(&self);
}

impl End for Connection {
    fn close_input(&self) {
        self.close_input();
    }

    fn close(&self) {
        self.close();
    }
}

/// A client's call needs an answer, so it ends as soon as nothing comes any more.
impl End for Link {
    fn close_input(&self) {
        self.close();
    }

    fn close(&self) {
        self.close();
    }
}

/// A transport that ends the calls of a lost connection; see
/// [`Metered::transport`](crate::Metered::transport).
pub struct MeteredTransport<T> {
    transport: T,
    end: Arc<dyn End>,
}

impl<T> MeteredTransport<T> {
    pub(crate) fn new(transport: T, end: Arc<dyn End>) -> Self {
        Self { transport, end }
    }
}

impl<R: ServiceRole, T: Transport<R>> Transport<R> for MeteredTransport<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<R>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.transport.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<R>> {
        let message = self.transport.receive().await;
        if message.is_none() {
            self.end.close_input();
        }
        message
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.end.close();
        let closed = timeout(CLOSE_LIMIT, self.transport.close()).await;
        closed.unwrap_or(Ok(()))
    }
}

/// Without the transport nothing can be sent, however the connection ended.
impl<T> Drop for MeteredTransport<T> {
    fn drop(&mut self) {
        self.end.close_input();
        self.end.close();
    }
}

impl<T> fmt::Debug for MeteredTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredTransport").finish_non_exhaustive()
    }
}
