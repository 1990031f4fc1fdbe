//! The connection of a client, by which its own calls and calls by name are sent.

use crate::trace;
use rmcp::RoleClient;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{Peer, ServiceError};
use std::sync::OnceLock;
use tokio_util::sync::CancellationToken;

/// The connection of a client, once it is open.
#[derive(Default)]
pub(crate) struct Link {
    peer: OnceLock<Peer<RoleClient>>,
    /// Cancelled when nothing comes from the server any more.
    gone: CancellationToken,
}

impl Link {
    /// Sets rmcp's peer. A client serves one connection, so a later peer is the same.
    pub(crate) fn attach(&self, peer: &Peer<RoleClient>) {
        let _ = self.peer.set(peer.clone());
    }

    pub(crate) fn peer(&self) -> Option<&Peer<RoleClient>> {
        self.peer.get()
    }

    /// Notes that nothing comes from the server any more. Calls in flight end.
    pub(crate) fn close(&self) {
        self.gone.cancel();
    }

    /// Returns rmcp's peer.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TransportClosed`] if the connection is not open.
    pub(crate) fn open_peer(&self) -> Result<&Peer<RoleClient>, ServiceError> {
        self.peer()
            .filter(|_| !self.is_closed())
            .ok_or(ServiceError::TransportClosed)
    }

    /// Returns whether nothing can be sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.gone.is_cancelled() || self.peer().is_none_or(Peer::is_transport_closed)
    }

    /// Sends one call.
    ///
    /// # Errors
    ///
    /// As rmcp, and [`ServiceError::TransportClosed`] as soon as the connection is closed. rmcp
    /// returns it only after it has closed the transport, which may take long.
    pub(crate) async fn send(
        &self,
        mut params: CallToolRequestParams,
    ) -> Result<CallToolResult, ServiceError> {
        trace::inject(&mut params);
        let peer = self.open_peer()?;
        tokio::select! {
            biased;
            answer = peer.call_tool(params) => answer,
            () = self.gone.cancelled() => Err(ServiceError::TransportClosed),
        }
    }
}
