//! [`Running`]: a call by name whose tool runs in the future of its caller.

#[cfg(feature = "tokio")]
use super::answer::time_out;
use super::answer::{Invoked, JudgeAnswer, Returned, conclude};
#[cfg(feature = "tokio")]
use super::held_permit::HeldPermit;
#[cfg(feature = "tokio")]
use super::limit::Limit;
use crate::call::OwnedCall;
use crate::contain::Contained;
use crate::tool::ToolFuture;
use std::pin::Pin;
use std::task::{Context, Poll};
#[cfg(feature = "tokio")]
use std::time::Duration;

/// A call whose tool runs in the future of its caller.
pub(super) struct Running<C> {
    // Declared before the tool, so that a call that is dropped is counted before its future is
    // dropped.
    pub(super) call: OwnedCall,
    pub(super) rule: C,
    pub(super) tool: Contained<ToolFuture>,
    #[cfg(feature = "tokio")]
    pub(super) limit: Option<Limit>,
    // Declared after the tool: the next call gets the permit when this one is over.
    #[cfg(feature = "tokio")]
    pub(super) _permit: HeldPermit,
}

/// The end of a call.
pub(super) enum Ended {
    Returned(Returned),
    #[cfg(feature = "tokio")]
    TimedOut(Duration),
}

impl<C: JudgeAnswer> Running<C> {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        if let Poll::Ready(returned) = self.call.poll(Pin::new(&mut self.tool), context) {
            return Poll::Ready(Ended::Returned(returned));
        }
        #[cfg(feature = "tokio")]
        if let Some(timed_out) = self.poll_limit(context) {
            return Poll::Ready(timed_out);
        }
        Poll::Pending
    }

    /// Returns the end of the call if its time limit is over.
    #[cfg(feature = "tokio")]
    pub(super) fn poll_limit(&mut self, context: &mut Context<'_>) -> Option<Ended> {
        let limit = self.limit.as_mut()?;
        limit
            .is_over(context)
            .then_some(Ended::TimedOut(limit.limit))
    }

    pub(super) fn end(self, ended: Ended) -> Invoked {
        match ended {
            Ended::Returned(returned) => conclude(self.call, self.rule, returned),
            // The tool's future is dropped after that.
            #[cfg(feature = "tokio")]
            Ended::TimedOut(limit) => time_out(self.call, limit),
        }
    }
}
