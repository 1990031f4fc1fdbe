//! Which stripe the calling thread writes.
//!
//! Each thread gets the lowest index that no other thread has, at its first metered call, and
//! gives it back when it ends. A registry with as many stripes as there are busy threads therefore
//! gives each of them a stripe of its own, however many threads came and went before. With more
//! threads than stripes some share one, which costs speed and nothing else: every write to a
//! stripe is an atomic addition.
//!
//! A thread that called once and is quiet since should not keep a stripe while busy ones share.
//! So where more threads have an index than a registry has stripes, its pump begins a new
//! *generation* now and then ([`renew`]): all indices are free again, and each thread takes the
//! lowest at its next call. Those that do not call take none.
//!
//! The index is read through a thread-local without a destructor, so the path of a call is two
//! loads and one comparison. The destructor that returns the index sits in a second
//! thread-local, which only the first call of a thread in a generation touches.
//!
//! A forked child may find the pool locked by a thread that is not in it. So each process has a
//! pool of its own, which is made where the one that is there is another process's.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `GENERATION` | `load` by a call, `store` under the pool's lock | `Relaxed` | orders nothing: a thread that sees it late writes the stripe that it had | |
//! | `POOL` | arc-swap's `load_full` and `compare_and_swap` | its own | each other | |
//! | `Pool::indices` | `lock` | the lock's | itself | |

use crate::process::Process;
use arc_swap::ArcSwapOption;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An index, and the generation in which it was taken.
#[derive(Clone, Copy)]
struct Index {
    index: usize,
    generation: usize,
}

/// The generation of indices that are valid. Not loom's: it orders nothing.
static GENERATION: AtomicUsize = AtomicUsize::new(FIRST_GENERATION);

/// Above what a thread begins with, so that no thread has an index.
const FIRST_GENERATION: usize = 1;

thread_local! {
    static INDEX: Cell<Index> = const { Cell::new(Index { index: 0, generation: 0 }) };
    static LEASE: Cell<Option<Lease>> = const { Cell::new(None) };
}

/// The index of the calling thread; a slot takes it modulo its number of stripes.
#[inline]
pub(crate) fn current() -> usize {
    let Index { index, generation } = INDEX.get();
    if generation == GENERATION.load(Ordering::Relaxed) {
        index
    } else {
        assign()
    }
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
    index.index
}

/// Frees all indices, if more threads have one than there are `stripes`. Threads that still call
/// take the lowest again.
pub(crate) fn renew(stripes: usize) {
    let pool = Pool::of(Process::current());
    let mut indices = pool.indices();
    if indices.next > stripes {
        *indices = Indices::new(after(indices.generation));
        GENERATION.store(indices.generation, Ordering::Relaxed);
    }
}

/// The generation after this one.
fn after(generation: usize) -> usize {
    generation.wrapping_add(1).max(FIRST_GENERATION)
}

/// An index that returns to the pool when it is dropped.
struct Lease(Index);

/// The indices of a process.
struct Pool {
    process: Process,
    indices: Mutex<Indices>,
}

/// The indices that were given back, and the lowest that was never given out.
struct Indices {
    free: BinaryHeap<Reverse<usize>>,
    next: usize,
    generation: usize,
}

static POOL: ArcSwapOption<Pool> = ArcSwapOption::const_empty();

impl Indices {
    fn new(generation: usize) -> Self {
        Self {
            free: BinaryHeap::new(),
            next: 0,
            generation,
        }
    }
}

impl Pool {
    /// The pool of this process. If there is one of another process, this is a forked child: its
    /// pool begins with the generation after that of the other, in which all indices are free.
    fn of(process: Process) -> Arc<Self> {
        loop {
            let found = POOL.load_full();
            if let Some(pool) = &found
                && pool.process == process
            {
                return Arc::clone(pool);
            }
            let generation = if found.is_some() {
                after(GENERATION.load(Ordering::Relaxed))
            } else {
                FIRST_GENERATION
            };
            let made = Arc::new(Self {
                process,
                indices: Mutex::new(Indices::new(generation)),
            });
            // Locked until it is told, so that no later generation is told before.
            let indices = made.indices();
            let before = POOL.compare_and_swap(&found, Some(Arc::clone(&made)));
            if before.as_ref().map(Arc::as_ptr) == found.as_ref().map(Arc::as_ptr) {
                GENERATION.store(indices.generation, Ordering::Relaxed);
                drop(indices);
                return made;
            }
        }
    }

    fn indices(&self) -> MutexGuard<'_, Indices> {
        self.indices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn take() -> Self {
        Self::take_from(&Pool::of(Process::current()))
    }

