//! How async receivers of a subscription hear of batches, and of the end.
//!
//! Owns the wakers of one subscription, and the count of the batches that its receivers took. Wakers
//! are code of the host. Promises:
//!
//! - No lock of this crate is held while a waker is cloned or dropped here, and the panic of one that
//!   is dropped goes no further. (`waker_threads.rs` promises both of calling one.)
//! - A receiver that looked at the queue before a batch came is woken for it: it leaves its waker,
//!   says that it waits, and then looks again, while the pump puts the batch in and then asks
//!   whether anybody waits. Both are read-modify-writes of one word. Either the pump's comes later
//!   and finds a receiver that waits, or the receiver's comes later and its look after the batch.
//! - The pump takes no lock here, so no receiver that is held up delays a round.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `waiting` | `lock` | the lock's | itself | `a_waiting_receiver_is_woken_for_a_batch` |
//! | `awaited` | `swap`, by a receiver | Acquire, Release | the pump's: the batch is seen; the waker is seen | `a_waiting_receiver_is_woken_for_a_batch` |
//! | `awaited` | `swap`, by the pump | Acquire, Release | the receiver's | `a_waiting_receiver_is_woken_for_a_batch` |
//! | `taken` | `fetch_add`, by a receiver | Release | `load`, by the pump | `a_queue_holds_no_more_than_its_capacity` |
//! | `taken` | `load`, by the pump | Acquire | the above: the queue is shorter | `a_queue_holds_no_more_than_its_capacity` |
//! | `announced` | all | Relaxed | behind the lock of `waker_threads.rs` | |
//!
//! To admit no batch too many, `taken` could be Relaxed: it is counted after the taking, in
//! whatever order others see it. The pair makes the length that the pump reads as short as the count
//! says.

use crate::{
    contain::contained,
    sync::{
        AtomicBool, Mutex,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
        Word, lock,
    },
};
use std::{collections::BTreeMap, mem, ops::Deref, task::Waker};

/// What the receivers of one subscription tell its other side.
pub(crate) struct AsyncReceivers {
    waiting: Mutex<Waiting>,
    /// A receiver has waited since the pump last asked.
    awaited: AtomicBool,
    /// It waits to be announced.
    announced: AtomicBool,
    /// Batches that receivers took from the queue.
    taken: Word,
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    next_key: u64,
}

impl AsyncReceivers {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting::default()),
            awaited: AtomicBool::new(false),
            announced: AtomicBool::new(false),
            taken: Word::new(0),
        }
    }

    /// Returns whether a receiver waits, and takes it as told from then on. For the pump, after it
    /// put a batch in.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.swap(false, AcqRel)
    }

    /// Takes the wakers of all receivers that wait.
    pub(crate) fn take_wakers(&self) -> impl Iterator<Item = Waker> + use<> {
        mem::take(&mut lock(&self.waiting).wakers).into_values()
    }

    /// Marks it as waiting to be announced, or not; returns whether it was before.
    pub(crate) fn set_announced(&self, announced: bool) -> bool {
        self.announced.swap(announced, Relaxed)
    }

    /// Counts a batch that was taken from the queue.
    pub(crate) fn count_taken(&self) {
        self.taken.fetch_add(1, Release);
    }

    /// Returns how many batches were taken from the queue.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Acquire)
    }
}

/// One async receiver. It takes its waker with it when it is dropped.
pub(crate) struct Receiving<A: Deref<Target = AsyncReceivers>> {
    receivers: A,
    key: Option<u64>,
}

impl<A: Deref<Target = AsyncReceivers>> Receiving<A> {
    pub(crate) const fn new(receivers: A) -> Self {
        let key = None;
        Self { receivers, key }
    }

    /// Leaves a waker for what comes from now on, in place of the one before.
    pub(crate) fn wake_by(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut waiting = lock(&self.receivers.waiting);
        let key = *self.key.get_or_insert_with(|| {
            waiting.next_key += 1;
            waiting.next_key
        });
        let before = waiting.wakers.insert(key, waker);
        drop(waiting);
        self.receivers.awaited.swap(true, AcqRel);
        contained(|| drop(before));
    }
}

impl<A: Deref<Target = AsyncReceivers>> Drop for Receiving<A> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = lock(&self.receivers.waiting).wakers.remove(&key);
            contained(|| drop(waker));
        }
    }
}
