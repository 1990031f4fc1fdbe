//! The path of a metered call allocates nothing: counted, over a million calls.
#![cfg(not(toolmeter_loom))]

use allocation_counter::measure;
use toolmeter::{ErrorKind, Pump, Registry, RegistryBuilder, ToolHandle, ToolSpec};

const CALLS: u64 = 1_000_000;

fn host(builder: RegistryBuilder) -> (Registry, ToolHandle) {
    let registry = builder.pump(Pump::manual()).build().unwrap();
    let tool = registry.register(ToolSpec::new("web_search")).unwrap();
    // What the first call of a thread needs, and what a first failure needs.
    tool.start().succeed();
    tool.start().fail(ErrorKind::Other, "warm-up");
    (registry, tool)
}

/// How many allocations `calls` makes on this thread.
fn allocations(calls: impl FnOnce()) -> u64 {
    measure(calls).count_total
}

#[test]
fn a_success_allocates_nothing() {
    let (_registry, tool) = host(Registry::builder());
    let counted = allocations(|| {
        for n in 0..CALLS / 2 {
            assert_eq!(tool.run(|| Ok::<_, String>(n)), Ok(n));
            tool.start().succeed();
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn a_success_that_somebody_hears_of_allocates_nothing() {
    let (registry, tool) = host(Registry::builder());
    let events = registry.subscribe();
    let mut heard = 0;
    for _ in 0..CALLS / 1_000 {
        let counted = allocations(|| {
            for _ in 0..1_000 {
                tool.start().succeed();
            }
        });
        assert_eq!(counted, 0);
        registry.pump();
        // Events younger than the hold-back come with a later round.
        while let Ok(batch) = events.try_recv() {
            heard += batch.len();
        }
    }
    assert!(heard > CALLS as usize, "{heard} events were heard of");
    assert_eq!(registry.events().lost_in_rings, 0);
}

#[test]
fn a_failure_without_text_allocates_nothing() {
    let (registry, tool) = host(Registry::builder().without_error_text());
    let counted = allocations(|| {
        for _ in 0..CALLS {
            tool.start().fail(ErrorKind::Timeout, "after 30 s");
        }
    });
    assert_eq!(counted, 0);
    assert_eq!(registry.metrics().tools["web_search"].failure(), CALLS + 1);
}

/// The counter counts: a failure with text does allocate.
#[test]
fn a_failure_with_text_allocates() {
    let (_registry, tool) = host(Registry::builder());
    let counted = allocations(|| {
        tool.start().fail(ErrorKind::Timeout, "after 30 s");
    });
    assert!(counted > 0);
}
