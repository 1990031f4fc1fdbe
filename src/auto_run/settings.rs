//! [`Settings`]: the settings that all calls of a run share.

use super::approval::Approval;
use super::backoff::NewBackoff;
use super::tool_call::ToolCall;
use crate::contain::discard;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use toolmeter_core::ErrorKind;

type ApprovalFuture = Pin<Box<dyn Future<Output = Approval> + Send>>;

/// The host's approver.
pub(super) type Approver = dyn Fn(ToolCall) -> ApprovalFuture + Send + Sync;

/// The settings that all calls of a run share.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) time_limit: Option<Duration>,
    pub(super) max_attempts: u16,
    /// Always `Some` until it is dropped.
    pub(super) backoff: Option<Arc<NewBackoff>>,
    pub(super) retry_on: Arc<[ErrorKind]>,
    pub(super) approver: Option<Arc<Approver>>,
    pub(super) cancel_token: CancellationToken,
}

/// Drops the host's closures, which may panic.
impl Drop for Settings {
    fn drop(&mut self) {
        discard(self.backoff.take());
        discard(self.approver.take());
    }
}

/// A run changes none of its settings, and contains the panics of the host's closures. These are
/// shared with other runs, so they must be able to go on after a panic in any case.
impl UnwindSafe for Settings {}
impl RefUnwindSafe for Settings {}
