//! How a call ends: [`Outcome`], its three [`OutcomeClass`]es, and the [`ErrorKind`] of a failure.
//!
//! The kinds are closed and few, because each has a counter of its own in every slot and may
//! become a label in somebody's metrics. Whatever text an error carries travels apart.

/// What kind of failure ended a call.
///
/// # Examples
///
/// ```
/// use toolmeter_core::ErrorKind;
///
/// assert_eq!(ErrorKind::RateLimited.as_str(), "rate_limited");
/// assert_eq!(ErrorKind::from_name("rate_limited"), Some(ErrorKind::RateLimited));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// The arguments, or the tool's answer, did not have the shape that was agreed on.
    InvalidArgs = 0,
    /// The tool, or what it was asked for, does not exist.
    NotFound = 1,
    /// The caller may not do this.
    PermissionDenied = 2,
    /// Too many calls in too short a time.
    RateLimited = 3,
    /// The call took longer than its time limit.
    Timeout = 4,
    /// The service behind the tool failed.
    Provider = 5,
    /// The service behind the tool could not be reached.
    Network = 6,
    /// The tool panicked.
    Panic = 7,
    /// The call was refused before the tool ran: it is disabled, or nobody approved.
    Rejected = 8,
    /// Anything else.
    Other = 9,
}

impl ErrorKind {
    /// How many kinds there are.
    pub const COUNT: usize = 10;

    /// Every kind, in the order of its index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::InvalidArgs,
        Self::NotFound,
        Self::PermissionDenied,
        Self::RateLimited,
        Self::Timeout,
        Self::Provider,
        Self::Network,
        Self::Panic,
        Self::Rejected,
        Self::Other,
    ];

    /// The name in `snake_case`, as it stands in a snapshot.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgs => "invalid_args",
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Provider => "provider",
            Self::Network => "network",
            Self::Panic => "panic",
            Self::Rejected => "rejected",
            Self::Other => "other",
        }
    }

    /// The kind of that name; the inverse of [`as_str`](Self::as_str).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::ErrorKind;
    ///
    /// assert_eq!(ErrorKind::from_name("timeout"), Some(ErrorKind::Timeout));
    /// assert_eq!(ErrorKind::from_name("Timeout"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The place of this kind in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl core::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}

/// An [`Outcome`] without its error kind: each class has a histogram and a latency sum.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, Outcome, OutcomeClass};
///
/// let class = Outcome::Failure(ErrorKind::Network).class();
/// assert_eq!(class.as_str(), "failure");
/// assert_eq!(OutcomeClass::ALL[class.index()], class);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OutcomeClass {
    /// The tool gave what was asked of it.
    Success = 0,
    /// The tool, or the host on its behalf, answered with an error.
    Failure = 1,
    /// Nobody waited for the end: the call was dropped.
    Cancelled = 2,
}

impl OutcomeClass {
    /// How many classes there are.
    pub const COUNT: usize = 3;

    /// Every class, in the order of its index.
    pub const ALL: [Self; Self::COUNT] = [Self::Success, Self::Failure, Self::Cancelled];

    /// The name in `snake_case`, as it stands in a snapshot.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
        }
    }

    /// The place of this class in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How a call ended.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, Outcome, OutcomeClass};
///
/// let outcome = Outcome::Failure(ErrorKind::Timeout);
/// assert_eq!(outcome.class(), OutcomeClass::Failure);
/// assert_eq!(outcome.error_kind(), Some(ErrorKind::Timeout));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The tool gave what was asked of it.
    Success,
    /// The tool, or the host on its behalf, answered with an error of this kind.
    Failure(ErrorKind),
    /// The call was dropped before it ended.
    Cancelled,
}

impl Outcome {
    /// The class of a success.
    pub const SUCCESS: OutcomeClass = OutcomeClass::Success;
    /// The class of every failure.
    pub const FAILURE: OutcomeClass = OutcomeClass::Failure;
    /// The class of a cancelled call.
    pub const CANCELLED: OutcomeClass = OutcomeClass::Cancelled;

    /// The outcome without its error kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::{ErrorKind, Outcome};
    ///
    /// assert_eq!(Outcome::Failure(ErrorKind::Panic).class(), Outcome::FAILURE);
    /// assert_eq!(Outcome::Cancelled.class(), Outcome::CANCELLED);
    /// ```
    #[must_use]
    #[inline]
    pub const fn class(self) -> OutcomeClass {
        match self {
            Self::Success => OutcomeClass::Success,
            Self::Failure(_) => OutcomeClass::Failure,
            Self::Cancelled => OutcomeClass::Cancelled,
        }
    }

    /// The kind of the failure, if it is one.
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
            Self::Success | Self::Cancelled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_classes_lie_at_their_index() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert_eq!(ErrorKind::from_name(kind.as_str()), Some(kind));
        }
        for (index, class) in OutcomeClass::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
        }
        assert_eq!(ErrorKind::from_name("Timeout"), None);
    }

    #[test]
    fn a_kind_is_displayed_by_its_name_and_keeps_to_the_width_it_is_given() {
        assert_eq!(format!("{}", ErrorKind::RateLimited), "rate_limited");
        assert_eq!(format!("{:<10}|", ErrorKind::Panic), "panic     |");
    }

    #[test]
    fn only_a_failure_has_a_kind() {
        assert_eq!(Outcome::Success.error_kind(), None);
        assert_eq!(Outcome::Cancelled.error_kind(), None);
        for kind in ErrorKind::ALL {
            assert_eq!(Outcome::Failure(kind).error_kind(), Some(kind));
            assert_eq!(Outcome::Failure(kind).class(), Outcome::FAILURE);
        }
        assert_eq!(Outcome::Success.class(), Outcome::SUCCESS);
        assert_eq!(Outcome::Cancelled.class(), Outcome::CANCELLED);
    }
}
