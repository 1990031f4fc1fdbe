//! Metering through the facade: what each way to run a call counts, and how it times it.
//!
//! All clocks here are turned by hand, so latencies are asserted to the nanosecond. A number
//! that a tool's latency adds up to is exact; a quantile is a bucket's bound and is not.
#![cfg(not(toolmeter_loom))]

use std::fmt;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use toolmeter::{
    CallOptions, ClockSource, ErrorKind, MAX_MESSAGE_BYTES, ManualClock, Pump, Registry,
    RegistryBuilder, ToolHandle, ToolSpec, ToolStats, Verdict,
};

const MS: Duration = Duration::from_millis(1);

fn builder() -> (RegistryBuilder, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let builder = Registry::builder()
        .clock(ClockSource::Manual(Arc::clone(&clock)))
        .pump(Pump::manual())
        .stripes(2);
    (builder, clock)
}

fn host() -> (Registry, ToolHandle, Arc<ManualClock>) {
    let (builder, clock) = builder();
    let registry = builder.build().unwrap();
    let tool = registry.register(ToolSpec::new("tool")).unwrap();
    (registry, tool, clock)
}

fn stats(registry: &Registry) -> Arc<ToolStats> {
    Arc::clone(&registry.metrics().tools["tool"])
}

/// Successes, failures, cancelled calls and calls in flight.
type Counts = (u64, u64, u64, u64);

fn counts(registry: &Registry) -> Counts {
    let stats = stats(registry);
    let (success, failure) = (stats.success(), stats.failure());
    (success, failure, stats.cancelled(), stats.in_flight)
}

fn kinds(registry: &Registry) -> Vec<(ErrorKind, u64)> {
    let stats = stats(registry);
    let kinds = stats.failures_by_kind.iter();
    kinds.map(|(&kind, &count)| (kind, count)).collect()
}

fn message(registry: &Registry) -> Option<String> {
    stats(registry).last_error.as_ref().unwrap().message.clone()
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn run_counts_times_and_gives_back() {
    let (registry, tool, clock) = host();
    let answer = tool.run(|| {
        assert_eq!(counts(&registry), (0, 0, 0, 1));
        clock.advance(Duration::from_micros(400));
        Ok::<_, String>(7)
    });
    assert_eq!(answer, Ok(7));
    assert_eq!(counts(&registry), (1, 0, 0, 0));
    assert_eq!(
        stats(&registry).total_latency(),
        Duration::from_micros(400),
        "0.4 ms adds 0.4 ms"
    );

    let answer = tool.run(|| {
        clock.advance(Duration::from_micros(600));
        Err::<(), _>("no route".to_owned())
    });
    assert_eq!(answer, Err("no route".to_owned()));
    assert_eq!(counts(&registry), (1, 1, 0, 0));
    assert_eq!(kinds(&registry), [(ErrorKind::Other, 1)]);
    let stats = stats(&registry);
    assert_eq!(stats.total_latency(), MS);
    assert_eq!(stats.last_latency(), Some(Duration::from_micros(600)));
    assert_eq!(stats.latency.success.sum(), Duration::from_micros(400));
    assert_eq!(stats.latency.failure.sum(), Duration::from_micros(600));
    let median = stats.latency.success.p50().unwrap();
    assert!(median >= Duration::from_micros(400) && median < Duration::from_micros(413));
}

#[test]
fn run_with_judges_by_the_classifier() {
    let (registry, tool, _) = host();
    fn judge(status: &u16) -> Verdict<'_> {
        match status {
            200 => Verdict::success(),
            429 => Verdict::failure(ErrorKind::RateLimited),
            _ => Verdict::failure(ErrorKind::Provider).because(status),
        }
    }
    for status in [200, 429, 500] {
        assert_eq!(tool.run_with(judge, || status), status);
    }
    assert_eq!(counts(&registry), (1, 2, 0, 0));
    assert_eq!(
        kinds(&registry),
        [(ErrorKind::RateLimited, 1), (ErrorKind::Provider, 1)]
    );
    assert_eq!(message(&registry).as_deref(), Some("500"));
}

