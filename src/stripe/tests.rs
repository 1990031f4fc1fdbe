use super::*;
use crate::{ClockSource, Pump, Registry};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// Locked by tests that depend on which indices are given out.
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

/// Many threads made a call and make none since, and one begins to call.
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
        // They wait for this even if the test fails.
        may_end.wait();
        assert!(changed, "there are not");
        // The other tests of this process run at the same time, with few threads each.
        assert!(late < QUIET / 2, "{late}");
        assert!(unchanged, "there are stripes for all");
    });
}

/// The pump of a registry calls `renew` when it publishes.
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
    let held = [(); 2].map(|()| HeldIndex::take_from(&childs));
    let [first, second] = [held[0].0, held[1].0];
    assert_eq!((first.index, second.index), (0, 1));
    assert!(first.generation > locked.generation);
    assert!(GENERATION.load(Ordering::Relaxed) >= first.generation);
    // They do not return to the pool that is locked.
    drop(held);
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
