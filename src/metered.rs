//! [`Metered`]: a future that is metered as a call, from its first poll to its end.
//!
//! A call that exceeds a time limit is counted as a `timeout` first, and then the tool's future is
//! dropped. So the call is not counted as cancelled.

use crate::call::{Call, CallGuard};
use crate::call_options::CallOptions;
use crate::classify::Judge;
use crate::contain::Contained;
#[cfg(feature = "tokio")]
use crate::error::TimeLimitExceeded;
use crate::judging::end_by_result;
use crate::tool_state::ToolHandle;
use pin_project_lite::pin_project;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
#[cfg(feature = "tokio")]
use std::time::Duration;
#[cfg(feature = "tokio")]
use toolmeter_core::ErrorKind;

/// The state of a metered future.
enum Stage<'a, C> {
    /// It was not polled yet.
    New(&'a ToolHandle, CallOptions, C),
    Running(Call<'a>, C),
    Ended,
}

pin_project! {
    /// A future that is metered from its first poll to its end.
    pub(crate) struct Metered<'a, F, C, M> {
        // Declared before the tool, so that a call that is dropped is counted before the tool's
        // future is dropped.
        stage: Stage<'a, C>,
        #[pin]
        tool: Contained<F>,
        marker: PhantomData<fn() -> M>,
    }
}

impl<'a, F, C, M> Metered<'a, F, C, M> {
    #[inline]
    pub(crate) fn new(handle: &'a ToolHandle, options: CallOptions, rule: C, tool: F) -> Self {
        Self {
            stage: Stage::New(handle, options, rule),
            tool: Contained::new(tool),
            marker: PhantomData,
        }
    }

    /// Ends the call as a time-out, and then drops the tool's future.
    #[cfg(feature = "tokio")]
    pub(crate) fn time_out(self: Pin<&mut Self>, limit: Duration) -> TimeLimitExceeded {
        let error = TimeLimitExceeded { limit };
        let this = self.project();
        if let Stage::Running(call, _) = mem::replace(this.stage, Stage::Ended) {
            call.fail(ErrorKind::Timeout, error);
        }
        this.tool.discard();
        error
    }
}

impl<F, C, M> Future for Metered<'_, F, C, M>
where
    F: Future,
    C: Judge<F::Output, M>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // A call that ends in this poll is never stored in the future.
        let (call, rule) = match mem::replace(this.stage, Stage::Ended) {
            Stage::New(handle, options, rule) => (CallGuard::begin(handle, options), rule),
            Stage::Running(call, rule) => (call, rule),
            Stage::Ended => panic!("a call was polled after it had ended"),
        };
        match call.poll(this.tool, context) {
            Poll::Pending => {
                *this.stage = Stage::Running(call, rule);
                Poll::Pending
            }
            Poll::Ready(Ok(output)) => {
                end_by_result(call, rule, &output);
                Poll::Ready(output)
            }
            Poll::Ready(Err(panicked)) => {
                call.panicked(&panicked);
                panicked.resume()
            }
        }
    }
}
