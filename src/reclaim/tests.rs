use crate::sync::lock;
use crate::tool_map::Entry;
use crate::{ClockSource, ManualClock, Pump, Registry};

/// A reader is in the middle of the listing when the tool that it reads goes for good, and
/// another is registered and called.
#[test]
fn memory_that_a_reader_holds_is_not_used_again() {
    let registry = Registry::builder()
        .clock(ClockSource::Manual(ManualClock::new().into()))
        .pump(Pump::manual())
        .stripes(1)
        .build()
        .unwrap();
    let shell = registry.register("shell").unwrap();
    for _ in 0..3 {
        shell.start().succeed();
    }
    registry.deregister("shell").unwrap();
    let mut shell = Some(shell);
    let mut read = Vec::new();
    registry.state().tools.visit(|entry| {
        let Entry::Retired(slot) = entry else {
            return;
        };
        drop(shell.take());
        registry.pump();
        registry.pump();
        let other = registry.register("other").unwrap();
        other.start().succeed();
        read.push((&*slot.name == "shell", slot.total().started()));
    });
    assert_eq!(read, [(true, 3)]);
    let has_work = || lock(&registry.state().registration).has_work();
    assert!(has_work(), "the reader held the memory");
    registry.pump();
    assert!(!has_work(), "no reader holds it");
    let metrics = registry.metrics();
    assert_eq!(metrics.tools["shell"].success(), 3);
    assert_eq!(metrics.tools["other"].success(), 1);
}
