//! How a registry is set up: [`RegistryBuilder`], its defaults and its limits.

use crate::clock::{ClockSource, HostClock};
use crate::handle::Meter;
use crate::instrument::{Hook, Instrument};
use crate::process::{self, Process};
use crate::pump::{Pump, PumpWorker};
use crate::reclaim::{Names, Reclaim};
use crate::registry::Registry;
use crate::registry_state::{Baselines, RegistryState};
use crate::running_calls::Listeners;
use crate::snapshot::{Header, MAX_EXPONENT, PRECISIONS, Snapshot};
use crate::swap::ArcSwap;
use crate::sync::{self, Mutex, Word};
use crate::text::{
    DEFAULT_MESSAGE_BYTES, MAX_NAME_BYTES, MESSAGE_BYTES, Redactor, TextPolicy, escaped,
};
use crate::tool_map::ToolMap;
use crate::wall_clock::{WallClock, WallSource};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::{Layout, StripesError, check_stripes};
use toolmeter_events::{Hub, HubError, Rings, RingsError};

/// The most tools that a registry can be allowed.
const MAX_TOOL_LIMIT: usize = 1_000_000;

/// Sets up a [`Registry`]; see [`Registry::builder`].
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
    redactor: Option<RedactErrors>,
    instrument: Option<Instruments>,
    max_exponent: u8,
}

/// The host's redactor.
#[derive(Clone)]
struct RedactErrors(Redactor);

/// A panic of the redactor is caught wherever it is called.
impl UnwindSafe for RedactErrors {}
impl RefUnwindSafe for RedactErrors {}

impl fmt::Debug for RedactErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedactErrors(..)")
    }
}

/// The host's hook.
#[derive(Clone)]
struct Instruments(Arc<dyn Instrument>);

/// A panic of the hook is caught wherever it is called.
impl UnwindSafe for Instruments {}
impl RefUnwindSafe for Instruments {}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instruments(..)")
    }
}

impl Registry {
    /// Creates a registry with the defaults of [`RegistryBuilder`].
    ///
    /// # Panics
    ///
    /// If the operating system gives no thread for the pump, as [`std::thread::spawn`] does.
    /// [`RegistryBuilder::build`] returns that as an error.
    #[must_use]
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(registry) => registry,
            Err(error) => panic!("the defaults are in range, but: {error}"),
        }
    }

    /// Sets up a registry other than the default.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().instance("host-7").pump(Pump::manual()).build()?;
    /// assert!(registry.metrics().instances.contains("host-7"));
    /// # Ok::<(), toolmeter::BuildError>(())
    /// ```
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
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
    /// Names this host in its snapshots. Default: the process id and the time of building.
    /// Kept to 256 bytes, with what cannot be seen escaped.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Sets which clock times the calls. Default: [`ClockSource::Auto`].
    ///
    /// # Examples
    ///
    /// See [`ClockSource`].
    pub fn clock(mut self, clock: ClockSource) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the precision of the latency histograms: `2^precision` buckets an octave, so a quantile
    /// is at most `2^-precision` too high. 3 to 7, default 5 (3%).
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

    /// Sets how many threads can count without disturbing each other. A power of two from 1 to 256;
    /// default: the number of cores rounded up to one, from 2 to 16.
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

    /// Sets how many tools there may be at once: those registered, and those deregistered of
    /// which a handle is held. 1 to 1,000,000, default 10,000. As many names of tools that are
    /// gone are remembered besides; what was counted under others is added up.
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

    /// Sets how many events each stripe's ring holds between two rounds of the pump. 1 to 1,048,576,
    /// default 4,096; 64 bytes each, taken at the first subscription.
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

    /// Sets how many events a batch holds at most. 1 to 65,536, default 1,024.
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

    /// Sets how many batches wait for a slow subscriber before events are lost to it. 1 to 65,536,
    /// default 1,024.
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

    /// Sets how often the pump publishes a snapshot, by the registry's clock. Default: each second.
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

    /// Sets where the time of day comes from, as it stands in snapshots and batches. Default: the
    /// operating system; with a manual clock, the time of building and that clock from there on.
    ///
    /// A panic of `now` is caught; the time is then told by the registry's clock. So it is where
    /// `now` itself asks the registry for something that needs the time. `now` is read at each
    /// round of the pump and never under a lock; while it does not return, the pump stands still.
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

    /// Sets who drains events and publishes snapshots. Default: [`Pump::background`].
    ///
    /// # Examples
    ///
    /// See [`Pump`].
    pub fn pump(mut self, pump: Pump) -> Self {
        self.pump = pump;
        self
    }

    /// Sets the longest error message that is kept, in bytes: 64 to 4,096, default 512. Of a
    /// longer one the head and the tail are kept, as tracebacks and compilers put the cause last.
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
    /// Of a text of more than 8 KiB it gets the head and the tail. They are cut between words, so
    /// it never gets a secret that was cut in two, and what is cut off is not kept. If it panics,
    /// the text is dropped.
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
        self.redactor = Some(RedactErrors(Arc::new(redactor)));
        self
    }

    /// Keeps no error messages at all, only kinds. A failure whose kind is told by the type of
    /// its error then allocates nothing.
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

    /// Sets the hook that is there while tools run, such as one that opens a span for each call. A
    /// registry has one; a later one replaces it.
    ///
    /// # Examples
    ///
    /// See [`Instrument`].
    pub fn instrument(mut self, instrument: impl Instrument) -> Self {
        self.instrument = Some(Instruments(Arc::new(instrument)));
        self
    }

    /// A shorter range of latencies, for models that cannot hold thousands of words.
    #[doc(hidden)]
    pub fn max_exponent(mut self, max_exponent: u8) -> Self {
        self.max_exponent = max_exponent;
        self
    }

    /// Builds the registry, and starts its pump.
    ///
    /// # Errors
    ///
    /// [`BuildError`], naming the setting and its range, or if the operating system gives no
    /// thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let error = Registry::builder().stripes(3).build().unwrap_err();
    /// assert!(error.to_string().contains("power of two"));
    /// assert!(Registry::builder().stripes(4).build().is_ok());
    /// ```
    pub fn build(self) -> Result<Registry, BuildError> {
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
            unreachable!("precision and stripes were checked, and the exponent is ours")
        };
        let rings = Rings::new(stripes, self.ring_capacity)?;
        let hub = Hub::new(self.queue_capacity, self.batch_size)?;
        let clock = HostClock::new(self.clock);
        let wall = WallClock::new(self.wall, &clock);
        let now = wall.now(&clock);
        let (started_at, built_ns) = (now.wall(), now.clock_ns());
        let instance = self.instance.map_or_else(default_instance, |instance| {
            escaped(&instance, MAX_NAME_BYTES)
        });
        let header = Header {
            instance: instance.clone(),
            started_at,
            taken_at: started_at,
            uptime: Duration::ZERO,
            unknown_tool_calls: 0,
        };
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
        let shared = Arc::new(RegistryState {
            names: Mutex::new(Names::new(sync::Arc::clone(&rings))),
            meter: Arc::new(Meter {
                clock,
                rings,
                text,
                hook,
            }),
            instance,
            instance_id: random_id(),
            started_at,
            process: Process::current(),
            precision: self.precision,
            built_ns,
            wall,
            tool_limit: self.tool_limit,
            tools: ToolMap::new(self.tool_limit),
            registration: Mutex::new(Reclaim::new(layout, self.tool_limit)),
            unknown_tool_calls: Word::new(0),
            baselines: ArcSwap::from_pointee(Baselines::default()),
            published: ArcSwap::from_pointee(Snapshot::new(header, BTreeMap::new(), None)),
            hub,
            late: Word::new(0),
            pump_panics: Word::new(0),
            listeners: Listeners::default(),
        });
        let pumping = Arc::new(PumpWorker::new(Arc::clone(&shared), self.publish_every));
        Registry::start(shared, pumping, self.pump).map_err(BuildError::PumpThread)
    }
}

