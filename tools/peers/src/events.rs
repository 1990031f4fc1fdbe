//! `--events`: the cost of reporting a call to another thread, next to other ways to do so.
//!
//! Every row does the same for each call: it reads the clock, reports the start, runs a tool that
//! does nothing, reads the clock again, and reports the end. A fact is 64 bytes, as an event of
//! toolmeter is with its place in the ring. One receiver counts what it gets. After each slice the
//! row waits for the receiver, and the sums are checked before and after all slices, so that a row
//! cannot look fast because it lost facts. Calls are paced to about 1 million a second on each
//! thread, in bursts that every queue has room for.
//!
//! toolmeter does more than the others: it counts the call, its latency and its outcome before it
//! reports them, puts the facts of all threads in order, and filters them for each subscriber.

use crate::harness;
use crate::row::{Counted, Pace, Row, TOOL};
use crate::spread::Spread;
use crate::toolmeter_rows;
use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use toolmeter::{Clock, HostClock, Registry};
use tracing::span::{Attributes, Id};
use tracing::{Dispatch, Subscriber, dispatcher, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Room for as many facts as toolmeter's rings have in `toolmeter/subscribed`.
const ROOM: usize = 8 * 65_536;
/// The longest time to wait for the receiver after a slice.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The facts of a start or an end.
#[derive(Clone, Debug)]
struct Fact {
    call: u64,
    time_ns: u64,
    /// `None` at the start.
    latency_ns: Option<u64>,
    context: Option<Arc<str>>,
    tool: u32,
    attempt: u16,
    outcome: u8,
    number: u64,
}

const _: () = assert!(size_of::<Fact>() == 64);

impl Fact {
    #[inline]
    fn new(call: u64, time_ns: u64, latency_ns: Option<u64>) -> Self {
        Self {
            call,
            time_ns,
            latency_ns,
            context: None,
            tool: 1,
            attempt: 1,
            outcome: 0,
            number: call,
        }
    }
}

/// The numbers of facts that the receiver got.
#[derive(Debug, Default)]
struct Received {
    starts: AtomicU64,
    ends: AtomicU64,
}

impl Received {
    /// Reads all of a fact, and counts it.
    fn add(&self, fact: &Fact) {
        let Fact {
            call,
            time_ns,
            latency_ns,
            context,
            tool,
            attempt,
            outcome,
            number,
        } = fact;
        black_box((call, time_ns, context, tool, attempt, outcome, number));
        let count = match latency_ns {
            None => &self.starts,
            Some(_) => &self.ends,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn counted(&self) -> Counted {
        Counted {
            successes: self.ends.load(Ordering::Relaxed),
            samples: self.starts.load(Ordering::Relaxed),
        }
    }
}

/// A way to report a call.
trait Tell: Send + Sync {
    fn name(&self) -> &'static str;

    /// Makes the calls.
    fn run(&self, clock: &HostClock, calls: u64);
}

struct Told<T> {
    tell: T,
    clock: HostClock,
    received: Arc<Received>,
    made: AtomicU64,
}

impl<T: Tell> Row for Told<T> {
    fn name(&self) -> &'static str {
        self.tell.name()
    }

    fn run(&self, calls: u64) {
        self.tell.run(&self.clock, calls);
        self.made.fetch_add(calls, Ordering::Relaxed);
    }

    fn counted(&self) -> Option<Counted> {
        self.settle();
        Some(self.received.counted())
    }

    fn pace(&self) -> Pace {
        Pace::Million
    }

    fn settle(&self) {
        let made = self.made.load(Ordering::Relaxed);
        let began = Instant::now();
        while self.received.counted().successes < made && began.elapsed() < DRAIN_LIMIT {
            thread::yield_now();
        }
    }
}

/// Makes calls whose facts go through `send`.
#[inline(always)]
fn tell_each(clock: &HostClock, calls: u64, mut send: impl FnMut(Fact)) {
    for call in 0..calls {
        let started_ns = clock.now_ns();
        send(Fact::new(call, started_ns, None));
        black_box(1u64);
        let ended_ns = clock.now_ns();
        let latency_ns = ended_ns.saturating_sub(started_ns);
        send(Fact::new(call, ended_ns, Some(latency_ns)));
    }
}

struct Crossbeam(crossbeam_channel::Sender<Fact>);

impl Tell for Crossbeam {
    fn name(&self) -> &'static str {
        "crossbeam-channel, bounded"
    }

    fn run(&self, clock: &HostClock, calls: u64) {
        tell_each(clock, calls, |fact| {
            // Fails only when the receiver is gone, which the check reports.
            let _ = self.0.send(fact);
        });
    }
}

struct Flume(flume::Sender<Fact>);

impl Tell for Flume {
    fn name(&self) -> &'static str {
        "flume, bounded"
    }

    fn run(&self, clock: &HostClock, calls: u64) {
        tell_each(clock, calls, |fact| {
            let _ = self.0.send(fact);
        });
    }
}

