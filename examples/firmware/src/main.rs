//! A small example of the device side of an agent: an interrupt and the main loop call three tools,
//! one of which they share, and the main loop reads the counts and drains the events.
//!
//! It prints a table over semihosting, and exits with success only if every reading was consistent,
//! the last one agrees with the calls, and each event was drained or counted as lost.
//! `tests/firmware` runs it.

#![no_std]
#![no_main]

mod drained;
mod exit;
mod tools;

use core::cell::RefCell;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::hprintln;
use critical_section::Mutex;
use drained::Drained;
use exit::exit;
use panic_semihosting as _;
use toolmeter_core::{CountOnly, ErrorKind, FixedCounts, Outcome, OutcomeClass, Reading, Tally};
use tools::{BLINK, EVENTS, LEAST_NS, NAMES, SENSOR, Sums, VALVE, call, slot};

/// A reading with all its buckets, in static memory.
static READING: Mutex<RefCell<Reading<FixedCounts<40>>>> = Mutex::new(RefCell::new(Reading::new()));

/// The number of times that the interrupt and the main loop each call their tools while the main
/// loop drains all events, and the number after the main loop has also been too slow.
const CALLS: u32 = 20_000;
const CALLS_IN_ALL: u32 = 22_000;
/// The number of times that the interrupt has called its tools, and the number after which it
/// stops.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
static LAST_INTERRUPT: AtomicU32 = AtomicU32::new(0);
/// Readings of the interrupt that were not consistent.
static BAD: AtomicU32 = AtomicU32::new(0);
/// Processor cycles between interrupts: few, so that most operations are interrupted somewhere.
const CYCLES: u32 = 4_999;

/// Calls the interrupt's own tool, and the one that the main loop calls as well.
#[exception]
fn SysTick() {
    let n = INTERRUPTS.load(Ordering::Relaxed);
    if n < LAST_INTERRUPT.load(Ordering::Relaxed) {
        call(BLINK, n);
        call(SENSOR, n);
        // Every fourth time it also reads, in the middle of what the main loop was doing.
        if n.is_multiple_of(4) {
            let mut reading = Reading::<CountOnly>::without_buckets();
            slot(SENSOR).visit(&mut reading, |_, _| {});
            if !is_sound(&reading) {
                BAD.store(BAD.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        }
        INTERRUPTS.store(n + 1, Ordering::Relaxed);
    }
}

/// Returns whether a reading is consistent, at whatever moment it was taken.
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

/// Returns whether all counts of a tool at rest are those of its calls.
fn is_complete<C: Tally>(tool: usize, calls: u32, reading: &Reading<C>) -> bool {
    let sums = Sums {
        counts: OutcomeClass::ALL.map(|class| reading.count(class)),
        sums_ns: OutcomeClass::ALL.map(|class| reading.sum_ns(class)),
    };
    sums == Sums::expected(tool, calls)
        && reading.failures(ErrorKind::ToolError) == reading.count(Outcome::FAILURE)
        && reading.in_flight() == 0
}

/// The state of the main loop, and its findings.
struct MainLoop {
    /// The number of times that it has called its tools.
    n: u32,
    drained: Drained,
    readings: u32,
    interrupted: u32,
    bad: u32,
}

impl MainLoop {
    /// Enables the interrupt until it and the loop have called their tools `calls` times. Drains the
    /// events after every `calls_per_drain` rounds of the loop.
    fn run(&mut self, timer: &mut SYST, calls: u32, calls_per_drain: u32) {
        LAST_INTERRUPT.store(calls, Ordering::Relaxed);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        while self.n < calls || INTERRUPTS.load(Ordering::Relaxed) < calls {
            if self.n < calls {
                // Waits for up to 127 cycles, spread by Knuth's multiplicative hash. Without that,
                // qemu's interrupts always occur at the same few places of the loop.
                cortex_m::asm::delay(self.n.wrapping_mul(2_654_435_761) >> 25);
                call(SENSOR, self.n);
                call(VALVE, self.n);
                self.n += 1;
            }
            self.read();
            if self.n.is_multiple_of(calls_per_drain) {
                self.drain();
            }
        }
        timer.disable_interrupt();
        self.drain();
    }

    fn read(&mut self) {
        let mut reading = Reading::<CountOnly>::without_buckets();
        let before = INTERRUPTS.load(Ordering::Relaxed);
        slot(SENSOR).visit(&mut reading, |_, bucket| {
            black_box(bucket);
        });
        self.interrupted += u32::from(INTERRUPTS.load(Ordering::Relaxed) != before);
        self.readings += 1;
        self.bad += u32::from(!is_sound(&reading));
    }

    fn drain(&mut self) {
        for event in EVENTS.drain().into_iter().flatten() {
            self.drained.add(event);
        }
    }
}

#[entry]
fn main() -> ! {
    let Some(mut peripherals) = Peripherals::take() else {
        unreachable!("it is taken once");
    };
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CYCLES);
    let mut main_loop = MainLoop {
        n: 0,
        drained: Drained::new(),
        readings: 0,
        interrupted: 0,
        bad: 0,
    };

    main_loop.run(timer, CALLS, 1);
    let all_drained = main_loop.drained.is_all_of(CALLS, EVENTS.accounting());
    // The ring is drained too seldom to have room for most events.
    main_loop.run(timer, CALLS_IN_ALL, 50);
    let accounting = EVENTS.accounting();
    let losses_counted = accounting.lost > 0 && main_loop.drained.is_sound(accounting);

    let complete = print_table();
    let MainLoop {
        readings,
        interrupted,
        ..
    } = main_loop;
    let bad = main_loop.bad + BAD.load(Ordering::Relaxed);
    hprintln!("{readings} readings, {interrupted} of them interrupted, {bad} bad");
    hprintln!(
        "{} events offered, {} drained, {} lost",
        accounting.offered,
        accounting.drained,
        accounting.lost
    );
    let right =
        complete && all_drained && losses_counted && bad == 0 && interrupted > readings / 20;
    hprintln!(
        "{}",
        if right {
            "all adds up"
        } else {
            "the counts are wrong"
        }
    );
    exit(right)
}

/// Prints the counts of each tool, and returns whether they are those of its calls.
fn print_table() -> bool {
    hprintln!(
        "{:<12} {:>8} {:>8} {:>8} {:>10}",
        "tool",
        "success",
        "failure",
        "buckets",
        "mean ns"
    );
    critical_section::with(|section| {
        let mut reading = READING.borrow(section).borrow_mut();
        let mut complete = true;
        for (tool, name) in NAMES.iter().enumerate() {
            complete &=
                slot(tool).read(&mut reading).is_ok() && is_complete(tool, CALLS_IN_ALL, &reading);
            let classes = [Outcome::SUCCESS, Outcome::FAILURE];
            let [success, failure] = classes.map(|class| reading.count(class));
            let [success_ns, failure_ns] = classes.map(|class| reading.sum_ns(class));
            hprintln!(
                "{:<12} {:>8} {:>8} {:>8} {:>10}",
                name,
                success,
                failure,
                reading.buckets(Outcome::SUCCESS).len() + reading.buckets(Outcome::FAILURE).len(),
                (success_ns + failure_ns) / (success + failure).max(1)
            );
        }
        complete
    })
}
