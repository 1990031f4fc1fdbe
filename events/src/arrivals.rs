//! How async receivers of a subscription hear of batches, and of the end.
//!
//! Owns the wakers of one subscription. Wakers are code of the host: [`Arrivals::announce`] calls
//! them on the pump's thread. Promises:
//!
//! - No lock of this crate is held while a waker is called, cloned or dropped. So a waker may
//!   receive, subscribe, drop a subscription or close the hub.
//! - The panic of a waker is counted and goes no further; the other wakers are called.
//! - A receiver that looked at the queue before a batch came is woken for it: it leaves its waker
//!   and then looks again, while the pump puts the batch in and then takes the wakers. Both go
//!   through the lock. Either the waker is among those taken, or the look comes after the batch.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `waiting` | `lock` | the lock's | itself | `a_waiting_receiver_is_woken_for_a_batch` |
//! | `panics` | all | Relaxed | a count | |

use crate::{
    contain::contained,
    sync::{Mutex, Ordering::Relaxed, Word, lock},
};
use std::{collections::BTreeMap, mem, sync::Arc, task::Waker};

/// The async receivers of one subscription that wait.
pub(crate) struct Arrivals {
    waiting: Mutex<Waiting>,
    /// Wakers that panicked, of all subscriptions of the hub.
    panics: Arc<Word>,
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    next_key: u64,
}

impl Arrivals {
    pub(crate) fn new(panics: Arc<Word>) -> Self {
        Self {
            waiting: Mutex::new(Waiting::default()),
            panics,
        }
    }

    /// Wakes every receiver that waits.
    pub(crate) fn announce(&self) {
        let wakers = mem::take(&mut lock(&self.waiting).wakers);
        for waker in wakers.into_values() {
            if !contained(|| waker.wake()) {
                self.panics.fetch_add(1, Relaxed);
            }
        }
    }
}

/// One async receiver. It takes its waker with it when it is dropped.
pub(crate) struct Receiving<'a> {
    arrivals: &'a Arrivals,
    key: Option<u64>,
}

impl<'a> Receiving<'a> {
    pub(crate) const fn new(arrivals: &'a Arrivals) -> Self {
        let key = None;
        Self { arrivals, key }
    }

    /// Leaves a waker for what comes from now on, in place of the one before.
    pub(crate) fn wake_by(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut waiting = lock(&self.arrivals.waiting);
        let key = *self.key.get_or_insert_with(|| {
            waiting.next_key += 1;
            waiting.next_key
        });
        let before = waiting.wakers.insert(key, waker);
        drop(waiting);
        drop(before);
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = lock(&self.arrivals.waiting).wakers.remove(&key);
            drop(waker);
        }
    }
}
