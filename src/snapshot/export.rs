//! The counts and histograms of a tool with the labels that exporters give them.
//!
//! Every exporter writes one series for each [outcome](OUTCOMES) of a tool and one histogram for each
//! outcome that has a latency. The names are in one place, so all exporters agree on them.

use super::latency::LatencyStats;
use super::tool_stats::{LatencyByOutcome, ToolStats};
use toolmeter_core::{ErrorKind, Outcome, OutcomeClass};

/// Every way in which a call can end: success, each kind of failure, cancelled, rejected.
///
/// # Examples
///
/// Each count of a tool once:
///
/// ```
/// use toolmeter::OUTCOMES;
///
/// let registry = toolmeter::Registry::new();
/// registry.register("shell")?.start().succeed();
/// let stats = &registry.totals().tools["shell"];
/// let counts: u64 = OUTCOMES.iter().map(|&outcome| stats.count(outcome)).sum();
/// assert_eq!(counts, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const OUTCOMES: [Outcome; ErrorKind::COUNT + 3] = {
    let mut outcomes = [Outcome::Success; ErrorKind::COUNT + 3];
    let mut kind = 0;
    while kind < ErrorKind::COUNT {
        outcomes[1 + kind] = Outcome::Failure(ErrorKind::ALL[kind]);
        kind += 1;
    }
    outcomes[ErrorKind::COUNT + 1] = Outcome::Cancelled;
    outcomes[ErrorKind::COUNT + 2] = Outcome::Rejected;
    outcomes
};

/// Returns the `error.type` of an outcome, as OpenTelemetry's semantic conventions write it; `None` for
/// a success.
///
/// For a failure it is the name of its kind, and `_OTHER` for [`ErrorKind::Other`]; else the name of
/// the outcome.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, Outcome, error_type};
///
/// assert_eq!(error_type(Outcome::Success), None);
/// assert_eq!(error_type(Outcome::Failure(ErrorKind::Timeout)), Some("timeout"));
/// assert_eq!(error_type(Outcome::Failure(ErrorKind::Other)), Some("_OTHER"));
/// assert_eq!(error_type(Outcome::Cancelled), Some("cancelled"));
/// ```
#[must_use]
pub const fn error_type(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Success => None,
        Outcome::Failure(ErrorKind::Other) => Some("_OTHER"),
        Outcome::Failure(kind) => Some(kind.as_str()),
        Outcome::Cancelled | Outcome::Rejected => Some(outcome.as_str()),
    }
}

impl ToolStats {
    /// Returns the number of calls with this outcome; for a failure, of those of its kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Outcome};
    ///
    /// let registry = toolmeter::Registry::new();
    /// registry.register("shell")?.start().fail(ErrorKind::Timeout, "30 s");
    /// let stats = &registry.totals().tools["shell"];
    /// assert_eq!(stats.count(Outcome::Failure(ErrorKind::Timeout)), 1);
    /// assert_eq!(stats.count(Outcome::Failure(ErrorKind::Network)), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Success => self.success(),
            Outcome::Failure(kind) => self.failures_by_kind.get(&kind).copied().unwrap_or(0),
            Outcome::Cancelled => self.cancelled(),
            Outcome::Rejected => self.rejected,
        }
    }
}

impl LatencyByOutcome {
    /// Returns the three histograms with their classes of outcomes.
    #[must_use]
    pub fn by_class(&self) -> [(OutcomeClass, &LatencyStats); OutcomeClass::COUNT] {
        [
            (OutcomeClass::Success, &self.success),
            (OutcomeClass::Failure, &self.failure),
            (OutcomeClass::Cancelled, &self.cancelled),
        ]
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_outcome_stands_once_and_has_labels_of_its_own() {
        let labels = OUTCOMES.map(|outcome| (outcome.as_str(), error_type(outcome)));
        assert_eq!(labels[0], ("success", None));
        assert_eq!(labels[1], ("failure", Some("invalid_args")));
        assert_eq!(labels[10], ("failure", Some("_OTHER")));
        assert_eq!(labels[11], ("cancelled", Some("cancelled")));
        assert_eq!(labels[12], ("rejected", Some("rejected")));
        assert_eq!(BTreeSet::from(labels).len(), OUTCOMES.len());
    }
}
