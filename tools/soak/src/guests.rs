//! Subscribers that join while the load runs, and leave again.
//!
//! A guest makes calls of its own, runs a round of the pump, and checks that both events of each
//! call were received or are among the lost. It receives no event of a call that ended before it
//! subscribed, and at most the end of a call that began before. Nothing is counted for it after it
//! left.

use crate::counts::Counts;
use crate::did::Did;
use crate::host::Host;
use crate::tools::JOINED;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use toolmeter::{
    CallContext, EventKind, Filter, Outcome, StatsHandle, Subscription, SubscriptionStats,
};

/// The number of calls that a guest makes.
const CALLS: u64 = 4;
/// The number of calls that it makes, or begins, before it subscribes.
const EARLY: u64 = 2;
/// A time longer than that for which the pump holds an event back, so that earlier ones can be
/// sorted in before it.
const HOLD_BACK: Duration = Duration::from_millis(1);
/// The number of former guests that are checked again some time later.
const REMEMBERED: usize = 8;

/// The findings of guests.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    /// The expected counts of their calls.
    pub(crate) counts: Counts,
    /// Drained for all of them.
    pub(crate) drained: u64,
    /// Delivered, filtered and lost of all of them.
    pub(crate) accounted: u64,
    /// Events received.
    pub(crate) received: u64,
    /// Events received beyond what was delivered.
    pub(crate) undelivered: u64,
    /// Events that were offered before they came.
    pub(crate) too_early: u64,
    /// Events of their own calls that were neither received nor lost.
    pub(crate) missing: u64,
    /// Events of their own calls that came more than once.
    pub(crate) doubled: u64,
    /// Subscriptions for which something was counted after they were dropped.
    pub(crate) haunted: u64,
    gone: VecDeque<(StatsHandle, SubscriptionStats)>,
}

/// Joins and leaves until the load is over.
pub(crate) fn join_and_leave(host: &Host) -> Guests {
    let mut guests = Guests::default();
    let mut visit = 0;
    while !host.is_over() {
        guests.visit(host, visit);
        visit += 1;
        host.rest(Duration::from_millis(3));
    }
    guests.look_back(0);
    guests
}

/// Joins and leaves on a runtime until the load is over, and only listens.
pub(crate) async fn listen_and_leave(host: Arc<Host>) -> Guests {
    let mut guests = Guests::default();
    while !host.is_over() {
        let subscription = host.registry.subscribe();
        let mut received = 0;
        for _ in 0..3 {
            // Dropping a future that waits for a batch loses none.
            if let Ok(Ok(batch)) = timeout(HOLD_BACK, subscription.recv_async()).await {
                received += batch.len() as u64;
            }
        }
        guests.leave(subscription, received);
        sleep(Duration::from_millis(5)).await;
    }
    guests.look_back(0);
    guests
}

impl Guests {
    /// Adds what others found.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.drained += other.drained;
        self.accounted += other.accounted;
        self.received += other.received;
        self.undelivered += other.undelivered;
        self.too_early += other.too_early;
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.haunted += other.haunted;
    }

    fn visit(&mut self, host: &Host, visit: u64) {
        let registry = &host.registry;
        let filter = match visit % 2 {
            0 => Filter::new(),
            _ => Filter::new().tools([host.tool(JOINED).id()]),
        };
        let queue = [1, 2, 4][visit as usize % 3];
        let lost_before = registry.event_accounting().lost_in_rings;
        let tool = host.tool(JOINED);
        let early = Arc::new(CallContext::new("guest").turn(visit).call("early"));
        let call_early = || tool.call().context(Arc::clone(&early)).start();
        call_early().succeed();
        let across = call_early();
        let subscription = registry
            .subscribe_with(filter, Some(queue))
            .expect("the queue is within its limits");

        across.succeed();
        let context = Arc::new(CallContext::new("guest").turn(visit).call("own"));
        for _ in 0..CALLS {
            let call = tool.call().context(Arc::clone(&context));
            call.start().succeed();
        }
        for _ in 0..CALLS + EARLY {
            self.counts.whole(JOINED, 1, Outcome::Success);
        }
        // By its end, this round hands out what was offered before it and is old enough.
        thread::sleep(HOLD_BACK);
        registry.pump();
        let lost_in_rings = registry.event_accounting().lost_in_rings - lost_before;

        let own = Own::receive(&subscription, &early, &context);
        self.missing += own.missing(lost_in_rings + subscription.stats().lost);
        self.doubled += own.doubled();
        self.too_early += own.too_early;
        self.leave(subscription, own.received);
    }

    /// Drops the subscription, from which `received` events were received.
    pub(crate) fn leave(&mut self, subscription: Subscription, received: u64) {
        let handle = subscription.stats_handle();
        drop(subscription);
        let stats = handle.read();
        self.drained += stats.drained;
        self.accounted += stats.delivered + stats.filtered + stats.lost;
        self.received += received;
        self.undelivered += received.saturating_sub(stats.delivered);
        self.counts.did(Did::Left);
        self.gone.push_back((handle, stats));
        self.look_back(REMEMBERED);
    }

    /// Checks all former guests again, except the last `keep`.
    pub(crate) fn look_back(&mut self, keep: usize) {
        while self.gone.len() > keep {
            if let Some((handle, then)) = self.gone.pop_front() {
                self.haunted += u64::from(handle.read() != then);
            }
        }
    }
}

/// The events that one guest received.
#[derive(Debug, Default)]
struct Own {
    received: u64,
    too_early: u64,
    kinds: [u64; EventKind::ALL.len()],
}

impl Own {
    /// Empties the queue.
    fn receive(from: &Subscription, early: &Arc<CallContext>, context: &Arc<CallContext>) -> Self {
        let mut own = Self::default();
        let mut ends = 0;
        while let Ok(batch) = from.try_recv() {
            own.received += batch.len() as u64;
            for event in &batch {
                let Some(carried) = event.context() else {
                    continue;
                };
                if Arc::ptr_eq(carried, context) {
                    own.kinds[event.kind() as usize] += 1;
                } else if Arc::ptr_eq(carried, early) {
                    // The only event that may come is the end of the call that ended after the
                    // subscription.
                    let is_start = event.kind() == EventKind::Started;
                    own.too_early += u64::from(is_start || ends > 0);
                    ends += u64::from(!is_start);
                }
            }
        }
        own
    }

    /// Returns the number of events of own calls that are missing, if `lost` events of all calls
    /// were lost.
    fn missing(&self, lost: u64) -> u64 {
        let events: u64 = self.kinds.iter().sum();
        (2 * CALLS).saturating_sub(events + lost)
    }

    fn doubled(&self) -> u64 {
        let beyond = self
            .kinds
            .iter()
            .map(|&events| events.saturating_sub(CALLS));
        beyond.sum()
    }
}
