//! The cost of a metered call while other threads make calls, too.
//!
//! 1, 2, 4 and 8 threads make calls at once, all on `one_tool`, or each on one of their
//! `own_tools`; `floor` is two reads of the clock on as many threads. A figure is the time from the
//! first thread's start to the last one's end, over the calls of one thread. The threads of a
//! team have made calls before, and wait for each other before they are timed. No thread subscribes,
//! and the registry has the stripes that a host on this machine gets by default. Before and
//! after, every call must have been counted.
//!
//! It shows neither more cores than this machine has nor whether the threads really ran at the same
//! time. With more threads than cores, the threads take turns, and a figure grows with their number
//! for the floor as for the calls, so compare figures of one number of threads only. On a busy
//! machine even two threads take turns, and the figures then show nothing about contention. The
//! floor of two threads shows this case: it should equal that of one.

mod support;

use criterion::{BenchmarkId, SamplingMode};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use support::{builder, clock_pair, run, specs, successes};
use toolmeter::{Registry, ToolHandle};

const THREADS: [usize; 4] = [1, 2, 4, 8];
/// The number of calls that each thread makes before it is timed. The first takes a stripe.
const WARM_UP: u64 = 256;
/// The number of calls of each thread before anything is timed, to check that they are counted.
const CHECK_CALLS: u64 = 10_000;

fn main() {
    let mut criterion = support::criterion();
    let mut group = criterion.benchmark_group("contention");
    // Samples of the same length, in each of which the threads get to run at the same time.
    group.sampling_mode(SamplingMode::Flat);
    for threads in THREADS {
        let registry = new_registry();
        let clock = registry.clock();
        group.bench_function(BenchmarkId::new("floor", threads), |bencher| {
            bencher.iter_custom(|pairs| at_once(threads, pairs, |_| clock_pair(clock)));
        });
        for (id, tools) in [("one_tool", 1), ("own_tools", threads)] {
            let mut team = Team::new(threads, tools);
            team.time(CHECK_CALLS);
            team.check();
            group.bench_function(BenchmarkId::new(id, threads), |bencher| {
                bencher.iter_custom(|calls| team.time(calls));
            });
            team.check();
        }
    }
    group.finish();
    criterion.final_summary();
}

fn new_registry() -> Registry {
    builder().build().expect("the settings are in range")
}

/// Threads that call the tools of one registry, and the number of their calls.
struct Team {
    registry: Registry,
    tools: Vec<ToolHandle>,
    threads: usize,
    calls: u64,
}

impl Team {
    fn new(threads: usize, tools: usize) -> Self {
        let registry = new_registry();
        let tools = registry.register_all(specs(tools));
        Self {
            registry,
            tools: tools.expect("the names are new"),
            threads,
            calls: 0,
        }
    }

    /// Returns the time in which every thread makes `calls` calls.
    fn time(&mut self, calls: u64) -> Duration {
        let tools = &self.tools;
        let busy = at_once(self.threads, calls, |thread| {
            run(&tools[thread % tools.len()]);
        });
        self.calls += self.threads as u64 * (calls + WARM_UP);
        busy
    }

    fn check(&self) {
        assert_eq!(successes(&self.registry), self.calls, "calls counted");
    }
}

/// Returns the time in which each of `threads` threads calls `work`, with its number, `times`
/// times.
fn at_once(threads: usize, times: u64, work: impl Fn(usize) + Sync) -> Duration {
    let start = Barrier::new(threads);
    let work_on = |thread| {
        for _ in 0..WARM_UP {
            work(thread);
        }
        start.wait();
        let began = Instant::now();
        for _ in 0..times {
            work(thread);
        }
        (began, Instant::now())
    };
    let work_on = &work_on;
    let times: Vec<_> = thread::scope(|scope| {
        let team: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work_on(thread)))
            .collect();
        team.into_iter()
            .map(|member| member.join().expect("a metered call panicked"))
            .collect()
    });
    let began = times.iter().map(|(began, _)| *began).min();
    let ended = times.iter().map(|(_, ended)| *ended).max();
    began
        .zip(ended)
        .map_or(Duration::ZERO, |(began, ended)| ended - began)
}
