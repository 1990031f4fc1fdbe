//! toolmeter's own rows, and the bare clock that everything is compared with.
//!
//! `idle` is a registry without a subscriber, made as a host makes it. `by_name` looks the tool up
//! for each call and runs the host's own closure, as the peers' look-ups do. `invoke` calls a no-op
//! async tool through [`Registry::invoke`], which does more: it also hands over arguments and a
//! result, and boxes a future. `async`, `guards` and `published` are for the figures only.
//! `subscribed` and `overload` have one subscriber, a thread that receives every batch, and the
//! background pump.

use crate::row::{Counted, InstantPair, Pace, Row, TOOL};
use serde_json::Value;
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, IntoFuture};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{Clock, HostClock, Registry, StatsHandle, ToolHandle, ToolSpec, async_tool};

/// The number of stripes and of places in a ring where nothing may be lost: more stripes than
/// callers, and room for the time in which two cores run four callers before the pump.
const ROOMY_STRIPES: usize = 8;
const ROOMY_RING: usize = 65_536;
/// The longest time to wait for the pump to empty the rings between two measurements.
const DRAIN_LIMIT: Duration = Duration::from_millis(100);

/// Returns toolmeter's rows. The first is `toolmeter/idle`.
///
/// # Errors
///
/// When a registry cannot be built.
pub(crate) fn rows() -> Result<[Arc<dyn Row>; 5], Box<dyn Error>> {
    Ok([
        Calls::row("toolmeter/idle", Metered::idle()?, Pace::Unpaced),
        Calls::row(
            "toolmeter/subscribed",
            Metered::subscribed()?,
            Pace::Million,
        ),
        Calls::row("toolmeter/overload", Metered::overloaded()?, Pace::Unpaced),
        Arc::new(Names(Metered::idle()?)),
        Arc::new(Invoked::new()?),
    ])
}

/// Returns the rows that others are compared with: the floor, the peers' own floor, then the floor and
/// `toolmeter/idle` at the pace of `toolmeter/subscribed`.
///
/// # Errors
///
/// When a registry cannot be built.
pub(crate) fn references() -> Result<[Arc<dyn Row>; 4], Box<dyn Error>> {
    let paced = Metered::idle()?;
    let pair = |name, pace| ClockPair {
        name,
        clock: paced.clock().clone(),
        pace,
    };
    Ok([
        Arc::new(pair("floor", Pace::Unpaced)),
        Arc::new(InstantPair),
        Arc::new(pair("floor, paced", Pace::Million)),
        Calls::row("toolmeter/idle, paced", paced, Pace::Million),
    ])
}

/// Returns the rows that are for the figures only: calls through a guard and calls of a future,
/// both without a subscriber, and reads of the published snapshot of `registry`.
///
/// # Errors
///
/// When a registry cannot be built.
pub(crate) fn rows_of_figures(registry: Registry) -> Result<[Arc<dyn Row>; 3], Box<dyn Error>> {
    Ok([
        Arc::new(Guards(Metered::idle()?)),
        Arc::new(Futures(Metered::idle()?)),
        Arc::new(Published(registry)),
    ])
}

/// One tool of one registry, with or without a subscriber.
pub(crate) struct Metered {
    registry: Registry,
    tool: ToolHandle,
    subscriber: Option<StatsHandle>,
}

impl Metered {
    /// Creates a registry without a subscriber, with default settings.
    pub(crate) fn idle() -> Result<Self, Box<dyn Error>> {
        Self::new(Registry::new(), false)
    }

    /// Creates a registry with a subscriber, and rings with room for every event at 1 million calls
    /// a second.
    pub(crate) fn subscribed() -> Result<Self, Box<dyn Error>> {
        let registry = Registry::builder()
            .stripes(ROOMY_STRIPES)
            .ring_capacity(ROOMY_RING)
            .build()?;
        Self::new(registry, true)
    }

    /// Creates a registry with a subscriber, and rings of the default size, which calls without a
    /// pause overflow.
    pub(crate) fn overloaded() -> Result<Self, Box<dyn Error>> {
        Self::new(Registry::new(), true)
    }

    fn new(registry: Registry, subscribe: bool) -> Result<Self, Box<dyn Error>> {
        let tool = registry.register(ToolSpec::new(TOOL))?;
        let subscriber = if subscribe {
            let subscription = registry.subscribe();
            let stats = subscription.stats_handle();
            thread::spawn(move || {
                for batch in subscription.iter() {
                    black_box(batch.len());
                }
            });
            Some(stats)
        } else {
            None
        };
        Ok(Self {
            registry,
            tool,
            subscriber,
        })
    }

    /// Returns the clock of the registry.
    pub(crate) fn clock(&self) -> &HostClock {
        self.registry.clock()
    }

    /// Makes one metered call.
    #[inline(always)]
    pub(crate) fn call(&self) {
        let Ok(answer) = self.tool.run(|| Ok::<u64, Infallible>(black_box(1)));
        black_box(answer);
    }

