use super::*;
use std::time::Duration;

#[test]
fn a_manual_clock_is_read_as_it_is() {
    let manual = Arc::new(ManualClock::new());
    let clock = HostClock::new(ClockSource::Manual(Arc::clone(&manual)));
    manual.advance(Duration::from_nanos(5));
    assert_eq!(clock.now_ns(), 5);
    assert_eq!(clock.source_name(), "manual");
    assert_eq!(clock.hold_back_ns(), 0);
}

#[test]
fn a_clock_that_runs_backwards_measures_nothing() {
    for source in [ClockSource::Auto, ClockSource::OperatingSystem] {
        let clock = HostClock::new(source);
        let (earlier, later) = (Tick(1 << 40), Tick((1 << 40) + 1_000));
        assert_eq!(clock.ns_between(later, earlier), 0);
        assert!(clock.ns_between(earlier, later) > 0);
    }
}

/// The counter is scaled right if it agrees with the operating system over a busy wait.
#[test]
fn the_counter_and_the_operating_system_agree() {
    let auto = HostClock::new(ClockSource::Auto);
    let system = HostClock::new(ClockSource::OperatingSystem);
    let (auto_start, system_start) = (auto.now_ns(), system.now_ns());
    while system.now_ns() - system_start < 20_000_000 {
        std::hint::spin_loop();
    }
    let (auto_ns, system_ns) = (auto.now_ns() - auto_start, system.now_ns() - system_start);
    let apart = auto_ns.abs_diff(system_ns);
    assert!(
        apart < system_ns / 5 + 5_000_000,
        "{}: {auto_ns} ns against {system_ns} ns",
        auto.source_name()
    );
    assert!(auto.hold_back_ns() > 0);
}
