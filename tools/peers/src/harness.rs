//! The checks and the timing of rows.
//!
//! A fixed team of threads makes the calls, so that no measurement pays for a thread's first call.
//! A measurement is a slice of a few milliseconds in which one row is called by 1, 2 or 4 of them;
//! its figure is the time of all of them over the calls of all of them. With more threads than
//! cores that includes the time in which a thread was not running, for the floor as for all rows.
//! Slices are longer the more threads there are, so that all threads of a slice get to run at the
//! same time.
//!
//! A round measures every row at every number of threads, starting with another row each time, so
//! that other load on the machine affects all rows alike. A row's figure is the median of its
//! rounds.

#[cfg(test)]
mod tests;

use crate::row::{Counted, Row};
use crate::spread::Spread;
use crate::team::{Done, Team};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The numbers of threads that are measured.
pub(crate) const THREADS: [usize; 3] = [1, 2, 4];

/// A row's rounds at one number of threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    rounds_ns: Vec<f64>,
    elapsed: Duration,
    calls: u64,
    /// Events lost during the rounds, for rows that have a subscriber.
    pub(crate) lost: Option<u64>,
}

impl Cell {
    /// Creates a cell with these rounds, for tests.
    #[cfg(test)]
    pub(crate) fn of_rounds(rounds_ns: &[f64]) -> Self {
        Self {
            rounds_ns: rounds_ns.to_vec(),
            ..Self::default()
        }
    }

    /// Returns the nanoseconds per call of each round.
    pub(crate) fn rounds_ns(&self) -> &[f64] {
        &self.rounds_ns
    }

    /// Returns the median of the rounds, in nanoseconds per call.
    pub(crate) fn median_ns(&self) -> f64 {
        Spread::of(&self.rounds_ns).median
    }

    /// Returns the fastest round, in nanoseconds per call.
    pub(crate) fn min_ns(&self) -> f64 {
        Spread::of(&self.rounds_ns).least
    }

    /// Returns the slowest round, in nanoseconds per call.
    pub(crate) fn max_ns(&self) -> f64 {
        Spread::of(&self.rounds_ns).most
    }

    /// Returns the number of events that a subscriber could have received: the start and the end of
    /// each call.
    pub(crate) fn events(&self) -> u64 {
        2 * self.calls
    }

    /// Returns the calls that a thread made per second, its waits included.
    pub(crate) fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }
}

/// A row with its figures, one [`Cell`] for each of [`THREADS`].
pub(crate) struct Measured {
    /// The row itself.
    pub(crate) row: Arc<dyn Row>,
    /// Its figures.
    pub(crate) cells: [Cell; THREADS.len()],
}

/// The error of a row that did not count every call.
#[derive(Debug)]
pub(crate) struct Miscounted {
    row: &'static str,
    calls: u64,
    counted: Counted,
}

impl fmt::Display for Miscounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            row,
            calls,
            counted: Counted { successes, samples },
        } = self;
        write!(
            f,
            "{row} counted {successes} successes and {samples} latencies of {calls} calls, \
             so its time means nothing"
        )
    }
}

impl Error for Miscounted {}

/// Checks every row, times them all in slices of `slice` times the number of threads, and checks
/// them again.
///
/// # Errors
///
/// When a row has not counted every call, before or after it was timed.
pub(crate) fn measure(
    rows: Vec<Arc<dyn Row>>,
    rounds: usize,
    slice: Duration,
) -> Result<Vec<Measured>, Miscounted> {
    let mut measurement = Measurement::new(rows)?;
    for _ in 0..rounds {
        measurement.round(slice, &THREADS);
    }
    measurement.finish()
}

/// Rows under measurement, round by round.
pub(crate) struct Measurement {
    team: Team,
    rows: Vec<Measured>,
    /// Calls of each row, the untimed ones included.
    calls: Vec<u64>,
    rounds: usize,
}

impl Measurement {
    /// Makes the first calls of every row and checks their counts.
    ///
    /// # Errors
    ///
    /// When a row has not counted all of them.
    pub(crate) fn new(rows: Vec<Arc<dyn Row>>) -> Result<Self, Miscounted> {
        let team = Team::new();
        let mut calls = Vec::new();
        for row in &rows {
            let made = team.introduce(row);
            check(row.as_ref(), made)?;
            calls.push(made);
        }
        let rows = rows.into_iter().map(|row| Measured {
            row,
            cells: Default::default(),
        });
        Ok(Self {
            team,
            rows: rows.collect(),
            calls,
            rounds: 0,
        })
    }

    /// Measures every row once at each of `threads`, which are some of [`THREADS`], in slices of
    /// `slice` times the number of threads.
    pub(crate) fn round(&mut self, slice: Duration, threads: &[usize]) {
        for (cell, &threads) in THREADS
            .iter()
            .enumerate()
            .filter(|(_, number)| threads.contains(number))
        {
            for turn in 0..self.rows.len() {
                let index = (self.rounds + turn) % self.rows.len();
                let Measured { row, cells } = &mut self.rows[index];
                let length = slice * threads as u32;
                self.calls[index] += cells[cell].add_round(&self.team, row, threads, length);
            }
        }
        self.rounds += 1;
    }

    /// Returns the figures.
    ///
    /// # Errors
    ///
    /// When a row has not counted every call.
    pub(crate) fn finish(self) -> Result<Vec<Measured>, Miscounted> {
        for (Measured { row, .. }, calls) in self.rows.iter().zip(self.calls) {
            check(row.as_ref(), calls)?;
        }
        Ok(self.rows)
    }
}

impl Cell {
    /// Measures one slice and returns the number of its calls, the untimed ones included.
    fn add_round(
        &mut self,
        team: &Team,
        row: &Arc<dyn Row>,
        threads: usize,
        length: Duration,
    ) -> u64 {
        let lost_before = row.lost();
        let Done { slice, made } = team.slice(row, threads, length);
        row.settle();
        self.rounds_ns.push(slice.ns_per_call());
        self.elapsed += slice.elapsed;
        self.calls += slice.calls;
        if let (Some(before), Some(after)) = (lost_before, row.lost()) {
            *self.lost.get_or_insert(0) += after - before;
        }
        made
    }
}

fn check(row: &dyn Row, calls: u64) -> Result<(), Miscounted> {
    match row.counted() {
        Some(counted) if counted.successes != calls || counted.samples != calls => {
            Err(Miscounted {
                row: row.name(),
                calls,
                counted,
            })
        }
        _ => Ok(()),
    }
}
