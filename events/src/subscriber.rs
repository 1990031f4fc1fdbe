//! The pump's side of the subscriptions: the list of them, and the queue of each.
//!
//! Invariant: for each subscription, `drained = delivered + filtered + lost`, counted under the
//! lock of the list.
//!
//! A queue takes memory as it fills, and holds no more than its capacity. The channel behind it has
//! no capacity: this side counts the batches `sent`, the receivers count in `taken` those they took
//! (`async_receivers.rs`), and a batch is put in only if `sent - taken < capacity`. A receiver that
//! is held up half way through taking a batch has not counted it. It costs one place and delays
//! nothing, whereas a channel of a fixed size would wait for it.
//!
//! # Orderings
//!
//! None of its own: the list and the counts are behind locks, and `taken` is in
//! `async_receivers.rs`. No thread waits for a receiver while it holds one of these locks, and no
//! code of the host runs under them: a round returns the receivers to be woken, and the caller
//! wakes them later.

use crate::{
    async_receivers::AsyncReceivers,
    batch::Batch,
    channel::Sender,
    delivery::{Delivery, Selection, Slice, Slicer},
    event::Event,
    filter::Filter,
    ring::FirstTickets,
    subscription_stats::{StatsHandle, SubscriptionStats},
    sync::{Mutex, lock},
    waker_threads::WakerThreads,
    wakeups::Wakeups,
};
use std::{
    mem,
    sync::{Arc, Weak},
};
use toolmeter_core::EventKind;

/// The pump's side of one subscription.
pub(crate) struct Subscriber {
    /// The subscription's id in the list.
    pub(crate) id: u64,
    pub(crate) queue: Sender<Batch>,
    /// The number of batches put into the queue so far.
    pub(crate) sent: u64,
    /// The number of batches that the queue may hold.
    pub(crate) capacity: u64,
    pub(crate) receivers: Arc<AsyncReceivers>,
    pub(crate) stats: StatsHandle,
    pub(crate) filter: Filter,
    /// For each stripe, the tickets at which the subscription began.
    pub(crate) first_tickets: Box<[FirstTickets]>,
    /// The number of events lost since the last batch that was put into the queue.
    pub(crate) lost_before: u64,
}

impl Subscriber {
    /// Returns whether the event was offered after the subscription began.
    fn is_after_start(&self, event: &Event) -> bool {
        let number = event.number();
        self.first_tickets.get(number.stripe()).is_none_or(|first| {
            let first = match event.kind() {
                EventKind::Started => first.starts,
                _ => first.ends,
            };
            number.ticket() >= first
        })
    }

    /// Puts the events that the subscription wants into its queue, in batches, and counts all
    /// events of the round. Returns whether it put a batch in.
    fn deliver(&mut self, delivery: &mut Delivery) -> bool {
        let drained = delivery.events().len();
        let batch_size = delivery.batch_size;
        let mut counts = SubscriptionStats {
            drained: drained as u64,
            ..SubscriptionStats::default()
        };
        let all_after_start = delivery.is_after(&self.first_tickets);
        if all_after_start && self.filter.wants_all() {
            for start in (0..drained).step_by(batch_size) {
                let selection = Selection::Contiguous(start..drained.min(start + batch_size));
                self.send(&mut delivery.slicer, &selection, &mut None, &mut counts);
            }
        } else if delivery.find_matches(&self.filter)
            && let Some(matches) = delivery.matches.get_mut(&self.filter)
        {
            let slicer = &mut delivery.slicer;
            if all_after_start {
                let batches = matches.indices.chunks(batch_size);
                for (indices, slice) in batches.zip(&mut matches.slices) {
                    self.send(slicer, &Selection::new(indices), slice, &mut counts);
                }
            } else {
                let events = &slicer.round().events;
                let indices = matches.indices.iter().copied();
                let indices: Vec<_> = indices
                    .filter(|&index| self.is_after_start(&events[index]))
                    .collect();
                for indices in indices.chunks(batch_size) {
                    self.send(slicer, &Selection::new(indices), &mut None, &mut counts);
                }
            }
        }
        counts.filtered = counts.drained - counts.delivered - counts.lost;
        self.stats.add(counts);
        counts.delivered > 0
    }

