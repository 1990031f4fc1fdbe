//! [`MeteredStream`]: a stream that is metered as a call, from its first poll to its end.
//!
//! Promises:
//!
//! - The items are passed on as they are, and so is the end.
//! - The call ends once: with the first item that is judged as anything but a success, else as a
//!   success with the end of the stream, else as cancelled when the stream is dropped. Items after
//!   the end of the call are passed on and not judged.
//! - If the stream panics, the call is counted as `panic`, and the panic goes on.

use crate::call::{CallGuard, OwnedCall};
use crate::call_options::CallOptions;
use crate::classify::Judge;
use crate::contain::{Contained, contained};
use crate::judging::verdict;
use crate::tool_state::ToolHandle;
use futures_core::Stream;
use pin_project_lite::pin_project;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use toolmeter_core::Outcome;

/// The state of a metered stream.
enum Stage {
    /// It was not polled yet.
    New(ToolHandle, CallOptions),
    Running(OwnedCall),
    Ended,
}

pin_project! {
    /// A stream that is metered as a call; see [`ToolHandle::run_stream`].
    #[must_use = "streams do nothing unless they are polled"]
    pub struct MeteredStream<S, C, M> {
        // Declared before the stream, so that a call that is dropped is counted before its stream
        // is dropped.
        stage: Stage,
        rule: C,
        time_to_first_item: Option<Duration>,
        #[pin]
        stream: Contained<S>,
        marker: PhantomData<fn() -> M>,
    }
}

impl<S, C, M> MeteredStream<S, C, M> {
    pub(crate) fn new(handle: ToolHandle, options: CallOptions, rule: C, stream: S) -> Self {
        Self {
            stage: Stage::New(handle, options),
            rule,
            time_to_first_item: None,
            stream: Contained::new(stream),
            marker: PhantomData,
        }
    }

    /// Returns the time from the first poll to the first item; `None` before the first item.
    #[must_use]
    pub fn time_to_first_item(&self) -> Option<Duration> {
        self.time_to_first_item
    }
}

impl<S, C, M> Stream for MeteredStream<S, C, M>
where
    S: Stream,
    C: Judge<S::Item, M> + Clone,
{
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if matches!(this.stage, Stage::New(..))
            && let Stage::New(handle, options) = mem::replace(this.stage, Stage::Ended)
        {
            *this.stage = Stage::Running(CallGuard::begin(handle, options));
        }
        let Some(stream) = this.stream.get() else {
            unreachable!("the stream is dropped with its metered stream");
        };
        let next = || stream.poll_next(context);
        let polled = match &*this.stage {
            Stage::Running(call) => call.within(next),
            Stage::New(..) | Stage::Ended => contained(next),
        };
        let item = match polled {
            Ok(polled) => ready!(polled),
            Err(panicked) => {
                if let Stage::Running(call) = mem::replace(this.stage, Stage::Ended) {
                    call.panicked(&panicked);
                }
                panicked.resume();
            }
        };
        let Stage::Running(call) = &*this.stage else {
            return Poll::Ready(item);
        };
        let judged = match &item {
            None => {
                if let Stage::Running(call) = mem::replace(this.stage, Stage::Ended) {
                    call.succeed();
                }
                return Poll::Ready(None);
            }
            Some(item) => {
                this.time_to_first_item
                    .get_or_insert_with(|| call.elapsed());
                contained(|| this.rule.clone()).and_then(|rule| verdict(call, rule, item))
            }
        };
        let goes_on = matches!(&judged, Ok(verdict) if verdict.outcome() == Outcome::Success);
        if !goes_on && let Stage::Running(call) = mem::replace(this.stage, Stage::Ended) {
            match judged {
                Ok(verdict) => {
                    call.finish(verdict);
                }
                Err(panicked) => {
                    call.panicked(&panicked);
                    panicked.resume();
                }
            }
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.peek().map_or((0, None), Stream::size_hint)
    }
}

impl<S, C, M> fmt::Debug for MeteredStream<S, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredStream")
            .field("time_to_first_item", &self.time_to_first_item)
            .finish_non_exhaustive()
    }
}
