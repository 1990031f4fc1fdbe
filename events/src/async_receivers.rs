//! The async receivers of one subscription: their wakers, and the count of batches taken.
//!
//! Wakers are code of the host.
//!
//! # Invariants
//!
//! - No lock of this crate is held while a waker is cloned or dropped here, and a panic in dropping
//!   one is caught. (`waker_threads.rs` guarantees both for calling one.)
//! - A receiver that finds the queue empty is woken for the next batch. It registers its waker,
//!   sets `has_waiter` and looks at the queue again; the pump puts the batch in and then takes
//!   `has_waiter`. Both are read-modify-writes of one word. Either the pump's comes later and finds
//!   a receiver that waits, or the receiver's comes later and its second look finds the batch.
//! - The pump takes no lock here while it hands out a round, so no receiver that is held up delays
//!   the round.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `wakers` | `lock` | the lock's | itself | `a_waiting_receiver_is_woken_for_a_batch` |
//! | `has_waiter` | `swap`, by a receiver | Acquire, Release | the pump's: the batch is seen; the waker is seen | `a_waiting_receiver_is_woken_for_a_batch` |
//! | `has_waiter` | `swap`, by the pump | Acquire, Release | the receiver's | `a_waiting_receiver_is_woken_for_a_batch` |
//! | `taken` | `fetch_add`, by a receiver | Release | `load`, by the pump | `a_queue_holds_no_more_than_its_capacity` |
//! | `taken` | `load`, by the pump | Acquire | the above: the queue is shorter | `a_queue_holds_no_more_than_its_capacity` |
//! | `is_queued` | all | Relaxed | behind the lock of `waker_threads.rs` | |
//!
//! Relaxed would suffice for `taken` to admit no batch too many, since a batch is counted after it
//! was taken. The pair makes the length of the queue, as the pump reads it, as short as the count
//! implies.

use crate::{
    contain::contained,
    sync::{
        AtomicBool, Mutex,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
        Word, lock,
    },
};
use std::{collections::BTreeMap, mem, ops::Deref, task::Waker};

/// The state that the receivers of one subscription share with the pump.
pub(crate) struct AsyncReceivers {
    wakers: Mutex<Wakers>,
    /// Set if a receiver has registered since the pump last cleared it.
    has_waiter: AtomicBool,
    /// Set if the subscription is queued for the waker threads.
    is_queued: AtomicBool,
    /// The number of batches that receivers took from the queue.
    taken: Word,
}

/// The wakers of the receivers that wait.
#[derive(Default)]
struct Wakers {
    by_key: BTreeMap<u64, Waker>,
    last_key: u64,
}

impl AsyncReceivers {
    pub(crate) fn new() -> Self {
        Self {
            wakers: Mutex::new(Wakers::default()),
            has_waiter: AtomicBool::new(false),
            is_queued: AtomicBool::new(false),
            taken: Word::new(0),
        }
    }

    /// Returns whether a receiver waits, and clears that mark. For the pump, after it put a batch
    /// in.
    pub(crate) fn take_has_waiter(&self) -> bool {
        self.has_waiter.swap(false, AcqRel)
    }

    /// Takes the wakers of all receivers that wait.
    pub(crate) fn take_wakers(&self) -> impl Iterator<Item = Waker> + use<> {
        mem::take(&mut lock(&self.wakers).by_key).into_values()
    }

    /// Sets whether the subscription is queued for the waker threads. Returns whether it was
    /// before.
    pub(crate) fn set_queued(&self, is_queued: bool) -> bool {
        self.is_queued.swap(is_queued, Relaxed)
    }

    /// Counts a batch that was taken from the queue.
    pub(crate) fn count_taken(&self) {
        self.taken.fetch_add(1, Release);
    }

    /// Returns the number of batches that were taken from the queue.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Acquire)
    }
}

/// One async receiver. Its waker is removed when it is dropped.
pub(crate) struct AsyncReceiver<A: Deref<Target = AsyncReceivers>> {
    receivers: A,
    key: Option<u64>,
}

impl<A: Deref<Target = AsyncReceivers>> AsyncReceiver<A> {
    pub(crate) const fn new(receivers: A) -> Self {
        let key = None;
        Self { receivers, key }
    }

    /// Registers a waker for the next batch, and replaces the previous one.
    pub(crate) fn register(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut wakers = lock(&self.receivers.wakers);
        let key = *self.key.get_or_insert_with(|| {
            wakers.last_key += 1;
            wakers.last_key
        });
        let before = wakers.by_key.insert(key, waker);
        drop(wakers);
        self.receivers.has_waiter.swap(true, AcqRel);
        contained(|| drop(before));
    }
}

impl<A: Deref<Target = AsyncReceivers>> Drop for AsyncReceiver<A> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = lock(&self.receivers.wakers).by_key.remove(&key);
            contained(|| drop(waker));
        }
    }
}
