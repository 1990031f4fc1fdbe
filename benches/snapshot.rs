//! The cost of reading: `metrics`, `published`, `reset` and `intervals`, by the number of tools.
//!
//! Every tool was called on two threads, each of which has a stripe: calls that took 1 ms to 8 s,
//! one to an octave, and one failure and one cancelled call besides. A manual clock gives the calls
//! these latencies. Before each reset and each interval every tool is called once more, so that
//! there is something new to read in all of them; neither that nor freeing the snapshot is timed.
//!
//! Before anything is timed, the snapshot must hold every call. Afterwards, all resets added up and
//! all intervals added up must hold every call made meanwhile, once.
//!
//! It does not show calls that run meanwhile, more stripes in use, histograms that are fuller
//! (`tools/peers --figures` reads tools whose latencies span twenty octaves in all three outcomes),
//! and the cost of a snapshot as text or JSON.

mod support;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, SamplingMode};
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use support::{builder, specs};
use toolmeter::{ClockSource, ErrorKind, ManualClock, Registry, Snapshot, ToolHandle, ToolStats};

const TOOLS: [usize; 4] = [10, 100, 1_000, 10_000];
/// Successful calls of each tool on each thread: one to an octave.
const SUCCESSES: u32 = 14;
const THREADS: u64 = 2;

fn main() {
    let mut criterion = support::criterion().sample_size(20);
    let mut group = criterion.benchmark_group("snapshot");
    group.sampling_mode(SamplingMode::Flat);
    for tools in TOOLS {
        let host = Host::new(tools);
        host.metrics(&mut group);
        host.published(&mut group);
        host.intervals(&mut group);
        host.reset(&mut group);
    }
    group.finish();
    criterion.final_summary();
}

/// A registry whose tools have all been called.
struct Host {
    registry: Registry,
    tools: Vec<ToolHandle>,
}

impl Host {
    fn new(tools: usize) -> Self {
        let clock = Arc::new(ManualClock::new());
        let registry = builder()
            .clock(ClockSource::Manual(Arc::clone(&clock)))
            .build()
            .expect("the settings are in range");
        let tools = registry.register_all(specs(tools));
        let tools = tools.expect("the names are new");
        // The main thread keeps its stripe, so the other thread gets another.
        use_all(&tools, &clock);
        thread::scope(|scope| {
            scope.spawn(|| use_all(&tools, &clock));
        });
        let host = Self { registry, tools };
        assert_eq!(
            sums(&host.registry.metrics()),
            [u64::from(SUCCESSES), 1, 1].map(|calls| calls * THREADS * host.tools.len() as u64),
            "successes, failures and cancelled calls"
        );
        host
    }

    fn id(&self, what: &str) -> BenchmarkId {
        BenchmarkId::new(what, self.tools.len())
    }

    fn call_each(&self) {
        for tool in &self.tools {
            tool.start().succeed();
        }
    }

    fn metrics(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        let before = sums(&self.registry.metrics());
        group.bench_function(self.id("metrics"), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| timed(|| self.registry.metrics()).0)
                    .sum()
            });
        });
        assert_eq!(sums(&self.registry.metrics()), before);
    }

    fn published(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        self.registry.publish();
        assert_eq!(
            sums(&self.registry.published()),
            sums(&self.registry.metrics())
        );
        group.bench_function(self.id("published"), |bencher| {
            bencher.iter(|| black_box(self.registry.published()).tools.len());
        });
    }

    fn intervals(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        let mut intervals = self.registry.intervals();
        self.read_new(group, "intervals", || intervals.read());
    }

    fn reset(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        self.registry.reset_metrics();
        self.read_new(group, "reset", || self.registry.reset_metrics());
        assert_eq!(sums(&self.registry.metrics()), [0; 3]);
    }

    /// Benches a reading of what is new. All readings together must have every call once.
    fn read_new(
        &self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        what: &str,
        mut read: impl FnMut() -> Snapshot,
    ) {
        let (mut calls, mut seen) = (0, 0);
        group.bench_function(self.id(what), |bencher| {
            bencher.iter_custom(|times| {
                let mut busy = Duration::ZERO;
                for _ in 0..times {
                    self.call_each();
                    let (elapsed, snapshot) = timed(&mut read);
                    busy += elapsed;
                    calls += self.tools.len() as u64;
                    seen += sums(&snapshot)[0];
                }
                busy
            });
        });
        assert_eq!(seen, calls, "calls seen by {what}");
    }
}

/// Calls every tool with every latency, on the calling thread.
fn use_all(tools: &[ToolHandle], clock: &ManualClock) {
    for tool in tools {
        for octave in 0..SUCCESSES {
            let call = tool.start();
            clock.advance(Duration::from_millis(1 << octave));
            call.succeed();
        }
        tool.start().fail(ErrorKind::Timeout, "no answer in time");
        drop(tool.start());
    }
}

/// Returns the time that a reading takes, and the snapshot.
fn timed(read: impl FnOnce() -> Snapshot) -> (Duration, Snapshot) {
    let start = Instant::now();
    let snapshot = black_box(read());
    (start.elapsed(), snapshot)
}

/// Returns the successes, failures and cancelled calls of all tools.
fn sums(snapshot: &Snapshot) -> [u64; 3] {
    let sum = |count: fn(&ToolStats) -> u64| snapshot.tools.values().map(|tool| count(tool)).sum();
    [
        sum(ToolStats::success),
        sum(ToolStats::failure),
        sum(ToolStats::cancelled),
    ]
}
