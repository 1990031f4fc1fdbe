//! How rows are checked and timed.
//!
//! A fixed team of threads makes the calls, so that no measurement pays for a thread's first
//! call. A measurement is a slice of a few milliseconds in which one row is called by 1, 2 or
//! 4 of them; its figure is the time of all of them over the calls of all of them. With more
//! threads than cores that includes the time in which a thread was not running, for the floor
//! as for everybody. Slices are longer the more threads there are, so that the threads of one
//! get to run beside each other.
//!
//! A round measures every row at every number of threads, starting with another row each time,
//! so that what else the machine does falls on all rows alike. A row's figure is the median of
//! its rounds.
//!
//! A paced row makes its calls in bursts and yields in between. Only the bursts count, so the
//! pace is not in the figure; the reading of the clock around a burst adds less than 0.5 ns a
//! call.

#[cfg(test)]
mod tests;

use crate::row::{Counted, Pace, Row};
use std::error::Error;
use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Calls between two looks at the time.
const CHUNK: u64 = 256;
/// Calls in one burst of a paced row, and the time from one burst to the next.
const BURST: u64 = 100;
const BURST_EVERY: Duration = Duration::from_micros(100);
/// A paced thread that is further behind than this gives up catching up.
const CATCH_UP: Duration = Duration::from_millis(1);
/// Calls of each thread before a row is timed, to see whether all of them are counted; enough
/// for their events to have touched every place of the largest rings.
const CHECK_CALLS: u64 = 40_000;

/// The numbers of threads that are measured.
pub(crate) const THREADS: [usize; 3] = [1, 2, 4];
const TEAM: usize = 4;

/// What one slice gave, over all its threads.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    busy: Duration,
    elapsed: Duration,
    calls: u64,
}

impl Slice {
    fn ns_per_call(self) -> f64 {
        self.busy.as_secs_f64() * 1e9 / self.calls as f64
    }
}

/// A row's rounds at one number of threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    /// Nanoseconds a call, one for each round.
    rounds_ns: Vec<f64>,
    elapsed: Duration,
    calls: u64,
    /// Events lost meanwhile, for rows that have a subscriber.
    pub(crate) lost: Option<u64>,
}

impl Cell {
    /// The median of the rounds, in nanoseconds a call.
    pub(crate) fn median_ns(&self) -> f64 {
        let mut sorted = self.rounds_ns.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        }
    }

    /// The fastest round.
    pub(crate) fn min_ns(&self) -> f64 {
        self.rounds_ns.iter().copied().fold(f64::MAX, f64::min)
    }

    /// The slowest round.
    pub(crate) fn max_ns(&self) -> f64 {
        self.rounds_ns.iter().copied().fold(0.0, f64::max)
    }

    /// Events that a subscriber could have seen: the start and the end of each call.
    pub(crate) fn events(&self) -> u64 {
        2 * self.calls
    }

    /// Calls that a thread made in a second, its waits included.
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

/// A row did not count what was called.
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
    let team = Team::new();
    let mut calls = vec![0; rows.len()];
    for (row, calls) in rows.iter().zip(&mut calls) {
        *calls += team.introduce(row);
        check(row.as_ref(), *calls)?;
    }
    let mut measured: Vec<Measured> = rows
        .into_iter()
        .map(|row| Measured {
            row,
            cells: Default::default(),
        })
        .collect();
    for round in 0..rounds {
        for (cell, &threads) in THREADS.iter().enumerate() {
            for turn in 0..measured.len() {
                let index = (round * 7 + turn) % measured.len();
                let Measured { row, cells } = &mut measured[index];
                calls[index] += cells[cell].add_round(&team, row, threads, slice * threads as u32);
            }
        }
    }
    for (Measured { row, .. }, calls) in measured.iter().zip(calls) {
        check(row.as_ref(), calls)?;
    }
    Ok(measured)
}

impl Cell {
    /// Measures one slice and hands back how many calls it made, the untimed ones included.
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

/// What a member of the team did: the timed part, and all its calls, the untimed ones included.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    slice: Slice,
    made: u64,
}

type Job = Box<dyn FnOnce() -> Done + Send>;

/// One thread of the team, seen from outside.
struct Member {
    jobs: Sender<Job>,
    done: Receiver<Done>,
}

/// The threads that make the calls.
struct Team {
    members: Vec<Member>,
    threads: Vec<JoinHandle<()>>,
}

