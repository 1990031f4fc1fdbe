//! The end of a metered call: judging and counting the result of the tool.
//!
//! What the tool returns is returned to the caller. A panic of the tool, or of the rule that judges
//! its result, is counted as `panic`, and goes on unwinding.

use crate::call::{Call, CallGuard};
use crate::classify::{Judge, Verdict};
use crate::contain::{Panicked, contained};
use crate::tool_state::ToolHandle;
use std::borrow::Borrow;

/// Ends the call by what the tool returned, and returns that. A panic is counted and goes on.
#[inline(always)]
pub(crate) fn end_and_return<C, R, M>(call: Call<'_>, rule: C, returned: Result<R, Panicked>) -> R
where
    C: Judge<R, M>,
{
    match returned {
        Ok(result) => {
            end_by_result(call, rule, &result);
            result
        }
        Err(panicked) => {
            call.panicked(&panicked);
            panicked.resume()
        }
    }
}

/// Judges the result of the tool, and ends the call.
#[inline]
pub(crate) fn end_by_result<H, C, R, M>(call: CallGuard<H>, rule: C, result: &R)
where
    H: Borrow<ToolHandle>,
    C: Judge<R, M>,
{
    if rule.is_plain_success(result) {
        call.succeed();
    } else {
        end_judged(call, rule, result);
    }
}

/// Ends the call as the rule judges it. A panic of the rule is counted and goes on.
///
/// This is a function of its own, since nearly no call needs it.
#[inline(never)]
fn end_judged<H, C, R, M>(call: CallGuard<H>, rule: C, result: &R)
where
    H: Borrow<ToolHandle>,
    C: Judge<R, M>,
{
    match verdict(&call, rule, result) {
        Ok(verdict) => {
            call.finish(verdict);
        }
        Err(panicked) => {
            call.panicked(&panicked);
            panicked.resume();
        }
    }
}

/// Returns the verdict of the rule: only its outcome if no text is kept.
#[inline]
pub(crate) fn verdict<H, C, R, M>(
    call: &CallGuard<H>,
    rule: C,
    result: &R,
) -> Result<Verdict, Panicked>
where
    H: Borrow<ToolHandle>,
    C: Judge<R, M>,
{
    let keeps_text = call.keeps_text();
    contained(|| {
        if keeps_text {
            rule.judge(result)
        } else {
            Verdict::of(rule.outcome(result))
        }
    })
}
