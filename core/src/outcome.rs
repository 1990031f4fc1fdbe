//! The ways in which a call ends: [`Outcome`], and the three of them that have a latency,
//! [`OutcomeClass`].

use crate::error_kind::ErrorKind;

/// The class of an [`Outcome`] that has a latency: an outcome without its error kind.
///
/// Each class has a histogram and a sum of latencies.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, Outcome, OutcomeClass};
///
/// let class = Outcome::Failure(ErrorKind::Network).class();
/// assert_eq!(class, Some(OutcomeClass::Failure));
/// assert_eq!(OutcomeClass::Failure.as_str(), "failure");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OutcomeClass {
    /// The tool did what was asked of it.
    Success = 0,
    /// The tool, or the host on its behalf, answered with an error.
    Failure = 1,
    /// The call was dropped before it ended.
    Cancelled = 2,
}

impl OutcomeClass {
    /// The number of classes.
    pub const COUNT: usize = 3;

    /// Every class, in the order of its index.
    pub const ALL: [Self; Self::COUNT] = [Self::Success, Self::Failure, Self::Cancelled];

    /// Returns the name in `snake_case`, as snapshots contain it.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::OutcomeClass;
    ///
    /// assert_eq!(OutcomeClass::Cancelled.as_str(), "cancelled");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the index of this class in [`ALL`](Self::ALL).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::OutcomeClass;
    ///
    /// let class = OutcomeClass::Failure;
    /// assert_eq!(OutcomeClass::ALL[class.index()], class);
    /// ```
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The way in which a call ended.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, Outcome, OutcomeClass};
///
/// let outcome = Outcome::Failure(ErrorKind::Timeout);
/// assert_eq!(outcome.class(), Some(OutcomeClass::Failure));
/// assert_eq!(outcome.error_kind(), Some(ErrorKind::Timeout));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The tool did what was asked of it.
    Success,
    /// The tool, or the host on its behalf, answered with an error of this kind.
    Failure(ErrorKind),
    /// The call was dropped before it ended.
    Cancelled,
    /// The call was rejected before the tool ran: the tool is disabled, or an approver or a policy
    /// denied the call.
    Rejected,
}

impl Outcome {
    /// The class of successes.
    pub const SUCCESS: OutcomeClass = OutcomeClass::Success;
    /// The class of failures of any kind.
    pub const FAILURE: OutcomeClass = OutcomeClass::Failure;
    /// The class of cancelled calls.
    pub const CANCELLED: OutcomeClass = OutcomeClass::Cancelled;

    /// Returns the class whose histogram counts this outcome, or `None` for a rejected call, which has
    /// no latency.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, Outcome};
    ///
    /// assert_eq!(Outcome::Failure(ErrorKind::Panic).class(), Some(Outcome::FAILURE));
    /// assert_eq!(Outcome::Cancelled.class(), Some(Outcome::CANCELLED));
    /// assert_eq!(Outcome::Rejected.class(), None);
    /// ```
    #[must_use]
    #[inline]
    pub const fn class(self) -> Option<OutcomeClass> {
        match self {
            Self::Success => Some(OutcomeClass::Success),
            Self::Failure(_) => Some(OutcomeClass::Failure),
            Self::Cancelled => Some(OutcomeClass::Cancelled),
            Self::Rejected => None,
        }
    }

    /// Returns the name of the outcome, without its error kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, Outcome};
    ///
    /// assert_eq!(Outcome::Failure(ErrorKind::Panic).as_str(), "failure");
    /// assert_eq!(Outcome::Rejected.as_str(), "rejected");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self.class() {
            Some(class) => class.as_str(),
            None => "rejected",
        }
    }

    /// Returns the kind of the failure, or `None` for any other outcome.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, Outcome};
    ///
    /// assert_eq!(Outcome::Failure(ErrorKind::Panic).error_kind(), Some(ErrorKind::Panic));
    /// assert_eq!(Outcome::Cancelled.error_kind(), None);
    /// ```
    #[must_use]
    #[inline]
    pub const fn error_kind(self) -> Option<ErrorKind> {
        match self {
            Self::Failure(kind) => Some(kind),
            Self::Success | Self::Cancelled | Self::Rejected => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_lies_at_its_index() {
        for (index, class) in OutcomeClass::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
        }
    }

    #[test]
    fn only_a_failure_has_a_kind() {
        for outcome in [Outcome::Success, Outcome::Cancelled, Outcome::Rejected] {
            assert_eq!(outcome.error_kind(), None);
        }
        for kind in ErrorKind::ALL {
            assert_eq!(Outcome::Failure(kind).error_kind(), Some(kind));
        }
    }

    #[test]
    fn every_outcome_but_a_rejection_has_a_class_and_shares_its_name() {
        let outcomes = [
            (Outcome::Success, Some(Outcome::SUCCESS), "success"),
            (Outcome::Cancelled, Some(Outcome::CANCELLED), "cancelled"),
            (Outcome::Rejected, None, "rejected"),
        ];
        let failures =
            ErrorKind::ALL.map(|kind| (Outcome::Failure(kind), Some(Outcome::FAILURE), "failure"));
        for (outcome, class, name) in outcomes.into_iter().chain(failures) {
            assert_eq!((outcome.class(), outcome.as_str()), (class, name));
        }
    }
}
