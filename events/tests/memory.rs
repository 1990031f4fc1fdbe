//! What subscriptions take of memory: little while their queues are empty, and as these fill.

#![cfg(not(toolmeter_loom))]

use allocation_counter::measure;
use std::{sync::Arc, time::SystemTime};
use toolmeter_events::{
    Draft, Drain, Filter, Hub, Moment, NameTable, Rings, Subscription, Timeline, ToolId,
};

const SUBSCRIPTIONS: usize = 10_000;
const STRIPES: usize = 8;

fn round(rings: &Arc<Rings>, drain: &mut Drain, hub: &Hub) {
    rings.offer(0, Draft::started(ToolId::new(1), 1, 100, None), None);
    let now = Moment::new(SystemTime::UNIX_EPOCH, 0);
    let (names, timeline) = (NameTable::default(), Timeline::new(now));
    let round = drain.round(|| 1_000);
    hub.fan_out(round, &Arc::new(names), &Arc::new(timeline), now)
        .wake();
}

#[test]
fn ten_thousand_empty_subscriptions_are_small() {
    let rings = Arc::new(Rings::new(STRIPES, 64).unwrap());
    rings.open();
    // However much room each of them has.
    let hub = Hub::new(65_536, 1_024).unwrap();
    let mut subscriptions: Vec<Subscription> = Vec::with_capacity(SUBSCRIPTIONS);
    let taken = measure(|| {
        subscriptions.extend(
            (0..SUBSCRIPTIONS).map(|_| hub.subscribe(&rings, Filter::new(), None).unwrap()),
        );
    });
    let each = taken.bytes_current / SUBSCRIPTIONS as i64;
    println!("{each} bytes for each subscription");
    assert!(each < 2_048, "{each} bytes for each subscription");
    let freed = measure(|| subscriptions.clear());
    assert!(
        -freed.bytes_current > taken.bytes_current / 2,
        "{freed:?} of {taken:?}"
    );
}

#[test]
fn a_queue_takes_memory_as_it_fills_and_gives_it_back() {
    const BATCHES: usize = 1_000;
    let rings = Arc::new(Rings::new(1, 64).unwrap());
    let mut drain = Drain::new(&rings, 0);
    let hub = Hub::new(BATCHES, 1_024).unwrap();
    let subscription = hub.subscribe(&rings, Filter::new(), None).unwrap();
    let mut rounds = |rounds| {
        measure(|| {
            for _ in 0..rounds {
                round(&rings, &mut drain, &hub);
            }
        })
        .bytes_current
    };
    let first = rounds(1);
    let all = first + rounds(BATCHES - 1);
    assert!(
        first < 8_192 && all > 64 * first.min(1_024),
        "{first}, {all}"
    );
    let beyond = rounds(100);
    assert!(
        beyond < all / 100,
        "{beyond} bytes for batches that were lost"
    );
    let stats = subscription.stats();
    assert_eq!((stats.delivered, stats.lost), (BATCHES as u64, 100));
    let emptied = measure(|| while subscription.try_recv().is_ok() {});
    assert!(-emptied.bytes_current > all / 2, "{emptied:?} of {all}");
}
