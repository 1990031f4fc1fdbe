//! Which stripe the calling thread writes.
//!
//! Each thread gets the lowest index that no living thread has, at its first metered call,
//! and gives it back when it ends. A registry with as many stripes as there are busy threads
//! therefore gives each of them a stripe of its own, however many threads came and went
//! before. With more threads than stripes some share one, which costs speed and nothing else:
//! every write to a stripe is an atomic addition.
//!
//! The index is read through a thread-local without a destructor, so the path of a call is
//! one load and one comparison. The destructor that returns the index sits in a second
//! thread-local, which only the first call of a thread touches.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

/// No index was assigned to this thread yet.
const UNASSIGNED: usize = usize::MAX;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(UNASSIGNED) };
    static LEASE: Cell<Option<Lease>> = const { Cell::new(None) };
}

/// The index of the calling thread; a slot takes it modulo its number of stripes.
#[inline]
pub(crate) fn current() -> usize {
    let index = INDEX.get();
    if index == UNASSIGNED { assign() } else { index }
}

#[cold]
fn assign() -> usize {
    let lease = Lease::take();
    let index = lease.0;
    // A thread that makes its first call while its thread-locals are being destroyed keeps
    // the index without the lease, which returns at once: it may share its stripe.
    if LEASE.try_with(|slot| slot.set(Some(lease))).is_ok() {
        INDEX.set(index);
    }
    index
}

/// An index that returns to the pool when it is dropped.
struct Lease(usize);

/// The indices that were given back, and the lowest that was never given out.
struct Pool {
    free: BinaryHeap<Reverse<usize>>,
    next: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    free: BinaryHeap::new(),
    next: 0,
});

impl Lease {
    fn take() -> Self {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        Self(pool.free.pop().map_or_else(
            || {
                pool.next += 1;
                pool.next - 1
            },
            |Reverse(index)| index,
        ))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.free.push(Reverse(self.0));
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn a_thread_keeps_its_index_and_living_threads_differ() {
        assert_eq!(current(), current());
        let barrier = Barrier::new(4);
        let mut indices: Vec<usize> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let index = current();
                        barrier.wait();
                        assert_eq!(current(), index);
                        barrier.wait();
                        index
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), 4);
    }

    #[test]
    fn indices_return_when_threads_end() {
        let highest = (0..300)
            .map(|_| thread::spawn(current).join().unwrap())
            .max();
        // The other tests of this process run at the same time, with few threads each.
        assert!(highest < Some(200), "{highest:?}");
    }

    #[test]
    fn a_first_call_during_thread_exit_still_gets_an_index() {
        struct CallsWhenDropped;
        impl Drop for CallsWhenDropped {
            fn drop(&mut self) {
                assert_ne!(current(), UNASSIGNED);
            }
        }
        thread_local! {
            static LAST: Cell<Option<CallsWhenDropped>> = const { Cell::new(None) };
        }
        let ended = thread::spawn(|| LAST.set(Some(CallsWhenDropped))).join();
        assert!(ended.is_ok());
    }
}
