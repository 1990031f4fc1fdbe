//! Calls of one thread, one after the other, of every kind that needs no runtime.

use crate::counts::Counts;
use crate::crossing::{Finisher, Passed, poll_once};
use crate::did::Did;
use crate::host::Host;
use crate::tools::{
    BY_NAME, CROSSING, FAILING, FIXED, HANGING, NAMES, PANICKING, PLAIN, REFUSED, TIMED, TOOLS,
    UNKNOWN, WAITING, ask, unwind,
};
use serde_json::Value;
use std::future::{Future, IntoFuture, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use toolmeter::{
    CallBuilder, CallContext, ErrorKind, InvokeError, Outcome, ToolError, ToolHandle, Verdict,
};

/// The number of kinds of calls that [`Caller::call`] makes in turn.
pub(crate) const KINDS_OF_CALLS: u64 = 20;

/// The result of a tool that only succeeds or fails.
type Plain = Result<(), ToolError>;

/// One thread that calls.
pub(crate) struct Caller {
    host: Arc<Host>,
    finisher: Finisher,
    context: Arc<CallContext>,
    step: u64,
    /// The expected counts of its calls.
    pub(crate) counts: Counts,
}

/// Makes calls until the load is over, in bursts of `burst` calls with a pause between.
pub(crate) fn call_in_bursts(mut caller: Caller, burst: u32) -> Counts {
    while !caller.host.is_over() {
        for _ in 0..burst {
            caller.call();
        }
        caller.host.rest(Duration::from_micros(500));
        caller.host.wait_for_receivers();
    }
    caller.counts
}

impl Caller {
    /// Creates a caller that begins with the call number `step`.
    pub(crate) fn new(host: &Arc<Host>, finisher: &Finisher, step: u64) -> Self {
        Self {
            host: Arc::clone(host),
            finisher: finisher.clone(),
            context: Arc::new(CallContext::new("soak").turn(step).call("call")),
            step,
            counts: Counts::default(),
        }
    }

    /// Makes the next call.
    pub(crate) fn call(&mut self) {
        let round = self.step / KINDS_OF_CALLS;
        let attempt = 1 + (round % 3) as u16;
        let kind = ErrorKind::ALL[(round % ErrorKind::COUNT as u64) as usize];
        match self.step % KINDS_OF_CALLS {
            0 | 1 => self.timed(attempt, Outcome::Success),
            2 => self.timed(attempt, Outcome::Failure(kind)),
            3 => self.timed(attempt, Outcome::Cancelled),
            4 => self.succeed(attempt),
            5 => self.fail(attempt, kind),
            6 => self.fail_by_verdict(attempt, kind),
            7 => self.panic(attempt),
            8 => self.panic_with_a_guard(),
            9 => self.never_poll(),
            10 => self.poll_and_drop(attempt),
            11 => self.poll_to_the_end(attempt),
            12 => self.pass_a_guard(attempt, kind),
            13 => self.pass_a_future(attempt),
            14 => self.invoke(BY_NAME, attempt),
            15 => self.invoke(REFUSED, attempt),
            16 => self.find_and_call(attempt),
            17 => self.reject(attempt),
            18 => self.timed(attempt, Outcome::Rejected),
            _ => self.invoke_unknown(attempt),
        }
        self.step += 1;
    }

    fn tool(&self, place: usize) -> ToolHandle {
        self.host.tool(place).clone()
    }

    fn call_of<'a>(&self, tool: &'a ToolHandle, attempt: u16) -> CallBuilder<'a> {
        let context = Arc::clone(&self.context);
        tool.call().attempt(attempt).context(context)
    }

    fn timed(&mut self, attempt: u16, outcome: Outcome) {
        let tool = self.tool(TIMED);
        let open = self.counts.begin(TIMED, attempt);
        let call = self.call_of(&tool, attempt).start();
        let latency = match outcome {
            Outcome::Success => call.succeed(),
            Outcome::Failure(kind) => call.fail(kind, "timed"),
            Outcome::Cancelled => {
                drop(call);
                Duration::ZERO
            }
            Outcome::Rejected => {
                call.reject("refused while it ran");
                Duration::ZERO
            }
        };
        self.counts.end_after(open, outcome, latency);
    }

    fn succeed(&mut self, attempt: u16) {
        let tool = self.tool(PLAIN);
        self.call_of(&tool, attempt).run(|| ());
        self.counts.whole(PLAIN, attempt, Outcome::Success);
    }

    fn fail(&mut self, attempt: u16, kind: ErrorKind) {
        let tool = self.tool(FAILING);
        let call = self.call_of(&tool, attempt);
        let failed: Plain = call.run(|| Err(ToolError::new(kind, "failed as asked")));
        assert!(failed.is_err());
        self.counts.whole(FAILING, attempt, Outcome::Failure(kind));
    }

    fn fail_by_verdict(&mut self, attempt: u16, kind: ErrorKind) {
        let tool = self.tool(FAILING);
        let call = self.call_of(&tool, attempt);
        call.classify(|kind| Verdict::failure(*kind)).run(|| kind);
        self.counts.whole(FAILING, attempt, Outcome::Failure(kind));
    }

    fn panic(&mut self, attempt: u16) {
        let tool = self.tool(PANICKING);
        let call = self.call_of(&tool, attempt);
        let ended = catch_unwind(AssertUnwindSafe(|| call.run(|| -> () { unwind() })));
        assert!(ended.is_err());
        let outcome = Outcome::Failure(ErrorKind::Panic);
        self.counts.whole(PANICKING, attempt, outcome);
    }

    /// Panics while a guard is open, and makes another guard during the unwinding. Both are
    /// cancelled: the tool itself did not panic.
    fn panic_with_a_guard(&mut self) {
        struct CallsWhenDropped<'a>(&'a ToolHandle);
        impl Drop for CallsWhenDropped<'_> {
            fn drop(&mut self) {
                drop(self.0.start());
            }
        }
        let tool = self.tool(PANICKING);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let _later = CallsWhenDropped(&tool);
            let _call = tool.start();
            unwind()
        }));
        assert!(ended.is_err());
        self.counts.whole(PANICKING, 1, Outcome::Cancelled);
        self.counts.whole(PANICKING, 1, Outcome::Cancelled);
    }

    /// Rejects a call before it begins.
    fn reject(&mut self, attempt: u16) {
        let tool = self.tool(REFUSED);
        self.call_of(&tool, attempt).reject("denied as asked");
        self.counts.reject(REFUSED);
    }

    /// Drops a future that was never polled, which is not a call.
    fn never_poll(&mut self) {
        let tool = self.tool(HANGING);
        drop(tool.run_async(pending::<Plain>()));
        self.counts.did(Did::NeverPolled);
    }

    fn poll_and_drop(&mut self, attempt: u16) {
        let tool = self.tool(HANGING);
        let call = self.call_of(&tool, attempt);
        assert!(poll_once(pin!(call.run_async(pending::<Plain>()))).is_pending());
        self.counts.whole(HANGING, attempt, Outcome::Cancelled);
        self.counts.did(Did::DroppedPolled);
    }

    fn poll_to_the_end(&mut self, attempt: u16) {
        let tool = self.tool(WAITING);
        let mut call = pin!(self.call_of(&tool, attempt).run_async(twice()));
        assert!(poll_once(call.as_mut()).is_pending());
        assert!(poll_once(call.as_mut()).is_ready());
        self.counts.whole(WAITING, attempt, Outcome::Success);
    }

    fn pass_a_guard(&mut self, attempt: u16, kind: ErrorKind) {
        let outcome = match attempt {
            1 => Outcome::Success,
            2 => Outcome::Failure(kind),
            _ if (self.step / KINDS_OF_CALLS).is_multiple_of(2) => Outcome::Rejected,
            _ => Outcome::Cancelled,
        };
        let tool = self.tool(CROSSING);
        let open = self.counts.begin(CROSSING, attempt);
        let call = self.call_of(&tool, attempt).start_owned();
        let passed = Passed::Call(call, open, outcome);
        self.finisher.pass(passed, &mut self.counts);
    }

    fn pass_a_future(&mut self, attempt: u16) {
        let (tool, context) = (self.tool(CROSSING), Arc::clone(&self.context));
        let mut call = Box::pin(async move {
            let call = tool.call().attempt(attempt).context(context);
            let ended = call.run_async(twice()).await;
            assert!(ended.is_ok());
        });
        let open = self.counts.begin(CROSSING, attempt);
        assert!(poll_once(call.as_mut()).is_pending());
        let outcome = match attempt {
            1 => Outcome::Cancelled,
            _ => Outcome::Success,
        };
        let passed = Passed::Future(call, open, outcome);
        self.finisher.pass(passed, &mut self.counts);
    }

    /// Calls a tool with a body by name, and asks for another behaviour each round.
    fn invoke(&mut self, tool: usize, attempt: u16) {
        let wish = self.step / KINDS_OF_CALLS % ask::ENDING;
        if tool == REFUSED {
            self.host.tool(REFUSED).set_enabled(wish.is_multiple_of(2));
        }
        let call = self.host.registry.invoke(NAMES[tool], wish.into());
        let call = call.attempt(attempt).context(Arc::clone(&self.context));
        let mut call = pin!(call.into_future());
        // Only `ask::YIELD` makes the call pending, and only once.
        let answer = match poll_once(call.as_mut()) {
            Poll::Pending => poll_once(call),
            ready => ready,
        };
        let Poll::Ready(answer) = answer else {
            panic!("`{}` did not answer when asked for {wish}", NAMES[tool]);
        };
        count_answer(&mut self.counts, tool, attempt, &answer);
    }

    fn invoke_unknown(&mut self, attempt: u16) {
        let call = self.host.registry.invoke(UNKNOWN, Value::Null);
        let call = pin!(call.attempt(attempt).into_future());
        assert!(matches!(
            poll_once(call),
            Poll::Ready(Err(InvokeError::UnknownTool { .. }))
        ));
        self.counts.unknown += 1;
    }

    /// Looks up a tool that may or may not be registered, and calls it if it is. Then calls it by
    /// name in any case.
    fn find_and_call(&mut self, attempt: u16) {
        let place = FIXED + (self.step / KINDS_OF_CALLS) as usize % (TOOLS - FIXED);
        if let Some(tool) = self.host.registry.get(NAMES[place]) {
            self.call_of(&tool, attempt).start().succeed();
            self.counts.whole(place, attempt, Outcome::Success);
        }
        self.invoke(place, attempt);
    }
}

/// Returns a future that is ready at its second poll.
fn twice() -> impl Future<Output = Plain> + Send {
    let mut polled = false;
    std::future::poll_fn(move |_| {
        if polled {
            Poll::Ready(Ok(()))
        } else {
            polled = true;
            Poll::Pending
        }
    })
}

/// Counts a call by name by its result.
pub(crate) fn count_answer(
    counts: &mut Counts,
    tool: usize,
    attempt: u16,
    answer: &Result<Value, InvokeError>,
) {
    let outcome = match answer {
        Err(InvokeError::UnknownTool { .. }) => {
            counts.unknown += 1;
            return;
        }
        Err(InvokeError::Disabled { .. } | InvokeError::NotCallable { .. }) => {
            counts.reject(tool);
            return;
        }
        Err(error) => error.outcome(),
        Ok(answer) if answer["isError"] == true => Outcome::Failure(ErrorKind::ToolError),
        Ok(_) => Outcome::Success,
    };
    counts.whole(tool, attempt, outcome);
}