/// 128 bits that differ at each start, as hexadecimal digits. The seeds of std's hash maps come
/// from the operating system.
fn random_id() -> Box<str> {
    let half = |salt: u8| RandomState::new().hash_one((salt, SystemTime::now(), process::id()));
    format!("{:016x}{:016x}", half(0), half(1)).into()
}

fn default_stripes() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    cores.next_power_of_two().clamp(2, 16)
}

fn default_instance() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since_epoch.map_or(0, |time| time.as_secs());
    format!("{}-{seconds}", process::id())
}

/// The reason why [`RegistryBuilder::build`] built nothing.
///
/// # Examples
///
/// ```
/// use toolmeter::{BuildError, Registry};
///
/// let error = Registry::builder().precision(2).build().unwrap_err();
/// assert!(matches!(error, BuildError::Precision { given: 2 }));
/// assert_eq!(error.to_string(), "precision 2 is out of range: use 3 to 7");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The precision is out of range.
    #[error("precision {given} is out of range: use 3 to 7")]
    Precision {
        /// The precision that was asked for.
        given: u8,
    },
    /// The number of stripes is out of range.
    #[error(transparent)]
    Stripes(#[from] StripesError),
    /// The longest error message is out of range.
    #[error("error messages of at most {given} bytes are out of range: use 64 to 4,096")]
    MessageBytes {
        /// The number that was asked for.
        given: usize,
    },
    /// The limit of tools is out of range.
    #[error("a limit of {given} tools is out of range: use 1 to 1,000,000")]
    ToolLimit {
        /// The limit that was asked for.
        given: usize,
    },
    /// The ring capacity is out of range.
    #[error("a ring of {given} events is out of range: use 1 to 1,048,576")]
    RingCapacity {
        /// The number that was asked for.
        given: usize,
    },
    /// The size of a batch is out of range.
    #[error("batches of at most {given} events are out of range: use 1 to 65,536")]
    BatchSize {
        /// The number that was asked for.
        given: usize,
    },
    /// The capacity of a subscription's queue is out of range.
    #[error("a queue of {given} batches is out of range: use 1 to 65,536")]
    QueueCapacity {
        /// The number that was asked for.
        given: usize,
    },
    /// The operating system gave no thread for the pump.
    #[error("no thread for the pump: use Pump::manual(), or allow the process more threads")]
    PumpThread(#[source] io::Error),
}

impl From<RingsError> for BuildError {
    fn from(error: RingsError) -> Self {
        match error {
            RingsError::Stripes(error) => Self::Stripes(error),
            RingsError::Capacity { given } => Self::RingCapacity { given },
            other => unreachable!("there is no other error of rings: {other}"),
        }
    }
}

impl From<HubError> for BuildError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::QueueCapacity { given } => Self::QueueCapacity { given },
            HubError::BatchSize { given } => Self::BatchSize { given },
            other => unreachable!("there is no other error of the hub: {other}"),
        }
    }
}
