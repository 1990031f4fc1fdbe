//! The time of day of a registry.
//!
//! Owns the registry's [`Timeline`]: pairings of the time of day with the registry's clock, by which
//! times in nanoseconds of that clock are converted to the time of day. Each record is placed by the
//! pairing that held when it was made, so a time once reported does not change while the
//! [`Timeline`] keeps that pairing.
//!
//! Both clocks are read in each round of the pump. A new pairing is added only if they moved apart,
//! as after a suspend, or when the time is set.
//!
//! The host's clock is the host's code. It may take any time, panic, and use the registry, even for
//! something that needs the time of day. So it is not read under a lock of ours, not again while it
//! is being read on the same thread, and not at the end of the registry. In these cases the time of
//! day follows from the pairings and the registry's clock.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `timeline` | arc-swap's `rcu` and `load` | its own | each other; a reader that sees an older timeline converts times by that one | |

use crate::clock::HostClock;
use crate::contain::{contained, discard};
use crate::swap::ArcSwap;
use std::cell::Cell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::SystemTime;
use toolmeter_core::Clock;
use toolmeter_events::{Moment, Timeline};

/// The host's clock: a closure that reads the time of day.
pub(crate) type ReadWall = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The source of the time of day.
#[derive(Clone, Default)]
pub(crate) enum WallSource {
    /// The operating system; with a manual clock, the time when the registry was built plus the time
    /// of that clock since.
    #[default]
    Default,
    /// The host's clock.
    Host(ReadWall),
}

/// A panic of the host's closure is contained wherever it is called.
impl UnwindSafe for WallSource {}
impl RefUnwindSafe for WallSource {}

impl fmt::Debug for WallSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "Default",
            Self::Host(_) => "Host(..)",
        })
    }
}

/// Reads the host's clock; `None` if it panics or is already being read on this thread.
fn read_host(read: &ReadWall) -> Option<SystemTime> {
    thread_local! {
        static IS_READ: Cell<bool> = const { Cell::new(false) };
    }
    if IS_READ.replace(true) {
        return None;
    }
    let wall = contained(|| read()).ok();
    IS_READ.set(false);
    wall
}

/// The time of day of one registry.
#[derive(Debug)]
pub(crate) struct WallClock {
    source: WallSource,
    /// True if the time of day follows a manual clock.
    is_derived: bool,
    timeline: ArcSwap<Timeline>,
}

/// Drops the host's closure, which may panic.
impl Drop for WallClock {
    fn drop(&mut self) {
        discard(std::mem::take(&mut self.source));
    }
}

impl WallClock {
    /// Creates a time of day that is paired with `clock` now.
    pub(crate) fn new(source: WallSource, clock: &HostClock) -> Self {
        let wall = match &source {
            WallSource::Default => SystemTime::now(),
            WallSource::Host(read) => read_host(read).unwrap_or_else(SystemTime::now),
        };
        let is_derived = clock.is_manual() && matches!(source, WallSource::Default);
        let first = Moment::new(wall, clock.now_ns());
        Self {
            source,
            is_derived,
            timeline: ArcSwap::from_pointee(Timeline::new(first)),
        }
    }

    /// Reads both clocks, and adds a pairing if they moved apart.
    ///
    /// It runs the host's code, so the caller must hold no lock.
    pub(crate) fn now(&self, clock: &HostClock) -> Moment {
        let wall = match &self.source {
            WallSource::Host(read) => read_host(read),
            WallSource::Default => None,
        };
        self.renewed(wall, clock)
    }

    /// Does the same as [`now`](Self::now) without reading the host's clock, whose time follows from
    /// the pairings.
    pub(crate) fn now_without_the_host(&self, clock: &HostClock) -> Moment {
        self.renewed(None, clock)
    }

    fn renewed(&self, host_time: Option<SystemTime>, clock: &HostClock) -> Moment {
        let clock_ns = clock.now_ns();
        let timeline = self.timeline.load();
        let wall = match (host_time, &self.source) {
            (Some(wall), _) => wall,
            (None, WallSource::Default) if !self.is_derived => SystemTime::now(),
            (None, _) => timeline.wall_time(clock_ns),
        };
        let now = Moment::new(wall, clock_ns);
        if timeline.renewed(now).is_some() {
            self.timeline.rcu(|timeline| match timeline.renewed(now) {
                Some(renewed) => Arc::new(renewed),
                None => Arc::clone(timeline),
            });
        }
        now
    }

    /// Returns the pairings so far.
    pub(crate) fn timeline(&self) -> Arc<Timeline> {
        self.timeline.load_full()
    }
}
