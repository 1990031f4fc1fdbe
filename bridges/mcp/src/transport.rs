//! Transports that end the calls of a server, and of a client, with the connection.
//!
//! Guarantee: a transport is closed within [`CLOSE_LIMIT`], also if the other side does not read what
//! is still being written to it.

use crate::link::Link;
use crate::live::Connection;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::{RoleClient, RoleServer};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The time limit of closing a transport. rmcp gives a server that it started 3 seconds to end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Closes a transport, or gives up.
async fn close<R: rmcp::service::ServiceRole, T: Transport<R>>(
    transport: &mut T,
) -> Result<(), T::Error> {
    let closed = timeout(CLOSE_LIMIT, transport.close()).await;
    closed.unwrap_or(Ok(()))
}

/// A server's transport that ends the calls of a lost connection; see
/// [`Metered::transport`](crate::Metered::transport).
pub struct MeteredTransport<T> {
    transport: T,
    connection: Arc<Connection>,
}

impl<T> MeteredTransport<T> {
    pub(crate) fn new(transport: T, connection: Arc<Connection>) -> Self {
        Self {
            transport,
            connection,
        }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for MeteredTransport<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.transport.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let message = self.transport.receive().await;
        if message.is_none() {
            self.connection.close_input();
        }
        message
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.connection.close();
        close(&mut self.transport).await
    }
}

/// Without the transport nothing can be answered, however its connection ended.
impl<T> Drop for MeteredTransport<T> {
    fn drop(&mut self) {
        self.connection.close_input();
        self.connection.close();
    }
}

impl<T> fmt::Debug for MeteredTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredTransport").finish_non_exhaustive()
    }
}

/// A client's transport that tells its link when the connection is lost.
pub(crate) struct LinkedTransport<T> {
    transport: T,
    link: Arc<Link>,
}

impl<T> LinkedTransport<T> {
    pub(crate) fn new(transport: T, link: &Arc<Link>) -> Self {
        Self {
            transport,
            link: Arc::clone(link),
        }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for LinkedTransport<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.transport.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let message = self.transport.receive().await;
        if message.is_none() {
            self.link.close();
        }
        message
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.link.close();
        close(&mut self.transport).await
    }
}

impl<T> Drop for LinkedTransport<T> {
    fn drop(&mut self) {
        self.link.close();
    }
}
