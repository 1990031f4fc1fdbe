//! Tools whose answer is a stream: metered from the first poll to the end of the stream.
//!
//! Promises:
//!
//! - The items pass as they are, and so does the end.
//! - The call ends once: with the first item that is judged a failure (or cancelled, or rejected),
//!   else as a success with the end of the stream, else as cancelled when the stream is dropped.
//!   Items after that are passed on and not judged.
//! - A stream that panics is counted as `panic`, and the panic goes on.

use crate::call::{CallGuard, CallOptions, OwnedCall};
use crate::classify::{ByType, Judge};
use crate::contain::{Contained, contained};
use crate::handle::ToolHandle;
use crate::run::{CallBuilder, judged};
use futures_core::Stream;
use pin_project_lite::pin_project;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use toolmeter_core::Outcome;

/// Where a metered stream stands.
enum Stage {
    /// It was not polled yet.
    New(ToolHandle, CallOptions),
    Running(OwnedCall),
    Ended,
}

pin_project! {
    /// A stream that is metered; see [`ToolHandle::run_stream`].
    #[must_use = "streams do nothing unless they are polled"]
    pub struct MeteredStream<S, C, M> {
        // In front of the stream, so that a call that is dropped is counted before its stream is
        // dropped.
        stage: Stage,
        rule: C,
        time_to_first_item: Option<Duration>,
        #[pin]
        stream: Contained<S>,
        marker: PhantomData<fn() -> M>,
    }
}

impl ToolHandle {
    /// Meters a tool whose answer is a stream.
    ///
    /// The call begins at the first poll. It ends with the first item that is an error, else as a
    /// success with the end of the stream; if the stream is dropped before, it is cancelled. Items
    /// are judged by their type, as results of [`run`](Self::run) are;
    /// [`CallBuilder::run_stream`] takes a rule of the host's own.
    ///
    /// # Examples
    ///
    /// The time to the first item, and that of the whole answer:
    ///
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use toolmeter::{ClockSource, ManualClock, Pump, Registry};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let clock = Arc::new(ManualClock::new());
    /// let source = ClockSource::Manual(Arc::clone(&clock));
    /// let registry = Registry::builder().clock(source).pump(Pump::manual()).build()?;
    /// let complete = registry.register("complete")?;
    ///
    /// let words = stream::iter(["to", "be"]).map(|word| {
    ///     clock.advance(Duration::from_millis(200));
    ///     Ok::<_, String>(word)
    /// });
    /// let mut words = std::pin::pin!(complete.run_stream(words));
    /// assert_eq!(words.next().await, Some(Ok("to")));
    /// assert_eq!(words.time_to_first_item(), Some(Duration::from_millis(200)));
    /// assert_eq!(words.next().await, Some(Ok("be")));
    /// assert_eq!(words.next().await, None);
    /// let metrics = registry.metrics();
    /// assert_eq!(metrics.tools["complete"].last_latency(), Some(Duration::from_millis(400)));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn run_stream<S, M>(&self, stream: S) -> MeteredStream<S, ByType, M>
    where
        S: Stream,
        ByType: Judge<S::Item, M>,
    {
        self.call().run_stream(stream)
    }
}

impl<C> CallBuilder<'_, C> {
    /// Meters a tool whose answer is a stream; see [`ToolHandle::run_stream`].
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use toolmeter::{ErrorKind, Registry, Verdict};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::new();
    /// let complete = registry.register("complete")?;
    /// let judge = |word: &&str| match *word {
    ///     "[error]" => Verdict::failure(ErrorKind::Provider),
    ///     _ => Verdict::success(),
    /// };
    /// let words = stream::iter(["to", "be", "[error]"]);
    /// let words: Vec<_> = complete.call().classify(judge).run_stream(words).collect().await;
    /// assert_eq!(words.len(), 3);
    /// assert_eq!(registry.metrics().tools["complete"].failure(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn run_stream<S, M>(self, stream: S) -> MeteredStream<S, C, M>
    where
        S: Stream,
        C: Judge<S::Item, M> + Clone,
    {
        let (handle, options, rule) = self.into_parts();
        MeteredStream {
            stage: Stage::New(handle.clone(), options),
            rule,
            time_to_first_item: None,
            stream: Contained::new(stream),
            marker: PhantomData,
        }
    }
}

impl<S, C, M> MeteredStream<S, C, M> {
    /// Returns the time from the first poll to the first item; `None` before it came.
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
            unreachable!("the stream is dropped with this");
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
        let verdict = match &item {
            None => {
                if let Stage::Running(call) = mem::replace(this.stage, Stage::Ended) {
                    call.succeed();
                }
                return Poll::Ready(None);
            }
            Some(item) => {
                this.time_to_first_item
                    .get_or_insert_with(|| call.elapsed());
                contained(|| this.rule.clone()).and_then(|rule| judged(call, rule, item))
            }
        };
        let goes_on = matches!(&verdict, Ok(verdict) if verdict.outcome() == Outcome::Success);
        if !goes_on && let Stage::Running(call) = mem::replace(this.stage, Stage::Ended) {
            match verdict {
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