    /// Puts one batch into the queue, if there is room, and counts its events. `slice` keeps the
    /// slice of the selection for subscriptions with an equal filter.
    fn send(
        &mut self,
        slicer: &mut Slicer,
        selection: &Selection<'_>,
        slice: &mut Option<Slice>,
        counts: &mut SubscriptionStats,
    ) {
        let size = selection.len() as u64;
        // Checked before slicing, so that nothing is copied for a full queue.
        let queued = self.sent - self.receivers.taken() < self.capacity && {
            let (events, range) = slice.get_or_insert_with(|| slicer.slice(selection)).clone();
            let batch = Batch::new(events, range, self.lost_before);
            self.queue.send(batch).is_ok()
        };
        if queued {
            self.sent += 1;
            if cfg!(any(debug_assertions, toolmeter_loom)) {
                assert!(self.queue.len() as u64 <= self.capacity, "too many batches");
            }
            counts.delivered += size;
            counts.late += slicer.late(selection) as u64;
            self.lost_before = 0;
        } else {
            counts.lost += size;
            self.lost_before += size;
        }
    }

    /// Disconnects the queue. Returns its async receivers, if any wait to be woken.
    fn end(self) -> Option<Arc<AsyncReceivers>> {
        let Self {
            queue, receivers, ..
        } = self;
        // First, so that a receiver that is woken finds the queue disconnected.
        drop(queue);
        receivers.take_has_waiter().then_some(receivers)
    }
}

/// The subscribers of one hub.
pub(crate) struct Subscribers {
    pub(crate) list: Vec<Subscriber>,
    pub(crate) next_id: u64,
    pub(crate) closed: bool,
    waker_threads: Arc<WakerThreads>,
}

impl Subscribers {
    pub(crate) const fn new(waker_threads: Arc<WakerThreads>) -> Self {
        Self {
            list: Vec::new(),
            next_id: 0,
            closed: false,
            waker_threads,
        }
    }

    /// Hands a round to each subscriber. Returns the async receivers to be woken once the lock is
    /// released.
    pub(crate) fn fan_out(&mut self, delivery: &mut Delivery) -> Vec<Arc<AsyncReceivers>> {
        let mut to_wake = Vec::new();
        for subscriber in &mut self.list {
            if subscriber.deliver(delivery) && subscriber.receivers.take_has_waiter() {
                to_wake.push(Arc::clone(&subscriber.receivers));
            }
        }
        to_wake
    }
}

/// Ends these subscribers of a hub that closes. The caller holds no lock.
pub(crate) fn end(subscribers: Vec<Subscriber>, waker_threads: &Arc<WakerThreads>) -> Wakeups {
    let to_wake = subscribers
        .into_iter()
        .filter_map(Subscriber::end)
        .collect();
    Wakeups::at_close(to_wake, Arc::clone(waker_threads))
}

/// Dropping the last hub closes it.
impl Drop for Subscribers {
    fn drop(&mut self) {
        end(mem::take(&mut self.list), &self.waker_threads).wake();
    }
}

/// Removes one subscriber from the list, if the hub still exists and has it.
pub(crate) fn remove(subscribers: &Weak<Mutex<Subscribers>>, id: u64) {
    if let Some(subscribers) = subscribers.upgrade() {
        let mut guard = lock(&subscribers);
        let index = guard.list.iter().position(|subscriber| subscriber.id == id);
        let removed = index.map(|index| guard.list.swap_remove(index));
        // Its queue is freed outside the lock. No receiver waits for it any more.
        drop(guard);
        drop(removed);
    }
}
