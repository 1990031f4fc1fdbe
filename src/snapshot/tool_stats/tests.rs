use super::*;
use crate::last_error::{ErrorRecord, KeptErrors};
use crate::snapshot::testing::{TestCall, any_calls, any_tool, clocks, recorded};
use proptest::prelude::*;
use toolmeter_core::{Finish, Layout, Outcome, Slot, Word};
use toolmeter_events::ErrorMessage;

fn call(outcome: Outcome, attempt: u16, latency_ns: u64) -> TestCall {
    TestCall {
        part: 0,
        outcome: Some(outcome),
        attempt,
        latency_ns,
    }
}

fn since_epoch_ns(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

/// The last error of a slot whose one call failed at `at_ns`, as it is told at `now_ns`.
fn last_error(at_ns: u64, attempt: u16, now_ns: u64, record: Option<ErrorRecord>) -> LastError {
    let layout = Layout::new(5, 48, 1).unwrap();
    let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    let slot = Slot::new(&words, layout).unwrap();
    slot.start(0, attempt);
    let outcome = Outcome::Failure(ErrorKind::Timeout);
    slot.finish(
        0,
        Finish {
            outcome,
            attempt,
            finished_at_ns: at_ns,
            latency_ns: 1,
        },
    );
    let mut reading = Reading::<Vec<(u32, u64)>>::default();
    slot.read(&mut reading).unwrap();
    let kept = KeptErrors::new(None);
    if let Some(record) = record {
        kept.keep(record);
    }
    let errors = kept.load();
    let recorded = Recorded {
        reading: &reading,
        in_flight: 0,
        errors: errors.as_deref(),
        retired: false,
        registered_at: SystemTime::UNIX_EPOCH,
    };
    let stats = ToolStats::new(&recorded, 5, &clocks(now_ns));
    stats.last_error.unwrap()
}

const AT_NS: u64 = (1 << 40) + 12_345;

fn record() -> ErrorRecord {
    ErrorRecord {
        kind: ErrorKind::Timeout,
        attempt: 2,
        at_ns: AT_NS,
        message: ErrorMessage::new("too slow"),
    }
}

#[test]
fn every_counter_comes_from_the_reading() {
    let timeout = Outcome::Failure(ErrorKind::Timeout);
    let mut calls = vec![
        call(timeout, 1, 30),
        call(Outcome::Success, 2, 20),
        call(Outcome::Cancelled, 1, 500),
        call(Outcome::Rejected, 1, 0),
    ];
    calls.push(TestCall {
        outcome: None,
        ..calls[0].clone()
    });
    let stats = recorded(5, &calls, |_| true);
    assert_eq!(
        (stats.success(), stats.failure(), stats.cancelled()),
        (1, 1, 1)
    );
    assert_eq!(
        (stats.finished(), stats.in_flight, stats.rejected),
        (3, 1, 1)
    );
    assert_eq!((stats.retried, stats.recovered), (1, 1));
    let kinds = BTreeMap::from([(ErrorKind::Timeout, 1)]);
    assert_eq!(stats.failures_by_kind, kinds);
    assert_eq!(stats.total_latency(), Duration::from_nanos(50));
    assert_eq!(stats.latency.cancelled.sum(), Duration::from_nanos(500));
    // Neither the cancelled call nor the rejected one was the last to finish.
    assert_eq!(stats.last_latency(), Some(Duration::from_nanos(20)));
    assert_eq!(since_epoch_ns(stats.last_finish.unwrap().at), 2 << 17);
    let last_error = stats.last_error.unwrap();
    assert_eq!(
        (last_error.kind, last_error.attempt),
        (ErrorKind::Timeout, 1)
    );
    assert_eq!(since_epoch_ns(last_error.at), 1 << 17);
}

#[test]
fn an_idle_tool_has_nothing_last() {
    let stats = recorded(4, &[], |_| true);
    assert_eq!((stats.finished(), stats.in_flight), (0, 0));
    assert_eq!((stats.last_error.as_ref(), stats.last_finish), (None, None));
    assert_eq!(stats.last_latency(), None);
    assert!(stats.failures_by_kind.is_empty());
    assert_eq!(stats.latency.success.precision(), 4);
}

#[test]
fn the_record_of_the_same_failure_gives_its_text_and_exact_time() {
    let error = last_error(AT_NS, 2, AT_NS, Some(record()));
    assert_eq!(error.message.as_deref(), Some("too slow"));
    assert_eq!(since_epoch_ns(error.at), u128::from(AT_NS));
}

#[test]
fn the_record_of_another_failure_gives_nothing() {
    let others = [
        None,
        Some(ErrorRecord {
            kind: ErrorKind::Network,
            ..record()
        }),
        Some(ErrorRecord {
            attempt: 3,
            ..record()
        }),
        Some(ErrorRecord {
            at_ns: AT_NS + (1 << 16),
            ..record()
        }),
    ];
    for other in others {
        let error = last_error(AT_NS, 2, AT_NS, other);
        assert_eq!(
            (error.kind, error.message, error.attempt),
            (ErrorKind::Timeout, None, 2)
        );
        assert_eq!(since_epoch_ns(error.at), u128::from(AT_NS >> 16 << 16));
    }
}

#[test]
fn a_failure_just_after_the_clocks_were_paired_is_not_years_old() {
    for now_ns in [AT_NS - (1 << 30), AT_NS, AT_NS + (1 << 55)] {
        let error = last_error(AT_NS, 1, now_ns, None);
        assert_eq!(since_epoch_ns(error.at), u128::from(AT_NS >> 16 << 16));
    }
}

#[test]
fn a_failure_at_the_end_of_the_clock_does_no_harm() {
    let last = ErrorRecord {
        at_ns: u64::MAX,
        ..record()
    };
    let error = last_error(u64::MAX, 2, u64::MAX, Some(last));
    assert_eq!(since_epoch_ns(error.at), u128::from(u64::MAX));
    assert_eq!(last_error(0, 0, 0, None).attempt, 1);
}

#[test]
fn of_two_the_later_is_the_last() {
    let first = recorded(5, &[call(Outcome::Failure(ErrorKind::Panic), 1, 7)], |_| {
        true
    });
    let mut second = first.clone();
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    second.last_error.as_mut().unwrap().at = later;
    second.last_error.as_mut().unwrap().message = Some("later".to_owned());
    second.last_finish = Some(LastCall {
        latency: Duration::ZERO,
        at: later,
    });
    for both in [first.merge(&second), second.merge(&first)] {
        assert_eq!(both.last_error, second.last_error);
        assert_eq!(both.last_finish, second.last_finish);
        assert_eq!(both.failure(), 2);
    }
}

#[test]
fn both_must_be_retired() {
    let here = recorded(5, &[], |_| true);
    let gone = ToolStats {
        retired: true,
        ..here.clone()
    };
    assert!(gone.merge(&gone).retired);
    assert!(!gone.merge(&here).retired && !here.merge(&gone).retired);
}

proptest! {
    #[test]
    fn merging_is_associative_and_commutative(a in any_tool(), b in any_tool(), c in any_tool()) {
        prop_assert_eq!(a.merge(&b), b.merge(&a));
        prop_assert_eq!(a.merge(&b).merge(&c), a.merge(&b.merge(&c)));
    }

    #[test]
    fn counts_are_those_of_the_calls(calls in any_calls(1)) {
        let stats = recorded(5, &calls, |_| true);
        let ended = |is: fn(Outcome) -> bool| {
            calls.iter().filter(|call| call.outcome.is_some_and(is)).count() as u64
        };
        prop_assert_eq!(stats.success(), ended(|outcome| outcome == Outcome::Success));
        prop_assert_eq!(stats.failure(), ended(|outcome| outcome.error_kind().is_some()));
        prop_assert_eq!(stats.cancelled(), ended(|outcome| outcome == Outcome::Cancelled));
        prop_assert_eq!(stats.rejected, ended(|outcome| outcome == Outcome::Rejected));
        prop_assert_eq!(stats.finished() + stats.rejected + stats.in_flight, calls.len() as u64);
        prop_assert_eq!(stats.failures_by_kind.values().sum::<u64>(), stats.failure());
        prop_assert!(stats.failures_by_kind.values().all(|&count| count > 0));
    }
}