struct Broadcast(broadcast::Sender<Fact>);

impl Tell for Broadcast {
    fn name(&self) -> &'static str {
        "tokio::sync::broadcast"
    }

    fn run(&self, clock: &HostClock, calls: u64) {
        tell_each(clock, calls, |fact| {
            let _ = self.0.send(fact);
        });
    }
}

/// A span for each call, and a layer that sends the facts of each span.
struct Tracing(Dispatch);

struct Spans {
    clock: HostClock,
    to: crossbeam_channel::Sender<Fact>,
}

/// The time at which a span was opened.
struct Opened(u64);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let started_ns = self.clock.now_ns();
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Opened(started_ns));
        }
        let _ = self.to.send(Fact::new(id.into_u64(), started_ns, None));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let ended_ns = self.clock.now_ns();
        let span = context.span(&id);
        let opened = span.and_then(|span| Some(span.extensions().get::<Opened>()?.0));
        let latency_ns = ended_ns.saturating_sub(opened.unwrap_or(ended_ns));
        let fact = Fact::new(id.into_u64(), ended_ns, Some(latency_ns));
        let _ = self.to.send(fact);
    }
}

impl Tell for Tracing {
    fn name(&self) -> &'static str {
        "tracing, a layer that sends"
    }

    fn run(&self, _: &HostClock, calls: u64) {
        dispatcher::with_default(&self.0, || {
            for _ in 0..calls {
                let _span = info_span!("execute_tool", tool = TOOL).entered();
                black_box(1u64);
            }
        });
    }
}

type Handler = Box<dyn Fn(&Fact) + Send + Sync>;

/// A table of handlers, each called on the spot.
struct Handlers(Vec<Handler>);

impl Tell for Handlers {
    fn name(&self) -> &'static str {
        "a table of handlers"
    }

    fn run(&self, clock: &HostClock, calls: u64) {
        tell_each(clock, calls, |fact| {
            for handler in &self.0 {
                handler(&fact);
            }
        });
    }
}

/// Returns a row whose receiver is a thread that takes facts from `next` until there is none.
fn told<T: Tell + 'static>(
    clock: &HostClock,
    tell: T,
    mut next: impl FnMut() -> Option<Fact> + Send + 'static,
) -> Arc<dyn Row> {
    let received = Arc::new(Received::default());
    let counts = Arc::clone(&received);
    thread::spawn(move || {
        while let Some(fact) = next() {
            counts.add(&fact);
        }
    });
    row(clock, tell, received)
}

fn row<T: Tell + 'static>(clock: &HostClock, tell: T, received: Arc<Received>) -> Arc<dyn Row> {
    Arc::new(Told {
        tell,
        clock: clock.clone(),
        received,
        made: AtomicU64::new(0),
    })
}

