//! The counts of a thread, and those that a reader read.

use super::names::{MOVERS, RECURRING, place_of};
use crate::counts::Tally;
use toolmeter::Snapshot;

/// The calls of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    /// The calls of each recurring name.
    pub(super) recurring: [Tally; MOVERS * RECURRING],
    /// The calls of all names that are used once.
    pub(super) unique: Tally,
}

/// The counts that a reader read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Read {
    pub(super) own: Own,
    pub(super) nameless: Tally,
}

impl Own {
    /// Adds the calls of another thread.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.recurring.iter_mut().zip(&other.recurring) {
            mine.add(theirs);
        }
        self.unique.add(&other.unique);
    }

    /// Returns the sum over all names.
    pub(super) fn sum(&self) -> Tally {
        let mut sum = self.unique;
        for tally in &self.recurring {
            sum.add(tally);
        }
        sum
    }

    /// Returns by how much this exceeds `done` under recurring names.
    pub(super) fn excess(&self, done: &Self) -> u64 {
        let names = self.recurring.iter().zip(&done.recurring);
        names.map(|(mine, done)| mine.excess(done)).sum()
    }
}

impl Read {
    /// Adds the counts of a snapshot.
    pub(super) fn add(&mut self, snapshot: &Snapshot) {
        for (name, stats) in &snapshot.tools {
            let tally = match place_of(name) {
                Some(place) => &mut self.own.recurring[place],
                None => &mut self.own.unique,
            };
            tally.add(&Tally::of(stats, true));
        }
        if let Some(nameless) = &snapshot.nameless {
            self.nameless.add(&Tally::of(&nameless.stats, true));
        }
    }

    /// Returns the sum over all names and nameless tools.
    pub(super) fn sum(&self) -> Tally {
        let mut sum = self.own.sum();
        sum.add(&self.nameless);
        sum
    }
}
