//! The threads that make the calls, and the slices of time in which they make them.
//!
//! A paced row makes its calls in bursts and yields in between. Only the bursts count, so the
//! pace is not in the figure; the reading of the clock around a burst adds less than 0.5 ns a
//! call.

use crate::row::{Pace, Row};
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The number of threads.
pub(crate) const TEAM: usize = 4;
/// The number of calls of each thread before a row is timed, to check that all of them are counted.
/// Their events touch every place of the largest rings.
pub(crate) const CHECK_CALLS: u64 = 40_000;
/// The number of calls between two checks of the time.
const CHUNK: u64 = 256;
/// The number of calls in a burst of a paced row, and the time from one burst to the next.
const BURST: u64 = 100;
const BURST_EVERY: Duration = Duration::from_micros(100);
/// A paced thread that is further behind than this does not catch up.
const CATCH_UP: Duration = Duration::from_millis(1);

/// The measurement of one slice, over all its threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slice {
    busy: Duration,
    pub(crate) elapsed: Duration,
    pub(crate) calls: u64,
}

impl Slice {
    pub(crate) fn ns_per_call(self) -> f64 {
        self.busy.as_secs_f64() * 1e9 / self.calls as f64
    }
}

/// The measurement of a member of the team: the timed part, and all its calls, the untimed ones
/// included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) slice: Slice,
    pub(crate) made: u64,
}

type Job = Box<dyn FnOnce() -> Done + Send>;

/// The channels to one thread of the team.
struct Member {
    jobs: Sender<Job>,
    done: Receiver<Done>,
}

/// The threads that make the calls.
pub(crate) struct Team {
    members: Vec<Member>,
    threads: Vec<JoinHandle<()>>,
}

impl Team {
    pub(crate) fn new() -> Self {
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

    /// Makes the first calls of a row on each member in turn, then on all at once. Returns the
    /// number of calls.
    ///
    /// First calls are made in turn, so that a library that gives each thread a place of its own
    /// gives the first two threads different places, whichever of them is faster.
    pub(crate) fn introduce(&self, row: &Arc<dyn Row>) -> u64 {
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

    /// Runs one slice of `row` on the first `threads` members.
    pub(crate) fn slice(&self, row: &Arc<dyn Row>, threads: usize, length: Duration) -> Done {
        let start = Arc::new(Barrier::new(threads));
        let jobs = (0..threads).map(|_| {
            let (row, start) = (Arc::clone(row), Arc::clone(&start));
            Box::new(move || {
                reuse_own_memory();
                start.wait();
                let warm_up = row.warm_up();
                row.run(warm_up);
                let slice = match row.pace() {
                    Pace::Unpaced => unpaced(row.as_ref(), length),
                    Pace::Million => paced(row.as_ref(), length),
                };
                Done {
                    slice,
                    made: slice.calls + warm_up,
                }
            }) as Job
        });
        self.run(0..threads, jobs)
    }

    /// Gives one job to each of these members and adds up what they return.
    fn run(&self, members: std::ops::Range<usize>, jobs: impl IntoIterator<Item = Job>) -> Done {
        let members = &self.members[members];
        for (member, job) in members.iter().zip(jobs) {
            // A member is only gone when a row panicked on it, which the receive below reports.
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
            // A panic was reported when the member's result was missing.
            let _ = thread.join();
        }
    }
}

/// Makes the next allocations of this thread reuse memory that it allocated itself.
///
/// Otherwise a thread is first given the memory that it freed last, even if another thread allocated
/// it, such as its job. Two jobs lie side by side, often on one cache line. So two threads that box a
/// future for each call would write the same line, and `invoke` would take twice as long, in some
/// processes and not in others. This is an effect of the allocator, which is not to be measured here.
pub(crate) fn reuse_own_memory() {
    /// The sizes of freed memory that glibc keeps for a thread, and about twice as many pieces as
    /// it keeps of each size.
    const SIZES: RangeInclusive<usize> = 16..=1_024;
    const PIECES: usize = 16;
    for size in SIZES.step_by(16) {
        let mut pieces: Vec<Vec<u8>> = (0..PIECES)
            .map(|_| black_box(Vec::with_capacity(size)))
            .collect();
        // The last piece is freed first: the first pieces may be from another thread, and glibc
        // then keeps none of them.
        while let Some(piece) = pieces.pop() {
            drop(piece);
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

/// The time at which the next burst of a paced thread is due.
#[derive(Debug)]
pub(crate) struct Pacer {
    due: Instant,
}

impl Pacer {
    /// Creates a pacer whose first burst is due at `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { due: start }
    }

    /// Returns the number of calls in each burst.
    pub(crate) const fn burst() -> u64 {
        BURST
    }

    /// Yields until the next burst is due, and returns the time then.
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
