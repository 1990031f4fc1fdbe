//! The connection of a client, by which its own calls and calls by name are sent.

use crate::trace;
use rmcp::RoleClient;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{Peer, ServiceError};
use std::sync::OnceLock;

/// The connection of a client, once it is open.
#[derive(Default)]
pub(crate) struct Link(OnceLock<Peer<RoleClient>>);

impl Link {
    /// Sets rmcp's peer. A client serves one connection, so a later peer is the same.
    pub(crate) fn attach(&self, peer: &Peer<RoleClient>) {
        let _ = self.0.set(peer.clone());
    }

    pub(crate) fn peer(&self) -> Option<&Peer<RoleClient>> {
        self.0.get()
    }

    /// Returns rmcp's peer.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TransportClosed`] if the connection was never open.
    pub(crate) fn open_peer(&self) -> Result<&Peer<RoleClient>, ServiceError> {
        self.peer().ok_or(ServiceError::TransportClosed)
    }

    /// Returns whether nothing can be sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.peer().is_none_or(Peer::is_transport_closed)
    }

    /// Sends one call.
    pub(crate) async fn send(
        &self,
        mut params: CallToolRequestParams,
    ) -> Result<CallToolResult, ServiceError> {
        trace::inject(&mut params);
        self.open_peer()?.call_tool(params).await
    }
}
