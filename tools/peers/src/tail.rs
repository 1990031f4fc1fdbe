//! `--tail`: percentiles of single calls, next to those of a bare clock pair.
//!
//! Each sample lies between two more reads of the clock, and a call and a bare pair take turns
//! within one loop, so other load on the machine affects both. Both rows contain the cost of the
//! sampling itself (about one read of the clock), and their difference is what metering adds. The
//! order changes with each sample.
//!
//! `idle`, `subscribed` and `overload` are as in the table; each gets a slice of 50 ms in turn.

use crate::team::Pacer;
use crate::toolmeter_rows::{Metered, clock_pair};
use hdrhistogram::Histogram;
use std::error::Error;
use std::fmt::Write;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{Clock, HostClock};

const SLICE: Duration = Duration::from_millis(50);
/// The number of samples between two checks of the time.
const CHUNK: u64 = 100;
const THREADS: [usize; 2] = [1, 2];
const PERCENTILES: [f64; 4] = [50.0, 99.0, 99.9, 99.99];
/// Samples above 10 s count as 10 s.
const MAX_SAMPLE_NS: u64 = 10_000_000_000;

/// Latencies of calls and of bare pairs, taken in turn.
struct Samples {
    call: Histogram<u64>,
    pair: Histogram<u64>,
}

impl Samples {
    fn new() -> Result<Self, hdrhistogram::CreationError> {
        let histogram = || Histogram::new_with_bounds(1, MAX_SAMPLE_NS, 2);
        Ok(Self {
            call: histogram()?,
            pair: histogram()?,
        })
    }

    fn add(&mut self, other: &Self) -> Result<(), hdrhistogram::AdditionError> {
        self.call.add(&other.call)?;
        self.pair.add(&other.pair)
    }
}

struct Case {
    name: &'static str,
    metered: Metered,
    paced: bool,
    /// Events lost in the first slices, which are not counted.
    lost_before: Option<u64>,
    /// One for each of [`THREADS`].
    samples: Vec<Samples>,
}

/// Measures for about `measure_for` and returns the table.
///
/// # Errors
///
/// When a registry cannot be built.
pub(crate) fn report(measure_for: Duration) -> Result<String, Box<dyn Error>> {
    let mut cases = [
        case("idle", Metered::idle()?, false)?,
        case("subscribed", Metered::subscribed()?, true)?,
        case("overload", Metered::overloaded()?, false)?,
    ];
    // The first slices touch every place of the rings and are not counted.
    for case in &mut cases {
        for threads in THREADS {
            sample(case, threads)?;
        }
        case.metered.drain();
        case.lost_before = case.metered.lost();
    }
    let start = Instant::now();
    while start.elapsed() < measure_for {
        for case in &mut cases {
            for (at, threads) in THREADS.into_iter().enumerate() {
                for samples in sample(case, threads)? {
                    case.samples[at].add(&samples)?;
                }
                case.metered.drain();
            }
        }
    }
    Ok(table(&cases))
}

/// Overloads one thread for about `measure_for`, and at least one slice. Returns, for each slice,
/// the 99.99th percentile of a call divided by that of the bare pair.
///
/// # Errors
///
/// When a registry cannot be built.
pub(crate) fn overload_ratios(measure_for: Duration) -> Result<Vec<f64>, Box<dyn Error>> {
    let case = case("overload", Metered::overloaded()?, false)?;
    sample(&case, 1)?;
    case.metered.drain();
    let start = Instant::now();
    let mut ratios = Vec::new();
    while ratios.is_empty() || start.elapsed() < measure_for {
        for samples in sample(&case, 1)? {
            ratios.push(ratio(
                samples.call.value_at_percentile(99.99),
                samples.pair.value_at_percentile(99.99),
            ));
        }
        case.metered.drain();
    }
    Ok(ratios)
}

fn case(name: &'static str, metered: Metered, paced: bool) -> Result<Case, Box<dyn Error>> {
    Ok(Case {
        name,
        metered,
        paced,
        lost_before: None,
        samples: vec![Samples::new()?, Samples::new()?],
    })
}

/// Runs one slice on `threads` threads, and returns the samples of each.
fn sample(case: &Case, threads: usize) -> Result<Vec<Samples>, hdrhistogram::CreationError> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut samples = Samples::new()?;
                    start.wait();
                    slice(case, &mut samples);
                    Ok(samples)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a metered call panicked"))
            .collect()
    })
}