    fn take_from(pool: &Pool) -> Self {
        let mut indices = pool.indices();
        let index = indices.free.pop().map_or_else(
            || {
                indices.next += 1;
                indices.next - 1
            },
            |Reverse(index)| index,
        );
        let generation = indices.generation;
        Self(Index { index, generation })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let pool = Pool::of(Process::current());
        let mut indices = pool.indices();
        // An index of an earlier generation is free already.
        if self.0.generation == indices.generation {
            indices.free.push(Reverse(self.0.index));
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use crate::{ClockSource, Pump, Registry};
    use std::sync::{Arc, Barrier};
    use std::thread;
    use std::time::Duration;

    /// Held by tests that say which indices are given out.
    static ALONE: Mutex<()> = Mutex::new(());

    fn alone() -> MutexGuard<'static, ()> {
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The indices of four threads that live at the same time.
    fn indices_of_four() -> Vec<usize> {
        let barrier = Barrier::new(4);
        thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    let index = current();
                    barrier.wait();
                    index
                })
            });
            threads.map(|thread| thread.join().unwrap()).to_vec()
        })
    }

    #[test]
    fn a_thread_keeps_its_index_and_living_threads_differ() {
        let _alone = alone();
        // The registries of other tests may begin a new generation at any time.
        loop {
            let generation = GENERATION.load(Ordering::Relaxed);
            let mine = [current(), current()];
            let mut indices = indices_of_four();
            if GENERATION.load(Ordering::Relaxed) == generation {
                assert_eq!(mine[0], mine[1]);
                indices.sort_unstable();
                indices.dedup();
                assert_eq!(indices.len(), 4);
                break;
            }
        }
    }

    #[test]
    fn indices_return_when_threads_end() {
        let _alone = alone();
        let highest = (0..300)
            .map(|_| thread::spawn(current).join().unwrap())
            .max();
        // The other tests of this process run at the same time, with few threads each.
        assert!(highest < Some(200), "{highest:?}");
    }

    /// Many threads come and go, and one comes after them.
    #[test]
    fn the_lowest_index_that_is_free_is_given_out() {
        const MANY: usize = 300;
        let _alone = alone();
        let called = Barrier::new(MANY);
        thread::scope(|scope| {
            let threads = [(); MANY].map(|()| {
                scope.spawn(|| {
                    current();
                    called.wait();
                })
            });
            // A join waits for the destructors of thread-locals, too.
            for thread in threads {
                thread.join().unwrap();
            }
        });
        let next = thread::spawn(current).join().unwrap();
        // The other tests of this process run at the same time, with few threads each.
        assert!(next < MANY / 2, "{next}");
    }

    /// Many threads that called once and are quiet since, and one that begins to call.
    #[test]
    fn threads_that_are_quiet_keep_no_index_from_busy_ones() {
        const QUIET: usize = 300;
        let _alone = alone();
        let (called, may_end) = (Barrier::new(QUIET + 1), Barrier::new(QUIET + 1));
        thread::scope(|scope| {
            for _ in 0..QUIET {
                scope.spawn(|| {
                    current();
                    called.wait();
                    may_end.wait();
                });
            }
            called.wait();
            let generation = GENERATION.load(Ordering::Relaxed);
            renew(usize::MAX);
            let unchanged = GENERATION.load(Ordering::Relaxed) == generation;
            renew(16);
            let changed = GENERATION.load(Ordering::Relaxed) != generation;
            let late = thread::spawn(current).join().unwrap();
            // They wait for this whatever comes of the test.
            may_end.wait();
            assert!(changed, "there are not");
            // The other tests of this process run at the same time, with few threads each.
            assert!(late < QUIET / 2, "{late}");
            assert!(unchanged, "there are stripes for all");
        });
    }

    /// What `renew` does for the stripes, the pump of a registry does as it publishes.
    #[test]
    fn a_pump_that_publishes_frees_the_stripes_of_quiet_threads() {
        const QUIET: usize = 300;
        let _alone = alone();
        let registry = Registry::builder()
            .clock(ClockSource::Manual(Arc::default()))
            .publish_every(Duration::ZERO)
            .pump(Pump::manual())
            .stripes(16)
            .build()
            .unwrap();
        let tool = registry.register("tool").unwrap();
        let (called, may_end) = (Barrier::new(QUIET + 1), Barrier::new(QUIET + 1));
        thread::scope(|scope| {
            for _ in 0..QUIET {
                scope.spawn(|| {
                    tool.start().succeed();
                    called.wait();
                    may_end.wait();
                });
            }
            called.wait();
            registry.pump();
            let index = thread::spawn(current).join().unwrap();
            may_end.wait();
            // The other tests of this process run at the same time, with few threads each.
            assert!(index < QUIET / 2, "{index}");
        });
    }

    /// As in a child that was forked while another thread had the pool locked.
    #[test]
    fn a_pool_of_another_process_is_not_waited_for() {
        let _alone = alone();
        let parents = Pool::of(Process::current());
        let locked = parents.indices();
        let childs = Pool::of(Process::other());
        let leases = [(); 2].map(|()| Lease::take_from(&childs));
        let [first, second] = [leases[0].0, leases[1].0];
        assert_eq!((first.index, second.index), (0, 1));
        assert!(first.generation > locked.generation);
        assert!(GENERATION.load(Ordering::Relaxed) >= first.generation);
        // They do not return to the pool that is locked.
        drop(leases);
        drop(locked);
    }

    #[test]
    fn a_first_call_during_thread_exit_still_gets_an_index() {
        struct CallsWhenDropped;
        impl Drop for CallsWhenDropped {
            fn drop(&mut self) {
                assert!(current() < 10_000);
            }
        }
        thread_local! {
            static LAST: Cell<Option<CallsWhenDropped>> = const { Cell::new(None) };
        }
        let ended = thread::spawn(|| LAST.set(Some(CallsWhenDropped))).join();
        assert!(ended.is_ok());
    }
}
