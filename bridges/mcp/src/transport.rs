//! A transport that ends the calls of its server with its connection.

use crate::live::Connection;
use rmcp::RoleServer;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

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
        self.transport.close().await
    }
}

impl<T> fmt::Debug for MeteredTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredTransport").finish_non_exhaustive()
    }
}