#[test]
fn guards_return_the_latency_that_they_count() {
    let (registry, tool, clock) = host();
    let (first, second, third) = (tool.start(), tool.start(), tool.start());
    assert_eq!(counts(&registry), (0, 0, 0, 3));
    clock.advance(2 * MS);
    assert_eq!(first.elapsed(), 2 * MS);
    assert_eq!(first.succeed(), 2 * MS);
    clock.advance(MS);
    assert_eq!(second.fail(ErrorKind::Network, "reset"), 3 * MS);
    clock.advance(MS);
    assert_eq!(third.record(&Ok::<_, String>(())), 4 * MS);
    assert_eq!(counts(&registry), (2, 1, 0, 0));
    assert_eq!(stats(&registry).total_latency(), 9 * MS);
}

#[test]
fn an_owned_call_may_end_on_another_thread() {
    let (registry, tool, clock) = host();
    let call = tool.start_owned();
    drop(tool);
    clock.advance(MS);
    let latency = std::thread::spawn(move || call.succeed()).join().unwrap();
    assert_eq!(latency, MS);
    assert_eq!(counts(&registry), (1, 0, 0, 0));
}

#[test]
fn retried_and_recovered_are_attempts_above_one() {
    let (registry, tool, _) = host();
    let attempt = |attempt| tool.with(CallOptions::new().attempt(attempt));
    assert_eq!(attempt(0).start().attempt(), 1);
    attempt(1).start().succeed();
    attempt(2).start().fail(ErrorKind::Timeout, "");
    attempt(3).start().succeed();
    drop(attempt(4).start());
    let running = attempt(5).start();
    let now = stats(&registry);
    assert_eq!((now.retried, now.recovered, now.in_flight), (4, 1, 1));
    running.succeed();
    assert_eq!(stats(&registry).recovered, 2);
}

#[test]
fn the_last_error_stays_after_a_success() {
    let (registry, tool, clock) = host();
    clock.advance(MS);
    let options = CallOptions::new().attempt(2);
    let call = tool.with(options).start();
    call.fail(ErrorKind::RateLimited, "in 30 s");
    clock.advance(5 * MS);
    tool.start().succeed();
    clock.advance(5 * MS);

    let metrics = registry.metrics();
    let stats = &metrics.tools["tool"];
    let error = stats.last_error.as_ref().unwrap();
    assert_eq!((error.kind, error.attempt), (ErrorKind::RateLimited, 2));
    assert_eq!(error.message.as_deref(), Some("in 30 s"));
    assert_eq!(metrics.taken_at, error.at + 10 * MS);
    let last = stats.last_finish.unwrap();
    assert_eq!(last.latency, Duration::ZERO);
    assert_eq!(metrics.taken_at, last.at + 5 * MS);
    assert_eq!(metrics.uptime, 11 * MS);
}

#[test]
fn a_panic_is_counted_and_goes_on() {
    let (registry, tool, clock) = host();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        tool.run(|| -> Result<(), String> {
            clock.advance(MS);
            std::panic::panic_any("out of cheese".to_owned())
        })
    }));
    let payload = ended.unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "out of cheese");
    assert_eq!(counts(&registry), (0, 1, 0, 0));
    assert_eq!(kinds(&registry), [(ErrorKind::Panic, 1)]);
    assert_eq!(message(&registry).as_deref(), Some("out of cheese"));
    assert_eq!(stats(&registry).total_latency(), MS);

    let ended = catch_unwind(AssertUnwindSafe(|| {
        tool.run_with(|_: &u8| panic!("the classifier"), || 1)
    }));
    assert!(ended.is_err());
    assert_eq!(kinds(&registry), [(ErrorKind::Panic, 2)]);
    let mut future = pin!(tool.run_async(async { std::panic::panic_any(3_u8) as () }));
    let ended = catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut())));
    assert_eq!(ended.unwrap_err().downcast_ref(), Some(&3_u8));
    assert_eq!(kinds(&registry), [(ErrorKind::Panic, 3)]);
    assert_eq!(counts(&registry), (0, 3, 0, 0));
}

