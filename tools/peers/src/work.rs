//! `--work`: the share of metering in a host whose tools do something.
//!
//! 1,000 tasks on tokio's runtime of many threads, one for each core, call a tool at the same time,
//! with one subscriber on a thread of its own. The same calls are made bare and metered in turns,
//! and the order alternates. The cost of toolmeter is the difference in processor time of the whole
//! process, the pump and the receiver included, from a slice's start until all its events were
//! received. Tools spin for a fixed number of steps, not for a time, so that they do not hide the
//! cost of metering. Or they sleep, so that the host is mostly idle.
//!
//! Lateness is the time from the end of a call, according to its event, until the receiver has the
//! batch, by the same clock. Lateness and lost events are those of all rounds. The other columns
//! leave out the first.

use crate::row::TOOL;
use crate::spread::Spread;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;
use toolmeter::{Clock, EventKind, Registry, Subscription, ToolHandle};

/// The number of tasks that call at the same time.
const TASKS: usize = 1_000;
/// The longest time to wait for the receiver after a slice.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The work of a tool.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// This many dependent steps.
    Spin(u64),
    Sleep(Duration),
}

impl Work {
    async fn done(self) -> Result<u64, Infallible> {
        match self {
            Self::Spin(steps) => Ok(spin(steps)),
            Self::Sleep(time) => {
                tokio::time::sleep(time).await;
                Ok(0)
            }
        }
    }
}