impl Team {
    fn new() -> Self {
        let mut members = Vec::new();
        let mut threads = Vec::new();
        for _ in 0..TEAM {
            let (job_sender, jobs) = mpsc::channel::<Job>();
            let (done, done_receiver) = mpsc::channel();
            members.push(Member {
                jobs: job_sender,
                done: done_receiver,
            });
            threads.push(thread::spawn(move || {
                for job in jobs {
                    if done.send(job()).is_err() {
                        return;
                    }
                }
            }));
        }
        Self { members, threads }
    }

    /// Lets each member make its first calls of a row, then all of them at once, and hands back
    /// how many calls that were.
    ///
    /// First calls are made in turn so that libraries that give each thread a place of its
    /// own give the first two threads two places, whichever of them is faster.
    fn introduce(&self, row: &Arc<dyn Row>) -> u64 {
        let mut made = 0;
        for member in 0..TEAM {
            let row = Arc::clone(row);
            let job: Job = Box::new(move || {
                row.run(1);
                Done {
                    made: 1,
                    ..Done::default()
                }
            });
            made += self.run(member..member + 1, [job]).made;
        }
        let jobs = (0..TEAM).map(|_| {
            let row = Arc::clone(row);
            Box::new(move || {
                row.run(CHECK_CALLS);
                Done {
                    made: CHECK_CALLS,
                    ..Done::default()
                }
            }) as Job
        });
        made += self.run(0..TEAM, jobs).made;
        row.settle();
        made
    }

    /// One slice of `row` by the first `threads` members.
    fn slice(&self, row: &Arc<dyn Row>, threads: usize, length: Duration) -> Done {
        let start = Arc::new(Barrier::new(threads));
        let jobs = (0..threads).map(|_| {
            let (row, start) = (Arc::clone(row), Arc::clone(&start));
            Box::new(move || {
                start.wait();
                row.run(CHUNK);
                let slice = match row.pace() {
                    Pace::Unpaced => unpaced(row.as_ref(), length),
                    Pace::Million => paced(row.as_ref(), length),
                };
                Done {
                    slice,
                    made: slice.calls + CHUNK,
                }
            }) as Job
        });
        self.run(0..threads, jobs)
    }

    /// Gives one job to each of these members and adds up what they hand back.
    fn run(&self, members: std::ops::Range<usize>, jobs: impl IntoIterator<Item = Job>) -> Done {
        let members = &self.members[members];
        for (member, job) in members.iter().zip(jobs) {
            // A member is only gone when a row panicked on it; receiving says so below.
            let _ = member.jobs.send(job);
        }
        let mut total = Done::default();
        for member in members {
            let done = member
                .done
                .recv()
                .expect("a row panicked while it was called");
            total.slice.busy += done.slice.busy;
            total.slice.elapsed += done.slice.elapsed;
            total.slice.calls += done.slice.calls;
            total.made += done.made;
        }
        total
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.members.clear();
        for thread in self.threads.drain(..) {
            // A member that panicked has said so when its result was missing.
            let _ = thread.join();
        }
    }
}

fn unpaced(row: &dyn Row, length: Duration) -> Slice {
    let start = Instant::now();
    let mut calls = 0;
    loop {
        row.run(CHUNK);
        calls += CHUNK;
        let elapsed = start.elapsed();
        if elapsed >= length {
            return Slice {
                busy: elapsed,
                elapsed,
                calls,
            };
        }
    }
}

fn paced(row: &dyn Row, length: Duration) -> Slice {
    let start = Instant::now();
    let mut pacer = Pacer::new(start);
    let mut slice = Slice::default();
    while slice.elapsed < length {
        let before = pacer.wait();
        row.run(BURST);
        let after = Instant::now();
        slice.busy += after - before;
        slice.calls += BURST;
        slice.elapsed = after - start;
    }
    slice
}

/// Says when the next burst of a paced thread is due.
#[derive(Debug)]
pub(crate) struct Pacer {
    due: Instant,
}

impl Pacer {
    /// The first burst is due at `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { due: start }
    }

    /// Calls to make in each burst.
    pub(crate) const fn burst() -> u64 {
        BURST
    }

    /// Yields until the next burst is due, and hands back the time then.
    pub(crate) fn wait(&mut self) -> Instant {
        let mut now = Instant::now();
        while now < self.due {
            thread::yield_now();
            now = Instant::now();
        }
        if now > self.due + CATCH_UP {
            self.due = now;
        }
        self.due += BURST_EVERY;
        now
    }
}