fn slice(case: &Case, samples: &mut Samples) {
    let metered = &case.metered;
    let clock = metered.clock();
    // A thread's first calls take its stripe and warm its caches.
    for _ in 0..CHUNK {
        metered.call();
        clock_pair(clock);
    }
    let start = Instant::now();
    let mut pacer = case.paced.then(|| Pacer::new(start));
    while start.elapsed() < SLICE {
        let count = if let Some(pacer) = &mut pacer {
            pacer.wait();
            Pacer::burst()
        } else {
            CHUNK
        };
        for _ in 0..count / 2 {
            samples
                .call
                .saturating_record(timed(clock, || metered.call()));
            samples
                .pair
                .saturating_record(timed(clock, || clock_pair(clock)));
            samples
                .pair
                .saturating_record(timed(clock, || clock_pair(clock)));
            samples
                .call
                .saturating_record(timed(clock, || metered.call()));
        }
    }
}

#[inline(always)]
fn timed(clock: &HostClock, what: impl FnOnce()) -> u64 {
    let started_ns = clock.now_ns();
    what();
    clock.now_ns().saturating_sub(started_ns)
}

fn table(cases: &[Case]) -> String {
    let mut text = String::from(
        "ns of single calls, each next to that of a bare clock pair sampled in turn with it.\n\
         All figures contain the cost of sampling, about one read of the clock.\n\n",
    );
    put(&mut text, format_args!("{:<34}{:>10}", "", "samples"));
    for percentile in PERCENTILES {
        put(&mut text, format_args!("{:>10}", format!("{percentile}%")));
    }
    put(&mut text, format_args!("{:>12}\n", "max"));
    for case in cases {
        for (threads, samples) in THREADS.iter().zip(&case.samples) {
            let name = format!(
                "toolmeter/{}, {threads} thread{}",
                case.name,
                if *threads == 1 { "" } else { "s" }
            );
            line(&mut text, &name, &samples.call);
            line(&mut text, "  bare clock pair", &samples.pair);
            put(&mut text, format_args!("{:<34}{:>10}", "  ratio", ""));
            for percentile in PERCENTILES {
                let ratio = ratio(
                    samples.call.value_at_percentile(percentile),
                    samples.pair.value_at_percentile(percentile),
                );
                put(&mut text, format_args!("{ratio:>10.2}"));
            }
            let ratio = ratio(samples.call.max(), samples.pair.max());
            put(&mut text, format_args!("{ratio:>12.2}\n"));
        }
        if let (Some(before), Some(after)) = (case.lost_before, case.metered.lost()) {
            let lost = after - before;
            put(
                &mut text,
                format_args!("  toolmeter/{} lost {lost} events\n", case.name),
            );
        }
    }
    text
}

fn line(text: &mut String, name: &str, samples: &Histogram<u64>) {
    put(text, format_args!("{name:<34}{:>10}", samples.len()));
    for percentile in PERCENTILES {
        put(
            text,
            format_args!("{:>10}", samples.value_at_percentile(percentile)),
        );
    }
    put(text, format_args!("{:>12}\n", samples.max()));
}

fn ratio(call_ns: u64, pair_ns: u64) -> f64 {
    call_ns as f64 / pair_ns.max(1) as f64
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_both_columns_and_their_ratio() {
        let mut idle = case("idle", Metered::idle().expect("built"), false).expect("built");
        let samples = &mut idle.samples[1];
        for _ in 0..99 {
            samples.call.saturating_record(30);
            samples.pair.saturating_record(20);
        }
        samples.call.saturating_record(120);
        samples.pair.saturating_record(40);
        let table = table(&[idle]);
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let row = |start: &[&str]| {
            let mut rows = rows.iter().filter(|row| row.starts_with(start));
            rows.next_back().map(|row| row[start.len()..].join(" "))
        };
        let shown = |start| row(start).expect("a row");
        assert_eq!(shown(&["samples"]), "50% 99% 99.9% 99.99% max");
        assert_eq!(
            shown(&["toolmeter/idle,", "2", "threads"]),
            "100 30 30 120 120 120"
        );
        assert_eq!(shown(&["bare", "clock", "pair"]), "100 20 20 40 40 40");
        assert_eq!(shown(&["ratio"]), "1.50 1.50 3.00 3.00 3.00");
    }

    #[test]
    fn an_overloaded_slice_gives_a_ratio() {
        let ratios = overload_ratios(Duration::ZERO).expect("measured");
        assert_eq!(ratios.len(), 1);
        assert!(ratios[0] > 0.0);
    }
}