#[test]
fn a_dropped_guard_is_cancelled_in_a_histogram_of_its_own() {
    let (registry, tool, clock) = host();
    let call = tool.start();
    clock.advance(30 * MS);
    drop(call);
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    let stats = stats(&registry);
    assert_eq!(stats.latency.cancelled.sum(), 30 * MS);
    assert_eq!(stats.total_latency(), Duration::ZERO);
    assert_eq!((&stats.last_error, stats.last_latency()), (&None, None));
}

#[test]
fn a_guard_dropped_while_unwinding_panicked_if_it_was_made_before() {
    let (registry, tool, _) = host();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _call = tool.start();
        panic!("between start and end");
    }));
    assert!(ended.is_err());
    assert_eq!(counts(&registry), (0, 1, 0, 0));
    assert_eq!(kinds(&registry), [(ErrorKind::Panic, 1)]);

    /// Cleans up with calls of its own, which have nothing to do with the panic.
    struct CleansUp(ToolHandle);
    impl Drop for CleansUp {
        fn drop(&mut self) {
            drop(self.0.start());
            self.0.start().succeed();
        }
    }
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _cleans_up = CleansUp(tool.clone());
        panic!("somewhere else");
    }));
    assert!(ended.is_err());
    assert_eq!(counts(&registry), (1, 1, 1, 0));
}

#[test]
fn a_future_is_a_call_from_its_first_poll() {
    let (registry, tool, clock) = host();
    drop(tool.run_async(pending::<()>()));
    assert_eq!(counts(&registry), (0, 0, 0, 0));

    let mut future = Box::pin(tool.run_async(pending::<()>()));
    clock.advance(7 * MS);
    assert!(poll_once(future.as_mut()).is_pending());
    assert_eq!(counts(&registry), (0, 0, 0, 1));
    clock.advance(2 * MS);
    drop(future);
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    assert_eq!(stats(&registry).latency.cancelled.sum(), 2 * MS);

    let mut future = pin!(tool.run_async(async {
        clock.advance(MS);
        Err::<(), _>("why")
    }));
    assert_eq!(poll_once(future.as_mut()), Poll::Ready(Err("why")));
    assert_eq!(counts(&registry), (0, 1, 1, 0));
    assert_eq!(stats(&registry).total_latency(), MS);
}

#[cfg(feature = "tokio")]
mod time_limits {
    use super::*;
    use std::sync::Mutex;
    use toolmeter::TimeLimitExceeded;

    /// Reads the counts of the tool at the moment when it is dropped.
    struct ReadsWhenDropped(Registry, Arc<Mutex<Option<Counts>>>);