/// Returns the other ways, each with its receiver.
fn others(clock: &HostClock) -> Vec<Arc<dyn Row>> {
    let (to, from) = crossbeam_channel::bounded(ROOM);
    let crossbeam = told(clock, Crossbeam(to), move || from.recv().ok());
    let (to, from) = flume::bounded(ROOM);
    let flume = told(clock, Flume(to), move || from.recv().ok());
    let (to, mut from) = broadcast::channel(ROOM);
    let broadcast = told(clock, Broadcast(to), move || {
        loop {
            match from.blocking_recv() {
                Ok(fact) => return Some(fact),
                // The check reports that facts are missing.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    let (to, from) = crossbeam_channel::bounded(ROOM);
    let layer = Spans {
        clock: clock.clone(),
        to,
    };
    let spans = tracing_subscriber::registry().with(layer);
    let tracing = told(clock, Tracing(Dispatch::new(spans)), move || {
        from.recv().ok()
    });
    let received = Arc::new(Received::default());
    let counts = Arc::clone(&received);
    let handlers = vec![Box::new(move |fact: &Fact| counts.add(fact)) as Handler];
    let handlers = row(clock, Handlers(handlers), received);
    vec![crossbeam, flume, broadcast, tracing, handlers]
}

/// Measures for about `measure_for`, in `rounds` rounds, and returns the table.
///
/// # Errors
///
/// When a registry cannot be built, or a row has not reported every call.
pub(crate) fn report(measure_for: Duration, rounds: usize) -> Result<String, Box<dyn Error>> {
    let [_, _, floor, _] = toolmeter_rows::references()?;
    let [_, subscribed, ..] = toolmeter_rows::rows()?;
    let clock = Registry::new().clock().clone();
    let mut rows = vec![floor, subscribed];
    rows.extend(others(&clock));
    let shares = harness::THREADS.iter().sum::<usize>();
    let slices = u32::try_from(rounds * rows.len() * shares)?;
    let slice = (measure_for / slices).max(crate::SHORTEST_SLICE);
    let measured = harness::measure(rows, rounds, slice)?;

    let mut text = format!(
        "{:<30}{:>30}{:>30}{:>12}\n{}\n",
        "ns a call, above the floor",
        "1 thread (quartiles)",
        "2 threads (quartiles)",
        "x, 2 threads",
        "-".repeat(102)
    );
    let above = |row: usize, threads: usize| {
        let (row, floor) = (&measured[row].cells[threads], &measured[0].cells[threads]);
        let rounds = row.rounds_ns().iter().zip(floor.rounds_ns());
        rounds.map(|(ns, floor)| ns - floor).collect::<Vec<_>>()
    };
    let subscribed = Spread::of(&above(1, 1)).median;
    for (at, row) in measured.iter().enumerate().skip(1) {
        let [one, two] = [0, 1].map(|threads| Spread::of(&above(at, threads)));
        let shown = |spread: &Spread| {
            let Spread {
                median,
                lower_quartile,
                upper_quartile,
                ..
            } = spread;
            format!("{median:.1} ({lower_quartile:.1} to {upper_quartile:.1})")
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{:<30}{:>30}{:>30}{:>12.2}",
            row.row.name(),
            shown(&one),
            shown(&two),
            two.median / subscribed
        );
    }
    let lost: u64 = measured[1].cells.iter().filter_map(|cell| cell.lost).sum();
    let _ = writeln!(
        text,
        "\nThe floor, two reads of the clock, took {:.1} ns on one thread and {:.1} on two. toolmeter \
         lost {lost} events;\nthe others lost none, or there would be no table.",
        measured[0].cells[0].median_ns(),
        measured[0].cells[1].median_ns(),
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_tells_of_every_call() {
        let clock = Registry::new().clock().clone();
        let rows = others(&clock);
        assert_eq!(rows.len(), 5);
        for row in rows {
            row.run(1_000);
            row.run(24);
            let counted = row.counted().expect("a receiver");
            let expected = Counted {
                successes: 1_024,
                samples: 1_024,
            };
            assert_eq!(counted, expected, "{}", row.name());
        }
    }
}
