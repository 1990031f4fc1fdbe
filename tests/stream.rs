//! Tools whose answer is a stream: the beginning and the end of the call, its counts, and the
//! items, which pass unchanged.
#![cfg(all(feature = "stream", not(toolmeter_loom)))]

mod common;

use common::{counts, host};
use futures_util::{Stream, StreamExt, stream};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use toolmeter::{CallContext, ErrorKind, EventKind, ManualClock, ToolError, Verdict};

const SECOND: Duration = Duration::from_secs(1);

fn next<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

/// The action of a stream at a poll.
enum Step {
    Gives(Result<u32, ToolError>),
    Waits,
    Panics,
}

use Step::{Gives, Panics, Waits};

/// A stream of these steps, which take a second each.
struct Steps(VecDeque<Step>, Arc<ManualClock>);

impl Stream for Steps {
    type Item = Result<u32, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.1.advance(SECOND);
        match self.0.pop_front() {
            Some(Gives(item)) => Poll::Ready(Some(item)),
            Some(Waits) => Poll::Pending,
            Some(Panics) => resume_unwind(Box::new("out of cheese")),
            None => Poll::Ready(None),
        }
    }
}

fn steps(clock: &Arc<ManualClock>, steps: impl IntoIterator<Item = Step>) -> Steps {
    Steps(steps.into_iter().collect(), Arc::clone(clock))
}

fn refused() -> Result<u32, ToolError> {
    Err(ToolError::new(ErrorKind::RateLimited, "in 30 s"))
}

#[test]
fn a_stream_that_ends_is_a_success_of_the_whole_time() {
    let (registry, tool, clock) = host();
    let mut stream = tool.run_stream(steps(&clock, [Waits, Gives(Ok(1)), Waits, Gives(Ok(2))]));
    clock.advance(SECOND);
    assert_eq!(counts(&registry), (0, 0, 0, 0), "it was not polled");
    assert_eq!(next(&mut stream), Poll::Pending);
    assert_eq!(counts(&registry), (0, 0, 0, 1));
    assert_eq!(stream.time_to_first_item(), None);
    assert_eq!(next(&mut stream), Poll::Ready(Some(Ok(1))));
    assert_eq!(stream.time_to_first_item(), Some(2 * SECOND));
    assert_eq!(next(&mut stream), Poll::Pending);
    assert_eq!(next(&mut stream), Poll::Ready(Some(Ok(2))));
    assert_eq!(stream.time_to_first_item(), Some(2 * SECOND));
    assert_eq!(counts(&registry), (0, 0, 0, 1));
    assert_eq!(next(&mut stream), Poll::Ready(None));
    assert_eq!(counts(&registry), (1, 0, 0, 0));
    // The inner stream decides what comes after its end.
    assert_eq!(next(&mut stream), Poll::Ready(None));
    drop(stream);
    assert_eq!(counts(&registry), (1, 0, 0, 0));
    let latency = registry.metrics().tools["tool"].latency.success.sum();
    assert_eq!(latency, 5 * SECOND);
}

#[test]
fn the_first_item_that_is_an_error_is_the_failure_and_later_ones_pass() {
    let (registry, tool, clock) = host();
    let later = Err(ToolError::new(ErrorKind::Network, "reset"));
    let mut stream = tool.run_stream(steps(
        &clock,
        [
            Gives(Ok(1)),
            Gives(refused()),
            Gives(Ok(2)),
            Gives(later.clone()),
        ],
    ));
    assert_eq!(next(&mut stream), Poll::Ready(Some(Ok(1))));
    assert_eq!(next(&mut stream), Poll::Ready(Some(refused())));
    assert_eq!(counts(&registry), (0, 1, 0, 0));
    assert_eq!(next(&mut stream), Poll::Ready(Some(Ok(2))));
    assert_eq!(next(&mut stream), Poll::Ready(Some(later)));
    assert_eq!(next(&mut stream), Poll::Ready(None));
    drop(stream);
    assert_eq!(counts(&registry), (0, 1, 0, 0));
    let metrics = registry.metrics();
    let stats = &metrics.tools["tool"];
    assert_eq!(stats.failures_by_kind[&ErrorKind::RateLimited], 1);
    let error = stats.last_error.as_ref().unwrap();
    assert_eq!(error.message.as_deref(), Some("in 30 s"));
    assert_eq!(stats.latency.failure.sum(), 2 * SECOND);
}

#[test]
fn a_stream_whose_first_item_is_an_error_has_a_time_to_it() {
    let (registry, tool, clock) = host();
    let mut stream = tool.run_stream(steps(&clock, [Gives(refused())]));
    assert_eq!(next(&mut stream), Poll::Ready(Some(refused())));
    assert_eq!(stream.time_to_first_item(), Some(SECOND));
    assert_eq!(counts(&registry), (0, 1, 0, 0));
}

#[test]
fn a_stream_that_is_dropped_is_cancelled_unless_it_never_began() {
    let (registry, tool, clock) = host();
    drop(tool.run_stream(steps(&clock, [Gives(Ok(1))])));
    assert_eq!(counts(&registry), (0, 0, 0, 0));
    let mut stream = tool.run_stream(steps(&clock, [Gives(Ok(1)), Gives(Ok(2))]));
    assert_eq!(next(&mut stream), Poll::Ready(Some(Ok(1))));
    drop(stream);
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    let latency = registry.metrics().tools["tool"].latency.cancelled.sum();
    assert_eq!(latency, SECOND);
}

