//! The cost of a metered call as everything else grows, which should stay the same.
//!
//! - `tools`: one of this many tools is called through its handle (`one_of`) or by its name
//!   (`by_name_of`), or all of them in turn through their handles (`each_of`).
//! - `subscribers`: calls with this many subscribers. With none, no event is made.
//! - `stripes`: a registry with this many stripes. One thread calls, so one stripe is used.
//! - `snapshots`: this many of each kind are taken before: fresh, published, reset and interval.
//!   The intervals are read by as many cursors, all of which still exist.
//!
//! With subscribers, calls are timed in bursts that the rings have room for; in between, the same
//! thread pumps and every subscription receives everything. Before and after, every call must have
//! been counted and every event received.
//!
//! It does not show snapshots taken while calls run, which take cache lines away from the calls.
//! `each_of` does depend on the number of tools once their counters do not fit into the caches.
//! That is the cost of memory, not of a search.

mod support;

use criterion::{BenchmarkId, Criterion};
use serde_json::Value;
use std::future::{Future, IntoFuture};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};
use support::{Host, TOOL, builder, mostly_untimed, run, specs};
use toolmeter::async_tool;

const TOOLS: [usize; 4] = [1, 100, 1_000, 10_000];
const SUBSCRIBERS: [usize; 5] = [0, 1, 4, 16, 64];
const STRIPES: [usize; 5] = [1, 2, 8, 64, 256];
const SNAPSHOTS: [usize; 4] = [0, 10, 100, 1_000];

fn main() {
    let mut criterion = support::criterion();
    tools(&mut criterion);
    subscribers(&mut criterion);
    stripes(&mut criterion);
    snapshots(&mut criterion);
    criterion.final_summary();
}

fn tools(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scale/tools");
    for tools in TOOLS {
        let mut host = Host::new(builder(), 0);
        let handles = host.registry.register_all(specs(tools));
        let handles = handles.expect("the names are new");
        // Neither the first nor the last.
        let one = handles[tools / 2].clone();
        host.bench(&mut group, BenchmarkId::new("one_of", tools), || run(&one));
        let mut turn = handles.iter().cycle();
        host.bench(&mut group, BenchmarkId::new("each_of", tools), || {
            turn.next().into_iter().for_each(run);
        });

        let mut host = Host::new(builder(), 0);
        let others = host.registry.register_all(specs(tools - 1));
        others.expect("the names are new");
        let body = async_tool(TOOL, |_| async { Ok(Value::Null) });
        let registered = host.registry.register_tool(body);
        registered.expect("the name is new");
        let registry = host.registry.clone();
        host.bench(&mut group, BenchmarkId::new("by_name_of", tools), || {
            let answer = registry.invoke(black_box(TOOL), Value::Null);
            let polled = pin!(answer.into_future()).poll(&mut Context::from_waker(Waker::noop()));
            black_box(polled.is_ready());
        });
    }
    group.finish();
}

fn subscribers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scale/subscribers");
    mostly_untimed(&mut group);
    for subscribers in SUBSCRIBERS {
        let mut host = Host::new(builder(), subscribers);
        let tool = host.tool(TOOL);
        let id = BenchmarkId::from_parameter(subscribers);
        host.bench(&mut group, id, || run(&tool));
    }
    group.finish();
}

fn stripes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scale/stripes");
    for stripes in STRIPES {
        let mut host = Host::new(builder().stripes(stripes), 0);
        let tool = host.tool(TOOL);
        let id = BenchmarkId::from_parameter(stripes);
        host.bench(&mut group, id, || run(&tool));
    }
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scale/snapshots");
    for snapshots in SNAPSHOTS {
        let mut host = Host::new(builder(), 0);
        let tool = host.tool(TOOL);
        let registry = &host.registry;
        let mut cursors = Vec::new();
        for _ in 0..snapshots {
            let mut cursor = registry.intervals();
            black_box(cursor.read());
            cursors.push(cursor);
            black_box(registry.metrics());
            registry.publish();
            black_box(registry.published().tools.len());
            black_box(registry.reset_metrics());
        }
        let id = BenchmarkId::from_parameter(snapshots);
        host.bench(&mut group, id, || run(&tool));
        drop(cursors);
    }
    group.finish();
}