    impl Drop for ReadsWhenDropped {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(counts(&self.0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_is_a_timeout_and_no_cancellation() {
        let (registry, tool, clock) = host();
        let seen = Arc::new(Mutex::new(None));
        let reads = ReadsWhenDropped(registry.clone(), Arc::clone(&seen));
        let limit = Duration::from_secs(30);
        let hangs = async {
            let _reads = reads;
            clock.advance(9 * MS);
            pending::<()>().await;
        };
        let error = tool.run_async_within(limit, hangs).await.unwrap_err();
        assert_eq!(error.limit, limit);
        assert!(error.to_string().contains("30s"));
        assert_eq!(
            *seen.lock().unwrap(),
            Some((0, 1, 0, 0)),
            "recorded before the future was dropped"
        );
        assert_eq!(counts(&registry), (0, 1, 0, 0));
        assert_eq!(kinds(&registry), [(ErrorKind::Timeout, 1)]);
        assert_eq!(stats(&registry).total_latency(), 9 * MS);

        let done: Result<_, TimeLimitExceeded> = tool
            .run_async_within(limit, async { Err::<(), _>("refused") })
            .await;
        assert_eq!(done, Ok(Err("refused")));
        assert_eq!(
            kinds(&registry),
            [(ErrorKind::Timeout, 1), (ErrorKind::Other, 1)]
        );
    }
}

#[test]
fn a_clock_that_runs_backwards_poisons_nothing() {
    let (registry, tool, clock) = host();
    clock.set_ns(1_000_000);
    let call = tool.start();
    clock.set_ns(10);
    assert_eq!(call.elapsed(), Duration::ZERO);
    assert_eq!(call.succeed(), Duration::ZERO);
    assert_eq!(counts(&registry), (1, 0, 0, 0));
    assert_eq!(stats(&registry).total_latency(), Duration::ZERO);
    assert_eq!(stats(&registry).latency.success.buckets(), [(0, 1)]);
}

#[test]
fn latencies_beyond_the_range_are_counted_in_the_last_bucket() {
    let (registry, tool, clock) = host();
    let range = Duration::from_nanos(1 << 48);
    for latency in [
        Duration::from_secs(100 * 3_600),
        Duration::from_nanos(1 << 60),
    ] {
        let call = tool.start();
        clock.advance(latency);
        assert_eq!(call.succeed(), latency);
    }
    let stats = stats(&registry);
    let success = &stats.latency.success;
    assert_eq!((success.count(), success.buckets().len()), (2, 1));
    assert!(success.max().unwrap() <= range && success.max().unwrap() > range * 31 / 32);
    // The first enters the sum as it is, the second clamped.
    let clamped = Duration::from_nanos(1 << 53);
    assert_eq!(success.sum(), Duration::from_secs(100 * 3_600) + clamped);
}

fn kept_of(text: impl fmt::Display) -> Option<String> {
    let (registry, tool, _) = host();
    tool.start().fail(ErrorKind::Other, text);
    assert_eq!(counts(&registry), (0, 1, 0, 0));
    message(&registry)
}

#[test]
fn error_text_is_bounded_and_visible_whatever_comes() {
    let megabytes = "x".repeat(3 << 20);
    assert_eq!(kept_of(&megabytes), Some("x".repeat(MAX_MESSAGE_BYTES)));
    assert_eq!(
        kept_of("\u{1b}[31mred\0\r\n").as_deref(),
        Some("\\u{1b}[31mred\\u{0}\\r\\n")
    );
    // The bound falls into the middle of a character, which goes as a whole.
    let kept = kept_of(format!("x{}", "é".repeat(300))).unwrap();
    assert_eq!(kept, format!("x{}", "é".repeat(127)));
    assert_eq!(kept_of(""), None);

    struct Panics;
    impl fmt::Display for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("cannot be shown")
        }
    }
    assert!(kept_of(Panics).unwrap().contains("could not be read"));
}

#[test]
fn the_redactor_has_the_last_word_and_text_can_be_off() {
    let fail = |builder: RegistryBuilder| {
        let registry = builder.build().unwrap();
        let tool = registry.register(ToolSpec::new("tool")).unwrap();
        let _: Result<(), _> = tool.run(|| Err("token hunter2 expired"));
        assert_eq!(kinds(&registry), [(ErrorKind::Other, 1)]);
        message(&registry)
    };
    let redact = |text: &str| text.replace("hunter2", "[secret]");
    let redacted = fail(builder().0.redact_errors(move |text| redact(text).into()));
    assert_eq!(redacted.as_deref(), Some("token [secret] expired"));
    let broken = fail(builder().0.redact_errors(|_| panic!("bad pattern")));
    assert!(!broken.unwrap().contains("hunter2"));
    assert_eq!(fail(builder().0.without_error_text()), None);
}
