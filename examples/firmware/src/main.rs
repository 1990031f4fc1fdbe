//! The device side of an agent, in small: three tools, one of which an interrupt calls while the main
//! loop calls the others and reads all.
//!
//! It prints a table over semihosting, and exits with success only if every reading agreed with
//! itself and the last one with what was called. Run it by `tests/firmware`.

#![no_std]
#![no_main]

use core::cell::RefCell;
use core::hint::black_box;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::Peripherals;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use critical_section::Mutex;
use toolmeter_core::{
    Clock, CountOnly, ErrorKind, Finish, FixedCounts, Layout, ManualClock, Outcome, Reading, Slot,
    Word,
};

const LAYOUT: Layout = match Layout::new(1, 20, 1) {
    Ok(layout) => layout,
    Err(_) => panic!("the layout is out of range"),
};
const WORDS: usize = LAYOUT.words();
const TOOLS: [&str; 3] = ["read_sensor", "set_valve", "blink"];
const SENSOR: usize = 0;
const VALVE: usize = 1;
const BLINK: usize = 2;

static SENSOR_WORDS: [Word; WORDS] = [const { Word::new(0) }; WORDS];
static VALVE_WORDS: [Word; WORDS] = [const { Word::new(0) }; WORDS];
static BLINK_WORDS: [Word; WORDS] = [const { Word::new(0) }; WORDS];
static CLOCK: ManualClock = ManualClock::new();
/// A reading with all its buckets, in static memory.
static READING: Mutex<RefCell<Reading<FixedCounts<40>>>> = Mutex::new(RefCell::new(Reading::new()));

/// How often the interrupt calls its tool, and the main loop each of its own.
const CALLS: u32 = 20_000;
/// How often the interrupt has called it.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// Readings of the interrupt that did not agree with themselves.
static BAD: AtomicU32 = AtomicU32::new(0);
/// Processor cycles between interrupts: few, so that most operations are interrupted somewhere.
const CYCLES: u32 = 997;

fn slot(tool: usize) -> Slot<'static> {
    let words: &[Word] = match tool {
        SENSOR => &SENSOR_WORDS,
        VALVE => &VALVE_WORDS,
        _ => &BLINK_WORDS,
    };
    match Slot::new(words, LAYOUT) {
        Ok(slot) => slot,
        Err(_) => unreachable!("the words are as many as the layout asks for"),
    }
}

/// A call of any tool. Its latency is `n`, and `n` picks how it ends.
fn call(tool: usize, n: u32) {
    let slot = slot(tool);
    let started_ns = CLOCK.now_ns();
    slot.start(0, 1);
    let outcome = if n % 4 == 3 {
        Outcome::Failure(ErrorKind::ToolError)
    } else {
        Outcome::Success
    };
    slot.finish(0, Finish::new(outcome, 1, started_ns, latency_ns(tool, n)));
}

/// All calls of the tool that is read while it is called take equally long, so that a count tells the
/// least sum.
fn latency_ns(tool: usize, n: u32) -> u64 {
    if tool == SENSOR {
        LEAST_NS
    } else {
        LEAST_NS + u64::from(n % 1_000)
    }
}
const LEAST_NS: u64 = 1_000;

