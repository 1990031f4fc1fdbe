//! Metering through the facade: the counts and the latencies of each way to run a call.
//!
//! All clocks here are manual, so latencies are asserted to the nanosecond. A sum of latencies is
//! exact. A quantile is a bucket's bound, and is not.
#![cfg(not(toolmeter_loom))]

mod common;

use common::{Counts, builder, counts, host, message, poll_once, stats};
use std::fmt;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use toolmeter::{
    DEFAULT_MESSAGE_BYTES, ErrorKind, Registry, RegistryBuilder, ToolHandle, Verdict, nested,
};

const MS: Duration = Duration::from_millis(1);

fn kinds(registry: &Registry) -> Vec<(ErrorKind, u64)> {
    let stats = stats(registry);
    let kinds = stats.failures_by_kind.iter();
    kinds.map(|(&kind, &count)| (kind, count)).collect()
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

/// Judges a status, as a rule of the host.
fn by_status(status: &u16) -> Verdict {
    match status {
        200 => Verdict::success(),
        429 => Verdict::failure(ErrorKind::RateLimited),
        499 => Verdict::cancelled().because("the client went"),
        503 => Verdict::rejected().because("no capacity"),
        _ => Verdict::failure(ErrorKind::Provider).because(status),
    }
}

/// The rule is a function, a closure in a variable or a field, or a closure in place.
#[test]
fn a_call_is_judged_by_the_hosts_own_rule_however_it_is_written() {
    let (registry, tool, _) = host();
    for status in [200, 429, 500] {
        assert_eq!(tool.call().classify(by_status).run(|| status), status);
    }
    assert_eq!(counts(&registry), (1, 2, 0, 0));
    assert_eq!(
        kinds(&registry),
        [(ErrorKind::RateLimited, 1), (ErrorKind::Provider, 1)]
    );
    assert_eq!(message(&registry).as_deref(), Some("500"));

    let bound = |status: &u16| by_status(status);
    struct Kept<F>(F);
    let kept = Kept(bound);
    tool.call().classify(bound).run(|| 200);
    let mut future = pin!(tool.call().classify(kept.0).run_async(async { 200 }));
    assert_eq!(poll_once(future.as_mut()), Poll::Ready(200));
    let text = String::from("borrowed by the rule");
    let answer = tool
        .call()
        .classify(|answer: &&str| Verdict::failure(ErrorKind::ToolError).because(answer))
        .run(|| &*text);
    assert_eq!(answer, text);
    assert_eq!(counts(&registry), (3, 3, 0, 0));
    assert_eq!(message(&registry), Some(text));
}

#[test]
fn attempt_and_rule_go_together_in_either_order() {
    let (registry, tool, _) = host();
    tool.call().attempt(2).classify(by_status).run(|| 200);
    tool.call().classify(by_status).attempt(3).run(|| 500);
    let stats = stats(&registry);
    assert_eq!((stats.retried, stats.recovered), (2, 1));
    assert_eq!(stats.last_error.as_ref().unwrap().attempt, 3);
}

#[test]
fn a_verdict_may_cancel_or_reject() {
    let (registry, tool, clock) = host();
    let run = |status| {
        tool.call().classify(by_status).run(|| {
            clock.advance(MS);
            status
        })
    };
    assert_eq!(run(499), 499);
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    assert_eq!(run(503), 503);
    let stats = stats(&registry);
    assert_eq!((stats.rejected, stats.finished()), (1, 1));
    assert_eq!(stats.latency.cancelled.sum(), MS);
    assert_eq!((&stats.last_error, stats.last_latency()), (&None, None));
    assert_eq!(stats.in_flight, 0);
}

#[test]
fn a_result_within_a_result_is_judged_by_both() {
    let (registry, tool, _) = host();
    type Given = Result<Result<u8, String>, std::io::Error>;
    let run = |given: Given| tool.call().classify(nested).run(|| given);
    run(Ok(Ok(1))).unwrap().unwrap();
    run(Ok(Err("no such repo".into()))).unwrap().unwrap_err();
    run(Err(std::io::ErrorKind::TimedOut.into())).unwrap_err();
    assert_eq!(counts(&registry), (1, 2, 0, 0));
    assert_eq!(
        kinds(&registry),
        [(ErrorKind::Timeout, 1), (ErrorKind::Other, 1)]
    );
    // By its type alone, a value in `Ok` is a success.
    let hidden: Given = Ok(Err("hidden".into()));
    assert!(tool.run(|| hidden).is_ok());
    assert_eq!(counts(&registry), (2, 2, 0, 0));
}

#[test]
fn an_error_is_judged_by_its_causes_and_shown_with_them() {
    let (registry, tool, _) = host();
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let given: Result<(), Boxed> = tool.run(|| Err("71".parse::<bool>().unwrap_err().into()));
    assert!(given.is_err());
    let refused = std::io::Error::new(std::io::ErrorKind::PermissionDenied, "not yours");
    let wrapped = std::io::Error::other(refused);
    assert!(tool.run(|| Err::<(), _>(wrapped)).is_err());
    assert_eq!(
        kinds(&registry),
        [
            (ErrorKind::InvalidArgs, 1),
            (ErrorKind::PermissionDenied, 1)
        ]
    );
    assert_eq!(message(&registry).as_deref(), Some("not yours"));
}

#[test]
fn a_guard_ends_as_the_verdict_says() {
    let (registry, tool, clock) = host();
    let finish = |verdict: Verdict| {
        let call = tool.start();
        clock.advance(MS);
        call.finish(verdict)
    };
    assert_eq!(finish(Verdict::success()), MS);
    let failed = Verdict::failure(ErrorKind::Network).because("reset");
    assert_eq!(finish(failed), MS);
    assert_eq!(message(&registry).as_deref(), Some("reset"));
    assert_eq!(finish(Verdict::cancelled()), MS);
    finish(Verdict::rejected());
    finish(Verdict::mcp(true, "no such repo"));
    let call = tool.start();
    clock.advance(MS);
    assert_eq!(call.cancel(), MS);
    assert_eq!(counts(&registry), (1, 2, 2, 0));
    assert_eq!(stats(&registry).rejected, 1);
    assert_eq!(
        kinds(&registry),
        [(ErrorKind::ToolError, 1), (ErrorKind::Network, 1)]
    );
}

/// A call is rejected before it starts, by its guard, or by a rule. It has a count of its own, and
/// changes no other.
#[test]
fn a_rejected_call_is_a_count_and_nothing_else() {
    let (registry, tool, clock) = host();
    let call = tool.start();
    clock.advance(MS);
    call.fail(ErrorKind::Timeout, "before");
    let before = stats(&registry);
    clock.advance(MS);
    tool.call().attempt(2).reject("no shell after midnight");
    let call = tool.start();
    clock.advance(MS);
    call.reject("denied after it was started");
    assert_eq!(tool.call().classify(by_status).run(|| 503), 503);

    let after = stats(&registry);
    assert_eq!(after.rejected, 3);
    assert_eq!((after.finished(), after.in_flight), (1, 0));
    assert_eq!(after.retried, 0, "it never started");
    assert_eq!(after.latency, before.latency);
    assert_eq!(after.failures_by_kind, before.failures_by_kind);
    assert_eq!(after.last_error, before.last_error);
    assert_eq!(after.last_finish, before.last_finish);
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
    let attempt = |attempt| tool.call().attempt(attempt);
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
    let call = tool.call().attempt(2).start();
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
        tool.call()
            .classify(|_: &u8| panic!("the classifier"))
            .run(|| 1)
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

/// A guard cannot know the origin of a panic. Only where the tool itself runs is it the tool's.
#[test]
fn a_guard_dropped_while_its_thread_unwinds_is_cancelled() {
    let (registry, tool, clock) = host();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _call = tool.start();
        clock.advance(MS);
        panic!("between start and end");
    }));
    assert!(ended.is_err());
    assert_eq!(counts(&registry), (0, 0, 1, 0));
    assert_eq!(stats(&registry).latency.cancelled.sum(), MS);
    assert_eq!(stats(&registry).last_error, None);

    // The panic of another tool, which is run within the guard's call.
    let inner = registry.register("inner").unwrap();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _call = tool.start();
        inner.run(|| -> () { panic!("the inner tool") });
    }));
    assert!(ended.is_err());
    assert_eq!(counts(&registry), (0, 0, 2, 0));
    let metrics = registry.metrics();
    assert_eq!(
        metrics.tools["inner"].failures_by_kind[&ErrorKind::Panic],
        1
    );

    // A future that is dropped half way while its thread unwinds.
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut future = Box::pin(tool.run_async(pending::<()>()));
        assert!(poll_once(future.as_mut()).is_pending());
        panic!("the host");
    }));
    assert!(ended.is_err());
    assert_eq!(counts(&registry), (0, 0, 3, 0));

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
    assert_eq!(counts(&registry), (1, 0, 4, 0));
}