#[inline(never)]
fn spin(steps: u64) -> u64 {
    (0..steps).fold(1, |word, step| {
        black_box(word ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// The number of steps that are timed.
const STEPS: u64 = 100_000;

/// Returns the time that [`STEPS`] take, the fastest of some tries.
fn time_of_steps() -> Duration {
    let tries = (0..50).map(|_| {
        let start = Instant::now();
        black_box(spin(STEPS));
        start.elapsed()
    });
    tries.fold(Duration::MAX, Duration::min)
}

/// Returns the number of steps that take about `time` if [`STEPS`] take `time_of_steps`.
fn steps_of(time: Duration, time_of_steps: Duration) -> u64 {
    let share = time.as_secs_f64() / time_of_steps.as_secs_f64();
    (share * STEPS as f64).round().max(1.0) as u64
}

/// One row of the table.
struct Case {
    name: &'static str,
    work: Work,
    /// Calls of each task in a slice.
    calls: usize,
}

/// The measurements of a case.
struct Measured {
    name: &'static str,
    calls: u64,
    /// The processor time of a call, by slice.
    bare_ns: Vec<f64>,
    metered_ns: Vec<f64>,
    late: Histogram<u64>,
    lost: u64,
}

/// The host under measurement.
struct Host {
    runtime: Runtime,
    registry: Registry,
    tool: ToolHandle,
}

/// Measures for about `measure_for`, and returns the table.
///
/// # Errors
///
/// When no runtime or registry can be built, or not every call is counted.
pub(crate) fn report(measure_for: Duration, rounds: usize) -> Result<String, Box<dyn Error>> {
    let time_of_steps = time_of_steps();
    let cases = [
        Case {
            name: "spinning 1 us",
            work: Work::Spin(steps_of(Duration::from_micros(1), time_of_steps)),
            calls: 50,
        },
        Case {
            name: "spinning 100 us",
            work: Work::Spin(steps_of(Duration::from_micros(100), time_of_steps)),
            calls: 2,
        },
        Case {
            name: "sleeping 10 ms",
            work: Work::Sleep(Duration::from_millis(10)),
            calls: 5,
        },
    ];
    let mut measured = Vec::new();
    for case in &cases {
        let until = Instant::now() + measure_for / u32::try_from(cases.len())?;
        measured.push(measure(case, until, rounds)?);
    }
    Ok(table(&measured))
}

fn measure(case: &Case, until: Instant, rounds: usize) -> Result<Measured, Box<dyn Error>> {
    let registry = Registry::new();
    let tool = registry.register(TOOL)?;
    let events = registry.subscribe();
    let stats = events.stats_handle();
    let host = Host {
        runtime: runtime::Builder::new_multi_thread().enable_time().build()?,
        registry,
        tool,
    };
    let received = Arc::new(AtomicU64::new(0));
    let receiver = {
        let (received, clock) = (Arc::clone(&received), host.registry.clock().clone());
        thread::spawn(move || receive(&events, &received, || clock.now_ns()))
    };
    let mut measured = Measured {
        name: case.name,
        calls: 0,
        bare_ns: Vec::new(),
        metered_ns: Vec::new(),
        late: Histogram::new(3)?,
        lost: 0,
    };
    let calls = (TASKS * case.calls) as u64;
    let lost = || host.registry.event_accounting().lost_in_rings + stats.read().lost;
    let mut rounds_made = 0;
    // At least one round, after one that is not counted.
    while rounds_made < 2 || (rounds_made <= rounds && Instant::now() < until) {
        let bare = || host.slice(case, false, || true);
        let metered = || {
            let before = lost() + received.load(Ordering::Acquire);
            host.slice(case, true, || {
                lost() + received.load(Ordering::Acquire) >= before + 2 * calls
            })
        };
        // The order alternates, too.
        let (bare, metered) = if rounds_made % 2 == 0 {
            let bare = bare()?;
            (bare, metered()?)
        } else {
            let metered = metered()?;
            (bare()?, metered)
        };
        if rounds_made > 0 {
            measured.calls += calls;
            measured.bare_ns.push(bare / calls as f64);
            measured.metered_ns.push(metered / calls as f64);
        }
        rounds_made += 1;
    }
    let counted = host.registry.metrics().tools[TOOL].success();
    if counted != calls * rounds_made as u64 {
        return Err(format!("{}: {counted} calls are counted", case.name).into());
    }
    measured.lost = lost();
    drop(host);
    let late = receiver.join().map_err(|_| "the receiver panicked")?;
    measured.late = late?;
    Ok(measured)
}

impl Host {
    /// Makes the calls of a slice, waits until `is_over`, and returns the processor time in
    /// nanoseconds.
    fn slice(
        &self,
        case: &Case,
        is_metered: bool,
        is_over: impl Fn() -> bool,
    ) -> Result<f64, Box<dyn Error>> {
        let (work, calls) = (case.work, case.calls);
        let before = processor_ns();
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..TASKS {
                let tool = is_metered.then(|| self.tool.clone());
                tasks.spawn(async move {
                    for _ in 0..calls {
                        let Ok(answer) = match &tool {
                            Some(tool) => tool.run_async(work.done()).await,
                            None => work.done().await,
                        };
                        black_box(answer);
                        tokio::task::yield_now().await;
                    }
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended?;
            }
            Ok::<_, tokio::task::JoinError>(())
        })?;
        let limit = Instant::now() + DRAIN_LIMIT;
        while !is_over() {
            if Instant::now() > limit {
                return Err(format!("{}: events are missing", case.name).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(processor_ns() - before)
    }
}

/// Returns the processor time that this process has taken, in nanoseconds.
fn processor_ns() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Receives until the registry has ended, and returns the lateness of the ends of calls.
fn receive(
    events: &Subscription,
    received: &AtomicU64,
    now_ns: impl Fn() -> u64,
) -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    let mut late = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    for batch in events.iter() {
        let now_ns = now_ns();
        for event in &*batch {
            if event.kind() != EventKind::Started {
                late.saturating_record(now_ns.saturating_sub(event.time_ns()));
            }
        }
        received.fetch_add(batch.len() as u64, Ordering::Release);
    }
    Ok(late)
}

fn table(measured: &[Measured]) -> String {
    let mut text = format!(
        "{:<18}{:>10}{:>12}{:>12}{:>22}{:>9}{:>11}{:>11}{:>11}{:>7}\n{}\n",
        "1,000 at a time",
        "calls",
        "bare ns",
        "more ns",
        "quartiles",
        "share",
        "late 50%",
        "late 99%",
        "late max",
        "lost",
        "-".repeat(123)
    );
    for case in measured {
        let bare = Spread::of(&case.bare_ns).median;
        let pairs = case.metered_ns.iter().zip(&case.bare_ns);
        let more: Vec<f64> = pairs.map(|(metered, bare)| metered - bare).collect();
        let more = Spread::of(&more);
        let late = |percentile| case.late.value_at_percentile(percentile) as f64 / 1e6;
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{:<18}{:>10}{:>12.0}{:>12.0}{:>22}{:>8.2}%{:>8.2} ms{:>8.2} ms{:>8.2} ms{:>7}",
            case.name,
            case.calls,
            bare,
            more.median,
            format!("{:.0}..{:.0}", more.lower_quartile, more.upper_quartile),
            100.0 * more.median / (bare + more.median),
            late(50.0),
            late(99.0),
            case.late.max() as f64 / 1e6,
            case.lost
        );
    }
    text.push_str(
        "\nNanoseconds are of the processor time of the whole process, for each call; late is from \
         the end of a\ncall to its receipt.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_a_case_is_received_or_lost() {
        let case = Case {
            name: "spinning",
            work: Work::Spin(10),
            calls: 2,
        };
        let measured = measure(&case, Instant::now(), 1).expect("it adds up");
        assert_eq!(measured.calls, 2 * TASKS as u64);
        assert_eq!((measured.bare_ns.len(), measured.metered_ns.len()), (1, 1));
        // The first round is received too.
        let ends = measured.late.len();
        assert!(ends <= 2 * measured.calls && ends + measured.lost >= 2 * measured.calls);
        assert!(table(&[measured]).contains("spinning"));
    }

    #[test]
    fn steps_are_so_many_as_fit_into_the_time() {
        let steps_of = |micros| steps_of(Duration::from_micros(micros), Duration::from_micros(50));
        assert_eq!([0, 1, 100].map(steps_of), [1, STEPS / 50, STEPS * 2]);
    }
}
