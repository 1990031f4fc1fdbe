//! [`Judge`]: the rule by which a call is judged: the type of its result, or a rule of the host's
//! own.

use super::results::Classify;
use super::verdict::Verdict;
use crate::contain::discard;
use std::fmt;
use toolmeter_core::Outcome;

mod sealed {
    pub trait Sealed {}
}

/// The rule for a call's result: its type ([`ByType`]), or a rule of the host's own ([`ByRule`]).
#[diagnostic::on_unimplemented(
    message = "no rule says whether a call that returns `{R}` succeeded",
    note = "judge it by a rule of your own with `.classify(|result: &{R}| ...)` in front of `run`"
)]
pub trait Judge<R, M>: sealed::Sealed {
    /// Judges the result.
    fn judge(self, result: &R) -> Verdict;

    /// Returns the outcome alone.
    fn outcome(self, result: &R) -> Outcome;

    /// Returns whether the result is known to be a success, so that it is not judged any further.
    fn is_plain_success(&self, result: &R) -> bool;
}

/// The rule that judges a result by its type, through [`Classify`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByType;

impl sealed::Sealed for ByType {}

impl<R: Classify<M>, M> Judge<R, M> for ByType {
    #[inline]
    fn judge(self, result: &R) -> Verdict {
        result.classify()
    }

    #[inline]
    fn outcome(self, result: &R) -> Outcome {
        result.outcome()
    }

    #[inline]
    fn is_plain_success(&self, result: &R) -> bool {
        result.is_plain_success()
    }
}

/// A rule of the host's own; see [`CallBuilder::classify`](crate::CallBuilder::classify).
///
/// If the rule is dropped unused, a panic of its destructor is contained.
#[derive(Clone)]
pub struct ByRule<F>(Option<F>);

impl<F> ByRule<F> {
    #[inline]
    pub(crate) const fn new(rule: F) -> Self {
        Self(Some(rule))
    }

    #[inline]
    pub(crate) fn into_rule(mut self) -> F {
        match self.0.take() {
            Some(rule) => rule,
            None => unreachable!("only this and the destructor take the rule"),
        }
    }
}

impl<F> Drop for ByRule<F> {
    #[inline]
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

impl<F> fmt::Debug for ByRule<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByRule(..)")
    }
}

impl<F> sealed::Sealed for ByRule<F> {}

impl<R, F: FnOnce(&R) -> Verdict> Judge<R, ()> for ByRule<F> {
    #[inline]
    fn judge(self, result: &R) -> Verdict {
        self.into_rule()(result)
    }

    #[inline]
    fn outcome(self, result: &R) -> Outcome {
        self.into_rule()(result).outcome()
    }

    #[inline]
    fn is_plain_success(&self, _: &R) -> bool {
        false
    }
}
