//! The cost of one metered call, by the way in which it is made and the number of subscribers.
//!
//! `floor` is two reads of the registry's clock, which every metered call makes. The ways are a
//! guard that is finished (`start_and_finish`), a closure (`run`), a future (`run_async`) and a
//! no-op async tool found by its name (`invoke_by_name`); the number behind a way is that of the
//! subscribers. Futures are polled once, where they end, so no runtime is in the figures.
//!
//! `pair_around` and `call_around` are the two reads of the clock and a guard around a tool that
//! works: a chain of as many dependent multiplications as the number says. Their difference is what
//! metering adds there, and is more than around a tool that does nothing.
//!
//! Calls are timed in bursts that the rings have room for; in between, the same thread pumps and
//! every subscription receives everything. Before and after, every call must have been counted
//! and every event received.
//!
//! It does not show the pump at work on another core meanwhile, rings that overflow, single slow
//! calls, and tools that leave the caches cold. The peers' benchmark, `tools/peers`, has the first
//! three. Criterion measures one thing after the other, so on a machine that is busy at times,
//! ratios of two figures should be taken from `tools/peers`, whose measurements take turns.

mod support;

use criterion::{BenchmarkId, Criterion};
use serde_json::Value;
use std::convert::Infallible;
use std::future::{Future, IntoFuture};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use support::{Host, TOOL, builder, clock_pair, in_bursts, mostly_untimed, run};
use toolmeter::{Clock, async_tool};

const SUBSCRIBERS: [usize; 3] = [0, 1, 8];
/// The steps of a tool that works, about 0.4 ns each.
const STEPS: [u64; 3] = [150, 300, 3_000];

fn main() {
    let mut criterion = support::criterion();
    floor(&mut criterion);
    around_work(&mut criterion);
    for subscribers in SUBSCRIBERS {
        calls(&mut criterion, subscribers);
    }
    criterion.final_summary();
}

fn floor(criterion: &mut Criterion) {
    let host = Host::new(builder(), 0);
    let clock = host.registry.clock();
    let mut group = criterion.benchmark_group("call");
    group.bench_function("floor", |bencher| {
        bencher.iter_custom(|pairs| in_bursts(pairs, || clock_pair(clock), || {}));
    });
    group.finish();
}

fn around_work(criterion: &mut Criterion) {
    let mut host = Host::new(builder(), 0);
    let tool = host.tool(TOOL);
    let clock = host.registry.clock().clone();
    let mut group = criterion.benchmark_group("call");
    for steps in STEPS {
        group.bench_function(BenchmarkId::new("pair_around", steps), |bencher| {
            let pair = || {
                let started_ns = clock.now_ns();
                work(steps);
                black_box(clock.now_ns().saturating_sub(started_ns));
            };
            bencher.iter_custom(|pairs| in_bursts(pairs, pair, || {}));
        });
        host.bench(&mut group, BenchmarkId::new("call_around", steps), || {
            let call = tool.start();
            work(steps);
            black_box(call.succeed());
        });
    }
    group.finish();
}

/// Does `steps` multiplications, each of which waits for the one before.
fn work(steps: u64) {
    let product = (0..black_box(steps)).fold(black_box(3), |x: u64, _| x.wrapping_mul(3) ^ 5);
    black_box(product);
}

fn calls(criterion: &mut Criterion, subscribers: usize) {
    let mut group = criterion.benchmark_group("call");
    if subscribers > 0 {
        mostly_untimed(&mut group);
    }
    let id = |way| BenchmarkId::new(way, subscribers);

    let mut host = Host::new(builder(), subscribers);
    let tool = host.tool(TOOL);
    host.bench(&mut group, id("start_and_finish"), || {
        let call = tool.start();
        black_box(1_u64);
        black_box(call.succeed());
    });
    host.bench(&mut group, id("run"), || run(&tool));
    host.bench(&mut group, id("run_async"), || {
        let answer = tool.run_async(async { Ok::<u64, Infallible>(black_box(1)) });
        black_box(polled_once(answer).is_ready());
    });

    let mut host = Host::new(builder(), subscribers);
    let body = async_tool(TOOL, |_| async { Ok(Value::Null) });
    let registered = host.registry.register_tool(body);
    registered.expect("the name is new");
    let registry = host.registry.clone();
    host.bench(&mut group, id("invoke_by_name"), || {
        let answer = registry.invoke(black_box(TOOL), Value::Null);
        black_box(polled_once(answer.into_future()).is_ready());
    });
    group.finish();
}

/// Polls a future that must be ready. Otherwise its call is not a success, and the check fails.
fn polled_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
