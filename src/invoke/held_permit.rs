//! [`HeldPermit`]: the permit by which `AutoRun` limits the tools that run at once.

use tokio::sync::OwnedSemaphorePermit;

/// The permit of `AutoRun` that a call holds until its tool is done, or nothing.
///
/// A tool that blocks is done when its thread is free, even if the call has ended before.
#[derive(Debug, Default)]
pub(super) struct HeldPermit(
    #[allow(dead_code, reason = "it is only dropped")] pub(super) Option<OwnedSemaphorePermit>,
);

/// A clone belongs to another call, which holds nothing.
impl Clone for HeldPermit {
    fn clone(&self) -> Self {
        Self(None)
    }
}
