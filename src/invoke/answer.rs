//! The answer to a call by name: judging, counting and returning it.
//!
//! The caller gets the answer whatever its shape is. The tool ([`Tool::classify`]) or a rule of the
//! host judges it.

use crate::call::CallGuard;
#[cfg(feature = "tokio")]
use crate::call::OwnedCall;
use crate::classify::{ByRule, Verdict};
use crate::contain::{Panicked, contained};
#[cfg(feature = "tokio")]
use crate::error::TimeLimitExceeded;
use crate::error::{InvokeError, ToolError};
use crate::text::shown;
use crate::tool::Tool;
use crate::tool_state::ToolHandle;
use serde_json::Value;
use std::borrow::Borrow;
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::time::Duration;
use toolmeter_core::{ErrorKind, Outcome};

/// The rule of calls by name that the tool judges, through [`Tool::classify`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTool;

/// A rule that judges the answer of a call by name; see
/// [`Invoke::classify`](crate::Invoke::classify).
pub trait JudgeAnswer: sealed::Sealed {
    /// Judges the answer.
    fn judge(self, tool: &dyn Tool, answer: &Value) -> Verdict;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for ByTool {}
impl<F> sealed::Sealed for ByRule<F> {}

impl JudgeAnswer for ByTool {
    fn judge(self, tool: &dyn Tool, answer: &Value) -> Verdict {
        tool.classify(answer)
    }
}

impl<F: FnOnce(&Value) -> Verdict> JudgeAnswer for ByRule<F> {
    fn judge(self, _: &dyn Tool, answer: &Value) -> Verdict {
        self.into_rule()(answer)
    }
}

/// The answer to a call by name, and the outcome that was counted. An answer with an error flag is a
/// failure, too.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub(crate) answer: Result<Value, InvokeError>,
    #[cfg_attr(
        not(feature = "auto_run"),
        allow(dead_code, reason = "only `AutoRun` reads it")
    )]
    pub(crate) outcome: Outcome,
}

impl Invoked {
    /// A call that failed with an error.
    pub(super) fn failed(error: InvokeError) -> Self {
        Self {
            outcome: error.outcome(),
            answer: Err(error),
        }
    }
}

/// The result of a tool, or its panic.
pub(super) type Returned = Result<Result<Value, ToolError>, Panicked>;

/// Judges what the tool returned. Returns the verdict to count, and the answer.
pub(super) fn judge<H, C>(call: &CallGuard<H>, rule: C, returned: Returned) -> (Verdict, Invoked)
where
    H: Borrow<ToolHandle>,
    C: JudgeAnswer,
{
    let judged = match returned {
        Ok(Ok(answer)) => match &call.handle().0.callable {
            Some(callable) => contained(|| rule.judge(callable.tool(), &answer)),
            None => Ok(Verdict::success()),
        }
        .map(|verdict| (verdict, answer)),
        Ok(Err(error)) => {
            let verdict = if call.keeps_text() {
                Verdict::from_error(&error)
            } else {
                Verdict::of(error.outcome())
            };
            return (verdict, Invoked::failed(error.into()));
        }
        Err(panicked) => Err(panicked),
    };
    match judged {
        Ok((verdict, answer)) => {
            let invoked = Invoked {
                answer: Ok(answer),
                outcome: verdict.outcome(),
            };
            (verdict, invoked)
        }
        Err(panicked) => {
            let message = panicked.text();
            let error = InvokeError::Panicked {
                name: Arc::clone(&call.handle().0.slot.name),
                message: shown(&message),
            };
            let verdict = Verdict::failure(ErrorKind::Panic).because(message);
            (verdict, Invoked::failed(error))
        }
    }
}

/// Ends a call by what the tool returned. Returns the answer.
pub(super) fn conclude<H, C>(call: CallGuard<H>, rule: C, returned: Returned) -> Invoked
where
    H: Borrow<ToolHandle>,
    C: JudgeAnswer,
{
    let (verdict, invoked) = judge(&call, rule, returned);
    call.finish_with(&verdict, invoked.answer.as_ref().ok());
    invoked
}

/// Ends a call that exceeded its time limit. Returns the answer.
#[cfg(feature = "tokio")]
#[cold]
pub(super) fn time_out(call: OwnedCall, limit: Duration) -> Invoked {
    let name = Arc::clone(&call.handle().0.slot.name);
    let error = TimeLimitExceeded { limit };
    call.fail(ErrorKind::Timeout, error);
    Invoked::failed(InvokeError::TimedOut { name, limit })
}
