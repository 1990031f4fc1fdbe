//! Calls of tasks on a runtime with several threads: awaited, limited in time, aborted.
//!
//! Each task counts for itself. A task that is aborted cannot return its counts, so the task that
//! aborts it counts its call, by a flag that the tool sets when it is polled.

use crate::calls::count_answer;
use crate::counts::Counts;
use crate::did::Did;
use crate::host::Host;
use crate::tools::{BY_NAME, HANGING, NAMES, PANICKING, WAITING, ask, unwind};
use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use toolmeter::{ErrorKind, Outcome, ToolError};

/// The time limit of a call that never ends by itself.
const LIMIT: Duration = Duration::from_millis(2);

/// Calls until the load is over, beginning with the call number `step`.
pub(crate) async fn call(host: Arc<Host>, mut step: u64) -> Counts {
    let mut counts = Counts::default();
    while !host.is_over() {
        let round = step / 9;
        let attempt = 1 + (round % 3) as u16;
        match step % 9 {
            0 => succeed(&host, &mut counts, attempt).await,
            1 => fail(&host, &mut counts, attempt, round).await,
            2 => panic(&host, &mut counts).await,
            3 => run_within(&host, &mut counts, attempt).await,
            4 => drop_when_it_hangs(&host, &mut counts, attempt).await,
            5 => abort(&host, &mut counts, round.is_multiple_of(2)).await,
            6 => invoke(&host, &mut counts, attempt, round % ask::ENDING).await,
            7 => invoke_within(&host, &mut counts, attempt).await,
            _ => sleep(Duration::from_micros(500)).await,
        }
        step += 1;
    }
    counts
}

async fn succeed(host: &Host, counts: &mut Counts, attempt: u16) {
    let call = host.tool(WAITING).call().attempt(attempt);
    let ended = call
        .run_async(async {
            yield_now().await;
            Ok::<(), ToolError>(())
        })
        .await;
    assert!(ended.is_ok());
    counts.whole(WAITING, attempt, Outcome::Success);
}

async fn fail(host: &Host, counts: &mut Counts, attempt: u16, round: u64) {
    let kind = ErrorKind::ALL[(round % ErrorKind::COUNT as u64) as usize];
    let call = host.tool(WAITING).call().attempt(attempt);
    let ended = call
        .run_async(async {
            yield_now().await;
            Err::<(), _>(ToolError::new(kind, "after a while"))
        })
        .await;
    assert!(ended.is_err());
    counts.whole(WAITING, attempt, Outcome::Failure(kind));
}

async fn panic(host: &Arc<Host>, counts: &mut Counts) {
    let tool = host.tool(PANICKING).clone();
    let task = tokio::spawn(async move {
        let call = tool.run_async(async {
            yield_now().await;
            unwind()
        });
        let () = call.await;
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    counts.whole(PANICKING, 1, Outcome::Failure(ErrorKind::Panic));
}

async fn run_within(host: &Host, counts: &mut Counts, attempt: u16) {
    let call = host.tool(HANGING).call().attempt(attempt);
    let ended = call
        .within(LIMIT)
        .run_async(pending::<Result<(), ToolError>>())
        .await;
    assert!(ended.is_err());
    let outcome = Outcome::Failure(ErrorKind::Timeout);
    counts.whole(HANGING, attempt, outcome);
}

async fn drop_when_it_hangs(host: &Host, counts: &mut Counts, attempt: u16) {
    let call = host.tool(HANGING).call().attempt(attempt);
    let ended = timeout(LIMIT, call.run_async(pending::<Result<(), ToolError>>())).await;
    assert!(ended.is_err());
    counts.whole(HANGING, attempt, Outcome::Cancelled);
    counts.did(Did::DroppedPolled);
}

/// Aborts a task, at once or after a while. The runtime decides whether the call begins.
async fn abort(host: &Arc<Host>, counts: &mut Counts, at_once: bool) {
    let tool = host.tool(HANGING).clone();
    let polled = Arc::new(AtomicBool::new(false));
    let hang = hang(Arc::clone(&polled));
    let task = tokio::spawn(async move { tool.run_async(hang).await });
    if !at_once {
        sleep(Duration::from_millis(1)).await;
    }
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()));
    if polled.load(Ordering::Relaxed) {
        counts.whole(HANGING, 1, Outcome::Cancelled);
        counts.did(Did::DroppedPolled);
    } else {
        counts.did(Did::NeverPolled);
    }
    counts.did(Did::Aborted);
}

/// Returns a future that never ends, and that sets the flag when it is polled.
fn hang(polled: Arc<AtomicBool>) -> impl Future<Output = Result<(), ToolError>> {
    poll_fn(move |_| {
        polled.store(true, Ordering::Relaxed);
        Poll::Pending
    })
}

async fn invoke(host: &Host, counts: &mut Counts, attempt: u16, wish: u64) {
    let registry = &host.registry;
    let answer = registry
        .invoke(NAMES[BY_NAME], wish.into())
        .attempt(attempt)
        .await;
    count_answer(counts, BY_NAME, attempt, &answer);
}

async fn invoke_within(host: &Host, counts: &mut Counts, attempt: u16) {
    let registry = &host.registry;
    let (name, wish) = (NAMES[BY_NAME], ask::HANG.into());
    let answer = registry
        .invoke(name, wish)
        .attempt(attempt)
        .within(LIMIT)
        .await;
    assert!(answer.is_err());
    count_answer(counts, BY_NAME, attempt, &answer);
}