#[test]
fn a_stream_that_notices_that_it_should_stop_is_cancelled() {
    let (registry, tool, clock) = host();
    let stopped = Err(ToolError::cancelled("interrupted"));
    let mut stream = tool.run_stream(steps(&clock, [Gives(stopped.clone()), Gives(Ok(1))]));
    assert_eq!(next(&mut stream), Poll::Ready(Some(stopped)));
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    assert_eq!(next(&mut stream), Poll::Ready(Some(Ok(1))));
    drop(stream);
    assert_eq!(counts(&registry), (0, 0, 1, 0));
}

#[test]
fn a_panic_of_a_stream_is_counted_once_and_goes_on() {
    let (registry, tool, clock) = host();
    let mut stream = tool.run_stream(steps(&clock, [Gives(Ok(1)), Panics, Gives(Ok(2))]));
    assert_eq!(next(&mut stream), Poll::Ready(Some(Ok(1))));
    let ended = catch_unwind(AssertUnwindSafe(|| next(&mut stream)));
    let payload = ended.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"out of cheese"));
    assert_eq!(counts(&registry), (0, 1, 0, 0));
    let metrics = registry.metrics();
    let stats = &metrics.tools["tool"];
    assert_eq!(stats.failures_by_kind[&ErrorKind::Panic], 1);
    let error = stats.last_error.as_ref().unwrap();
    assert_eq!(error.message.as_deref(), Some("out of cheese"));
    drop(stream);
    assert_eq!(counts(&registry), (0, 1, 0, 0));
}

/// A stream that panics when it is dropped, and ends at its second poll or never.
struct BombStream(bool, u8);

impl Stream for BombStream {
    type Item = Result<u32, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.1 += 1;
        match (self.0, self.1) {
            (_, 1) => Poll::Ready(Some(Ok(1))),
            (true, _) => Poll::Ready(None),
            (false, _) => Poll::Pending,
        }
    }
}

impl Drop for BombStream {
    fn drop(&mut self) {
        resume_unwind(Box::new("in drop"));
    }
}

#[test]
fn a_stream_that_panics_when_it_is_dropped_is_what_it_was() {
    let (registry, tool, _) = host();
    let mut done = tool.run_stream(BombStream(true, 0));
    assert_eq!(next(&mut done), Poll::Ready(Some(Ok(1))));
    assert_eq!(next(&mut done), Poll::Ready(None));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(done))).is_ok());
    assert_eq!(counts(&registry), (1, 0, 0, 0));
    let mut dropped = tool.run_stream(BombStream(false, 0));
    assert_eq!(next(&mut dropped), Poll::Ready(Some(Ok(1))));
    assert_eq!(next(&mut dropped), Poll::Pending);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(dropped))).is_ok());
    assert_eq!(counts(&registry), (1, 0, 1, 0));
}

#[test]
fn a_rule_of_the_hosts_own_judges_each_item() {
    let (registry, tool, _) = host();
    let judge = |word: &&str| match *word {
        "[error]" => Verdict::failure(ErrorKind::Provider).because("as it says"),
        _ => Verdict::success(),
    };
    let words = |last| stream::iter(["to", "be", last]);
    let call = tool.call().classify(judge);
    let mut given = call.run_stream(words("or"));
    while let Poll::Ready(Some(_)) = next(&mut given) {}
    assert_eq!(counts(&registry), (1, 0, 0, 0));
    let mut given = tool.call().classify(judge).run_stream(words("[error]"));
    while let Poll::Ready(Some(_)) = next(&mut given) {}
    assert_eq!(counts(&registry), (1, 1, 0, 0));

    // A rule that panics is a panic, as for `run`.
    let panics = |_: &&str| -> Verdict { resume_unwind(Box::new("the rule")) };
    let mut given = tool.call().classify(panics).run_stream(words("or"));
    let ended = catch_unwind(AssertUnwindSafe(|| next(&mut given)));
    assert!(ended.is_err());
    assert_eq!(counts(&registry), (1, 2, 0, 0));
}

#[tokio::test]
async fn a_stream_keeps_attempt_and_context_and_needs_no_handle() {
    let (registry, tool, _) = host();
    let events = registry.subscribe();
    let context = CallContext::new("session-17").call("call_9f");
    let call = tool.call().attempt(2).context(context);
    let stream = call.run_stream(stream::iter([1, 2].map(Ok::<_, ToolError>)));
    assert_eq!(stream.size_hint(), (2, Some(2)));
    drop(tool);
    // A stream may leave the scope, and enter a task.
    let items = tokio::spawn(stream.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(items, [Ok(1), Ok(2)]);
    registry.pump();
    let batch = events.try_recv().unwrap();
    assert_eq!(batch[1].kind(), EventKind::Succeeded);
    assert_eq!(batch[1].attempt(), 2);
    assert_eq!(&*batch[1].context().unwrap().call, "call_9f");
    let stats = Arc::clone(&registry.metrics().tools["tool"]);
    assert_eq!((stats.retried, stats.recovered), (1, 1));
}

/// A panic elsewhere in the host is not a failure of the stream.
#[test]
fn a_stream_that_is_dropped_while_its_thread_unwinds_is_cancelled() {
    let (registry, tool, clock) = host();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut stream = tool.run_stream(steps(&clock, [Gives(Ok(1)), Waits]));
        assert_eq!(next(&mut stream), Poll::Ready(Some(Ok(1))));
        resume_unwind(Box::new("a bug of the host"))
    }));
    let _: Result<(), _> = ended;
    assert_eq!(counts(&registry), (0, 0, 1, 0));
}
