//! Scrapes while tools are registered, called, freed and reset by other threads.

use crate::support::{Series, assert_same, key, page, parsed};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use toolmeter::{ErrorKind, Registry};
use toolmeter_prometheus::ToolCollector;
use toolmeter_prometheus::prometheus_client::registry;

const ROUNDS: u64 = 300;

#[test]
fn scrapes_see_every_count_grow_while_tools_come_and_go() {
    let tools = Registry::builder().stripes(2).build().unwrap();
    let mut metrics = registry::Registry::default();
    metrics.register_collector(Box::new(ToolCollector::new(&tools)));
    let running = AtomicU64::new(2);
    let made = AtomicU64::new(0);
    let first = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..2 {
            let (tools, running, made, first) = (&tools, &running, &made, &first);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let name = format!("tool_{}", (round + worker) % 7);
                    let tool = tools.get_or_register(name.clone()).unwrap();
                    tool.start().succeed();
                    tool.start().fail(ErrorKind::Network, "down");
                    drop(tool.start());
                    tool.start().reject("denied");
                    made.fetch_add(4, Ordering::Relaxed);
                    let _ = tools.deregister(&name);
                    drop(tool);
                    if round % 50 == 0 {
                        let _ = tools.reset_metrics();
                    }
                    // Not all done before the first scrape.
                    while !first.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let mut before = Series::new();
        let mut scrapes = 0;
        while running.load(Ordering::Relaxed) > 0 || scrapes == 0 {
            let now = parsed(&page(&metrics));
            for (key, number) in &before {
                if *number > 0.0 && !key.starts_with("toolmeter_in_flight") {
                    assert!(
                        now.get(key) >= Some(number),
                        "{key}: {number}, then {:?}",
                        now.get(key)
                    );
                }
            }
            before = now;
            scrapes += 1;
            first.store(true, Ordering::Relaxed);
        }
    });
    let series = parsed(&page(&metrics));
    assert_same(&series, &tools.totals());
    let counted = series
        .iter()
        .filter(|(key, _)| key.starts_with("toolmeter_calls_total"))
        .map(|(_, count)| count)
        .sum::<f64>();
    assert_eq!(counted, made.load(Ordering::Relaxed) as f64);
    for n in 0..7 {
        let tool = format!("tool_{n}");
        assert_eq!(
            series[&key("toolmeter_in_flight", [("tool", tool.as_str())])],
            0.0
        );
    }
}
