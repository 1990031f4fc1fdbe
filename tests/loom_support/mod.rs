//! Code that all models share: the primitives of loom or of std, and [`model`], which runs a body
//! over every interleaving and prints their number.

/// The primitives that the models themselves use: loom's under `--cfg toolmeter_loom`, otherwise
/// std's.
#[allow(dead_code, unused_imports, reason = "not every model uses all of them")]
pub(crate) mod sync {
    #[cfg(toolmeter_loom)]
    pub(crate) use loom::{
        sync::{Arc, Mutex, MutexGuard},
        thread,
    };
    #[cfg(not(toolmeter_loom))]
    pub(crate) use std::{
        sync::{Arc, Mutex, MutexGuard},
        thread,
    };

    /// Takes the lock, poisoned or not.
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Runs `body` over all interleavings and prints their number. Fails if there is only one, since
/// that shows nothing. Without loom it runs `body` once, as a plain test.
///
/// No bound is set here or taken from the environment, since loom ends a bounded search with
/// success.
pub(crate) fn model(name: &str, body: impl Fn() + Send + Sync + 'static) {
    #[cfg(not(toolmeter_loom))]
    {
        body();
        println!("{name}: ran once; `--cfg toolmeter_loom` explores it");
    }
    #[cfg(toolmeter_loom)]
    {
        use std::sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        };
        let explored = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&explored);
        let began = std::time::Instant::now();
        let mut builder = loom::model::Builder::new();
        builder.max_duration = None;
        builder.max_permutations = None;
        builder.preemption_bound = None;
        builder.max_branches = 10_000;
        builder.check(move || {
            count.fetch_add(1, Relaxed);
            body();
        });
        let explored = explored.load(Relaxed);
        println!(
            "{name}: {explored} interleavings in {:.1?}",
            began.elapsed()
        );
        assert!(explored > 1, "{name}: one interleaving shows nothing");
    }
}
