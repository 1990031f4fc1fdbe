//! The names, and the calls of each name that is used once.

use crate::counts::Tally;
use toolmeter::{ErrorKind, Outcome, Snapshot};

/// The number of threads that register and deregister.
pub(super) const MOVERS: usize = 2;
/// The number of recurring names of each of them.
pub(super) const RECURRING: usize = 4;

/// Outcomes of calls, used in turn.
pub(super) const OUTCOMES: [Outcome; 5] = [
    Outcome::Success,
    Outcome::Failure(ErrorKind::Network),
    Outcome::Cancelled,
    Outcome::Rejected,
    Outcome::Failure(ErrorKind::ToolError),
];

pub(super) fn recurring_name(mover: usize, number: usize) -> String {
    format!("recurring_{mover}_{number}")
}

pub(super) fn unique_name(mover: usize, number: u64) -> String {
    format!("once_{mover}_{number}")
}

/// Returns the place of a recurring name.
pub(super) fn place_of(name: &str) -> Option<usize> {
    let (mover, number) = name.strip_prefix("recurring_")?.split_once('_')?;
    Some(mover.parse::<usize>().ok()? * RECURRING + number.parse::<usize>().ok()?)
}

/// Returns the outcomes of the calls of the unique name with this number, before and after it is
/// deregistered.
pub(super) fn once(number: u64) -> (&'static [Outcome], &'static [Outcome]) {
    let before = 1 + (number % 3) as usize;
    let after = before + (number / 3 % 3) as usize;
    (&OUTCOMES[..before], &OUTCOMES[before..after])
}

/// Returns the counts that the totals must have under that name.
pub(super) fn expected(number: u64) -> Tally {
    let (before, after) = once(number);
    let mut tally = Tally::default();
    for outcome in before.iter().chain(after) {
        tally.begin(1);
        tally.end(1, *outcome);
    }
    tally
}

/// Returns the number of unique names in a snapshot that have wrong counts or were not used.
pub(super) fn other_counts(snapshot: &Snapshot, used: &[u64]) -> u64 {
    let mut others = 0;
    for (name, stats) in &snapshot.tools {
        if place_of(name).is_some() {
            continue;
        }
        let number = name.strip_prefix("once_").and_then(|name| {
            let (mover, number) = name.split_once('_')?;
            let used = *used.get(mover.parse::<usize>().ok()?)?;
            number.parse::<u64>().ok().filter(|number| *number < used)
        });
        let is_same = number.is_some_and(|n| expected(n).is_same(&Tally::of(stats, false)));
        others += u64::from(!is_same);
    }
    others
}
