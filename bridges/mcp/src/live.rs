//! The calls of one connection that are under way.
//!
//! Invariant of [`Calls`]: each call that was entered is ended exactly once, by the task that runs
//! it, when that task is dropped, or by [`Calls::end_all`], whichever comes first. No call is
//! entered after `end_all`. When it returns, no call is in flight, except one that another thread
//! is starting or ending at this moment.
//!
//! A call is taken out under the lock and ended outside of it, since ending it runs code of the
//! host.
//!
//! # Orderings
//!
//! There are no atomics, only two locks. Neither is taken while the other is held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use toolmeter::OwnedCall;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that is ended once, by the first caller that takes it.
struct Slot(Mutex<Option<OwnedCall>>);

impl Slot {
    fn take(&self) -> Option<OwnedCall> {
        lock(&self.0).take()
    }
}

/// The calls of one connection.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Table>);

#[derive(Default)]
struct Table {
    slots: HashMap<u64, Arc<Slot>>,
    next: u64,
    is_closed: bool,
}

/// A call in flight. Dropping it cancels the call, unless it has been ended.
pub(crate) struct InFlight<'a> {
    calls: &'a Calls,
    key: u64,
    slot: Arc<Slot>,
}

impl Calls {
    /// Enters a call. If the connection is gone, cancels the call and returns `None`.
    pub(crate) fn enter(&self, call: OwnedCall) -> Option<InFlight<'_>> {
        let mut table = lock(&self.0);
        if table.is_closed {
            drop(table);
            call.cancel();
            return None;
        }
        let key = table.next;
        table.next += 1;
        let slot = Arc::new(Slot(Mutex::new(Some(call))));
        table.slots.insert(key, Arc::clone(&slot));
        Some(InFlight {
            calls: self,
            key,
            slot,
        })
    }

    /// Cancels all calls that are in flight, and all that are entered later.
    pub(crate) fn end_all(&self) {
        let slots = {
            let mut table = lock(&self.0);
            table.is_closed = true;
            std::mem::take(&mut table.slots)
        };
        for call in slots.into_values().filter_map(|slot| slot.take()) {
            call.cancel();
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).slots.len()
    }
}

impl InFlight<'_> {
    /// Ends the call, unless it has been ended.
    pub(crate) fn end(&self, end: impl FnOnce(OwnedCall) -> Duration) {
        if let Some(call) = self.slot.take() {
            end(call);
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let slot = lock(&self.calls.0).slots.remove(&self.key);
        drop(slot);
        // A call that has not been ended is cancelled by being dropped.
        drop(self.slot.take());
    }
}

/// One connection, which a server and its transport share.
#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) calls: Calls,
    /// Cancelled when the client sends no more.
    pub(crate) going: CancellationToken,
}

impl Connection {
    /// Notes that the client sends no more.
    pub(crate) fn close_input(&self) {
        self.going.cancel();
    }

    /// Cancels the calls, since the client can no longer be reached.
    pub(crate) fn close(&self) {
        self.calls.end_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toolmeter::Registry;

    #[test]
    fn each_call_ends_once() {
        let registry = Registry::new();
        let tool = registry.register("read").unwrap();
        let calls = Calls::default();
        let enter = || calls.enter(tool.start_owned());
        let (one, two, three) = (enter().unwrap(), enter().unwrap(), enter().unwrap());
        one.end(OwnedCall::succeed);
        drop(two);
        assert_eq!(calls.len(), 2);
        calls.end_all();
        one.end(|_| unreachable!("it was ended"));
        three.end(|_| unreachable!("it was ended"));
        assert!(enter().is_none());
        let metrics = registry.metrics();
        let read = &metrics.tools["read"];
        assert_eq!(
            (read.success(), read.cancelled(), read.in_flight),
            (1, 3, 0)
        );
        assert_eq!(calls.len(), 0);
    }
}