    /// Returns the number of events lost so far, in the rings and by the subscriber.
    pub(crate) fn lost(&self) -> Option<u64> {
        let stats = self.subscriber.as_ref()?.read();
        Some(self.registry.event_accounting().lost_in_rings + stats.lost)
    }

    /// Waits until the pump has taken everything out of the rings, at most for [`DRAIN_LIMIT`].
    pub(crate) fn drain(&self) {
        if self.subscriber.is_none() {
            return;
        }
        let start = Instant::now();
        while start.elapsed() < DRAIN_LIMIT {
            let events = self.registry.event_accounting();
            if events.offered == events.lost_in_rings + events.drained {
                return;
            }
            thread::yield_now();
        }
    }
}

/// Returns the counts of the tool in the registry's snapshot.
fn counted(registry: &Registry) -> Counted {
    let metrics = registry.metrics();
    metrics
        .tool(TOOL)
        .map_or_else(Counted::default, |stats| Counted {
            successes: stats.success(),
            samples: stats.latency.success.buckets().iter().map(|(_, n)| n).sum(),
        })
}

/// Calls through a handle.
struct Calls {
    name: &'static str,
    metered: Metered,
    pace: Pace,
}

impl Calls {
    fn row(name: &'static str, metered: Metered, pace: Pace) -> Arc<dyn Row> {
        Arc::new(Self {
            name,
            metered,
            pace,
        })
    }
}

impl Row for Calls {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            self.metered.call();
        }
    }

    fn counted(&self) -> Option<Counted> {
        Some(counted(&self.metered.registry))
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    /// Returns enough calls to fill a ring of the default size if calls without a pause are to find
    /// it full. Rings are empty when a slice begins.
    fn warm_up(&self) -> u64 {
        match (&self.metered.subscriber, self.pace) {
            (Some(_), Pace::Unpaced) => 4_096,
            _ => 256,
        }
    }

    fn settle(&self) {
        self.metered.drain();
    }

    fn lost(&self) -> Option<u64> {
        self.metered.lost()
    }
}

/// Calls through a guard that is finished.
struct Guards(Metered);

impl Row for Guards {
    fn name(&self) -> &'static str {
        "toolmeter/guards"
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            let call = self.0.tool.start();
            black_box(1u64);
            black_box(call.succeed());
        }
    }

    fn counted(&self) -> Option<Counted> {
        Some(counted(&self.0.registry))
    }
}

/// Calls of a future that is ready at once.
struct Futures(Metered);

impl Row for Futures {
    fn name(&self) -> &'static str {
        "toolmeter/async"
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            let future = async { Ok::<u64, Infallible>(black_box(1)) };
            black_box(poll_once(self.0.tool.run_async(future)).is_ready());
        }
    }

    fn counted(&self) -> Option<Counted> {
        Some(counted(&self.0.registry))
    }
}

/// Calls of a closure, each of which looks the tool up by its name.
struct Names(Metered);

impl Row for Names {
    fn name(&self) -> &'static str {
        "toolmeter/by_name"
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            // A call that finds no tool stays out of the counts and fails the check.
            if let Some(tool) = self.0.registry.tool(black_box(TOOL)) {
                let Ok(answer) = tool.run(|| Ok::<u64, Infallible>(black_box(1)));
                black_box(answer);
            }
        }
    }

    fn counted(&self) -> Option<Counted> {
        Some(counted(&self.0.registry))
    }
}

/// Reads of the published snapshot.
struct Published(Registry);

impl Row for Published {
    fn name(&self) -> &'static str {
        "toolmeter/published"
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            black_box(self.0.published().tools.len());
        }
    }

    fn counted(&self) -> Option<Counted> {
        None
    }
}

/// Calls by name of an async tool that does nothing.
struct Invoked {
    registry: Registry,
}

impl Invoked {
    fn new() -> Result<Self, Box<dyn Error>> {
        let registry = Registry::new();
        registry.register_tool(async_tool(TOOL, |_| async { Ok(Value::Null) }))?;
        Ok(Self { registry })
    }
}

impl Row for Invoked {
    fn name(&self) -> &'static str {
        "toolmeter/invoke"
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            let answer = self.registry.invoke(black_box(TOOL), Value::Null);
            // A call that did not end at once stays out of the counts and fails the check.
            black_box(poll_once(answer.into_future()).is_ready());
        }
    }

    fn counted(&self) -> Option<Counted> {
        Some(counted(&self.registry))
    }
}

/// Polls a future that never waits.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Two reads of toolmeter's clock around a tool that does nothing.
struct ClockPair {
    name: &'static str,
    clock: HostClock,
    pace: Pace,
}

impl Row for ClockPair {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            clock_pair(&self.clock);
        }
    }

    fn counted(&self) -> Option<Counted> {
        None
    }

    fn pace(&self) -> Pace {
        self.pace
    }
}

/// Reads the clock twice around a tool that does nothing: the least that any metered call can cost.
#[inline(always)]
pub(crate) fn clock_pair(clock: &HostClock) {
    let started_ns = clock.now_ns();
    black_box(1u64);
    black_box(clock.now_ns().saturating_sub(started_ns));
}
