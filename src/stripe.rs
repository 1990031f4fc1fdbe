//! The index of the calling thread, which chooses the stripe that it writes.
//!
//! A thread gets the lowest free index at its first metered call, and returns it when it ends. So
//! if a registry has as many stripes as there are busy threads, each of them has a stripe of its
//! own, however many threads came and went before. If there are more threads than stripes, some
//! share one. That only costs speed: every write to a stripe is an atomic addition.
//!
//! A thread that made a call once and none since should not keep a stripe of its own while busy
//! threads share one. So if more threads had an index at once than a registry has stripes, its pump
//! begins a new *generation* when it publishes ([`renew`]): all indices are free again, and each
//! thread gets the lowest free one at its next call. Threads that make no calls get none.
//!
//! The index is in a thread-local without a destructor, so the path of a call is two loads and one
//! comparison. The destructor that returns the index is that of a second thread-local, which only
//! the first call of a thread in a generation touches.
//!
//! In a forked child, the pool may be locked by a thread that does not exist there. So each process
//! has a pool of its own: it makes one when it finds that of another process.
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
struct Assigned {
    index: usize,
    generation: usize,
}

/// The generation of the indices that are valid. This is not loom's atomic: it orders nothing.
static GENERATION: AtomicUsize = AtomicUsize::new(FIRST_GENERATION);

/// Above the generation that each thread begins with, so that no thread has an index at first.
const FIRST_GENERATION: usize = 1;

thread_local! {
    static INDEX: Cell<Assigned> = const { Cell::new(Assigned { index: 0, generation: 0 }) };
    static HELD: Cell<Option<HeldIndex>> = const { Cell::new(None) };
}

/// Returns the index of the calling thread. A slot takes it modulo its number of stripes.
#[inline]
pub(crate) fn current() -> usize {
    let Assigned { index, generation } = INDEX.get();
    if generation == GENERATION.load(Ordering::Relaxed) {
        index
    } else {
        assign()
    }
}

/// Takes an index for the calling thread.
#[cold]
fn assign() -> usize {
    let held = HeldIndex::take();
    let index = held.0;
    // If a thread makes its first call while its thread-locals are destroyed, the index is returned
    // to the pool at once, and another thread may get it too. The next call takes another.
    if HELD.try_with(|slot| slot.set(Some(held))).is_ok() {
        INDEX.set(index);
    }
    index.index
}

/// Frees all indices, if more than `stripes` of them were taken at once in this generation. Each
/// thread gets the lowest free one at its next call.
pub(crate) fn renew(stripes: usize) {
    let pool = Pool::of(Process::current());
    let mut indices = pool.indices();
    if indices.next > stripes {
        *indices = Indices::new(after(indices.generation));
        GENERATION.store(indices.generation, Ordering::Relaxed);
    }
}

/// Returns the generation after this one.
fn after(generation: usize) -> usize {
    generation.wrapping_add(1).max(FIRST_GENERATION)
}

/// An index that is returned to the pool when this is dropped.
struct HeldIndex(Assigned);

/// The pool of a process.
struct Pool {
    process: Process,
    indices: Mutex<Indices>,
}

/// The indices that were returned, and the lowest that was never given out.
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
    /// Returns the pool of this process, which is made if there is none.
    ///
    /// If there is a pool of another process, this is a forked child. Its pool begins with the
    /// generation after that of the other, in which all indices are free.
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
            let new = Arc::new(Self {
                process,
                indices: Mutex::new(Indices::new(generation)),
            });
            // Locked until the generation is stored, so that no later one is stored before.
            let indices = new.indices();
            let before = POOL.compare_and_swap(&found, Some(Arc::clone(&new)));
            if before.as_ref().map(Arc::as_ptr) == found.as_ref().map(Arc::as_ptr) {
                GENERATION.store(indices.generation, Ordering::Relaxed);
                drop(indices);
                return new;
            }
        }
    }

    fn indices(&self) -> MutexGuard<'_, Indices> {
        self.indices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldIndex {
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
        Self(Assigned { index, generation })
    }
}

impl Drop for HeldIndex {
    fn drop(&mut self) {
        let pool = Pool::of(Process::current());
        let mut indices = pool.indices();
        // The indices of earlier generations are free already.
        if self.0.generation == indices.generation {
            indices.free.push(Reverse(self.0.index));
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
