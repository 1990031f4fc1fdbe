//! [`RegistryBuilder`]: the settings of a registry, with their defaults and limits.
//!
//! [`RegistryBuilder::build`] is in `registry.rs`, above the settings.

use crate::call_env::CallEnv;
use crate::clock::{ClockSource, HostClock};
use crate::event_names::EventNames;
use crate::hook::Hook;
use crate::instrument::Instrument;
use crate::origin::Origin;
use crate::process::{self, Process};
use crate::pump::Pump;
use crate::reclaim::Reclaim;
use crate::registry_state::RegistryState;
use crate::snapshot::{Clocks, MAX_EXPONENT, PRECISIONS};
use crate::swap::ArcSwap;
use crate::sync::{self, Mutex, Word};
use crate::text::{
    DEFAULT_MESSAGE_BYTES, MAX_NAME_BYTES, MESSAGE_BYTES, Redactor, TextPolicy, escaped,
};
use crate::tool_map::ToolMap;
use crate::totals::Baselines;
use crate::wall_clock::{WallClock, WallSource};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::{Layout, check_stripes};
use toolmeter_events::{Hub, Rings};

mod error;

pub use error::BuildError;

/// The largest tool limit.
const MAX_TOOL_LIMIT: usize = 1_000_000;

/// The settings of a registry that is about to be built; see
/// [`Registry::builder`](crate::Registry::builder).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use toolmeter::{Pump, Registry};
///
/// let registry = Registry::builder()
///     .instance("host-7")
///     .stripes(4)
///     .publish_every(Duration::from_secs(5))
///     .pump(Pump::manual())
///     .build()?;
/// assert!(registry.metrics().instances.contains("host-7"));
/// # Ok::<(), toolmeter::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RegistryBuilder {
    instance: Option<String>,
    clock: ClockSource,
    precision: u8,
    stripes: Option<usize>,
    tool_limit: usize,
    ring_capacity: usize,
    batch_size: usize,
    queue_capacity: usize,
    publish_every: Duration,
    pump: Pump,
    wall: WallSource,
    keeps_text: bool,
    message_bytes: usize,
    redactor: Option<HostRedactor>,
    instrument: Option<HostInstrument>,
    max_exponent: u8,
}

/// The host's redactor.
#[derive(Clone)]
struct HostRedactor(Redactor);

/// A panic of the redactor is caught wherever it is called.
impl UnwindSafe for HostRedactor {}
impl RefUnwindSafe for HostRedactor {}

impl fmt::Debug for HostRedactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostRedactor(..)")
    }
}

/// The host's hook.
#[derive(Clone)]
struct HostInstrument(Arc<dyn Instrument>);

/// A panic of the hook is caught wherever it is called.
impl UnwindSafe for HostInstrument {}
impl RefUnwindSafe for HostInstrument {}

impl fmt::Debug for HostInstrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostInstrument(..)")
    }
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        Self {
            instance: None,
            clock: ClockSource::default(),
            precision: 5,
            stripes: None,
            tool_limit: 10_000,
            ring_capacity: 4_096,
            batch_size: Hub::DEFAULT_BATCH_SIZE,
            queue_capacity: Hub::DEFAULT_QUEUE_CAPACITY,
            publish_every: Duration::from_secs(1),
            pump: Pump::default(),
            wall: WallSource::default(),
            keeps_text: true,
            message_bytes: DEFAULT_MESSAGE_BYTES,
            redactor: None,
            instrument: None,
            max_exponent: MAX_EXPONENT,
        }
    }
}

impl RegistryBuilder {
    /// Sets the name of this host in its snapshots. Default: the process id and the time of building.
    ///
    /// It is cut to 256 bytes, and invisible characters are escaped.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Sets the clock that times the calls. Default: [`ClockSource::Auto`].
    ///
    /// # Examples
    ///
    /// See [`ClockSource`].
    pub fn clock(mut self, clock: ClockSource) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the precision of the latency histograms, from 3 to 7. Default: 5.
    ///
    /// There are `2^precision` buckets to an octave, so a quantile is at most `2^-precision` too high:
    /// 3% by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().precision(8).build().unwrap_err();
    /// assert!(matches!(error, BuildError::Precision { given: 8 }));
    /// ```
    pub fn precision(mut self, precision: u8) -> Self {
        self.precision = precision;
        self
    }

    /// Sets the number of stripes, a power of two from 1 to 256. Default: the number of cores, rounded
    /// up to a power of two from 2 to 16.
    ///
    /// Up to that many threads count without sharing a cache line.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().stripes(3).build().unwrap_err();
    /// assert!(matches!(error, BuildError::Stripes(_)));
    /// ```
    pub fn stripes(mut self, stripes: usize) -> Self {
        self.stripes = Some(stripes);
        self
    }

    /// Sets the maximum number of tools, from 1 to 1,000,000. Default: 10,000.
    ///
    /// The limit covers the registered tools, and the deregistered ones that still have a handle.
    /// In addition, the counts of as many tools that are gone are kept by name; those of all others
    /// are [added up](crate::Snapshot::nameless).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().tool_limit(0).build().unwrap_err();
    /// assert!(matches!(error, BuildError::ToolLimit { given: 0 }));
    /// ```
    pub fn tool_limit(mut self, tools: usize) -> Self {
        self.tool_limit = tools;
        self
    }

