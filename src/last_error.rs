//! [`KeptErrors`]: the text of a tool's last failure, which does not fit into the words of the slot.
//!
//! The slot keeps which failure is the last: within a stripe the one that came last, and of all
//! stripes the one of the latest time. The two differ only if the clock steps backwards. So two
//! records are kept, and the one that belongs to the slot's last failure has its text.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `records` | arc-swap's `rcu` and `load` | its own | each other | stand-in in the models, stress tests for the real one |

use crate::swap::ArcSwapOption;
use std::sync::Arc;
use toolmeter_core::{ErrorKind, LastFailure};
use toolmeter_events::ErrorMessage;

/// A failure with its text.
#[derive(Clone, Debug)]
pub(crate) struct ErrorRecord {
    pub(crate) kind: ErrorKind,
    pub(crate) attempt: u16,
    /// The time of the failure, in nanoseconds of the clock.
    pub(crate) at_ns: u64,
    pub(crate) message: ErrorMessage,
}

impl ErrorRecord {
    fn belongs_to(&self, failure: LastFailure) -> bool {
        LastFailure::new(self.kind, self.attempt, self.at_ns) == failure
    }
}

/// The records of a tool's last failures.
#[derive(Debug)]
pub(crate) struct ErrorRecords {
    /// The record that was kept last.
    last: Arc<ErrorRecord>,
    /// The record of the latest time.
    latest: Arc<ErrorRecord>,
}

impl ErrorRecords {
    /// Returns the record of this failure, if it is kept.
    pub(crate) fn of(&self, failure: LastFailure) -> Option<&ErrorRecord> {
        let records = [&self.last, &self.latest];
        records
            .into_iter()
            .find(|record| record.belongs_to(failure))
            .map(|record| &**record)
    }
}

/// The place of a tool's records.
#[derive(Debug)]
pub(crate) struct KeptErrors {
    records: ArcSwapOption<ErrorRecords>,
}

impl KeptErrors {
    pub(crate) fn new(records: Option<Arc<ErrorRecords>>) -> Self {
        Self {
            records: ArcSwapOption::new(records),
        }
    }

    /// Keeps a record.
    pub(crate) fn keep(&self, record: ErrorRecord) {
        let record = Arc::new(record);
        self.records.rcu(|kept| {
            let latest = match kept {
                Some(kept) if kept.latest.at_ns > record.at_ns => &kept.latest,
                _ => &record,
            };
            Some(Arc::new(ErrorRecords {
                last: Arc::clone(&record),
                latest: Arc::clone(latest),
            }))
        });
    }

    /// Returns whether these are still the records that are kept.
    pub(crate) fn is_same(&self, records: Option<&Arc<ErrorRecords>>) -> bool {
        self.records.load().as_ref().map(Arc::as_ptr) == records.map(Arc::as_ptr)
    }

    /// Returns the records that are kept now.
    pub(crate) fn load(&self) -> Option<Arc<ErrorRecords>> {
        self.records.load_full()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;

    fn record(at_ns: u64, text: &str) -> ErrorRecord {
        ErrorRecord {
            kind: ErrorKind::Other,
            attempt: 1,
            at_ns,
            message: ErrorMessage::new(text),
        }
    }

    #[test]
    fn a_step_backwards_loses_neither_the_last_nor_the_latest() {
        let kept = KeptErrors::new(None);
        for (at_ns, text) in [(1 << 40, "before"), (1 << 20, "after")] {
            kept.keep(record(at_ns, text));
        }
        let kept = kept.load().unwrap();
        let text = |at_ns| {
            let failure = LastFailure::new(ErrorKind::Other, 1, at_ns);
            kept.of(failure).map(|record| record.message.to_string())
        };
        assert_eq!(text(1 << 40).as_deref(), Some("before"));
        assert_eq!(text(1 << 20).as_deref(), Some("after"));
        assert_eq!(text(1 << 30), None);
    }
}
