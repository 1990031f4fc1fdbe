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
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `timeline` | arc-swap's `rcu` and `load` | its own | each other; a reader that sees an older timeline places what it read by that | |

use crate::clock::HostClock;
use crate::contain::{contained, discard};
use crate::swap::ArcSwap;
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
            WallSource::Host(read) => contained(|| read()).unwrap_or_else(|_| SystemTime::now()),
        };
        let is_derived = clock.is_manual() && matches!(source, WallSource::Default);
        let first = Moment::new(wall, clock.now_ns());
        Self {
            source,
            is_derived,
            timeline: ArcSwap::from_pointee(Timeline::new(first)),
        }
    }

    /// Reads both clocks, and renews the pairing if they moved apart.
    pub(crate) fn now(&self, clock: &HostClock) -> Moment {
        let clock_ns = clock.now_ns();
        let timeline = self.timeline.load();
        let wall = match &self.source {
            _ if self.is_derived => timeline.wall_time(clock_ns),
            WallSource::Default => SystemTime::now(),
            WallSource::Host(read) => {
                contained(|| read()).unwrap_or_else(|_| timeline.wall_time(clock_ns))
            }
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
