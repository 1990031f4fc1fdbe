//! A program without std, allocator or C library that meters four calls into a `static`.
//!
//! The program exits with 0 if the numbers are right, otherwise with the number of the check that
//! failed. Linking it is half of the test. Linux on x86-64 only, since it has its own entry point
//! and makes the system call that ends it.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;
use core::sync::atomic::Ordering;
use toolmeter_core::{ErrorKind, Finish, FixedCounts, Layout, Outcome, Reading, Slot, Word};

const LAYOUT: Layout = match Layout::new(3, 20, 2) {
    Ok(layout) => layout,
    Err(_) => panic!("the layout is out of range"),
};

static WORDS: [Word; LAYOUT.words()] = [const { Word::new(0) }; LAYOUT.words()];

// The kernel enters `_start` with an aligned stack. A function expects a return address on top of
// it, so `_start` makes a call.
global_asm!(".globl _start", "_start:", "call {main}", "ud2", main = sym main);

extern "C" fn main() -> ! {
    exit(meter())
}

/// Returns the number of the first check that fails, or 0.
fn meter() -> i32 {
    let Ok(slot) = Slot::new(&WORDS, LAYOUT) else {
        return 1;
    };
    slot.start(0, 1);
    slot.finish(0, Finish::new(Outcome::Success, 1, 10, 700));
    slot.start(0, 2);
    let failure = Outcome::Failure(ErrorKind::Timeout);
    slot.finish(1, Finish::new(failure, 2, 20, 5));
    slot.start(1, 1);
    slot.reject(1);

    let mut reading = Reading::<FixedCounts<8>>::default();
    if slot.read(&mut reading).is_err() {
        return 2;
    }
    let checks = [
        reading.started() == 3,
        reading.finished() == 2,
        reading.in_flight() == 1,
        reading.retried() == 1,
        reading.count(Outcome::SUCCESS) == 1,
        reading.count(Outcome::FAILURE) == 1,
        reading.count(Outcome::CANCELLED) == 0,
        reading.sum_ns(Outcome::SUCCESS) == 700,
        reading.sum_ns(Outcome::FAILURE) == 5,
        reading.failures(ErrorKind::Timeout) == 1,
        reading.failures(ErrorKind::Network) == 0,
        reading.rejected() == 1,
    ];
    if let Some(failed) = checks.iter().position(|passed| !passed) {
        return 3 + failed as i32;
    }

    let mut sum = Reading::<FixedCounts<8>>::default();
    for _ in 0..2 {
        if sum.add(&reading).is_err() {
            return 50;
        }
    }
    if sum.started() != 6 || sum.count(Outcome::SUCCESS) != 2 {
        return 51;
    }
    if !clears() {
        return 52;
    }
    0
}

/// Returns whether clearing leaves zeros. This creates a view of its own: if the view in `meter` were
/// passed by reference, the compiler would not know its layout there, and would call `memset` to zero the
/// arrays of a reading.
fn clears() -> bool {
    let Ok(slot) = Slot::new(&WORDS, LAYOUT) else {
        return false;
    };
    slot.clear();
    slot.entered() == 0 && WORDS.iter().all(|word| word.load(Ordering::Relaxed) == 0)
}

fn exit(status: i32) -> ! {
    // SAFETY: the system call `exit` takes one integer and does not return.
    unsafe { asm!("syscall", in("rax") 60, in("rdi") status, options(noreturn)) }
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    exit(101)
}

/// The symbol that the precompiled `core` refers to. Nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
