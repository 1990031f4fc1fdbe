//! The cost of one operation on this processor: bytes of stack, and instructions.
//!
//! The use of the stack is measured by painting the stack before each operation. Instructions are
//! counted by the system timer under qemu's `-icount`, where each takes the same virtual time. It
//! prints a table over semihosting, and exits with failure if an operation takes more stack than
//! the limits below. `tests/firmware` runs it.

#![no_std]
#![no_main]

#[path = "../exit.rs"]
mod exit;

use core::cell::RefCell;
use core::hint::black_box;
use core::ptr;
use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::register::msp;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use critical_section::Mutex;
use exit::exit;
use panic_semihosting as _;
use toolmeter_core::{
    CountOnly, ErrorKind, EventFacts, EventRing, Finish, FixedCounts, Layout, Outcome, Reading,
    Slot, Word,
};

const LAYOUT: Layout = match Layout::new(1, 20, 1) {
    Ok(layout) => layout,
    Err(_) => panic!("the layout is out of range"),
};
static WORDS: [Word; LAYOUT.words()] = [const { Word::new(0) }; LAYOUT.words()];
const SLOT: Slot<'static> = match Slot::new(&WORDS, LAYOUT) {
    Ok(slot) => slot,
    Err(_) => panic!("the words are too few"),
};
static READING: Mutex<RefCell<Reading<FixedCounts<64>>>> = Mutex::new(RefCell::new(Reading::new()));

const PLACES: usize = 16;
static EVENT_WORDS: [Word; EventRing::words(PLACES)] =
    [const { Word::new(0) }; EventRing::words(PLACES)];
static EVENTS: EventRing<'static> = match EventRing::new(&EVENT_WORDS, PLACES) {
    Ok(ring) => ring,
    Err(_) => panic!("the ring is out of range"),
};

/// An operation, its preparation, which is not measured, and its limit of stack in bytes.
struct Operation {
    name: &'static str,
    prepare: fn(),
    run: fn(),
    limit: Option<usize>,
}

const OPERATIONS: [Operation; 8] = [
    Operation {
        name: "start",
        prepare: nothing,
        run: start,
        limit: Some(64),
    },
    Operation {
        name: "finish, success",
        prepare: nothing,
        run: succeed,
        limit: Some(128),
    },
    Operation {
        name: "finish, failure",
        prepare: nothing,
        run: fail,
        limit: Some(128),
    },
    Operation {
        name: "read, 64 buckets",
        prepare: nothing,
        run: read,
        limit: Some(256),
    },
    Operation {
        name: "visit",
        prepare: nothing,
        run: visit,
        limit: Some(256),
    },
    Operation {
        name: "offer, start",
        prepare: drain,
        run: offer_start,
        limit: None,
    },
    Operation {
        name: "offer, end",
        prepare: drain,
        run: offer_end,
        limit: None,
    },
    Operation {
        name: "drain, 2 events",
        prepare: drain_and_offer_both,
        run: drain,
        limit: None,
    },
];

#[inline(never)]
fn nothing() {
    black_box(());
}

#[inline(never)]
fn start() {
    SLOT.start(0, black_box(1));
}

/// Returns the end of a call whose latency the compiler does not know.
fn end(outcome: Outcome) -> Finish {
    Finish::new(
        outcome,
        black_box(1),
        black_box(1_000_000),
        black_box(1_500),
    )
}

#[inline(never)]
fn succeed() {
    SLOT.finish(0, end(Outcome::Success));
}

#[inline(never)]
fn fail() {
    SLOT.finish(0, end(Outcome::Failure(black_box(ErrorKind::ToolError))));
}

#[inline(never)]
fn read() {
    critical_section::with(|section| {
        let mut reading = READING.borrow(section).borrow_mut();
        let _ = black_box(SLOT.read(&mut reading));
    });
}

#[inline(never)]
fn visit() {
    critical_section::with(|section| {
        let mut reading = COUNTS.borrow(section).borrow_mut();
        SLOT.visit(&mut reading, |_, bucket| {
            black_box(bucket);
        });
    });
}
static COUNTS: Mutex<RefCell<Reading<CountOnly>>> =
    Mutex::new(RefCell::new(Reading::<CountOnly>::without_buckets()));

#[inline(never)]
fn offer_start() {
    EVENTS.offer(EventFacts::started(1, black_box(1), black_box(1_000)));
}

#[inline(never)]
fn offer_end() {
    EVENTS.offer(EventFacts::closing(1, end(Outcome::Success)));
}

fn drain_and_offer_both() {
    drain();
    offer_start();
    offer_end();
}

#[inline(never)]
fn drain() {
    for event in EVENTS.drain().into_iter().flatten() {
        black_box(event);
    }
}

/// The number of bytes below the stack pointer that are painted, and the paint.
const PAINTED: usize = 2_048;
const PAINT: u32 = 0xcccc_cccc;

/// Returns the bytes of stack that an operation takes, up to [`PAINTED`].
///
/// No interrupt is enabled, so only the operation changes the memory below the stack pointer.
#[inline(never)]
fn stack_of(run: fn()) -> usize {
    let top = msp::read() as usize;
    let bottom = top - PAINTED;
    for address in (bottom..top).step_by(size_of::<u32>()) {
        // SAFETY: these are aligned words of memory below all frames in use, and far above the statics.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(PAINT) };
    }
    run();
    let mut address = bottom;
    // SAFETY: as above.
    while address < top
        && unsafe { ptr::with_exposed_provenance::<u32>(address).read_volatile() } == PAINT
    {
        address += size_of::<u32>();
    }
    top - address
}

/// Returns the ticks of the system timer during an operation.
#[inline(never)]
fn ticks_of(run: fn()) -> u32 {
    let before = SYST::get_current();
    run();
    // The timer counts down from 2^24.
    before.wrapping_sub(SYST::get_current()) & 0x00ff_ffff
}

/// The number of instructions that [`nops`] has in addition to those of [`nothing`].
const NOPS: u32 = 32;

#[inline(never)]
fn nops() {
    macro_rules! one_for_each {
        ($($word:tt)*) => { $({ _ = stringify!($word); cortex_m::asm::nop(); })* };
    }
    one_for_each! {
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    }
}

#[entry]
fn main() -> ! {
    let Some(mut peripherals) = Peripherals::take() else {
        unreachable!("it is taken once");
    };
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(0x00ff_ffff);
    timer.clear_current();
    timer.enable_counter();

    let around = ticks_of(nothing);
    let nops = ticks_of(nops) - around;

    hprintln!(
        "{:<20} {:>6} {:>6} {:>13}",
        "operation",
        "stack",
        "limit",
        "instructions"
    );
    let mut within = true;
    for operation in &OPERATIONS {
        (operation.prepare)();
        let stack = stack_of(operation.run);
        (operation.prepare)();
        let ticks = ticks_of(operation.run) - around;
        let instructions = (ticks * NOPS + nops / 2) / nops;
        let limit = operation.limit.unwrap_or(PAINTED - 1);
        within &= stack <= limit;
        hprintln!(
            "{:<20} {:>6} {:>6} {:>13}",
            operation.name,
            stack,
            limit,
            instructions
        );
    }
    hprintln!(
        "{} bytes a slot, {} bytes a place of the ring",
        size_of_val(&WORDS),
        (EventRing::words(2) - EventRing::words(1)) * size_of::<Word>()
    );
    if !within {
        hprintln!("more stack than the limit");
    }
    exit(within)
}
