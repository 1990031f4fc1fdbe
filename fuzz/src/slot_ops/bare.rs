//! The operations on a slot itself: any layout, any stripe, readings with and without an allocator,
//! and differences of readings.

use super::model::{Expected, Happened, Model, Moment};
use super::{Op, Time};
use std::sync::atomic::Ordering::Relaxed;
use toolmeter_core::reading::BucketCount;
use toolmeter_core::{
    BucketCounts, CountsFull, ErrorKind, Finish, FixedCounts, Layout, OutcomeClass, Reading, Slot,
    Word,
};

/// The most words of a slot that is tried, since a fuzzer must be fast.
const MAX_WORDS: usize = 1 << 15;
/// The number of buckets that the small storage has room for.
const SMALL: usize = 3;

type Total = Reading<Vec<BucketCount>>;

/// A reading that is subtracted from others, and the moment at which it was taken.
struct Baseline {
    reading: Total,
    at: Moment,
}

/// An interval cursor, made of readings.
struct Cursor {
    made: Moment,
    baseline: Baseline,
    /// All its intervals added up.
    sum: Total,
}

/// A call that has not ended yet.
struct Call {
    attempt: u16,
    started_ns: u64,
}

/// Runs all operations, and checks each reading.
pub(super) fn check(precision: u8, max_exponent: u8, stripes: u8, origin_ns: u64, ops: &[Op]) {
    let layout = layout(precision, max_exponent, stripes);
    let words: Vec<Word> = (0..layout.words()).map(|_| Word::new(0)).collect();
    let slot = Slot::new(&words, layout).unwrap();
    let mut model = Model::new(layout.buckets(), layout.stripes());
    let mut time = Time::new(origin_ns);
    let mut calls: Vec<Call> = Vec::new();
    let mut cursors: Vec<Cursor> = Vec::new();
    let mut reset = Baseline::nothing();
    for op in ops {
        match *op {
            Op::Start { stripe, attempt } => {
                let attempt = attempt.get();
                slot.start(stripe.into(), attempt);
                model.add(Happened::Started { attempt });
                let started_ns = time.now_ns;
                calls.push(Call {
                    attempt,
                    started_ns,
                });
            }
            Op::Finish { call, stripe, end } => {
                if calls.is_empty() {
                    slot.reject(stripe.into());
                    model.add(Happened::Rejected);
                    continue;
                }
                let call = calls.swap_remove(usize::from(call) % calls.len());
                let (outcome, started_ns) = (end.outcome(), call.started_ns);
                let latency_ns = time.now_ns.saturating_sub(started_ns);
                let finish = Finish::new(outcome, call.attempt, started_ns, latency_ns);
                slot.finish(stripe.into(), finish);
                model.add(Happened::Finished {
                    stripe: usize::from(stripe) % layout.stripes(),
                    outcome,
                    // A finish treats an attempt of 0 as the first, as a start does.
                    attempt: call.attempt.max(1),
                    at_ns: finish.finished_at_ns,
                    latency_ns,
                });
            }
            Op::Clock { by } => time.advance(by.get()),
            Op::Read | Op::Publish => {
                check_reading(&since(&slot, &reset), &model.since(reset.at), &time);
                check_small(&slot, &model);
            }
            Op::NewCursor => cursors.push(Cursor::new(&slot, model.now())),
            Op::ReadCursor { cursor } => {
                if let Some(cursor) = pick(&mut cursors, cursor) {
                    cursor.read(&slot, &model, &time);
                }
            }
            Op::DropCursor { cursor } => {
                if !cursors.is_empty() {
                    cursors.swap_remove(usize::from(cursor) % cursors.len());
                }
            }
            Op::Reset => {
                check_reading(&since(&slot, &reset), &model.since(reset.at), &time);
                reset = Baseline::new(&slot, model.now());
            }
            Op::Revive => {
                if calls.is_empty() {
                    for cursor in cursors.drain(..) {
                        cursor.end(&slot, &model, &time);
                    }
                    slot.clear();
                    model.clear();
                    reset = Baseline::nothing();
                    assert!(read(&slot).is_empty());
                    assert!(words.iter().all(|word| word.load(Relaxed) == 0));
                }
            }
        }
    }
    for cursor in cursors {
        cursor.end(&slot, &model, &time);
    }
    let total = read(&slot);
    check_reading(&total, &model.since(Moment::default()), &time);
    assert_eq!(total.in_flight(), calls.len() as u64);
    assert_eq!(total.in_flight(), model.in_flight());
}

