//! [`RetryHistory`]: the calls of a run that did not succeed, so that an identical call of a later
//! turn is known to be a retry.
//!
//! Promise: at most [`LIMIT`] calls are remembered, each in a few words of memory whatever its
//! arguments are. If there are more, the one whose latest attempt is the longest ago is forgotten.

use super::tool_call::Identity;
use std::collections::{BTreeMap, HashMap};

/// The number of calls that are remembered.
const LIMIT: usize = 10_000;

/// The last attempt at each call whose latest one did not succeed.
#[derive(Debug, Default)]
pub(super) struct RetryHistory {
    calls: HashMap<Identity, Remembered>,
    /// The same calls in the order in which they were last remembered.
    by_age: BTreeMap<u64, Identity>,
    /// The key in `by_age` of the next call.
    next_age: u64,
}

#[derive(Debug)]
struct Remembered {
    attempt: u16,
    /// Its key in `by_age`.
    age: u64,
}

impl RetryHistory {
    /// Returns the number of the last attempt at this call; 0 if the call is not remembered.
    pub(super) fn last_attempt(&self, call: Identity) -> u16 {
        self.calls.get(&call).map_or(0, |known| known.attempt)
    }

    /// Remembers that the latest such call did not succeed. Forgets the oldest call if there are too
    /// many.
    pub(super) fn remember(&mut self, call: Identity, attempt: u16) {
        let age = self.next_age;
        self.next_age += 1;
        let before = self.calls.insert(call, Remembered { attempt, age });
        if let Some(before) = before {
            self.by_age.remove(&before.age);
        }
        self.by_age.insert(age, call);
        if self.calls.len() > LIMIT
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.calls.remove(&oldest);
        }
    }

    /// Forgets a call, since the latest one succeeded.
    pub(super) fn forget(&mut self, call: Identity) {
        if let Some(known) = self.calls.remove(&call) {
            self.by_age.remove(&known.age);
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