/// The interrupt calls its own tool, and the one that the main loop calls as well.
#[exception]
fn SysTick() {
    let n = INTERRUPTS.load(Ordering::Relaxed);
    if n < CALLS {
        call(BLINK, n);
        call(SENSOR, n);
        // Now and then it reads as well, in the middle of whatever the main loop was about.
        if n % 4 == 0 {
            let mut reading = Reading::<CountOnly>::without_buckets();
            slot(SENSOR).visit(&mut reading, |_, _| {});
            if !is_sound(&reading) {
                BAD.store(BAD.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        }
        INTERRUPTS.store(n + 1, Ordering::Relaxed);
    }
}

/// Whether a reading that was taken at any moment agrees with itself.
fn is_sound(reading: &Reading<CountOnly>) -> bool {
    let [success, failure] = [Outcome::SUCCESS, Outcome::FAILURE].map(|class| {
        let (count, sum_ns) = (reading.count(class), reading.sum_ns(class));
        // A counted finish is complete.
        sum_ns >= count * LEAST_NS
    });
    success
        && failure
        && reading.failures(ErrorKind::ToolError) >= reading.count(Outcome::FAILURE)
        && reading.started() >= reading.finished()
        // No more than one call of the loop and one of the interrupt at once; the calls that began
        // while the slot was read are in flight as well.
        && reading.in_flight() <= 64
}

/// Whether all counts of a tool at rest are those of its calls.
fn is_complete(tool: usize, reading: &Reading<CountOnly>) -> bool {
    // The interrupt and the main loop both call the sensor.
    let times = if tool == SENSOR { 2 } else { 1 };
    let (mut failures, mut sums_ns) = (0, [0; 2]);
    for n in 0..CALLS {
        let failed = n % 4 == 3;
        failures += u64::from(failed);
        sums_ns[usize::from(failed)] += latency_ns(tool, n);
    }
    let successes = u64::from(CALLS) - failures;
    reading.count(Outcome::SUCCESS) == times * successes
        && reading.count(Outcome::FAILURE) == times * failures
        && reading.failures(ErrorKind::ToolError) == times * failures
        && reading.sum_ns(Outcome::SUCCESS) == times * sums_ns[0]
        && reading.sum_ns(Outcome::FAILURE) == times * sums_ns[1]
        && reading.in_flight() == 0
}

#[entry]
fn main() -> ! {
    let Some(mut peripherals) = Peripherals::take() else {
        unreachable!("it is taken once");
    };
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CYCLES);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();

    let (mut readings, mut interrupted, mut bad) = (0_u32, 0_u32, 0_u32);
    let mut reading = Reading::<CountOnly>::without_buckets();
    let mut n = 0;
    while n < CALLS || INTERRUPTS.load(Ordering::Relaxed) < CALLS {
        CLOCK.set_ns(u64::from(n) * 1_000);
        if n < CALLS {
            // Waits for up to 127 cycles, spread by Knuth's multiplicative hash. Without that, qemu's
            // interrupts come at the same few places of the loop each time.
            cortex_m::asm::delay(n.wrapping_mul(2_654_435_761) >> 25);
            call(SENSOR, n);
            call(VALVE, n);
            n += 1;
        }
        let before = INTERRUPTS.load(Ordering::Relaxed);
        slot(SENSOR).visit(&mut reading, |_, bucket| {
            black_box(bucket);
        });
        interrupted += u32::from(INTERRUPTS.load(Ordering::Relaxed) != before);
        readings += 1;
        bad += u32::from(!is_sound(&reading));
    }
    timer.disable_interrupt();
    bad += BAD.load(Ordering::Relaxed);

    hprintln!(
        "{:<12} {:>8} {:>8} {:>8} {:>10}",
        "tool",
        "success",
        "failure",
        "buckets",
        "mean ns"
    );
    let mut complete = true;
    for (tool, name) in TOOLS.iter().enumerate() {
        let mut buckets = 0;
        slot(tool).visit(&mut reading, |_, _| buckets += 1);
        complete &= is_complete(tool, &reading);
        let (success, failure) = (
            reading.count(Outcome::SUCCESS),
            reading.count(Outcome::FAILURE),
        );
        let sum_ns = reading.sum_ns(Outcome::SUCCESS) + reading.sum_ns(Outcome::FAILURE);
        let mean_ns = sum_ns / (success + failure).max(1);
        hprintln!(
            "{:<12} {:>8} {:>8} {:>8} {:>10}",
            name,
            success,
            failure,
            buckets,
            mean_ns
        );
        critical_section::with(|section| {
            let mut kept = READING.borrow(section).borrow_mut();
            complete &=
                slot(tool).read(&mut kept).is_ok() && kept.count(Outcome::SUCCESS) == success;
        });
    }
    hprintln!(
        "{} readings, {} of them interrupted, {} bad",
        readings,
        interrupted,
        bad
    );
    hprintln!("{} bytes a tool", size_of_val(&SENSOR_WORDS));
    let right = complete && bad == 0 && interrupted > readings / 20;
    hprintln!(
        "{}",
        if right {
            "all adds up"
        } else {
            "the books do not add up"
        }
    );
    exit(right)
}

fn exit(right: bool) -> ! {
    debug::exit(if right {
        debug::EXIT_SUCCESS
    } else {
        debug::EXIT_FAILURE
    });
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    exit(false)
}