/// Returns the layout for these numbers, with as many stripes as fit into [`MAX_WORDS`].
fn layout(precision: u8, max_exponent: u8, stripes: u8) -> Layout {
    let precision = precision % 8;
    let max_exponent = precision + 1 + max_exponent % (63 - precision);
    let layout = |shift| Layout::new(precision, max_exponent, 1_usize << shift).unwrap();
    let shifts = (0..=stripes % 5).rev().map(layout);
    let mut fitting = shifts.filter(|layout| layout.words() <= MAX_WORDS);
    fitting.next().unwrap()
}

fn pick<T>(list: &mut [T], number: u8) -> Option<&mut T> {
    let len = list.len().max(1);
    list.get_mut(usize::from(number) % len)
}

fn read(slot: &Slot<'_>) -> Total {
    let mut reading = Total::default();
    slot.read(&mut reading).unwrap();
    assert_eq!(reading.started() + reading.rejected(), slot.entered());
    reading
}

/// Returns what the slot counted since a baseline.
fn since(slot: &Slot<'_>, baseline: &Baseline) -> Total {
    let mut reading = read(slot);
    reading.subtract(&baseline.reading);
    reading
}

impl Baseline {
    fn nothing() -> Self {
        Self {
            reading: Total::default(),
            at: Moment::default(),
        }
    }

    fn new(slot: &Slot<'_>, at: Moment) -> Self {
        let reading = read(slot);
        Self { reading, at }
    }
}

impl Cursor {
    fn new(slot: &Slot<'_>, made: Moment) -> Self {
        Self {
            made,
            baseline: Baseline::new(slot, made),
            sum: Total::default(),
        }
    }

    fn read(&mut self, slot: &Slot<'_>, model: &Model, time: &Time) {
        let interval = since(slot, &self.baseline);
        check_reading(&interval, &model.since(self.baseline.at), time);
        self.sum.add(&interval).unwrap();
        self.baseline = Baseline::new(slot, model.now());
    }

    /// Reads the cursor to its end, and checks that its intervals add up to what happened since it
    /// was made.
    fn end(mut self, slot: &Slot<'_>, model: &Model, time: &Time) {
        self.read(slot, model, time);
        check_reading(&self.sum, &model.since(self.made), time);
    }
}

fn check_reading<C: BucketCounts>(reading: &Reading<C>, expected: &Expected, time: &Time) {
    assert_eq!(reading.started(), expected.started());
    assert_eq!(reading.rejected(), expected.rejected);
    assert_eq!(reading.is_empty(), expected.is_empty());
    assert_eq!(reading.retried(), expected.retried);
    assert_eq!(reading.recovered(), expected.recovered);
    for kind in ErrorKind::ALL {
        assert_eq!(reading.failures(kind), expected.failures[kind.index()]);
    }
    for class in OutcomeClass::ALL {
        assert_eq!(reading.count(class), expected.count(class));
        assert_eq!(reading.sum_ns(class), expected.sums_ns[class.index()]);
        assert_eq!(reading.buckets(class), expected.pairs(class));
    }
    assert_eq!(reading.last_finish(), expected.last_finish);
    assert_eq!(reading.last_failure(), expected.last_failure);
    if let (Some(failure), Some(at_ns)) = (reading.last_failure(), expected.last_failure_ns) {
        assert_eq!(failure.at_ns(time.now_ns), at_ns >> 16 << 16);
    }
}

/// Checks that storage without an allocator gives the same reading, or an error and an empty one.
fn check_small(slot: &Slot<'_>, model: &Model) {
    let mut small = Reading::<FixedCounts<SMALL>>::default();
    let expected = model.since(Moment::default());
    if expected.buckets.iter().any(|buckets| buckets.len() > SMALL) {
        assert_eq!(slot.read(&mut small), Err(CountsFull { capacity: SMALL }));
        assert_eq!((small.started(), small.finished()), (0, 0));
        assert_eq!((small.last_finish(), small.last_failure()), (None, None));
    } else {
        slot.read(&mut small).unwrap();
        assert_eq!(small.started(), expected.started());
        assert_eq!(small.rejected(), expected.rejected);
        assert_eq!(small.last_finish(), expected.last_finish);
        for class in OutcomeClass::ALL {
            assert_eq!(small.buckets(class), expected.pairs(class));
        }
    }
}
