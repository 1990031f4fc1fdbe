//! The hub against a plain model, on one thread: which batches each subscription receives, which
//! events it loses, what it shares with the others, and its counts.

#![cfg(not(toolmeter_loom))]

use proptest::prelude::*;
use std::{collections::VecDeque, sync::Arc, time::SystemTime};
use toolmeter_events::{
    Draft, Drain, Event, Filter, Hub, Moment, NameTable, Rings, Round, Subscription, Timeline,
    ToolId,
};

const TOOLS: u32 = 4;

fn fan_out(hub: &Hub, round: Round) {
    let now = Moment::new(SystemTime::UNIX_EPOCH, 0);
    let (names, timeline) = (NameTable::default(), Timeline::new(now));
    hub.fan_out(round, &Arc::new(names), &Arc::new(timeline), now)
        .wake();
}

#[derive(Clone, Debug)]
enum Operation {
    /// An event for each pair of tool and time, then a round that is handed out.
    Round(Vec<(u32, u64)>),
    /// One of the subscriptions receives a batch, if there is one.
    Receive(usize),
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let event = (0..TOOLS, 0_u64..60);
    prop_oneof![
        prop::collection::vec(event, 0..12).prop_map(Operation::Round),
        (0_usize..3).prop_map(Operation::Receive),
    ]
}

/// The contents that a batch must have.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    times: Vec<u64>,
    lost_before: u64,
    /// The address of its events, if it shares them with the round.
    shared: Option<*const Event>,
}

struct Model {
    subscription: Subscription,
    tools: Vec<ToolId>,
    capacity: usize,
    queue: VecDeque<Expected>,
    lost_before: u64,
    drained: u64,
    delivered: u64,
    lost: u64,
    late: u64,
}

impl Model {
    fn new(hub: &Hub, rings: &Arc<Rings>, tools: &[u32], capacity: usize) -> Self {
        let tools: Vec<_> = tools.iter().map(|&tool| ToolId::new(tool)).collect();
        let filter = Filter::new().tools(tools.clone());
        let subscription = hub.subscribe(rings, filter, Some(capacity)).unwrap();
        Self {
            subscription,
            tools,
            capacity,
            queue: VecDeque::new(),
            lost_before: 0,
            drained: 0,
            delivered: 0,
            lost: 0,
            late: 0,
        }
    }

    fn deliver(&mut self, events: &[Event], late: usize, batch_size: usize) {
        self.drained += events.len() as u64;
        let wanted: Vec<usize> = (0..events.len())
            .filter(|&index| self.tools.contains(&events[index].tool()))
            .collect();
        for places in wanted.chunks(batch_size) {
            let count = places.len() as u64;
            let together = places.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            if self.queue.len() == self.capacity {
                self.lost += count;
                self.lost_before += count;
                continue;
            }
            self.queue.push_back(Expected {
                times: places
                    .iter()
                    .map(|&place| events[place].time_ns())
                    .collect(),
                lost_before: self.lost_before,
                shared: (together && 2 * places.len() >= events.len())
                    .then_some(&raw const events[places[0]]),
            });
            self.lost_before = 0;
            self.delivered += count;
            self.late += places.iter().filter(|&&place| place < late).count() as u64;
        }
    }

    fn receive(&mut self) {
        let batch = self.subscription.try_recv().ok();
        let expected = self.queue.pop_front();
        let received = batch.as_ref().map(|batch| Expected {
            times: batch.iter().map(Event::time_ns).collect(),
            lost_before: batch.lost_before(),
            shared: expected
                .as_ref()
                .and_then(|expected| expected.shared)
                .map(|_| batch.events().as_ptr()),
        });
        assert_eq!(received, expected);
    }
}

proptest! {
    #[test]
    fn each_subscription_gets_what_a_list_would_give_it(
        batch_size in 1_usize..5,
        capacities in prop::array::uniform3(1_usize..5),
        operations in prop::collection::vec(any_operation(), 0..40),
    ) {
        let rings = Arc::new(Rings::new(1, 64).unwrap());
        let hub = Hub::new(16, batch_size).unwrap();
        let mut drain = Drain::new(&rings, 0);
        let mut models = [&[0_u32, 1, 2, 3][..], &[1, 2], &[3]]
            .into_iter()
            .zip(capacities)
            .map(|(tools, capacity)| Model::new(&hub, &rings, tools, capacity))
            .collect::<Vec<_>>();
        for operation in operations {
            match operation {
                Operation::Round(events) => {
                    for (tool, at_ns) in events {
                        rings.offer(0, Draft::started(ToolId::new(tool), 1, at_ns, None), None);
                    }
                    let round = drain.round(|| 1_000);
                    for model in &mut models {
                        model.deliver(&round.events, round.late, batch_size);
                    }
                    fan_out(&hub, round);
                }
                Operation::Receive(which) => models[which].receive(),
            }
            for model in &models {
                let stats = model.subscription.stats();
                prop_assert_eq!(
                    (stats.drained, stats.delivered, stats.lost, stats.late),
                    (model.drained, model.delivered, model.lost, model.late)
                );
                prop_assert_eq!(stats.drained, stats.delivered + stats.filtered + stats.lost);
            }
        }
        hub.close().wake();
        for model in &mut models {
            while !model.queue.is_empty() {
                model.receive();
            }
            model.receive();
        }
    }
}

#[test]
fn a_dropped_subscription_leaves_the_others() {
    let rings = Arc::new(Rings::new(1, 64).unwrap());
    let hub = Hub::new(16, 16).unwrap();
    let mut drain = Drain::new(&rings, 0);
    let subscribe = || hub.subscribe(&rings, Filter::new(), None).unwrap();
    let [first, second, third, fourth] = [(); 4].map(|()| subscribe());
    drop(second);
    drop(fourth);
    assert_eq!(hub.subscriptions(), 2);
    rings.offer(0, Draft::started(ToolId::new(1), 1, 100, None), None);
    fan_out(&hub, drain.round(|| 1_000));
    for stays in [&first, &third] {
        assert_eq!(stays.try_recv().unwrap().len(), 1);
    }
    drop(first);
    assert!(rings.is_open(), "one subscription still lives");
    drop(third);
    assert!(!rings.is_open());
}
