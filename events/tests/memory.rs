//! The memory that subscriptions take: little while their queues are empty, and more as these fill.

#![cfg(not(toolmeter_loom))]

use allocation_counter::measure;
use std::{mem::size_of, sync::Arc, time::SystemTime};
use toolmeter_events::{
    Draft, Drain, Event, Filter, Hub, Moment, NameTable, Rings, Subscription, Timeline, ToolId,
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
    rings.allocate();
    // It does not matter how much room each of them has.
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

/// Batches that wait for a slow subscriber keep no round alive.
#[test]
fn what_waits_keeps_no_more_than_twice_its_size() {
    const WAITING: usize = 1_024;
    const ROUND: usize = 4_096;
    for batch_size in [1, 16, WAITING] {
        let rings = Arc::new(Rings::new(1, ROUND).unwrap());
        let mut drain = Drain::new(&rings, 0);
        let hub = Hub::new(1, batch_size).unwrap();
        let capacity = WAITING / batch_size;
        let subscription = hub
            .subscribe(&rings, Filter::new(), Some(capacity))
            .unwrap();
        let now = Moment::new(SystemTime::UNIX_EPOCH, 0);
        let (names, timeline) = (NameTable::default(), Timeline::new(now));
        let (names, timeline) = (Arc::new(names), Arc::new(timeline));
        let mut rounds = |rounds| {
            for _ in 0..rounds {
                for _ in 0..ROUND {
                    rings.offer(0, Draft::started(ToolId::new(1), 1, 100, None), None);
                }
                let round = drain.round(|| 1_000);
                hub.fan_out(round, &names, &timeline, now).wake();
            }
        };
        rounds(1);
        while subscription.try_recv().is_ok() {}
        let kept = measure(|| rounds(4)).bytes_current;
        assert_eq!(subscription.stats().delivered, 2 * WAITING as u64);
        let events = (WAITING * size_of::<Event>()) as i64;
        // The rest of each batch, and its place in the queue.
        let besides = (capacity * 128) as i64;
        assert!(
            kept <= 2 * events + besides + 8_192,
            "{kept} bytes for {events} of {batch_size}"
        );
        println!("{kept} bytes for {events} in batches of {batch_size}");
    }
}

/// The same if each batch is of another round, and the subscriber does not want most of the round.
#[test]
fn what_is_wanted_of_a_round_keeps_no_more_than_itself() {
    const ROUNDS: usize = 1_024;
    const ROUND: u32 = 256;
    let rings = Arc::new(Rings::new(1, ROUND as usize).unwrap());
    let mut drain = Drain::new(&rings, 0);
    let hub = Hub::new(ROUNDS, 1_024).unwrap();
    let wanted = Filter::new().tools([ToolId::new(ROUND / 2)]);
    let subscription = hub.subscribe(&rings, wanted, None).unwrap();
    let now = Moment::new(SystemTime::UNIX_EPOCH, 0);
    let (names, timeline) = (NameTable::default(), Timeline::new(now));
    let (names, timeline) = (Arc::new(names), Arc::new(timeline));
    let mut rounds = |rounds| {
        for _ in 0..rounds {
            for tool in 0..ROUND {
                rings.offer(0, Draft::started(ToolId::new(tool), 1, 100, None), None);
            }
            let round = drain.round(|| 1_000);
            hub.fan_out(round, &names, &timeline, now).wake();
        }
    };
    rounds(1);
    let kept = measure(|| rounds(ROUNDS - 1)).bytes_current;
    assert_eq!(subscription.stats().delivered, ROUNDS as u64);
    let most = (ROUNDS * (2 * size_of::<Event>() + 128)) as i64;
    assert!(kept <= most, "{kept} bytes where {most} are the most");
}

/// A round for ten thousand subscriptions takes memory for its events once, and for the events that
/// equal filters want once more, also if these are scattered in the round.
#[test]
fn a_round_for_ten_thousand_subscriptions_is_shared() {
    const ROUND: usize = 2_000;
    let own = |n: u32| Filter::new().tools([ToolId::new(n)]);
    let filters: [(&dyn Fn(u32) -> Filter, usize); 4] = [
        (&|_| Filter::new(), ROUND),
        (&|_| own(1), ROUND / 2),
        (&|_| Filter::new().retries_only(), 0),
        // A tool each, of which there is no event.
        (&|n| own(100 + n), 0),
    ];
    for (filter, delivered) in filters {
        let rings = Arc::new(Rings::new(1, ROUND).unwrap());
        let mut drain = Drain::new(&rings, 0);
        let hub = Hub::new(64, 1_024).unwrap();
        let subscriptions: Vec<_> = (0..SUBSCRIPTIONS as u32)
            .map(|n| hub.subscribe(&rings, filter(n), None).unwrap())
            .collect();
        let now = Moment::new(SystemTime::UNIX_EPOCH, 0);
        let (names, timeline) = (NameTable::default(), Timeline::new(now));
        let (names, timeline) = (Arc::new(names), Arc::new(timeline));
        let mut round = || {
            for n in 0..ROUND as u32 {
                let draft = Draft::started(ToolId::new(n % 2), 1, 100, None);
                rings.offer(0, draft, None);
            }
            let round = drain.round(|| 1_000);
            let began = std::time::Instant::now();
            hub.fan_out(round, &names, &timeline, now).wake();
            println!("{:?} for a round", began.elapsed());
        };
        // The first round takes the memory that a queue takes as it fills.
        round();
        let taken = measure(&mut round);
        assert!(taken.count_total < 100, "{taken:?}");
        assert!(
            taken.bytes_total < 4 * (ROUND * size_of::<Event>()) as u64,
            "{taken:?}"
        );
        for subscription in &subscriptions {
            assert_eq!(subscription.stats().delivered, 2 * delivered as u64);
        }
    }
}
