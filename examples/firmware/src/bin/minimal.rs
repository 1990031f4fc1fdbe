#![no_std]
#![no_main]
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use panic_semihosting as _;
use toolmeter_core::{CountOnly, Finish, Layout, Outcome, Reading, Slot, Word};

const LAYOUT: Layout = match Layout::new(1, 20, 1) {
    Ok(layout) => layout,
    Err(_) => panic!("the layout is out of range"),
};
static WORDS: [Word; LAYOUT.words()] = [const { Word::new(0) }; LAYOUT.words()];
const TOOL: Slot<'static> = match Slot::new(&WORDS, LAYOUT) {
    Ok(slot) => slot,
    Err(_) => panic!("the words are too few"),
};

#[exception]
fn SysTick() {
    TOOL.start(0, 1);
    // ... what the tool does, timed by a clock of the firmware's ...
    TOOL.finish(0, Finish::new(Outcome::Success, 1, 0, 1_500));
}

#[entry]
fn main() -> ! {
    let mut reading = Reading::<CountOnly>::without_buckets();
    while reading.count(Outcome::SUCCESS) < 3 {
        cortex_m::peripheral::SCB::set_pendst(); // as a timer does
        TOOL.visit(&mut reading, |class, (index, count)| {
            let lower_ns = LAYOUT.buckets().lower(index as usize);
            hprintln!("{} from {} ns on: {}", class.as_str(), lower_ns, count);
        });
    }
    debug::exit(debug::EXIT_SUCCESS);
    loop {
        cortex_m::asm::wfi();
    }
}