/// The payload of a panic, and what a future leaves behind, panic again when they are dropped.
#[test]
fn what_panics_when_it_is_dropped_changes_no_count() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("when dropped");
            }
        }
    }
    let (registry, tool, _) = host();
    let mut future = Box::pin(tool.run_async(async {
        let _bomb = Bomb;
        pending::<()>().await;
    }));
    assert!(poll_once(future.as_mut()).is_pending());
    drop(future);
    assert_eq!(counts(&registry), (0, 0, 1, 0));

    let mut future = Box::pin(tool.run_async(async {
        let _bomb = Bomb;
        std::future::ready(()).await;
    }));
    let ended = catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut())));
    assert_eq!(
        ended.unwrap_err().downcast_ref(),
        Some(&"when dropped"),
        "at its end, that is the tool's own panic"
    );
    assert_eq!(kinds(&registry), [(ErrorKind::Panic, 1)]);
    assert_eq!(counts(&registry), (0, 1, 1, 0));
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
        let call = tool.call().within(limit);
        let error = call.run_async(hangs).await.unwrap_err();
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

        let call = tool.call().within(limit);
        let done: Result<_, TimeLimitExceeded> =
            call.run_async(async { Err::<(), _>("refused") }).await;
        assert_eq!(done, Ok(Err("refused")));
        assert_eq!(
            kinds(&registry),
            [(ErrorKind::Timeout, 1), (ErrorKind::Other, 1)]
        );
    }

    /// They may be set in any order.
    #[tokio::test(start_paused = true)]
    async fn a_limit_combines_with_attempt_and_rule() {
        let (registry, tool, _) = host();
        let limit = Duration::from_secs(1);
        let first = tool.call().attempt(2).classify(by_status).within(limit);
        assert_eq!(first.run_async(async { 200 }).await, Ok(200));
        let second = tool.call().within(limit).classify(by_status).attempt(3);
        assert_eq!(second.run_async(async { 429 }).await, Ok(429));
        let third = tool.call().within(limit).attempt(4).classify(by_status);
        third.run_async(pending::<u16>()).await.unwrap_err();
        assert_eq!(
            kinds(&registry),
            [(ErrorKind::RateLimited, 1), (ErrorKind::Timeout, 1)]
        );
        let stats = stats(&registry);
        assert_eq!((stats.retried, stats.recovered), (3, 1));
        assert_eq!(stats.last_error.as_ref().unwrap().attempt, 4);
    }

    /// If it was not polled, it is not a call. If it is dropped after a poll, it is cancelled and
    /// not a time-out.
    #[tokio::test(start_paused = true)]
    async fn a_limited_call_that_is_dropped_is_cancelled() {
        let (registry, tool, _) = host();
        let limit = Duration::from_secs(1);
        drop(tool.call().within(limit).run_async(pending::<()>()));
        assert_eq!(counts(&registry), (0, 0, 0, 0));
        let mut call = Box::pin(tool.call().within(limit).run_async(pending::<()>()));
        assert!(poll_once(call.as_mut()).is_pending());
        assert_eq!(counts(&registry), (0, 0, 0, 1));
        drop(call);
        assert_eq!(counts(&registry), (0, 0, 1, 0));
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
    // The first is added to the sum unchanged, the second clamped.
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
    let fits = "x".repeat(DEFAULT_MESSAGE_BYTES);
    assert_eq!(kept_of(&fits), Some(fits));
    // The beginning and the end are kept, where compilers and tracebacks put the cause.
    let long = format!("first words {} last words", "x y ".repeat(1 << 20));
    let kept = kept_of(&long).unwrap();
    assert!(kept.len() <= DEFAULT_MESSAGE_BYTES && kept.len() > DEFAULT_MESSAGE_BYTES - 16);
    let (head, tail) = kept.split_once(" … ").unwrap();
    assert!(head.starts_with("first words x y") && tail.ends_with("x y  last words"));
    assert!(tail.len() >= head.len());
    assert_eq!(
        kept_of("\u{1b}[31mred\0\r\n").as_deref(),
        Some("\\u{1b}[31mred\\u{0}\\r\\n")
    );
    // The bounds are in the middle of a character, which is removed as a whole.
    let kept = kept_of(format!("x{}", "é".repeat(300))).unwrap();
    let (head, tail) = kept.split_once(" … ").unwrap();
    assert!(kept.len() <= DEFAULT_MESSAGE_BYTES && kept.len() > DEFAULT_MESSAGE_BYTES - 8);
    assert_eq!(head.strip_prefix('x').unwrap().replace('é', ""), "");
    assert_eq!(tail.replace('é', ""), "");
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
        let tool = registry.register("tool").unwrap();
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

/// The redactor gets whole words, so no part of a secret that was cut is kept.
#[test]
fn the_length_of_texts_is_the_hosts_choice_and_no_secret_is_cut_in_two() {
    let secret = "hunter2".repeat(20);
    let text = format!("{} {secret} {}", "a ".repeat(2_020), "b ".repeat(1_000_000));
    let kept = |builder: RegistryBuilder| {
        let registry = builder.build().unwrap();
        let tool = registry.register("tool").unwrap();
        tool.start().fail(ErrorKind::Other, &text);
        message(&registry).unwrap()
    };
    let hidden = secret.clone();
    let longest = builder().0.max_message_bytes(4_096);
    let longest = longest.redact_errors(move |text| text.replace(&hidden, "[secret]").into());
    let kept_longest = kept(longest);
    assert!(!kept_longest.contains("hunter2"), "{kept_longest}");
    assert!(kept_longest.len() <= 4_096 && kept_longest.len() > 4_000);
    assert!(kept(builder().0.max_message_bytes(64)).len() <= 64);
}

/// With a manual clock the time of day follows it.
#[test]
fn the_time_of_day_follows_a_manual_clock() {
    let (registry, tool, clock) = host();
    let before = registry.metrics();
    assert_eq!(before.started_at, registry.started_at());
    assert_eq!(before.taken_at, before.started_at);
    assert_eq!(before.tools["tool"].registered_at, before.started_at);
    clock.advance(Duration::from_secs(86_400));
    tool.start().fail(ErrorKind::Other, "later");
    let error_at = |registry: &Registry| stats(registry).last_error.as_ref().unwrap().at;
    let first = error_at(&registry);
    assert_eq!(first, before.started_at + Duration::from_secs(86_400));
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(error_at(&registry), first, "a time that was told stays");
    assert_eq!(
        registry.metrics().taken_at,
        before.started_at + Duration::from_secs(2 * 86_400)
    );
}
