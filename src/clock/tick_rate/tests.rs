use super::*;

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn ticks_are_scaled_as_the_calibration_says() {
    let counter = quanta::Clock::new();
    let Some(rate) = TickRate::of(&counter) else {
        println!("SKIPPED: no time-stamp counter that is faster than 1 GHz");
        return;
    };
    for ticks in [0, 1, 1_000, 3_333_333_333, 1 << 50, (1 << 62) - 1] {
        let theirs = counter.delta_as_nanos(0, ticks);
        assert!(rate.ns(ticks).abs_diff(theirs) <= 1, "{ticks}: {theirs}");
    }
}

/// Scales as a counter of this many ticks in as many nanoseconds does: it wraps.
fn counter(ticks: u64, ns: u64) -> impl Fn(u64) -> u64 {
    move |delta| (u128::from(delta) * u128::from(ns) / u128::from(ticks)) as u64
}

#[test]
fn a_counter_whose_tick_is_a_nanosecond_or_longer_has_no_rate() {
    // 1 GHz, 250 MHz, 62.5 MHz, whose 2^62 ticks are 2^66 ns, 24 MHz, 1 MHz, 1 kHz, 1 Hz.
    let slow = [1, 4, 16, 1_000, 1_000_000, 1_000_000_000];
    for (ticks, ns) in slow.map(|ns| (1, ns)).into_iter().chain([(24, 1_000)]) {
        assert!(
            TickRate::scaled_by(counter(ticks, ns)).is_none(),
            "{ns} ns for {ticks} ticks"
        );
    }
    for power in 0..64 {
        assert!(
            TickRate::scaled_by(counter(1, 1 << power)).is_none(),
            "2^{power} ns"
        );
    }
}

#[test]
fn a_counter_whose_tick_is_shorter_has_the_rate_it_scales_by() {
    for (ticks, ns) in [
        (1_000_001, 1_000_000),
        (2, 1),
        (3, 1),
        (24, 10),
        (1 << 20, 1),
    ] {
        let scaled = counter(ticks, ns);
        let rate = TickRate::scaled_by(&scaled).unwrap();
        for delta in [0, 1, 1_000, 3_333_333_333, 1 << 50, (1 << 62) - 1] {
            assert!(
                rate.ns(delta).abs_diff(scaled(delta)) <= 1,
                "{ns} ns for {ticks} ticks"
            );
        }
    }
}