    /// Sets the capacity of each stripe's ring, from 1 to 1,048,576 events. Default: 4,096.
    ///
    /// The rings are drained in each round of the pump. The memory, 64 bytes for each event, is
    /// allocated at the first subscription.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().ring_capacity(0).build().unwrap_err();
    /// assert!(matches!(error, BuildError::RingCapacity { given: 0 }));
    /// ```
    pub fn ring_capacity(mut self, events: usize) -> Self {
        self.ring_capacity = events;
        self
    }

    /// Sets the maximum number of events in a batch, from 1 to 65,536. Default: 1,024.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().batch_size(0).build().unwrap_err();
    /// assert!(matches!(error, BuildError::BatchSize { given: 0 }));
    /// ```
    pub fn batch_size(mut self, events: usize) -> Self {
        self.batch_size = events;
        self
    }

    /// Sets the number of batches that may wait for a slow subscriber before it loses events, from
    /// 1 to 65,536. Default: 1,024.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().queue_capacity(0).build().unwrap_err();
    /// assert!(matches!(error, BuildError::QueueCapacity { given: 0 }));
    /// ```
    pub fn queue_capacity(mut self, batches: usize) -> Self {
        self.queue_capacity = batches;
        self
    }

    /// Sets the interval at which the pump publishes a snapshot, by the registry's clock. Default: one
    /// second.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use toolmeter::{ClockSource, ManualClock, Pump, Registry};
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// let registry = Registry::builder()
    ///     .clock(ClockSource::Manual(Arc::clone(&clock)))
    ///     .publish_every(Duration::from_secs(5))
    ///     .pump(Pump::manual())
    ///     .build()?;
    /// registry.pump();
    /// registry.register("shell")?;
    /// registry.pump();
    /// assert!(registry.published().tools.is_empty());
    /// clock.advance(Duration::from_secs(5));
    /// registry.pump();
    /// assert_eq!(registry.published().tools.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_every(mut self, interval: Duration) -> Self {
        self.publish_every = interval;
        self
    }

    /// Sets the source of the time of day in snapshots and batches. Default: the operating system. With
    /// a manual clock, the default is the time of building, advanced by that clock.
    ///
    /// `now` is called in each round of the pump, when the registry is read, and when a tool is
    /// registered, never under a lock. While it does not return, its caller waits. If it panics, or
    /// itself calls a method of the registry that needs the time, the time of day follows from the
    /// registry's clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use toolmeter::{Pump, Registry};
    ///
    /// // As in a replay of what happened long ago.
    /// let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    /// let registry = Registry::builder().wall_clock(move || then).pump(Pump::manual()).build()?;
    /// assert_eq!(registry.metrics().taken_at, then);
    /// # Ok::<(), toolmeter::BuildError>(())
    /// ```
    pub fn wall_clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall = WallSource::Host(Arc::new(now));
        self
    }

    /// Sets the thread that drains events and publishes snapshots. Default: [`Pump::background`].
    ///
    /// # Examples
    ///
    /// See [`Pump`].
    pub fn pump(mut self, pump: Pump) -> Self {
        self.pump = pump;
        self
    }

    /// Sets the maximum length of error messages, from 64 to 4,096 bytes. Default: 512.
    ///
    /// A longer message keeps its head and its tail, since tracebacks and compilers put the cause
    /// last.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Registry};
    ///
    /// let registry = Registry::builder().max_message_bytes(64).build()?;
    /// let python = registry.register("python")?;
    /// let traceback = format!("Traceback:\n{}MemoryError", "  File \"a.py\"\n".repeat(400));
    /// python.start().fail(ErrorKind::ToolError, traceback);
    /// let metrics = registry.metrics();
    /// let message = metrics.tools["python"].last_error.as_ref().unwrap().message.clone().unwrap();
    /// assert!(message.len() <= 64);
    /// assert!(message.starts_with("Traceback:") && message.ends_with("MemoryError"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes = bytes;
        self
    }

    /// Passes every error message through `redactor` before it is cut to its final length.
    ///
    /// If a text is longer than 8 KiB, the redactor gets the head and the tail, cut between words,
    /// so that no secret without spaces is cut in two. The rest is not kept. If the redactor
    /// panics, a note replaces the text.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Registry};
    ///
    /// let registry = Registry::builder()
    ///     .redact_errors(|text| text.replace("hunter2", "[password]").into())
    ///     .build()?;
    /// let login = registry.register("login")?;
    /// login.start().fail(ErrorKind::Other, "hunter2 was refused");
    /// let metrics = registry.metrics();
    /// let error = metrics.tools["login"].last_error.as_ref().unwrap();
    /// assert_eq!(error.message.as_deref(), Some("[password] was refused"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redact_errors(
        mut self,
        redactor: impl Fn(&str) -> Cow<'_, str> + Send + Sync + 'static,
    ) -> Self {
        self.redactor = Some(HostRedactor(Arc::new(redactor)));
        self
    }

    /// Keeps no error messages, only kinds.
    ///
    /// A failure whose kind follows from the type of its error then allocates nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Pump, Registry};
    ///
    /// let registry = Registry::builder().without_error_text().pump(Pump::manual()).build()?;
    /// let login = registry.register("login")?;
    /// login.start().fail(ErrorKind::Other, "hunter2 was refused");
    /// let metrics = registry.metrics();
    /// let error = metrics.tools["login"].last_error.as_ref().unwrap();
    /// assert_eq!((error.kind, error.message.as_deref()), (ErrorKind::Other, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without_error_text(mut self) -> Self {
        self.keeps_text = false;
        self
    }

    /// Sets the hook that is called around each call, such as one that opens spans.
    ///
    /// A registry has one hook: setting another replaces it.
    ///
    /// # Examples
    ///
    /// See [`Instrument`].
    pub fn instrument(mut self, instrument: impl Instrument) -> Self {
        self.instrument = Some(HostInstrument(Arc::new(instrument)));
        self
    }

    /// Sets a shorter range of latencies, for models that cannot hold thousands of words.
    #[doc(hidden)]
    pub fn max_exponent(mut self, max_exponent: u8) -> Self {
        self.max_exponent = max_exponent;
        self
    }

    /// Checks the settings, and creates the state of the registry.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for a setting that is out of range.
    pub(crate) fn build_state(self) -> Result<BuiltState, BuildError> {
        if !PRECISIONS.contains(&self.precision) && !cfg!(toolmeter_loom) {
            return Err(BuildError::Precision {
                given: self.precision,
            });
        }
        if !(1..=MAX_TOOL_LIMIT).contains(&self.tool_limit) {
            return Err(BuildError::ToolLimit {
                given: self.tool_limit,
            });
        }
        if !MESSAGE_BYTES.contains(&self.message_bytes) {
            return Err(BuildError::MessageBytes {
                given: self.message_bytes,
            });
        }
        let stripes = self.stripes.unwrap_or_else(default_stripes);
        check_stripes(stripes)?;
        let Ok(layout) = Layout::new(self.precision, self.max_exponent, stripes) else {
            unreachable!("precision and stripes were checked, and hosts do not set the exponent")
        };
        let rings = Rings::new(stripes, self.ring_capacity)?;
        let hub = Hub::new(self.queue_capacity, self.batch_size)?;
        let clock = HostClock::new(self.clock);
        let wall = WallClock::new(self.wall, &clock);
        let now = wall.now(&clock);
        let instance = self.instance.map_or_else(
            || default_instance(now.wall()),
            |instance| escaped(&instance, MAX_NAME_BYTES),
        );
        let origin = Origin {
            instance,
            started_at: now.wall(),
            started_ns: now.clock_ns(),
            precision: self.precision,
        };
        let clocks = Clocks {
            now,
            timeline: wall.timeline(),
        };
        let empty = origin.snapshot(&clocks, 0, BTreeMap::new(), None);
        let text = if self.keeps_text {
            TextPolicy::Keep {
                max_bytes: self.message_bytes,
                redactor: self.redactor.map(|redactor| redactor.0),
            }
        } else {
            TextPolicy::Off
        };
        let hook = self.instrument.map(|instrument| Hook::new(instrument.0));
        let rings = sync::Arc::new(rings);
        let state = RegistryState {
            names: Mutex::new(EventNames::new(sync::Arc::clone(&rings))),
            env: Arc::new(CallEnv {
                clock,
                rings,
                text,
                hook,
            }),
            origin,
            instance_id: random_id(now.wall()),
            process: Process::current(),
            wall,
            tool_limit: self.tool_limit,
            tools: ToolMap::new(self.tool_limit),
            registration: Mutex::new(Reclaim::new(layout, self.tool_limit)),
            unknown_tool_calls: Word::new(0),
            baselines: ArcSwap::from_pointee(Baselines::default()),
            published: ArcSwap::from_pointee(empty),
            hub,
            late: Word::new(0),
            pump_panics: Word::new(0),
        };
        Ok(BuiltState {
            state: Arc::new(state),
            publish_every: self.publish_every,
            pump: self.pump,
        })
    }
}

/// The state of a registry whose pump has not started yet.
pub(crate) struct BuiltState {
    pub(crate) state: Arc<RegistryState>,
    pub(crate) publish_every: Duration,
    pub(crate) pump: Pump,
}

/// Returns 128 bits as hexadecimal digits, which differ at each start: the seeds of std's hash maps
/// come from the operating system.
fn random_id(started_at: SystemTime) -> Box<str> {
    let half = |salt: u8| RandomState::new().hash_one((salt, started_at, process::id()));
    format!("{:016x}{:016x}", half(0), half(1)).into()
}

fn default_stripes() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    cores.next_power_of_two().clamp(2, 16)
}

fn default_instance(started_at: SystemTime) -> String {
    let since_epoch = started_at.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since_epoch.map_or(0, |time| time.as_secs());
    format!("{}-{seconds}", process::id())
}
