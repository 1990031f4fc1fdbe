//! [`Unsuccessful`]: the calls of a run that did not succeed, so that the next identical one is
//! known to be a retry.
//!
//! Promise: at most [`LIMIT`] calls are remembered, each in a few words of memory whatever its
//! arguments are. When one more comes, the one that is the longest ago is forgotten.

use super::call::Identity;
use std::collections::{BTreeMap, HashMap};

/// How many calls are remembered.
const LIMIT: usize = 10_000;

/// The number of the last attempt at each call whose latest one did not succeed.
#[derive(Debug, Default)]
pub(super) struct Unsuccessful {
    calls: HashMap<Identity, Remembered>,
    /// The same calls, the one that is the longest ago first.
    by_age: BTreeMap<u64, Identity>,
    /// How many were ever told.
    told: u64,
}

#[derive(Debug)]
struct Remembered {
    attempt: u16,
    /// Its place in `by_age`.
    told: u64,
}

impl Unsuccessful {
    /// Returns the number of the last attempt at this call, 0 if none is remembered.
    pub(super) fn last_attempt(&self, call: Identity) -> u16 {
        self.calls.get(&call).map_or(0, |known| known.attempt)
    }

    /// Remembers that the latest such call did not succeed, and forgets the oldest one if need be.
    pub(super) fn remember(&mut self, call: Identity, attempt: u16) {
        let told = self.told;
        self.told += 1;
        let before = self.calls.insert(call, Remembered { attempt, told });
        if let Some(before) = before {
            self.by_age.remove(&before.told);
        }
        self.by_age.insert(told, call);
        if self.calls.len() > LIMIT
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.calls.remove(&oldest);
        }
    }

    /// Forgets a call, as the latest one succeeded.
    pub(super) fn forget(&mut self, call: Identity) {
        if let Some(known) = self.calls.remove(&call) {
            self.by_age.remove(&known.told);
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::super::ToolCall;
    use super::*;
    use serde_json::json;

    fn call(n: usize) -> Identity {
        ToolCall::new("shell", json!(n)).identity()
    }

    fn remembered(calls: &Unsuccessful) -> usize {
        assert_eq!(calls.calls.len(), calls.by_age.len());
        calls.calls.len()
    }

    #[test]
    fn no_more_calls_are_remembered_than_the_limit_says() {
        let mut calls = Unsuccessful::default();
        for n in 0..3 * LIMIT {
            calls.remember(call(n), 1);
            assert_eq!(remembered(&calls), LIMIT.min(n + 1));
        }
        assert_eq!(calls.last_attempt(call(2 * LIMIT - 1)), 0);
        assert_eq!(calls.last_attempt(call(2 * LIMIT)), 1);
    }

    #[test]
    fn the_call_that_is_the_longest_ago_is_forgotten_first() {
        let mut calls = Unsuccessful::default();
        (0..LIMIT).for_each(|n| calls.remember(call(n), 1));
        // The first is told again, and so the second is the oldest one.
        calls.remember(call(0), 2);
        assert_eq!(remembered(&calls), LIMIT);
        calls.remember(call(LIMIT), 1);
        let known = [0, 1, 2, LIMIT].map(|n| calls.last_attempt(call(n)));
        assert_eq!(known, [2, 0, 1, 1]);
    }

    #[test]
    fn a_call_that_succeeded_makes_room() {
        let mut calls = Unsuccessful::default();
        for n in 0..2 * LIMIT {
            calls.remember(call(n), 1);
            calls.forget(call(n));
            calls.forget(call(n));
        }
        assert_eq!(remembered(&calls), 0);
    }
}
