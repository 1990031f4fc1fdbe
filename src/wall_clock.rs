//! The time of day, next to the registry's clock.
//!
//! Owns the [`Timeline`] of a registry: the pairings of both clocks by which everything that was
//! recorded in nanoseconds of the one is told as a time of the other. A time that was told once
//! stays what it was, however often it is told again and whatever the clocks do in between:
//! each record is placed by the pairing that held when it was made.
//!
//! The pairing is renewed whenever both clocks are read, which the pump does in each round. It is
//! replaced only if the clocks moved apart, as after a suspend, or when somebody set the time.
//!
//! The host's clock is the host's code: it may take any time, panic, and ask the registry for
//! whatever it likes, also for something that needs the time of day. So it is read while no lock of
//! ours is held, never again while it is being read on the same thread, and not at the end of the
//! registry. Under a lock the time follows from a reading that was made before, and the
//! registry's clock.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `timeline` | arc-swap's `rcu` and `load` | its own | each other; a reader that sees an older timeline places what it read by that | |

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

/// Reads the time of day.
pub(crate) type ReadWall = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Where the time of day comes from.
#[derive(Clone, Default)]
pub(crate) enum WallSource {
    /// The operating system; or with a manual clock, that clock from the time of building on.
    #[default]
    Default,
    /// The host.
    Host(ReadWall),
}

/// A panic of the host's closure is caught wherever it is called.
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

/// What the host's clock says, unless it panics, or is just being read on this thread.
fn read_host(read: &ReadWall) -> Option<SystemTime> {
    thread_local! {
        static IS_READ: Cell<bool> = const { Cell::new(false) };
    }
    if IS_READ.replace(true) {
        return None;
    }
    let told = contained(|| read()).ok();
    IS_READ.set(false);
    told
}

/// The time of day of one registry.
#[derive(Debug)]
pub(crate) struct WallClock {
    source: WallSource,
    /// Whether the time of day follows a manual clock.
    is_derived: bool,
    timeline: ArcSwap<Timeline>,
}

/// Dropping the host's closure runs the host's code.
impl Drop for WallClock {
    fn drop(&mut self) {
        discard(std::mem::take(&mut self.source));
    }
}

impl WallClock {
    /// A time of day that is paired with `clock` now.
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

    /// Reads both clocks, and renews the pairing if they moved apart. Not for whom holds a lock: it
    /// runs the host's code.
    pub(crate) fn now(&self, clock: &HostClock) -> Moment {
        let wall = match &self.source {
            WallSource::Host(read) => read_host(read),
            WallSource::Default => None,
        };
        self.renewed(wall, clock)
    }

    /// The same without the host's clock: its time follows from what it said last.
    pub(crate) fn now_without_the_host(&self, clock: &HostClock) -> Moment {
        self.renewed(None, clock)
    }

    fn renewed(&self, told_by_host: Option<SystemTime>, clock: &HostClock) -> Moment {
        let clock_ns = clock.now_ns();
        let timeline = self.timeline.load();
        let wall = match (told_by_host, &self.source) {
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

    /// The pairings so far.
    pub(crate) fn timeline(&self) -> Arc<Timeline> {
        self.timeline.load_full()
    }
}
